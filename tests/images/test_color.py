"""Brightness and chroma: the split loses nothing, the fused chroma follows its formula."""

from __future__ import annotations

import pytest
import torch
from kornia.color import ycbcr_to_rgb

from hsds_lib.images.color import colourise, fuse_chroma, merge_luma, split_luma


def chroma_by_loop(under: list[float], over: list[float]) -> list[list[float]]:
    """The formula for every pair of two lists of chroma values, in plain Python."""
    table = []
    for u in under:
        row = []
        for o in over:
            weight_u, weight_o = abs(u - 0.5), abs(o - 0.5)
            total = weight_u + weight_o
            row.append(0.5 if total == 0 else (u * weight_u + o * weight_o) / total)
        table.append(row)
    return table


def all_pairs_of_levels(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    levels = torch.arange(256, dtype=dtype) / 255
    return levels[:, None].expand(256, 256), levels[None, :].expand(256, 256)


def random_rgb(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_luma_has_the_weights_of_bt601() -> None:
    primaries = torch.eye(3).reshape(3, 3, 1, 1)
    y, cbcr = split_luma(primaries)
    assert y.flatten().tolist() == pytest.approx([0.299, 0.587, 0.114])
    assert y.shape == (3, 1, 1, 1) and cbcr.shape == (3, 2, 1, 1)
    assert cbcr[2, 0].item() > 0.9 and cbcr[0, 1].item() > 0.9  # blue in Cb, red in Cr


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gray_has_neutral_chroma_and_stays_gray(dtype: torch.dtype) -> None:
    gray = (torch.arange(256, dtype=dtype) / 255).reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
    y, cbcr = split_luma(gray)
    assert (cbcr - 0.5).abs().max() < 1e-6
    assert (y - gray[:, :1]).abs().max() < 1e-6
    again = colourise(y, gray, gray)
    assert again.dtype == dtype
    assert (again - gray).abs().max() < 1e-6


def test_split_and_merge_change_no_8_bit_level() -> None:
    steps = torch.linspace(0, 255, 18).round() / 255
    rgb = torch.cartesian_prod(steps, steps, steps).T.reshape(1, 3, 18, 324)
    again = merge_luma(*split_luma(rgb))
    assert (again - rgb).abs().max() * 255 < 0.5
    assert torch.equal((again * 255).round(), (rgb * 255).round())


def test_merging_agrees_with_kornia_where_kornia_does_not_clamp() -> None:
    y, cbcr = 0.4 + 0.2 * random_rgb(1, 1, 9, 9), 0.45 + 0.1 * random_rgb(1, 2, 9, 9, seed=1)
    expected = ycbcr_to_rgb(torch.cat([y, cbcr], dim=1))
    assert expected.min() > 0 and expected.max() < 1
    assert (merge_luma(y, cbcr) - expected).abs().max() < 1e-6


def test_fused_chroma_is_the_formula_on_a_grid_of_levels() -> None:
    under, over = all_pairs_of_levels(torch.float64)
    chosen = [*range(0, 256, 15), 126, 127, 128, 129]
    expected = chroma_by_loop([k / 255 for k in chosen], [k / 255 for k in chosen])
    fused = fuse_chroma(under, over)[chosen][:, chosen]
    assert (fused - torch.tensor(expected, dtype=torch.float64)).abs().max() < 1e-14


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fused_chroma_is_symmetric_and_between_its_inputs_for_all_level_pairs(dtype: torch.dtype) -> None:
    under, over = all_pairs_of_levels(dtype)
    fused = fuse_chroma(under, over)
    assert fused.dtype == dtype
    slack = 2 * torch.finfo(dtype).eps
    assert bool((fused >= torch.minimum(under, over) - slack).all())
    assert bool((fused <= torch.maximum(under, over) + slack).all())
    assert (fused - fused.T).abs().max() <= slack
    # Weighting by distance from neutral leans to the more colourful of the two.
    lean = (fused - 0.5).abs() - ((under + over) / 2 - 0.5).abs()
    assert lean.min() > -slack


def test_two_neutral_pixels_stay_neutral_and_a_neutral_one_has_no_say() -> None:
    neutral, colour = torch.full((1, 2, 1, 1), 0.5), torch.tensor([0.3, 0.9]).reshape(1, 2, 1, 1)
    assert torch.equal(fuse_chroma(neutral, neutral), neutral)
    assert torch.allclose(fuse_chroma(neutral, colour), colour, atol=1e-7)
    assert torch.allclose(fuse_chroma(colour, neutral), colour, atol=1e-7)


def test_the_slope_of_the_fused_chroma_is_finite_at_neutral() -> None:
    under = torch.tensor([0.5, 0.5, 0.2], dtype=torch.float64, requires_grad=True)
    fuse_chroma(under, torch.tensor([0.5, 0.7, 0.8], dtype=torch.float64)).sum().backward()
    assert under.grad is not None and bool(torch.isfinite(under.grad).all())


def test_colourised_pictures_keep_the_given_brightness_even_where_the_colour_does_not_fit() -> None:
    under, over = random_rgb(2, 3, 8, 8), random_rgb(2, 3, 8, 8, seed=1)
    y = random_rgb(2, 1, 8, 8, seed=2)
    merged = merge_luma(y, fuse_chroma(split_luma(under)[1], split_luma(over)[1]))
    assert ((merged < 0) | (merged > 1)).any(dim=1).float().mean() > 0.2
    assert (split_luma(colourise(y, under, over))[0] - y).abs().max() < 1e-3


def test_colours_that_do_not_fit_become_paler_and_keep_their_hue() -> None:
    blue = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1)
    bright = torch.full((1, 1, 1, 1), 0.9, requires_grad=True)
    merged = merge_luma(bright, split_luma(blue)[1])
    (slope,) = torch.autograd.grad(merged[:, 2].sum(), bright)
    assert slope.item() == 1 and merged.max() > 1.5
    coloured = colourise(bright, blue, blue).detach()
    assert coloured.min() >= 0 and coloured.max().item() == pytest.approx(1)
    directions = [(image - bright).flatten().detach() for image in (merged, coloured)]
    assert torch.nn.functional.cosine_similarity(*directions, dim=0).item() == pytest.approx(1, abs=1e-4)
    assert 0 < directions[1].norm() < directions[0].norm()


def test_colours_that_fit_are_left_alone() -> None:
    under, over = 0.4 + 0.2 * random_rgb(2, 3, 8, 8), 0.4 + 0.2 * random_rgb(2, 3, 8, 8, seed=1)
    y = 0.4 + 0.2 * random_rgb(2, 1, 8, 8, seed=2)
    chroma = fuse_chroma(split_luma(under)[1], split_luma(over)[1])
    assert torch.allclose(colourise(y, under, over), merge_luma(y, chroma), atol=1e-6)


def test_every_pixel_is_coloured_by_itself_so_tiles_fit_together() -> None:
    under, over, y = random_rgb(1, 3, 9, 11), random_rgb(1, 3, 9, 11, seed=1), random_rgb(1, 1, 9, 11, seed=2)
    whole = colourise(y, under, over)
    tile = (slice(None), slice(None), slice(3, 7), slice(2, 9))
    assert torch.equal(colourise(y[tile], under[tile], over[tile]), whole[tile])


def test_colour_is_differentiable_in_brightness() -> None:
    y = (0.4 + 0.2 * random_rgb(1, 1, 3, 3).double()).requires_grad_()
    under, over = random_rgb(1, 3, 3, 3, seed=1).double(), random_rgb(1, 3, 3, 3, seed=2).double()
    chroma = fuse_chroma(split_luma(under)[1], split_luma(over)[1])
    assert torch.autograd.gradcheck(lambda brightness: merge_luma(brightness, chroma), (y,))
