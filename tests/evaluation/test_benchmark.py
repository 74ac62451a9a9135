"""An evaluation refuses what is not comparable before it computes, and keeps what it computed."""

from __future__ import annotations

import ast
import csv
import inspect
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hsds_lib.evaluation import scoring
from hsds_lib.evaluation.benchmark import Plan, run_benchmark, write_results
from hsds_lib.evaluation.methods import BenchmarkError, Method, built_ins, rounded_average, select_scenes
from hsds_lib.evaluation.metrics import METRICS
from hsds_lib.evaluation.scoring import score_files, score_folder
from hsds_lib.images.datasets import DataError, split_names
from hsds_lib.images.io import read_rgb
from hsds_lib.outputs import OutputError
from hsds_lib.runs import sources


def plan_of(contest: Path, *methods: str, **changes: object) -> Plan:
    given = tuple(Method(name, contest / name) for name in methods or ("near", "far"))
    settings = {"methods": (*given, *changes.pop("built_in", ())), "draws": 200} | changes  # type: ignore[misc]
    return Plan(select_scenes(str(contest / "pairs")), **settings)  # type: ignore[arg-type]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the fused files that metrics were really computed of."""
    scored: list[str] = []

    def counting(under: Path, over: Path, fused: Path, ref: Path | None = None) -> dict[str, float | None]:
        scored.append(f"{fused.parent.name}/{fused.stem}")
        return score_files(under, over, fused, ref)

    monkeypatch.setattr(scoring, "score_files", counting)
    return scored


def problems(contest: Path, *methods: str) -> list[str]:
    """Lines of the list of problems; nothing may have been written."""
    with pytest.raises(BenchmarkError, match="nothing was scored") as caught:
        run_benchmark(plan_of(contest, *methods), contest / "results")
    return [line[2:] for line in str(caught.value).splitlines()[1:]]


def test_scores_are_those_of_scoring_a_folder(contest: Path) -> None:
    outcome = run_benchmark(plan_of(contest), contest / "results")
    for method in ("near", "far"):
        expected = {scene.name: scene.scores for scene in score_folder(contest / "pairs", contest / method)}
        assert outcome.scores[method] == expected
    assert outcome.scores["near"]["barn"]["CC"] is not None and outcome.scores["near"]["attic"]["CC"] is None


def test_csv_has_a_row_for_each_method_and_scene_with_all_digits(contest: Path) -> None:
    outcome = run_benchmark(plan_of(contest), contest / "results")
    write_results(outcome, contest / "results")
    with (contest / "results" / "scores.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["method"], row["scene"]) for row in rows] == [
        (method, scene) for method in ("near", "far") for scene in ("attic", "barn", "cellar")
    ]
    for row in rows:
        for metric in METRICS:
            value = outcome.scores[row["method"]][row["scene"]][metric]
            assert row[metric] == ("" if value is None else repr(value))
    with (contest / "results" / "means.csv").open(newline="") as stream:
        means = {row["method"]: row for row in csv.DictReader(stream)}
    far = [float(row["EN"]) for row in rows if row["method"] == "far"]
    assert float(means["far"]["EN"]) == pytest.approx(np.mean(far))
    assert means["near"]["scenes"] == "3" and means["near"]["CC"] == repr(outcome.scores["near"]["barn"]["CC"])


def test_all_problems_are_listed_before_anything_is_computed(contest: Path, counted: list[str]) -> None:
    (contest / "near" / "attic.png").rename(contest / "near" / "antic.png")
    Image.fromarray(np.zeros((20, 30, 3), dtype=np.uint8)).save(contest / "far" / "barn.png")
    (contest / "far" / "cellar.png").write_bytes((contest / "far" / "cellar.png").read_bytes()[:300])
    found = problems(contest)
    assert found[:2] == ["near lacks pictures of 1 of 3 scenes: attic", "near has pictures of no scene: antic.png"]
    assert found[2] == "far, scene barn is 30 x 20 pixels, and under is 60 x 56"
    assert "far, scene cellar" in found[3] and "damaged or cut short" in found[3] and len(found) == 4
    assert counted == [] and not (contest / "results").exists()


