"""Colour as released: both conversions, the fusion of chroma before and after truncation, and what it costs."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from hsds_lib.images import color as ours_color
from hsds_lib.images.color import split_luma
from hsds_lib.released.color import fuse_chroma, mean_chroma_level, merge_luma

FILE = "chroma.npz"
INPUTS = {"rgb_u8", "b_rgb_u8"}
EXCUSED: dict[str, str] = {}
EXACT: dict[str, float] = {"rtol": 0.0, "atol": 0.0}  # levels are integers
ROUNDED: dict[str, float] = {"rtol": 0.0, "atol": 1e-7}  # of float32 in [0, 1]: an ulp, far below a level
CHROMA = {"cr": 0, "cb": 1}  # the files hold Y, Cr, Cb; the library Y, Cb, Cr


def to_ycrcb(y: Tensor, cbcr: Tensor) -> Tensor:
    return torch.cat([y, cbcr.flip(1)], dim=1)


def from_ycrcb(ycrcb: Tensor) -> tuple[Tensor, Tensor]:
    return ycrcb[:, :1], ycrcb[:, 1:].flip(1)


def opencv(images: Tensor, code: int) -> Tensor:
    """OpenCV's conversion of ``(B, 3, H, W)``, in the type that is given."""
    converted = [cv2.cvtColor(np.ascontiguousarray(image), code) for image in images.permute(0, 2, 3, 1).numpy()]
    return torch.from_numpy(np.stack(converted)).permute(0, 3, 1, 2)


def rgb(recorded: Any, key: str = "rgb_u8") -> Tensor:
    return recorded.input(key, torch.uint8)


def levels(recorded: Any, key: str) -> Tensor:
    """Cr and Cb of an 8-bit image as OpenCV makes them, 0 to 255."""
    return opencv(rgb(recorded, key), cv2.COLOR_RGB2YCrCb)[:, 1:]


def test_parity_opencv_makes_the_recorded_chroma(recorded: Any) -> None:
    ycrcb = opencv(rgb(recorded), cv2.COLOR_RGB2YCrCb)
    recorded.check("cv2_ycrcb_u8", ycrcb, **EXACT)
    recorded.check("b_cv2_ycrcb_u8", opencv(rgb(recorded, "b_rgb_u8"), cv2.COLOR_RGB2YCrCb), **EXACT)
    recorded.check("cv2_rgb_back_u8", opencv(ycrcb, cv2.COLOR_YCrCb2RGB), **EXACT)
    recorded.check("cv2_ycrcb_f32", opencv(rgb(recorded).float() / 255, cv2.COLOR_RGB2YCrCb), **ROUNDED)


def test_parity_released_split_of_brightness_and_chroma(recorded: Any) -> None:
    ycrcb = to_ycrcb(*split_luma(rgb(recorded).float() / 255))
    recorded.check("official_rgb2ycrcb_f32", ycrcb, **ROUNDED)


def test_parity_released_merge_of_brightness_and_chroma(recorded: Any) -> None:
    split = split_luma(rgb(recorded).float() / 255)
    recorded.check("official_ycrcb2rgb_of_official_f32", merge_luma(*split), **ROUNDED)
    ycrcb = opencv(rgb(recorded), cv2.COLOR_RGB2YCrCb).float() / 255
    recorded.check("official_ycrcb2rgb_of_cv2_f32", merge_luma(*from_ycrcb(ycrcb)), **ROUNDED)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_parity_released_fusion_of_all_pairs_of_levels(dtype: torch.dtype, recorded: Any) -> None:
    chroma = torch.arange(256, dtype=dtype) / 255
    table = fuse_chroma(chroma[:, None].expand(256, 256), chroma.expand(256, 256))
    recorded.check("table_u8", (table * 255).round(), **EXACT)


@pytest.mark.parametrize("name", list(CHROMA))
def test_parity_released_fusion_of_two_pictures(name: str, recorded: Any) -> None:
    under, over = (levels(recorded, key)[:, CHROMA[name]][:, None] / 255 for key in ("rgb_u8", "b_rgb_u8"))
    recorded.check(f"fused_{name}_f32", fuse_chroma(under, over), **ROUNDED)


@pytest.mark.parametrize("name", list(CHROMA))
def test_parity_released_mean_before_truncation(name: str, recorded: Any) -> None:
    under, over = (levels(recorded, key)[:, CHROMA[name]].double() for key in ("rgb_u8", "b_rgb_u8"))
    recorded.check(f"exact_{name}_f64", mean_chroma_level(under, over))


def test_parity_released_colours_are_cast_where_opencv_and_ours_are_not(recorded: Any) -> None:
    """Mean difference to the 8-bit original, in levels of R, G and B."""
    image = rgb(recorded)
    ycrcb = opencv(image, cv2.COLOR_RGB2YCrCb)
    released = merge_luma(*from_ycrcb(ycrcb.float() / 255)) * 255
    ours = ours_color.merge_luma(*split_luma(image.float() / 255)) * 255
    cast = {
        name: (back.double() - image).mean(dim=(0, 2, 3)).tolist()
        for name, back in (("released", released), ("opencv", opencv(ycrcb, cv2.COLOR_YCrCb2RGB)), ("ours", ours))
    }
    assert cast["released"] == pytest.approx([0.69, -0.54, 0.91], abs=0.005)
    assert max(map(abs, cast["opencv"])) < 0.03 and max(map(abs, cast["ours"])) < 1e-4


def test_parity_chroma_forgets_no_key(forgotten: set[str]) -> None:
    assert forgotten == set()
