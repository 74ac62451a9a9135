"""Numbers that people read in model cards and in the README are those of the scores that ship."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import fmean, stdev

import pandas as pd
import pytest

from hsds_lib.course.recording import FOLDER, RECORDED_STUDIES, read_recording
from hsds_lib.evaluation.peers import peer_scores, recorded_scenes
from hsds_lib.evaluation.statistics import paired_differences, rank_table
from hsds_lib.evaluation.tables import read_method_scores
from hsds_lib.network.model_file import MODELS, SHIPPED

METRICS = {
    **{name: name for name in ("MEF-SSIM", "MS-SSIM", "Qabf", "EN")},
    **{"VIF (correct)": "VIF_double", "SD (correct)": "SD_double"},
}
METHODS = {
    **{"Mertens (OpenCV)": "mertens", "average": "average", "the same commands, each with `--seed 1`": "seed 1"},
    **{f"`{name}`": name for name in SHIPPED},
}
README = Path(__file__).parents[2] / "README.md"
Scores = dict[str, dict[str, dict[str, float | None]]]


def table(text: str, after: str = "") -> tuple[list[str], dict[str, list[str]]]:
    """Columns and rows of the first table with MEF-SSIM in its head behind some words, without emphasis and links."""
    plain = re.sub(r"\[(`\w+`)\]\(\S+\)", r"\1", text.partition(after)[2] if after else text).replace("*", "")
    lines = iter(plain.splitlines())
    head = next(line for line in lines if line.startswith("|") and "| MEF-SSIM |" in line)
    rows = {}
    for line in lines:
        if not line.startswith("|"):
            break
        first, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        if set(first) != {"-"}:
            rows[first] = cells
    return [cell.strip() for cell in head.strip("|").split("|")][1:], rows


def written_like(cell: str, value: float) -> str:
    return f"{value:.{len(cell.partition('.')[2])}f}"


def mean(scores: Scores, method: str, metric: str) -> float:
    return fmean(float(row[metric] or 0) for row in scores[method].values())


@pytest.mark.parametrize("model", SHIPPED)
def test_the_table_of_a_card_holds_the_means_that_ship(model: str) -> None:
    scores = read_method_scores(MODELS / "validation.csv")
    columns, rows = table((MODELS / model / "card.md").read_text("utf-8"))
    methods = {**METHODS, "this model": model}
    quoted = {name: cells for name, cells in rows.items() if name in methods}
    assert {"this model", "Mertens (OpenCV)", "average"} <= set(quoted)
    for name, cells in quoted.items():
        for column, cell in zip(columns, cells, strict=True):
            assert cell == written_like(cell, mean(scores, methods[name], METRICS[column])), (name, column)


def test_intervals_and_wins_in_the_card_of_the_default_are_those_of_the_scores() -> None:
    scores = read_method_scores(MODELS / "validation.csv")
    columns, rows = table((MODELS / "default" / "card.md").read_text("utf-8"))
    differences = paired_differences(scores, "mertens", list(METRICS.values()))
    found = {one.metric: one for one in differences if one.method == "default"}
    for column, interval, won in zip(
        columns, rows["model minus Mertens, 95 %"], rows["scenes won against Mertens"], strict=True
    ):
        one = found[METRICS[column]]
        for limit, cell in zip((one.low, one.high), interval.split(" to "), strict=True):
            assert cell == written_like(cell, limit), column
        assert int(won) == one.won, column


@pytest.mark.parametrize(
    ("card", "method", "baseline"), [("default", "seed 1", "mertens"), ("released", "released", "default")]
)
def test_intervals_in_the_prose_of_a_card_are_those_of_the_scores(card: str, method: str, baseline: str) -> None:
    scores = read_method_scores(MODELS / "validation.csv")
    text = " ".join((MODELS / card / "card.md").read_text("utf-8").split())
    quoted = re.findall(r"(MEF-SSIM|MS-SSIM|VIF|Qabf) \(?(-?\d\.\d+) to (-?\d\.\d+)", text)
    assert {name for name, *_ in quoted} == {"MEF-SSIM", "MS-SSIM", "VIF", "Qabf"}
    differences = paired_differences(scores, baseline, list(METRICS.values()))
    found = {one.metric: one for one in differences if one.method == method}
    for name, low, high in quoted:
        one = found[METRICS.get(name, "VIF_double")]
        assert (low, high) == (written_like(low, one.low), written_like(high, one.high)), name


def test_the_table_of_the_readme_holds_means_and_ranks_beside_the_recorded_peers() -> None:
    shipped = read_method_scores(MODELS / "validation.csv")
    scenes = [scene for scene in shipped["default"] if scene in recorded_scenes()]
    measured = {name: {scene: shipped[name][scene] for scene in scenes} for name in ("default", "mertens", "average")}
    columns, rows = table(README.read_text("utf-8"))
    methods = {**METHODS, "this model": "default"}
    everyone = {**peer_scores(scenes), **measured}
    means = {
        name: {metric: mean(everyone, methods.get(name, name), metric) for metric in METRICS.values()} for name in rows
    }
    ranks = rank_table(pd.DataFrame(means).T, list(METRICS.values()))
    assert len(scenes) == 12 and len(rows) == 9
    for name, cells in rows.items():
        for column, cell in zip(columns, cells, strict=True):
            value = ranks.loc[name, "mean rank"] if column == "mean rank" else means[name][METRICS[column]]
            assert cell == written_like(cell, value), (name, column)


def test_the_table_of_all_models_in_the_readme_holds_the_means_that_ship() -> None:
    scores = read_method_scores(MODELS / "validation.csv")
    columns, rows = table(README.read_text("utf-8"), after="Two others ship beside it")
    methods = {**METHODS, "`default`, seed 1": "seed 1"}
    assert {methods[name] for name in rows} == {*SHIPPED, "seed 1", "mertens"}
    for name, cells in rows.items():
        for column, cell in list(zip(columns, cells, strict=True))[2:]:
            assert cell == written_like(cell, mean(scores, methods[name], METRICS[column])), (name, column)


def test_the_readme_quotes_the_recorded_study_of_ablations() -> None:
    facts, _ = read_recording(FOLDER / RECORDED_STUDIES["photographs"].file)
    found: dict[str, list[float]] = {}
    for run in facts["runs"]:
        found.setdefault(run["condition"], []).append(fmean(row["MS-SSIM"] for row in run["scores"].values()))
    text = " ".join(README.read_text("utf-8").split())
    sentence = re.search(
        r"MS-SSIM is (\S+) without and (\S+) with a judge of the loss, (\S+) without pruning, (\S+) and (\S+) with one "
        r"operation per node, and seeds of one condition scatter by (\S+) to (\d\.\d+)",
        text,
    )
    assert sentence is not None
    alone, judged, unpruned, pruned, darts, low, high = sentence.groups()
    assert f"{fmean(found['w/o Gamma_H']):.2f}" == alone
    for condition in ("only Gamma_R", "only Gamma_N", "ours"):
        assert f"{fmean(found[condition]):.2f}" == judged, condition
    means = [f"{fmean(found[condition]):.2f}" for condition in ("only WR", "only PR", "DARTS")]
    assert means == [unpruned, pruned, darts]
    scatter = [stdev(values) for values in found.values()]
    assert (f"{min(scatter):.2f}", f"{max(scatter):.2f}") == (low, high)
