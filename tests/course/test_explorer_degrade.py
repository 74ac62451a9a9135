"""The explorer of metrics: recorded scores are the library's, and bars, signs and words say the same."""

from __future__ import annotations

import re

import pytest
import torch
from bs4 import BeautifulSoup
from PIL import Image

from hsds_lib.course.explorers.degrade import DEGRADATIONS, REACH, STEADY, change, explorer
from hsds_lib.course.recording import FOLDER, read_recording
from hsds_lib.evaluation.metrics import CORRECT_FORM, PAPER_METRICS
from notebooks.tools.recordings.degrade import SIZE, STRENGTHS, record
from tests.offline import loads_from_elsewhere

SHOWN = tuple(CORRECT_FORM.get(name, name) for name in PAPER_METRICS)


@pytest.fixture(scope="module")
def shipped():
    return read_recording(FOLDER / "degrade.zip")


def _percents(html: str) -> dict[str, str]:
    label = BeautifulSoup(html, "html.parser").select_one("svg")["aria-label"]
    return dict(part.strip().split(" ", 1) for part in label.partition(":")[2].split(","))


def test_recording_holds_every_degradation_at_every_strength(shipped):
    facts, pictures = shipped
    assert facts["kinds"] == list(DEGRADATIONS) and tuple(facts["strengths"]) == STRENGTHS
    assert {(s["kind"], s["strength"]) for s in facts["states"]} == {(k, s) for k in DEGRADATIONS for s in STRENGTHS}
    assert {state["picture"] for state in facts["states"]} == set(pictures)
    assert all(set(state["metrics"]) == set(SHOWN) for state in facts["states"])
    assert facts["provenance"]["scene"] == facts["scene"]


def test_strength_zero_is_the_same_picture_for_every_kind(shipped):
    facts, _ = shipped
    zeros = [state for state in facts["states"] if state["strength"] == 0]
    assert len({str(state["metrics"]) for state in zeros}) == 1
    assert {state["picture"] for state in zeros} == {"start.webp"}


def test_scores_come_out_again(shipped, tmp_path):
    facts, _ = shipped
    kind = facts["kinds"][-1]
    record(tmp_path / "again.zip", kinds=[kind], strengths=(0.0, STRENGTHS[-1]))
    again, _ = read_recording(tmp_path / "again.zip")
    shown = {(state["kind"], state["strength"]): state["metrics"] for state in facts["states"]}
    for state in again["states"]:
        assert state["metrics"] == pytest.approx(shown[state["kind"], state["strength"]], rel=1e-3)


def test_pictures_are_those_that_were_scored(shipped):
    from io import BytesIO

    _, pictures = shipped
    assert {Image.open(BytesIO(picture)).size for picture in pictures.values()} == {SIZE[::-1]}
    assert sum(map(len, pictures.values())) < 2_000_000


def test_signs_and_counts_are_those_of_the_scores(shipped):
    facts, _ = shipped
    made = explorer()
    states = {(state["kind"], state["strength"]): state["metrics"] for state in facts["states"]}
    for place, kind in enumerate(facts["kinds"]):
        start, now = states[kind, 0.0], states[kind, STRENGTHS[-1]]
        html = made.at(kind=place, strength=len(STRENGTHS) - 1).html
        written = _percents(html)
        changes = {name: change(start[name], now[name]) for name in SHOWN}
        assert list(written) == list(SHOWN)
        for name, value in changes.items():
            sign = "no value" if value is None else "+" if value > STEADY else "−" if value < -STEADY else "0 %"
            assert written[name].startswith(sign)
        assert all(value is None or abs(value) <= REACH for value in changes.values()), "no bar is cut off"
        known = [value for value in changes.values() if value is not None]
        counts = re.search(r"(\d) of 8 metrics call it better .* (\d) worse", html)
        assert counts and [int(n) for n in counts.groups()] == [
            sum(v > STEADY for v in known),
            sum(v < -STEADY for v in known),
        ]


def test_bars_point_where_the_signs_say():
    made = explorer()
    soup = BeautifulSoup(made.at(kind=0, strength=len(STRENGTHS) - 1).html, "html.parser")
    written = list(_percents(str(soup)).values())
    rows = soup.select("svg rect")
    middle = {rect["x"] for rect, text in zip(rows, written, strict=True) if text.startswith("+")}
    assert len(middle) <= 1, "bars of better scores all begin at 0"
    for rect, text in zip(rows, written, strict=True):
        if text.startswith("−") and middle:
            assert float(rect["x"]) < float(next(iter(middle)))


def test_metrics_disagree_somewhere(shipped):
    """Else the explorer would show nothing worth seeing."""
    made = explorer()
    said = [made.at(**state).html for state in made.states()]
    assert any(re.search(r">[1-9] of 8 metrics call it better .* [1-9] worse", text) for text in said)


def test_a_score_without_a_value_has_no_change():
    assert change(None, 1.0) is None and change(1.0, None) is None and change(0.0, 1.0) is None
    assert change(-2.0, -1.0) == 50.0


def test_page_is_small_and_loads_nothing():
    page = explorer().page()
    assert len(page) < 2_500_000
    assert loads_from_elsewhere(page) == []


def test_degradations_of_strength_zero_change_nothing():
    picture = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    for degrade in DEGRADATIONS.values():
        assert torch.allclose(degrade(picture, 0.0, torch.Generator().manual_seed(0)), picture, atol=1e-6)
