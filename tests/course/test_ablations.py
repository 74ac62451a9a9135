"""The recorded study of seven conditions: what each condition's settings say, and figures that show it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hsds_lib.config import ABLATIONS, SearchConfig, TrainConfig, ablation
from hsds_lib.course.figures.ablation_pictures import (
    best_of_curve,
    loss_mixes,
    printed_gaps,
    pruning_courses,
    seed_dots,
)
from hsds_lib.course.recording import FOLDER, RECORDED_STUDIES, SEEDS, read_recording
from hsds_lib.evaluation.paper import table3
from hsds_lib.images.datasets import split_names
from hsds_lib.network.budget import genotype_macs
from hsds_lib.network.fusion_net import derive
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.model_file import load_model
from hsds_lib.network.operations import PRIMITIVES
from notebooks.tools.recordings import ablations

TINY = RECORDED_STUDIES["tiny"]
SEARCH = TINY.search
RECORDINGS = {name: read_recording(FOLDER / study.file) for name, study in RECORDED_STUDIES.items()}
RUNS = RECORDINGS["tiny"][0]["runs"]
ALL = [
    pytest.param(RECORDED_STUDIES[name], run, id=f"{name}-{run['condition']}-{run['seed']}")
    for name, (facts, _) in RECORDINGS.items()
    for run in facts["runs"]
]


@pytest.mark.parametrize("name", RECORDED_STUDIES)
def test_every_condition_was_run_with_every_seed(name):
    facts, pictures = RECORDINGS[name]
    assert [(run["condition"], run["seed"]) for run in facts["runs"]] == [(c, s) for c in ABLATIONS for s in SEEDS]
    assert len(pictures) == len(facts["runs"])
    origin = facts["provenance"]
    assert SearchConfig.model_validate(origin["search"]) == RECORDED_STUDIES[name].search
    assert TrainConfig.model_validate(origin["training"]) == RECORDED_STUDIES[name].training


@pytest.mark.paper("Table 3")
@pytest.mark.parametrize(("study", "run"), ALL)
def test_a_run_is_what_the_settings_of_its_condition_say(study, run):
    rule = ablation(study.search, run["condition"])
    assert {len(kept) for kept in run["genotype"].values()} == {rule.top_p}
    assert (run["operations_left"] < len(NODES) * len(PRIMITIVES)) == (rule.theta > 0)
    weights = np.array(list(run["loss_mix"].values()))
    assert weights.sum() == pytest.approx(1, abs=1e-4)
    assert (np.ptp(weights) < 1e-5) == (rule.contrast == "none")


@pytest.mark.parametrize("run", RUNS[::5], ids=lambda run: f"{run['condition']}-{run['seed']}")
def test_parameters_and_macs_are_those_of_the_genotype(run):
    genotype = Genotype(nodes=run["genotype"], width=SEARCH.width)
    assert run["parameters"] == sum(weight.numel() for weight in derive(genotype).parameters())
    assert run["macs"] == genotype_macs(genotype)


@pytest.mark.parametrize("name", RECORDED_STUDIES)
def test_scores_are_of_the_same_scenes_and_metrics_in_all_runs(name):
    runs = RECORDINGS[name][0]["runs"]
    assert {tuple(run["scores"]) for run in runs} == {tuple(runs[0]["scores"])}
    assert all(tuple(scores) == RECORDED_STUDIES[name].metrics for run in runs for scores in run["scores"].values())
    assert all(0 < scores["MS-SSIM"] < 1 for run in runs for scores in run["scores"].values())


def test_the_study_on_photographs_brings_its_logs_and_is_judged_by_validation_scenes():
    study, runs = RECORDED_STUDIES["photographs"], RECORDINGS["photographs"][0]["runs"]
    for run in runs:
        log = run["search_log"]
        assert {len(course) for course in log.values()} == {study.search.epochs * study.search.steps_per_epoch}
        assert (
            log["n_active"][-1] >= run["operations_left"] and sorted(log["n_active"], reverse=True) == log["n_active"]
        )
        assert len(run["training_log"]) == study.training.epochs
    split = split_names("mefb")
    assert {name.removeprefix("mefb/") for name in runs[0]["scores"] if name.startswith("mefb/")} == set(split["val"])


def test_conditions_that_differ_after_the_search_alone_found_the_same_losses():
    runs = {(run["condition"], run["seed"]): run for run in RECORDINGS["photographs"][0]["runs"]}
    for seed in SEEDS:  # P counts after the search only
        for one, other in (("only WR", "DARTS"), ("ours", "only PR")):
            assert runs[one, seed]["loss_mix"] == runs[other, seed]["loss_mix"]
            assert runs[one, seed]["search_log"] == runs[other, seed]["search_log"]


def test_pruning_courses_draw_the_runs_that_prune():
    courses = {("ours", 0): [165, 100, 40], ("ours", 1): [165, 90, 50], ("DARTS", 0): [165, 165, 165]}
    figure, alt = pruning_courses(courses)
    assert [list(line.get_ydata()) for line in figure.axes[0].lines] == [[165, 100, 40], [165, 90, 50]]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["ours"]
    assert "2 runs that prune; they end with 40 to 50" in alt


def quick():
    search = SEARCH.changed(epochs=1, steps_per_epoch=1, crop=24, width=0.0625)
    return replace(TINY, search=search, training=TINY.training.changed(steps_per_epoch=1, recalibration_batches=1))


@pytest.mark.slow  # two tiny searches and trainings, one of them in a process of its own
def test_a_study_repeats_itself_whatever_the_number_of_processes(tmp_path):
    for name, processes in (("a.zip", 1), ("b.zip", 2)):
        ablations.record(tmp_path / name, quick(), seeds=(0,), conditions=("DARTS",), processes=processes)
    (first, seen), (second, again) = (read_recording(tmp_path / name) for name in ("a.zip", "b.zip"))
    assert first["runs"] == second["runs"] and seen == again
    assert [len(run["search_log"]["gamma"]) for run in first["runs"]] == [1]


def test_a_study_goes_on_where_it_stopped_and_begins_anew_for_other_settings(tmp_path, monkeypatch):
    study, key, calls = quick(), ("DARTS", 0), []

    def run(search, training, out):
        calls.append((search.theta, training.lr))
        return {"operations": len(NODES)}, load_model("default", device="cpu")

    monkeypatch.setattr(ablations, "run", run)
    monkeypatch.setattr(ablations, "score", lambda *_: {"MS-SSIM": 0.5})
    monkeypatch.setattr(ablations, "fuse", lambda network, under, over: under[:, :8, :8])
    facts = ablations.finish(study, tmp_path, key)
    assert ablations.finish(study, tmp_path, key) == facts and len(calls) == 1
    other = replace(study, training=study.training.changed(lr=0.125))
    assert ablations.finish(other, tmp_path, key) == facts and calls[1] == (0.0, 0.125)
    (ablations.run_folder(tmp_path, *key) / "run.json").unlink()  # as if it had been interrupted
    assert ablations.finish(other, tmp_path, key) == facts and len(calls) == 3


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
