"""Several processes that work as one: each takes its own batches, and what they find is averaged."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, distributed

from hsds_lib.runtime import RunError, fingerprint

WAIT = timedelta(minutes=10)  # for another process, before one gives up


class Group:
    """The processes of a run. This one is alone, which is what a run has unless it was started by ``torchrun``.

    The one of rank 0 writes files and talks.
    """

    rank = 0
    size = 1

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the processes; to the same bits in all of them."""

    def any(self, flag: bool) -> bool:
        """Say whether the flag is set in at least one process."""
        return flag

    def require_equal(self, tensors: Sequence[Tensor], what: str) -> None:
        """Stop by a RunError if one of the tensors differs between two processes."""


class DistributedGroup(Group):
    """The processes that ``torchrun`` started, joined by ``torch.distributed``.

    DistributedDataParallel averages what ``backward()`` leaves in fixed parameters. A search takes half of its
    gradients by ``autograd.grad`` and loses parameters on its way, so the means are written out: one collective each.
    """

    def __init__(self) -> None:
        """Take rank and size from the process group, which must have been made."""
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its mean over the processes; to the same bits in all of them."""
        joined = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        distributed.all_reduce(joined)
        joined /= self.size
        parts = joined.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view(tensor.shape))

    def any(self, flag: bool) -> bool:
        """Say whether the flag is set in at least one process."""
        kind = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        value = torch.tensor(int(flag), device=kind)
        distributed.all_reduce(value, distributed.ReduceOp.MAX)
        return bool(value)

    def require_equal(self, tensors: Sequence[Tensor], what: str) -> None:
        """Stop by a RunError if one of the tensors differs between two processes."""
        mine = bytearray.fromhex(fingerprint(tensors))
        least = torch.frombuffer(mine, dtype=torch.uint8).int().to(tensors[0].device)
        most = least.clone()
        distributed.all_reduce(least, distributed.ReduceOp.MIN)
        distributed.all_reduce(most, distributed.ReduceOp.MAX)
        if not torch.equal(least, most):
            raise RunError(
                f"the {self.size} processes differ in {what}; give all of them the same data, settings and software, "
                "and go on from the last checkpoint"
            )


@contextmanager
def process_group(device: str) -> Iterator[Group]:
    """Join the other processes of ``torchrun`` inside the block; without it, this process is the only one.

    Processes on ``cuda`` talk by NCCL, others by gloo.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Group()
        return
    if not distributed.is_initialized():
        if device == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("nccl" if device == "cuda" else "gloo", timeout=WAIT)
        # At the very end: a group that was left cannot be joined again under the same torchrun.
        atexit.register(distributed.destroy_process_group)
    yield DistributedGroup()
