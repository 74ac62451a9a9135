"""Beyond the paper: what operations and networks cost, and a price on exceeding a budget.

The unit everywhere is one multiply-accumulate (MAC) of a convolution for each pixel of the picture, for even sizes;
the biases, normalisations and products of maps are not counted. ``width`` scales the channel counts, 1.0 as in the
paper; ``top_p`` is the number of operations that every node keeps.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from hsds_lib.network.fusion_net import RETINEX_ITERATIONS, node_channels
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.operations import PRIMITIVES, kernel

_HALVED = ("x_3", "y_3")  # at half resolution: on a quarter of the pixels


def operation_macs(width: float) -> Tensor:
    """Price every operation in every node, ``(nodes, operations)`` float64: kernel taps times the channels in and out.

    A quarter of it in the two nodes at half resolution, three times it in the four that are applied three times.
    """
    taps = torch.tensor([kernel(name)[0] * kernel(name)[1] for name in PRIMITIVES], dtype=torch.float64)
    channels = node_channels(width)
    passes = {name: 1 / 4 if name in _HALVED else RETINEX_ITERATIONS if name[0] in "il" else 1 for name in NODES}
    return torch.stack([taps * (channels[name][0] * channels[name][1] * passes[name]) for name in NODES])


def fixed_macs(width: float) -> float:
    """Price what no search can change: the two guides, one dense and one depthwise, and the reconstruction."""
    channels = node_channels(width)
    mid, thin = channels["x_2"][1], channels["x_1"][1]
    return 9 * (mid * mid + mid) / 4 + 9 * thin


def genotype_macs(genotype: Genotype) -> float:
    """Price the network that is derived from a genotype.

    Example:
        >>> genotype_macs(Genotype(nodes={node: {"conv_3x3": 1.0} for node in NODES}))
        143352.0
    """
    kept = genotype.mix() > 0
    return float(operation_macs(genotype.width)[kept].sum()) + fixed_macs(genotype.width)


def least_macs(width: float, *, top_p: int) -> float:
    """Price the cheapest network that keeps ``top_p`` operations in every node."""
    return float(operation_macs(width).sort(dim=1).values[:, :top_p].sum()) + fixed_macs(width)


def expected_macs(mix: Tensor, *, width: float, top_p: int) -> Tensor:
    """Price a mixture: the expected cost of a network that draws ``top_p`` operations of each node from it.

    Each draw is paid for, also of the same operation. The derived network holds the ``top_p`` *strongest*, each once,
    so that it costs less or more than this. A scalar, differentiable in ``mix``, ``(nodes, operations)`` with rows of
    sum 1; ValueError for another shape.
    """
    if mix.shape != (len(NODES), len(PRIMITIVES)):
        raise ValueError(
            f"a mixture of shape {tuple(mix.shape)} has no price; give {len(NODES)} x {len(PRIMITIVES)} weights"
        )
    macs = operation_macs(width).to(mix.dtype).to(mix.device)  # in this order: Apple's MPS has no float64
    return top_p * (mix * macs).sum() + fixed_macs(width)


def over_budget(mix: Tensor, *, budget: float, width: float, top_p: int) -> Tensor:
    """Tell by which share a mixture exceeds a budget: ``max(0, expected / budget - 1)``, with no gradient within it.

    Example:
        >>> even = torch.full((len(NODES), len(PRIMITIVES)), 1 / len(PRIMITIVES), dtype=torch.float64)
        >>> [round(over_budget(even, budget=b, width=1.0, top_p=2).item(), 3) for b in (1e6, 5e5, 2.5e5)]
        [0.0, 0.046, 1.093]
    """
    return functional.relu(expected_macs(mix, width=width, top_p=top_p) / budget - 1)


def check_budget(budget: float, *, width: float, top_p: int) -> None:
    """Refuse a budget below the cost of the cheapest network with a ValueError."""
    least = least_macs(width, top_p=top_p)
    if budget < least:
        raise ValueError(
            f"mac_budget is {budget:,.12g}, but with {top_p} operations in each node the cheapest network of width "
            f"{width:g} takes {least:,.0f} multiply-accumulates per pixel; raise mac_budget, or lower top_p or width"
        )
