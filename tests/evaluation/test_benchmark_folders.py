"""What a folder of a method may look like, and what a lack of memory does to an evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from hsds_lib.evaluation import methods, scoring
from hsds_lib.evaluation.benchmark import Plan, run_benchmark
from hsds_lib.evaluation.methods import BenchmarkError, Method, built_ins, require_fair, select_scenes
from hsds_lib.runtime import RunError


def test_pictures_may_carry_the_name_of_their_method(contest: Path) -> None:
    selection, given = select_scenes(str(contest / "pairs")), [Method("near", contest / "near")]
    expected = {scene: path.read_bytes() for scene, path in require_fair(selection, given)["near"].items()}
    for path in list((contest / "near").iterdir()):
        (contest / "far" / path.name).rename(contest / "near" / f"{path.stem}_FAR.png")
        path.rename(contest / "near" / f"{path.stem}_Near.png")
    (contest / "near" / "._attic_Near.png").write_bytes(b"left by a Mac")
    assert {scene: path.read_bytes() for scene, path in require_fair(selection, given)["near"].items()} == expected
    with pytest.raises(BenchmarkError, match=r"other: .* holds pictures of several methods"):
        require_fair(selection, [Method("other", contest / "near")])
    (contest / "near" / "attic_Near.png").rename(contest / "near" / "ATTIC_Near.PNG")
    assert require_fair(selection, given)["near"]["attic"].name == "ATTIC_Near.PNG"
    (contest / "near" / "stranger_Near.png").write_bytes(expected["attic"])
    with pytest.raises(BenchmarkError, match=r"pictures of no scene: stranger_Near\.png"):
        require_fair(selection, given)


def test_without_memory_for_one_picture_the_others_are_scored_and_kept(
    contest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scarce(under: Path, over: Path, fused: Path, ref: Path | None = None) -> dict[str, float | None]:
        if fused == contest / "near" / "barn.png":
            raise RunError("out of memory; lower it")
        return dict.fromkeys(scoring.METRICS, 0.5)

    monkeypatch.setattr(scoring, "score_files", scarce)
    plan = Plan(select_scenes(str(contest / "pairs")), tuple(Method(name, contest / name) for name in ("near", "far")))
    with pytest.raises(RunError, match=r"1 pictures could not be scored: .*barn\.png \(out of memory; lower it\)"):
        run_benchmark(plan, contest / "results")
    assert len(list((contest / "results" / "cache").glob("*.json"))) == 5


def test_without_memory_for_one_scene_the_others_are_fused_and_kept(
    contest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = methods.read_pair

    def scarce(under: Path, over: Path) -> object:
        if under.parent.name == "attic":
            raise MemoryError
        return real(under, over)

    monkeypatch.setattr(methods, "read_pair", scarce)
    plan = Plan(select_scenes(str(contest / "pairs")), tuple(built_ins(["average"])))
    with pytest.raises(
        RunError, match=r"average could not fuse attic \(out of memory; .*; the other pictures are kept"
    ):
        run_benchmark(plan, contest / "results")
    fused = sorted(path.name for path in (contest / "results" / "fused" / "average").iterdir())
    assert fused == ["barn.png", "cellar.png"]
