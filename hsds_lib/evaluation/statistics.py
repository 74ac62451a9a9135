"""How sure a difference of two methods is, and who is the best: means, ranks, and intervals from scenes drawn again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hsds_lib.evaluation.metrics import CORRECT_FORM, METRICS, PAPER_METRICS
from hsds_lib.evaluation.scoring import Scores

if TYPE_CHECKING:
    import pandas as pd  # slow to import; notebooks that only draw intervals do without

DRAWS = 10_000
"""How often the scenes are drawn."""
LEVEL = 0.95
"""The share of intervals that should hold the true mean."""
RANKED = tuple(CORRECT_FORM.get(name, name) for name in PAPER_METRICS)
"""The paper's eight metrics in their correct forms: what ranks are taken of. Higher is better in all of them."""
MEAN_RANK = "mean rank"
"""The name of the column of mean ranks."""
_AT_ONCE = 4_000_000  # picked numbers in memory

MethodScores = Mapping[str, Mapping[str, Scores]]
"""Method to scene to metric to value; None where a metric has no value."""


@dataclass(frozen=True)
class Difference:
    """A method minus the baseline in one metric: mean and interval over the scenes in which both have a value.

    The interval is None with fewer than two scenes; scenes neither ``won`` nor ``lost`` by the method are equal.
    """

    method: str
    baseline: str
    metric: str
    mean: float
    low: float | None
    high: float | None
    scenes: int
    won: int
    lost: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


class Means(NamedTuple):
    """Means, methods by metrics with NaN where there is none, and over how many scenes each metric was averaged."""

    values: pd.DataFrame
    scenes: dict[str, int]


def mean_interval(
    values: ArrayLike,
    of_group: Sequence[str] | None = None,
    *,
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = 0,
) -> tuple[float, float]:
    """Give the percentile bootstrap interval of the mean of values ``(N,)``, drawn with replacement.

    With ``of_group`` (a name for each value) whole groups are drawn. With few values it is a little too narrow: of 95 %
    intervals of normal numbers, 94 % hold the mean with 30 values and 91 % with 12. Values that are missing or not
    finite, and groups that do not fit, are a ``ValueError``.

    Example:
        >>> mean_interval([1.0, 2.0, 6.0, 7.0], ["a", "a", "b", "b"])
        (1.5, 6.5)
    """
    numbers = np.asarray(values, dtype=float)
    if numbers.ndim != 1 or not len(numbers) or not np.isfinite(numbers).all():
        raise ValueError(f"an interval got values of shape {numbers.shape}; give a row of one or more finite numbers")
    if of_group is not None and len(of_group) != len(numbers):
        raise ValueError(f"{len(numbers)} differences got {len(of_group)} groups; give one group for each difference")
    names = np.arange(len(numbers)) if of_group is None else np.unique(np.asarray(of_group), return_inverse=True)[1]
    # Around the first value, so that the interval of equal values is that value to the last digit.
    sums, counts = np.bincount(names, weights=numbers - numbers[0]), np.bincount(names)
    generator = np.random.default_rng(seed)
    means = np.empty(draws)
    step = max(1, _AT_ONCE // len(sums))
    for start in range(0, draws, step):
        picks = generator.integers(0, len(sums), (min(step, draws - start), len(sums)))
        means[start : start + len(picks)] = sums[picks].sum(axis=1) / counts[picks].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2]) + numbers[0]
    return float(low), float(high)


def paired_differences(
    scores: Mapping[str, Mapping[str, Scores]],
    baseline: str,
    metrics: Sequence[str],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Difference]:
    """Subtract the baseline from every other method, scene by scene, with an interval for each mean.

    One difference for each method and metric that both have values of, method by method. ``ValueError``: the baseline
    has no scores.

    Example:
        >>> scores = {"a": {"s": {"EN": 7.0}, "t": {"EN": 6.0}}, "b": {"s": {"EN": 7.5}, "t": {"EN": 6.5}}}
        >>> found = paired_differences(scores, "a", ["EN", "CC"])
        >>> [(one.method, one.metric, one.mean, one.low, one.high, one.won) for one in found]
        [('b', 'EN', 0.5, 0.5, 0.5, 2)]
    """
    if baseline not in scores:
        raise ValueError(f"baseline '{baseline}' has no scores; choose one of {', '.join(scores)}")
    found = []
    for method in scores:
        for metric in metrics if method != baseline else ():
            one = _difference(scores, method, baseline, metric, draws, seed)
            found += [one] if one is not None else []
    return found


