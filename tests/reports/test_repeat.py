"""Two runs with the same seed give the same report but for times; figures can be kept as vectors; data is hashed."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from bs4 import BeautifulSoup

from hsds_lib.images.io import write_rgb
from hsds_lib.reports.execute import run_reports
from hsds_lib.reports.record import data_facts, data_line
from hsds_lib.runtime import read_json
from notebooks.tools.source import versions

SOURCE = """
# %% [markdown]
# # 1 · Chance

# %% tags=["parameters"]
preset: str = "tiny"  # tiny | lesson | paper
data: str = "embedded"  # which pictures
seed: int = 3  # of everything random

# %%
import torch
from matplotlib.figure import Figure

from hsds_lib.course.show import show
from hsds_lib.course.session import start
from hsds_lib.course.tables import Table
from hsds_lib.course.widgets import Control, Explorer, View, explore

nb = start(preset, notebook="01_chance", data=data, seed=seed)
numbers = torch.rand(5, generator=torch.Generator().manual_seed(seed))
print(numbers.tolist())

# %%
for name in ("first", "second"):
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot(numbers)
    show(figure, alt=f"The {name} line.")

# %%
explore(Explorer("demo", "Demo", "Real.", [Control("n", "n", ("0", "1"))], lambda n: View(f"<b>{numbers[n]:.3f}</b>")))

# %%
Table(("mean", "largest"), [(numbers.mean().item(), numbers.max().item())])

