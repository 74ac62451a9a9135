"""The derived network with the released architecture: features, outputs, gradients and running statistics."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hsds_lib.network.fusion_net import FusionNet, derive
from hsds_lib.network.genotype import Genotype
from hsds_lib.released.network import load_released_state, released_names

FILE = "network_fixed.npz"
INPUTS = {"input"} | {f"fixed_{what}" for what in ("param_names", "state_names", "state_shapes", "state_sha256")}
EXCUSED: dict[str, str] = {}  # names, shapes and the digest are words: tests of their own compare them
SEED = 2001

Build = Callable[[torch.dtype], FusionNet]


@dataclass(frozen=True)
class Pass:
    """What one forward and backward pass showed; ``gradients`` by released parameter name."""

    network: FusionNet
    out: Tensor
    features: dict[str, Tensor]
    input_gradient: Tensor
    gradients: dict[str, Tensor]


@pytest.fixture(scope="module")
def state(recorded: Any, seeded_state: Callable[..., dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    names, shapes = (recorded.arrays[f"fixed_state_{what}"].tolist() for what in ("names", "shapes"))
    return seeded_state(names, shapes, SEED)


@pytest.fixture(scope="module")
def genotype(recorded: Any) -> Genotype:
    released = json.loads((Path(os.environ["HSDS_FIXTURES"]) / "parity" / "released_genotype.json").read_text())
    rows = released["attention"] + released["retinex"]
    return Genotype(
        nodes={row["node"]: {entry["op"]: entry["renormalised"] for entry in row["retained"]} for row in rows}
    )


@pytest.fixture(scope="module")
def build(state: dict[str, np.ndarray], genotype: Genotype) -> Build:
    def network(dtype: torch.dtype) -> FusionNet:
        built = derive(genotype).to(dtype)
        load_released_state(built, state)
        return built

    return network


def run(network: FusionNet, pair: Tensor, mix: Tensor, *, train: bool) -> Pass:
    """One pass; ``mix`` is given in the precision of the pass, as the network keeps its own in float32."""
    features: dict[str, Tensor] = {}
    pair = pair.clone().requires_grad_()
    handles = [
        network.node("x_5").register_forward_hook(lambda node, inputs, output: features.update(A_x=output)),
        network.node("y_5").register_forward_hook(lambda node, inputs, output: features.update(A_y=output)),
        network.node("div").register_forward_pre_hook(lambda node, inputs: features.update(F_i=inputs[0])),
    ]
    out = network.train(train)(pair, mix)
    for handle in handles:
        handle.remove()
    out.square().mean().backward()
    assert pair.grad is not None
    weights = dict(network.named_parameters())
    theirs = {name: weights[ours] for name, ours in released_names(network).items() if ours in weights}
    gradients = {name: weight.grad for name, weight in theirs.items() if weight.grad is not None}
    return Pass(network, out, features, pair.grad, gradients)


@pytest.fixture(scope="module", params=["eval", "train"])
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def exact(mode: str, recorded: Any, build: Build, genotype: Genotype) -> Pass:
    return run(build(torch.float64), recorded.input("input"), genotype.mix(), train=mode == "train")


def test_parity_seeded_weights_are_the_recorded_ones(recorded: Any, state: dict[str, np.ndarray]) -> None:
    values = [value for name, value in state.items() if not name.endswith("num_batches_tracked")]
    digest = hashlib.sha256(b"".join(value.tobytes() for value in values)).hexdigest()
    assert digest == str(recorded.arrays["fixed_state_sha256"])
    recorded.check("fixed_state_abs_sums", [np.abs(value.astype(np.float64)).sum() for value in state.values()])


def test_parity_released_names_and_shapes_are_those_of_the_derived_network(recorded: Any, genotype: Genotype) -> None:
    network = derive(genotype)
    names, ours = released_names(network), network.state_dict()
    assert sorted(names) == recorded.arrays["fixed_state_names"].tolist()
    shapes = [json.dumps(list(ours[names[name]].shape)) for name in sorted(names)]
    assert shapes == recorded.arrays["fixed_state_shapes"].tolist()
    assert sum(weight.numel() for weight in network.parameters()) == 1_166_353


def test_parity_output_in_double_precision(mode: str, recorded: Any, exact: Pass) -> None:
    recorded.check(f"fixed_{mode}_out_f64", exact.out)


def test_parity_output_in_single_precision(mode: str, recorded: Any, build: Build) -> None:
    out = build(torch.float32).train(mode == "train")(recorded.input("input", torch.float32))
    recorded.check(f"fixed_{mode}_out_f32", out)


@pytest.mark.parametrize("feature", ["A_x", "A_y", "F_i"])
def test_parity_attention_and_fused_features(mode: str, feature: str, recorded: Any, exact: Pass) -> None:
    value = exact.features[feature]
    recorded.check(f"fixed_{mode}_{feature}_mean", value.mean(dim=(2, 3)))
    recorded.check(f"fixed_{mode}_{feature}_std", value.std(dim=(2, 3)))
    recorded.check(f"fixed_{mode}_{feature}_crop", value[..., 24:40, 24:40])


def test_parity_gradient_of_the_input(mode: str, recorded: Any, exact: Pass) -> None:
    recorded.check(f"fixed_{mode}_gradin", exact.input_gradient)


def test_parity_gradient_norms_of_all_weights(mode: str, recorded: Any, exact: Pass) -> None:
    names = recorded.arrays["fixed_param_names"].tolist()
    assert sorted(exact.gradients) == sorted(names)
    recorded.check(f"fixed_{mode}_param_gradnorm", [float(exact.gradients[name].norm()) for name in names])


def test_parity_running_statistics_after_one_forward(
    recorded: Any, build: Build, genotype: Genotype, state: dict[str, np.ndarray]
) -> None:
    network = build(torch.float64).train()
    network(recorded.input("input"), genotype.mix())
    names, moved = released_names(network), network.state_dict()
    once, thrice = "ret.Node_div._ops.0.op.1", "ret.Node_i_1._ops.0.op.1"
    recorded.check("fixed_train_running_mean_node_div0", moved[names[f"{once}.running_mean"]])
    recorded.check("fixed_train_running_var_node_i1_0", moved[names[f"{thrice}.running_var"]])
    assert [int(moved[names[f"{norm}.num_batches_tracked"]]) for norm in (once, thrice)] == [1, 3]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_parity_output_of_odd_sizes(dtype: torch.dtype, recorded: Any, build: Build, genotype: Genotype) -> None:
    pair = recorded.input("input", dtype)[:1, :, :37, :51]
    out = build(dtype).eval()(pair, genotype.mix().to(dtype))
    recorded.check(f"fixed_odd_out_{'f64' if dtype == torch.float64 else 'f32'}", out)


def test_parity_network_fixed_forgets_no_key(forgotten: set[str]) -> None:
    assert forgotten == set()
