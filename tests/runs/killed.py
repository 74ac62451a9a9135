"""Run a small search or training again and again while it is killed, until it gets through; then print what happened.

python killed.py {search,train,restart} FOLDER --kills N --seed SEED [--points]

The children are forks, so that torch and the data are loaded once. With --points another run dies at chosen places
inside the writing of a checkpoint. What "restart" kills is a training where a finished model is already.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from hsds_lib import runtime
from hsds_lib.config import SearchConfig, TrainConfig
from hsds_lib.losses.space import LossWeights
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.model_file import MODEL, PARTIAL, PROVENANCE, described_model, load_model, model_file
from hsds_lib.runs import checkpoints
from hsds_lib.runtime import file_hash, fingerprint
from hsds_lib.search import run as search_run
from hsds_lib.search.run import run_search, search_tensors
from hsds_lib.training import job
from hsds_lib.training.train import train_network

SEARCH = SearchConfig(
    width=0.0625, crop=24, batch_size=1, epochs=2, steps_per_epoch=2, beta_warmup=1, theta=0.0912, prune_from_epoch=0,
    features="random", lr_omega=5e-3, lr_alpha=0.3,
)  # fmt: skip
TRAIN = TrainConfig(
    epochs=3, steps_per_epoch=4, batch_size=1, crop=48, lr=5e-3, schedule="cosine", recalibration_batches=2,
    features="random", skip_terms=("perceptual_ref", "perceptual_under", "perceptual_over"),
)  # fmt: skip
BRIEF = TRAIN.changed(epochs=2, steps_per_epoch=1, recalibration_batches=1)  # what takes the place of a model
GENOTYPE = Genotype(nodes={node: {"conv_3x3": 0.75, "dil_3x3": 0.25} for node in NODES}, width=0.0625)

HISTORY = {"search": "history.jsonl", "train": "training.partial.jsonl"}  # while it runs
RESULTS = (PARTIAL, PROVENANCE, "training.jsonl", MODEL)  # of a training, in the order in which they are written


def work(kind: str, folder: Path, *, resume: bool = True, seed: int = 0) -> None:
    """One attempt; leaves a fingerprint of all weights and states at its end."""
    common = {"device": "cpu", "show": False, "resume": resume, "checkpoint_every": 0.0}
    if kind == "search":
        run = run_search(SEARCH, folder, **common)
        tensors = search_tensors(run.search)
    else:
        config = TRAIN if seed == 0 else BRIEF.changed(seed=seed)
        trained = train_network(GENOTYPE, LossWeights.uniform(), config, out=folder, **common)
        tensors = trained.network.state_dict()
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
        if point in ("before a rename", f"before {Path(target).name}") and reached():
            die()
        real_replace(source, target)
        if point in ("after a rename", f"after {Path(target).name}") and reached():
            die()

    def save(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        real_save(tensors, path, metadata=metadata)
        if point == "half-written" and reached():
            os.truncate(path, os.path.getsize(path) // 2)
            die()

    if point == "half-written":
        return mock.patch.object(checkpoints, "save_file", save)
    return mock.patch.object(runtime.os, "replace", replace)


def load_once() -> None:
    """Read scenes and features once: what is remembered before a fork, its child need not load."""
    for module in (search_run, job):
        for name in ("referenced_scenes", "load_naturals", "load_vgg16"):
            setattr(module, name, cache(getattr(module, name)))


def attempt(
    kind: str,
    folder: Path,
    prepare: Callable[[], None] = lambda: None,
    *,
    records: int = 0,
    delay: float | None = None,
    **how: Any,
) -> bool:
    """Fork one attempt, and kill it so many seconds after it has written so many records; say if it got through."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            prepare()
            work(kind, folder, **how)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    status = None
    if delay is not None:
        history = folder / HISTORY[kind]
        while not (history.exists() and history.read_text().count("\n") >= records):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                break
            status = None
            time.sleep(0.005)
        else:
            time.sleep(delay)
            os.kill(child, signal.SIGKILL)
    if status is None:
        _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0, "the attempt failed by itself"
        return True
    return False


def at_random(kind: str, folder: Path, kills: int, seed: int, pace: float) -> int:
    """Kill a run at random times within its steps, again and again until it gets through; then the next run."""
    rng, killed, runs = random.Random(seed), 0, 0
    while killed < kills:
        run, records = folder / f"run-{runs}", 0
        while not attempt(kind, run, records=records, delay=rng.uniform(0, pace)):
            killed += 1
            history = run / HISTORY[kind]
            records = max(records + 1, history.read_text().count("\n") if history.exists() else 0)
            for half in run.glob(".*.*") if run.is_dir() else ():
                half.unlink()
        runs += 1
    return killed


def at_points(kind: str, folder: Path) -> int:
    """Kill one run at every chosen place inside the writing, one after the other, then let it finish."""
    # From the second checkpoint on, each writing renames twice: the last becomes the previous, the new one the last.
    # A run that goes on renames once before, when it writes its history anew.
    cases = [("half-written", 2), ("before a rename", 2), ("after a rename", 2)]
    run = folder / "run-points"
    for point, count in cases:
        assert not attempt(kind, run, lambda point=point, count=count: dying_at(point, count).start()), point
    assert attempt(kind, run)
    return len(cases)


def beside_a_model(folder: Path, kills: int, seed: int, seconds: float) -> dict[str, int]:
    """Train anew, with another seed, where a model is; killed at chosen places, then at random times.

    Afterwards the run must hold the old model or the new one, with its own provenance, and training goes on from there.
    """
    rng, old, found = random.Random(seed), described_model(folder / "whole"), {"old": 0, "new": 0}
    places = [(f"{side} {name}", 1) for name in RESULTS for side in ("before", "after")]
    for number in range(max(kills, len(places))):
        run = folder / f"run-{number}"
        shutil.copytree(folder / "whole", run)
        how: dict[str, Any] = {"delay": rng.uniform(0, seconds)}
        if number < len(places):
            how = {"prepare": lambda number=number: dying_at(*places[number]).start()}
        killed = not attempt("train", run, resume=False, seed=1, **how)
        model = file_hash(model_file(run))
        assert model == described_model(run), "a model under another's provenance"
        load_model(run, device="cpu")
        kind = "old" if model == old else "new"
        assert killed or kind == "new"
        found[kind] += killed
        assert number >= len(places) or (kind == "new") == (number > 2), places[number]  # from the provenance on
        shutil.rmtree(run)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["search", "train", "restart"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--points", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    load_once()
    work("search" if options.kind == "search" else "train", options.folder / "whole", resume=False)
    if options.kind == "restart":
        lines = (options.folder / "whole" / "training.jsonl").read_text().splitlines()
        seconds = sum(json.loads(line)["seconds"] for line in lines) / 3
        print(json.dumps(beside_a_model(options.folder, options.kills, options.seed, seconds)))
        return
    last = (options.folder / "whole" / HISTORY[options.kind].replace(".partial", "")).read_text().splitlines()[-1]
    pace = max(0.05, json.loads(last)["seconds"])  # of a step of a search, an epoch of a training
    counts = {"random": at_random(options.kind, options.folder, options.kills, options.seed, pace)}
    if options.points:
        counts["points"] = at_points(options.kind, options.folder)
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
