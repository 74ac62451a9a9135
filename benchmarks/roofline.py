"""What a computation would cost if nothing but arithmetic and memory traffic counted: the floor of its time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class Machine:
    """What this device reached in a large convolution and in a large copy."""

    flops: float  # a second
    bytes: float  # a second, read and written


@dataclass(frozen=True)
class Floor:
    """Work of a computation, and the seconds below which it cannot be done operation by operation."""

    flops: float
    bytes: float
    kernels: int
    seconds: float


class _Work(TorchDispatchMode):
    """Counts operations, their arithmetic and the bytes they must touch at least: inputs and outputs once each."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine
        self.flops = self.bytes = self.seconds = 0.0
        self.kernels = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        if function.is_view:
            return out
        tensors = {id(leaf): leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)}
        touched = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        count = flop_registry.get(function._overloadpacket)
        flops = float(count(*args, **(kwargs or {}), out_val=out)) if count else 0.0
        self.flops, self.bytes, self.kernels = self.flops + flops, self.bytes + touched, self.kernels + 1
        self.seconds += max(flops / self.machine.flops, touched / self.machine.bytes)
        return out


def floor_of(work: Callable[[], Any], machine: Machine) -> Floor:
    """Run a computation once and count it."""
    with _Work(machine) as counted:
        work()
    return Floor(counted.flops, counted.bytes, counted.kernels, counted.seconds)


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def best_seconds(work: Callable[[], Any], rounds: int = 5) -> float:
    """The shortest of several runs after one to warm up."""
    found = []
    for turn in range(rounds + 1):
        synchronise()
        start = time.perf_counter()
        work()
        synchronise()
        if turn:
            found.append(time.perf_counter() - start)
    return min(found)


def measure_machine(device: torch.device) -> Machine:
    """Measure the peaks with torch's own defaults (TF32 in convolutions on a GPU that has it)."""
    large = device.type == "cuda"
    channels, side, values = (256, 128, 2**28) if large else (64, 64, 2**25)
    image = torch.rand(8 if large else 1, channels, side, side, device=device)
    kernel = torch.rand(channels, channels, 3, 3, device=device)
    seconds = best_seconds(lambda: torch.nn.functional.conv2d(image, kernel, padding=1))
    flops = 2 * 9 * channels * image.numel() / seconds
    source, target = torch.rand(values, device=device), torch.empty(values, device=device)
    return Machine(flops, 2 * 4 * values / best_seconds(lambda: target.copy_(source)))
