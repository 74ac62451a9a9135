"""The supernet with all operations in every node: features, outputs and the gradient of alpha."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hsds_lib.network.fusion_net import Supernet
from hsds_lib.network.genotype import NODES
from hsds_lib.network.operations import softmax_active
from hsds_lib.released.network import load_released_state, released_names

FILE = "network_super.npz"
INPUTS = {"input", "alphas_att", "alphas_ret", "super_state_names", "super_state_shapes", "super_state_sha256"}
EXCUSED: dict[str, str] = {}  # names, shapes and the digest are words: tests of their own compare them
SEED = 2100
ATTENTION = 10  # rows of alpha before those of the Retinex part


@dataclass(frozen=True)
class Pass:
    """What one forward and backward pass showed."""

    out: Tensor
    features: dict[str, Tensor]
    alpha_gradient: Tensor


@pytest.fixture(scope="module")
def state(recorded: Any, seeded_state: Callable[..., dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    names, shapes = (recorded.arrays[f"super_state_{what}"].tolist() for what in ("names", "shapes"))
    return seeded_state(names, shapes, SEED)


@pytest.fixture(scope="module", params=["eval", "train"])
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


def run(recorded: Any, state: dict[str, np.ndarray], dtype: torch.dtype, *, train: bool) -> Pass:
    network = Supernet().to(dtype)
    load_released_state(network, state)
    features: dict[str, Tensor] = {}
    network.node("x_5").register_forward_hook(lambda node, inputs, output: features.update(A_x=output))
    network.node("y_5").register_forward_hook(lambda node, inputs, output: features.update(A_y=output))
    network.node("div").register_forward_pre_hook(lambda node, inputs: features.update(F_i=inputs[0]))
    alpha = torch.cat([recorded.input(f"alphas_{part}", dtype) for part in ("att", "ret")]).requires_grad_()
    mix = softmax_active(alpha, torch.ones_like(alpha, dtype=torch.bool))
    out = network.train(train)(recorded.input("input", dtype), mix)
    out.square().mean().backward()
    assert alpha.grad is not None
    return Pass(out, features, alpha.grad)


@pytest.fixture(scope="module")
def exact(mode: str, recorded: Any, state: dict[str, np.ndarray]) -> Pass:
    return run(recorded, state, torch.float64, train=mode == "train")


def test_parity_seeded_weights_are_the_recorded_ones(recorded: Any, state: dict[str, np.ndarray]) -> None:
    values = [value for name, value in state.items() if not name.endswith("num_batches_tracked")]
    digest = hashlib.sha256(b"".join(value.tobytes() for value in values)).hexdigest()
    assert digest == str(recorded.arrays["super_state_sha256"])
    recorded.check("super_state_abs_sums", [np.abs(value.astype(np.float64)).sum() for value in state.values()])


def test_parity_released_names_and_shapes_are_those_of_the_supernet(recorded: Any) -> None:
    network = Supernet()
    names, ours = released_names(network), network.state_dict()
    assert sorted(names) == recorded.arrays["super_state_names"].tolist()
    shapes = [json.dumps(list(ours[names[name]].shape)) for name in sorted(names)]
    assert shapes == recorded.arrays["super_state_shapes"].tolist()


def test_parity_rows_of_alpha_are_the_nodes_in_the_released_order() -> None:
    assert NODES[:ATTENTION] == tuple(f"{branch}_{level}" for level in range(1, 6) for branch in "xy")
    assert NODES[ATTENTION:] == ("div", "i_1", "i_2", "l_1", "l_2")


def test_parity_output_in_double_precision(mode: str, recorded: Any, exact: Pass) -> None:
    recorded.check(f"super_{mode}_out_f64", exact.out)


def test_parity_output_in_single_precision(mode: str, recorded: Any, state: dict[str, np.ndarray]) -> None:
    recorded.check(f"super_{mode}_out_f32", run(recorded, state, torch.float32, train=mode == "train").out)


@pytest.mark.parametrize("feature", ["A_x", "A_y", "F_i"])
def test_parity_attention_and_fused_features(mode: str, feature: str, recorded: Any, exact: Pass) -> None:
    recorded.check(f"super_{mode}_{feature}", exact.features[feature])


def test_parity_gradient_of_alpha(mode: str, recorded: Any, exact: Pass) -> None:
    recorded.check(f"super_{mode}_grad_alphas_att", exact.alpha_gradient[:ATTENTION])
    recorded.check(f"super_{mode}_grad_alphas_ret", exact.alpha_gradient[ATTENTION:])


def test_parity_network_super_forgets_no_key(forgotten: set[str]) -> None:
    assert forgotten == set()
