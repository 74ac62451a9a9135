"""A trained network for fusing alone: normalisation and node weights are part of the convolutions.

In evaluation mode a batch normalisation is an affine map for each channel, and a node weight ``w >= 0`` may pass
through a ReLU: ``w * relu(BN(conv(x))) = relu(conv'(x) + b')``. The convolution then does it all: the same sums, in
another order.
"""

from __future__ import annotations

from copy import deepcopy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from hsds_lib.network.fusion_net import FusionNet, Wiring
from hsds_lib.network.genotype import NODES
from hsds_lib.network.operations import PRIMITIVES, BatchNorm, MixedOp, Operation


class FoldedConv(nn.Module):
    """Convolution, bias and ReLU, with weights that lie channels last: dilated kernels so take a half to a fifth."""

    def __init__(self, like: nn.Conv2d, weight: Tensor, bias: Tensor) -> None:
        """Take the geometry of ``like``, and the values of ``weight`` and ``bias`` in its type and device."""
        super().__init__()
        # A copy, because a kernel with one input channel counts as channels last with any strides, and the layout of
        # the output follows the strides.
        last = weight.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format).permute(0, 3, 1, 2)
        self.weight = nn.Parameter(last.to(like.weight), requires_grad=False)
        self.bias = nn.Parameter(bias.to(like.weight), requires_grad=False)
        self.stride, self.padding = like.stride, cast(tuple[int, int], like.padding)
        self.dilation, self.groups = like.dilation, like.groups
        self.pointwise = like.kernel_size == (1, 1) and like.stride == (1, 1) and like.groups == 1

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to non-negative ``(B, outputs, H', W')``, which is new and may be changed."""
        if self.pointwise:
            # torch has no fast convolution of this size for few channels; channels last it is a matrix product.
            flat = functional.linear(x.permute(0, 2, 3, 1), self.weight[:, :, 0, 0], self.bias)
            return flat.relu_().permute(0, 3, 1, 2)
        out = functional.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        return out.relu_()


class FoldedNode(nn.Module):
    """A node: the sum of its folded operations; each has one convolution, or one for each iteration."""

    def __init__(self, node: MixedOp, mix: Tensor) -> None:
        """Fold ``node`` with its weights ``mix``, one per entry of ``PRIMITIVES``."""
        super().__init__()
        self.operations = nn.ModuleDict()
        for name, operation in node.operations.items():
            assert isinstance(operation, Operation)
            weight = mix[PRIMITIVES.index(name)]
            self.operations[name] = nn.ModuleList(
                _fold(operation.conv, operation.norm, iteration, weight)
                for iteration in range(operation.norm.iterations)
            )

    def forward(self, x: Tensor, iteration: int = 0) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs, H, W)``; ``iteration`` counts passes through a repeated node."""
        folded = [cast(nn.ModuleList, convs) for convs in self.operations.values()]
        first, *others = (convs[iteration if len(convs) > 1 else 0] for convs in folded)
        total: Tensor = first(x)
        for conv in others:
            total.add_(conv(x))
        return total


class FoldedNet(Wiring):
    """A network that only fuses; see :func:`fold`."""

    def __init__(self, network: FusionNet, mix: Tensor) -> None:
        """Fold ``network`` with node weights ``mix``, ``(nodes, operations)``; :func:`fold` checks both."""
        super().__init__()
        self.nodes = nn.ModuleDict({name: FoldedNode(network.node(name), mix[NODES.index(name)]) for name in NODES})
        self.guide_xy, self.guide_yx = _fold_guide(network.guide_xy), _fold_guide(network.guide_yx)
        self.reconstruction = deepcopy(network.reconstruction).requires_grad_(False)
        self.reconstruction.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.eval()

    @torch.no_grad()
    def forward(self, over_under: Tensor) -> Tensor:
        """Fuse ``(B, 2, H, W)``, over-exposed first, to luma ``(B, 1, H, W)``; there are no gradients."""
        return self.connect(over_under, lambda name, x, iteration=0: self.nodes[name](x, iteration))


def fold(network: FusionNet) -> FoldedNet:
    """Make a network for fusing alone out of a derived one in evaluation mode: the same pictures in less time.

    It is a copy without gradients, on the same device and in the same type; sums are formed in float64 first.
    ValueError: the network has no node weights of its own, has negative ones, or is in training mode.

    Example:
        >>> from hsds_lib.network.model_file import load_model
        >>> network, pair = load_model("default", device="cpu"), torch.rand(1, 2, 30, 41)
        >>> bool((fold(network)(pair) - network(pair)).abs().max() < 1e-5)
        True
    """
    if network.mix is None:
        raise ValueError(
            "the network has no node weights of its own; a derived network is expected: give what derive() returns"
        )
    if network.training:
        raise ValueError("the network is in training mode; call network.eval(), since fusing needs fixed statistics")
    if bool((network.mix < 0).any()):
        raise ValueError("the network has negative node weights, which no ReLU lets pass; give weights from 0 up")
    return FoldedNet(network, network.mix)


def _exact(values: Tensor) -> Tensor:
    return values.detach().cpu().double()  # some devices have no float64


def _fold(conv: nn.Conv2d, norm: BatchNorm, iteration: int = 0, factor: Tensor | None = None) -> FoldedConv:
    """Join a convolution, its normalisation, and a factor from 0 up behind its ReLU."""
    mean, variance = _exact(norm.running_mean), _exact(norm.running_var)
    if norm.iterations > 1:
        mean, variance = mean[iteration], variance[iteration]
    scale = _exact(norm.weight) / torch.sqrt(variance + norm.eps)
    shift = _exact(norm.bias) - mean * scale
    factor = torch.ones((), dtype=torch.float64) if factor is None else _exact(factor)
    return FoldedConv(conv, factor * scale[:, None, None, None] * _exact(conv.weight), factor * shift)


def _fold_guide(guide: nn.Sequential) -> FoldedConv:
    return _fold(cast(nn.Conv2d, guide[0]), cast(BatchNorm, guide[1]))
