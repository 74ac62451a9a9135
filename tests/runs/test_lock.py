"""One process in a folder: the second is told who is in there, and a killed one holds nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from hsds_lib.images.io import write_rgb
from hsds_lib.losses.space import LossWeights
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.runs.lock import alone_in
from hsds_lib.runtime import RunError
from tests.command import hsds

HOLD = "import sys, time\nfrom hsds_lib.runs.lock import alone_in\nwith alone_in(sys.argv[1], 'search'):\n"
HOLD += "    print('in', flush=True)\n    time.sleep(600)\n"


@pytest.fixture
def held(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which is in ``tmp_path / "run"``."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "run"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "in\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_is_told_who_holds_a_folder_until_that_is_killed(
    held: subprocess.Popen[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    said = rf"run is in use: search, process {held.pid} on .*, since 20.*; wait until that has ended, or name another"
    with pytest.raises(RunError, match=said), alone_in(run, "train"):
        pass
    held.kill()
    held.wait()
    with alone_in(run, "train"):
        assert f"train, process {os.getpid()}" in (run / ".in-use-by").read_text()
    assert list(run.iterdir()) == []


def test_every_command_that_fills_a_folder_keeps_out(
    held: subprocess.Popen[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:

    run = tmp_path / "run"
    Genotype(nodes={node: {"conv_1x1": 1.0} for node in NODES}, width=0.0625).save(tmp_path / "genotype.json")
    LossWeights.uniform().save(run / "loss_weights.json")
    (tmp_path / "grid.json").write_text('{"notebook": "01_problem_and_data"}')
    for name in ("under.png", "over.png"):
        write_rgb(tmp_path / "pairs" / "scene" / name, torch.rand(3, 16, 16))
    for words in (
        ["search", "--preset", "tiny", "--out", run],
        ["evaluate", "--pairs", tmp_path / "pairs", "--builtin", "average", "--out", run],
        ["sweep", tmp_path / "grid.json", "--out", run],
        ["train", "--preset", "tiny", "--run", run],
    ):
        if words[0] == "train":
            os.replace(tmp_path / "genotype.json", run / "genotype.json")
        assert hsds(*words) == 2 and f"process {held.pid}" in capsys.readouterr().err, words


def test_a_folder_that_was_not_there_goes_when_nothing_was_written(tmp_path: Path) -> None:
    with alone_in(tmp_path / "new", "train"):
        pass
    assert list(tmp_path.iterdir()) == []
    with alone_in(None, "train"):
        pass
