"""Metrics of files and folders: the same as of arrays, no scene stops the others, CSV whole or not at all."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hsds_lib.evaluation.metrics import METRICS, all_metrics
from hsds_lib.evaluation.scoring import mean_scores, score_files, score_folder, score_table, write_scores
from hsds_lib.images.datasets import DataError, ImageError

MakeExposures = Callable[..., tuple[np.ndarray, ...]]


@pytest.fixture
def folder(make_exposures: MakeExposures, tmp_path: Path) -> Path:
    """Give a folder with ``pairs`` of two scenes, the second with a reference, and ``fused`` images of both."""
    for number, name in enumerate(("attic", "barn")):
        images = make_exposures(50, 46, seed=number)
        paths = [tmp_path / "pairs" / name / f"{role}.png" for role in ("under", "over", "ref")]
        paths.insert(2, tmp_path / "fused" / f"{name}.png")
        for path, image in zip(paths[: 3 + number], images, strict=False):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return tmp_path


def test_files_score_as_their_pixels(folder: Path, make_exposures: MakeExposures) -> None:
    scene, fused = folder / "pairs" / "barn", folder / "fused" / "barn.png"
    scores = score_files(scene / "under.png", scene / "over.png", fused, scene / "ref.png")
    assert scores == all_metrics(*make_exposures(50, 46, seed=1))


def test_files_of_different_sizes_are_refused(folder: Path) -> None:
    scene = folder / "pairs" / "barn"
    small = Image.open(scene / "under.png").crop((0, 0, 20, 20))
    small.save(folder / "small.png")
    with pytest.raises(ValueError, match="fused 20 x 20 pixels"):
        score_files(scene / "under.png", scene / "over.png", folder / "small.png")


def test_a_folder_is_scored_scene_by_scene_with_references_where_there_are_some(
    folder: Path, make_exposures: MakeExposures
) -> None:
    attic, barn = score_folder(folder / "pairs", folder / "fused")
    assert (attic.name, barn.name) == ("attic", "barn")
    assert attic.scores == all_metrics(*make_exposures(50, 46, seed=0)[:3])
    assert barn.scores == all_metrics(*make_exposures(50, 46, seed=1))


@pytest.mark.slow  # each process imports torch
def test_several_processes_give_the_same_in_the_same_order(folder: Path) -> None:
    (folder / "pairs" / "bad").mkdir()
    alone = list(score_folder(folder / "pairs", folder / "fused"))
    together = list(score_folder(folder / "pairs", folder / "fused", workers=2))
    assert [scene.name for scene in together] == ["attic", "bad", "barn"]
    for one, other in zip(alone, together, strict=True):
        assert one == other


def test_bad_scenes_are_reported_and_the_others_go_on(folder: Path, make_exposures: MakeExposures) -> None:
    pairs, fused = folder / "pairs", folder / "fused"
    for name in ("no-over", "no-fused", "cmyk", "sizes"):
        (pairs / name).mkdir()
        for role in ("under", "over"):
            Image.fromarray(make_exposures(50, 46)[0]).save(pairs / name / f"{role}.png")
    (pairs / "no-over" / "over.png").unlink()
    Image.new("CMYK", (46, 50)).save(fused / "cmyk.jpg")
    Image.fromarray(np.zeros((50, 45, 3), dtype=np.uint8)).save(fused / "sizes.png")
    problems = {scene.name: scene.problem for scene in score_folder(pairs, fused)}
    assert [name for name, problem in problems.items() if problem is None] == ["attic", "barn"]
    assert "no image named over.*" in str(problems["no-over"])
    assert "no image named no-fused.*" in str(problems["no-fused"])
    assert "CMYK" in str(problems["cmyk"])
    assert "different sizes" in str(problems["sizes"])
    assert all("\n" not in str(problem) for problem in problems.values())


def test_folders_that_are_none_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="holds no scenes"):
        next(score_folder(folder / "gone", folder / "fused"))
    with pytest.raises(ImageError, match="gone' is not a folder"):
        next(score_folder(folder / "pairs", folder / "gone"))
    with pytest.raises(ValueError, match="workers is 0"):
        next(score_folder(folder / "pairs", folder / "fused", workers=0))


def test_means_leave_out_scenes_without_a_value() -> None:
    rows = [{"SD": 1.0, "CC": None, "VIF": None}, {"SD": 2.0, "CC": 0.5, "VIF": None}, {"SD": 6.0}]
    assert mean_scores(rows) == {"SD": 3.0, "VIF": None, "CC": 0.5}
    assert mean_scores([]) == {}


def test_csv_has_a_row_per_scene_with_all_digits_and_empty_cells(folder: Path) -> None:
    table = {scene.name: scene.scores for scene in score_folder(folder / "pairs", folder / "fused")}
    write_scores(folder / "new" / "scores.csv", table)
    with (folder / "new" / "scores.csv").open(newline="") as stream:
        rows = {row.pop("scene"): row for row in csv.DictReader(stream)}
    assert list(rows) == ["attic", "barn"] and list(rows["barn"]) == list(METRICS)
    for name, row in rows.items():
        for metric, cell in row.items():
            value = table[name].get(metric)
            assert cell == ("" if value is None else repr(value))
    assert rows["attic"]["CC"] == "" and rows["barn"]["CC"] != "" and rows["barn"]["TMQI"] == ""


def test_csv_that_cannot_be_finished_leaves_the_old_one(folder: Path) -> None:
    path = folder / "scores.csv"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_scores(path, {"attic": {"SD": 1.0}, "barn\ud800": {"SD": 2.0}})
    assert path.read_text() == "old" and not list(folder.glob(".scores*"))


def test_the_table_shows_both_forms_and_leaves_nothing_out(make_exposures: MakeExposures) -> None:
    scores = all_metrics(*make_exposures(180))
    lines = {line.split()[0]: line.split()[1:] for line in score_table(scores).splitlines()[1:]}
    assert set(lines) == set(METRICS) - {"SD_double", "VIF_double", "TMQI_255"}
    assert lines["TMQI"] == [f"{scores['TMQI']:.4f}", f"{scores['TMQI_255']:.4f}"]
    assert lines["EN"] == [f"{scores['EN']:.4f}"] * 2
    assert lines["PSNR"] == [f"{scores['PSNR']:.4f}"]
    assert len({len(line) for line in score_table(scores).splitlines()}) == 1
