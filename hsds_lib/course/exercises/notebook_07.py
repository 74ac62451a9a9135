"""Exercises of notebook 7: entropy, correlation, mean ranks and a sign test."""

from __future__ import annotations

from collections.abc import Iterable
from math import comb

import torch
from torch import Tensor

from hsds_lib.course.checks import Exercise, Mistake
from hsds_lib.course.figures.score_tables import mean_ranks, sign_test


def _entropy(gray: Tensor) -> float:
    share = torch.bincount(gray.flatten(), minlength=256).double() / gray.numel()
    share = share[share > 0]
    return float(-(share * share.log2()).sum())


def _of_counts(gray: Tensor) -> float:
    count = torch.bincount(gray.flatten(), minlength=256).double()
    count = count[count > 0]
    return float(-(count * count.log2()).sum())


def _with_empty_levels(gray: Tensor) -> float:
    share = torch.bincount(gray.flatten(), minlength=256).double() / gray.numel()
    return float(-(share * share.log2()).sum())


def _correlation(ref: Tensor, fused: Tensor) -> float:
    a, b = ref - ref.mean(), fused - fused.mean()
    return float((a * b).sum() / (a.square().sum() * b.square().sum()).sqrt())


def _covariance(ref: Tensor, fused: Tensor) -> float:
    return float(((ref - ref.mean()) * (fused - fused.mean())).mean())


def _pair_cases(rng: torch.Generator) -> Iterable[tuple[Tensor, Tensor]]:
    for mix in (0.9, -0.4, 0.1):
        ref = torch.rand(9, 11, generator=rng, dtype=torch.float64)
        yield ref, mix * ref + 0.2 * torch.rand(9, 11, generator=rng, dtype=torch.float64) + 0.3


def _mean_ranks(scores: Tensor) -> Tensor:
    return torch.from_numpy(mean_ranks(scores.numpy()))


def _ties_by_position(scores: Tensor) -> Tensor:
    order = (-scores).argsort(dim=0, stable=True)
    return (order.argsort(dim=0).double() + 1).mean(dim=1)


def _score_cases(rng: torch.Generator) -> Iterable[tuple[Tensor]]:
    yield (torch.rand(3, 5, generator=rng).double(),)
    yield (torch.tensor([[0.9, 0.8, 0.1], [0.9, 0.7, 0.99], [0.5, 0.7, 0.2]]).double(),)
    yield (torch.randint(0, 4, (4, 6), generator=rng).double(),)


def _one_sided(differences: Tensor) -> float:
    plus, minus = int((differences > 0).sum()), int((differences < 0).sum())
    n, fewer = plus + minus, min(plus, minus)
    return sum(comb(n, k) for k in range(fewer + 1)) / 2**n


def _only_this_outcome(differences: Tensor) -> float:
    plus, minus = int((differences > 0).sum()), int((differences < 0).sum())
    return min(1.0, 2 * comb(plus + minus, min(plus, minus)) / 2 ** (plus + minus))


def _ties_count(differences: Tensor) -> float:
    n = len(differences)
    fewer = min(int((differences > 0).sum()), n - int((differences > 0).sum()))
    return min(1.0, 2 * sum(comb(n, k) for k in range(fewer + 1)) / 2**n)


def _difference_cases(rng: torch.Generator) -> Iterable[tuple[Tensor]]:
    yield (torch.tensor([0.1, 0.2, 0.3, -0.1, 0.4, 0.2, 0.1, 0.3]),)
    yield (torch.tensor([0.1, 0.0, 0.3, 0.2, 0.0, 0.2]),)
    yield (torch.randn(12, generator=rng),)
    yield (torch.tensor([0.1, -0.2, 0.3, -0.1, 0.4, -0.2]),)  # an even split: twice the sum is more than 1


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        "7.1",
        _entropy,
        "torch.bincount counts the levels. Divide by the number of pixels, leave out the levels that do not occur, "
        "and sum -p log2 p.",
        cases=lambda rng: [(torch.randint(0, levels, (16, 24), generator=rng),) for levels in (2, 7, 200)],
        mistakes=(
            Mistake(
                lambda gray: _entropy(gray) * float(torch.log(torch.tensor(2.0, dtype=torch.float64))),
                "That is the natural logarithm, so the unit is nats. Bits need log2.",
            ),
            Mistake(_of_counts, "These are counts. Entropy is about shares: divide by the number of pixels."),
            Mistake(
                lambda gray: -_entropy(gray), "The sign: logarithms of shares are negative, so the sum gets a minus."
            ),
            Mistake(
                _with_empty_levels,
                "Levels that do not occur give 0 times minus infinity, which is not a number. Leave them out.",
            ),
        ),
    ),
    Exercise(
        "7.2",
        _correlation,
        "Take the mean off both, then divide the sum of products by the root of the product of the sums of squares.",
        cases=_pair_cases,
        mistakes=(
            Mistake(
                lambda ref, fused: float((ref * fused).sum() / (ref.square().sum() * fused.square().sum()).sqrt()),
                "The means are still in: two bright pictures then correlate, whatever they show.",
            ),
            Mistake(_covariance, "That is the covariance. Divide by both standard deviations, so that gains cancel."),
            Mistake(
                lambda ref, fused: float(_covariance(ref, fused) / (ref.std() * fused.std())),
                "Nearly: the mean of products divides by n, torch's std by n - 1. Divide by one of them throughout.",
            ),
            Mistake(
                lambda ref, fused: _correlation(ref, fused) ** 2,
                "That is its square, which hides the sign: a negative picture would look like a good one.",
            ),
        ),
    ),
    Exercise(
        "7.3",
        _mean_ranks,
        "On each scene a method's rank is 1 + how many are better + half of the others that are equal. Then the mean.",
        cases=_score_cases,
        mistakes=(
            Mistake(lambda scores: _mean_ranks(-scores), "Upside down: rank 1 belongs to the highest score."),
            Mistake(
                lambda scores: (1 + (scores[:, None, :] < scores[None, :, :]).double().sum(dim=1)).mean(dim=1),
                "Equal scores all get the best of their places. They share them: two winners are both 1.5.",
            ),
            Mistake(
                _ties_by_position,
                "Equal scores get different ranks, by their place in the list. They share them: two winners get 1.5.",
            ),
            Mistake(lambda scores: _mean_ranks(scores) - 1, "Ranks begin at 1."),
            Mistake(
                lambda scores: _mean_ranks(scores.mean(dim=1, keepdim=True)),
                "You rank the means. Rank on every scene first, then take the mean of the ranks.",
            ),
        ),
    ),
    Exercise(
        "7.4",
        lambda differences: sign_test(differences.numpy()).p,
        "Leave out the ties. With n signs and k of the rarer kind: 2 sum over j <= k of C(n, j) / 2^n, at most 1.",
        cases=_difference_cases,
        mistakes=(
            Mistake(_one_sided, "One-sided: before looking, either method might have won. Double it."),
            Mistake(
                lambda differences: 2 * _one_sided(differences),
                "On an even split that is more than 1, which no probability is: take at most 1.",
            ),
            Mistake(_only_this_outcome, "Only this very outcome. Add those that are more extreme."),
            Mistake(_ties_count, "A tie says nothing about who is better: leave ties out before you count."),
        ),
    ),
)
