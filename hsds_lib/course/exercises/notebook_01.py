"""Exercises of notebook 01: hypergradients by the chain rule, by one step, by many steps, and exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from hsds_lib.course.bilevel import Function, bowls, hypergradient_exact, hypergradient_unrolled
from hsds_lib.course.checks import Exercise, Mistake
from hsds_lib.losses.space import mixture
from hsds_lib.losses.terms import TERM_NAMES
from hsds_lib.search.hypergradient import beta_gradient


def _normal(rng: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def _goal_distance(goal: Tensor) -> Function:
    return lambda omega: (omega - goal).square().sum() / 2


# 1.1: from the loss weights to their logits.
def through_softmax(mix: Tensor, slope: Tensor) -> Tensor:
    """Turn ``dGamma/dmix`` into ``dGamma/dbeta``, both ``(K,)``: ``mix_k (slope_k - sum_j mix_j slope_j)``."""
    return mix * (slope - (mix * slope).sum())


# 1.2: one step on the triangle, by hand.
def one_step(mix: Tensor, corners: Tensor, omega: Tensor, goal: Tensor, xi: float) -> Tensor:
    """Hypergradient ``(K,)`` through one step of size ``xi`` on ``sum_k mix_k |omega - c_k|^2 / 2``."""
    after = omega - xi * (omega - mix @ corners)
    return beta_gradient(mix, (omega - corners) @ (xi * (after - goal)))


def _without_step_size(mix: Tensor, corners: Tensor, omega: Tensor, goal: Tensor, xi: float) -> Tensor:
    after = omega - xi * (omega - mix @ corners)
    return beta_gradient(mix, (omega - corners) @ (after - goal))


def _one_step_cases(rng: torch.Generator) -> Iterator[tuple[Any, ...]]:
    for xi in (0.1, 0.4, 0.9):
        yield mixture(_normal(rng, 3)), _normal(rng, 3, 2), _normal(rng, 2), _normal(rng, 2), xi


# 1.3: K steps, by autograd.
def unroll(losses: Function, judge: Function, beta: Tensor, omega: Tensor, xi: float, steps: int) -> Tensor:
    """Hypergradient ``(K,)`` through ``steps`` steps of gradient descent of size ``xi`` from ``omega``."""
    return hypergradient_unrolled(losses, judge, beta, omega, rate=xi, steps=steps)


def _last_step_only(losses: Function, judge: Function, beta: Tensor, omega: Tensor, xi: float, steps: int) -> Tensor:
    for _ in range(steps - 1):
        omega = omega.detach().requires_grad_()
        loss = (mixture(beta.detach()) * losses(omega)).sum()
        omega = omega - xi * torch.autograd.grad(loss, omega)[0]
    return hypergradient_unrolled(losses, judge, beta, omega, rate=xi, steps=1)


def _slopes_without_graph(
    losses: Function, judge: Function, beta: Tensor, omega: Tensor, xi: float, steps: int
) -> Tensor:
    """What is left when each slope is a constant: beta is out of the graph, and its gradient is zero."""
    return torch.zeros_like(beta)


def _unroll_cases(rng: torch.Generator) -> Iterator[tuple[Any, ...]]:
    for steps in (2, 3, 7):
        losses = bowls(_normal(rng, 3, 2), _curvatures(rng, 3))
        yield losses, _goal_distance(_normal(rng, 2)), _normal(rng, 3), _normal(rng, 2), 0.2, steps


# 1.4: the exact one, for quadratic losses of different curvature.
def exact(mix: Tensor, centres: Tensor, curvatures: Tensor, goal: Tensor) -> Tensor:
    """Hypergradient ``(K,)`` at the solution of ``sum_k mix_k (omega - c_k)' A_k (omega - c_k) / 2``."""
    solved, _ = _solve(mix, centres, curvatures)
    return hypergradient_exact(bowls(centres, curvatures), _goal_distance(goal), mix.log(), solved)


def _solve(mix: Tensor, centres: Tensor, curvatures: Tensor) -> tuple[Tensor, Tensor]:
    hessian = torch.einsum("k,kij->ij", mix, curvatures)
    return torch.linalg.solve(hessian, torch.einsum("k,kij,kj->i", mix, curvatures, centres)), hessian


