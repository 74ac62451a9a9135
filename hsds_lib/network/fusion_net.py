"""The fusion network: one wiring of nodes, for the supernet and for the derived network alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

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
    """List input and output channels of every node, each at least 1; ``width`` 1.0 gives the paper's 16, 32 and 64."""
    thin, mid, thick = (max(1, round(count * width)) for count in (16, 32, 64))
    levels = {1: (1, thin), 2: (thin, mid), 3: (3 * mid, thick), 4: (thick, mid), 5: (mid, thin)}
    attention = {f"{branch}_{level}": shape for level, shape in levels.items() for branch in ("x", "y")}
    retinex = {f"{path}_{part}": shape for path in "il" for part, shape in ((1, (thin, mid)), (2, (mid, thin)))}
    return {**attention, "div": (thin, thin), **retinex}


class Wiring(nn.Module):
    """How nodes, two guides and the reconstruction are connected, whatever computes a node."""

    nodes: nn.ModuleDict  # by name; each has its ``operations`` by name
    guide_xy: nn.Module
    guide_yx: nn.Module
    reconstruction: nn.Module

    def primitives(self, name: str) -> tuple[str, ...]:
        """Names of the operations in the node of that name, one of ``NODES``."""
        return tuple(cast(nn.ModuleDict, self.nodes[name].operations))

    def connect(self, over_under: Tensor, node: Callable[..., Tensor]) -> Tensor:
        """Fuse ``(B, 2, H, W)`` to ``(B, 1, H, W)`` with nodes that ``node(name, x, iteration=0)`` computes."""
        return self._retinex(self._attention(over_under[:, 1:2], over_under[:, 0:1], node), node)

    def _attention(self, under: Tensor, over: Tensor, node: Callable[..., Tensor]) -> Tensor:
        x_1, y_1 = node("x_1", under), node("y_1", over)
        x_2, y_2 = node("x_2", x_1), node("y_2", y_1)
        x_3 = node("x_3", torch.cat([*_pools(x_2), self.guide_yx(y_2)], dim=1))
        y_3 = node("y_3", torch.cat([*_pools(y_2), self.guide_xy(x_2)], dim=1))
        x_4 = node("x_4", _enlarge(x_3, x_2)) + x_2
        y_4 = node("y_4", _enlarge(y_3, y_2)) + y_2
        return node("x_5", x_4) * x_1 + node("y_5", y_4) * y_1

    def _retinex(self, feature: Tensor, node: Callable[..., Tensor]) -> Tensor:
        intensity = node("div", feature)
        light = feature / (torch.sigmoid(intensity) + _EPSILON)
        for t in range(RETINEX_ITERATIONS):
            intensity = node("i_2", node("i_1", intensity, t), t) + intensity
            refined = node("l_2", node("l_1", light, t), t)
            light = light / (torch.sigmoid(refined) + _EPSILON)
        return torch.tanh(self.reconstruction(intensity * light))


class FusionNet(Wiring):
    """Fuse the luma of two exposures (Figure 2 of the paper): feature attention, then a Retinex pair of paths.

    The wiring is the released network's, which the paper's figure leaves open. Every node is a :class:`MixedOp`; which
    operations it holds is the only difference between a supernet and a derived network. Any size from 1 x 1 works.
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
        """Build the network from the operations of every node, with fixed node weights ``mix`` or none.

        ``separate_statistics`` keeps running statistics for each Retinex iteration; the released network averages
        three different distributions, which evaluation then meets nowhere.
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
        """Fuse luma pairs ``(B, 2, H, W)`` in [0, 1], over-exposed first, to ``(B, 1, H, W)`` in (-1, 1).

        Clamp the result to [0, 1] for a picture. ``mix`` are node weights ``(nodes, operations)``, by default the
        network's own; ValueError when there are none.
        """
        mix = self.mix if mix is None else mix
        if mix is None:
            raise ValueError(
                f"this network has no node weights of its own: pass mix of shape {(len(NODES), len(PRIMITIVES))}"
            )
        weights = mix

        def node(name: str, x: Tensor, iteration: int = 0) -> Tensor:
            return self.node(name)(x, weights[NODES.index(name)], iteration)

        return self.connect(over_under, node)

    def node(self, name: str) -> MixedOp:
        """The node of that name, one of ``NODES``."""
        return cast(MixedOp, self.nodes[name])


class Supernet(FusionNet):
    """The search network: every node starts with all operations and may lose some.

    Example:
        >>> supernet = Supernet(width=0.25)
        >>> supernet.remove("x_1", "conv_7x7")
        >>> len(PRIMITIVES) - len(supernet.primitives("x_1"))
        1
    """

    def __init__(self, *, width: float = 1.0) -> None:
        super().__init__(dict.fromkeys(NODES, PRIMITIVES), width=width)

    def remove(self, node: str, primitive: str) -> None:
        """Remove an operation physically: no forward, no backward, no memory."""
        self.node(node).remove(primitive)


def derive(genotype: Genotype, *, separate_statistics: bool = False) -> FusionNet:
    """Build the network that a genotype describes, with its node weights and fresh weights, in training mode.

    Example:
        >>> genotype = Genotype(nodes={node: {"conv_3x3": 1.0} for node in NODES}, width=0.125)
        >>> derive(genotype).eval()(torch.rand(1, 2, 12, 16)).shape
        torch.Size([1, 1, 12, 16])
    """
    operations = {node: tuple(retained) for node, retained in genotype.nodes.items()}
    mix = genotype.mix().float()
    return FusionNet(operations, width=genotype.width, mix=mix, separate_statistics=separate_statistics)


def receptive_radius(network: Wiring) -> int:
    """Tell how many pixels away an input can still change an output pixel: an upper bound, for tiling.

    It holds for inputs of even sizes, as odd ones are stretched, in rows as in columns.
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
