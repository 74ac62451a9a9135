"""Statements about scores: they agree with scipy, and are careful where scenes are few or not independent."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hsds_lib.course.figures.score_tables import (
    gaps,
    group_means,
    groups,
    mean_ranks,
    mean_table,
    scenes_needed,
    sign_test,
    values_of,
)
from hsds_lib.evaluation.statistics import mean_interval

SCORES = {
    "one": {"s": {"VIF": 1.0, "CC": 0.5}, "t": {"VIF": 2.0, "CC": None}},
    "two": {"s": {"VIF": 1.5, "CC": 0.25}, "t": {"VIF": 4.0, "CC": 0.75}},
}


def test_only_embedded_scenes_are_grouped_by_photograph():
    names = ["chelsea-1", "chelsea-12", "astronaut-1"]
    assert groups(names, "embedded") == ["chelsea", "chelsea", "astronaut"]
    assert groups(names, "real") == names


def test_gaps_are_paired_and_refuse_other_scenes():
    assert gaps(SCORES, "two", "one", "VIF").tolist() == [0.5, 2.0]
    assert np.isnan(values_of(SCORES, "one", "CC")).tolist() == [False, True]
    with pytest.raises(ValueError, match="one and two have different scenes"):
        gaps({"one": SCORES["one"], "two": {"s": SCORES["two"]["s"]}}, "one", "two", "VIF")


def test_mean_table_shows_spread_and_no_mean_over_missing_values():
    table = mean_table(SCORES, ("VIF", "CC"), {"VIF": 1.585}, "as printed")
    assert table.header == ("metric", "one", "two", "as printed")
    assert table.rows[0] == ("VIF", "1.500 ± 0.707", "2.750 ± 1.768", "1.585")
    assert table.rows[1] == ("CC", "–", "0.500 ± 0.354", "–")


def test_one_scene_has_no_spread():
    single = {"one": {"s": {"VIF": 1.0}}}
    assert mean_table(single, ("VIF",), {}, "as printed").rows[0][1] == "1.000 ± ?"


def test_ranks_count_who_is_better_and_equal_scores_share_places():
    scores = np.random.default_rng(0).integers(0, 4, (5, 30))
    better = (scores[None] > scores[:, None]).sum(axis=1)
    equal = (scores[None] == scores[:, None]).sum(axis=1)  # itself included
    assert mean_ranks(scores) == pytest.approx((better + (equal + 1) / 2).mean(axis=1))
    assert len(np.unique(scores[:, 0])) < 5  # the case has ties


@pytest.mark.parametrize("won", range(8))
def test_sign_test_is_scipys_binomial_test(won):
    found = sign_test([1.0] * won + [-1.0] * (7 - won) + [0.0] * 3)
    assert found[:2] == (won, 7 - won)
    assert found.p == pytest.approx(stats.binomtest(won, 7).pvalue)


def test_sign_test_of_ties_alone_says_nothing():
    assert sign_test([0.0, 0.0]) == (0, 0, 1.0)


def test_bootstrap_is_near_scipys_and_repeats():
    values = np.random.default_rng(3).normal(0.3, 1, 40)
    expected = stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(1))
    assert mean_interval(values) == pytest.approx(expected.confidence_interval, abs=0.03)
    assert mean_interval(values, seed=1) == mean_interval(values, seed=1) != mean_interval(values, seed=2)


def test_scenes_of_one_group_do_not_pass_for_independent_ones():
    values, names = np.repeat([0.0, 1.0, 2.0, 3.0], 25), np.repeat(list("abcd"), 25).tolist()
    (low, high), (wide_low, wide_high) = mean_interval(values), mean_interval(values, names)
    assert wide_high - wide_low > 3 * (high - low)
    assert mean_interval(values[::25], list("abcd")) == mean_interval(values[::25])


def test_two_groups_know_two_means_only():
    values, names = [0.1, 0.2, 0.3, 0.9, 0.7], ["a", "a", "a", "b", "b"]
    assert group_means(values, names) == pytest.approx([0.2, 0.8])
    assert mean_interval(values, names) == pytest.approx((0.2, 0.8))
    with pytest.raises(ValueError, match="5 differences got 1 groups"):
        mean_interval(values, ["a"])


def test_a_lead_of_the_needed_scenes_is_two_standard_errors():
    values = np.random.default_rng(0).normal(0, 2, 50)
    needed = scenes_needed(0.1, values)
    assert 2 * values.std(ddof=1) / np.sqrt(needed) == pytest.approx(0.1)
    assert scenes_needed(0.0, values) == np.inf
    assert np.isnan(scenes_needed(0.1, values[:1]))
