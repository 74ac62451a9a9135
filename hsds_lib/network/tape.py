"""Passes through a supernet that keep little, and leave behind what a forward-mode pass needs.

Autograd keeps two arrays per operation (the output of the convolution and that of the ReLU); one is enough. And forward
mode computes every value again beside its tangent; after a recorded pass the tangents alone are left to compute. Both
are exact: the same sums in another order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.function import once_differentiable
from torch.nn import functional

from hsds_lib.network.operations import PRIMITIVES, MixedOp, Operation

Parameters = tuple[Tensor, Tensor, Tensor]
"""Of one operation: the kernel of the convolution, scale and shift of the normalisation."""


@dataclass
class Call:
    """One application of a node to an input.

    Attributes:
        x: the input, ``(B, inputs, H, W)``.
        mix: node weights, one per entry of ``PRIMITIVES``.
        parameters: of each operation; an optimiser changes them in place later.
        convolved: output of each convolution, ``(B, outputs, H, W)``; None if it is to be computed again.
        statistics: mean and inverse deviation of each channel, for each operation.
        out: the result, ``(B, outputs, H, W)``.

    Example:
        >>> node, tape = MixedOp(["conv_1x1", "conv_3x3"], 1, 4), Tape()
        >>> with recording(node, tape):
        ...     out = node(torch.rand(2, 1, 8, 8), torch.full((11,), 0.5))
        >>> len(tape.calls[0].convolved), torch.equal(tape.calls[0].out, out)
        (2, True)
    """

    x: Tensor
    mix: Tensor
    parameters: list[Parameters]
    convolved: list[Tensor | None]
    statistics: list[tuple[Tensor, Tensor]]
    out: Tensor


@dataclass
class Tape:
    """All calls of a recorded pass, in order.

    Attributes:
        keep: keep the outputs of the convolutions; without them they are computed again when they are needed, which
            saves most of the memory and costs a forward pass of the convolutions each time.
        weights_wanted: whether a backward pass computes gradients of the weights; when only those of alpha are asked
            for, half of the work is saved.
        calls: what was recorded.

    Example:
        >>> Tape(keep=False).calls
        []
    """

    keep: bool = True
    weights_wanted: bool = True
    calls: list[Call] = field(default_factory=list)


@contextmanager
def recording(network: nn.Module, tape: Tape) -> Iterator[Tape]:
    """Compute the nodes of a network by way of a tape inside the block.

    Args:
        network: a network in training mode whose nodes have one set of statistics.
        tape: is filled with one call per application of a node.

    Yields:
        The tape.

    Example:
        >>> from hsds_lib.network.fusion_net import Supernet
        >>> network, mix = Supernet(width=0.0625), torch.full((15, 11), 1 / 11)
        >>> pair = torch.rand(1, 2, 16, 16)
        >>> with recording(network, Tape()) as tape:
        ...     fused = network(pair, mix)
        >>> len(tape.calls), bool((fused - network(pair, mix)).abs().max() < 1e-5)
        (23, True)
    """

    def compute(node: MixedOp, x: Tensor, mix: Tensor) -> Tensor:
        operations = _operations(node)
        flat = [p for op in operations for p in (op.conv.weight, op.norm.weight, op.norm.bias)]
        return _Mixed.apply(x, mix, tape, [*node.operations], operations, *flat)

    with _computed_by(network, compute):
        yield tape


@contextmanager
def replaying(
    network: nn.Module, tape: Tape, omega: Mapping[str, Tensor], direction: Mapping[str, Tensor]
) -> Iterator[None]:
    """Inside the block, nodes give the recorded values, with tangents along a direction of the weights.

    Args:
        network: the network that was recorded; its present weights are not read by the nodes.
        tape: of a pass with the same inputs.
        omega: the weights of that pass, by name.
        direction: tangent of every weight of the nodes, by the weight's name in the network.

    Yields:
        Nothing. The block belongs into ``torch.autograd.forward_ad.dual_level()``.

    Example:
        >>> from hsds_lib.network.fusion_net import Supernet
        >>> from hsds_lib.network.operations import batch_statistics
        >>> network, pair, mix = Supernet(width=0.0625), torch.rand(1, 2, 16, 16), torch.full((15, 11), 1 / 11)
        >>> omega = {name: weight.detach() for name, weight in network.named_parameters()}
        >>> still = {name: torch.zeros_like(weight) for name, weight in omega.items()}
        >>> rest = [name for name in omega if not name.startswith("nodes.")]  # these are ordinary dual numbers
        >>> with torch.no_grad(), batch_statistics(network), forward_ad.dual_level():
        ...     with recording(network, Tape()) as tape:
        ...         fused = network(pair, mix)
        ...     duals = {name: forward_ad.make_dual(omega[name], still[name]) for name in rest}
        ...     with replaying(network, tape, omega, still):
        ...         again, moved = forward_ad.unpack_dual(torch.func.functional_call(network, duals, (pair, mix)))
        >>> torch.allclose(again, fused), float(moved.abs().max())
        (True, 0.0)
    """
    calls = iter(tape.calls)
    names = {node: f"nodes.{name}" for name, node in network.nodes.items()}  # type: ignore[operator, union-attr]

    def compute(node: MixedOp, x: Tensor, mix: Tensor) -> Tensor:
        call, tangent = next(calls), forward_ad.unpack_dual(x).tangent
        prefix = f"{names[node]}.operations"
        parts = ("conv.weight", "norm.weight", "norm.bias")
        at, along = (
            [tuple(weights[f"{prefix}.{name}.{part}"] for part in parts) for name in node.operations]
            for weights in (omega, direction)
        )
        moved = _tangent(call, node, tangent, at, along)
        return forward_ad.make_dual(call.out, moved)

    with _computed_by(network, compute):
        yield


@contextmanager
def _computed_by(network: nn.Module, compute: Any) -> Iterator[None]:
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
    def forward(
        ctx: Any, x: Tensor, mix: Tensor, tape: Tape, names: list[str], operations: list[Operation], *flat: Tensor
    ) -> Tensor:
        # Detached, so that the tape holds no graph.
        call = Call(x.detach(), mix.detach(), _triples(flat), [], [], x)
        out: Tensor | None = None
        for name, operation, (kernel, scale, shift) in zip(names, operations, call.parameters, strict=True):
            z = _convolve(operation.conv, x, kernel)
            norm = operation.norm
            running = (norm.running_mean, norm.running_var) if norm.record else (None, None)
            y, mean, inverse = torch.ops.aten.native_batch_norm(
                z, scale, shift, *running, True, norm.momentum or 0.0, norm.eps
            )
            if norm.record:
                norm.num_batches_tracked.add_(1)
            part = y.relu_().mul_(mix[PRIMITIVES.index(name)])
            out = part if out is None else out.add_(part)
            call.convolved.append(z if tape.keep else None)
            call.statistics.append((mean, inverse))
        assert out is not None
        call.out = out.detach()
        tape.calls.append(call)
        ctx.call, ctx.tape, ctx.names, ctx.operations = call, tape, names, operations
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        (slope,) = outer
        call, tape = ctx.call, ctx.tape
        need_x, need_mix = ctx.needs_input_grad[:2]
        to_x: Tensor | None = None
        to_mix = torch.zeros_like(call.mix) if need_mix else None
        flat: list[Tensor | None] = []
        for k, (name, operation) in enumerate(zip(ctx.names, ctx.operations, strict=True)):
            column = PRIMITIVES.index(name)
            kernel, scale, shift = call.parameters[k]
            mean, inverse = call.statistics[k]
            z = _convolved(call, k, operation, kernel)
            inner = torch.ops.aten.threshold_backward(slope, _normalised(z, scale, shift, mean, inverse), 0)
            # Linear in the slope, so that the node weight can be applied to the scale instead of to every pixel.
            to_z, to_scale, to_shift = torch.ops.aten.native_batch_norm_backward(
                inner, z, scale * call.mix[column], None, None, mean, inverse, True, operation.norm.eps, [True] * 3
            )
            if to_mix is not None:
                to_mix[column] = (to_scale * scale + to_shift * shift).sum()
            moved_x, to_kernel = _convolve_backward(operation.conv, to_z, call.x, kernel, need_x, tape.weights_wanted)
            if moved_x is not None:
                to_x = moved_x if to_x is None else to_x.add_(moved_x)
            weight = call.mix[column]
            flat += [to_kernel, to_scale * weight, to_shift * weight] if tape.weights_wanted else [None] * 3
        return (to_x, to_mix, None, None, None, *flat)


def _tangent(call: Call, node: MixedOp, moved_x: Tensor | None, at: Sequence[Any], along: Sequence[Any]) -> Tensor:
    """How the result of a call moves when its input and its weights do."""
    total: Tensor | None = None
    joined = call.x if moved_x is None else torch.cat([moved_x, call.x], dim=1)
    for k, (name, operation) in enumerate(zip(node.operations, _operations(node), strict=True)):
        (kernel, scale, shift), (to_kernel, to_scale, to_shift) = at[k], along[k]
        mean, inverse = call.statistics[k]
        weight = call.mix[PRIMITIVES.index(name)]
        z = _convolved(call, k, operation, kernel)
        # The product rule as one convolution: of (dx, x) by (w, dw).
        both = to_kernel if moved_x is None else torch.cat([kernel, to_kernel], dim=1)
        moved = _convolve(operation.conv, joined, both)
        # The derivative of a normalisation by its batch is its own transpose.
        moved, _, _ = torch.ops.aten.native_batch_norm_backward(
            moved, z, scale * weight, None, None, mean, inverse, True, operation.norm.eps, [True, False, False]
        )
        moved.add_(_normalised(z, to_scale * weight, to_shift * weight, mean, inverse))
        moved = torch.ops.aten.threshold_backward(moved, _normalised(z, scale, shift, mean, inverse), 0)
        total = moved if total is None else total.add_(moved)
    assert total is not None
    return total


def _operations(node: MixedOp) -> list[Operation]:
    return cast(list[Operation], list(node.operations.values()))


def _convolved(call: Call, k: int, operation: Operation, kernel: Tensor) -> Tensor:
    kept = call.convolved[k]
    return _convolve(operation.conv, call.x, kernel) if kept is None else kept


def _convolve(conv: nn.Conv2d, x: Tensor, kernel: Tensor) -> Tensor:
    return functional.conv2d(x, kernel, None, conv.stride, conv.padding, conv.dilation)


def _convolve_backward(
    conv: nn.Conv2d, slope: Tensor, x: Tensor, kernel: Tensor, need_x: bool, need_kernel: bool
) -> tuple[Tensor | None, Tensor | None]:
    to_x, to_kernel, _ = torch.ops.aten.convolution_backward(
        slope, x, kernel, [0], conv.stride, conv.padding, conv.dilation, False, [0, 0], 1, [need_x, need_kernel, False]
    )
    return to_x, to_kernel


def _normalised(z: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, inverse: Tensor) -> Tensor:
    factor = scale * inverse
    return torch.addcmul((shift - mean * factor)[:, None, None], z, factor[:, None, None])


def _triples(flat: Sequence[Tensor]) -> list[Parameters]:
    return [(flat[i].detach(), flat[i + 1].detach(), flat[i + 2].detach()) for i in range(0, len(flat), 3)]
