"""Figures of notebook 7: they show the numbers they are given, and their words say the same."""

from __future__ import annotations

import numpy as np
import pytest

from hsds_lib.course.metric_pictures import agreement, saturation, scene_dots, verdicts

CHANGES = {"blur": {"SD": -0.2, "EN": -0.05}, "noise": {"SD": 0.1, "EN": 0.04}}


def test_saturation_draws_the_ceiling_and_the_floor():
    figure, alt = saturation([10.0, 200.0], mean=105.0)
    real, integer = figure.axes[0].lines[:2]
    assert real.get_ydata()[0] == 105.0**2
    assert integer.get_ydata().max() == 255
    assert (integer.get_ydata()[:105] == 0).all()
    assert "mean 105" in alt


def test_verdicts_write_every_change_and_name_what_is_rewarded():
    figure, alt = verdicts(CHANGES)
    assert [text.get_text() for text in figure.axes[0].texts] == ["-20", "-5", "+10", "+4"]
    assert "SD: noise" in alt and "EN: noise" in alt and "blur" not in alt.partition("Rewarded")[2]


def test_agreement_names_the_nearest_and_the_most_opposed():
    matrix = np.array([[1.0, 0.8, -0.3], [0.8, 1.0, 0.1], [-0.3, 0.1, 1.0]])
    figure, alt = agreement(matrix, ("a", "b", "c"))
    assert len(figure.axes[0].texts) == 9
    assert "Most alike: a and b, 0.80" in alt and "Most opposed: a and c, -0.30" in alt


def test_scene_dots_draw_every_scene_and_the_mean():
    scores = {
        "one": {"s": {"VIF": 1.0}, "t": {"VIF": 2.0}},
        "two": {"s": {"VIF": 3.0}, "t": {"VIF": 3.5}},
    }
    figure, alt = scene_dots(scores, ["VIF"])
    drawn = [line.get_xdata()[0] for line in figure.axes[0].lines]
    assert drawn == pytest.approx([1.0, 2.0, 1.5, 3.0, 3.5, 3.25])
    assert "VIF: two 3.250" in alt
