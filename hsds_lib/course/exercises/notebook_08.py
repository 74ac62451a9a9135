"""Exercises of notebook 8: gains, intervals over seeds, how many seeds, and the best of several runs."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, comb, floor

import torch
from torch import Tensor

from hsds_lib.course.checks import Exercise, Mistake


def _half_width(values: Tensor, t: float) -> float:
    return float(t * values.std(unbiased=True) / len(values) ** 0.5)


def _width_cases(rng: torch.Generator) -> Iterable[tuple[Tensor, float]]:
    for n, t in ((3, 4.303), (5, 2.776), (10, 2.262)):
        yield 0.9 + 0.02 * torch.randn(n, generator=rng, dtype=torch.float64), t


def _best_of(values: Tensor, k: int) -> float:
    ordered, n = sorted(values.tolist()), len(values)
    return sum(x * comb(i, k - 1) for i, x in enumerate(ordered)) / comb(n, k)


def _not_sorted(values: Tensor, k: int) -> float:
    n = len(values)
    return sum(x * comb(i, k - 1) for i, x in enumerate(values.tolist())) / comb(n, k)


def _one_off(values: Tensor, k: int) -> float:
    ordered, n = sorted(values.tolist()), len(values)
    return sum(x * comb(i + 1, k - 1) for i, x in enumerate(ordered)) / comb(n, k)


def _with_replacement(values: Tensor, k: int) -> float:
    ordered, n = sorted(values.tolist()), len(values)
    return sum(x * ((i + 1) ** k - i**k) for i, x in enumerate(ordered)) / n**k


def _best_cases(rng: torch.Generator) -> Iterable[tuple[Tensor, int]]:
    for n, k in ((5, 2), (8, 3), (6, 4)):
        values = torch.randn(n, generator=rng, dtype=torch.float64).sort().values
        # Not sorted, because sorting is part of the task, and with the best one last.
        yield values[[1, 0, *range(2, n)]], k


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        "8.1",
        lambda ours, other: 100 * (ours - other) / other,
        "The gain of one number over another, in per cent of the *other*: that is what one had before.",
        cases=lambda rng: [(0.903, 0.87), (0.903, 0.908), (1.585, 1.433)],
        mistakes=(
            Mistake(
                lambda ours, other: 100 * (ours - other) / ours,
                "You divide by the new value. A gain is measured against what there was before.",
            ),
            Mistake(
                lambda ours, other: 100 * (other - ours) / other,
                "The sign: higher is better, and ours minus other is the gain.",
            ),
            Mistake(
                lambda ours, other: 100 * ours / other, "That is the ratio in per cent; 100 of it are no gain at all."
            ),
            Mistake(
                lambda ours, other: (ours - other) / other,
                "That is the gain as a share; in per cent it is a hundred times as much.",
            ),
            Mistake(
                lambda ours, other: ours - other,
                "That is the difference. Divide it by the other value, and write it in per cent.",
            ),
        ),
    ),
    Exercise(
        "8.2",
        _half_width,
        "The standard deviation with n - 1, divided by the root of n, times the quantile t.",
        cases=_width_cases,
        mistakes=(
            Mistake(
                lambda values, t: float(t * values.std(unbiased=True)),
                "That is how far single runs scatter. The mean of n runs scatters less: divide by the root of n.",
            ),
            Mistake(
                lambda values, t: float(t * values.std(unbiased=False) / len(values) ** 0.5),
                "Divided by n: the mean was fitted to the same runs, so the squares are divided by n - 1.",
            ),
            Mistake(
                lambda values, t: float(values.std(unbiased=True) / len(values) ** 0.5),
                "That is the standard error. An interval needs the quantile t as well.",
            ),
            Mistake(
                lambda values, t: 2 * _half_width(values, t),
                "That is the whole interval, from end to end; half of it is asked for.",
            ),
            Mistake(
                lambda values, t: float(t * values.std(unbiased=True) / (len(values) - 1) ** 0.5),
                "n - 1 belongs inside the standard deviation. The mean is of n runs: divide by the root of n.",
            ),
            Mistake(
                lambda values, t: float(t * values.std(unbiased=True) / len(values)),
                "Variances are divided by n, standard deviations by its root.",
            ),
        ),
    ),
    Exercise(
        "8.3",
        lambda spread, wanted: ceil((1.96 * spread / wanted) ** 2),
        "Set the half-width 1.96 s / sqrt(n) equal to the wanted one and solve for n; round up.",
        cases=lambda rng: [(0.02, 0.005), (0.01, 0.002), (0.03, 0.02)],
        mistakes=(
            Mistake(
                lambda spread, wanted: ceil(1.96 * spread / wanted),
                "The root of n stands in the half-width, so n itself is a square: half as wide, 4 times.",
            ),
            Mistake(
                lambda spread, wanted: max(1, floor((1.96 * spread / wanted) ** 2)),
                "Round up: with one seed less the interval is wider than wanted.",
            ),
            Mistake(
                lambda spread, wanted: ceil((2 * 1.96 * spread / wanted) ** 2),
                "The half-width is asked for, not the whole width.",
            ),
            Mistake(
                lambda spread, wanted: ceil((spread / wanted) ** 2),
                "That is where the standard error reaches it. For 95 % multiply it by 1.96 first.",
            ),
        ),
    ),
    Exercise(
        "8.4",
        _best_of,
        "Sort the n values. The i-th (from 0) is the best of k drawn ones in comb(i, k - 1) of comb(n, k) draws.",
        cases=_best_cases,
        mistakes=(
            Mistake(
                lambda values, k: float(values.max()), "That is the best of all n. Most draws of k do not contain it."
            ),
            Mistake(
                lambda values, k: float(values.mean()),
                "That is the expected value of one run. The best of k is higher.",
            ),
            Mistake(lambda values, k: -_best_of(-values, k), "Upside down: that is the expected worst of k."),
            Mistake(lambda values, k: float(values[:k].max()), "That is one draw. Take the mean over all of them."),
            Mistake(_not_sorted, "The formula counts from the smallest value up: sort the values first."),
            Mistake(_one_off, "The formula's i begins at 1. Counted from 0, comb(i, k - 1) is the number of draws."),
            Mistake(_with_replacement, "That draws runs with replacement. Each recorded run can be drawn once."),
        ),
    ),
)
