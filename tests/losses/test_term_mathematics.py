"""Each term of Table 1 as mathematics: exact slope, symmetry, what it cannot see, and where its minimum is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hsds_lib.images.batches import Batch
from hsds_lib.images.color import split_luma
from hsds_lib.losses.features import VGG16
from hsds_lib.losses.mef_ssim import mef_ssim_pair
from hsds_lib.losses.pair_terms import PAIR_TERMS
from hsds_lib.losses.terms import IMAGES, TERM_NAMES, prepare_targets, term_vector

MakeBatch = Callable[..., Batch]
EXTENDED = (*TERM_NAMES, *PAIR_TERMS)
TOWARDS_AN_IMAGE = ("l1", "mse", "ssim", "mefssim", "perceptual")


def noisy_mean(batch: Batch) -> Tensor:
    y = 0.5 * (split_luma(batch.under)[0] + split_luma(batch.over)[0])
    return 0.9 * y + 0.1 * torch.rand(y.shape, generator=torch.Generator().manual_seed(5), dtype=y.dtype)


def as_gray(y: Tensor) -> Tensor:
    return y.expand(-1, 3, -1, -1)


@pytest.mark.paper("Table 1")
@pytest.mark.parametrize("name", EXTENDED)
def test_slope_agrees_with_finite_differences(make_batch: MakeBatch, vgg: VGG16, name: str) -> None:
    batch = make_batch(size=44, items=2)
    targets = prepare_targets(batch, vgg, contrast=False, names=[name])
    fused = noisy_mean(batch).requires_grad_()
    (gradient,) = torch.autograd.grad(term_vector(fused, targets, vgg, names=[name])[0], fused)
    for seed in range(3):
        direction = torch.randn(fused.shape, generator=torch.Generator().manual_seed(seed), dtype=fused.dtype)
        step = 1e-7  # short: few ReLUs and absolute values turn over on the way
        with torch.no_grad():
            ends = [term_vector(fused + sign * step * direction, targets, vgg, names=[name])[0] for sign in (1, -1)]
        slope = float(ends[0] - ends[1]) / (2 * step)
        assert slope == pytest.approx(float((gradient * direction).sum()), rel=1e-5, abs=1e-7)


@pytest.mark.paper("Table 1")
@pytest.mark.parametrize("kind", TOWARDS_AN_IMAGE)
def test_distance_to_an_image_is_symmetric(make_batch: MakeBatch, vgg: VGG16, kind: str) -> None:
    """l1, mse, ssim, mefssim and perceptual do not care which of the two images is the fused one."""
    batch = make_batch(size=32, items=1)
    fused, name = noisy_mean(batch), [f"{kind}_ref"]
    there = term_vector(fused, prepare_targets(batch, vgg, contrast=False, names=name), vgg, names=name)
    swapped = dataclasses.replace(batch, ref=as_gray(fused))
    ref_y = split_luma(batch.ref)[0]
    back = term_vector(ref_y, prepare_targets(swapped, vgg, contrast=False, names=name), vgg, names=name)
    torch.testing.assert_close(there, back, rtol=1e-9, atol=1e-12)


@pytest.mark.paper("Table 1 row 3")
def test_gradient_term_is_not_symmetric(make_batch: MakeBatch) -> None:
    """The stronger edge of two sources is wanted: fused and source cannot be exchanged."""
    batch = make_batch(size=32, items=1)
    fused, name = noisy_mean(batch), ["grad"]
    there = term_vector(fused, prepare_targets(batch, None, contrast=False, names=name), names=name)
    swapped = dataclasses.replace(batch, under=as_gray(fused))
    under_y = split_luma(batch.under)[0]
    back = term_vector(under_y, prepare_targets(swapped, None, contrast=False, names=name), names=name)
    assert abs(float(there - back)) > 1e-3


@pytest.mark.parametrize("name", ["grad", *PAIR_TERMS])
def test_terms_of_the_pair_do_not_care_which_source_is_which(make_batch: MakeBatch, name: str) -> None:
    batch = make_batch(size=44)
    swapped = dataclasses.replace(batch, under=batch.over, over=batch.under)
    values = [
        term_vector(noisy_mean(batch), prepare_targets(case, None, contrast=False, names=[name]), names=[name])
        for case in (batch, swapped)
    ]
    torch.testing.assert_close(*values, rtol=1e-12, atol=1e-12)


def test_pair_term_is_one_minus_three_scale_mef_ssim(make_batch: MakeBatch) -> None:
    batch, name = make_batch(size=44), ["mefssim_pair"]
    targets, fused = prepare_targets(batch, None, contrast=False, names=name), noisy_mean(batch)
    expected = 1 - mef_ssim_pair(fused, split_luma(batch.under)[0], split_luma(batch.over)[0]).mean()
    torch.testing.assert_close(term_vector(fused, targets, names=name)[0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.paper("Table 1 row 6")
def test_colour_term_has_no_slope_on_neutral_chroma_and_one_on_colour(make_batch: MakeBatch) -> None:
    """The angle of a gray pixel is the same for every brightness; that of a coloured one is not."""
    batch = make_batch(size=16, items=1)
    gray = Batch(*(as_gray(split_luma(getattr(batch, f.name))[0]) for f in dataclasses.fields(batch)))
    fused = noisy_mean(batch)
    slopes = []
    for case in (gray, dataclasses.replace(gray, ref=batch.ref), batch):
        y = fused.clone().requires_grad_()
        targets = prepare_targets(case, None, contrast=False, names=["colour_ref"])
        slopes.append(torch.autograd.grad(term_vector(y, targets, names=["colour_ref"])[0], y)[0].norm())
    assert slopes[0] < 1e-6 and slopes[1] < 1e-6 < 1e-3 < slopes[2]


@pytest.mark.paper("Table 1 row 2")
def test_structure_terms_ignore_an_offset_and_pixel_terms_do_not(make_batch: MakeBatch) -> None:
    batch = make_batch(size=32, items=1)
    names = ["mefssim_ref", "l1_ref", "ssim_ref", "grad", "tv"]
    targets = prepare_targets(batch, None, contrast=False, names=names)
    fused = noisy_mean(batch)
    before, after = (term_vector(fused + shift, targets, names=names) for shift in (0.0, 0.1))
    changed = dict(zip(names, ((before - after).abs() > 1e-9).tolist(), strict=True))
    assert changed == {"mefssim_ref": False, "l1_ref": True, "ssim_ref": True, "grad": False, "tv": False}


@pytest.mark.paper("Table 1 row 5")
def test_psnr_term_is_the_logarithm_of_the_mean_square_per_item(make_batch: MakeBatch) -> None:
    batch = make_batch(size=16)
    names = ["psnr_ref", "mse_ref"]
    targets = prepare_targets(batch, None, contrast=False, names=names)
    fused = targets.ref_y + torch.tensor([0.1, 0.01], dtype=torch.float64).view(2, 1, 1, 1)
    found = float(term_vector(fused, targets, names=names)[0])
    assert found == pytest.approx(-(20 + 40) / 2 / 40, abs=1e-4)  # mean of 20 and 40 dB, and not the dB of the mean


@pytest.mark.paper("Table 1")
@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("kind", TOWARDS_AN_IMAGE)
def test_every_step_away_from_the_image_costs_more(make_batch: MakeBatch, vgg: VGG16, kind: str, image: str) -> None:
    batch = make_batch(size=32, items=1)
    name = [f"{kind}_{image}"]
    targets = prepare_targets(batch, vgg, contrast=False, names=name)
    start, end = split_luma(getattr(batch, image))[0], noisy_mean(batch)
    values = [float(term_vector(torch.lerp(start, end, s), targets, vgg, names=name)[0]) for s in (0, 0.1, 0.3, 1)]
    assert values == sorted(values) and values[0] == pytest.approx(0, abs=1e-12) and values[1] > 0
