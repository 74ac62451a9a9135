"""Publishing a run: what is replaced, what stays, and its scores; the models that ship are what their files say."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
import torch

from hsds_lib.evaluation.metrics import all_metrics, to_pixels
from hsds_lib.fusing.fuse import fuse
from hsds_lib.images.batches import load_scenes
from hsds_lib.images.classical import average, mertens
from hsds_lib.images.io import read_pair
from hsds_lib.losses.terms import TERM_NAMES
from hsds_lib.network.budget import genotype_macs
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.model_file import MODELS, SHIPPED, load_model
from hsds_lib.runtime import read_json, write_json
from notebooks.tools.publish import FILES, METHODS, compare, picture_score, publish


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


@pytest.mark.parametrize("model", SHIPPED)
def test_the_shipped_scores_are_those_of_the_shipped_model(model: str, data_root: Path) -> None:
    shipped = read_json(MODELS / model / "validation.json")
    scenes = [scene for scene in load_scenes("mefb", "val") if scene.name in {"Museum1", "Church"}]
    assert len(scenes) == 2
    for name, row in compare(load_model(model, device="cpu"), scenes).items():
        # 8-bit rounding can tip either way on another machine.
        assert row == pytest.approx(shipped["scenes"][f"mefb/{name}"], abs=5e-4)
    means = shipped["mean"]
    for method in METHODS:
        scores = [row[method] for row in shipped["scenes"].values()]
        assert means[method] == pytest.approx(sum(scores) / len(scores), abs=1e-4)


def test_the_shipped_table_is_that_of_the_shipped_models(data_root: Path) -> None:
    with (MODELS / "validation.csv").open(newline="", encoding="utf-8") as stream:
        rows = {(row["method"], row["scene"]): row for row in csv.DictReader(stream)}
    scene = next(scene for scene in load_scenes("mefb", "val") if scene.name == "BelgiumHouse")
    models = {**{name: name for name in SHIPPED}, "seed 1": MODELS / "default" / "seed_1"}
    pictures = {name: fuse(load_model(model, device="cpu"), scene.under, scene.over) for name, model in models.items()}
    pictures["mertens"] = mertens(scene.under, scene.over)
    for method, picture in pictures.items():
        found = all_metrics(*(to_pixels(image) for image in (scene.under, scene.over, picture)))
        for name in ("MEF-SSIM", "MS-SSIM", "VIF_double", "Qabf"):
            assert found[name] == pytest.approx(float(rows[method, scene.name][name]), abs=1e-3), (method, name)


@pytest.mark.parametrize("model", [*SHIPPED, "default/seed_1"])
def test_the_shipped_files_belong_together_and_trained_on_no_validation_or_test_scene(model: str) -> None:
    folder = MODELS / model
    card = next(path for path in (folder / "card.md", folder.parent / "card.md") if path.is_file())
    network, genotype = load_model(folder, device="cpu"), Genotype.load(folder / "genotype.json")
    held = {name: set(network.node(name).operations) for name in NODES}
    assert held == {name: set(retained) for name, retained in genotype.nodes.items()}
    torch.testing.assert_close(network.mix, genotype.mix().float())
    origin = read_json(folder / "training_provenance.json")
    split = read_json(MODELS.parent / "images" / "mefb_split.json")
    assert origin["genotype"] == genotype.model_dump()
    used = {name.removeprefix("mefb/") for name in origin["train_scenes"] if name.startswith("mefb/")}
    assert used == set(split["train"]) and not used & {*split["val"], *split["test"]}
    assert f"{sum(w.numel() for w in network.parameters()):,} parameters" in card.read_text("utf-8")


def test_the_released_model_has_the_structure_that_the_authors_released(fixtures_root: Path) -> None:
    released = read_json(fixtures_root / "parity" / "released_genotype.json")
    rows = released["attention"] + released["retinex"]
    nodes = {row["node"]: {entry["op"]: entry["renormalised"] for entry in row["retained"]} for row in rows}
    assert Genotype.load(MODELS / "released" / "genotype.json").nodes == nodes
    cost = released["cost"]["fixed_retained_over_0.1"]["conv_macs_per_input_pixel"]
    assert genotype_macs(Genotype(nodes=nodes)) == cost


def test_the_paper_model_knows_the_losses_of_the_paper_only() -> None:
    weights = read_json(MODELS / "paper" / "training_provenance.json")["loss_weights"]
    assert set(weights) < set(TERM_NAMES) and len(weights) == 16  # without the three perceptual ones


def test_publishing_replaces_the_model_and_keeps_its_card(tmp_path: Path) -> None:
    run, target = tmp_path / "run", tmp_path / "model"
    for folder in (run, target):
        folder.mkdir()
    for name in FILES:
        shutil.copyfile(MODELS / "released" / name, run / name)
    origin = read_json(run / "training_provenance.json")
    write_json(run / "training_provenance.json", origin | {"config": origin["config"] | {"data": "embedded"}})
    for name in ("card.md", "history.jsonl", "provenance.json", "model.safetensors"):
        (target / name).write_text("of the model before")
    means = publish(run, target)
    kept = {path.name for path in target.iterdir()}
    assert kept == {*FILES, "card.md", "validation.json", "example.png"}  # no search of the model before
    assert (target / "card.md").read_text() == "of the model before"
    assert (target / "model.safetensors").read_bytes() == (MODELS / "released" / "model.safetensors").read_bytes()
    written, scenes = read_json(target / "validation.json"), load_scenes("embedded", "val")
    assert list(written["scenes"]) == [scene.name for scene in scenes]
    [(name, row)] = compare(load_model("released", device="cpu"), scenes[:1]).items()
    assert written["scenes"][name] == {method: round(value, 4) for method, value in row.items()}
    assert tuple(row) == METHODS and all(0 < value <= 1 for value in row.values()) and len(set(row.values())) == 3
    for method in METHODS:
        assert written["mean"][method] == round(means[method], 4)
        scores = [row[method] for row in written["scenes"].values()]
        assert means[method] == pytest.approx(sum(scores) / len(scores), abs=1e-4)


def test_an_unfinished_run_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(FileNotFoundError, match="search and train first"):
        publish(tmp_path / "run", tmp_path / "model")
    assert not (tmp_path / "model").exists()
