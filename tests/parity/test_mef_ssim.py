"""The released MEF-SSIM of one and of several exposures, with and without its luminance term."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hsds_lib.losses.mef_ssim import mef_ssim_single
from hsds_lib.released.terms import released_mef_ssim, window

FILE = "mef_ssim.npz"
INPUTS = ("seq", "fused", "batchseq_X")
EXCUSED = {
    f"k{count}_lum{term}_singleX_{suffix}": "recorded as NaN: the released class raises an error for this shape"
    for count in (2, 3)
    for term in (0, 1)
    for suffix in ("f32", "f64")
}
both_precisions = pytest.mark.parametrize(("dtype", "suffix"), [(torch.float64, "f64"), (torch.float32, "f32")])


@both_precisions
@pytest.mark.parametrize("luminance", [False, True])
@pytest.mark.paper("Table 1 row 2")
def test_parity_released_mef_ssim(recorded: Any, luminance: bool, dtype: torch.dtype, suffix: str) -> None:
    fused, sequence, term = recorded.input("fused", dtype), recorded.input("seq", dtype), int(luminance)
    recorded.check(f"k1_lum{term}_{suffix}", released_mef_ssim(fused, sequence[:1], luminance=luminance))
    recorded.check(f"func_k1_lum{term}_{suffix}", released_mef_ssim(fused, sequence[:1], luminance=luminance))
    for count in (2, 3):
        found = released_mef_ssim(fused, sequence[:count], luminance=luminance)
        recorded.check(f"k{count}_lum{term}_repeatX_{suffix}", found)


@both_precisions
def test_parity_released_mef_ssim_takes_a_batch_for_a_sequence(recorded: Any, dtype: torch.dtype, suffix: str) -> None:
    fused, sequence = recorded.input("batchseq_X", dtype), recorded.input("seq", dtype)[:2]
    recorded.check(f"batchseq_lum0_{suffix}", released_mef_ssim(fused, sequence))
    alone = torch.stack([released_mef_ssim(fused[i : i + 1], sequence[i : i + 1]) for i in range(2)])
    assert abs(float(released_mef_ssim(fused, sequence) - alone.mean())) > 0.01  # mixed, not averaged


def test_parity_released_window_is_bit_for_bit_the_recorded_one(recorded: Any) -> None:
    recorded.check("window11_c1", window(1), rtol=0, atol=0)
    recorded.check("window11_c3", window(3), rtol=0, atol=0)


def test_parity_released_mef_ssim_has_another_window_and_border_than_the_published_one(recorded: Any) -> None:
    fused, source = recorded.input("fused"), recorded.input("seq")[:1]
    published, released = float(mef_ssim_single(fused, source)), float(released_mef_ssim(fused, source))
    assert 1e-3 < abs(published - released) < 0.1


def test_parity_mef_ssim_forgets_no_key(forgotten: set[str]) -> None:
    assert forgotten == set()