def _without_inverse(mix: Tensor, centres: Tensor, curvatures: Tensor, goal: Tensor) -> Tensor:
    solved, _ = _solve(mix, centres, curvatures)
    slopes = torch.einsum("kij,kj->ki", curvatures, solved - centres)
    return beta_gradient(mix, slopes @ (solved - goal))


def _mean_of_centres(mix: Tensor, centres: Tensor, curvatures: Tensor, goal: Tensor) -> Tensor:
    _, hessian = _solve(mix, centres, curvatures)
    solved = mix @ centres
    slopes = torch.einsum("kij,kj->ki", curvatures, solved - centres)
    return beta_gradient(mix, slopes @ torch.linalg.solve(hessian, solved - goal))


def _curvatures(rng: torch.Generator, count: int) -> Tensor:
    roots = _normal(rng, count, 2, 2)
    return roots @ roots.mT / 2 + 0.3 * torch.eye(2, dtype=torch.float64)


def _exact_cases(rng: torch.Generator) -> Iterator[tuple[Any, ...]]:
    for _ in range(3):
        yield mixture(_normal(rng, 3)), _normal(rng, 3, 2), _curvatures(rng, 3), _normal(rng, 2)


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        "1.1",
        through_softmax,
        "dmix_j / dbeta_k = mix_j ((1 if j = k else 0) - mix_k); multiply by slope_j and sum over j.",
        cases=lambda rng: [(mixture(_normal(rng, size)), _normal(rng, size)) for size in (2, 3, len(TERM_NAMES))],
        mistakes=(
            Mistake(lambda mix, slope: mix * slope, "All weights share one sum: raising one lowers the others."),
            Mistake(
                lambda mix, slope: mix * (1 - mix) * slope,
                "That is the diagonal alone: beta_k moves the other weights too, by -mix_j mix_k each.",
            ),
            Mistake(
                lambda mix, slope: slope - (mix * slope).sum(),
                "The mean is right, but a small weight also moves little: a factor mix_k is missing.",
            ),
            Mistake(
                lambda mix, slope: -mix * (slope - (mix * slope).sum()),
                "That is the direction of descent; the gradient has the other sign.",
            ),
            Mistake(
                lambda mix, slope: mix * (slope - slope.mean()),
                "The mean to subtract is weighted by mix, not the plain one.",
            ),
        ),
    ),
    Exercise(
        "1.2",
        one_step,
        "first take the step; then J_k = <omega - c_k, xi (after - goal)>, and the chain rule of 1.1 with a minus.",
        cases=_one_step_cases,
        mistakes=(
            Mistake(
                lambda mix, corners, omega, goal, xi: beta_gradient(mix, (omega - corners) @ (xi * (omega - goal))),
                "The judge sees the weights after the step: take its slope there.",
            ),
            Mistake(
                lambda mix, corners, omega, goal, xi: -one_step(mix, corners, omega, goal, xi),
                "The sign: the step goes against the slopes of the losses, and that gives a minus.",
            ),
            Mistake(_without_step_size, "The length of the step is missing: beta acts through xi times the slope."),
        ),
    ),
    Exercise(
        "1.3",
        unroll,
        "repeat the step in a loop and keep the graph (create_graph=True); differentiate the judge once, at the end.",
        cases=_unroll_cases,
        mistakes=(
            Mistake(_last_step_only, "Only the last step is differentiated: do not detach omega between the steps."),
            Mistake(
                lambda *given: None,
                "You return None. From torch.autograd.grad with allow_unused=True it says that beta is not connected "
                "with the judge: keep the graph of every step (create_graph=True), and detach nothing.",
            ),
            Mistake(
                lambda losses, judge, beta, omega, xi, steps: hypergradient_unrolled(
                    losses, judge, beta, omega, rate=xi, steps=steps + 1
                ),
                "That is one step too many.",
            ),
            Mistake(
                _slopes_without_graph,
                "A slope without a graph is a constant, and beta is lost: create_graph=True keeps it.",
            ),
        ),
    ),
    Exercise(
        "1.4",
        exact,
        "solve (sum_k mix_k A_k) omega* = sum_k mix_k A_k c_k, then J_k = <A_k (omega* - c_k), H^-1 (omega* - goal)>.",
        cases=_exact_cases,
        mistakes=(
            Mistake(_without_inverse, "The inverse Hessian is missing: in its place stands a step size of 1."),
            Mistake(
                _mean_of_centres,
                "omega* is the weighted mean of the c_k only if all curvatures are alike; here it takes a solve.",
            ),
        ),
    ),
)
