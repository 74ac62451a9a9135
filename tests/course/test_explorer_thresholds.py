"""The explorer of thresholds: recorded searches that agree with the library's rules, drawn as they are."""

from __future__ import annotations

import json
import re
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from scipy.stats import f_oneway

from hsds_lib.config import SearchConfig, TrainConfig
from hsds_lib.course.explorers.media import SHADES
from hsds_lib.course.explorers.structure import network, shade, weight_grid
from hsds_lib.course.explorers.thresholds import BASELINES, SCORED, costs, explorer, kept_of, named, spread, state_of
from hsds_lib.course.recording import FOLDER, read_recording
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.operations import PRIMITIVES
from hsds_lib.search.run import run_search
from hsds_lib.training.train import train_network
from notebooks.tools.recordings import runs as runs_of_studies
from notebooks.tools.recordings.thresholds import SEARCH, SEEDS, THETAS, TOP_PS, TRAINING, record
from tests.offline import loads_from_elsewhere

FACTS, PICTURES = read_recording(FOLDER / "thresholds.zip")
SEARCHES: dict[tuple[float, int], list[dict[str, Any]]] = {}
for _state in FACTS["states"]:
    SEARCHES.setdefault((_state["theta"], _state["seed"]), []).append(_state)


def _masks(search: list[dict[str, Any]]) -> np.ndarray:
    return np.array([state["active"] for state in search], dtype=bool)


def test_every_theta_and_seed_was_searched_to_its_end_and_every_network_trained():
    assert set(SEARCHES) == set(product(THETAS, SEEDS))
    assert {search[-1]["step"] for search in SEARCHES.values()} == {SEARCH.epochs * SEARCH.steps_per_epoch}
    trained = [(one["theta"], one["seed"], one["top_p"]) for one in FACTS["retained"]]
    assert sorted(trained) == sorted(product(THETAS, SEEDS, TOP_PS))
    assert SearchConfig.model_validate(FACTS["provenance"]["search"]) == SEARCH
    assert TrainConfig.model_validate(FACTS["provenance"]["training"]) == TRAINING


@pytest.mark.parametrize("key", list(SEARCHES), ids=str)
def test_operations_only_go_and_never_below_the_floor(key):
    masks = _masks(SEARCHES[key])
    assert not (masks[1:] & ~masks[:-1]).any()
    assert masks.sum(axis=2).min() >= SEARCH.top_p
    assert masks.all() == (key[0] == 0), "0 cuts nothing, everything else something"


def test_a_larger_threshold_cuts_more_and_takes_less_work():
    left, work = (
        [np.mean([value(SEARCHES[theta, seed][-1]) for seed in SEEDS]) for theta in THETAS]
        for value in (lambda state: _masks([state]).sum(), lambda state: state["work"])
    )
    assert all(after < before for before, after in pairwise(left))
    assert all(after < before for before, after in pairwise(work)) and work[0] == 1


@pytest.mark.parametrize(
    "one", FACTS["retained"][::7], ids=lambda one: f"{one['theta']:g}-{one['seed']}-{one['top_p']}"
)
def test_costs_are_those_of_the_genotype(one):
    genotype = kept_of(SEARCHES[one["theta"], one["seed"]][-1], one["top_p"], FACTS["width"])
    assert {name: one[name] for name in costs(genotype)} == costs(genotype)
    assert one["operations"] == len(NODES) * one["top_p"]


def test_weights_sum_to_one_and_removed_ones_have_none():
    for state in FACTS["states"]:
        mix, active = np.array(state["mix"]), np.array(state["active"], dtype=bool)
        assert np.allclose(mix.sum(axis=1), 1, atol=1e-3)
        assert (mix[~active] == 0).all()


def test_networks_of_two_or_three_operations_beat_the_average():
    several = [one["scores"]["MEF-SSIM"] for one in FACTS["retained"] if one["top_p"] > 1]
    assert len(several) == len(THETAS) * len(SEEDS) * 2
    assert min(several) > FACTS["baselines"]["average"]["MEF-SSIM"]