def score_frame(scores: MethodScores, metrics: Iterable[str] = tuple(METRICS)) -> pd.DataFrame:
    """Give scores as a table with a row for each method and scene; NaN where there is no value."""
    import pandas as pd

    rows = {(method, scene): row for method, by_scene in scores.items() for scene, row in by_scene.items()}
    index = pd.MultiIndex.from_tuples(rows, names=("method", "scene"))
    return pd.DataFrame(list(rows.values()), index=index, columns=list(metrics), dtype=float)


def common_means(scores: MethodScores, metrics: Iterable[str] = tuple(METRICS)) -> Means:
    """Average each metric over the scenes in which every method that knows it has a value.

    A mean over other scenes would not be comparable. A method knows a metric when it has a value of it in some scene;
    of recorded scores some metrics are missing.

    Example:
        >>> scores = {"a": {"s": {"EN": 7.0}, "t": {"EN": 6.0}}, "b": {"s": {"EN": 7.5}, "t": {"EN": None}}}
        >>> means, scenes = common_means(scores, ["EN", "CC"])
        >>> means["EN"].to_dict(), scenes
        ({'a': 7.0, 'b': 7.5}, {'EN': 1, 'CC': 0})
    """
    import pandas as pd

    frame = score_frame(scores, metrics)
    means, counts = {}, {}
    for metric in frame:
        known = frame[metric].unstack("scene", sort=False).dropna(how="all")
        common = known.dropna(axis="columns")
        counts[metric] = common.shape[1] if len(known) else 0
        means[metric] = {name: np.mean(row.to_numpy()) for name, row in common.iterrows()} if counts[metric] else {}
    return Means(pd.DataFrame(means, index=list(scores), dtype=float), counts)


def ranked_metrics(means: Means) -> list[str]:
    """Say which of ``RANKED`` all methods have a mean of, over all scenes: those that a mean rank can be taken over.

    A metric that has a value in some of the scenes only (CC, where one scene of many has a reference) is left out: it
    would weigh as much as the others.
    """
    most = max(means.scenes.values(), default=0)
    return [name for name in RANKED if means.scenes.get(name, 0) == most > 0 and means.values[name].notna().all()]


def rank_table(means: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Rank the methods by their means in some metrics, 1 for the highest, and take the mean of the places.

    Example:
        >>> import pandas as pd
        >>> rank_table(pd.DataFrame({"EN": {"a": 7.0, "b": 6.0}, "Qabf": {"a": 0.6, "b": 0.7}}), ["EN", "Qabf"])
            EN  Qabf  mean rank
        a  1.0   2.0        1.5
        b  2.0   1.0        1.5
    """
    ranks = means[list(metrics)].rank(ascending=False)
    return ranks.assign(**{MEAN_RANK: ranks.mean(axis="columns")})


def _difference(
    scores: Mapping[str, Mapping[str, Scores]], method: str, baseline: str, metric: str, draws: int, seed: int
) -> Difference | None:
    pairs = [(row.get(metric), scores[baseline].get(scene, {}).get(metric)) for scene, row in scores[method].items()]
    gaps = np.array([first - second for first, second in pairs if first is not None and second is not None])
    if not len(gaps):
        return None
    low, high = mean_interval(gaps, draws=draws, seed=seed) if len(gaps) > 1 else (None, None)
    mean = float((gaps - gaps[0]).mean() + gaps[0])
    won, lost = int((gaps > 0).sum()), int((gaps < 0).sum())
    return Difference(method, baseline, metric, mean, low, high, scenes=len(gaps), won=won, lost=lost)
