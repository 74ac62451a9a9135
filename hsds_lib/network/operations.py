"""The architecture search space: convolutions of several shapes, and the mixture of them that fills a node."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

PRIMITIVES: tuple[str, ...] = (
    "conv_1x1",
    "conv_3x3",
    "conv_5x5",
    "conv_7x7",
    "conv_1x3",
    "conv_3x1",
    "conv_1x5",
    "conv_5x1",
    "dil_3x3",
    "dil_5x5",
    "dil_7x7",
)
"""The operations in the order of every alpha row; sizes are height x width, ``dil`` means dilation 2."""


def kernel(primitive: str) -> tuple[int, int, int]:
    """Read height, width (pixels) and dilation from an operation's name; ValueError for one not in ``PRIMITIVES``."""
    match = re.fullmatch(r"(conv|dil)_(\d)x(\d)", primitive)
    if primitive not in PRIMITIVES or match is None:
        raise ValueError(f"operation '{primitive}' is unknown; choose one of {', '.join(PRIMITIVES)}")
    return int(match[2]), int(match[3]), 2 if match[1] == "dil" else 1


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that can use the statistics of its batch without recording them.

    With ``iterations`` > 1 it keeps running statistics for each iteration of a node that is applied repeatedly,
    instead of one mean over different distributions; the affine weights are shared either way.
    """

    record: bool = True
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, *, iterations: int = 1) -> None:
        super().__init__(channels)
        self.iterations = iterations
        if iterations > 1:
            self.running_mean = self.running_mean.repeat(iterations, 1)
            self.running_var = self.running_var.repeat(iterations, 1)
            self.num_batches_tracked = self.num_batches_tracked.repeat(iterations)

    def forward(self, x: Tensor, iteration: int = 0) -> Tensor:
        """Normalise ``(B, C, H, W)``; ``iteration`` chooses the statistics where there are several."""
        if self.training and not self.record:
            return functional.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)
        if self.iterations == 1:
            return super().forward(x)
        mean, variance = self.running_mean[iteration], self.running_var[iteration]
        factor = 0.0
        if self.training:
            self.num_batches_tracked[iteration] += 1
            # Without momentum it is a plain mean, as in torch.
            factor = 1 / float(self.num_batches_tracked[iteration]) if self.momentum is None else self.momentum
        # Rows are views: the statistics are updated in place.
        return functional.batch_norm(x, mean, variance, self.weight, self.bias, self.training, factor, self.eps)


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Normalise by the statistics of the batch inside the block, and record nothing.

    The validation and forward-mode passes of a search step must leave the running statistics alone (and the counter,
    which ``torch.func`` cannot change in place).
    """
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    before = [(norm.record, norm.training) for norm in norms]
    try:
        for norm in norms:
            norm.record, norm.training = False, True
        yield
    finally:
        for norm, (record, training) in zip(norms, before, strict=True):
            norm.record, norm.training = record, training


class Convolution(nn.Conv2d):
    """A convolution whose gradient is cheap on a CPU too where it is dilated.

    torch has no fast gradient of a dilated kernel there. With dilation 2 the output at even and at odd pixels needs
    only inputs at even and at odd ones: four plain convolutions of a quarter of the pixels each, the same sums. That
    pays for channels last alone, the layout of training; elsewhere torch's own way is taken.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs, H, W)``, for paddings that keep the size."""
        even = x.shape[-2] % 2 == x.shape[-1] % 2 == 0
        last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
        if self.dilation != (2, 2) or not (even and last and x.device.type == "cpu" and torch.is_grad_enabled()):
            return super().forward(x)
        padding = (self.kernel_size[0] // 2, self.kernel_size[1] // 2)
        return _joined(functional.conv2d(_parted(x), self.weight, self.bias, padding=padding))


def _parted(x: Tensor) -> Tensor:
    """Turn ``(B, C, H, W)`` into ``(4B, C, H/2, W/2)``: even and odd rows and columns."""
    batch, channels, height, width = x.shape
    parts = x.reshape(batch, channels, height // 2, 2, width // 2, 2).permute(0, 3, 5, 1, 2, 4)
    parts = parts.reshape(4 * batch, channels, height // 2, width // 2)
    return parts.contiguous(memory_format=torch.channels_last)


def _joined(parts: Tensor) -> Tensor:
    """Undo :func:`_parted`."""
    batch, channels, height, width = parts.shape
    x = parts.reshape(batch // 4, 2, 2, channels, height, width).permute(0, 3, 4, 1, 5, 2)
    x = x.reshape(batch // 4, channels, 2 * height, 2 * width)
    return x.contiguous(memory_format=torch.channels_last)


class Operation(nn.Module):
    """One candidate: convolution without bias, batch normalisation, ReLU; the size is kept."""

    def __init__(self, primitive: str, inputs: int, outputs: int, *, iterations: int = 1) -> None:
        super().__init__()
        height, width, dilation = kernel(primitive)
        padding = (height // 2 * dilation, width // 2 * dilation)
        self.conv = Convolution(inputs, outputs, (height, width), padding=padding, dilation=dilation, bias=False)
        self.norm = BatchNorm(outputs, iterations=iterations)

    def forward(self, x: Tensor, iteration: int = 0) -> Tensor:
        """Map ``(B, inputs, H, W)`` to non-negative ``(B, outputs, H, W)``."""
        return functional.relu(self.norm(self.conv(x), iteration))


class MixedOp(nn.Module):
    """A node: the weighted sum of the operations it still has, in the order of ``PRIMITIVES``.

    With all of them it is a searchable node, with the retained ones a node of the derived network; there is no second
    class that could drift away. ValueError without operations, or if one is named twice.

    Example:
        >>> node = MixedOp(PRIMITIVES, 1, 4)
        >>> node.remove("conv_7x7")  # gone for good: it costs nothing any more
        >>> node(torch.rand(2, 1, 8, 8), torch.full((len(PRIMITIVES),), 0.1)).shape
        torch.Size([2, 4, 8, 8])
    """

    def __init__(self, primitives: Sequence[str], inputs: int, outputs: int, *, iterations: int = 1) -> None:
        super().__init__()
        ordered = sorted(primitives, key=PRIMITIVES.index)
        if not ordered or len(set(ordered)) != len(ordered):
            raise ValueError(f"a node needs at least one operation, each once; given: {list(primitives)}")
        self.operations = nn.ModuleDict(
            {name: Operation(name, inputs, outputs, iterations=iterations) for name in ordered}
        )
        self.compute: Callable[[MixedOp, Tensor, Tensor], Tensor] | None = None  # see hsds_lib.network.tape

    def forward(self, x: Tensor, mix: Tensor, iteration: int = 0) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs, H, W)`` with ``mix``, one weight per entry of ``PRIMITIVES``."""
        if self.compute is not None:
            return self.compute(self, x, mix)
        return sum(mix[PRIMITIVES.index(name)] * operation(x, iteration) for name, operation in self.operations.items())

    def remove(self, primitive: str) -> None:
        """Remove one operation for good; ValueError when the node does not have it, or has no other."""
        if primitive not in self.operations or len(self.operations) == 1:
            raise ValueError(f"cannot remove '{primitive}' from a node that has {list(self.operations)}")
        del self.operations[primitive]


def softmax_active(alpha: Tensor, active: Tensor) -> Tensor:
    """Softmax of each row of logits ``(nodes, operations)`` over its active entries; inactive ones get exactly 0."""
    return torch.softmax(alpha.masked_fill(~active, -torch.inf), dim=-1)
