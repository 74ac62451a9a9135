"""Run a small search or training again and again while it is killed, until it gets through; then print what happened.

python killed.py {search,train} FOLDER --kills N --seed SEED [--points]

The children are forks, so that torch is loaded once. With --points they die at chosen places inside the writing of a
checkpoint instead of at random times.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch

from hsds_lib import runtime
from hsds_lib.config import SearchConfig, TrainConfig
from hsds_lib.losses.space import LossWeights
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.runs import checkpoints
from hsds_lib.runtime import fingerprint
from hsds_lib.search.run import run_search, search_tensors
from hsds_lib.training.train import train_network

SEARCH = SearchConfig(
    width=0.0625, crop=24, batch_size=1, epochs=2, steps_per_epoch=2, beta_warmup=1, theta=0.0912, features="random",
    lr_omega=5e-3, lr_alpha=0.3,
)  # fmt: skip
TRAIN = TrainConfig(
    epochs=3, steps_per_epoch=4, batch_size=1, crop=48, lr=5e-3, schedule="cosine", recalibration_batches=2,
    features="random", skip_terms=("perceptual_ref", "perceptual_under", "perceptual_over"),
)  # fmt: skip
GENOTYPE = Genotype(nodes={node: {"conv_3x3": 0.75, "dil_3x3": 0.25} for node in NODES}, width=0.0625)


def work(kind: str, folder: Path, *, resume: bool = True) -> None:
    """One attempt; leaves a fingerprint of all weights and states at its end."""
    common = {"device": "cpu", "show": False, "resume": resume, "checkpoint_every": 0.0}
    if kind == "search":
        run = run_search(SEARCH, folder, **common)
        tensors = search_tensors(run.search)
    else:
        tensors = train_network(GENOTYPE, LossWeights.uniform(), TRAIN, out=folder, **common).network.state_dict()
    (folder / "fingerprint.txt").write_text(fingerprint(tensors[name] for name in sorted(tensors)))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying_at(point: str, count: int) -> mock._patch:
    """Patch the writing of files: the process dies at the ``count``-th time it comes to a point."""
    real_replace, real_save, calls = os.replace, checkpoints.save_file, [0]

    def reached() -> bool:
        calls[0] += 1
        return calls[0] == count

    def replace(source: str, target: str) -> None:
        if point == "before a rename" and reached():
            die()
        real_replace(source, target)
        if point == "after a rename" and reached():
            die()

    def save(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        real_save(tensors, path, metadata=metadata)
        if point == "half-written" and reached():
            os.truncate(path, os.path.getsize(path) // 2)
            die()

    if point == "half-written":
        return mock.patch.object(checkpoints, "save_file", save)
    return mock.patch.object(runtime.os, "replace", replace)


def attempt(kind: str, folder: Path, prepare: Callable[[], None], seconds: float | None) -> bool:
    """Fork one attempt and kill it after some seconds; say whether it got through before."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            prepare()
            work(kind, folder)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0, "the attempt failed by itself"
        return True
    return False


def at_random(kind: str, folder: Path, kills: int, seed: int, whole: float) -> dict[str, int]:
    """Kill at random times in what a whole run takes, again and again until it gets through; then the next run."""
    rng, counts = random.Random(seed), {"kills": 0, "while_writing": 0, "runs": 0}
    while counts["kills"] < kills:
        run = folder / f"run-{counts['runs']}"
        tries = 0
        # Later attempts get more time, so that a machine that became slower still comes to an end.
        while not attempt(kind, run, lambda: None, rng.uniform(0.1, 1.0) * whole * 1.05**tries):
            tries += 1
            counts["kills"] += 1
            litter = list(run.glob(".*")) if run.is_dir() else []
            counts["while_writing"] += len(litter)
            for half in litter:
                half.unlink()  # counted once
        counts["runs"] += 1
    return counts


def at_points(kind: str, folder: Path) -> dict[str, int]:
    """Kill at every chosen place inside the writing, then let the run finish."""
    # From the second checkpoint on, each writing renames twice: the last becomes the previous, the new one the last.
    cases = [("half-written", 3), ("before a rename", 3), ("after a rename", 3)]
    for number, (point, count) in enumerate(cases):
        run = folder / f"run-{number}"
        assert not attempt(kind, run, lambda point=point, count=count: dying_at(point, count).start(), None), point
        assert attempt(kind, run, lambda: None, None)
    return {"kills": len(cases), "while_writing": len(cases), "runs": len(cases)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["search", "train"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--points", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    work(options.kind, options.folder / "whole", resume=False)
    start = time.perf_counter()
    assert attempt(options.kind, options.folder / "warm", lambda: None, None)
    whole = time.perf_counter() - start
    counts = (
        at_points(options.kind, options.folder)
        if options.points
        else at_random(options.kind, options.folder, options.kills, options.seed, whole)
    )
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
