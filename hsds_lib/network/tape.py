"""Passes through a supernet that keep little, and leave behind what a forward-mode pass needs.

Autograd keeps two arrays per operation (the output of the convolution and that of the ReLU); one is enough. And forward
mode computes every value again beside its tangent; after a recorded pass the tangents alone are left to compute. Both
are exact: the same sums in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable
from torch.nn import functional

from hsds_lib.network.fusion_net import FusionNet
from hsds_lib.network.operations import PRIMITIVES, MixedOp, Operation

Weights = tuple[Tensor, Tensor, Tensor]
"""Of one operation: the kernel of the convolution, scale and shift of the normalisation."""

_WEIGHTS = ("conv.weight", "norm.weight", "norm.bias")


@dataclass
class Part:
    """What one operation did in a call; ``convolved`` is None if it is to be computed again."""

    operation: Operation
    column: int  # in the node weights
    weights: Weights  # an optimiser changes them in place later
    convolved: Tensor | None
    mean: Tensor
    inverse: Tensor  # of the standard deviation

    def output(self, x: Tensor, kernel: Tensor) -> Tensor:
        """The output of the convolution, kept or computed again."""
        return _convolve(self.operation.conv, x, kernel) if self.convolved is None else self.convolved

    def normalised(self, z: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """The normalisation of ``z`` with the recorded statistics."""
        factor = scale * self.inverse
        return torch.addcmul((shift - self.mean * factor)[:, None, None], z, factor[:, None, None])

    def through_norm(self, z: Tensor, scale: Tensor, slope: Tensor, *, weights: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Slopes of the normalisation's input and, if ``weights``, of its scale and shift."""
        return torch.ops.aten.native_batch_norm_backward(
            slope,
            z,
            scale,
            None,
            None,
            self.mean,
            self.inverse,
            True,
            self.operation.norm.eps,
            [True, weights, weights],
        )


@dataclass
class Call:
    """One application of a node to an input ``(B, inputs, H, W)``, with its operations and its result."""

    x: Tensor
    mix: Tensor
    parts: list[Part]
    out: Tensor


@dataclass
class Tape:
    """All calls of a recorded pass, in order.

    Without ``keep`` the outputs of the convolutions are computed again when they are needed, which saves most of the
    memory and costs a forward pass of the convolutions each time. Without ``weights_wanted`` a backward pass gives no
    gradients of the weights; when only those of alpha are asked for, half of the work is saved.
    """

    keep: bool = True
    weights_wanted: bool = True
    calls: list[Call] = field(default_factory=list)


@contextmanager
def recording(network: nn.Module, tape: Tape) -> Iterator[Tape]:
    """Compute the nodes of a network by way of a tape inside the block; it is filled with one call per application.

    The network is in training mode, and its nodes have one set of statistics each.
    """

    def compute(node: MixedOp, x: Tensor, mix: Tensor) -> Tensor:
        weights = [operation.get_parameter(name) for operation in node.operations.values() for name in _WEIGHTS]
        return _Mixed.apply(x, mix, tape, node, *weights)

    with _computed_by(network, compute):
        yield tape


@contextmanager
def replaying(
    network: FusionNet, tape: Tape, omega: Mapping[str, Tensor], direction: Mapping[str, Tensor]
) -> Iterator[None]:
    """Inside the block, nodes give the recorded values, with tangents along a direction of the weights.

    ``tape`` is of a pass with the same inputs, ``omega`` the weights of that pass by name and ``direction`` their
    tangents; the network's present weights are not read by the nodes. The block belongs into
    ``torch.autograd.forward_ad.dual_level()``, and weights outside of nodes are ordinary dual numbers there.
    """
    calls = iter(tape.calls)
    names = {node: name for name, node in network.nodes.items()}

    def compute(node: MixedOp, x: Tensor, mix: Tensor) -> Tensor:
        call = next(calls)
        prefixes = [f"nodes.{names[node]}.operations.{name}" for name in node.operations]
        at, along = (
            [cast(Weights, tuple(weights[f"{prefix}.{name}"] for name in _WEIGHTS)) for prefix in prefixes]
            for weights in (omega, direction)
        )
        return forward_ad.make_dual(call.out, _tangent(call, forward_ad.unpack_dual(x).tangent, at, along))

    with _computed_by(network, compute):
        yield


