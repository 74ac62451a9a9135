"""Intervals: they cover, they are exact where there is nothing to be unsure of, and they come out again."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from hsds_lib.evaluation.statistics import DRAWS, mean_interval, paired_differences


def scores_of(**values: list[float]) -> dict[str, dict[str, dict[str, float | None]]]:
    return {name: {f"s{n}": {"EN": value} for n, value in enumerate(row)} for name, row in values.items()}


def test_95_per_cent_intervals_cover_the_true_mean_about_95_times_in_100() -> None:
    generator, trials = np.random.default_rng(2024), 600
    held = 0
    for trial in range(trials):
        low, high = mean_interval(generator.normal(0.3, 1.0, size=30), draws=1000, seed=trial)
        held += low <= 0.3 <= high
    # With 30 values a percentile interval covers 93.5 to 95 %; four in a thousand outside either limit.
    assert binom.ppf(0.004, trials, 0.935) <= held <= binom.ppf(0.996, trials, 0.95)


def test_half_as_sure_intervals_cover_half_as_often() -> None:
    generator, trials = np.random.default_rng(7), 400
    held = 0
    for trial in range(trials):
        low, high = mean_interval(generator.normal(size=30), draws=500, level=0.5, seed=trial)
        held += low <= 0 <= high
    assert binom.ppf(0.002, trials, 0.49) <= held <= binom.ppf(0.998, trials, 0.5)


def test_constant_differences_have_an_interval_without_width() -> None:
    base = list(np.random.default_rng(0).normal(size=30))
    (one,) = paired_differences(scores_of(a=base, b=[value + 0.5 for value in base]), "a", ["EN"])
    assert one.mean == pytest.approx(0.5, abs=1e-12) and one.won == one.scenes == 30
    assert mean_interval([0.1] * 30) == (0.1, 0.1)
    (same,) = paired_differences(scores_of(a=base, b=base), "a", ["EN"])
    assert (same.mean, same.low, same.high, same.won, same.lost, same.clear) == (0, 0, 0, 0, 0, False)


def test_swapping_the_two_methods_mirrors_the_interval() -> None:
    generator = np.random.default_rng(3)
    scores = scores_of(a=list(generator.normal(size=25)), b=list(generator.normal(0.4, 1, size=25)))
    (one,), (other,) = paired_differences(scores, "a", ["EN"]), paired_differences(scores, "b", ["EN"])
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low), abs=1e-12)
    assert (one.won, one.lost) == (other.lost, other.won) and one.won + one.lost == 25


def test_a_seed_gives_the_same_interval_again_and_another_seed_another() -> None:
    values = np.random.default_rng(4).normal(size=30)
    assert mean_interval(values, seed=1) == mean_interval(values, seed=1) != mean_interval(values, seed=2)
    first, second = mean_interval(values, seed=1), mean_interval(values, seed=2)
    assert first == pytest.approx(second, abs=0.03) and DRAWS >= 10_000


def test_draws_in_several_pieces_are_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(4).normal(size=30)
    whole = mean_interval(values, draws=500)
    monkeypatch.setattr("hsds_lib.evaluation.statistics._AT_ONCE", 3000)
    assert mean_interval(values, draws=500) == whole


def test_the_interval_of_a_mean_of_many_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(5).normal(size=2000)
    low, high = mean_interval(values, draws=4000)
    error = 1.96 * values.std() / np.sqrt(2000)
    assert (low, high) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.08 * error)


def test_pairs_with_a_missing_value_are_left_out_and_counted() -> None:
    scores = scores_of(a=[1.0, 2.0, 3.0], b=[2.0, 3.0, 9.0])
    scores["b"]["s2"]["EN"] = None
    (one,) = paired_differences(scores, "a", ["EN", "CC"])
    assert (one.metric, one.scenes, one.mean, one.low, one.high) == ("EN", 2, 1, 1, 1)


@pytest.mark.parametrize("values", [[], [[1.0]], [1.0, float("nan")]])
def test_what_has_no_mean_is_refused(values: list) -> None:
    with pytest.raises(ValueError, match="give a row of one or more finite numbers"):
        mean_interval(values)
