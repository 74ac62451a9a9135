"""Processes of a data-parallel run agree with each other, and with one process that averages their gradients."""

from __future__ import annotations

import json
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from hsds_lib.images.batches import PairBatches, load_scenes
from hsds_lib.losses.space import LossWeights
from hsds_lib.network.genotype import NODES
from hsds_lib.network.operations import PRIMITIVES
from hsds_lib.runs.parallel import Group
from hsds_lib.runs.scenes import Endless
from hsds_lib.search import run as search_run
from hsds_lib.search.run import search_tensors
from hsds_lib.training import train as training

pytestmark = pytest.mark.timeout(600)  # on a busy machine

HERE = Path(__file__).parent
SMALL = runpy.run_path(str(HERE / "killed.py"))
BATCHES_SEEN = ("running_mean", "running_var")  # each process has its own in a search, which uses none


def command(folder: Path, *more: str) -> list[str]:
    """Start two gloo processes that search and train in a folder."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return [*torchrun, str(HERE / "processes.py"), str(folder), *more]


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two gloo processes have searched and trained."""
    folder = tmp_path_factory.mktemp("torchrun")
    done = subprocess.run(command(folder), capture_output=True, text=True, timeout=560, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def rank(folder: Path, number: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors = load_file(folder / f"rank-{number}.safetensors")
    return tensors, json.loads((folder / f"rank-{number}.json").read_text())


@pytest.mark.slow  # two processes import torch
def test_processes_end_with_the_same_bits(two_processes: Path) -> None:
    (one, told_one), (other, told_other) = rank(two_processes, 0), rank(two_processes, 1)
    differing = [name for name in one if not torch.equal(one[name], other[name])]
    assert all(name.startswith("search/network/") and name.endswith(BATCHES_SEEN) for name in differing)
    for key in ("removed", "n_active", "node_mix", "loss_mix", "gamma", "train_loss"):
        assert [step[key] for step in told_one["search"]] == [step[key] for step in told_other["search"]]
    assert told_one["search"][-1]["n_active"] < len(NODES) * len(PRIMITIVES)  # some were pruned, in both
    assert [row["loss"] for row in told_one["train"]] == [row["loss"] for row in told_other["train"]]


@pytest.mark.slow
def test_only_the_first_process_writes_and_it_writes_once(two_processes: Path) -> None:
    names = {path.name for path in two_processes.iterdir() if "rank" not in path.name}
    assert names == {
        *("genotype.json", "loss_weights.json", "history.jsonl", "provenance.json"),
        *("model.safetensors", "training.jsonl", "training_provenance.json"),
    }
    steps = [json.loads(line)["step"] for line in (two_processes / "history.jsonl").read_text().splitlines()]
    assert steps == list(range(4))
    assert json.loads((two_processes / "provenance.json").read_text())["processes"] == 2


@pytest.mark.slow
def test_processes_that_are_stopped_go_on_to_the_same_bits(two_processes: Path, tmp_path: Path) -> None:
    alone = command(tmp_path, "--search-alone")
    with subprocess.Popen(alone, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as stopped:
        history = tmp_path / "history.jsonl"
        while stopped.poll() is None and not (history.exists() and history.read_text().count("\n") >= 2):
            time.sleep(0.05)
        stopped.send_signal(signal.SIGTERM)
        assert stopped.wait(timeout=60) != 0
    assert (tmp_path / "search.checkpoint.safetensors").exists() and not (tmp_path / "genotype.json").exists()
    done = subprocess.run(alone, capture_output=True, text=True, timeout=560, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (tensors, told), (whole, told_whole) = rank(tmp_path, 0), rank(two_processes, 0)
    assert tensors and all(torch.equal(tensors[name], whole[name]) for name in tensors)
    for ours, theirs in zip(told["search"], told_whole["search"], strict=True):
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}


@contextmanager
def joined(groups: threading.local) -> Iterator[None]:
    """Runs find their group here instead of asking torchrun."""

    @contextmanager
    def process_group(device: str) -> Iterator[Group]:
        yield groups.mine

    with (
        mock.patch.object(search_run, "process_group", process_group),
        mock.patch.object(training, "process_group", process_group),
    ):
        yield


@pytest.mark.slow
def test_two_processes_equal_one_that_averages_both_shards(two_processes: Path, two_in_one: Any) -> None:
    groups = threading.local()

    def work(group: Group) -> tuple[Any, Any]:
        groups.mine = group
        searched = search_run.run_search(SMALL["SEARCH"], device="cpu", show=False)
        settings = {"device": "cpu", "show": False}
        trained = training.train_network(SMALL["GENOTYPE"], LossWeights.uniform(), SMALL["TRAIN"], **settings)
        return searched, trained

    with joined(groups):
        searched, trained = two_in_one.run(work)[0]
    tensors, told = rank(two_processes, 0)
    ours = {f"search/{name}": value for name, value in search_tensors(searched.search).items()}
    ours |= {f"train/{name}": value for name, value in trained.network.state_dict().items()}
    assert ours.keys() == tensors.keys()
    for name, value in ours.items():
        torch.testing.assert_close(
            value.detach(), tensors[name], rtol=1e-5, atol=1e-7, msg=lambda m, n=name: f"{n}: {m}"
        )
    assert [step["removed"] for step in searched.search.history] == [
        [tuple(gone) for gone in step["removed"]] for step in told["search"]
    ]
    alone = search_run.run_search(SMALL["SEARCH"], device="cpu", show=False)
    assert not torch.allclose(alone.search.alpha, searched.search.alpha, rtol=1e-3)  # the second shard counts


def test_processes_take_turns_in_one_stream_of_batches() -> None:
    scenes = load_scenes("embedded", "train", limit=5)

    def stream(number: int, size: int) -> Endless:
        generator = torch.Generator().manual_seed(3)
        pairs = PairBatches(scenes, [scenes[0].under], crop=16, batch_size=1, generator=generator)
        return Endless(pairs, rank=number, size=size)

    whole, first, second = stream(0, 1), stream(0, 2), stream(1, 2)
    for _ in range(7):
        for part in (first, second):
            assert torch.equal(next(part).under, next(whole).under)
    assert first.left == second.left == whole.left
