"""What the set-up cell of a notebook gives, and the map of the course."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import hsds_lib
from hsds_lib.config import PRESETS
from hsds_lib.course import session
from hsds_lib.course.session import start

CHECKOUT = Path(hsds_lib.__file__).resolve().parent.parent
START_HERE = CHECKOUT / "notebooks" / "src" / "00_start_here.py"


def test_start_puts_data_and_seed_into_both_configurations() -> None:
    nb = start("lesson", notebook="x", data="mefb", seed=7, device="cpu")
    assert (nb.search.data, nb.search.seed) == (nb.train.data, nb.train.seed) == ("mefb", 7)
    assert nb.search.changed(data="embedded", seed=0) == PRESETS["lesson"].search


def test_start_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    start("tiny", notebook="05_dual_search")
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("05_dual_search: preset tiny, data embedded, seed 0, on cpu")


def test_start_refuses_an_unknown_preset_and_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'huge' is unknown; choose one of tiny, lesson, paper"):
        start("huge", notebook="x")


def test_start_refuses_an_unknown_device() -> None:
    with pytest.raises(ValueError, match="device 'abacus' is unknown"):
        start("tiny", notebook="x", device="abacus")


def test_tiny_computes_on_the_cpu_whatever_else_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(session, "pick_device", lambda name: asked.append(name))
    assert start("tiny", notebook="x").device == "cpu"
    assert asked == []


def test_tiny_writes_into_a_folder_that_vanishes_with_the_session() -> None:
    nb = start("tiny", notebook="x")
    folder = nb.out
    (folder / "file").write_text("kept while the session lives")
    nb._temporary.cleanup()  # what the interpreter does at its end
    assert not folder.exists()


def test_long_presets_write_below_runs_in_the_checkout_and_make_nothing_yet() -> None:
    nb = start("lesson", notebook="05_dual_search", device="cpu")
    assert nb.out.parent == CHECKOUT / "runs"
    assert nb.out.name.startswith("05_dual_search-lesson-")
    assert not nb.out.exists()


def test_a_folder_that_is_given_is_used(tmp_path: Path) -> None:
    assert start("tiny", notebook="x", out=str(tmp_path / "here")).out == tmp_path / "here"


def test_colophon_tells_parameters_versions_and_further_facts() -> None:
    table = start("tiny", notebook="x", seed=3).colophon(features="random VGG-16 features")
    told = dict(table.rows)
    assert told["seed"] == "3" and told["preset"] == "tiny"
    assert told["features"] == "random VGG-16 features"
    assert "torch 2" in told["packages"]
    assert table.title


def test_colophon_marks_its_times_and_nothing_else() -> None:
    nb = start("tiny", notebook="x")
    shown = nb.colophon(source="written by hand")._repr_html_()
    marked = re.findall(r"<tr><td[^>]*>([^<]*)</td><td data-varies", shown)
    assert sorted(marked) == ["duration", "written"]
    assert shown.count("data-varies") == 2


@pytest.mark.skipif(not START_HERE.is_file(), reason="notebooks are part of a checkout")
def test_the_map_of_the_course_links_exactly_the_notebooks_that_exist() -> None:
    rows = re.findall(r"^# \| (.*?) \|.*\|.*\|$", START_HERE.read_text(encoding="utf-8"), flags=re.M)
    numbered = [row for row in rows if re.match(r"\W*\d\d ", row)]
    assert len(numbered) == 10
    existing = {path.stem for path in START_HERE.parent.glob("[0-9]*.py")} - {START_HERE.stem}
    linked = {found[1] for row in numbered if (found := re.search(r"\]\((\w+)\.ipynb\)", row))}
    absent = [row for row in numbered if "not there yet" in row]
    assert linked == existing
    assert len(absent) == 10 - 1 - len(existing)
