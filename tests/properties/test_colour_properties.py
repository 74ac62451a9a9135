"""Colour for any picture: every size, both precisions, constant and extreme values; nothing becomes NaN."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hsds_lib.images import color
from hsds_lib.images.color import colourise, fuse_chroma, merge_luma, split_luma
from hsds_lib.released import color as released

many = settings(deadline=None, max_examples=60, derandomize=True)

CONSTANTS = {"black": 0.0, "white": 1.0, "gray": 0.5, "8-bit gray": 128 / 255, "tiny": 1e-40, "nearly white": 1 - 6e-8}
KINDS = (*CONSTANTS, "noise", "black and white", "8 bits")


@dataclass(frozen=True)
class Pictures:
    """Makes pictures of one size and precision."""

    batch: int
    height: int
    width: int
    dtype: torch.dtype
    seed: int

    def make(self, kind: str, channels: int = 3, *, nth: int = 0) -> Tensor:
        """A picture; the ``nth`` of a kind, so that two of noise differ."""
        shape = (self.batch, channels, self.height, self.width)
        if kind in CONSTANTS:
            return torch.full(shape, CONSTANTS[kind], dtype=self.dtype)
        generator = torch.Generator().manual_seed(self.seed + nth)
        noise = torch.rand(shape, generator=generator, dtype=self.dtype)
        return {"noise": noise, "black and white": noise.round(), "8 bits": (noise * 255).round() / 255}[kind]


sides = st.integers(1, 40)  # everything works pixel by pixel
pictures = st.builds(
    Pictures, st.integers(1, 2), sides, sides, st.sampled_from([torch.float32, torch.float64]), st.integers(0, 1000)
)
kinds = st.sampled_from(KINDS)
numbers = st.floats(-1e30, 1e30)
ways = st.sampled_from([color, released])


def slack(dtype: torch.dtype) -> float:
    return 8 * torch.finfo(dtype).eps


@many
@given(pictures, kinds)
def test_split_and_merge_give_the_picture_back(some: Pictures, kind: str) -> None:
    rgb = some.make(kind)
    y, cbcr = split_luma(rgb)
    assert y.shape == (some.batch, 1, some.height, some.width) and cbcr.shape[1] == 2
    assert y.dtype == cbcr.dtype == some.dtype
    for value in (y, cbcr):
        assert value.min() >= -slack(some.dtype) and value.max() <= 1 + slack(some.dtype)
    assert (merge_luma(y, cbcr) - rgb).abs().max() <= slack(some.dtype)


@many
@given(pictures, kinds, kinds)
def test_fused_chroma_is_between_its_inputs_and_symmetric(some: Pictures, one: str, other: str) -> None:
    under, over = some.make(one, 2), some.make(other, 2, nth=1)
    fused = fuse_chroma(under, over)
    assert fused.shape == under.shape and fused.dtype == some.dtype
    assert (fused >= torch.minimum(under, over) - slack(some.dtype)).all()
    assert (fused <= torch.maximum(under, over) + slack(some.dtype)).all()
    assert (fused - fuse_chroma(over, under)).abs().max() <= slack(some.dtype)
    assert (fuse_chroma(under, under) - under).abs().max() <= slack(some.dtype)


@many
@given(pictures, kinds, kinds)
def test_released_chroma_is_a_level_between_its_inputs(some: Pictures, one: str, other: str) -> None:
    under, over = some.make(one, 2), some.make(other, 2, nth=1)
    levels = released.fuse_chroma(under, over) * 255
    first, second = (under * 255).round(), (over * 255).round()
    assert (levels - levels.round()).abs().max() < 1e-4
    assert (levels.round() >= torch.minimum(first, second)).all()
    assert (levels.round() <= torch.maximum(first, second)).all()
    assert torch.equal(levels, released.fuse_chroma(over, under) * 255)
    assert torch.equal((released.fuse_chroma(under, under) * 255).round(), first)


@many
@given(pictures, kinds, kinds, kinds)
def test_coloured_pictures_are_pictures(some: Pictures, one: str, other: str, brightness: str) -> None:
    fused = colourise(some.make(brightness, 1), some.make(one, nth=1), some.make(other, nth=2))
    assert fused.shape == (some.batch, 3, some.height, some.width) and fused.dtype == some.dtype
    assert torch.isfinite(fused).all() and fused.min() >= 0 and fused.max() <= 1


@many
@given(pictures, kinds, kinds, kinds)
def test_gray_exposures_give_a_gray_picture_of_that_brightness(
    some: Pictures, one: str, other: str, brightness: str
) -> None:
    under, over = (some.make(kind, 1, nth=nth).expand(-1, 3, -1, -1) for nth, kind in enumerate((one, other)))
    y = some.make(brightness, 1, nth=2)
    # What rounding leaves of the chroma of gray is as large as its neighbour's, so weighting may keep all of it.
    assert (colourise(y, under, over) - y).abs().max() <= slack(some.dtype)


@many
@given(pictures, kinds, ways, numbers)
def test_merging_adds_brightness_to_all_channels_alike_whatever_its_size(
    some: Pictures, kind: str, way: ModuleType, brightness: float
) -> None:
    cbcr = some.make(kind, 2)
    y = torch.full((some.batch, 1, some.height, some.width), brightness, dtype=some.dtype)
    rgb = way.merge_luma(y, cbcr)
    chroma = way.merge_luma(torch.zeros_like(y), cbcr)
    assert torch.isfinite(rgb).all()
    torch.testing.assert_close(rgb - y, chroma, rtol=0, atol=slack(some.dtype) * max(1.0, abs(brightness)))


@many
@given(numbers, numbers, ways, st.sampled_from([torch.float32, torch.float64]))
def test_chroma_of_any_size_is_fused_to_a_number(one: float, other: float, way: ModuleType, dtype: torch.dtype) -> None:
    under, over = torch.tensor([one], dtype=dtype), torch.tensor([other], dtype=dtype)
    fused = way.fuse_chroma(under, over)
    assert torch.isfinite(fused).all()
    bound = max(1.0, abs(one), abs(other)) * (1 + slack(dtype))
    assert fused.abs().max() <= bound


@many
@given(pictures, kinds, kinds)
def test_slopes_of_the_coloured_picture_are_finite(some: Pictures, one: str, other: str) -> None:
    y = some.make("noise", 1, nth=2).requires_grad_()
    under, over = (some.make(kind, nth=nth).requires_grad_() for nth, kind in enumerate((one, other)))
    chroma = fuse_chroma(split_luma(under)[1], split_luma(over)[1])
    merge_luma(y, chroma).square().mean().backward()
    assert all(value.grad is not None and torch.isfinite(value.grad).all() for value in (y, under, over))
