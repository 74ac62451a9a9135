"""Two runs with the same seed give the same report but for times; figures can be kept as vectors; data is hashed."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup

from hsds_lib.course.source import versions
from hsds_lib.reports.data import data_facts, data_line
from hsds_lib.reports.execute import run_reports
from hsds_lib.reports.record import comparable
from hsds_lib.runtime import read_json

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

from hsds_lib.course.figures import show
from hsds_lib.course.widgets import Control, Explorer, View, explore

numbers = torch.rand(5, generator=torch.Generator().manual_seed(seed))
print(numbers.tolist())

# %%
for name in ("first", "second"):
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot(numbers)
    show(figure, alt=f"The {name} line.")

# %%
explore(Explorer("demo", "Demo", "Real.", [Control("n", "n", ("0", "1"))], lambda n: View(f"<b>{numbers[n]:.3f}</b>")))
"""


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
        assert run_reports(out=out, notebooks=folder / "notebooks", figures=True)[0].ok
    return outs


def _page_without_times(path: Path) -> str:
    soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    varying = soup.select("[data-varies]")
    assert 3 <= len(varying) <= 6, "only a few places may differ"
    for element in varying:
        element.clear()
    return str(soup)


def test_two_runs_give_the_same_page_but_for_times(runs: list[Path]) -> None:
    once, twice = (_page_without_times(out / "01_chance.html") for out in runs)
    assert once == twice


def test_two_runs_give_the_same_record_but_for_times(runs: list[Path]) -> None:
    once, twice = (read_json(out / "01_chance.json") for out in runs)
    assert comparable(once) == comparable(twice)
    assert comparable(once)["parameters"]["seed"] == 3
    assert {"seconds", "cell_seconds"} <= set(once) - set(comparable(once))


def test_two_runs_give_the_same_outputs(runs: list[Path]) -> None:
    once, twice = (nbformat.read(out / "01_chance.ipynb", as_version=4) for out in runs)
    assert [cell.get("outputs") for cell in once.cells] == [cell.get("outputs") for cell in twice.cells]


def test_explorers_move_in_a_report(runs: list[Path]) -> None:
    page = BeautifulSoup((runs[0] / "01_chance.html").read_text(encoding="utf-8"), "html.parser")
    box = page.select_one(".hsds-explorer")
    assert box.select_one("input[type=range]") and len(box.select("script")) == 2


def test_figures_are_kept_as_vectors_with_text_as_text(runs: list[Path]) -> None:
    names = sorted(path.name for path in (runs[0] / "01_chance_figures").iterdir())
    assert names == [f"{n:02d}.{form}" for n in (1, 2) for form in ("pdf", "png", "svg")]
    for name in names:
        assert (runs[0] / "01_chance_figures" / name).read_bytes() == (
            runs[1] / "01_chance_figures" / name
        ).read_bytes(), name
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


def test_without_data_there_is_no_hash(tmp_path: Path) -> None:
    assert data_facts(None) is None and data_facts(str(tmp_path / "none")) is None
    assert data_line(None) == "no data set"
