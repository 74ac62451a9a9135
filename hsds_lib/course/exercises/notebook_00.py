"""Exercises of notebook 0: what two exposures have lost, and which of them is the darker one."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from hsds_lib.course.checks import Exercise, Mistake
from hsds_lib.images.color import split_luma


def _lost(y: Tensor) -> Tensor:
    return (y <= 0.02) | (y >= 0.98)


def _same_end(under_y: Tensor, over_y: Tensor) -> float:
    dark, bright = (under_y <= 0.02) & (over_y <= 0.02), (under_y >= 0.98) & (over_y >= 0.98)
    return float((dark | bright).float().mean())


def _lost_cases(rng: torch.Generator) -> Iterable[tuple[Tensor, Tensor]]:
    for gain in (1.5, 2.5, 4.0):
        scene = torch.rand(1, 1, 20, 30, generator=rng)
        over = (scene * gain).clamp(0, 1)
        under = ((scene - 0.5) * gain / 2).clamp(0, 1)
        over[..., :3, :3] = 0.0  # black in both: the lens cap's corner
        under[..., :3, :3] = 0.0
        under[..., -2:, -2:] = over[..., -2:, -2:] = 1.0  # and a lamp
        yield under, over


def _luma(rgb: Tensor) -> Tensor:
    return split_luma(rgb)[0]


def _darker(first: Tensor, second: Tensor) -> Tensor:
    return first if float(_luma(first).mean()) <= float(_luma(second).mean()) else second


def _order_cases(rng: torch.Generator) -> Iterable[tuple[Tensor, Tensor]]:
    for swap in (False, True):
        dark, bright = 0.3 * torch.rand(1, 3, 6, 8, generator=rng), 0.5 + 0.5 * torch.rand(1, 3, 6, 8, generator=rng)
        yield (bright, dark) if swap else (dark, bright)
    green, blue = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    green[:, 1], blue[:, 2] = 0.5, 0.9  # more light in numbers, less of it to the eye
    yield green, blue


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        "0.1",
        lambda under_y, over_y: float((_lost(under_y) & _lost(over_y)).float().mean()),
        "For each exposure, which pixels are at most 0.02 or at least 0.98? A pixel counts if that is so in both.",
        cases=_lost_cases,
        mistakes=(
            Mistake(
                lambda under_y, over_y: float((_lost(under_y) | _lost(over_y)).float().mean()),
                "That counts what is lost in one or the other. Fusion can still find it in the other one.",
            ),
            Mistake(
                lambda under_y, over_y: float(_lost(under_y).float().mean() * _lost(over_y).float().mean()),
                "You multiply two shares, as if the losses were independent. They are not: look pixel by pixel.",
            ),
            Mistake(
                lambda under_y, over_y: float(((under_y <= 0.02) & (over_y >= 0.98)).float().mean()),
                "A pixel can also be black in both, or white in both: test each exposure at both ends, then combine.",
            ),
            Mistake(
                _same_end,
                "A pixel can also be black in one and white in the other: lost in both, though not at the same end.",
            ),
            Mistake(
                lambda under_y, over_y: float((_lost(under_y) & _lost(over_y)).sum()),
                "That is a number of pixels; divide by how many there are.",
            ),
        ),
    ),
    Exercise(
        "0.2",
        _darker,
        "Compare the mean luma of the two; split_luma(rgb)[0] is the luma.",
        cases=_order_cases,
        mistakes=(
            Mistake(
                lambda first, second: first,
                "You return the first one, whatever it is. People mix them up: compare how bright they are.",
            ),
            Mistake(
                lambda first, second: second if _darker(first, second) is first else first,
                "The other way round: the under-exposed picture is the darker one.",
            ),
            Mistake(
                lambda first, second: first if float(first.mean()) <= float(second.mean()) else second,
                "You compare the mean of red, green and blue. Brightness is luma: green counts for more than blue.",
            ),
        ),
    ),
)
