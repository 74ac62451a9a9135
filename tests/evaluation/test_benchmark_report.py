"""The folder that an evaluation leaves: one page that needs nothing else, figures, crops where methods disagree."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup

from hsds_lib.evaluation.benchmark import Plan, run_benchmark
from hsds_lib.evaluation.methods import BenchmarkError, Method, select_scenes
from hsds_lib.evaluation.picture import rgb2gray
from hsds_lib.reports.evaluate import _listed
from hsds_lib.reports.evaluation_figures import (
    Crop,
    choose_crops,
    evaluation_wall,
    looks,
    most_different,
    read_crop,
    scores_by_method,
    scores_by_scene,
)
from hsds_lib.reports.evaluation_page import evaluation_text
from hsds_lib.runtime import provenance
from tests.command import hsds
from tests.offline import loads_from_elsewhere

ODD = "_b & <b>c $^$"  # no formula, no tag, and not hidden in a legend


def words(contest: Path) -> list[str | Path]:
    """The command that evaluates the contest, with an odd name."""
    return [
        *("evaluate", "--pairs", contest / "pairs", "--out", contest / "results", "--builtin", "average"),
        *("--method", f"near={contest / 'near'}", "--method", f"{ODD}={contest / 'far'}"),
    ]


@pytest.fixture(scope="module")
def evaluated(contest_once: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Give a folder with the contest and its results, and what the command printed; the figures take seconds."""
    folder, printed = tmp_path_factory.mktemp("evaluated") / "contest", StringIO()
    shutil.copytree(contest_once, folder)
    with redirect_stdout(printed):
        assert hsds(*words(folder), "--gallery", "barn", "--crop", "barn=3,4,20,15", "--seed", "5") == 0
    return folder, printed.getvalue()


