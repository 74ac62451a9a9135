"""The explorer of the simplex: every picture was optimised for its own weights, none is a blend."""

from __future__ import annotations

import pytest
from bs4 import BeautifulSoup

from hsds_lib.course.explorers.simplex import explorer
from hsds_lib.course.recording import FOLDER, read_recording
from hsds_lib.images.batches import load_scenes
from notebooks.tools.recordings.simplex import CORNERS, PARTS, losses, optimise, prepared, record, reduced, weights_at
from tests.offline import loads_from_elsewhere

FACTS, PICTURES = read_recording(FOLDER / "simplex.zip")


def test_weights_are_places_of_a_simplex_and_the_corners_are_there():
    places = {(third, split): weights_at(third, split) for third in range(PARTS + 1) for split in range(PARTS + 1)}
    assert all(sum(weights) == pytest.approx(1) and min(weights) >= 0 for weights in places.values())
    assert {places[0, 0], places[0, PARTS], places[PARTS, 0]} == {(1, 0, 0), (0, 1, 0), (0, 0, 1)}
    recorded = {(state["third"], state["split"]): state["weights"] for state in FACTS["states"]}
    assert recorded == {place: pytest.approx(places[place], abs=1e-6) for place in recorded}


def test_every_picture_is_better_for_its_weights_than_any_other_recorded_one():
    for state in FACTS["states"]:
        own = state["weights"]
        rivals = [
            sum(weight * other["losses"][name] for weight, name in zip(own, CORNERS, strict=True))
            for other in FACTS["states"]
        ]
        # To the last per cent: the descents end where Adam's steps end.
        assert state["loss"] <= min(rivals) * 1.01 + 2e-4, own


def test_no_picture_is_a_blend_of_the_corners():
    inner = [state for state in FACTS["states"] if max(state["weights"]) < 1]
    assert len(inner) > 20
    assert all(state["loss"] < state["loss_of_blend"] for state in inner)
    assert all(state["loss"] <= state["loss_before"] for state in FACTS["states"])


def test_a_recorded_state_comes_out_again():
    targets, start = prepared(reduced(load_scenes("embedded", "val", seed=FACTS["provenance"]["seed"])[0]))
    [state] = [s for s in FACTS["states"] if (s["third"], s["split"]) == (1, 2)]
    done = optimise(start, targets, tuple(state["weights"]), FACTS["provenance"]["steps"])
    assert losses(done.picture, targets) == pytest.approx(state["losses"], rel=0.02, abs=1e-4)


def test_a_short_recording_can_be_shown_and_repeats(tmp_path):
    for name in ("a.zip", "b.zip"):
        record(tmp_path / name, steps=2, parts=1)
    facts, pictures = zip(*(read_recording(tmp_path / name) for name in ("a.zip", "b.zip")), strict=True)
    assert facts[0]["states"] == facts[1]["states"] and pictures[0] == pictures[1]
    assert explorer(tmp_path / "a.zip").n_states == 4


def test_what_is_written_is_what_was_recorded():
    made = explorer()
    [state] = [s for s in FACTS["states"] if (s["third"], s["split"]) == (2, 3)]
    cells = [cell.get_text() for cell in BeautifulSoup(made.at(third=2, split=3).html, "html.parser").select("td")]
    assert cells[:3] == ["ssim_under", "24 %", f"{state['losses']['ssim_under']:.4f}"]
    assert made.at(third=2, split=3).picture == PICTURES[state["picture"]]
    page = made.page()
    assert len(page) < 2_500_000 and loads_from_elsewhere(page) == []
