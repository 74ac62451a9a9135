"""Exercises of notebook 4: Eq. 3 by hand, where it falls, and what it does not see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from hsds_lib.course.checks import Exercise, Mistake
from hsds_lib.losses.contrast import CONTRAST_LAYERS, EPS, gamma
from hsds_lib.losses.features import Features

Pairs = Sequence[tuple[Features, Features]]


def _mse(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).square().mean(dim=(1, 2, 3))


def _layer_cases(rng: torch.Generator) -> Iterable[tuple[Tensor, ...]]:
    for items in (1, 2, 3):
        yield tuple(torch.randn(items, 4, 3, 3, generator=rng) for _ in range(4))


def _pulls(fused: Features, positive: Features) -> Tensor:
    return torch.stack([_mse(fused[layer], positive[layer]) for layer in fused])


def _pushes(fused: Features, negatives: Pairs) -> Tensor:
    pairs = [torch.stack([_mse(fused[n], u[n]) + _mse(fused[n], o[n]) for n in fused]) for u, o in negatives]
    return torch.stack(pairs).sum(dim=0)


def _features(rng: torch.Generator) -> Features:
    return {name: torch.randn(2, 3, 2, 2, generator=rng) * size for size, name in enumerate(CONTRAST_LAYERS, 1)}


def _stack_cases(rng: torch.Generator) -> Iterable[tuple[Features, Features, Pairs]]:
    for count in (1, 2, 3):
        pairs = [(_features(rng), _features(rng)) for _ in range(count)]
        yield _features(rng), _features(rng), pairs


def _sign(value: Tensor | float) -> int:
    return 1 if value > 0 else -1


def _first_move(f: Tensor, p: Tensor, negatives: Sequence[Tensor]) -> int:
    return _sign(-sum(((p - n) * (f - n)).sum().item() for n in negatives))


def _middle_only(f: Tensor, p: Tensor, negatives: Sequence[Tensor]) -> int:
    middle = torch.stack(list(negatives)).mean(dim=0)
    return _sign(-((p - middle) * (f - middle)).sum())


def _nearest_only(f: Tensor, p: Tensor, negatives: Sequence[Tensor]) -> int:
    nearest = min(negatives, key=lambda n: (f - n).norm().item())
    return _first_move(f, p, [nearest])


def _move_cases(rng: torch.Generator) -> Iterable[tuple[Tensor, Tensor, list[Tensor]]]:
    p, n = torch.tensor([2.0, 0.0]), [torch.tensor([0.0, 1.0]), torch.tensor([0.0, -1.0])]
    for x in (1.0, -0.3, -0.8):  # before the middle, behind it, behind the turning line at -1/2
        yield torch.tensor([x, 0.1]), p, n
    for count in (2, 2, 4, 4, 6, 6):
        f, p = (2 * torch.randn(4, generator=rng) for _ in range(2))
        yield f, p, [2 * torch.randn(4, generator=rng) for _ in range(count)]


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        "4.1",
        lambda f, p, u, o: gamma({"f": f}, {"f": p}, [({"f": u}, {"f": o})], layers=["f"]),
        "One distance per item: the mean of the squared difference over all axes but the first. Divide, then average.",
        cases=_layer_cases,
        mistakes=(
            Mistake(
                lambda f, p, u, o: (_mse(f, p) / (_mse(f, u) + EPS) + _mse(f, p) / (_mse(f, o) + EPS)).mean(),
                "You divide by each exposure on its own. Eq. 3 has one denominator: the sum of both.",
            ),
            Mistake(
                lambda f, p, u, o: (_mse(f, p).sqrt() / (_mse(f, u).sqrt() + _mse(f, o).sqrt() + EPS)).mean(),
                "You take roots. The paper writes a norm, but says that it means the mean square error (MSE).",
            ),
            Mistake(
                lambda f, p, u, o: _mse(f, p).mean() / (_mse(f, u).mean() + _mse(f, o).mean() + EPS),
                "You average over the batch before dividing. Then two items together are not the mean of each alone.",
            ),
            Mistake(
                lambda f, p, u, o: ((_mse(f, u) + _mse(f, o)) / (_mse(f, p) + EPS)).mean(),
                "Upside down: small must be good, so the distance to the positive goes on top.",
            ),
        ),
    ),
    Exercise(
        "4.2",
        lambda fused, positive, negatives: gamma(fused, positive, negatives),
        "For each layer, sum the distances over all M pairs, divide, and only then go to the next layer.",
        cases=_stack_cases,
        mistakes=(
            Mistake(
                lambda fused, positive, negatives: (
                    _pulls(fused, positive).sum(dim=0) / (_pushes(fused, negatives).sum(dim=0) + EPS)
                ).mean(),
                "You sum the layers before you divide. Then the layer with the largest features decides alone.",
            ),
            Mistake(
                lambda fused, positive, negatives: (
                    (_pulls(fused, positive) / (_pushes(fused, negatives) / len(negatives) + EPS)).sum(dim=0).mean()
                ),
                "You average over the negatives. The denominator of Eq. 3 is a sum: M equal negatives divide by M.",
            ),
            Mistake(
                lambda fused, positive, negatives: (_pulls(fused, positive) / (_pushes(fused, negatives) + EPS)).mean(),
                "You average over the layers. Eq. 3 sums them.",
            ),
            Mistake(
                lambda fused, positive, negatives: torch.stack(
                    [gamma(fused, positive, [pair]) for pair in negatives]
                ).sum(),
                "One fraction per negative is too many: the sum over m is in the denominator.",
            ),
        ),
    ),
    Exercise(
        "4.3",
        _first_move,
        "Put the derivative of the logarithm in one line: -2 sum <P - n, F - n> over a positive number. Only its sign "
        "is asked for.",
        cases=_move_cases,
        mistakes=(
            Mistake(
                lambda f, p, negatives: -_first_move(f, p, negatives),
                "The sign is the other way round: positive inner products make Gamma fall.",
            ),
            Mistake(
                lambda f, p, negatives: -1,
                "Not always: behind the negatives, the way to P leads past them. Use the formula.",
            ),
            Mistake(
                _middle_only,
                "The middle of the negatives is not all: their spread helps, too. Sum one inner product per negative.",
            ),
            Mistake(_nearest_only, "You look at the nearest negative alone. All of them are in the sum."),
        ),
    ),
    Exercise(
        "4.4",
        {"a", "b", "d", "f"},
        "Which of the changes keep every distance, or stretch all of them alike? And which image plays which part?",
        mistakes=(
            Mistake({"a", "d"}, "There are more: what of changes that move or turn all features together?"),
            Mistake({"a", "b", "d"}, "One is missing: a mean over channels does not know their order."),
            Mistake({"a", "b", "f"}, "One is missing: in which order does Eq. 3 add under and over?"),
            Mistake(
                {"a", "b", "c", "d", "f"},
                "(c) is a change of the pixels. VGG-16 subtracts a mean first and has bends, so features do not scale.",
            ),
            Mistake(
                {"a", "b", "d", "e", "f"}, "(e) doubles the denominator. A sum over m is no mean: Gamma is halved."
            ),
        ),
    ),
)
