"""The fusion network: one wiring of 15 nodes, for the supernet and for the derived network alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.operations import PRIMITIVES, BatchNorm, MixedOp, kernel

RETINEX_ITERATIONS = 3
"""How often the intensity and the illumination path are applied, with shared weights."""

_ITERATED = ("i_1", "i_2", "l_1", "l_2")
_EPSILON = 1e-5  # keeps the two divisions of the Retinex part finite


def node_channels(width: float) -> dict[str, tuple[int, int]]:
    """List the channels of every node; each count is at least 1.

    Args:
        width: scale of the counts; 1.0 gives the paper's 16, 32 and 64.

    Returns:
        Node name to input and output channels.

    Example:
        >>> node_channels(1.0)["x_3"], node_channels(0.25)["x_3"]
        ((96, 64), (24, 16))
    """
    thin, mid, thick = (max(1, round(count * width)) for count in (16, 32, 64))
    levels = {1: (1, thin), 2: (thin, mid), 3: (3 * mid, thick), 4: (thick, mid), 5: (mid, thin)}
    attention = {f"{branch}_{level}": shape for level, shape in levels.items() for branch in ("x", "y")}
    retinex = {f"{path}_{part}": shape for path in "il" for part, shape in ((1, (thin, mid)), (2, (mid, thin)))}
    return {**attention, "div": (thin, thin), **retinex}


class NodeCall(Protocol):
    """Whatever computes the node of a name, one of ``NODES``.

    Example:
        >>> def copy(name: str, x: Tensor, iteration: int = 0) -> Tensor:
        ...     return x[:, :1]
        >>> node: NodeCall = copy
        >>> node("x_1", torch.rand(1, 2, 3, 4)).shape
        torch.Size([1, 1, 3, 4])
    """

    def __call__(self, name: str, x: Tensor, iteration: int = 0) -> Tensor:
        """Apply the node to ``(B, C, H, W)``; ``iteration`` counts the passes through a repeated one."""


class Wiring(nn.Module):
    """How the 15 nodes, two guides and the reconstruction are connected, whatever computes a node.

    Example:
        >>> wiring = Wiring()
        >>> wiring.guide_xy = wiring.guide_yx = nn.MaxPool2d(2, ceil_mode=True)
        >>> wiring.reconstruction = nn.Identity()
        >>> wiring.connect(torch.rand(1, 2, 6, 7), lambda name, x, iteration=0: x[:, :1]).shape  # nodes that copy
        torch.Size([1, 1, 6, 7])
    """

    guide_xy: nn.Module
    guide_yx: nn.Module
    reconstruction: nn.Module

    def primitives(self, name: str) -> tuple[str, ...]:
        """Names of the operations in the node of that name, one of ``NODES``."""
        raise NotImplementedError

    def connect(self, over_under: Tensor, node: NodeCall) -> Tensor:
        """Fuse ``(B, 2, H, W)`` to ``(B, 1, H, W)`` with nodes that ``node`` computes."""
        return self._retinex(self._attention(over_under[:, 1:2], over_under[:, 0:1], node), node)

    def _attention(self, under: Tensor, over: Tensor, node: NodeCall) -> Tensor:
        x_1, y_1 = node("x_1", under), node("y_1", over)
        x_2, y_2 = node("x_2", x_1), node("y_2", y_1)
        x_3 = node("x_3", torch.cat([*_pools(x_2), self.guide_yx(y_2)], dim=1))
        y_3 = node("y_3", torch.cat([*_pools(y_2), self.guide_xy(x_2)], dim=1))
        x_4 = node("x_4", _enlarge(x_3, x_2)) + x_2
        y_4 = node("y_4", _enlarge(y_3, y_2)) + y_2
        return node("x_5", x_4) * x_1 + node("y_5", y_4) * y_1

    def _retinex(self, feature: Tensor, node: NodeCall) -> Tensor:
        intensity = node("div", feature)
        light = feature / (torch.sigmoid(intensity) + _EPSILON)
        for t in range(RETINEX_ITERATIONS):
            intensity = node("i_2", node("i_1", intensity, t), t) + intensity
            refined = node("l_2", node("l_1", light, t), t)
            light = light / (torch.sigmoid(refined) + _EPSILON)
        return torch.tanh(self.reconstruction(intensity * light))


class FusionNet(Wiring):
    """Fuse the luma of two exposures (Figure 2 of the paper): feature attention, then a Retinex pair of paths.

    The wiring is the released network's, which the paper's figure leaves open. Every node is a
    :class:`MixedOp`; which operations it holds is the only difference between a supernet and a derived
    network. Any size from 1 x 1 works.

    Example:
        >>> operations = {node: ("conv_3x3", "dil_5x5") for node in NODES}
        >>> network = FusionNet(operations, width=0.125)
        >>> network(torch.rand(1, 2, 20, 31), mix=torch.full((15, 11), 0.5)).shape
        torch.Size([1, 1, 20, 31])
    """

    mix: Tensor | None
    guide_xy: nn.Sequential
    guide_yx: nn.Sequential
    reconstruction: nn.Conv2d

    def __init__(
        self,
        operations: Mapping[str, Sequence[str]],
        *,
        width: float = 1.0,
        mix: Tensor | None = None,
        separate_statistics: bool = False,
    ) -> None:
        """Build the network.

        Args:
            operations: for each of the 15 nodes, the operations it holds.
            width: scale of the channel counts, 1.0 as in the paper.
            mix: fixed node weights, ``(15, 11)``; without them every forward needs its own.
            separate_statistics: running statistics of their own for each Retinex iteration. The released
                network averages three different distributions, which evaluation then meets nowhere.
        """
        super().__init__()
        self.width, self.separate_statistics = width, separate_statistics
        channels = node_channels(width)
        iterations = {name: RETINEX_ITERATIONS if separate_statistics and name in _ITERATED else 1 for name in NODES}
        self.nodes = nn.ModuleDict(
            {name: MixedOp(operations[name], *channels[name], iterations=iterations[name]) for name in NODES}
        )
        mid, thin = channels["x_2"][1], channels["x_1"][1]
        # The released guides differ: dense from x to y, depthwise from y to x. Kept, so that weights carry over.
        self.guide_xy = _guide(mid, groups=1)
        self.guide_yx = _guide(mid, groups=mid)
        self.reconstruction = nn.Conv2d(thin, 1, 3, padding=1)
        # The light path multiplies by up to 16, so default weights start in the flat ends of tanh. Initial
        # values are not in the paper; here the first picture is mid-gray with little structure.
        nn.init.normal_(self.reconstruction.weight, std=0.02 / thin**0.5)
        nn.init.constant_(self.reconstruction.bias, 0.5)  # type: ignore[arg-type]  # it has a bias
        self.register_buffer("mix", mix, persistent=False)

    def forward(self, over_under: Tensor, mix: Tensor | None = None) -> Tensor:
        """Fuse a batch of luma pairs.

        Args:
            over_under: ``(B, 2, H, W)`` in [0, 1]; channel 0 over-, channel 1 under-exposed.
            mix: node weights, ``(15, 11)``; by default the network's own.

        Returns:
            Fused luma, ``(B, 1, H, W)`` in (-1, 1); clamp it to [0, 1] for a picture.

        Raises:
            ValueError: when neither the call nor the network has node weights.
        """
        mix = self.mix if mix is None else mix
        if mix is None:
            raise ValueError("this network has no node weights of its own: pass mix of shape (15, 11)")
        weights = mix

        def node(name: str, x: Tensor, iteration: int = 0) -> Tensor:
            return self.node(name)(x, weights[NODES.index(name)], iteration)

        return self.connect(over_under, node)

    def node(self, name: str) -> MixedOp:
        """The node of that name, one of ``NODES``."""
        node = self.nodes[name]
        assert isinstance(node, MixedOp)
        return node

    def primitives(self, name: str) -> tuple[str, ...]:
        """Names of the operations in the node of that name, one of ``NODES``."""
        return tuple(self.node(name).operations)


class Supernet(FusionNet):
    """The search network: every node starts with all 11 operations and may lose some.

    Example:
        >>> supernet = Supernet()
        >>> sum(weight.numel() for weight in supernet.parameters())
        3819825
        >>> supernet.remove("x_1", "conv_7x7")
        >>> len(supernet.node("x_1").operations)
        10
    """

    def __init__(self, *, width: float = 1.0) -> None:
        """Build the supernet at ``width`` (1.0: 3,819,825 parameters)."""
        super().__init__(dict.fromkeys(NODES, PRIMITIVES), width=width)

    def remove(self, node: str, primitive: str) -> None:
        """Remove an operation physically: no forward, no backward, no memory."""
        self.node(node).remove(primitive)


def derive(genotype: Genotype, *, separate_statistics: bool = False) -> FusionNet:
    """Build the network that a genotype describes, with fresh weights.

    Args:
        genotype: the operations of every node, their weights, and the width.
        separate_statistics: see :class:`FusionNet`.

    Returns:
        The network, in float32 and training mode; its node weights are the genotype's.

    Example:
        >>> genotype = Genotype(nodes={node: {"conv_3x3": 1.0} for node in NODES}, width=0.125)
        >>> derive(genotype).eval()(torch.rand(1, 2, 12, 16)).shape
        torch.Size([1, 1, 12, 16])
    """
    operations = {node: tuple(retained) for node, retained in genotype.nodes.items()}
    mix = genotype.mix().float()
    return FusionNet(operations, width=genotype.width, mix=mix, separate_statistics=separate_statistics)


def receptive_radius(network: Wiring) -> int:
    """Tell how many pixels away an input can still change an output pixel, by an upper bound (for tiling).

    Args:
        network: any network, folded or not; the bound holds for inputs of even sizes, as odd ones are stretched.

    Returns:
        Pixels, in rows as in columns.

    Example:
        >>> pointwise = Genotype(nodes={node: {"conv_1x1": 1.0} for node in NODES}, width=0.125)
        >>> receptive_radius(derive(pointwise))  # 2 by the guides, 4 by the half resolution, 1 at the end
        7
    """
    reach = {}
    for name in NODES:
        sizes = [kernel(primitive) for primitive in network.primitives(name)]
        reach[name] = max(max(height, width) // 2 * dilation for height, width, dilation in sizes)

    def widest(level: int) -> int:
        return max(reach[f"x_{level}"], reach[f"y_{level}"])

    # Half resolution: the node counts double; 2 for the dilated guide, 2 + 2 for pooling and enlarging.
    attention = widest(1) + widest(2) + 2 + 2 * widest(3) + 4 + widest(4) + widest(5)
    paths = max(reach["i_1"] + reach["i_2"], reach["l_1"] + reach["l_2"])
    return attention + reach["div"] + RETINEX_ITERATIONS * paths + 1


def _guide(channels: int, *, groups: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, channels, 3, stride=2, padding=2, dilation=2, groups=groups, bias=False)
    return nn.Sequential(conv, BatchNorm(channels), nn.ReLU())


def _pools(x: Tensor) -> tuple[Tensor, Tensor]:
    maximum = functional.max_pool2d(x, 2, ceil_mode=True)
    average = functional.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)
    return maximum, average


def _enlarge(x: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
