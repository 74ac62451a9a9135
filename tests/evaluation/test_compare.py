"""Scores of whole pictures: known values of Mertens on real scenes, and what the score prefers."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from hsds_lib.evaluation.compare import METHODS, compare, picture_score
from hsds_lib.fusing import load_model
from hsds_lib.images.classical import average, mertens
from hsds_lib.images.io import read_pair
from hsds_lib.images.pairs import load_scenes


@pytest.mark.parametrize("scene", ["Arno", "Venice", "Office"])
def test_scores_of_the_classical_fusions_are_the_measured_ones(
    scene: str, data_root: Path, fixtures_root: Path
) -> None:
    under, over = read_pair(*(next((data_root / "mefb" / scene).glob(f"{role}.*")) for role in ("under", "over")))
    with (fixtures_root / "peers" / "scores.csv").open() as file:
        rows = {row["method"]: row for row in csv.DictReader(file) if row["scene"] == scene}
    for name, fused in (("Mertens (OpenCV)", mertens(under, over)), ("average", average(under, over))):
        # 0.003: gray conversion and rounding of the two measurements differ a little.
        assert picture_score(fused, under, over) == pytest.approx(float(rows[name]["MS-SSIM"]), abs=3e-3)


def test_a_fusion_scores_above_its_own_blurred_copy() -> None:
    scene = load_scenes("embedded", "test", limit=1)[0]
    fused = mertens(scene.under, scene.over)
    blurred = torch.nn.functional.avg_pool2d(fused, 5, stride=1, padding=2, count_include_pad=False)
    assert picture_score(fused, scene.under, scene.over) > picture_score(blurred, scene.under, scene.over) + 0.05


def test_compare_scores_every_method_on_every_scene() -> None:
    scenes = load_scenes("embedded", "test", limit=2)
    table = compare(load_model("default", device="cpu"), scenes)
    assert list(table) == [scene.name for scene in scenes]
    for row in table.values():
        assert tuple(row) == METHODS and all(0 < value <= 1 for value in row.values())
        assert len(set(row.values())) == 3
