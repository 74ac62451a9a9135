"""The released architecture: what weight retention makes of its survivors, and what its networks cost."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from hsds_lib.network.fusion_net import FusionNet, Supernet, derive, node_channels
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.operations import PRIMITIVES, kernel
from hsds_lib.search.wsras import retain

SHAPE = (len(NODES), len(PRIMITIVES))

FILE = "released_genotype.json"
# What only describes the file, and what retention starts from.
INPUTS = {"source", "keep_threshold", "cost.notes"}
EXCUSED: dict[str, str] = {}
SIDE = 16  # pixels; costs are per pixel of an even size
ROWS = [*(("attention", row) for row in range(10)), *(("retinex", row) for row in range(5))]
RETENTIONS: dict[str, dict[str, Any]] = {  # of the survivors' weights
    "fixed_retained_over_0.1": {"top_p": len(PRIMITIVES), "least_weight": 0.1},
    "fixed_all_three_survivors": {"top_p": 3},
    "top2_of_each_node": {"top_p": 2},
    "top1_of_each_node": {"top_p": 1},
}


@dataclass
class Leaves:
    """The values of a JSON file by their dotted path, and which of them were compared."""

    file: dict[str, Any]
    read_only: set[str]
    errors: dict[str, float] = field(default_factory=dict)

    @property
    def arrays(self) -> dict[str, Any]:
        return dict(_leaves(self.file, ""))

    def check(self, path: str, found: Any) -> None:
        """Compare one value: numbers that are not integers to 1e-6, everything else exactly."""
        wanted = self.arrays[path]
        self.errors[path] = abs(found - wanted) / wanted if isinstance(wanted, float) else 0.0
        assert found == (pytest.approx(wanted, rel=1e-6) if isinstance(wanted, float) else wanted), path


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        for key, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(below, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


@pytest.fixture(scope="module")
def recorded() -> Leaves:
    root = os.environ.get("HSDS_FIXTURES")
    if not root:
        pytest.skip("HSDS_FIXTURES is not set")
    file = json.loads((Path(root) / "parity" / FILE).read_text())
    survivors = {
        f"{part}.{row}.survivors.{place}.{what}"
        for part, row in ROWS
        for place in range(3)
        for what in ("op", "weight")
    }
    return Leaves(file, INPUTS | survivors)


def node_row(recorded: Leaves, part: str, row: int) -> dict[str, Any]:
    return recorded.file[part][row]


def survivors(recorded: Leaves) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose softmax over the survivors are their recorded weights, and which operations survive."""
    alpha = torch.zeros(len(NODES), len(PRIMITIVES), dtype=torch.float64)
    active = torch.zeros_like(alpha, dtype=torch.bool)
    for number, (part, row) in enumerate(ROWS):
        for entry in node_row(recorded, part, row)["survivors"]:
            place = number, PRIMITIVES.index(entry["op"])
            alpha[place], active[place] = torch.tensor(entry["weight"], dtype=torch.float64).log(), True
    return alpha, active


def released(recorded: Leaves, name: str = "fixed_retained_over_0.1") -> Genotype:
    return retain(*survivors(recorded), width=1.0, **RETENTIONS[name])


def check_cost(recorded: Leaves, name: str, network: FusionNet, mix: torch.Tensor | None = None) -> None:
    recorded.check(f"cost.{name}.parameters", sum(weight.numel() for weight in network.parameters()))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.zeros(1, 2, SIDE, SIDE), mix)
    # The counter takes a multiplication and an addition for two; only convolutions are counted.
    assert {str(operation) for operation in counter.get_flop_counts()["Global"]} == {"aten.convolution"}
    recorded.check(f"cost.{name}.conv_macs_per_input_pixel", counter.get_total_flops() / 2 / SIDE**2)


def test_parity_released_search_space(recorded: Leaves) -> None:
    for number, primitive in enumerate(PRIMITIVES):
        recorded.check(f"space.{number}", primitive)
        for what, value in zip(("kh", "kw", "dilation"), kernel(primitive), strict=True):
            recorded.check(f"kernel.{primitive}.{what}", value)
    assert len(recorded.file["space"]) == len(recorded.file["kernel"]) == len(PRIMITIVES)


@pytest.mark.parametrize(("part", "row"), ROWS)
def test_parity_released_retention_of_a_node(part: str, row: int, recorded: Leaves) -> None:
    entry = node_row(recorded, part, row)
    kept = sorted(released(recorded).nodes[entry["node"]].items(), key=lambda item: -item[1])
    assert len(kept) == len(entry["retained"])
    before = {survivor["op"]: survivor["weight"] for survivor in entry["survivors"]}
    for place, (operation, weight) in enumerate(kept):
        recorded.check(f"{part}.{row}.retained.{place}.op", operation)
        recorded.check(f"{part}.{row}.retained.{place}.weight", before[operation])
        recorded.check(f"{part}.{row}.retained.{place}.renormalised", weight)


def test_parity_released_retention_keeps_23_operations(recorded: Leaves) -> None:
    assert RETENTIONS["fixed_retained_over_0.1"]["least_weight"] == recorded.file["keep_threshold"]
    recorded.check("retained_count", sum(len(kept) for kept in released(recorded).nodes.values()))


def test_parity_released_nodes_have_these_channels_sizes_and_repetitions(recorded: Leaves) -> None:
    network, seen = derive(released(recorded)).eval(), Counter[str]()
    area: dict[str, float] = {}
    for name in NODES:

        def hook(module: torch.nn.Module, inputs: Any, output: torch.Tensor, name: str = name) -> None:
            seen[name] += 1
            area[name] = output.shape[-2] * output.shape[-1] / SIDE**2

        network.node(name).register_forward_hook(hook)
    with torch.no_grad():
        network(torch.zeros(1, 2, SIDE, SIDE))
    for name, (part, row) in zip(NODES, ROWS, strict=True):
        inputs, outputs = node_channels(1.0)[name]
        facts = {"row": row, "node": name, "in_channels": inputs, "out_channels": outputs}
        facts |= {"relative_area": area[name], "applications_per_forward": seen[name]}
        for what, value in facts.items():
            recorded.check(f"{part}.{row}.{what}", value)


@pytest.mark.parametrize("name", list(RETENTIONS))
def test_parity_released_networks_cost_as_much(name: str, recorded: Leaves) -> None:
    check_cost(recorded, name, derive(released(recorded, name)))


def test_parity_supernet_costs_as_much(recorded: Leaves) -> None:
    check_cost(recorded, "supernet_all_ops", Supernet(), torch.full(SHAPE, 1 / len(PRIMITIVES)))


def test_parity_released_genotype_forgets_no_key(forgotten: set[str]) -> None:
    assert forgotten == set()
