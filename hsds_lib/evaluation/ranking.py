"""Means over the same scenes for all methods, and who is first, second and so on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hsds_lib.evaluation.metrics import CORRECT_FORM, METRICS, PAPER_METRICS
from hsds_lib.evaluation.scoring import Scores

MethodScores = Mapping[str, Mapping[str, Scores]]
"""Method to scene to metric to value; None where a metric has no value."""

RANKED = tuple(CORRECT_FORM.get(name, name) for name in PAPER_METRICS)
"""The paper's eight metrics in their correct forms: what ranks are taken of. Higher is better in all of them."""


class Means(NamedTuple):
    """Means by method and metric, and over how many scenes each metric was averaged.

    Example:
        >>> Means({"a": {"EN": 7.0}}, {"EN": 12}).scenes
        {'EN': 12}
    """

    values: dict[str, dict[str, float | None]]
    scenes: dict[str, int]


def common_means(scores: MethodScores, metrics: Iterable[str] = tuple(METRICS)) -> Means:
    """Average each metric over the scenes in which every method that knows it has a value.

    A mean over other scenes would not be comparable. A method knows a metric when it has a value of it in some scene;
    of recorded scores some metrics are missing.

    Args:
        scores: of all methods, on the same scenes.
        metrics: names of metrics.

    Returns:
        Means, None where a method does not know a metric, and the number of scenes by metric.

    Example:
        >>> scores = {"a": {"s": {"EN": 7.0}, "t": {"EN": 6.0}}, "b": {"s": {"EN": 7.5}, "t": {"EN": None}}}
        >>> common_means(scores, ["EN", "CC"])
        Means(values={'a': {'EN': 7.0, 'CC': None}, 'b': {'EN': 7.5, 'CC': None}}, scenes={'EN': 1, 'CC': 0})
    """
    values: dict[str, dict[str, float | None]] = {method: {} for method in scores}
    counts = {}
    for metric in metrics:
        columns = {
            method: {scene: value for scene, row in rows.items() if (value := row.get(metric)) is not None}
            for method, rows in scores.items()
        }
        known = [set(column) for column in columns.values() if column]
        common = set.intersection(*known) if known else set()
        counts[metric] = len(common)
        for method, column in columns.items():
            kept = [column[scene] for scene in column if scene in common]
            values[method][metric] = float(np.mean(kept)) if kept else None
    return Means(values, counts)


def places(values: ArrayLike) -> np.ndarray:
    """Rank the methods in every column, 1 for the highest value; equal values share their places.

    Args:
        values: ``(methods, columns)``; higher is better.

    Returns:
        float64 of the same shape, from 1 to the number of methods.

    Example:
        >>> places([[0.9, 0.5], [0.8, 0.5], [0.1, 0.7]]).tolist()
        [[1.0, 2.5], [2.0, 2.5], [3.0, 1.0]]
    """
    table = np.asarray(values, dtype=float)
    better = (table[None, :] > table[:, None]).sum(axis=1)
    equal = (table[None, :] == table[:, None]).sum(axis=1)  # itself included
    return better + (equal + 1) / 2


def ranked_metrics(means: Means) -> list[str]:
    """Say which of ``RANKED`` all methods have a mean of, over all scenes: those that a mean rank can be taken over.

    Args:
        means: what :func:`common_means` gives. A metric that has a value in some of the scenes only (CC, where one
            scene of many has a reference) is left out: it would weigh as much as the others.

    Returns:
        Names of metrics, in the order of ``RANKED``.

    Example:
        >>> scores = {"a": {"s": {"EN": 7.0, "CC": 0.5}, "t": {"EN": 6.0, "CC": None}}}
        >>> ranked_metrics(common_means(scores))
        ['EN']
    """
    most = max(means.scenes.values(), default=0)
    rows = means.values.values()
    return [
        name
        for name in RANKED
        if means.scenes.get(name, 0) == most > 0 and all(row.get(name) is not None for row in rows)
    ]


def rank_table(means: Mapping[str, Mapping[str, float | None]], metrics: Sequence[str]) -> dict[str, dict[str, float]]:
    """Rank the methods by their means.

    Args:
        means: by method and metric, without gaps in these metrics.
        metrics: which to rank by, at least one.

    Returns:
        For each method, its place in every metric, and under ``mean rank`` their mean.

    Example:
        >>> rank_table({"a": {"EN": 7.0, "Qabf": 0.6}, "b": {"EN": 6.0, "Qabf": 0.7}}, ["EN", "Qabf"])["a"]
        {'EN': 1.0, 'Qabf': 2.0, 'mean rank': 1.5}
    """
    found = places(np.array([[means[method][metric] for metric in metrics] for method in means], dtype=float))
    return {
        method: {**dict(zip(metrics, row.tolist(), strict=True)), "mean rank": float(row.mean())}
        for method, row in zip(means, found, strict=True)
    }
