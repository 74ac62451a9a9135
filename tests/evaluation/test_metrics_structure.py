"""SSIM, MS-SSIM and MEF-SSIM of pictures: closed forms, other libraries, strips that leave no trace."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from kornia.metrics import ssim as kornia_ssim

from hsds_lib.evaluation.metrics import (
    UndefinedMetricError,
    mef_ssim,
    ms_ssim,
    ms_ssim_wang,
    ms_ssim_wang_sources,
    rgb2gray,
    ssim,
)
from hsds_lib.losses.mef_ssim import mef_ssim_pair

MakePixels = Callable[..., np.ndarray]
MakeExposures = Callable[..., tuple[np.ndarray, ...]]


def luma(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(rgb2gray(image) / 255)[None, None]


@pytest.mark.paper("Table 2 MS-SSIM", "Table 2 MEF-SSIM")
@pytest.mark.parametrize("size", [(44, 44), (61, 47), (230, 180), (90, 1100)])
def test_mef_ssim_of_pictures_is_that_of_the_losses(make_exposures: MakeExposures, size: tuple[int, int]) -> None:
    under, over, fused, _ = make_exposures(*size)
    tensors = [luma(image) for image in (fused, under, over)]
    assert mef_ssim(under, over, fused) == pytest.approx(mef_ssim_pair(*tensors, scales=1).item(), abs=1e-12)
    assert ms_ssim(under, over, fused) == pytest.approx(mef_ssim_pair(*tensors, scales=3).item(), abs=1e-12)
    assert mef_ssim(under, over, fused) < 0.99


def test_ms_ssim_goes_on_below_zero_as_the_loss_does(make_exposures: MakeExposures) -> None:
    under, over, fused, _ = make_exposures(60)
    negative = 255 - fused
    tensors = [luma(image) for image in (negative, under, over)]
    assert mef_ssim(under, over, negative) < 0 < ms_ssim(under, over, negative) < 0.01
    assert ms_ssim(under, over, negative) == pytest.approx(mef_ssim_pair(*tensors, scales=3).item(), rel=1e-9)


def test_coarser_scales_are_those_of_halved_images(make_exposures: MakeExposures) -> None:
    trio = make_exposures(60)[:3]
    values = [mef_ssim(*trio, scale=scale) for scale in (1, 2, 3)]
    weights = np.array([0.0448, 0.2856, 0.3001]) / 0.6305
    assert ms_ssim(*trio) == pytest.approx(np.prod(np.array(values) ** weights), rel=1e-12)
    assert len({round(value, 4) for value in values}) == 3


def test_mef_ssim_does_not_care_which_source_is_which(make_exposures: MakeExposures) -> None:
    under, over, fused, _ = make_exposures(60)
    assert ms_ssim(over, under, fused) == pytest.approx(ms_ssim(under, over, fused), abs=1e-12)
    assert mef_ssim(over, under, fused) == pytest.approx(mef_ssim(under, over, fused), abs=1e-12)


def test_ssim_equals_another_library(make_exposures: MakeExposures) -> None:
    _, over, fused, _ = make_exposures(40, 51)
    values = kornia_ssim(luma(over), luma(fused), window_size=11, max_val=1.0)
    assert ssim(over, fused) == pytest.approx(values[..., 5:-5, 5:-5].mean().item(), abs=1e-9)


def test_ssim_of_flat_images_is_that_of_their_luminance(gray: MakePixels) -> None:
    dark, bright, constant = 40, 130, (0.01 * 255) ** 2
    pair = [gray(np.full((180, 176), level)) for level in (dark, bright)]
    luminance = (2 * dark * bright + constant) / (dark**2 + bright**2 + constant)
    assert ssim(*pair) == pytest.approx(luminance, rel=1e-9)
    assert ms_ssim_wang(*pair) == pytest.approx(luminance**0.1333, rel=1e-9)


def test_wang_ms_ssim_of_one_scale_step_by_step(gray: MakePixels) -> None:
    """An image of equal blocks of 32 pixels, whose scales are all known: brightness only matters at the coarsest."""
    levels = np.kron(np.random.default_rng(0).integers(20, 120, (12, 12)), np.ones((32, 32)))
    brighter = ms_ssim_wang(gray(levels), gray(levels + 60))
    coarse = levels[::16, ::16].astype(float)
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / 4.5)
    window /= window.sum()
    patches = np.lib.stride_tricks.sliding_window_view(coarse, (11, 11))
    mean = (patches * window).sum(axis=(2, 3))
    variance = (patches**2 * window).sum(axis=(2, 3)) - mean**2
    constants = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    luminance = (2 * mean * (mean + 60) + constants[0]) / (mean**2 + (mean + 60) ** 2 + constants[0])
    structure = (2 * variance + constants[1]) / (2 * variance + constants[1])
    assert brighter == pytest.approx((luminance * structure).mean() ** 0.1333, rel=1e-9)


def test_wang_ms_ssim_of_less_contrast_is_the_product_over_the_scales(gray: MakePixels) -> None:
    """Contrast halved around zero mean: every scale has ``2 v / 2 + C`` over ``v + v / 4 + C`` in each window."""
    levels = 2 * np.random.default_rng(0).integers(20, 120, (176, 190))
    expected, image = 1.0, levels.astype(float)
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if scale:
            image = np.pad(image, [(0, side % 2) for side in image.shape], mode="symmetric")
            image = image.reshape(image.shape[0] // 2, 2, image.shape[1] // 2, 2).mean(axis=(1, 3))
        offsets = np.arange(11) - 5
        window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / 4.5)
        window /= window.sum()
        patches = np.lib.stride_tricks.sliding_window_view(image, (11, 11))
        mean = np.einsum("ijkl,kl->ij", patches, window)
        variance = np.einsum("ijkl,kl->ij", patches**2, window) - mean**2
        values = (variance + 58.5225) / (1.25 * variance + 58.5225)
        if scale == 4:
            values = values * (mean**2 + 6.5025) / (1.25 * mean**2 + 6.5025)
        expected *= values.mean() ** weight
    assert ms_ssim_wang(gray(levels), gray(levels // 2)) == pytest.approx(expected, rel=1e-9)


def test_wang_ms_ssim_is_symmetric_and_1_for_equal_images(make_exposures: MakeExposures) -> None:
    under, over, fused, _ = make_exposures(180, 177)
    assert ms_ssim_wang(fused, fused) == pytest.approx(1, abs=1e-12)
    assert ms_ssim_wang(under, fused) == pytest.approx(ms_ssim_wang(fused, under), abs=1e-12)
    both = ms_ssim_wang(under, fused), ms_ssim_wang(over, fused)
    assert ms_ssim_wang_sources(under, over, fused) == pytest.approx(sum(both) / 2)
    assert both[0] != pytest.approx(both[1], abs=1e-3)


def test_wang_ms_ssim_of_a_negative_is_0(make_pixels: MakePixels) -> None:
    image = make_pixels(180)
    assert ms_ssim_wang(image, 255 - image) == 0


@pytest.mark.parametrize(
    ("metric", "minimum", "count"),
    [(ssim, 11, 2), (ms_ssim_wang, 176, 2), (ms_ssim_wang_sources, 176, 3), (mef_ssim, 11, 3), (ms_ssim, 44, 3)],
)
def test_the_smallest_size_works_and_a_smaller_one_is_refused(
    metric: Callable[..., float], minimum: int, count: int, make_exposures: MakeExposures
) -> None:
    images = make_exposures(minimum, minimum + 3)[:count]
    assert -1 <= metric(*images) <= 1
    with pytest.raises(UndefinedMetricError, match=f"needs at least {minimum} on each side"):
        metric(*(image[:-1] for image in images))


@pytest.mark.parametrize(("scale", "minimum"), [(1, 11), (2, 22), (3, 44)])
def test_coarser_scales_need_larger_images(scale: int, minimum: int, make_exposures: MakeExposures) -> None:
    trio = make_exposures(minimum)[:3]
    assert mef_ssim(*trio, scale=scale) <= 1
    with pytest.raises(UndefinedMetricError, match=f"at least {minimum}"):
        mef_ssim(*(image[:-1] for image in trio), scale=scale)
    with pytest.raises(ValueError, match="scale is 4"):
        mef_ssim(*trio, scale=4)