# %%
nb.colophon()
"""


def comparable_record(record: dict[str, Any]) -> dict[str, Any]:
    """The JSON of a report without durations and the moment of writing."""
    kept = {key: value for key, value in record.items() if key not in ("seconds", "cell_seconds", "slowest_cells")}
    return {**kept, "provenance": {key: value for key, value in record["provenance"].items() if key != "written"}}


def comparable_page(page: str) -> str:
    """A page, or a piece of one, with the elements emptied that are marked with ``data-varies``."""
    soup = BeautifulSoup(page, features="html.parser")
    for element in soup.select("[data-varies]"):
        element.clear()
    return str(soup)


def comparable_notebook(notebook: Any) -> Any:
    """An executed notebook without papermill's times; marked elements are emptied in outputs as well."""
    kept = nbformat.from_dict(notebook)
    for part in (kept, *kept.cells):
        part.metadata.pop("papermill", None)
        part.metadata.pop("execution", None)
    for output in (output for cell in kept.cells for output in cell.get("outputs", [])):
        if "data-varies" in output.get("data", {}).get("text/html", ""):
            output.data = nbformat.from_dict({"text/html": comparable_page(output.data["text/html"])})
    return kept


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same notebook, executed twice."""
    folder = tmp_path_factory.mktemp("repeat")
    source = folder / "notebooks" / "src" / "01_chance.py"
    source.parent.mkdir(parents=True)
    source.write_text(SOURCE.lstrip(), encoding="utf-8")
    for path, notebook in versions(source, folder / "notebooks").items():
        nbformat.write(notebook, path)
    outs = [folder / "once", folder / "twice"]
    for out in outs:
        assert run_reports(out=out, notebooks=folder / "notebooks", figures=out.name == "once")[0].ok
    return outs


def test_two_runs_give_the_same_page_but_for_times(runs: list[Path]) -> None:
    once, twice = ((out / "01_chance.html").read_text(encoding="utf-8") for out in runs)
    marked = BeautifulSoup(once, "html.parser").select("[data-varies]")
    assert 5 <= len(marked) <= 7, "only a few places may differ"
    assert not any(element.select("img, svg, .hsds-explorer") for element in marked)
    assert comparable_page(once) == comparable_page(twice)


def test_two_runs_give_the_same_record_but_for_times(runs: list[Path]) -> None:
    once, twice = (read_json(out / "01_chance.json") for out in runs)
    assert comparable_record(once) == comparable_record(twice)
    assert comparable_record(once)["parameters"]["seed"] == 3
    assert set(once) - set(comparable_record(once)) == {"seconds", "cell_seconds", "slowest_cells"}


def test_two_runs_give_the_same_notebook_but_for_times(runs: list[Path]) -> None:
    once, twice = (nbformat.read(out / "01_chance.ipynb", as_version=4) for out in runs)
    assert comparable_notebook(once) == comparable_notebook(twice)
    kept = {
        kind for cell in comparable_notebook(once).cells for o in cell.get("outputs", []) for kind in o.get("data", {})
    }
    assert kept >= {"image/png", "text/html"}


def test_another_number_makes_two_reports_differ(runs: list[Path]) -> None:
    once = nbformat.read(runs[0] / "01_chance.ipynb", as_version=4)
    other = nbformat.from_dict(once)
    [output] = [o for cell in other.cells for o in cell.get("outputs", []) if "tolist" in cell.source]
    output.text = output.text.replace("0.", "1.", 1)
    assert comparable_notebook(once) != comparable_notebook(other)


def test_figures_that_are_kept_do_not_change_the_report(runs: list[Path]) -> None:
    with_figures, without = (nbformat.read(out / "01_chance.ipynb", as_version=4) for out in runs)
    assert (runs[0] / "01_chance_figures").is_dir() and not (runs[1] / "01_chance_figures").exists()
    assert comparable_notebook(with_figures) == comparable_notebook(without)


def test_explorers_move_in_a_report(runs: list[Path]) -> None:
    page = BeautifulSoup((runs[0] / "01_chance.html").read_text(encoding="utf-8"), "html.parser")
    box = page.select_one(".hsds-explorer")
    assert box.select_one("input[type=range]") and len(box.select("script")) == 2


def test_figures_are_kept_as_vectors_with_text_as_text(runs: list[Path]) -> None:
    names = sorted(path.name for path in (runs[0] / "01_chance_figures").iterdir())
    assert names == [f"{n:02d}.{form}" for n in (1, 2) for form in ("pdf", "png", "svg")]
    svg = (runs[0] / "01_chance_figures" / "01.svg").read_text(encoding="utf-8")
    assert "<text" in svg and not re.search(r"<dc:date>\d", svg)
    notebook = nbformat.read(runs[0] / "01_chance.ipynb", as_version=4)
    shown = [
        o.data["image/png"] for c in notebook.cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})
    ]
    assert len(shown) == 2 and base64.b64decode(shown[0])[:4] == b"\x89PNG"


def test_the_data_of_a_report_is_hashed(runs: list[Path]) -> None:
    record = read_json(runs[0] / "01_chance.json")
    assert record["data"]["files"] == 5 and len(record["data"]["sha256"]) == 64
    assert record["data"]["sha256"][:16] in (runs[0] / "01_chance.html").read_text(encoding="utf-8")


def test_a_folder_is_hashed_by_its_bytes(tmp_path: Path) -> None:
    scene = tmp_path / "scene"
    scene.mkdir()
    for name in ("under.png", "over.png"):
        (scene / name).write_bytes(b"\x89PNG" + name.encode())
    before = data_facts(str(tmp_path))
    assert before is not None and before["files"] == 2 and before["by"] == "contents"
    (scene / "over.png").write_bytes(b"\x89PNGovex.png")
    after = data_facts(str(tmp_path))
    assert after is not None and after["sha256"] != before["sha256"] and after["bytes"] == before["bytes"]


def test_a_folder_has_the_same_hash_wherever_it_lies(tmp_path: Path) -> None:
    hashes = []
    for place in ("here", "there"):
        (tmp_path / place / "scene").mkdir(parents=True)
        (tmp_path / place / "scene" / "under.png").write_bytes(b"\x89PNG")
        facts = data_facts(str(tmp_path / place))
        assert facts is not None
        hashes.append(facts["sha256"])
    assert hashes[0] == hashes[1]
    (tmp_path / "there" / "scene").rename(tmp_path / "there" / "another")
    renamed = data_facts(str(tmp_path / "there"))
    assert renamed is not None and renamed["sha256"] != hashes[0]


def test_data_of_two_kinds_are_hashed_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSDS_DATA", str(tmp_path))
    for name in ("mefb", "sice_sample"):
        write_rgb(tmp_path / name / "hall" / "under.png", torch.zeros(3, 4, 4))
    parts = [data_facts(name) for name in ("real", "embedded", "real+embedded")]
    real, embedded, both = (part for part in parts if part is not None)
    assert both["files"] == real["files"] + embedded["files"] > real["files"] == 2
    assert both["bytes"] == real["bytes"] + embedded["bytes"]
    assert len({part["sha256"] for part in (real, embedded, both)}) == 3
    write_rgb(tmp_path / "mefb" / "hall" / "under.png", torch.ones(3, 4, 4))
    again = data_facts("real+embedded")
    assert again is not None and again["sha256"] != both["sha256"]


def test_without_data_there_is_no_hash(tmp_path: Path) -> None:
    assert data_facts(None) is None and data_facts(str(tmp_path / "none")) is None
    assert data_line(None) == "no data set"
