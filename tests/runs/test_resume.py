"""A run that is killed, stopped, out of space or out of numbers goes on, or says from where it can."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file

from hsds_lib.cli import main
from hsds_lib.losses.space import LossWeights
from hsds_lib.runs import checkpoints
from hsds_lib.runs.checkpoints import Checkpoint, Checkpoints
from hsds_lib.runs.progress import Stopped
from hsds_lib.runtime import RunError, fingerprint
from hsds_lib.search.dual import DualSearch
from hsds_lib.search.run import SearchRun, run_search, search_tensors
from hsds_lib.training.train import train_network

KILLED = Path(__file__).parent / "killed.py"
SMALL = runpy.run_path(str(KILLED))  # settings of a run of seconds
QUIET: dict[str, Any] = {"device": "cpu", "show": False, "checkpoint_every": 0.0}


def records(path: Path) -> list[dict[str, Any]]:
    """A history without its durations."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def results(folder: Path) -> dict[str, Any]:
    """All that a run leaves, without times."""
    found: dict[str, Any] = {"weights": (folder / "fingerprint.txt").read_text()}
    for name in ("genotype.json", "loss_weights.json"):
        if (folder / name).exists():
            found[name] = (folder / name).read_bytes()
    if (folder / "model.safetensors").exists():  # the order of its metadata is left to chance
        model = load_file(folder / "model.safetensors")
        found["model"] = fingerprint(model[name] for name in sorted(model))
    for name in ("history.jsonl", "training.jsonl"):
        if (folder / name).exists():
            found[name] = records(folder / name)
    return found


def tensors_of(run: SearchRun) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in search_tensors(run.search).items()}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow  # a run is begun several times
@pytest.mark.timeout(600)  # on a busy machine
@pytest.mark.skipif(not hasattr(os, "fork"), reason="killing children needs fork, which this system lacks")
@pytest.mark.parametrize(("kind", "how"), [("search", ["--points"]), ("train", [])])
def test_a_killed_run_ends_with_the_same_bits(kind: str, how: list[str], tmp_path: Path) -> None:
    command = [sys.executable, str(KILLED), kind, str(tmp_path), *how]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=560)
    counts = json.loads(done.stdout)
    assert counts["random"] >= 2 and counts.get("points", 3) == 3
    whole = results(tmp_path / "whole")
    assert len(whole) == (4 if kind == "search" else 3)
    for run in tmp_path.glob("run-*"):
        assert results(run) == whole, run.name
        assert not [*run.glob("*checkpoint*"), *run.glob(".*.*"), *run.glob("*partial*")]


@pytest.mark.slow  # nine trainings
@pytest.mark.timeout(600)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="killing children needs fork, which this system lacks")
def test_killed_at_any_moment_a_run_holds_the_old_model_or_the_new_one_with_its_provenance(tmp_path: Path) -> None:
    command = [sys.executable, str(KILLED), "restart", str(tmp_path), "--kills", "10"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=560)
    assert json.loads(done.stdout)["old"] >= 3 and json.loads(done.stdout)["new"] >= 5


@pytest.fixture(scope="module")
def whole() -> SearchRun:
    """The search that nobody interrupts."""
    return run_search(SMALL["SEARCH"], device="cpu", show=False)


def stopping_after(steps: int) -> mock._patch:
    """Patch the step of a search: after so many, the process is sent SIGINT, as by Ctrl-C."""
    real = DualSearch.step

    def step(self: DualSearch, *batches: Any, epoch: int = 0) -> dict[str, Any]:
        if len(self.history) == steps:
            signal.raise_signal(signal.SIGINT)
        return real(self, *batches, epoch=epoch)

    return mock.patch.object(DualSearch, "step", step)