def page_of(contest: Path) -> str:
    return (contest / "results" / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_command_writes_the_whole_folder_and_the_page_needs_nothing_else(evaluated: tuple[Path, str]) -> None:
    contest, printed = evaluated
    assert "| near |" in printed
    results = contest / "results"
    names = {path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file()}
    assert {"scores.csv", "means.csv", "differences.csv", "index.html", "provenance.json"} <= names
    made = ("means", "as_printed", "ranks", "differences")
    assert {f"tables/{name}.{end}" for name in made for end in ("tex", "md", "html")} <= names
    assert {f"plots/{name}.{end}" for name in ("methods", "scenes-EN", "intervals") for end in ("png", "svg")} <= names
    assert "gallery/barn.png" in names and "gallery/attic.png" not in names
    assert not any("/." in name or name.startswith(".") for name in names)  # no half-written file is left

    page = page_of(contest)
    words_only = re.sub(r"base64,[^\"]*", "", page)
    assert loads_from_elsewhere(page) == [] and "http" not in words_only and "://" not in words_only
    soup = BeautifulSoup(page, "html.parser")
    pictures = soup.find_all("img")
    assert len(pictures) >= 8 and all(len(tag["alt"]) > 20 for tag in pictures)
    assert "a at x 3, y 4, 20 x 15 pixels" in pictures[-1]["alt"] and not soup.find_all(["script", "b"])
    assert soup.find("th", string=ODD) is not None

    origin = json.loads((results / "provenance.json").read_text())
    assert origin["seed"] == 5 and origin["baseline"] == "near" and origin["command"].startswith("hsds evaluate")
    assert origin["scenes"] == ["attic", "barn", "cellar"] and len(origin["sha256"]["fused"]["near"]["barn"]) == 64
    assert set(origin["files"]) <= names


@pytest.mark.slow
def test_a_later_evaluation_draws_the_same_again_and_leaves_no_figure_of_the_earlier_one(
    evaluated: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contest = shutil.copytree(evaluated[0], tmp_path / "contest")
    drawn = contest / "results" / "plots"
    first = {path.name: path.read_bytes() for path in drawn.iterdir()}
    (contest / "results" / "gallery" / "mine.txt").write_text("kept")
    (contest / "only.txt").write_text("# chosen\nbarn\ncellar\n\nattic  # dark\n")
    monkeypatch.setattr("hsds_lib.reports.evaluation_page.RANKED", ("EN",))  # fewer figures than before
    again = [*words(contest), "--gallery", "attic", "--scenes", contest / "only.txt", "--seed", "5"]
    assert hsds(*again) == 0
    assert sorted(path.name for path in (contest / "results" / "gallery").iterdir()) == ["attic.png", "mine.txt"]
    same = {f"{name}.{end}" for name in ("scenes-EN", "intervals") for end in ("png", "svg")}
    assert {path.name for path in drawn.iterdir()} == {*same, "methods.png", "methods.svg"} < set(first)
    assert all((drawn / name).read_bytes() == first[name] for name in same)


def test_scenes_of_a_file_are_names_a_line_with_comments(contest: Path) -> None:
    (contest / "only.txt").write_text("# chosen\ncellar\n\nattic  # dark\n")
    assert _listed(contest / "only.txt") == ["cellar", "attic"]
    (contest / "none.txt").write_text("# chosen\n\n")
    with pytest.raises(BenchmarkError, match="names no scene"):
        _listed(contest / "none.txt")


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--method", "gone=nowhere"], "gone: nowhere is not a folder"),
        (["--method", "near"], "--method 'near' is not NAME=VALUE"),
        (["--method", "../x=near"], "a name has no slash"),
        (["--builtin", "Mertens"], "--builtin 'Mertens' is unknown; choose among average, mertens, default"),
        (["--model", "ours=nowhere"], "no trained model at nowhere"),
        (["--model", "average=nowhere", "--builtin", "average"], "no trained model at nowhere"),
        (["--baseline", "far"], "baseline 'far' is none of the methods"),
        (["--split", "valid"], "split 'valid' is not known"),
        (["--scenes", "no.txt"], "--scenes no.txt is not a file"),
        (["--gallery", "roof"], "scene 'roof' of --gallery or --crop is none of those evaluated"),
        (["--crop", "barn=1,2,3"], "--crop 'barn=1,2,3' is not SCENE=X,Y,W,H"),
        (["--crop", "barn=50,0,20,20"], "give one or two parts inside its 60 x 56 pixels"),
        (["--peers"], "--peers was given, but scene 'attic' is not one of the 40 scenes"),
        (["--workers", "0"], "workers is 0"),
    ],
)
def test_a_mistake_is_said_before_anything_is_written(
    contest: Path,
    more: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(contest)
    assert hsds("evaluate", "--pairs", "pairs", "--out", "results", "--method", f"one={contest / 'near'}", *more) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.startswith("error: ") and not (contest / "results").exists()


def test_one_method_alone_is_evaluated_without_differences(contest: Path) -> None:
    plan = Plan(select_scenes(str(contest / "pairs")), (Method("one", contest / "near"),))
    outcome = run_benchmark(plan, contest / "results")
    assert outcome.differences == [] and outcome.ranks.loc["one", "mean rank"] == 1
    page = evaluation_text(outcome, [], {**provenance(), "command": "hsds evaluate"})
    assert "How sure" not in page and "Means and ranks" in page


def test_crops_lie_where_pictures_disagree_and_do_not_overlap() -> None:
    generator = np.random.default_rng(0)
    plain = generator.integers(100, 104, (90, 120, 3)).astype(np.uint8)
    other = plain.copy()
    other[10:30, 80:110] += 60
    other[60:80, 5:30] += 30
    first, second = choose_crops([plain, other])
    assert np.std([rgb2gray(first.of(picture)) for picture in (plain, other)], axis=0).mean() > 25
    assert first.x > 70 and first.y < 20 and second.x < 20 and second.y > 50
    assert (first.width, first.height) == (second.width, second.height)
    apart = first.x >= second.x + second.width or second.x >= first.x + first.width
    assert apart or first.y >= second.y + second.height or second.y >= first.y + first.height


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (17, 16), (64, 48)])
def test_crops_are_inside_pictures_of_any_size(size: tuple[int, int]) -> None:
    pictures = [np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8) for seed in range(3)]
    for crop in choose_crops(pictures):
        assert crop.x >= 0 and crop.x + crop.width <= size[1] and crop.y >= 0 and crop.y + crop.height <= size[0]
        assert crop.of(pictures[0]).shape == (crop.height, crop.width, 3)