def test_what_notebook_3_concludes_holds_in_the_recording():
    scored = {(one["theta"], one["top_p"], one["seed"]): one["scores"]["MEF-SSIM"] for one in FACTS["retained"]}
    of = {(theta, p): [scored[theta, p, seed] for seed in SEEDS] for theta in THETAS for p in TOP_PS}
    work = [np.mean([SEARCHES[theta, seed][-1]["work"] for seed in SEEDS]) for theta in THETAS]
    assert work[-1] < 1 / 3, "the largest threshold takes less than a third of the work"
    for p in (2, 3):
        assert f_oneway(*(of[theta, p] for theta in THETAS)).pvalue > 0.1, "thresholds differ as seeds do"
    assert all(np.mean(of[theta, 1]) < np.mean(of[theta, 2]) for theta in THETAS[1:]), "pruning hurts P = 1"
    assert abs(np.mean(of[0.0, 1]) - np.mean(of[0.0, 2])) < np.ptp(of[0.0, 2]), "without it P = 1 is as good"
    assert max(scored.values()) < FACTS["baselines"]["Mertens"]["MEF-SSIM"]


def test_drawing_crosses_what_is_cut_and_frames_what_is_retained():
    state = SEARCHES[max(THETAS), 0][-1]
    genotype = kept_of(state, 2, FACTS["width"])
    drawn = weight_grid(state["mix"], state["active"], genotype.nodes)
    paths = [path["d"] for path in BeautifulSoup(drawn, "html.parser").select("path")]
    crosses = [path for path in paths if "l7 7m0-7l-7 7" in path]
    cut = len(NODES) * len(PRIMITIVES) - sum(map(sum, state["active"]))
    assert sum(path.count("l7 7") for path in crosses) == cut > 0
    assert paths[-1].count("z") == sum(map(len, genotype.nodes.values()))
    assert f"{cut} operations are cut" in drawn


def test_network_names_every_node_and_its_weights():
    genotype = {node: {"conv_3x3": 0.75, "dil_5x5": 0.25} for node in NODES}
    words = BeautifulSoup(network(genotype), "html.parser").get_text()
    assert all(node in words for node in NODES)
    assert words.count("3x375") == words.count("dil 5x525") == len(NODES)


def test_shades_darken_with_the_weight():
    def lightness(colour: str) -> float:
        return sum(int(part, 16) for part in re.findall("..", colour[1:]))

    weights = [0.0, 0.06, 0.1, 0.15, 0.25, 0.4, 0.5, 0.9]
    assert [shade(weight) for weight in weights] == list(SHADES)
    assert sorted(map(lightness, SHADES), reverse=True) == list(map(lightness, SHADES))


def test_a_state_names_its_pictures_and_shows_all_rows_of_the_table():
    made = explorer()
    page = BeautifulSoup(made.at(theta=2, top_p=1, step=3).html, "html.parser")
    captions = [caption.get_text() for caption in page.select("figcaption")]
    assert captions == ["search network at step 400", "retained network, trained"]
    rows = [row.select_one("td").get_text() for row in page.select("table")[0].select("tbody tr")]
    assert rows == [*BASELINES, "search network", "retained network"]
    assert len(page.select('circle[r="5.5"]')) == len(SEEDS)
    assert len(page.select("circle")) == len(FACTS["retained"])
    fixed = BeautifulSoup(made.above, "html.parser").select("figcaption")
    assert [caption.get_text() for caption in fixed] == ["under", "over", *BASELINES, "reference"]


def test_news_tells_what_went_and_the_page_is_small():
    made = explorer()
    search = SEARCHES[max(THETAS), 0]
    gone = _masks(search)[0].sum() - _masks(search)[1].sum()
    assert gone > 0
    assert re.search(
        rf"\b{gone} operations? (was|were) cut since step {search[0]['step']}:", made.at(theta=4, top_p=1, step=1).html
    )
    assert "no operations were cut" in made.at(theta=0, top_p=0, step=0).html
    page = made.page()
    assert len(page) < 4_000_000 and loads_from_elsewhere(page) == []


