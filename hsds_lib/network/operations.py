"""The architecture search space: 11 convolutions, and the mixture of them that fills a node."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
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
"""The 11 operations in the order of every alpha row; sizes are height x width, ``dil`` means dilation 2."""


def kernel(primitive: str) -> tuple[int, int, int]:
    """Read height, width and dilation from the name of an operation.

    Example:
        >>> kernel("dil_5x5")
        (5, 5, 2)
    """
    match = re.fullmatch(r"(conv|dil)_(\d)x(\d)", primitive)
    if primitive not in PRIMITIVES or match is None:
        raise ValueError(f"operation '{primitive}' is unknown; choose one of {', '.join(PRIMITIVES)}")
    return int(match[2]), int(match[3]), 2 if match[1] == "dil" else 1


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that can use batch statistics without recording them.

    The validation and forward-mode passes of a search step need the statistics of their own batch, and
    must leave the running ones (and the counter, which ``torch.func`` cannot change in place) alone.
    """

    record: bool = True

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(B, C, H, W)``; see :func:`batch_statistics` for the non-recording mode."""
        if self.training and not self.record:
            return functional.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)
        return super().forward(x)


@contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Normalise by the statistics of the batch inside the block, and record nothing."""
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    before = [(norm.record, norm.training) for norm in norms]
    try:
        for norm in norms:
            norm.record, norm.training = False, True
        yield
    finally:
        for norm, (record, training) in zip(norms, before, strict=True):
            norm.record, norm.training = record, training


class Operation(nn.Module):
    """One candidate: convolution without bias, batch normalisation, ReLU; the size is kept."""

    def __init__(self, primitive: str, inputs: int, outputs: int) -> None:
        """Build the named operation from ``inputs`` to ``outputs`` channels."""
        super().__init__()
        height, width, dilation = kernel(primitive)
        self.conv = nn.Conv2d(
            inputs,
            outputs,
            (height, width),
            padding=(height // 2 * dilation, width // 2 * dilation),
            dilation=dilation,
            bias=False,
        )
        self.norm = BatchNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to non-negative ``(B, outputs, H, W)``."""
        return functional.relu(self.norm(self.conv(x)))


class MixedOp(nn.Module):
    """A node: the weighted sum of the operations it still has.

    With all 11 it is a searchable node, with the retained ones a node of the derived network; there is
    no second class that could drift away. An operation that was removed is gone: it costs nothing.
    """

    def __init__(self, primitives: Sequence[str], inputs: int, outputs: int) -> None:
        """Hold the named operations, each once, in the order of ``PRIMITIVES``."""
        super().__init__()
        ordered = sorted(primitives, key=PRIMITIVES.index)
        if not ordered or len(set(ordered)) != len(ordered):
            raise ValueError(f"a node needs at least one operation, each once; given: {list(primitives)}")
        self.operations = nn.ModuleDict({name: Operation(name, inputs, outputs) for name in ordered})

    def forward(self, x: Tensor, mix: Tensor) -> Tensor:
        """Sum the operations with their weights.

        Args:
            x: input, ``(B, inputs, H, W)``.
            mix: one weight per entry of ``PRIMITIVES``, ``(11,)``; those of absent operations are not read.

        Returns:
            ``(B, outputs, H, W)``.
        """
        return sum(mix[PRIMITIVES.index(name)] * operation(x) for name, operation in self.operations.items())

    def remove(self, primitive: str) -> None:
        """Remove one operation for good; the last one cannot be removed."""
        if primitive not in self.operations or len(self.operations) == 1:
            raise ValueError(f"cannot remove '{primitive}' from a node that has {list(self.operations)}")
        del self.operations[primitive]


def softmax_active(alpha: Tensor, active: Tensor) -> Tensor:
    """Softmax of each row over its active entries; inactive entries get exactly 0.

    Args:
        alpha: architecture logits, ``(nodes, operations)``.
        active: which operations are alive, bool, same shape, at least one per row.

    Returns:
        Mixture weights, same shape, each row sums to 1.
    """
    return torch.softmax(alpha.masked_fill(~active, -torch.inf), dim=-1)
