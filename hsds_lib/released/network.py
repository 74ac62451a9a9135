"""The authors' released weights in our network: which of their names is which of ours, and how to load them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from hsds_lib.network.fusion_net import FusionNet
from hsds_lib.network.genotype import NODES
from hsds_lib.network.operations import PRIMITIVES


def released_names(network: FusionNet) -> dict[str, str]:
    """Name every entry of a network's state as the released code does: released name to ours.

    Nodes are ``att.Node_x_1`` ... ``ret.Node_l_2``, operation J of a node is ``._ops.J.op``, with ``.0`` for its
    convolution and ``.1`` for its batch normalisation. J is the number of the operation in the search space for a
    supernet; in a network with node weights of its own it counts them by descending weight.
    """
    theirs = {"reconstruction": "ret.reconstruction"}
    for guide, released in (("guide_xy", "att.dil_xtoy"), ("guide_yx", "att.dil_ytox")):
        theirs |= {f"{guide}.{layer}": f"{released}.{layer}" for layer in (0, 1)}
    for node in NODES:
        part = "att" if node[0] in "xy" else "ret"
        for primitive, number in _numbers(network, node).items():
            operation = f"{part}.Node_{node}._ops.{number}.op"
            theirs[f"nodes.{node}.operations.{primitive}.conv"] = f"{operation}.0"
            theirs[f"nodes.{node}.operations.{primitive}.norm"] = f"{operation}.1"
    names = {}
    for ours in network.state_dict():
        module, _, leaf = ours.rpartition(".")
        names[f"{theirs[module]}.{leaf}"] = ours
    return names


def load_released_state(network: FusionNet, arrays: Mapping[str, np.ndarray | Tensor]) -> None:
    """Load a state with the released names into a network of the same architecture, in its type and on its device.

    ValueError if names are missing or unknown, or a shape does not fit; nothing is loaded then.
    """
    names, state = released_names(network), network.state_dict()
    missing, unknown = sorted(names.keys() - arrays.keys()), sorted(arrays.keys() - names.keys())
    if missing or unknown:
        raise ValueError(
            f"the released state does not belong to this network: {_some(missing)} missing, {_some(unknown)} unknown; "
            "derive the network from the genotype that the weights were trained with"
        )
    wrong = [name for name in names if tuple(arrays[name].shape) != tuple(state[names[name]].shape)]
    if wrong:
        given, expected = (tuple(entry.shape) for entry in (arrays[wrong[0]], state[names[wrong[0]]]))
        raise ValueError(
            f"the released state does not fit this network: {wrong[0]} has shape {given} instead of {expected} "
            f"({len(wrong)} such entries); use the width 1.0 and one set of running statistics"
        )
    network.load_state_dict({ours: torch.as_tensor(arrays[theirs]) for theirs, ours in names.items()})


def _numbers(network: FusionNet, node: str) -> dict[str, int]:
    """Number the operations of a node as the released code does."""
    held = list(network.node(node).operations)
    if network.mix is None:
        return {primitive: PRIMITIVES.index(primitive) for primitive in held}
    weights = network.mix[NODES.index(node)].tolist()
    by_weight = sorted(held, key=lambda primitive: -weights[PRIMITIVES.index(primitive)])
    return {primitive: number for number, primitive in enumerate(by_weight)}


def _some(names: list[str]) -> str:
    """Show a list of names by its length and its first entry."""
    return f"{len(names)} ({names[0]}{', ...' if len(names) > 1 else ''})" if names else "none"
