"""Exercises of notebook 8: gains, intervals over seeds, how many seeds, and the best of several runs."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, comb, floor

import torch
from torch import Tensor

from hsds_lib.course.checks import Exercise, Mistake


def _gain(ours: float, other: float) -> float:
    return 100 * (ours - other) / other


def _of_ours(ours: float, other: float) -> float:
    return 100 * (ours - other) / ours


def _loss(ours: float, other: float) -> float:
    return 100 * (other - ours) / other


def _ratio(ours: float, other: float) -> float:
    return 100 * ours / other


def _points(ours: float, other: float) -> float:
    return ours - other


def _share(ours: float, other: float) -> float:
    return (ours - other) / other


def _gain_cases(rng: torch.Generator) -> Iterable[tuple[float, float]]:
    yield 0.903, 0.87
    yield 0.903, 0.908
    yield 1.585, 1.433


def _half_width(values: Tensor, t: float) -> float:
    return float(t * values.std(unbiased=True) / len(values) ** 0.5)


def _spread_of_runs(values: Tensor, t: float) -> float:
    return float(t * values.std(unbiased=True))


def _population(values: Tensor, t: float) -> float:
    return float(t * values.std(unbiased=False) / len(values) ** 0.5)


def _standard_error(values: Tensor, t: float) -> float:
    return float(values.std(unbiased=True) / len(values) ** 0.5)


def _by_n(values: Tensor, t: float) -> float:
    return float(t * values.std(unbiased=True) / len(values))


def _width_cases(rng: torch.Generator) -> Iterable[tuple[Tensor, float]]:
    for n, t in ((3, 4.303), (5, 2.776), (10, 2.262)):
        yield 0.9 + 0.02 * torch.randn(n, generator=rng, dtype=torch.float64), t


def _whole_interval(values: Tensor, t: float) -> float:
    return 2 * _half_width(values, t)


def _root_twice(values: Tensor, t: float) -> float:
    return float(t * values.std(unbiased=True) / (len(values) - 1) ** 0.5)


def _seeds(spread: float, wanted: float) -> int:
    return ceil((1.96 * spread / wanted) ** 2)


def _no_square(spread: float, wanted: float) -> int:
    return ceil(1.96 * spread / wanted)


def _too_few(spread: float, wanted: float) -> int:
    return max(1, floor((1.96 * spread / wanted) ** 2))


def _whole_width(spread: float, wanted: float) -> int:
    return ceil((2 * 1.96 * spread / wanted) ** 2)


def _without_z(spread: float, wanted: float) -> int:
    return ceil((spread / wanted) ** 2)


def _seed_cases(rng: torch.Generator) -> Iterable[tuple[float, float]]:
    yield 0.02, 0.005
    yield 0.01, 0.002
    yield 0.03, 0.02


def _best_of(values: Tensor, k: int) -> float:
    ordered, n = sorted(values.tolist()), len(values)
    return sum(x * comb(i, k - 1) for i, x in enumerate(ordered)) / comb(n, k)


def _best_of_all(values: Tensor, k: int) -> float:
    return float(values.max())


def _plain_mean(values: Tensor, k: int) -> float:
    return float(values.mean())


def _worst_of(values: Tensor, k: int) -> float:
    return -_best_of(-values, k)


def _of_the_first(values: Tensor, k: int) -> float:
    return float(values[:k].max())


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
        _gain,
        "The gain of one number over another, in per cent of the *other*: that is what one had before.",
        cases=_gain_cases,
        mistakes=(
            Mistake(_of_ours, "You divide by the new value. A gain is measured against what there was before."),
            Mistake(_loss, "The sign: higher is better, and ours minus other is the gain."),
            Mistake(_ratio, "That is the ratio in per cent; 100 of it are no gain at all."),
            Mistake(_share, "That is the gain as a share; in per cent it is a hundred times as much."),
            Mistake(_points, "That is the difference. Divide it by the other value, and write it in per cent."),
        ),
    ),
    Exercise(
        "8.2",
        _half_width,
        "The standard deviation with n - 1, divided by the root of n, times the quantile t.",
        cases=_width_cases,
        mistakes=(
            Mistake(
                _spread_of_runs,
                "That is how far single runs scatter. The mean of n runs scatters less: divide by the root of n.",
            ),
            Mistake(
                _population,
                "Divided by n: the mean was fitted to the same runs, so the squares are divided by n - 1.",
            ),
            Mistake(_standard_error, "That is the standard error. An interval needs the quantile t as well."),
            Mistake(_whole_interval, "That is the whole interval, from end to end; half of it is asked for."),
            Mistake(
                _root_twice,
                "n - 1 belongs inside the standard deviation. The mean is of n runs: divide by the root of n.",
            ),
            Mistake(_by_n, "Variances are divided by n, standard deviations by its root."),
        ),
    ),
    Exercise(
        "8.3",
        _seeds,
        "Set the half-width 1.96 s / sqrt(n) equal to the wanted one and solve for n; round up.",
        cases=_seed_cases,
        mistakes=(
            Mistake(
                _no_square, "The root of n stands in the half-width, so n itself is a square: half as wide, 4 times."
            ),
            Mistake(_too_few, "Round up: with one seed less the interval is wider than wanted."),
            Mistake(_whole_width, "The half-width is asked for, not the whole width."),
            Mistake(_without_z, "That is where the standard error reaches it. For 95 % multiply it by 1.96 first."),
        ),
    ),
    Exercise(
        "8.4",
        _best_of,
        "Sort the n values. The i-th (from 0) is the best of k drawn ones in comb(i, k - 1) of comb(n, k) draws.",
        cases=_best_cases,
        mistakes=(
            Mistake(_best_of_all, "That is the best of all n. Most draws of k do not contain it."),
            Mistake(_plain_mean, "That is the expected value of one run. The best of k is higher."),
            Mistake(_worst_of, "Upside down: that is the expected worst of k."),
            Mistake(_of_the_first, "That is one draw. Take the mean over all of them."),
            Mistake(_not_sorted, "The formula counts from the smallest value up: sort the values first."),
            Mistake(_one_off, "The formula's i begins at 1. Counted from 0, comb(i, k - 1) is the number of draws."),
            Mistake(_with_replacement, "That draws runs with replacement. Each recorded run can be drawn once."),
        ),
    ),
)
