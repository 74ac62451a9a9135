"""VIF and VIFF: window by window as they are written down, closed forms, and which way round they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.signal import convolve2d

from hsds_lib.evaluation.metrics import UndefinedMetricError, rgb2gray, vif, vif_sum, viff, viff_rgb

MakePixels = Callable[..., np.ndarray]
MakeExposures = Callable[..., tuple[np.ndarray, ...]]


def square_window(size: int) -> np.ndarray:
    offsets = np.arange(size) - size // 2
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * (size / 5) ** 2))
    return window / window.sum()


def by_definition(source: np.ndarray, fused: np.ndarray, *, saturate: bool = False) -> list[tuple[np.ndarray, ...]]:
    """Gain, residual and variance at each scale, with two-dimensional windows and one rule after the other."""
    scales = []
    for scale, size in enumerate((17, 9, 5, 3)):
        window = square_window(size)

        def means(image: np.ndarray, window: np.ndarray = window) -> np.ndarray:
            return convolve2d(image, window, mode="valid")

        if scale:
            source, fused = means(source)[::2, ::2], means(fused)[::2, ::2]
        top = 255.0 if saturate and scale == 0 else np.inf
        source_mean, fused_mean = means(source), means(fused)
        variance = means(np.minimum(source * source, top)) - source_mean**2
        fused_variance = means(np.minimum(fused * fused, top)) - fused_mean**2
        covariance = means(np.minimum(source * fused, top)) - source_mean * fused_mean
        variance[variance < 0] = 0
        fused_variance[fused_variance < 0] = 0
        gain = covariance / (variance + 1e-10)
        residual = fused_variance - gain * covariance
        gain[variance < 1e-10] = 0
        residual[variance < 1e-10] = fused_variance[variance < 1e-10]
        variance[variance < 1e-10] = 0
        gain[fused_variance < 1e-10] = 0
        residual[fused_variance < 1e-10] = 0
        residual[gain < 0] = fused_variance[gain < 0]
        gain[gain < 0] = 0
        residual[residual <= 1e-10] = 1e-10
        scales.append((gain, residual, variance))
    return scales


def vif_by_definition(source: np.ndarray, fused: np.ndarray, *, saturate: bool = False) -> float:
    seen = there = 0.0
    for gain, residual, variance in by_definition(source, fused, saturate=saturate):
        seen += np.log10(1 + gain**2 * variance / (residual + 2)).sum()
        there += np.log10(1 + variance / 2).sum()
    return seen / there


def viff_by_definition(under: np.ndarray, over: np.ndarray, fused: np.ndarray) -> float:
    noise, value = 0.005 * 255**2, 0.0
    pairs = zip(by_definition(under, fused), by_definition(over, fused), (1, 0, 0.15, 1), strict=True)
    for first, second, weight in pairs:
        weaker = first[0] < second[0]
        gain, residual, variance = (np.where(weaker, a, b) for a, b in zip(first, second, strict=True))
        seen = np.log10(1 + gain**2 * variance / (residual + noise)) + 1e-7
        there = np.log10(1 + variance / noise) + 1e-7
        value += weight / 2.15 * seen.sum() / there.sum()
    return value


@pytest.mark.paper("Table 2 VIF")
@pytest.mark.parametrize("size", [(41, 41), (58, 47), (63, 80)])
def test_vif_equals_its_definition(make_exposures: MakeExposures, size: tuple[int, int]) -> None:
    under, over, fused, _ = make_exposures(*size)
    fused[:25, :25] = 255 - fused[:25, :25]  # a part is seen as its negative, a part is flat
    fused[-22:, -22:] = 90
    levels = [rgb2gray(image).astype(float) for image in (under, over, fused)]
    for arithmetic, saturate in (("double", False), ("uint8", True)):
        expected = [vif_by_definition(level, levels[2], saturate=saturate) for level in levels[:2]]
        assert vif(under, fused, arithmetic=arithmetic) == pytest.approx(expected[0], rel=1e-9)  # type: ignore[arg-type]
        assert vif_sum(under, over, fused, arithmetic=arithmetic) == pytest.approx(sum(expected), rel=1e-9)  # type: ignore[arg-type]


def test_viff_equals_its_definition(make_exposures: MakeExposures) -> None:
    under, over, fused, _ = make_exposures(63, 50)
    levels = [rgb2gray(image).astype(float) for image in (under, over, fused)]
    assert viff(under, over, fused) == pytest.approx(viff_by_definition(*levels), rel=1e-9)
    colours = [viff_by_definition(*(image[..., c].astype(float) for image in (under, over, fused))) for c in range(3)]
    assert viff_rgb(under, over, fused) == pytest.approx(np.mean(colours), rel=1e-9)
    assert viff_rgb(under, over, fused) != pytest.approx(viff(under, over, fused), rel=1e-3)


def test_an_image_holds_all_information_about_itself(make_pixels: MakePixels) -> None:
    image = make_pixels(50)
    assert vif(image, image) == pytest.approx(1, abs=1e-6)
    assert vif(image, image, arithmetic="uint8") == pytest.approx(1, abs=1e-6)
    assert vif_sum(image, image, image) == pytest.approx(2, abs=1e-6)
    assert viff(image, image, image) == pytest.approx(1, abs=1e-6)


def test_a_brighter_copy_keeps_all_information_in_double_arithmetic_only(gray: MakePixels) -> None:
    dark = np.random.default_rng(0).integers(0, 14, (60, 60))
    assert vif(gray(dark), gray(dark + 40)) == pytest.approx(1, abs=1e-6)
    assert vif(gray(dark), gray(dark + 40), arithmetic="uint8") < 0.9


def test_levels_up_to_15_do_not_saturate(gray: MakePixels) -> None:
    source, fused = np.random.default_rng(0).integers(0, 16, (2, 50, 60))
    fused = (source + fused) // 2
    pair = gray(source), gray(fused)
    assert vif(*pair, arithmetic="uint8") == pytest.approx(vif(*pair), rel=1e-12)


def test_more_contrast_is_more_than_all_and_less_is_less(gray: MakePixels) -> None:
    levels = np.random.default_rng(0).integers(0, 120, (60, 60))
    assert vif(gray(levels), gray(2 * levels)) > 1 > vif(gray(levels), gray(levels // 2)) > 0.1


def test_vif_must_not_be_turned_round(make_exposures: MakeExposures) -> None:
    under, _, fused, _ = make_exposures(60)
    assert abs(vif(under, fused) - vif(fused, under)) > 0.1


def test_a_negative_keeps_nothing(gray: MakePixels) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (60, 60))
    assert vif(gray(levels), gray(255 - levels)) == 0


def test_a_flat_fused_image_keeps_nothing_and_a_flat_source_is_undefined(
    gray: MakePixels, make_pixels: MakePixels
) -> None:
    flat, image = gray(np.full((50, 50), 200)), make_pixels(50)
    for arithmetic in ("double", "uint8"):
        assert vif(image, flat, arithmetic=arithmetic) == 0  # type: ignore[arg-type]
        with pytest.raises(UndefinedMetricError, match="flat source"):
            vif(flat, image, arithmetic=arithmetic)  # type: ignore[arg-type]
    assert viff(flat, flat, image) == pytest.approx(1)
    assert viff(image, image, flat) < 1e-4


@pytest.mark.parametrize("size", [(41, 41), (41, 60)])
def test_the_smallest_size_works_and_a_smaller_one_is_refused(
    make_exposures: MakeExposures, size: tuple[int, int]
) -> None:
    under, over, fused, _ = make_exposures(*size)
    assert vif_sum(under, over, fused) > 0 and viff(under, over, fused) > 0
    small = [image[:40] for image in (under, over, fused)]
    for metric in (vif_sum, viff, viff_rgb):
        with pytest.raises(UndefinedMetricError, match=rf"got images of {size[1]} x 40 pixels, but needs at least 41"):
            metric(*small)
