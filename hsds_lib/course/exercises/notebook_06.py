"""Exercises of notebook 6: the work of a node, recalibrated statistics, fused chroma, how far a stack sees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from hsds_lib.course.checks import Exercise, Mistake
from hsds_lib.images.color import NEUTRAL, fuse_chroma

Kernels = Sequence[tuple[int, int, int]]
Layers = Sequence[tuple[int, int, int]]


def _taps(kernels: Kernels) -> int:
    return sum(height * width for height, width, _ in kernels)


def _macs(kernels: Kernels, inputs: int, outputs: int, scale: int, times: int) -> float:
    return _taps(kernels) * inputs * outputs * times / scale**2


def _spread_macs(kernels: Kernels, inputs: int, outputs: int, scale: int, times: int) -> float:
    grown = [(d * (h - 1) + 1, d * (w - 1) + 1, 1) for h, w, d in kernels]
    return _macs(grown, inputs, outputs, scale, times)


def _macs_cases(rng: torch.Generator) -> Iterable[tuple[Kernels, int, int, int, int]]:
    yield [(3, 3, 1)], 1, 16, 1, 1
    yield [(1, 5, 1), (7, 7, 2)], 96, 64, 2, 1
    yield [(5, 5, 2), (1, 1, 1)], 16, 32, 1, 3
    yield [(3, 1, 1), (3, 3, 2), (5, 1, 1)], 8, 4, 4, 2


def _undefined(under: Tensor, over: Tensor) -> Tensor:
    d_u, d_o = under - NEUTRAL, over - NEUTRAL
    return (d_u.abs() * d_u + d_o.abs() * d_o) / (d_u.abs() + d_o.abs()) + NEUTRAL


def _signed(under: Tensor, over: Tensor) -> Tensor:
    d_u, d_o = under - NEUTRAL, over - NEUTRAL
    total = d_u + d_o
    safe = torch.where(total == 0, torch.ones_like(total), total)
    return (d_u * d_u + d_o * d_o) / safe + NEUTRAL


def _squares(under: Tensor, over: Tensor) -> Tensor:
    d_u, d_o = under - NEUTRAL, over - NEUTRAL
    total = d_u.abs() + d_o.abs()
    safe = torch.where(total == 0, torch.ones_like(total), total)
    return (d_u.square() + d_o.square()) / safe + NEUTRAL


def _chroma_cases(rng: torch.Generator) -> Iterable[tuple[Tensor, Tensor]]:
    yield torch.tensor([0.7, 0.4]), torch.tensor([0.5, 0.3])
    yield torch.rand(4, generator=rng), torch.rand(4, generator=rng)
    yield torch.tensor([0.5, 0.6, 0.2]), torch.tensor([0.5, 0.3, 0.1])
    yield torch.rand(1, 2, 3, 3, generator=rng), torch.rand(1, 2, 3, 3, generator=rng)


def _statistics(batches: Sequence[Tensor]) -> Tensor:
    norm = torch.nn.BatchNorm2d(batches[0].shape[1], momentum=None)
    for batch in batches:
        norm(batch)
    assert norm.running_mean is not None and norm.running_var is not None
    return torch.stack([norm.running_mean, norm.running_var])


def _moments(batches: Sequence[Tensor], correction: int) -> Tensor:
    each = [torch.stack([b.mean((0, 2, 3)), b.var((0, 2, 3), correction=correction)]) for b in batches]
    return torch.stack(each).mean(dim=0)


def _rooted(batches: Sequence[Tensor]) -> Tensor:
    mean, variance = _moments(batches, 1)
    return torch.stack([mean, variance.sqrt()])


def _pooled(batches: Sequence[Tensor]) -> Tensor:
    flat = torch.cat([batch.transpose(0, 1).flatten(1) for batch in batches], dim=1)
    return torch.stack([flat.mean(dim=1), flat.var(dim=1)])


def _moving(batches: Sequence[Tensor]) -> Tensor:
    norm = torch.nn.BatchNorm2d(batches[0].shape[1])
    for batch in batches:
        norm(batch)
    assert norm.running_mean is not None and norm.running_var is not None
    return torch.stack([norm.running_mean, norm.running_var])


def _statistics_cases(rng: torch.Generator) -> Iterable[tuple[list[Tensor]]]:
    for shapes in ([(2, 3)], [(2, 3), (2, 3)], [(4, 2), (1, 3), (2, 4)]):
        yield ([torch.randn(b, 2, s, s, generator=rng) * (1 + k) + k for k, (b, s) in enumerate(shapes)],)


def _radius(layers: Layers) -> int:
    reach, step = 0, 1
    for kernel, stride, dilation in layers:
        reach += kernel // 2 * dilation * step
        step *= stride
    return reach


def _own_stride(layers: Layers) -> int:
    reach, step = 0, 1
    for kernel, stride, dilation in layers:
        step *= stride
        reach += kernel // 2 * dilation * step
    return reach


def _last_stride(layers: Layers) -> int:
    strides = [1, *(stride for _, stride, _ in layers)]
    return sum(k // 2 * d * before for (k, _, d), before in zip(layers, strides[:-1], strict=True))


def _radius_cases(rng: torch.Generator) -> Iterable[tuple[Layers]]:
    yield ([(3, 1, 1), (5, 1, 1)],)
    yield ([(3, 2, 1), (3, 1, 1)],)
    yield ([(7, 1, 2), (3, 2, 1), (3, 2, 1), (5, 1, 2)],)
    yield ([(1, 1, 1)],)


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        "6.1",
        _macs,
        "One output value of one operation takes height * width * inputs multiplications. How many values are there "
        "for one pixel of the picture?",
        cases=_macs_cases,
        mistakes=(
            Mistake(
                _spread_macs,
                "You count the gaps of a dilated kernel. Dilation spreads the taps; it adds none, and costs nothing.",
            ),
            Mistake(
                lambda kernels, inputs, outputs, scale, times: _macs(
                    [(h * d, w, 1) for h, w, d in kernels], inputs, outputs, scale, times
                ),
                "You multiply the taps by the dilation. It spreads them; it adds none, and costs nothing.",
            ),
            Mistake(
                lambda kernels, inputs, outputs, scale, times: _macs(kernels, inputs, outputs, scale, times) * scale,
                "At half resolution there are a quarter of the pixels: both sides are halved.",
            ),
            Mistake(
                lambda kernels, inputs, outputs, scale, times: 2 * _macs(kernels, inputs, outputs, scale, times),
                "That is the flop counter's number: it takes a multiplication and an addition for two.",
            ),
            Mistake(
                lambda kernels, inputs, outputs, scale, times: _macs(kernels, inputs, outputs, scale, 1),
                "A node that is applied several times does its work several times.",
            ),
            Mistake(
                lambda kernels, inputs, outputs, scale, times: _taps(kernels) * inputs * outputs,
                "Those are weights. Work also depends on how many places they are applied at.",
            ),
        ),
    ),
    Exercise(
        "6.2",
        _statistics,
        "Mean and variance of each channel in each batch, over items, rows and columns; then the plain mean over the "
        "batches of both. BatchNorm stores the variance with n - 1.",
        cases=_statistics_cases,
        mistakes=(
            Mistake(
                lambda batches: _moments(batches, 0),
                "The variance that is stored divides by n - 1; only the batch itself is normalised with n.",
            ),
            Mistake(_rooted, "BatchNorm stores the variance, not the standard deviation."),
            Mistake(
                _pooled, "You pool all pixels. Here a batch counts once, and what differs between them is not added."
            ),
            Mistake(_moving, "That is the moving average of training: it starts at 0 and 1 and forgets only slowly."),
            Mistake(
                lambda batches: _moments(batches[-1:], 1),
                "Only the last batch is left in that. All of them count the same.",
            ),
        ),
    ),
    Exercise(
        "6.3",
        fuse_chroma,
        "Subtract 0.5 first: what is left says how far from gray, and to which side. Its size is the weight.",
        cases=_chroma_cases,
        mistakes=(
            Mistake(
                lambda under, over: (under + over) / 2,
                "That is the plain mean. An exposure that lost its colour would still pull to gray.",
            ),
            Mistake(
                lambda under, over: (under * under + over * over) / (under + over),
                "Gray is 0.5, not 0: subtract it before you weigh, and add it at the end.",
            ),
            Mistake(_undefined, "Nearly. Where both exposures are gray you divide zero by zero; the result is gray."),
            Mistake(_signed, "A weight must not be negative: take the absolute value of the distance from gray."),
            Mistake(_squares, "A square loses its sign, and with it the side of gray: weigh d by |d|, which is |d| d."),
            Mistake(
                lambda under, over: torch.where((under - NEUTRAL).abs() > (over - NEUTRAL).abs(), under, over),
                "That takes the stronger one whole. Here both count, by their distance from gray.",
            ),
            Mistake(
                lambda under, over: fuse_chroma(under, over) - NEUTRAL,
                "That is the distance from gray. Add the 0.5 again.",
            ),
        ),
    ),
    Exercise(
        "6.4",
        _radius,
        "Go from the input to the output, and keep track of how many input pixels one step of the present layer is.",
        cases=_radius_cases,
        mistakes=(
            Mistake(
                lambda layers: _radius([(kernel, 1, dilation) for kernel, _, dilation in layers]),
                "After a stride of 2 each step of the following layers is two input pixels.",
            ),
            Mistake(
                lambda layers: _radius([(kernel, stride, 1) for kernel, stride, _ in layers]),
                "Dilation moves the taps apart: a radius of 1 becomes one of `dilation`.",
            ),
            Mistake(_own_stride, "A layer's own stride does not widen what it sees, only what the later ones see."),
            Mistake(
                lambda layers: 2 * _radius(layers) + 1,
                "That is the width of the whole field. The radius is asked: pixels to one side.",
            ),
            Mistake(_last_stride, "Strides multiply: after two strides of 2, one step is four input pixels."),
        ),
    ),
)
