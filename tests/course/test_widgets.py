"""Explorers: the same states live and on a page of their own, which needs neither kernel nor network."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from bs4 import BeautifulSoup

from hsds_lib.course.explorers.media import encode, table
from hsds_lib.course.recording import read_recording, write_recording
from hsds_lib.course.widgets import Control, Explorer, View, explore
from tests.offline import loads_from_elsewhere

CALLS: list[tuple[int, int]] = []


def _view(gap: int, level: int) -> View:
    CALLS.append((gap, level))
    picture = encode(torch.full((3, 8, 12), 0.2 * gap), form="png")
    return View(f"<p>gap {gap}, level {level} &lt;/script&gt; </p>", picture, f"gray {gap}")


@pytest.fixture
def explorer() -> Explorer:
    CALLS.clear()
    controls = [
        Control("gap", "exposure gap", ("2 stops", "4 stops", "6 stops"), start=1),
        Control("level", "level", ("low", "high"), kind="choice"),
    ]
    return Explorer("demo", "A <demo>", "Simulated.", controls, _view, width=96)


def _content(page: str) -> Any:
    script = BeautifulSoup(page, "html.parser").select_one("script[type='application/json']")
    assert script is not None
    return json.loads(script.get_text())


def test_every_state_is_drawn_once_and_in_the_order_of_the_page(explorer):
    page = explorer.page()
    assert sorted(CALLS) == [(gap, level) for gap in range(3) for level in range(2)]
    content = _content(page)
    assert content["sizes"] == [3, 2] and len(content["states"]) == explorer.n_states == 6
    for place, state in enumerate(explorer.states()):
        picture, words = content["states"][place]
        assert content["words"][words] == [explorer.at(**state).html, explorer.at(**state).alt]
        assert content["pictures"][picture].startswith("data:image/png;base64,")
    assert len(content["pictures"]) == 3  # equal pictures are stored once


def test_page_starts_with_the_starting_state_and_loads_nothing(explorer):
    page = explorer.page()
    soup = BeautifulSoup(page, "html.parser")
    first = explorer.at(**explorer.start)
    assert soup.select_one(".hsds-words").decode_contents() == first.html
    assert soup.select_one(".hsds-view img")["alt"] == first.alt
    assert soup.select_one("input")["value"] == "1" and soup.select_one("output").get_text() == "4 stops"
    assert loads_from_elsewhere(page) == []
    assert soup.select_one(".hsds-explorer")["aria-label"] == "A <demo>"


def test_text_cannot_end_the_script():
    page = Explorer(
        "x", "x", "x", [Control("a", "a", ("0", "1"))], lambda a: View("<svg></svg></script><b>out</b>")
    ).page()
    assert len(BeautifulSoup(page, "html.parser").select("script")) == 2
    assert _content(page)["words"][0][0] == "<svg></svg></script><b>out</b>"


def test_every_input_has_a_label(explorer):
    soup = BeautifulSoup(explorer.page(), "html.parser")
    assert all(field.find_parent("label") for field in soup.select("input, select"))


def test_live_controls_change_picture_and_words(explorer):
    import ipywidgets

    box = explorer.live()
    slider, choice = box.children[1:3]
    picture, words = box.children[3].children
    assert all(isinstance(control, ipywidgets.SelectionSlider) for control in (slider, choice))
    before = picture.value
    slider.value, choice.value = 2, 1
    assert picture.value == explorer.at(gap=2, level=1).picture != before
    assert "gap 2, level 1" in words.value and "gray 2" in words.value


def test_form_follows_the_environment(explorer, monkeypatch):
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", lambda thing, **_: shown.append(thing))
    for form in ("static", "live", ""):
        monkeypatch.setenv("HSDS_WIDGETS", form)
        explore(explorer)
    assert "text/html" in shown[0] and hasattr(shown[1], "children") and hasattr(shown[2], "children")
    monkeypatch.setenv("HSDS_WIDGETS", "sometimes")
    with pytest.raises(ValueError, match="'sometimes'; set it to 'live'"):
        explore(explorer)


def test_impossible_controls_and_views_are_refused():
    with pytest.raises(ValueError, match="two or more, all different"):
        Control("a", "a", ("1", "1"))
    with pytest.raises(ValueError, match="give 0 to 1"):
        Control("a", "a", ("1", "2"), start=2)
    with pytest.raises(ValueError, match="empty alt text"):
        View(picture=b"\x89PNG")
    with pytest.raises(ValueError, match="PNG, JPEG or WebP"):
        View(picture=b"GIF89a", alt="a cat")


def test_size_counts_equal_pictures_once(explorer):
    pictures = {explorer.at(**state).picture for state in explorer.states()}
    assert explorer.megabytes == pytest.approx(
        (sum(map(len, pictures)) + sum(len(explorer.at(**s).html) for s in explorer.states())) / 1e6
    )
    assert "6 states, 0.0 MB" in explorer.page()


def test_recording_comes_back_and_equal_ones_are_equal_files(tmp_path):
    facts, pictures = {"theta": [0.05, 0.1]}, {"1.webp": b"RIFFx", "0.webp": b"RIFFy"}
    for name in ("a.zip", "b.zip"):
        write_recording(tmp_path / name, facts, pictures)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert read_recording(tmp_path / "a.zip") == (facts, pictures)
    (tmp_path / "c.zip").write_bytes(b"no zip")
    with pytest.raises(ValueError, match="is no recording"):
        read_recording(tmp_path / "c.zip")
    with pytest.raises(FileNotFoundError, match="no recording"):
        read_recording(tmp_path / "d.zip")


def test_table_escapes_what_it_is_given():
    soup = BeautifulSoup(
        table(("metric", "value"), [("<SD>", "1"), ("EN", "2")], caption="scores", strong=1), "html.parser"
    )
    assert [cell.get_text() for cell in soup.select("td")] == ["<SD>", "1", "EN", "2"]
    assert [bool(row.get("style")) for row in soup.select("tbody tr")] == [False, True]
