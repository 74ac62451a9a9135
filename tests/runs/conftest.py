"""Several processes in one: threads that take turns, and average where a distributed run would."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from hsds_lib.runs.parallel import Group


class Turns:
    """Runs one function per rank; only one runs at a time, until it waits for the others.

    Forward-mode levels and seeds are global in torch, so that the threads must not run at once.
    """

    def __init__(self, size: int) -> None:
        self.size, self.meet = size, threading.Barrier(size, timeout=120)
        self.one = threading.Lock()
        self.shelf: list[Any] = [None] * size

    def run(self, work: Callable[[Group], Any]) -> list[Any]:
        results: list[Any] = [None] * self.size
        errors: list[BaseException] = []

        def start(rank: int) -> None:
            with self.one:
                try:
                    results[rank] = work(_Together(self, rank))
                except BaseException as error:
                    errors.append(error)
                    self.meet.abort()

        threads = [threading.Thread(target=start, args=(rank,)) for rank in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return results

    def exchange(self, rank: int, value: Any) -> list[Any]:
        self.shelf[rank] = value
        self.one.release()
        self.meet.wait()
        self.one.acquire()
        found = list(self.shelf)
        self.one.release()
        self.meet.wait()  # nobody overwrites the shelf before all have read it
        self.one.acquire()
        return found


class _Together(Group):
    def __init__(self, turns: Turns, rank: int) -> None:
        self.turns, self.rank, self.size = turns, rank, turns.size

    def any(self, flag: bool) -> bool:
        return any(self.turns.exchange(self.rank, flag))

    def average(self, tensors: Sequence[Tensor]) -> None:
        mine = [tensor.detach().clone() for tensor in tensors]
        shards = self.turns.exchange(self.rank, mine)
        with torch.no_grad():
            for tensor, parts in zip(tensors, zip(*shards, strict=True), strict=True):
                tensor.detach().copy_(torch.stack(parts).mean(dim=0))


@pytest.fixture
def two_in_one() -> Turns:
    """Two ranks in this process."""
    return Turns(2)
