"""``hsds fuse`` and ``hsds metrics`` on folders: nothing is lost, a bad scene is a sentence, and all else goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import hsds_lib.fusing.fuse as fusing
from hsds_lib.evaluation.scoring import require_scores_file, score_folder
from hsds_lib.images.batches import load_scenes
from hsds_lib.images.io import read_rgb, write_rgb
from hsds_lib.network import model_file
from hsds_lib.outputs import OutputError
from tests.command import hsds


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    """A folder with the layout NAME_A, NAME_B: two scenes, of which A is the brighter one."""
    for name, scene in zip("xy", load_scenes("embedded", "test", limit=2), strict=True):
        write_rgb(tmp_path / "shots" / f"{name}_A.png", scene.over[:, :64, :72])
        write_rgb(tmp_path / "shots" / f"{name}_B.png", scene.under[:, :64, :72])
    return tmp_path / "shots"


def test_what_belongs_together_is_shown_and_a_dry_run_does_no_more(
    shots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hsds("fuse", "--pairs", shots, "-o", tmp_path / "out", "--dry-run") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{name}: {shots / name}_B.png < {shots / name}_A.png -> {tmp_path / 'out' / name}.png" for name in "xy"
    ]
    assert hsds("fuse", shots / "x_A.png", shots / "x_B.png", "-o", tmp_path / "o.png", "--dry-run") == 0
    assert capsys.readouterr().out == f"{shots / 'x_B.png'} < {shots / 'x_A.png'} -> {tmp_path / 'o.png'}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["shots"]
    for _ in range(2):  # again into the folder that it made
        assert hsds("fuse", "--pairs", shots, "-o", tmp_path / "out") == 0
    said = capsys.readouterr()
    assert "holds 2 scenes: names that tell" in said.err and f"x: {shots / 'x_B.png'} < {shots / 'x_A.png'}" in said.err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".made-by-hsds", "x.png", "y.png"}
    pair = (tmp_path / "pair.png", shots / "x_B.png", shots / "x_A.png")
    assert hsds("fuse", *pair[1:], "-o", pair[0]) == 0
    assert pair[0].read_bytes() == (tmp_path / "out" / "x.png").read_bytes()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["fuse", "shots/x_A.png", "shots/x_B.png", "-o", "shots/x_A.png"], "is or holds the input"),
        (["fuse", "shots/x_A.png", "shots/x_B.png", "-o", "shots/../link.png"], "is or holds the input"),
        (["fuse", "shots/x_A.png", "shots/x_B.png", "shots/x_A.png", "-o", "o.png"], "was given for two exposures"),
        (["fuse", *(f"{number}.png" for number in range(10)), "-o", "o.png"], "10 exposures were given; give 2 to 9"),
        (["fuse", "--pairs", "shots", "-o", "shots"], "is or holds the input"),
        (["fuse", "--pairs", "shots", "-o", "."], "is or holds the input"),
        (["fuse", "--pairs", "shots", "-o", "thesis"], "holds files that this command did not write"),
        (["fuse", "--pairs", "shots", "-o", "thesis/thesis.csv"], "is a file"),
        (["fuse", "--pairs", "shots", "-o", ""], "is empty"),
        (["metrics", "--pairs", "shots", "--fused", "shots", "--out", "shots/x_A.png"], "is not called .csv"),
        (["metrics", "--pairs", "shots", "--fused", "shots", "--out", "thesis/thesis.csv"], "did not write it"),
        (["metrics", "--pairs", "shots", "--fused", "shots", "--out", ""], "is empty"),
    ],
)
def test_no_output_lies_over_what_was_there(
    words: list[str], sentence: str, shots: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shots.parent)
    monkeypatch.setattr(model_file, "load_model", lambda *_, **__: pytest.fail("refused before anything is loaded"))
    if "thesis" in words[-1] and words[0] == "fuse":
        monkeypatch.setattr(model_file, "load_model", lambda *_, **__: None)
    Path("link.png").symlink_to("shots/x_A.png")
    Path("thesis").mkdir()
    Path("thesis/thesis.csv").write_text("year,scene\n2026,1\n")
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert hsds(*words) == 2
    assert sentence in capsys.readouterr().err
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_scores_may_be_written_over_scores(tmp_path: Path) -> None:
    for text in ("", "scene\n", "scene,SD,EN\nx,1,2\n"):
        (tmp_path / "scores.CSV").write_text(text)
        require_scores_file(tmp_path / "scores.CSV", tmp_path / "in")
    for text in ("scene,answers\n", "x\n", "\x89PNG"):
        (tmp_path / "scores.CSV").write_text(text)
        with pytest.raises(OutputError, match="name another file"):
            require_scores_file(tmp_path / "scores.CSV")


@pytest.mark.parametrize("lack", [MemoryError(), RuntimeError("[enforce] can't allocate memory: you tried")])
def test_a_scene_without_memory_is_a_sentence_and_the_others_go_on(
    lack: Exception, shots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, outcomes = fusing.fuse_stack, iter([True, False, True])

    def scarce(network: object, images: list[torch.Tensor]) -> torch.Tensor:
        if next(outcomes):
            raise lack
        return real(network, images)  # type: ignore[arg-type]

    monkeypatch.setattr(fusing, "fuse_stack", scarce)
    assert hsds("fuse", "--pairs", shots, "-o", tmp_path / "out") == 1
    said = capsys.readouterr()
    assert "x: skipped: out of memory; lower the size of the pictures" in said.err and "y.png" in said.out
    assert hsds("fuse", shots / "x_A.png", shots / "x_B.png", "-o", tmp_path / "o.png") == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: out of memory; lower")
    assert not (tmp_path / "o.png").exists()


def test_metrics_take_any_layout_and_names_with_the_method(shots: Path, tmp_path: Path) -> None:
    for name in "xy":
        pair = [read_rgb(shots / f"{name}_{side}.png") for side in "AB"]
        write_rgb(tmp_path / "fused" / f"{name}_mine.png", (pair[0] + pair[1]) / 2)
    scores = list(score_folder(shots, tmp_path / "fused"))
    assert [(one.name, one.problem) for one in scores] == [("x", None), ("y", None)]


@pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are text")
def test_a_name_that_is_not_utf_8_skips_that_scene_at_the_start(shots: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "good").mkdir(parents=True)
    for side in "AB":
        os.link(shots / f"x_{side}.png", tmp_path / "in" / "good" / f"{side}.png")
    os.mkdir(os.fsencode(tmp_path) + b"/in/sc\xe8ne")
    command = [sys.executable, "-m", "hsds_lib", "fuse", "--pairs", "in", "-o", "out", "--dry-run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "good: in/good/B.png < in/good/A.png -> out/good.png" in done.stdout
    assert r"skipped: the name 'sc\udce8ne' is not UTF-8" in done.stdout


def test_three_files_are_fused_in_any_order_and_aligned(shots: Path, tmp_path: Path) -> None:
    pair = [read_rgb(shots / f"x_{side}.png") for side in "AB"]
    write_rgb(shots / "m.png", (pair[0] + pair[1]) / 2)
    files = [shots / name for name in ("x_A.png", "x_B.png", "m.png")]
    assert hsds("fuse", *files, "-o", tmp_path / "1.png") == 0 == hsds("fuse", *files[::-1], "-o", tmp_path / "2.png")
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()
    write_rgb(shots / "x_A.png", pair[0][:, :-4, 5:])
    write_rgb(shots / "x_B.png", pair[1][:, 4:, :-5])
    assert hsds("fuse", *files[:2], "-o", tmp_path / "3.png", "--align") == 0
    assert read_rgb(tmp_path / "3.png").shape == (3, 56, 62)