@contextmanager
def _computed_by(network: nn.Module, compute: Callable[[MixedOp, Tensor, Tensor], Tensor]) -> Iterator[None]:
    nodes = [module for module in network.modules() if isinstance(module, MixedOp)]
    try:
        for node in nodes:
            node.compute = compute
        yield
    finally:
        for node in nodes:
            node.compute = None


class _Mixed(torch.autograd.Function):
    """A mixed operation with batch statistics as one function, which keeps one array per operation or none."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mix: Tensor, tape: Tape, node: MixedOp, *weights: Tensor) -> Tensor:
        # Detached, so that the tape holds no graph.
        held = iter([weight.detach() for weight in weights])
        parts: list[Part] = []
        total: Tensor | None = None
        for (name, operation), kernel, scale, shift in zip(node.operations.items(), held, held, held, strict=True):
            assert isinstance(operation, Operation)
            norm, column = operation.norm, PRIMITIVES.index(name)
            z = _convolve(operation.conv, x, kernel)
            running = (norm.running_mean, norm.running_var) if norm.record else (None, None)
            y, mean, inverse = torch.ops.aten.native_batch_norm(
                z, scale, shift, *running, True, norm.momentum or 0.0, norm.eps
            )
            if norm.record:
                norm.num_batches_tracked.add_(1)
            total = _sum(total, y.relu_().mul_(mix[column]))
            parts.append(Part(operation, column, (kernel, scale, shift), z if tape.keep else None, mean, inverse))
        assert total is not None
        ctx.call, ctx.tape = Call(x.detach(), mix.detach(), parts, total.detach()), tape
        tape.calls.append(ctx.call)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        (slope,), call, wanted = outer, ctx.call, ctx.tape.weights_wanted
        need_x, need_mix = ctx.needs_input_grad[:2]
        to_x: Tensor | None = None
        to_mix = torch.zeros_like(call.mix) if need_mix else None
        to_weights: list[Tensor | None] = []
        for part in call.parts:
            (kernel, scale, shift), weight = part.weights, call.mix[part.column]
            z = part.output(call.x, kernel)
            inner = torch.ops.aten.threshold_backward(slope, part.normalised(z, scale, shift), 0)
            # Linear in the slope, so that the node weight can be applied to the scale instead of to every pixel.
            to_z, to_scale, to_shift = part.through_norm(z, scale * weight, inner, weights=True)
            if to_mix is not None:
                to_mix[part.column] = (to_scale * scale + to_shift * shift).sum()
            conv = part.operation.conv
            moved, to_kernel, _ = torch.ops.aten.convolution_backward(
                to_z, call.x, kernel, [0], conv.stride, conv.padding, conv.dilation, False, [0, 0], 1,
                [need_x, wanted, False],
            )  # fmt: skip
            to_x = _sum(to_x, moved) if need_x else None
            to_weights += [to_kernel, to_scale * weight, to_shift * weight] if wanted else [None] * 3
        return (to_x, to_mix, None, None, *to_weights)


def _tangent(call: Call, moved_x: Tensor | None, at: Sequence[Weights], along: Sequence[Weights]) -> Tensor:
    """How the result of a call moves when its input and its weights do."""
    total: Tensor | None = None
    joined = call.x if moved_x is None else torch.cat([moved_x, call.x], dim=1)
    for part, (kernel, scale, shift), (to_kernel, to_scale, to_shift) in zip(call.parts, at, along, strict=True):
        weight = call.mix[part.column]
        z = part.output(call.x, kernel)
        # The product rule as one convolution: of (dx, x) by (w, dw).
        both = to_kernel if moved_x is None else torch.cat([kernel, to_kernel], dim=1)
        moved = _convolve(part.operation.conv, joined, both)
        # The derivative of a normalisation by its batch is its own transpose.
        moved, _, _ = part.through_norm(z, scale * weight, moved, weights=False)
        moved.add_(part.normalised(z, to_scale * weight, to_shift * weight))
        moved = torch.ops.aten.threshold_backward(moved, part.normalised(z, scale, shift), 0)
        total = _sum(total, moved)
    assert total is not None
    return total


def _sum(total: Tensor | None, part: Tensor) -> Tensor:
    """Add in place to what there is already."""
    return part if total is None else total.add_(part)


def _convolve(conv: nn.Conv2d, x: Tensor, kernel: Tensor) -> Tensor:
    return functional.conv2d(x, kernel, None, conv.stride, conv.padding, conv.dilation)