def test_numbers_are_means_with_half_their_range():
    assert spread([1.0, 2.0, 6.0], 1) == "3.0 ± 2.5"
    assert spread([38013]) == "38,013"
    assert [named(theta) for theta in (0.05, 1 / 11)] == ["0.05", "1/11"]


TINY = SEARCH.changed(
    data="embedded", features="random", width=0.0625, epochs=2, steps_per_epoch=1, crop=44, prune_from_epoch=0
)
BRIEF = TRAINING.changed(
    data="embedded",
    features="random",
    epochs=1,
    steps_per_epoch=1,
    recalibration_batches=1,
    crop=48,
    only_terms=("l1_ref",),
)


@pytest.mark.slow  # two searches with three trainings each
def test_recording_repeats_itself_and_does_nothing_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(runs_of_studies, "KEPT_EVERY", 1)
    work = tmp_path / "work"
    settings = {"search": TINY, "training": BRIEF, "seeds": (0,)}
    record(tmp_path / "a.zip", work, thetas=(0.0, 0.5), **settings)
    made = {path: path.stat().st_mtime_ns for path in work.rglob("*.safetensors")}
    record(tmp_path / "b.zip", work, thetas=(0.5,), **settings)
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*.safetensors")} == made
    (first, seen), (second, again) = (read_recording(tmp_path / name) for name in ("a.zip", "b.zip"))
    for kind in ("states", "retained"):
        same = [one for one in first[kind] if one["theta"] == 0.5]
        assert [seen[one["picture"]] for one in same] == [again[one["picture"]] for one in second[kind]]
        bare = [[{**one, "picture": ""} for one in group] for group in (same, second[kind])]
        assert bare[0] == bare[1]
    assert explorer(tmp_path / "a.zip").n_states == 2 * 3 * 2


@pytest.mark.slow  # one tiny search
def test_a_search_in_which_no_node_came_down_to_p_is_done_once(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(runs_of_studies, "KEPT_EVERY", 1)
    rule = TINY.changed(theta=0.0, top_p=1)
    one = runs_of_studies.searched(tmp_path, rule)
    monkeypatch.setattr(runs_of_studies, "run_search", lambda *_, **__: pytest.fail("searched again"))
    two = runs_of_studies.searched(tmp_path, rule.changed(top_p=2))
    assert {len(kept) for kept in Genotype.load(two / "genotype.json").nodes.values()} == {2}
    assert (one / "history.jsonl").read_bytes() == (two / "history.jsonl").read_bytes()


@pytest.mark.slow
def test_a_readers_own_search_can_be_explored(tmp_path: Path):
    run = tmp_path / "mine"
    found = run_search(TINY.changed(theta=0.5, top_p=2), run, device="cpu", show=False)
    made = explorer(run=run)
    assert [control.name for control in made.controls] == ["top_p", "step"] and made.n_states == 3 * 2
    records = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert kept_of(state_of(records, TINY.width), 2, TINY.width).nodes.keys() == found.genotype.nodes.keys()
    drawn = BeautifulSoup(made.at(top_p=1, step=1).html, "html.parser")
    assert not drawn.select("img") and "operations left of 165" in drawn.get_text()
    train_network(found.genotype, found.loss_weights, BRIEF, out=run, device="cpu", show=False)
    with_model = BeautifulSoup(explorer(run=run).at(top_p=1, step=1).html, "html.parser")
    assert [caption.get_text() for caption in with_model.select("figcaption")] == ["retained network, trained"]
    assert all(text in with_model.get_text() for text in SCORED.values())


def test_a_folder_without_a_search_is_one_sentence(tmp_path: Path):
    with pytest.raises((FileNotFoundError, ValueError), match="provenance"):
        explorer(run=tmp_path)


def test_kept_state_is_what_retention_keeps():
    mix = torch.zeros(len(NODES), len(PRIMITIVES))
    mix[:, 1], mix[:, 7] = 0.3, 0.7
    state = {"mix": mix.tolist(), "active": torch.ones_like(mix).int().tolist()}
    kept = kept_of(state, 2, 0.25)
    assert kept.nodes["div"] == pytest.approx({"conv_3x3": 0.3, "conv_5x1": 0.7}, abs=1e-6)