def test_ctrl_c_ends_the_step_and_the_same_call_goes_on(tmp_path: Path, whole: SearchRun) -> None:
    rare = {**QUIET, "checkpoint_every": 1e9}  # the stop itself writes one
    with stopping_after(2), pytest.raises(Stopped, match=r"after 3 steps: the same command goes on from there"):
        run_search(SMALL["SEARCH"], tmp_path, **rare)
    assert len(records(tmp_path / "history.jsonl")) == 3
    resumed = run_search(SMALL["SEARCH"], tmp_path, resume=True, **rare)
    assert_same(tensors_of(resumed), tensors_of(whole))
    assert resumed.genotype == whole.genotype
    ours, theirs = ([{**r, "seconds": 0} for r in run.search.history] for run in (resumed, whole))
    assert ours == theirs


def test_the_command_line_says_how_to_go_on_and_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = SMALL["SEARCH"].model_dump()
    settings = [f"--set={name}={shown[name]}" for name in ("width", "crop", "batch_size", "features", "beta_warmup")]
    words = ["hsds", "search", "--preset", "tiny", "--epochs", "1", "--out", str(tmp_path / "run"), *settings]

    def hsds() -> int:
        with mock.patch.object(sys, "argv", words), pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    with stopping_after(1):
        assert hsds() == 130
    assert "search stopped as asked; the last good checkpoint is" in capsys.readouterr().err
    assert hsds() == 0
    said = capsys.readouterr()
    assert "search: going on after step 2, from" in said.err and "genotype: 30 operations" in said.out


def test_a_damaged_checkpoint_falls_back_to_the_previous_one(
    tmp_path: Path, whole: SearchRun, capsys: pytest.CaptureFixture[str]
) -> None:
    with stopping_after(2), pytest.raises(Stopped):
        run_search(SMALL["SEARCH"], tmp_path, **QUIET)
    newest = tmp_path / "search.checkpoint.safetensors"
    content = bytearray(newest.read_bytes())
    content[-1000] ^= 1
    newest.write_bytes(content)
    resumed = run_search(SMALL["SEARCH"], tmp_path, resume=True, **{**QUIET, "show": True})
    said = capsys.readouterr().err
    assert "checkpoint.safetensors is damaged and was passed over" in said and "going on after step 2" in said
    assert_same(tensors_of(resumed), tensors_of(whole))


def test_other_settings_are_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    with stopping_after(1), pytest.raises(Stopped):
        run_search(SMALL["SEARCH"], tmp_path, **QUIET)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RunError, match=r"other settings \(theta was 0\.0912, now 0\.2\); give the same ones to go on"):
        run_search(SMALL["SEARCH"].changed(theta=0.2), tmp_path, resume=True, **QUIET)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("kind", ["search", "training"])
def test_under_other_code_a_run_goes_on_only_when_told_to_and_says_so(kind: str, tmp_path: Path) -> None:
    def run(**more: Any) -> None:
        if kind == "search":
            run_search(SMALL["SEARCH"], tmp_path, **QUIET, **more)
        else:
            train_network(SMALL["GENOTYPE"], LossWeights.uniform(), SMALL["BRIEF"], out=tmp_path, **QUIET, **more)

    with full_after(1), pytest.raises(RunError, match="No space left"):
        run()
    other = {"hsds_lib.losses.terms": "another", "torch": "1.0"}
    where = "hsds_lib.search.run" if kind == "search" else "hsds_lib.training.job"
    with mock.patch(f"{where}.code_parts", return_value=other):
        with pytest.raises(RunError, match=r"other code \(.*hsds_lib\.losses\.terms.*torch .* -> 1\.0.*accept"):
            run(resume=True)
        run(resume=True, accept_code_change=True)
    name = "provenance.json" if kind == "search" else "training_provenance.json"
    ((step, changed),) = (one.values() for one in json.loads((tmp_path / name).read_text())["code_changes"])
    assert step == 1 and "hsds_lib.losses.terms" in changed


