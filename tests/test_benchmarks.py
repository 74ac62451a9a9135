"""The benchmarks run, and say what the README says they do; what they measure is not a test's business."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each starts processes

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def test_search_step_reports_ratios_seconds_and_bytes() -> None:
    small = ["--size", "32", "--width", "0.0625", "--rounds", "1", "--genotype", "none", "--json"]
    command = [sys.executable, str(BENCHMARKS / "search_step.py"), *small]
    result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    seconds = result["seconds"]
    assert result["step_over_forward_backward"] == seconds["step"] / seconds["forward_backward"] > 1
    assert result["pruned_over_full"] is None  # without a record of what survives
    assert result["peak_bytes"]["step"] > 0


def test_training_step_reports_the_ratio_of_the_layouts() -> None:
    command = [sys.executable, str(BENCHMARKS / "training_step.py"), "--size", "16", "--rounds", "1", "--json"]
    result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    seconds = result["seconds"]
    assert result["usual_over_channels_last"] == seconds["usual"] / seconds["channels_last"] > 0


def test_inference_reports_ratios_seconds_and_bytes() -> None:
    small = ["--size", "32", "--width", "0.0625", "--rounds", "1", "--megapixels", "0.01", "--json"]
    command = [sys.executable, str(BENCHMARKS / "inference.py"), *small]
    result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    seconds, large = result["seconds"], result["large"]
    assert result["unfolded_over_folded"] == {
        name: seconds[f"{name}_unfolded"] / seconds[f"{name}_folded"] for name in ("shipped", "released")
    }
    assert result["receptive_radius"]["shipped"] > 0 and result["chroma_seconds_per_megapixel"] > 0
    assert 0 < large["peak_bytes_above_interpreter"] < large["peak_bytes"] and large["seconds"] > 0
    assert round(large["megapixels"], 2) == 0.01


def test_paper_run_searches_trains_and_measures_in_one_call(tmp_path: Path) -> None:
    few = {"epochs": 1, "steps_per_epoch": 1}
    search = {**few, "width": 0.0625, "features": "random"}
    skipped = '["perceptual_ref", "perceptual_under", "perceptual_over"]'
    train = {
        **few,
        "crop": 48,
        "batch_size": 1,
        "recalibration_batches": 1,
        "features": "random",
        "skip_terms": skipped,
    }
    words = ["--out", str(tmp_path), "--preset", "tiny", "--scenes", "5", "--size", "48", "--device", "cpu", "--json"]
    words += [f"--set={name}={value}" for name, value in search.items()]
    words += [f"--set-train={name}={value}" for name, value in train.items()]
    command = [sys.executable, str(BENCHMARKS / "paper_run.py"), *words]
    result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert result["steps"] == 1 and result["search_minutes"] > 0 and result["training_minutes"] > 0
    assert result["step_over_floor"] > 1 and result["step_gflops"] > 0
    assert (tmp_path / "model.safetensors").is_file() and len(list((tmp_path / "data").rglob("*.png"))) == 15
    assert json.loads((tmp_path / "measured.json").read_text()) == result
