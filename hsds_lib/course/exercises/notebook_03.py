"""Exercises of notebook 3: pruning refinement and weight retention on one node, and what a node costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from hsds_lib.course.checks import Exercise, Mistake
from hsds_lib.network.operations import PRIMITIVES, kernel, softmax_active
from hsds_lib.search.wsras import prune_step

Cut = Callable[[Tensor, Tensor, float, int], Tensor]


def _prune_node(alpha: Tensor, active: Tensor, theta: float, top_p: int) -> Tensor:
    return prune_step(alpha[None], active[None], theta=theta, top_p=top_p)[0]


def _weights(alpha: Tensor, active: Tensor) -> Tensor:
    return softmax_active(alpha[None], active[None])[0]


def _all_below(alpha: Tensor, active: Tensor, theta: float, top_p: int) -> Tensor:
    kept = active & (_weights(alpha, active) >= theta)
    return kept if kept.sum() >= top_p else active


def _without_floor(alpha: Tensor, active: Tensor, theta: float, top_p: int) -> Tensor:
    return _prune_node(alpha, active, theta, 1)


def _stale_weights(alpha: Tensor, active: Tensor, theta: float, top_p: int) -> Tensor:
    weights = alpha.softmax(0).masked_fill(~active, torch.inf)
    kept = active.clone()
    if weights.min() < theta and active.sum() > top_p:
        kept[weights.argmin()] = False
    return kept


def _first_of_equal(alpha: Tensor, active: Tensor, theta: float, top_p: int) -> Tensor:
    weights = _weights(alpha, active).masked_fill(~active, torch.inf)
    kept = active.clone()
    if weights.min() < theta and active.sum() > top_p:
        kept[weights.argmin()] = False
    return kept


def _removed_again(alpha: Tensor, active: Tensor, theta: float, top_p: int) -> Tensor:
    weights = _weights(alpha, active)  # of a removed operation: 0
    kept = active.clone()
    if weights.min() < theta and active.sum() > top_p:
        kept[(weights == weights.min()).nonzero().max()] = False
    return kept


def _removed_again_first(alpha: Tensor, active: Tensor, theta: float, top_p: int) -> Tensor:
    weights = _weights(alpha, active)
    kept = active.clone()
    if weights.min() < theta and active.sum() > top_p:
        kept[weights.argmin()] = False
    return kept


_REMOVED = (
    "You chose an operation that is removed already: its weight is 0, the smallest of all. Look among the active ones."
)


def _prune_cases(rng: torch.Generator) -> Iterable[tuple[Tensor, Tensor, float, int]]:
    everything = torch.ones(len(PRIMITIVES), dtype=torch.bool)
    for theta, top_p in ((0.05, 2), (0.09, 3), (1.0, 2), (0.0, 1)):
        yield 2 * torch.randn(len(PRIMITIVES), generator=rng), everything, theta, top_p
    yield torch.zeros(len(PRIMITIVES)), everything, 0.5, 2  # all equal: the last goes
    few = torch.zeros(len(PRIMITIVES), dtype=torch.bool)
    few[[1, 4, 7]] = True
    yield torch.tensor([0.0, 1.0] * 5 + [0.0]), few, 0.1, 2  # among three, no weight is below 0.1
    yield torch.randn(len(PRIMITIVES), generator=rng), few, 1.0, 3  # already at P
    yield torch.linspace(2, -2, len(PRIMITIVES)), few, 0.4, 2  # of three active ones the weakest must go


def _retain_node(weights: Tensor, top_p: int) -> Tensor:
    kept = torch.zeros_like(weights)
    best = weights.argsort(descending=True, stable=True)[:top_p]
    kept[best] = weights[best]
    return kept / kept.sum()


def _softmax_of_weights(weights: Tensor, top_p: int) -> Tensor:
    kept = _retain_node(weights, top_p) > 0
    return weights.masked_fill(~kept, -torch.inf).softmax(0)


def _places_lost(weights: Tensor, top_p: int) -> Tensor:
    best = weights.topk(top_p).values
    return best / best.sum()


def _count(cut: Cut) -> Callable[[Tensor, float, int], int]:
    """Simulate with a rule: how many operations are left once it changes nothing any more."""

    def left(alpha: Tensor, theta: float, top_p: int) -> int:
        active = torch.ones(len(alpha), dtype=torch.bool)
        while not torch.equal(pruned := cut(alpha, active, theta, top_p), active):
            active = pruned
        return int(active.sum())

    return left


def _left_cases(rng: torch.Generator) -> Iterable[tuple[Tensor, float, int]]:
    for theta, top_p in ((0.05, 2), (0.08, 2), (0.2, 2), (0.0, 2), (1.0, 3), (0.07, 5)):
        yield torch.randn(len(PRIMITIVES), generator=rng), theta, top_p
    yield torch.zeros(len(PRIMITIVES)), 0.095, 2  # 1/11 is below it, 1/10 is not


def _parameters(operations: Sequence[str], inputs: int, outputs: int) -> int:
    sizes = [kernel(name)[:2] for name in operations]
    return sum(height * width * inputs * outputs + 2 * outputs for height, width in sizes)


def _reach(operations: Sequence[str], inputs: int, outputs: int) -> int:
    spans = [[(size - 1) * kernel(name)[2] + 1 for size in kernel(name)[:2]] for name in operations]
    return sum(height * width * inputs * outputs + 2 * outputs for height, width in spans)


def _parameter_cases(rng: torch.Generator) -> Iterable[tuple[list[str], int, int]]:
    yield ["conv_1x1"], 1, 16
    yield list(PRIMITIVES), 16, 32
    for inputs, outputs in ((32, 16), (96, 64)):
        chosen = torch.randperm(len(PRIMITIVES), generator=rng)[:4].tolist()
        yield [PRIMITIVES[place] for place in [*chosen, 9] if place != 10], inputs, outputs


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        "3.1",
        _prune_node,
        "Take the softmax over the active entries only, find the smallest weight, and ask two questions: is it "
        "below theta, and are more than top_p operations active?",
        cases=_prune_cases,
        mistakes=(
            Mistake(_all_below, "You remove every operation below theta at once. Only the weakest may go in a step."),
            Mistake(
                _without_floor, "You never look at top_p: an operation may go only while more than top_p are active."
            ),
            Mistake(
                _stale_weights,
                f"Your weights are a softmax over all {len(PRIMITIVES)}, removed ones included. The weights of a node "
                "sum to 1 over the active ones, so that theta is compared with larger numbers than yours.",
            ),
            Mistake(
                lambda alpha, active, theta, top_p: active & (_weights(alpha, active) >= theta),
                "You remove all that are below theta, and never look at top_p. One at most may go.",
            ),
            Mistake(_removed_again, _REMOVED),
            Mistake(_removed_again_first, f"{_REMOVED} And of equal weights the last one goes."),
            Mistake(_first_of_equal, "Nearly: of equal weights the last one goes, and argmin finds the first."),
        ),
    ),
    Exercise(
        "3.2",
        _retain_node,
        "Start from a tensor of zeros, copy the top_p largest weights to their places, then make the sum 1 again.",
        cases=lambda rng: [
            (torch.randn(len(PRIMITIVES), generator=rng).mul(1.5).softmax(0), top_p)
            for top_p in (1, 2, 3, len(PRIMITIVES))
        ],
        mistakes=(
            Mistake(
                lambda weights, top_p: _retain_node(weights, top_p) * weights.topk(top_p).values.sum(),
                "The right operations, but their weights no longer sum to 1: divide by their sum.",
            ),
            Mistake(
                _softmax_of_weights,
                "These are weights already, not logits: a second softmax pulls them together. Divide by their sum.",
            ),
            Mistake(
                _places_lost,
                f"The places are lost: return {len(PRIMITIVES)} numbers, zero where an operation is not retained.",
            ),
        ),
    ),
    Exercise(
        "3.3",
        _count(_prune_node),
        "Repeat your answer to 3.1, or prune_step on alpha[None], until the mask stays the same; then count.",
        cases=_left_cases,
        mistakes=(
            Mistake(
                lambda alpha, theta, top_p: max(top_p, int((alpha.softmax(0) >= theta).sum())),
                "You compare the first weights with theta. After each removal the others grow, and some of them are no "
                "longer below theta: take the weights anew before every removal.",
            ),
            Mistake(
                lambda alpha, theta, top_p: top_p,
                "That is Algorithm 1 line 8 as written. It stops earlier: when no weight is below theta.",
            ),
            Mistake(_count(_without_floor), "You never stop at top_p."),
        ),
    ),
    Exercise(
        "3.4",
        _parameters,
        "An operation is a convolution without bias, height x width x inputs x outputs, and a batch normalisation with "
        "a scale and a shift for each output channel. kernel(name) gives height, width and dilation.",
        cases=_parameter_cases,
        mistakes=(
            Mistake(
                lambda operations, inputs, outputs: (
                    _parameters(operations, inputs, outputs) - 2 * outputs * len(operations)
                ),
                "The batch normalisation is missing: two numbers for each output channel.",
            ),
            Mistake(
                lambda operations, inputs, outputs: (
                    _parameters(operations, inputs, outputs) + outputs * len(operations)
                ),
                "These convolutions have no bias: the shift of the batch normalisation does its work.",
            ),
            Mistake(_reach, "Dilation spreads the taps of a kernel, it adds none: 5x5 with dilation 2 has 25."),
        ),
    ),
)