def test_sources_of_different_sizes_are_a_problem(contest: Path) -> None:
    Image.fromarray(np.zeros((20, 30, 3), dtype=np.uint8)).save(contest / "pairs" / "barn" / "ref.png")
    assert problems(contest) == ["scene barn: ref is 30 x 20 pixels, and under is 60 x 56"]


def test_one_file_under_two_methods_is_a_problem(contest: Path, counted: list[str]) -> None:
    (contest / "far" / "barn.png").write_bytes((contest / "near" / "barn.png").read_bytes())
    assert problems(contest) == ["near and far hold the same files for 1 of 3 scenes: barn"]
    assert counted == []


def test_one_file_for_two_scenes_is_a_problem(contest: Path) -> None:
    (contest / "far" / "barn.png").write_bytes((contest / "far" / "attic.png").read_bytes())
    assert problems(contest) == ["far holds one and the same file for attic, barn"]


def test_pictures_of_scenes_that_were_not_selected_may_lie_about(contest: Path) -> None:
    selection = select_scenes(str(contest / "pairs"), only=["barn"])
    plan = Plan(selection, (Method("near", contest / "near"), Method("far", contest / "far")), draws=100)
    outcome = run_benchmark(plan, contest / "results")
    assert list(outcome.scores["near"]) == ["barn"] and outcome.differences[0].low is None


def test_a_second_run_computes_nothing_and_gives_the_same(contest: Path, counted: list[str]) -> None:
    first = run_benchmark(plan_of(contest), contest / "results")
    assert len(counted) == 6
    second = run_benchmark(plan_of(contest), contest / "results")
    assert len(counted) == 6 and second == first


def test_only_a_changed_picture_is_computed_again(contest: Path, counted: list[str]) -> None:
    run_benchmark(plan_of(contest), contest / "results")
    counted.clear()
    pixels = np.array(Image.open(contest / "far" / "barn.png"))
    Image.fromarray(255 - pixels).save(contest / "far" / "barn.png")
    run_benchmark(plan_of(contest), contest / "results")
    assert counted == ["far/barn"]
    counted.clear()
    (contest / "pairs" / "cellar" / "ref.png").write_bytes((contest / "near" / "cellar.png").read_bytes())
    outcome = run_benchmark(plan_of(contest), contest / "results")
    assert counted == ["near/cellar", "far/cellar"] and outcome.scores["near"]["cellar"]["CC"] == pytest.approx(1)