def test_crops_are_read_as_they_are_written() -> None:
    assert read_crop("a=b=1,2,3,4") == ("a=b", Crop(1, 2, 3, 4))
    for text in ("1,2,3,4", "=1,2,3,4", "a=-1,2,3,4", "a=1,2,1,4", "a=x,2,3,4"):
        with pytest.raises(ValueError, match="is not SCENE=X,Y,W,H"):
            read_crop(text)


def test_the_scenes_shown_are_those_with_the_largest_spread() -> None:
    scores = {
        "a": {"s": {"MS-SSIM": 0.9}, "t": {"MS-SSIM": 0.9}, "u": {"MS-SSIM": None}},
        "b": {"s": {"MS-SSIM": 0.8}, "t": {"MS-SSIM": 0.2}, "u": {"MS-SSIM": 0.5}},
    }
    assert most_different(scores, ["a", "b"], count=2) == ["t", "s"]


def test_no_two_methods_look_the_same_and_recorded_ones_are_hollow() -> None:
    found = looks([*(f"m{number}" for number in range(20)), "peer (recorded)"])
    assert len({(look.colour, look.marker) for look in found.values()}) == 21
    assert [name for name, look in found.items() if look.hollow] == ["peer (recorded)"]


def test_every_dot_is_a_score_and_the_bar_is_the_mean() -> None:
    scores = {"a": {"s": {"EN": 7.0}, "t": {"EN": 6.0}}, "b": {"s": {"EN": 5.0}, "t": {"EN": None}}}
    figure, alt = scores_by_method(scores, ["EN"])
    lines = figure.axes[0].get_lines()
    assert sorted(lines[0].get_xdata()) == [6.0, 7.0] and set(lines[1].get_xdata()) == {6.5}
    assert list(lines[2].get_xdata()) == [5.0] and "a 6.500, b 5.000" in alt


def test_the_wall_shows_the_pixels_of_each_picture_and_of_each_crop() -> None:
    generator = np.random.default_rng(1)
    pictures = {name: generator.integers(0, 256, (40, 60, 3)).astype(np.uint8) for name in ("under", "over", "$a_b")}
    crops = [Crop(3, 5, 12, 9), Crop(30, 20, 12, 9)]
    figure, alt = evaluation_wall(pictures, {"$a_b": "EN 7"}, crops, title="hall")
    shown = [axes.get_images()[0].get_array() for axes in figure.axes]
    expected = [part for picture in pictures.values() for part in (picture, *(crop.of(picture) for crop in crops))]
    assert all(np.array_equal(one, other) for one, other in zip(shown, expected, strict=True))
    assert "$a_b (EN 7)" in alt and "2 parts" in alt
    assert {text.get_text() for text in figure.texts} >= {"under", "over", "$a_b", "EN 7"}


def test_the_page_escapes_what_it_is_given(contest: Path) -> None:
    plan = Plan(select_scenes(str(contest / "pairs")), (Method(ODD, contest / "near"), Method("far", contest / "far")))
    outcome = run_benchmark(plan, contest / "results")
    figure = {"part": "methods", "title": ODD, "alt": f'"{ODD}', "data": "data:,", "width": 5}
    page = evaluation_text(outcome, [figure], {**provenance(), "command": f"hsds {ODD}"})
    soup = BeautifulSoup(page, "html.parser")
    assert not soup.find_all(["script", "b"]) and soup.find("img")["alt"] == f'"{ODD}'
    assert soup.find("th", string=ODD) is not None and soup.find("td", string=f"hsds {ODD}") is not None


@pytest.mark.parametrize("name", ["_hidden", "$open", r"$\frac$", "a b"])
def test_every_method_is_named_in_the_figure_of_scenes(name: str) -> None:
    figure, _ = scores_by_scene({name: {"s": {"EN": 7.0}}, "b": {"s": {"EN": 5.0}}}, "EN", order="b")
    figure.canvas.draw()
    assert {text.get_text().strip() for text in figure.legends[0].get_texts()} == {name, "b"}
