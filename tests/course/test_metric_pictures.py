"""Figures of notebook 7: they show the numbers they are given, and their words say the same."""

from __future__ import annotations

import numpy as np
import pytest

from hsds_lib.course.figures.metric_pictures import (
    agreement,
    enhancement,
    paired_gaps,
    saturation,
    scene_dots,
    verdicts,
)

CHANGES = {"blur": {"SD": -0.2, "EN": 0.0001}, "noise": {"SD": 0.1, "EN": -0.004}}


def test_saturation_draws_the_ceiling_and_the_floor_on_curve_and_picture():
    gray = np.array([[10.0, 110.0], [100.0, 200.0]])  # mean 105
    figure, alt = saturation(gray)
    real, integer = figure.axes[0].lines[:2]
    assert real.get_ydata()[0] == 105.0**2
    assert integer.get_ydata().max() == 255
    assert (integer.get_ydata()[:105] == 0).all()
    maps = [axes.images[0].get_array().tolist() for axes in figure.axes if axes.images]
    assert maps[2] == [[0, 25], [0, 255]]
    assert "mean 105" in alt and "25 % of it white" in alt


def test_enhancement_says_where_the_curves_end():
    figure, alt = enhancement([0.5, 1, 2], {"Qabf": [0.5, 1, 0.6], "VIF": [0.6, 1, 1.4]}, [0, 20, 40], [1, 0.45, 0.1])
    assert [line.get_ydata()[-1] for line in figure.axes[0].lines[:2]] == [0.6, 1.4]
    assert "At 2 times the contrast: Qabf 0.60, VIF 1.40" in alt and "turned by 20 degrees" in alt


def test_verdicts_write_every_change_and_name_what_is_rewarded():
    figure, alt = verdicts(CHANGES)
    assert [text.get_text() for text in figure.axes[0].texts] == ["−20", "0", "+10", "−0.4"]
    assert "SD: noise" in alt and "EN: none" in alt and "blur" not in alt.partition("Rewarded")[2]


def test_agreement_names_the_nearest_and_the_most_opposed():
    matrix = np.array([[1.0, 0.8, -0.3], [0.8, 1.0, 0.1], [-0.3, 0.1, 1.0]])
    figure, alt = agreement({"left": (matrix, ("a", "b", "c")), "right": (matrix[:2, :2], ("a", "b"))})
    assert [len(axes.texts) for axes in figure.axes[:2]] == [9, 4]
    assert "left: most alike are a and b, 0.80; least a and c, -0.30" in alt and "right: most alike" in alt


def test_scene_dots_draw_every_scene_and_the_mean():
    scores = {
        "one": {"s": {"VIF": 1.0}, "t": {"VIF": 2.0}},
        "two": {"s": {"VIF": 3.0}, "t": {"VIF": 3.5}},
    }
    figure, alt = scene_dots(scores, ["VIF"])
    drawn = [line.get_xdata()[0] for line in figure.axes[0].lines]
    assert drawn == pytest.approx([1.0, 2.0, 1.5, 3.0, 3.5, 3.25])
    assert "VIF: two 3.250" in alt


def test_paired_gaps_draw_every_scene_and_both_intervals():
    intervals = {"VIF": ((-0.1, 0.3), (-0.2, 0.4))}
    figure, alt = paired_gaps({"VIF": [-0.2, 0.4, 0.1]}, ["a", "b", "b"], intervals, title="one minus two")
    lines = figure.axes[0].lines
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines[:3]] == [(-0.2, 0), (0.4, 1), (0.1, 1)]
    assert [tuple(line.get_xdata()) for line in lines[3::2]][:2] == [(-0.1, 0.3), (-0.2, 0.4)]
    assert "VIF: mean +0.100, -0.100 to +0.300 by scenes, -0.200 to +0.400 by groups" in alt