def test_another_version_of_the_metrics_computes_all_again(
    contest: Path, counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_benchmark(plan_of(contest), contest / "results")
    monkeypatch.setattr("hsds_lib.evaluation.benchmark.metric_version", lambda: "another")
    run_benchmark(plan_of(contest), contest / "results")
    assert len(counted) == 12


def test_an_interrupted_run_goes_on_where_it_stopped(
    contest: Path, counted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = scoring.score_files

    def interrupted(*paths: Path) -> dict[str, float | None]:
        if len(counted) == 4:
            raise KeyboardInterrupt
        return counting(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(scoring, "score_files", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_benchmark(plan_of(contest), contest / "results")
    outcome = run_benchmark(plan_of(contest), contest / "results")
    assert counted[4:] == ["far/barn", "far/cellar"]
    assert outcome == run_benchmark(plan_of(contest), contest / "fresh")


def test_a_damaged_file_of_the_cache_is_computed_again(contest: Path, counted: list[str]) -> None:
    first = run_benchmark(plan_of(contest), contest / "results")
    kept = sorted((contest / "results" / "cache").iterdir())
    for damage, path in zip(("", '{"scores": {}}', "[1]"), kept, strict=False):
        path.write_text(damage)
    assert run_benchmark(plan_of(contest), contest / "results") == first and len(counted) == 9


def test_scoring_gets_as_many_processes_as_were_asked_for(contest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That several give the same as one is held where folders are scored; here it would import torch twice more."""
    asked = []

    def counting(work: Callable, items: list, *, workers: int) -> Iterator:
        asked.append((len(items), workers))
        assert getattr(import_module(work.func.__module__), work.func.__name__) is work.func  # others find it
        return map(work, items)

    monkeypatch.setattr("hsds_lib.evaluation.benchmark.in_processes", counting)
    run_benchmark(plan_of(contest, workers=2), contest / "results")
    assert asked == [(6, 2)]


def test_every_file_and_package_that_a_score_is_computed_by_is_in_its_version() -> None:
    """All imports are followed, also of names within packages; of other packages those that compute are named."""
    found = sources.sources_of(["hsds_lib.evaluation.metrics", "hsds_lib.images.io"])
    assert {f"hsds_lib.{name}" for name in ("evaluation.metrics", "losses.mef_ssim", "images.io")} <= set(found)
    assert {Path(inspect.getfile(metric.compute)) for metric in METRICS.values()} <= set(found.values())
    assert not {f"hsds_lib.{name}" for name in ("evaluation.tables", "evaluation.benchmark", "cli")} & set(found)
    computing = ["hsds_lib.evaluation.methods", "hsds_lib.search.run", "hsds_lib.training.train"]
    trees = [ast.parse(path.read_text()) for path in sources.sources_of(computing).values()]
    modules = {name.partition(".")[0] for tree in trees for name in imported(tree)}
    # What kornia_rs and pillow_heif decode, TIFF of 16 bits and HEIC, is the same bits in every version.
    without_digits = {"hsds_lib", "pydantic", "tqdm", "safetensors", "filelock", "pooch", "kornia_rs", "pillow_heif"}
    others = modules - set(sys.stdlib_module_names) - without_digits
    packages = {"PIL": "pillow", "cv2": "opencv-python-headless", "skimage": "scikit-image"}
    assert {packages.get(name, name) for name in others} <= set(sources.COMPUTING)


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)


def test_built_in_methods_are_fused_once_and_again_when_a_source_changes(contest: Path) -> None:
    plan = plan_of(contest, "near", built_in=built_ins(["average", "mertens"]))
    outcome = run_benchmark(plan, contest / "results")
    assert list(outcome.scores) == ["near", "average", "mertens"] and outcome.plan.chosen_baseline == "mertens"
    made = {path: path.stat().st_mtime_ns for path in (contest / "results" / "fused").rglob("*.png")}
    assert len(made) == 6
    Image.fromarray(np.zeros((56, 60, 3), dtype=np.uint8)).save(contest / "pairs" / "attic" / "under.png")
    run_benchmark(plan, contest / "results")
    changed = {path.stem for path, time in made.items() if path.stat().st_mtime_ns != time}
    assert changed == {"attic"}


def test_a_built_in_picture_that_was_spoiled_is_made_again(contest: Path) -> None:
    plan = plan_of(contest, "near", built_in=built_ins(["average"]))
    first = run_benchmark(plan, contest / "results")
    (contest / "results" / "fused" / "average" / "barn.png").write_bytes(b"spoiled")
    assert run_benchmark(plan, contest / "results") == first


def test_the_average_is_in_whole_levels_with_halves_rounded_up(contest: Path) -> None:
    scene = contest / "pairs" / "barn"
    under, over = (np.array(Image.open(scene / f"{role}.png")).astype(int) for role in ("under", "over"))
    fused = rounded_average(read_rgb(scene / "under.png"), read_rgb(scene / "over.png"))
    assert np.array_equal((fused * 255).round().permute(1, 2, 0).numpy().astype(int), (under + over + 1) // 2)
    assert ((under + over) % 2).any()


def test_a_trained_model_takes_part_under_its_name(contest: Path) -> None:
    from hsds_lib.network.model_file import MODELS

    plan = plan_of(contest, "near", built_in=built_ins([], [("ours", str(MODELS / "default"))]))
    outcome = run_benchmark(plan, contest / "results")
    assert list(outcome.scores) == ["near", "ours"] and "sha256" in outcome.origins["ours"]["origin"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"methods": ()}, "there is no method to evaluate"),
        ({"methods": (Method("a", Path("x")), Method("a", Path("y")))}, "two methods are called 'a'"),
        ({"baseline": "mertens"}, "baseline 'mertens' is none of the methods; choose among near, far"),
        ({"workers": 0}, "workers is 0"),
        ({"recorded": True}, "--peers was given, but scene 'attic' is not one of the 40 scenes"),
    ],
)
def test_a_plan_that_cannot_work_is_refused(contest: Path, changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(BenchmarkError, match=sentence) as caught:
        run_benchmark(plan_of(contest, **changes), contest / "results")
    assert len(str(caught.value).splitlines()) == 1 and not (contest / "results").exists()


def test_a_folder_with_other_things_is_left_alone(contest: Path) -> None:
    (contest / "thesis").mkdir()
    (contest / "thesis" / "scores.csv").write_text("mine")
    for out in (contest / "thesis", contest / "new" / ".." / "thesis"):
        with pytest.raises(BenchmarkError, match="holds other files"):
            run_benchmark(plan_of(contest), out)
    assert [path.read_text() for path in (contest / "thesis").iterdir()] == ["mine"]


@pytest.mark.parametrize("out", ["pairs", "pairs/barn", ".", "near", "far/..", "link", "run"])
def test_results_lie_over_no_input(contest: Path, out: str) -> None:
    (contest / "link").symlink_to(contest / "near")
    (contest / "run").mkdir()
    for folder in ("pairs", "pairs/barn", ".", "near", "run"):  # even where an evaluation was made once
        (contest / folder / "written-by-hsds-evaluate.txt").touch()
    (contest / "run" / "model.safetensors").touch()
    before = {path: path.stat().st_mtime_ns for path in contest.rglob("*")}
    plan = plan_of(contest, "near", built_in=(Method("ours", model=str(contest / "run")),))
    with pytest.raises(OutputError, match="is or holds the input"):
        run_benchmark(plan, contest / out)
    assert {path: path.stat().st_mtime_ns for path in contest.rglob("*")} == before


def test_splits_of_mefb_are_those_of_the_split_file_and_never_test_unasked(tmp_path: Path) -> None:
    splits = split_names("mefb")
    names = [*splits["train"][:2], *splits["val"][:2], *splits["test"][:2]]
    for name in names:
        for role in ("under", "over"):
            (tmp_path / "mefb" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "mefb" / name / f"{role}.png").touch()
    folder = str(tmp_path / "mefb")
    assert select_scenes(folder).names == select_scenes(folder, split="val").names == sorted(splits["val"][:2])
    assert select_scenes(folder, split="train").names == sorted(splits["train"][:2])
    assert select_scenes(folder, split="all").names == sorted(names[:4])
    assert set(splits["test"]) <= select_scenes(folder, split="all").others
    with pytest.raises(BenchmarkError, match="split 'valid' is not known"):
        select_scenes(folder, split="valid")
    with pytest.raises(BenchmarkError, match="has no scene nowhere; it has"):
        select_scenes(folder, only=["nowhere"])


def test_a_scene_of_one_name_in_train_and_test_is_refused(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for role in ("under", "over"):
            (tmp_path / part / role).mkdir(parents=True)
            (tmp_path / part / role / "001.png").touch()
    with pytest.raises(DataError, match="scene '001' in train and in test"):
        select_scenes(str(tmp_path))
    assert select_scenes(str(tmp_path), split="test").names == ["001"]


def test_a_method_may_be_called_like_a_role(contest: Path, make_pixels: Callable[..., np.ndarray]) -> None:
    for number, name in enumerate(("attic", "barn", "cellar")):
        (contest / "under").mkdir(exist_ok=True)
        Image.fromarray(make_pixels(56, 60, seed=90 + number)).save(contest / "under" / f"{name}.jpg")
    outcome = run_benchmark(plan_of(contest, "near", "under"), contest / "results")
    assert outcome.hashes["under"] != outcome.sources["under"] and list(outcome.scores) == ["near", "under"]
