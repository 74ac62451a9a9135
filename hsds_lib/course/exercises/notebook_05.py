"""Exercises of notebook 5: the gradient of beta, Adam's factor in it, and a loss from which terms are left out."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from hsds_lib.course.checks import Exercise, Mistake
from hsds_lib.losses.terms import TERM_NAMES
from hsds_lib.search.hypergradient import beta_gradient


def _gradient_cases(rng: torch.Generator) -> Iterable[tuple[Tensor, Tensor]]:
    for count in (2, 3, len(TERM_NAMES)):
        yield torch.randn(count, generator=rng).softmax(0), torch.randn(count, generator=rng)


def _factor(moment: Tensor, t: int, lr: float, b1: float, b2: float, eps: float) -> Tensor:
    v_hat = moment / (1 - b2**t)
    return lr * (1 - b1) / (1 - b1**t) / (v_hat.sqrt() + eps)


def _factor_cases(rng: torch.Generator) -> Iterable[tuple[Tensor, int, float, float, float, float]]:
    for t in (1, 2, 10, 300):
        yield torch.rand(5, generator=rng) * 1e-2 + 1e-4, t, 2e-4, 0.9, 0.999, 1e-8


def _kept_weights(beta: Tensor, keep: Tensor) -> Tensor:
    mix = beta.softmax(0)[keep]
    return mix / mix.sum()


def _with_zeros(beta: Tensor, keep: Tensor) -> Tensor:
    mix = beta.softmax(0) * keep
    return mix / mix.sum()


def _kept_cases(rng: torch.Generator) -> Iterable[tuple[Tensor, Tensor]]:
    for dropped in (1, 3, 10):
        keep = torch.ones(len(TERM_NAMES), dtype=torch.bool)
        keep[torch.randperm(len(TERM_NAMES), generator=rng)[:dropped]] = False
        yield torch.randn(len(TERM_NAMES), generator=rng), keep


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        "5.1",
        beta_gradient,
        "Write the formula above in one line: minus mix_k times the difference between J_k and the mean of J that mix "
        "weighs.",
        cases=_gradient_cases,
        mistakes=(
            Mistake(
                lambda mix, jacobian: -mix * jacobian,
                "The sum over j is missing: a loss can only gain weight that others lose, so what counts is how J_k "
                "differs from the weighted mean. Your gradient should sum to 0.",
            ),
            Mistake(
                lambda mix, jacobian: -beta_gradient(mix, jacobian),
                "The sign: the step subtracts the gradient of the losses, hence the minus.",
            ),
            Mistake(
                lambda mix, jacobian: -mix * (jacobian - jacobian.mean()),
                "The mean that is subtracted is weighted by mix; the plain mean does not sum to 0.",
            ),
            Mistake(
                lambda mix, jacobian: -jacobian,
                "That is the gradient with respect to mix. Go on to beta: the derivative of the softmax is "
                "mix_k (delta_kj - mix_j).",
            ),
        ),
    ),
    Exercise(
        "5.2",
        _factor,
        "Adam's first moment is b1 times the old one plus (1 - b1) times the new gradient; it is divided by 1 - b1^t, "
        "the second moment by 1 - b2^t. Only the new gradient depends on beta.",
        cases=_factor_cases,
        mistakes=(
            Mistake(
                lambda moment, t, lr, b1, b2, eps: lr / ((moment / (1 - b2**t)).sqrt() + eps),
                "As if the whole first moment were the new gradient. It has the share (1 - b1) / (1 - b1^t): all of it "
                "in the first step, a tenth later.",
            ),
            Mistake(
                lambda moment, t, lr, b1, b2, eps: lr * (1 - b1) / (moment.sqrt() + eps),
                "Both moments start at 0, so Adam divides them by 1 - b1^t and 1 - b2^t.",
            ),
            Mistake(
                lambda moment, t, lr, b1, b2, eps: lr * (1 - b1) / ((moment / (1 - b2**t)).sqrt() + eps),
                "The second moment is corrected, the first is not: divide by 1 - b1^t as well.",
            ),
            Mistake(
                lambda moment, t, lr, b1, b2, eps: lr * (1 - b1) / (1 - b1**t) / (moment.sqrt() + eps),
                "The first moment is corrected, the second is not: divide `moment` by 1 - b2^t as well.",
            ),
            Mistake(
                lambda moment, t, lr, b1, b2, eps: lr / (1 - b1**t) / ((moment / (1 - b2**t)).sqrt() + eps),
                "The new gradient enters the first moment with the share 1 - b1.",
            ),
            Mistake(
                lambda moment, t, lr, b1, b2, eps: -_factor(moment, t, lr, b1, b2, eps),
                "D itself is positive; it is the step that subtracts D times the gradient.",
            ),
            Mistake(
                lambda moment, t, lr, b1, b2, eps: lr * (1 - b1) / (1 - b1**t) / (moment / (1 - b2**t) + eps),
                "Adam divides by the square root of the second moment.",
            ),
        ),
    ),
    Exercise(
        "5.3",
        _kept_weights,
        "Take softmax(beta), keep the entries where keep is true, and make their sum 1 again.",
        cases=_kept_cases,
        mistakes=(
            Mistake(
                lambda beta, keep: beta.softmax(0)[keep],
                "The right weights, but their sum is below 1: the learning rate would shrink with it.",
            ),
            Mistake(
                lambda beta, keep: beta.softmax(0)[keep].softmax(0),
                "The kept weights went through a second softmax, which pulls them together. Divide by their sum.",
            ),
            Mistake(_with_zeros, "Return the kept weights only: as many numbers as keep has True."),
        ),
    ),
)
