"""Released weights: every entry has its place, none is taken twice, and what does not fit is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hsds_lib.network.fusion_net import FusionNet, Supernet, derive
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.released.network import load_released_state, released_names


def small_network(*, separate_statistics: bool = False) -> FusionNet:
    nodes = {node: {"conv_1x1": 0.2, "conv_3x3": 0.5, "dil_3x3": 0.3} for node in NODES}
    return derive(Genotype(nodes=nodes, width=0.0625), separate_statistics=separate_statistics)


def numbered_state(network: FusionNet) -> dict[str, np.ndarray]:
    """A state under the released names in which no two entries are equal."""
    state, random = network.state_dict(), np.random.default_rng(0)
    return {
        theirs: random.random(tuple(state[ours].shape)).astype(np.float32)
        if state[ours].is_floating_point()
        else np.array(number)
        for number, (theirs, ours) in enumerate(released_names(network).items())
    }


@pytest.mark.parametrize("network", [Supernet(width=0.0625), small_network()], ids=["supernet", "derived"])
def test_every_entry_has_one_released_name(network: FusionNet) -> None:
    assert sorted(released_names(network).values()) == sorted(network.state_dict())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_loading_puts_every_array_in_its_place_and_keeps_the_type(dtype: torch.dtype) -> None:
    network = small_network().to(dtype)
    arrays = numbered_state(network)
    load_released_state(network, arrays)
    state = network.state_dict()
    for theirs, ours in released_names(network).items():
        assert np.array_equal(state[ours].numpy(), arrays[theirs])
        assert state[ours].dtype == (dtype if state[ours].is_floating_point() else torch.int64)


def test_operations_of_a_derived_network_are_numbered_by_descending_weight() -> None:
    names = released_names(small_network())
    ours = [names[f"ret.Node_i_1._ops.{number}.op.0.weight"].split(".")[3] for number in range(3)]
    assert ours == ["conv_3x3", "dil_3x3", "conv_1x1"]


def test_operations_of_a_supernet_keep_their_numbers_when_others_are_removed() -> None:
    supernet = Supernet(width=0.0625)
    supernet.remove("x_1", "conv_3x3")
    names = released_names(supernet)
    assert names["att.Node_x_1._ops.2.op.1.bias"] == "nodes.x_1.operations.conv_5x5.norm.bias"
    assert "att.Node_x_1._ops.1.op.1.bias" not in names


def test_missing_and_unknown_names_are_one_error_and_load_nothing() -> None:
    network = small_network()
    arrays, before = numbered_state(network), {name: value.clone() for name, value in network.state_dict().items()}
    arrays["att.Node_z_1.weight"] = arrays.pop("ret.reconstruction.bias")
    match = r"1 \(ret.reconstruction.bias\) missing, 1 \(att.Node_z_1.weight\) unknown; derive the network from"
    with pytest.raises(ValueError, match=match):
        load_released_state(network, arrays)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_weights_of_another_architecture_are_refused() -> None:
    with pytest.raises(ValueError, match=r"does not belong to this network: \d+ \(.*, \.\.\.\) missing"):
        load_released_state(Supernet(width=0.0625), numbered_state(small_network()))


def test_a_shape_that_does_not_fit_is_named_and_loads_nothing() -> None:
    network = small_network(separate_statistics=True)
    before = network.reconstruction.weight.clone()
    match = r"running_mean has shape \(2,\) instead of \(3, 2\) \(36 such entries\)"
    with pytest.raises(ValueError, match=match):
        load_released_state(network, numbered_state(small_network()))
    assert torch.equal(network.reconstruction.weight, before)
