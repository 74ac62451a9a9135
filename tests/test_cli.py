"""The command line as a user meets it: files out, one sentence for a mistake, exit codes."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hsds_lib.config import preset
from hsds_lib.images.batches import load_scenes
from hsds_lib.images.io import read_rgb, write_rgb
from hsds_lib.network.model_file import MODELS, load_model, save_model
from hsds_lib.runtime import file_hash
from tests.command import hsds


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    folder = tmp_path / "pairs"
    for scene in load_scenes("embedded", "test", limit=2):
        write_rgb(folder / scene.name / "under.png", scene.under[:, :90, :70])
        write_rgb(folder / scene.name / "over.jpg", scene.over[:, :90, :70])
    return folder


def test_fuse_writes_one_picture_of_the_same_size(scenes: Path, tmp_path: Path) -> None:
    scene = sorted(scenes.iterdir())[0]
    assert hsds("fuse", scene / "under.png", scene / "over.jpg", "-o", tmp_path / "out.png") == 0
    assert read_rgb(tmp_path / "out.png").shape == (3, 90, 70)


def test_fuse_folder_skips_a_bad_scene_and_exits_with_1(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hsds("fuse", "--pairs", scenes, "-o", tmp_path / "good") == 0
    (scenes / "bad").mkdir()
    assert hsds("fuse", "--pairs", scenes, "-o", tmp_path / "some") == 1
    assert len(list((tmp_path / "some").glob("*.png"))) == 2
    captured = capsys.readouterr()
    assert "bad: skipped: no image named under.*" in captured.err and "1 of 3 scenes" in captured.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["fuse", "a.png", "-o", "x.png"], "give either UNDER and OVER, or --pairs DIR"),
        (["fuse", "gone.png", "lost.png", "-o", "x.png"], "gone.png"),
        (["fuse", "a.png", "a.png", "-o", "x.png"], "'a.png' was given for both exposures"),
        (["fuse", "--pairs", "gone", "-o", "x"], "'gone' holds no scenes"),
        (["fuse", "a.png", "b.png", "-o", "x.png", "--model", "gone"], "no trained model at gone"),
        (["fuse", "a.png", "b.png", "-o", "x.png", "--device", "tpu"], "device 'tpu' is unknown"),
        (["search", "--out", "run", "--preset", "huge"], "preset 'huge' is unknown"),
        (["search", "--out", "run", "--set", "tetha=1"], "unknown setting 'tetha'"),
        (["search", "--out", "run", "--theta", "0.1", "--set", "theta=0.2"], "'theta' was given as an option and with"),
        (["search", "--out", "run", "--set", "theta=2"], "setting 'theta' = 2: Input should be less than"),
        (["search", "--out", "run", "--set", "theta"], "'theta' is not NAME=VALUE"),
        (["search", "--out", "run", "--preset", "tiny", "--data", "gone"], "gone"),
        (
            ["search", "--out", "run", "--ablation", "only XY"],
            "ablation 'only XY' is unknown; choose one of w/o Gamma_H",
        ),
        (["search", "--out", "run", "--ablation", "only WR", "--theta", "0.1"], "'only WR' sets 'theta' itself"),
        (
            ["search", "--out", "run", "--ablation", "DARTS", "--set", "contrast=natural"],
            "starts from the whole method",
        ),
        (["metrics", "--fused", "f", "--pairs", "p", "--out", "."], "--out . is a folder; name the CSV file"),
        (["metrics", "--fused", "f", "--under", "u", "--over", "o", "--workers", "2"], "--workers goes with --pairs"),
        (["sweep", "gone.json"], "there is no grid file gone.json"),
        (["sweep", "g.json", "--workers", "2", "--scheduler", "tcp://h:1"], "give either --workers or --scheduler"),
        (["train", "--run", "gone"], "genotype.json does not exist"),
        (["metrics", "--fused", "f.png", "--under", "u.png"], "give --under and --over, or --pairs DIR"),
        (["metrics", "--fused", "f.png", "--under", "u.png", "--over", "o.png"], "u.png does not exist"),
        (["metrics", "--fused", "f", "--pairs", "p", "--ref", "r.png", "--out", "x.csv"], "--pairs DIR takes under"),
        (["metrics", "--fused", "f", "--pairs", "p"], "--pairs DIR and --out CSV belong together"),
        (["metrics", "--fused", "f", "--pairs", "gone", "--out", "x.csv"], "'gone' holds no scenes"),
        (["data", "fetch", "mefb"], "no folder for data was given: set HSDS_DATA to one, or give it with --to DIR"),
        (["data", "fetch", "nothing", "--to", "x"], "data set 'nothing' is not registered; choose one of mefb, sice"),
        (["data", "fetch", "sice", "--to", "x"], "sice is behind a form: fetch its archives by hand"),
        (["data", "fetch", "mefb", "--images", "3", "--to", "x"], "--images goes with coco, not with mefb"),
        (["data", "fetch", "coco", "--split", "test", "--to", "x"], "--split goes with mefb, not with coco"),
        (["data", "fetch", "mefb", "--split", "train", "--to", "x"], "split 'train' is not known; choose development"),
        (["data", "fetch", "mefb", "--from", "gone.zip", "--to", "x"], "gone.zip does not exist"),
        (["data", "fetch", "coco", "--images", "0", "--to", "x"], "0 images were asked for; give 1 or more"),
        (["data", "verify", "--to", "."], "holds none of mefb, sice_sample, sice, coco, vgg16"),
        (["data", "prepare", "mefb", "--from", "y", "--to", "x"], "'mefb' needs no preparing; only sice does"),
        (["data", "prepare", "sice", "--from", "gone", "--to", "x"], "gone does not exist"),
        (["data", "prepare", "sice", "--from", "y", "--to", "x", "--long-side", "9"], "the longer side is 9 pixels"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    words: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("HSDS_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert hsds(*words) == 2
    error = capsys.readouterr().err.strip()
    assert sentence in error and error.startswith("error: ") and len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def fused(scenes: Path, tmp_path: Path) -> Path:
    """Give a folder with an average of the exposures of each scene."""
    for scene in scenes.iterdir():
        under, over = read_rgb(scene / "under.png"), read_rgb(scene / "over.jpg")
        write_rgb(tmp_path / "fused" / f"{scene.name}.png", (under + over) / 2)
    return tmp_path / "fused"


def test_metrics_print_one_json_object_or_a_table(
    scenes: Path, fused: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scene = sorted(scenes.iterdir())[0]
    words = ["--under", scene / "under.png", "--over", scene / "over.jpg", "--fused", fused / f"{scene.name}.png"]
    assert hsds("metrics", *words, "--json") == 0
    scores = json.loads(capsys.readouterr().out)
    assert 0.5 < scores["MEF-SSIM"] < 1 and scores["SD"] < 16 < scores["SD_double"] and scores["CC"] is None
    assert hsds("metrics", *words, "--ref", scene / "over.jpg") == 0
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert lines["as"] == ["in", "the", "paper", "correct"]
    assert lines["SD"] == [f"{scores['SD']:.4f}", f"{scores['SD_double']:.4f}"]
    assert len(lines["CC"]) == 2 and lines["TMQI"] == ["-", "-"]


def test_metrics_of_a_folder_skip_a_bad_scene_and_exit_with_1(
    scenes: Path, fused: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["metrics", "--pairs", scenes, "--fused", fused, "--out", tmp_path / "scores.csv"]
    assert hsds(*words, "--json") == 0
    means = json.loads(capsys.readouterr().out)
    with (tmp_path / "scores.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["scene"] for row in rows] == sorted(path.name for path in scenes.iterdir())
    assert means["Qabf"] == pytest.approx(sum(float(row["Qabf"]) for row in rows) / 2)
    (scenes / "bad").mkdir()
    assert hsds(*words) == 1
    captured = capsys.readouterr()
    assert "bad: skipped: no image named under.*" in captured.err and "1 of 3 scenes" in captured.err
    assert f"{means['Qabf']:.4f}" in captured.out
    with (tmp_path / "scores.csv").open(newline="") as stream:
        assert list(csv.DictReader(stream)) == rows


def test_metrics_of_a_folder_without_any_good_scene_write_nothing(scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert hsds("metrics", "--pairs", scenes, "--fused", tmp_path / "empty", "--out", tmp_path / "scores.csv") == 2
    assert not (tmp_path / "scores.csv").exists()


def test_search_then_train_then_fuse_through_files_alone(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    short = ["--set", "width=0.0625", "--set", "steps_per_epoch=2", "--set", "batch_size=1"]
    assert hsds("search", "--preset", "tiny", "--data", "embedded", "--out", run, "--epochs", "2", *short) == 0
    assert {path.name for path in run.glob("[a-z]*")} == {
        "genotype.json", "loss_weights.json", "history.jsonl", "provenance.json"
    }  # fmt: skip
    skip = 'skip_terms=["perceptual_ref","perceptual_under","perceptual_over"]'
    training = ["--set", "steps_per_epoch=2", "--set", "recalibration_batches=1", "--set", skip]
    assert hsds("train", "--run", run, "--preset", "tiny", "--epochs", "1", *training) == 0
    scene = sorted(scenes.iterdir())[0]
    words = ["fuse", scene / "under.png", scene / "over.jpg", "-o", tmp_path / "out.png", "--model", run]
    assert hsds(*words) == 0 and (tmp_path / "out.png").is_file()
    finished = {path.name: path.read_bytes() for path in run.iterdir()}
    again = ["train", "--run", run, "--preset", "tiny", "--epochs", "1", "--seed", "3", *training]
    assert hsds(*again) == 2
    assert "already holds a trained model; --restart (resume=False) trains another one" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in run.iterdir()} == finished
    assert hsds(*again, "--restart") == 0 and not list(run.glob("*partial*"))
    assert (
        file_hash(run / "model.safetensors")
        == json.loads((run / "training_provenance.json").read_text())["model_sha256"]
    )
    assert (run / "model.safetensors").read_bytes() != finished["model.safetensors"]
    save_model(load_model(run, device="cpu"), run / "half.safetensors", epochs=(1, 60))
    assert hsds(*words[:-1], run / "half.safetensors") == 0
    assert "half.safetensors is half-trained: 1 of 60 epochs" in capsys.readouterr().err
    assert json.loads((run / "training_provenance.json").read_text())["config"]["data"] == "embedded"


def test_train_takes_a_genotype_that_no_search_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    run.mkdir()
    words = ["train", "--run", run, "--preset", "tiny", "--epochs", "1", "--set", "steps_per_epoch=1"]
    words += ["--set", "recalibration_batches=1", "--set", 'only_terms=["mse_ref"]']
    assert hsds(*words) == 2 and "genotype.json" in capsys.readouterr().err
    for name in ("genotype.json", "loss_weights.json"):
        shutil.copyfile(MODELS / "released" / name, run / name)
    assert hsds(*words) == 0 and (run / "model.safetensors").is_file()
    origin = json.loads((run / "training_provenance.json").read_text())
    assert origin["config"]["data"] == preset("tiny").train.data
    assert origin["genotype"] == json.loads((MODELS / "released" / "genotype.json").read_text())


@pytest.mark.parametrize(
    "content", ["{}", "null", "[]", '{"config": 3}', '{"config": {}}', "[" * 100_000, '{"a": NaN}'], ids=str.__len__
)
def test_train_asks_for_data_where_the_provenance_of_the_search_is_odd(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("genotype.json", "loss_weights.json"):
        shutil.copyfile(MODELS / "released" / name, tmp_path / name)
    (tmp_path / "provenance.json").write_text(content)
    assert hsds("train", "--run", tmp_path, "--preset", "tiny") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / 'provenance.json'} ") and len(error.splitlines()) == 1
    assert ("give --data" in error) == (len(content) < 20 and "NaN" not in content)


def test_check_reports_every_line_ok(capsys: pytest.CaptureFixture[str]) -> None:
    code = hsds("check")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 10 and all(line.startswith("[OK]") for line in lines), lines
    assert code == 0


@pytest.mark.parametrize("words", [[], ["metrics"], ["evaluate"]])
def test_help_answers_without_importing_torch(words: list[str]) -> None:
    call = f"import sys; sys.argv = {['hsds', *words, '--help']}\ntry:\n import hsds_lib.cli as c; c.main()\n"
    code = call + "except SystemExit: pass\n"
    done = subprocess.run(
        [sys.executable, "-c", code + "assert 'torch' not in sys.modules"],
        capture_output=True, text=True, env=os.environ | {"COLUMNS": "100"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    commands = ("check", "fuse", "metrics", "search", "train", "report", "sweep")
    expected = commands if not words else ("--pairs", "--workers")
    assert all(word in done.stdout for word in expected)


def test_the_help_of_evaluate_names_all_that_is_built_in() -> None:
    from hsds_lib.evaluation.methods import BUILT_IN as NAMES
    from hsds_lib.reports.evaluate import _BUILT_IN as BUILT_IN

    assert BUILT_IN.split(",") == list(NAMES)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("report", "--out", ""), "--out is empty"),
        (("site", "--out="), "--out is empty"),
        (("slides", ""), "an argument is empty"),
        (("slides", "a.ipynb", "-o", ""), "-o is empty"),
        (("sweep", "grid.json", "--out", ""), "--out is empty"),
        (("evaluate", "--pairs", "", "--out", "x"), "--pairs is empty"),
        (("fuse", "a.png", "b.png", "-o", ""), "-o is empty"),
        (("search", "--out", ""), "--out is empty"),
    ],
)
def test_an_empty_name_is_not_the_present_folder(
    words: tuple[str, ...],
    what: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert hsds(*words) == 2
    assert capsys.readouterr().err == f"error: {what}; give a value, or leave it out\n"
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_fifteen_hundred_folders_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [{"cell_type": "code", "source": "1", "execution_count": 1, "outputs": [], "metadata": {}, "id": "a"}]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "01_toy.ipynb").write_text(json.dumps(notebook))
    assert hsds("slides", tmp_path / "01_toy.ipynb", "-o", str(tmp_path) + 1500 * "/a") == 2
    assert capsys.readouterr().err == "error: a name or file given is nested too deeply\n"
    assert [path.name for path in tmp_path.iterdir()] == ["01_toy.ipynb"]
