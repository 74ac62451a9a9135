"""The recorded study of seven conditions: what each condition's settings say, and figures that show it."""

from __future__ import annotations

import numpy as np
import pytest

from hsds_lib.config import ABLATIONS, ablation
from hsds_lib.course.ablation_pictures import best_of_curve, loss_mixes, printed_gaps, seed_dots
from hsds_lib.course.recording import FOLDER, read_recording
from hsds_lib.course.recordings.ablations import METRICS, SEARCH, SEEDS, record
from hsds_lib.course.recordings.thresholds import macs
from hsds_lib.evaluation.paper import table3
from hsds_lib.network.fusion_net import derive
from hsds_lib.network.genotype import Genotype

FACTS, PICTURES = read_recording(FOLDER / "ablations.zip")
RUNS = FACTS["runs"]


def test_every_condition_was_run_with_every_seed():
    assert [(run["condition"], run["seed"]) for run in RUNS] == [(c, s) for c in ABLATIONS for s in SEEDS]
    assert len(PICTURES) == len(RUNS)


@pytest.mark.paper("Table 3")
@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run['condition']}-{run['seed']}")
def test_a_run_is_what_the_settings_of_its_condition_say(run):
    rule = ablation(SEARCH, run["condition"])
    assert {len(kept) for kept in run["genotype"].values()} == {rule.top_p}
    assert (run["operations_left"] < 165) == (rule.theta > 0)
    weights = np.array(list(run["loss_mix"].values()))
    assert weights.sum() == pytest.approx(1, abs=1e-4)
    assert (np.ptp(weights) < 1e-5) == (rule.contrast == "none")


@pytest.mark.parametrize("run", RUNS[::5], ids=lambda run: f"{run['condition']}-{run['seed']}")
def test_parameters_and_macs_are_those_of_the_genotype(run):
    genotype = Genotype(nodes=run["genotype"], width=SEARCH.width)
    assert run["parameters"] == sum(weight.numel() for weight in derive(genotype).parameters())
    assert run["macs"] == macs(genotype)


def test_scores_are_of_the_same_scenes_and_metrics_in_all_runs():
    assert {tuple(run["scores"]) for run in RUNS} == {tuple(RUNS[0]["scores"])}
    assert all(tuple(scores) == METRICS for run in RUNS for scores in run["scores"].values())
    assert all(0 < scores["MS-SSIM"] < 1 for run in RUNS for scores in run["scores"].values())


@pytest.mark.slow  # two tiny searches and trainings
def test_a_study_repeats_itself(tmp_path):
    from hsds_lib.course.recordings.ablations import TRAINING

    quick = SEARCH.changed(epochs=1, steps_per_epoch=1, crop=24, width=0.0625)
    short = TRAINING.changed(steps_per_epoch=1, recalibration_batches=1)
    for name in ("a.zip", "b.zip"):
        record(tmp_path / name, seeds=(0,), conditions=("DARTS",), search=quick, training=short)
    (first, seen), (second, again) = (read_recording(tmp_path / name) for name in ("a.zip", "b.zip"))
    assert first["runs"] == second["runs"] and seen == again


def test_printed_gaps_name_what_is_better_than_the_whole_method():
    figure, alt = printed_gaps(table3())
    assert "Better than it: only WR in MEF-SSIM." in alt
    assert len(figure.axes[0].texts) == 36


def test_seed_dots_draw_every_run():
    figure, alt = seed_dots({"a": [0.5, 0.7], "b": [0.9, 0.9]}, {"a": 0.1, "b": 0.0}, metric="MEF-SSIM")
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert [list(line.get_xdata()) for line in dots] == [[0.5, 0.7], [0.9, 0.9]]
    assert "up to 0.300 apart" in alt and "up to 0.200" in alt


def test_best_of_and_loss_mixes_say_what_they_show():
    assert "from 0.00 to 0.85" in best_of_curve([0.0, 0.56, 0.85], unit="standard deviations")[1]
    mixes = {"none": {"l1": 0.5, "tv": 0.5}, "hybrid": {"l1": 0.7, "tv": 0.3}}
    assert "All equal in: none." in loss_mixes(mixes)[1]
