"""Publishing a run: what is replaced, what stays, and the scores it writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hsds_lib.fusing.fuse import MODELS, load_model
from hsds_lib.images.batches import load_scenes
from hsds_lib.runtime import read_json, write_json
from notebooks.tools.publish import FILES, compare, publish


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
    table = compare(load_model("released", device="cpu"), load_scenes("embedded", "val"))
    written = json.loads((target / "validation.json").read_text())
    assert means["model"] == pytest.approx(sum(row["model"] for row in table.values()) / len(table))
    assert written["mean"]["model"] == round(means["model"], 4) and set(written["scenes"]) == set(table)


def test_an_unfinished_run_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(FileNotFoundError, match="search and train first"):
        publish(tmp_path / "run", tmp_path / "model")
    assert not (tmp_path / "model").exists()
