"""Colour as released: chroma is truncated to 8-bit levels, and gray is cast."""

from __future__ import annotations

import pytest
import torch

from hsds_lib.images import color as ours
from hsds_lib.released.color import fuse_chroma, mean_chroma_level, merge_luma


def all_pairs_of_levels(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    levels = torch.arange(256, dtype=dtype) / 255
    return levels[:, None].expand(256, 256), levels[None, :].expand(256, 256)


def test_8_bit_gray_is_cast() -> None:
    gray = (torch.arange(256, dtype=torch.float64) / 255).reshape(1, 1, 16, 16)
    # In 8 bits the chroma of gray is 128/255; the released inverse takes 0.5 for neutral, half a level less.
    cast = (merge_luma(gray, torch.full((1, 2, 16, 16), 128 / 255).double()) - gray) * 255
    expected = torch.tensor([0.5 * 1.403, -0.5 * (0.714 + 0.344), 0.5 * 1.773], dtype=torch.float64)
    assert (cast - expected.reshape(1, 3, 1, 1)).abs().max() < 1e-4


def test_the_released_conversion_nearly_inverts_its_forward_one() -> None:
    rgb = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    split = ours.split_luma(rgb)  # the same in both
    error = (merge_luma(*split) - rgb).abs().max().item() * 255
    assert 0.01 < error < 0.2  # levels: its coefficients are rounded, ours are not
    assert (ours.merge_luma(*split) - rgb).abs().max().item() * 255 < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_released_chroma_is_the_truncated_mean_of_all_level_pairs(dtype: torch.dtype) -> None:
    under, over = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    weight_under, weight_over = (under - 128).abs(), (over - 128).abs()
    total = weight_under + weight_over
    whole = (under * weight_under + over * weight_over) // total.clamp(min=1)  # integers: exact
    expected = torch.where(total == 0, torch.tensor(128), whole)
    fused = fuse_chroma(*all_pairs_of_levels(dtype))
    assert fused.dtype == dtype and torch.equal((fused * 255).round().long(), expected)


def test_the_released_truncation_takes_a_quarter_of_a_level_on_average() -> None:
    under, over = all_pairs_of_levels(torch.float64)
    exact = mean_chroma_level(under * 255, over * 255)
    lost = fuse_chroma(under, over) * 255 - exact
    assert lost.mean().item() == pytest.approx(-0.2428, abs=1e-4)
    assert lost.min() > -1 and lost.max() < 1e-9
    # Rounding, as pictures are written, has no such bias.
    assert abs((exact.round() - exact).mean().item()) < 1e-3


def test_released_chroma_of_two_neutral_pixels_is_neutral_and_carries_no_gradient() -> None:
    neutral = torch.full((1, 2, 1, 1), 128 / 255, requires_grad=True)
    fused = fuse_chroma(neutral, neutral)
    assert torch.equal(fused, neutral.detach()) and not fused.requires_grad