def test_without_resume_a_run_begins_anew(tmp_path: Path, whole: SearchRun) -> None:
    with stopping_after(1), pytest.raises(Stopped):
        run_search(SMALL["SEARCH"].changed(seed=5), tmp_path, **QUIET)
    again = run_search(SMALL["SEARCH"], tmp_path, **QUIET)
    assert_same(tensors_of(again), tensors_of(whole))
    assert len(records(tmp_path / "history.jsonl")) == len(again.search.history)


def full_after(writes: int) -> mock._patch:
    """Patch the writing of checkpoints: after so many, the disk is full."""
    real, calls = checkpoints.save_file, [0]

    def save(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        calls[0] += 1
        if calls[0] > writes:
            path.write_bytes(b"a part of it")
            raise OSError(28, "No space left on device")
        real(tensors, path, metadata=metadata)

    return mock.patch.object(checkpoints, "save_file", save)


def test_a_full_disk_stops_with_a_run_that_goes_on(tmp_path: Path, whole: SearchRun) -> None:
    sentence = r"step 3: .* could not be written .*No space left.*after 2 steps; make room and run the same command"
    with full_after(2), pytest.raises(RunError, match=sentence):
        run_search(SMALL["SEARCH"], tmp_path, **QUIET)
    assert not list(tmp_path.glob(".*.*"))
    resumed = run_search(SMALL["SEARCH"], tmp_path, resume=True, **QUIET)
    assert_same(tensors_of(resumed), tensors_of(whole))


def test_a_number_that_is_not_finite_names_step_term_and_checkpoint(tmp_path: Path) -> None:
    real = DualSearch.step

    def step(self: DualSearch, train: Any, val: Any, *, epoch: int = 0) -> dict[str, Any]:
        if len(self.history) == 2:
            train.ref[0, 0, 0, 0] = float("inf")
        return real(self, train, val, epoch=epoch)

    sentence = r"step 2: the loss is not finite in .*l1_ref.*; lower lr_omega.*last good checkpoint is .*after 2 steps"
    with mock.patch.object(DualSearch, "step", step), pytest.raises(RunError, match=sentence):
        run_search(SMALL["SEARCH"], tmp_path, **QUIET)


def test_weights_that_are_not_finite_are_never_kept(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, "search")
    kept.save(Checkpoint(1, {"w": torch.ones(2)}, {}))
    with pytest.raises(RunError, match="step 2: w is not finite"):
        kept.save(Checkpoint(2, {"w": torch.tensor([1.0, float("nan")])}, {}))
    found, problems = kept.load()
    assert found is not None and found.step == 1 and not problems


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")])
def test_out_of_memory_is_one_sentence_that_names_what_to_lower(error: Exception, tmp_path: Path) -> None:
    with (
        mock.patch.object(DualSearch, "step", side_effect=error),
        pytest.raises(
            RunError, match=r"^out of memory; lower batch_size \(1\), crop \(24\) or width \(0\.0625\), or set"
        ),
    ):
        run_search(SMALL["SEARCH"], tmp_path, **QUIET)


def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    def training(folder: Path, **more: Any) -> Any:
        return train_network(SMALL["GENOTYPE"], LossWeights.uniform(), SMALL["TRAIN"], out=folder, **QUIET, **more)

    one = training(tmp_path / "one")
    real, calls = checkpoints.Checkpoints.due, [0]

    def due(self: Checkpoints) -> bool:
        calls[0] += 1
        if calls[0] == 6:  # inside the second epoch
            raise RunError("step 6: killed here")
        return real(self)

    with mock.patch.object(Checkpoints, "due", due), pytest.raises(RunError, match=r"killed here.*after 5 steps"):
        training(tmp_path / "two")
    two = training(tmp_path / "two", resume=True)
    assert_same(one.network.state_dict(), two.network.state_dict())
    assert records(tmp_path / "one" / "training.jsonl") == records(tmp_path / "two" / "training.jsonl")
    assert len(load_file(tmp_path / "two" / "model.safetensors")) == len(one.network.state_dict())
