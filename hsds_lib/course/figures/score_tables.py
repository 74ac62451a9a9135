"""From scores of methods on scenes to statements: means with their spread, ranks, tests and intervals."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from hsds_lib.course.tables import Table
from hsds_lib.evaluation.statistics import MethodScores
from hsds_lib.images.datasets import is_in_memory


class SignTest(NamedTuple):
    """How often the first of two methods won and lost, and the two-sided p if each scene were a coin."""

    won: int
    lost: int
    p: float


def groups(scenes: Sequence[str], data: str) -> list[str]:
    """Say which scenes are independent: those of ``embedded`` are several lights on each of a few photographs."""
    return [re.sub(r"-\d+$", "", scene) if is_in_memory(data) else scene for scene in scenes]


def values_of(scores: MethodScores, method: str, metric: str) -> np.ndarray:
    """Collect one metric of one method, a number per scene; nan where it has no value."""
    found = [by_metric[metric] for by_metric in scores[method].values()]
    return np.array([np.nan if value is None else value for value in found], dtype=float)


def gaps(scores: MethodScores, first: str, second: str, metric: str) -> np.ndarray:
    """Subtract the second method's scores from the first one's; ``ValueError`` unless the scenes are the same."""
    if list(scores[first]) != list(scores[second]):
        raise ValueError(f"{first} and {second} have different scenes; measure both on the same ones, in one order")
    return values_of(scores, first, metric) - values_of(scores, second, metric)


def mean_table(scores: MethodScores, metrics: Sequence[str], printed: Mapping[str, float], printed_as: str) -> Table:
    """Put the means over scenes of every method into a table, with their standard deviations and printed values.

    A metric without a value on some scene has a dash: a mean over other scenes would mislead.
    """
    rows = []
    for metric in metrics:
        cells = []
        for method in scores:
            values = values_of(scores, method, metric)
            spread = spread_of(values)
            cells.append("–" if np.isnan(values).any() else f"{values.mean():.3f} ± {spread:.3f}".replace("nan", "?"))
        rows.append((metric, *cells, f"{printed[metric]:.3f}" if metric in printed else "–"))
    return Table(("metric", *scores, printed_as), rows)


def mean_ranks(scores: ArrayLike) -> np.ndarray:
    """Rank methods ``(methods, scenes)`` on every scene, 1 for the highest score; equal ones share places; average."""
    return rankdata(-np.asarray(scores, dtype=float), axis=0).mean(axis=1)


def sign_test(differences: ArrayLike) -> SignTest:
    """Test whether one of two methods wins more often than a coin would; ties are left out."""
    signs = np.sign(np.asarray(differences, dtype=float))
    won, lost = int((signs > 0).sum()), int((signs < 0).sum())
    tail = sum(comb(won + lost, count) for count in range(min(won, lost) + 1))
    return SignTest(won, lost, min(1.0, 2 * tail / 2 ** (won + lost)))


def group_means(differences: ArrayLike, of_group: Sequence[str]) -> np.ndarray:
    """Average within each group, in the order in which the groups come."""
    values, names = np.asarray(differences, dtype=float), np.asarray(of_group)
    return np.array([values[names == name].mean() for name in dict.fromkeys(of_group)])


def spread_of(values: ArrayLike) -> float:
    """Give the sample standard deviation; nan for a single value, which has no spread."""
    array = np.asarray(values, dtype=float)
    return float(array.std(ddof=1)) if len(array) > 1 else float("nan")


def scenes_needed(lead: float, differences: ArrayLike) -> float:
    """Say how many independent scenes make a lead twice its standard error; infinite if there is no lead."""
    return (2 * spread_of(differences) / lead) ** 2 if lead else float("inf")
