"""TMQI and Qabf: closed forms of both parts, and which way round they are."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import beta, norm

from hsds_lib.evaluation.metrics import UndefinedMetricError, qabf, tmqi, tmqi_fidelity, tmqi_naturalness

MakePixels = Callable[..., np.ndarray]
MakeExposures = Callable[..., tuple[np.ndarray, ...]]


def naturalness(mean: float, deviation: float) -> float:
    """Naturalness by the densities of a library, each over its peak."""
    bright = norm.pdf(mean, 115.94, 27.99) / norm.pdf(115.94, 115.94, 27.99)
    return bright * beta.pdf(deviation / 64.29, 4.4, 10.1) / beta.pdf(3.4 / 12.5, 4.4, 10.1)


def deviation_of_two(first: int, second: int, difference: float) -> float:
    """Standard deviation (one degree of freedom less) of so many pixels of one level and so many of another."""
    count = first + second
    return difference * math.sqrt(first * second / (count * (count - 1)))


@pytest.mark.paper("Table 2 TMQI")
@pytest.mark.parametrize("data_range", [1, 255])
def test_naturalness_of_a_hand_made_image(gray: MakePixels, data_range: int) -> None:
    levels = np.tile([100, 140], (22, 11))  # blocks with 66 pixels of one level and 55 of the other
    deviation = deviation_of_two(66, 55, 40)
    expected = naturalness(levels.mean() * data_range / 255, deviation * data_range / 255)
    assert tmqi_naturalness(gray(levels), data_range=data_range) == pytest.approx(expected, rel=1e-9)  # type: ignore[arg-type]


def test_naturalness_of_blocks_that_stick_out(gray: MakePixels) -> None:
    levels = np.full((16, 11), 120)  # a flat block, and one of 5 rows filled up with 6 rows of 0
    deviation = (11 * 0 + 5 * deviation_of_two(55, 66, 120)) / 16
    assert tmqi_naturalness(gray(levels)) == pytest.approx(naturalness(120, deviation), rel=1e-9)
    assert tmqi_naturalness(gray(levels.T)) == pytest.approx(naturalness(120, deviation), rel=1e-9)


def test_naturalness_is_1_at_its_best_and_0_without_contrast_or_with_too_much(gray: MakePixels) -> None:
    contrast = 64.29 * 3.4 / 12.5 / deviation_of_two(66, 55, 1)
    levels = np.tile([116 - contrast / 2, 116 + contrast / 2], (11, 11))[:, :11].round()
    assert tmqi_naturalness(gray(levels)) == pytest.approx(1, abs=0.01)
    assert tmqi_naturalness(gray(np.full((33, 22), 116))) == 0
    assert tmqi_naturalness(gray(np.tile([0, 255], (22, 11)))) == 0


@pytest.mark.parametrize("data_range", [1, 255])
def test_fidelity_of_a_black_fused_image_is_known(gray: MakePixels, data_range: int) -> None:
    # The reference has visible contrast everywhere (1), the fused image none: the normal distribution at -3 sigma.
    ref = gray(np.random.default_rng(0).integers(0, 256, (161, 170)))
    unseen = norm.cdf(-3)
    expected = ((2 * unseen + 0.01) / (1 + unseen**2 + 0.01)) ** 1.0001  # the weights of the scales have this sum
    value = tmqi_fidelity(ref, gray(np.zeros((161, 170))), data_range=data_range)  # type: ignore[arg-type]
    assert value == pytest.approx(expected, rel=1e-6)


def test_index_is_made_of_fidelity_and_naturalness(make_exposures: MakeExposures) -> None:
    *_, fused, ref = make_exposures(170, 161)
    fidelity, natural = tmqi_fidelity(ref, fused), tmqi_naturalness(fused)
    assert 0.1 < natural < 1 and 0.5 < fidelity < 1
    assert tmqi(ref, fused) == pytest.approx(0.8012 * fidelity**0.3046 + 0.1988 * natural**0.7088, rel=1e-12)


def test_the_wrong_range_hides_what_the_index_is_for(make_exposures: MakeExposures, gray: MakePixels) -> None:
    under, _, fused, ref = make_exposures(180)
    right = [tmqi(ref, image) for image in (fused, under)]
    wrong = [tmqi(ref, image, data_range=1) for image in (fused, under)]
    assert right[0] - right[1] > 0.1 > 10 * abs(wrong[0] - wrong[1])
    assert max(wrong) < 0.3


def test_fidelity_ignores_the_exposure_of_the_reference_but_not_of_the_fused_image(make_pixels: MakePixels) -> None:
    ref = make_pixels(161, seed=1) // 4
    fused = make_pixels(161, seed=1)
    assert tmqi_fidelity(2 * ref + 20, fused) == pytest.approx(tmqi_fidelity(ref, fused), rel=1e-6)
    assert tmqi_fidelity(ref, fused // 16) < tmqi_fidelity(ref, fused) - 0.1


def test_tmqi_must_not_be_turned_round(make_exposures: MakeExposures) -> None:
    under, *_, ref = make_exposures(170)
    assert abs(tmqi(ref, under) - tmqi(under, ref)) > 0.01


def test_a_negative_has_no_fidelity(make_pixels: MakePixels) -> None:
    image = make_pixels(170)
    assert tmqi_fidelity(image, 255 - image) == 0
    assert tmqi(image, 255 - image) == pytest.approx(0.1988 * tmqi_naturalness(255 - image) ** 0.7088)


def test_tmqi_refuses_flat_references_small_images_and_other_ranges(gray: MakePixels, make_pixels: MakePixels) -> None:
    image = make_pixels(161)
    assert tmqi(image, image) > 0.5
    with pytest.raises(UndefinedMetricError, match="one single luma"):
        tmqi(gray(np.full((161, 161), 9)), image)
    with pytest.raises(UndefinedMetricError, match="needs at least 161"):
        tmqi(image[:160], image[:160])
    for metric in (tmqi, tmqi_fidelity):
        with pytest.raises(ValueError, match="data_range is 2"):
            metric(image, image, data_range=2)  # type: ignore[operator]


@pytest.mark.paper("Table 2 Qabf")
def test_edges_of_equal_images_are_kept(gray: MakePixels) -> None:
    # Edges of a bright flat image are those to the black around it, each stronger than 100 levels.
    image = gray(np.full((9, 9), 200))
    strong = 0.9994 * 0.9879 / (1 + math.exp(-22 * 0.2))
    assert qabf(image, image, image) == pytest.approx(strong, rel=1e-12)


def test_edges_of_half_the_strength(gray: MakePixels) -> None:
    image, half = gray(np.full((9, 7), 200)), gray(np.full((9, 7), 100))
    expected = 0.9994 / (1 + math.exp(0)) * 0.9879 / (1 + math.exp(-22 * 0.2))
    assert qabf(image, image, half) == pytest.approx(expected, rel=1e-12)
    assert qabf(half, half, image) == pytest.approx(expected, rel=1e-12)


def test_edges_turned_by_a_right_angle_are_lost(gray: MakePixels) -> None:
    ramp = np.tile(np.arange(0, 250, 5), (50, 1))
    kept, lost = qabf(gray(ramp), gray(ramp), gray(ramp)), qabf(gray(ramp), gray(ramp), gray(ramp.T))
    assert lost < 0.25 < 0.95 < kept


def test_an_edge_of_one_source_counts_by_its_strength(gray: MakePixels) -> None:
    bright, dark = (gray(np.full((9, 9), level)) for level in (200, 50))
    value = qabf(bright, dark, bright)
    strong = 0.9994 * 0.9879 / (1 + math.exp(-22 * 0.2))
    weak = 0.9994 / (1 + math.exp(-15 * (0.25 - 0.5))) * 0.9879 / (1 + math.exp(-22 * 0.2))
    assert value == pytest.approx((200 * strong + 50 * weak) / 250, rel=1e-9)
    assert qabf(dark, bright, bright) == pytest.approx(value, rel=1e-12)


def test_on_0_to_1_equal_edges_count_as_lost(gray: MakePixels) -> None:
    image = gray(np.tile([0, 20], (6, 10)))
    assert qabf(image, image, image) > 0.97
    assert qabf(image, image, image, data_range=1) < 0.05


def test_qabf_of_the_two_ranges_agrees_where_no_edges_are_equal(gray: MakePixels) -> None:
    levels = np.random.default_rng(0).integers(0, 100, (30, 30))
    under, over, fused = gray(levels), gray(2 * levels), gray(levels + np.arange(30) + levels // 2)
    near = qabf(under, over, fused, data_range=1)
    assert near == pytest.approx(qabf(under, over, fused), rel=0.05) and 0 < near < 1


def test_sources_without_edges_are_undefined_and_small_ones_with_edges_are_fine(gray: MakePixels) -> None:
    black, dark = gray([[0, 0]]), gray([[9, 9]])
    assert 0 < qabf(black, dark, dark) < 1
    pixel = gray([[9]])  # the window of an edge does not count its middle
    for sources in ((black, black, dark), (pixel, pixel, pixel)):
        with pytest.raises(UndefinedMetricError, match="two sources without any edge"):
            qabf(*sources)
    with pytest.raises(ValueError, match="data_range is 0"):
        qabf(dark, dark, dark, data_range=0)  # type: ignore[arg-type]
