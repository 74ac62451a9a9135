"""The released pruning: two removals a node and call until three operations are left, and how it breaks ties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hsds_lib.network.operations import PRIMITIVES, softmax_active
from hsds_lib.search.wsras import prune_step

FILE = "pruning_trace.npz"
PARTS = {"att": 10, "ret": 5}
CALLS = {"static": 6, "drift": 6, "ties": 2}
CASES = [(trace, part) for trace in CALLS for part in PARTS]
INPUTS = {f"{trace}_before_{part}_0" for trace, part in CASES if trace != "drift"} | {
    f"drift_add_{part}_{call}" for part in PARTS for call in range(CALLS["drift"])
}
EXCUSED: dict[str, str] = {}
EXACT: dict[str, float] = {"rtol": 0.0, "atol": 0.0}
REMOVED = -99.0  # the released code marks removed operations by this logit
# Removed operations keep a denormal weight of some 1e-44 there; here they have exactly 0. Float32 for the rest.
SOFTMAX: dict[str, float] = {"rtol": 1e-6, "atol": 1e-37}


def marked(alpha: Tensor, active: Tensor) -> Tensor:
    return alpha.masked_fill(~active, REMOVED)


def released_call(alpha: Tensor, active: Tensor) -> tuple[list[list[int]], Tensor]:
    """Two unconditional removals per row: the removed (row, operation) in their order, and what is left."""
    cuts: list[list[int]] = []
    for _ in range(2):
        left = prune_step(alpha, active, theta=1.0, top_p=3)
        cuts += (active & ~left).nonzero().tolist()
        active = left
    # The released loop finishes a row before the next; sorting by rows alone keeps the order within them.
    return sorted(cuts, key=lambda cut: cut[0]), active


@pytest.mark.parametrize(("trace", "part"), CASES)
def test_parity_released_pruning_trace(trace: str, part: str, recorded: Any) -> None:
    alpha = recorded.input(f"{'ties' if trace == 'ties' else 'static'}_before_{part}_0", torch.float32)
    active = torch.ones_like(alpha, dtype=torch.bool)
    for call in range(CALLS[trace]):
        if trace == "drift":
            alpha = alpha + recorded.input(f"drift_add_{part}_{call}", torch.float32)
        if trace == "drift" or call > 0:
            recorded.check(f"{trace}_before_{part}_{call}", marked(alpha, active), **EXACT)
        cuts, active = released_call(alpha, active)
        recorded.check(f"{trace}_cuts_{part}_{call}", np.array(cuts).reshape(-1, 2), **EXACT)
        recorded.check(f"{trace}_mask_{part}_{call}", ~active, **EXACT)
        recorded.check(f"{trace}_after_{part}_{call}", marked(alpha, active), **EXACT)
    assert active.sum(dim=1).tolist() == [len(PRIMITIVES) - 2 * min(CALLS[trace], 4)] * PARTS[part]
    recorded.check(f"{trace}_final_softmax_{part}", softmax_active(alpha, active), **SOFTMAX)


@pytest.mark.parametrize(("trace", "part"), CASES)
def test_parity_released_pruning_stops_after_four_calls(trace: str, part: str, recorded: Any) -> None:
    alpha = recorded.input(f"{'ties' if trace == 'ties' else 'static'}_before_{part}_0", torch.float32)
    active, left = torch.ones_like(alpha, dtype=torch.bool), []
    for _ in range(6):
        active = released_call(alpha, active)[1]
        left.append(set(active.sum(dim=1).tolist()))
    assert left == [{9}, {7}, {5}, {3}, {3}, {3}]


def test_parity_pruning_trace_forgets_no_key(forgotten: set[str]) -> None:
    assert forgotten == set()
