"""The explorer of thresholds: recorded searches that agree with the library's rules, drawn as they are."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup

from hsds_lib.course.explorers.media import SHADES
from hsds_lib.course.explorers.thresholds import explorer, network, shade, weight_grid
from hsds_lib.course.recording import FOLDER, read_recording
from hsds_lib.network.budget import genotype_macs
from hsds_lib.network.fusion_net import derive
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.operations import PRIMITIVES
from hsds_lib.search.wsras import retain
from notebooks.tools.recordings.thresholds import SETTINGS, TOP_PS, TRAINING, record
from tests.offline import loads_from_elsewhere

FACTS, PICTURES = read_recording(FOLDER / "thresholds.zip")
STATES = FACTS["states"]
RUNS: dict[tuple[float, int], list] = {}
for _state in STATES:
    RUNS.setdefault((_state["theta"], _state["top_p"]), []).append(_state)


def _masks(run: list) -> np.ndarray:
    return np.array([state["active"] for state in run], dtype=bool)


def test_every_theta_was_searched_and_every_state_is_there():
    searched = {(run["theta"], run["top_p"]) for run in FACTS["provenance"]["searches"]}
    assert {theta for theta, _ in searched} == {theta for theta, _ in RUNS}
    assert {len(run) for run in RUNS.values()} == {len(RUNS[0.0, 1])}
    for (theta, top_p), run in RUNS.items():
        if (theta, top_p) not in searched:  # then a search with a smaller P never came down to this one
            assert _masks(run).sum(axis=2).min() >= top_p


@pytest.mark.parametrize("key", list(RUNS), ids=str)
def test_operations_only_go_and_never_below_p(key):
    masks = _masks(RUNS[key])
    assert masks[0].all(), "nothing is cut at the start"
    assert not (masks[1:] & ~masks[:-1]).any()
    assert masks.sum(axis=2).min() >= key[1]
    if key[0] == 0:
        assert masks.all(), "nothing is below 0"


def test_a_larger_threshold_cuts_more():
    left = [_masks(RUNS[theta, 1])[-1].sum() for theta in sorted({theta for theta, _ in RUNS})]
    assert all(after < before for before, after in pairwise(left))


@pytest.mark.parametrize("state", STATES[::23], ids=lambda s: f"{s['theta']}-{s['top_p']}-{s['step']}")
def test_genotype_parameters_and_macs_are_the_librarys(state):
    mix, active = torch.tensor(state["mix"], dtype=torch.float64), torch.tensor(state["active"], dtype=torch.bool)
    kept = retain(mix.clamp(min=1e-9).log(), active, top_p=state["top_p"], width=FACTS["width"])
    recorded = Genotype(nodes=state["genotype"], width=FACTS["width"])
    assert {node: set(ops) for node, ops in recorded.nodes.items()} == {n: set(o) for n, o in kept.nodes.items()}
    assert torch.allclose(recorded.mix(), kept.mix(), atol=1e-3)
    assert state["parameters"] == sum(weight.numel() for weight in derive(recorded).parameters())
    assert state["macs"] == genotype_macs(recorded)


def test_weights_sum_to_one_and_removed_ones_have_none():
    for state in STATES:
        mix, active = np.array(state["mix"]), np.array(state["active"], dtype=bool)
        assert np.allclose(mix.sum(axis=1), 1, atol=1e-3)
        assert (mix[~active] == 0).all()


def test_what_was_cut_was_weak_at_the_record_before():
    """No step between two records is seen, so the weight may have fallen in between; but not from the top."""
    for (theta, _), run in RUNS.items():
        for before, after in pairwise(run):
            gone = np.array(before["active"], dtype=bool) & ~np.array(after["active"], dtype=bool)
            assert np.array(before["mix"])[gone].max(initial=0) < 3 * max(theta, 1e-9)


def test_drawing_crosses_what_is_cut_and_frames_what_is_retained():
    state = RUNS[max(RUNS)[0], 2][-1]
    drawn = weight_grid(state["mix"], state["active"], state["genotype"])
    paths = [path["d"] for path in BeautifulSoup(drawn, "html.parser").select("path")]
    crosses = [path for path in paths if "l7 7m0-7l-7 7" in path]
    cut = len(NODES) * len(PRIMITIVES) - sum(map(sum, state["active"]))
    assert sum(path.count("l7 7") for path in crosses) == cut > 0
    assert paths[-1].count("z") == sum(map(len, state["genotype"].values()))
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


def test_news_tells_what_went_and_the_page_is_small():
    made = explorer()
    theta, steps = len({t for t, _ in RUNS}) - 1, len(RUNS[0.0, 1])
    html = made.at(theta=theta, top_p=1, step=steps - 1).html
    run = RUNS[max(RUNS)[0], TOP_PS[1]]
    gone = _masks(run)[-2].sum() - _masks(run)[-1].sum()
    assert f"Since step {run[-2]['step']} {gone or 'no'} operation" in html
    assert "nothing has been learned" in made.at(theta=0, top_p=0, step=0).html
    page = made.page()
    assert len(page) < 3_000_000 and loads_from_elsewhere(page) == []


@pytest.mark.slow  # three searches with two trainings each
def test_recording_repeats_itself(tmp_path):
    quick = SETTINGS.changed(epochs=1, steps_per_epoch=1, crop=24, width=0.0625, prune_from_epoch=0)
    brief = TRAINING.changed(steps_per_epoch=1, recalibration_batches=1, crop=48)
    for name, thetas in (("a.zip", (0.0, 0.5)), ("b.zip", (0.5,))):
        record(tmp_path / name, config=quick, thetas=thetas, top_ps=(1, 2), every=1, training=brief)
    (first, seen), (second, again) = (read_recording(tmp_path / name) for name in ("a.zip", "b.zip"))
    same = [state for state in first["states"] if state["theta"] == 0.5]
    pictures = [[seen[state["picture"]] for state in same], [again[state["picture"]] for state in second["states"]]]
    bare = [[{**state, "picture": ""} for state in states] for states in (same, second["states"])]
    assert bare[0] == bare[1] and pictures[0] == pictures[1]
    assert explorer(tmp_path / "a.zip").n_states == 8
    assert len(PRIMITIVES) - 1 == min(sum(row) for row in first["states"][-1]["active"])
