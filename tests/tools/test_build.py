"""Notebooks are built from their sources, the same every time, and drift between the two is noticed."""

from __future__ import annotations

import base64
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import nbformat
import pytest
from PIL import Image

from hsds_lib.reports import notebook as kernel
from notebooks.tools import build as builder
from notebooks.tools.cloud import FIRST_CELL

SOURCE = """
# %% [markdown]
# # 1 · A toy
#
# With a formula, $a_k$, and links: [map](00_map.ipynb#top), [web](https://example.org/a.ipynb).

# %% tags=["parameters"]
preset: str = "tiny"  # tiny | lesson | paper

# %%
import os
import sys

from matplotlib import pyplot as plt

from hsds_lib.course.show import show

print("setup of this machine:", sys.version)

# %% tags=["verdict"]
print("half:", round(0.5, 2))
sum([1, 2, 3])

# %% tags=["verdict"]
print(os.environ["OMP_NUM_THREADS"], "HSDS_DATA" in os.environ, "HSDS_FIXTURES" in os.environ)
print(plt.get_backend())

# %% tags=["verdict"]
print("working folder is empty:", os.listdir() == [])
print("kernel:", sys.executable)

# %% [markdown] tags=["solution"]
# One way to do it:

# %% tags=["solution"]
answer = 42

# %% tags=["verdict"]
"answer" in globals()

# %% tags=["hero"]
figure, axes = plt.subplots(figsize=(4, 2))
axes.plot([0, 1, 0])
show(figure, alt="A line that rises and falls.")
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder ``notebooks``, built once, under settings that would change the outputs if they got through."""
    notebooks = tmp_path_factory.mktemp("checkout") / "notebooks"
    (notebooks / "src").mkdir(parents=True)
    (notebooks / "src" / "01_toy.py").write_text(SOURCE.lstrip(), encoding="utf-8")
    evil = tmp_path_factory.mktemp("evil")
    spec = evil / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text('{"argv": ["no-such-python"], "display_name": "Python 3", "language": "python"}', encoding="utf-8")
    settings = {
        "JUPYTER_PATH": str(evil),
        "JUPYTER_PREFER_ENV_PATH": "0",
        "MPLBACKEND": "svg",
        "HSDS_DATA": "/somewhere",
        "HSDS_FIXTURES": "/somewhere",
        "OMP_NUM_THREADS": "7",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        builder.build(notebooks=notebooks)
    yield notebooks


@pytest.fixture
def toy(built: Path, tmp_path: Path) -> Path:
    """A copy of the built folder, to be spoilt."""
    return Path(shutil.copytree(built, tmp_path / "notebooks"))


def _read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def _cell(notebook: Any, text: str) -> Any:
    [cell] = [cell for cell in notebook.cells if text in cell.source]
    return cell


def _text(cell: Any) -> str:
    return "".join(output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)


def test_build_stores_the_text_of_verdicts_and_one_picture(built):
    notebook = _read(built / "01_toy.ipynb")
    codes = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert _text(_cell(notebook, "half")) == "half: 0.5\n6"
    assert _cell(notebook, "setup of this machine").outputs == []
    assert all({"verdict", "hero"} & set(cell.metadata.tags) for cell in codes if cell.outputs)
    assert all(("nbval-ignore-output" in cell.metadata.tags) != ("verdict" in cell.metadata.tags) for cell in codes)
    assert [cell.execution_count for cell in codes] == list(range(1, len(codes) + 1))
    [output] = _cell(notebook, "show(figure").outputs
    assert list(output.data) == ["image/png"]
    assert output.metadata["image/png"]["alt"] == "A line that rises and falls."
    assert Image.open(BytesIO(base64.b64decode(output.data["image/png"]))).width <= 4 * 96 + 20


def test_build_runs_this_interpreter_in_an_empty_folder_whatever_the_machine_is_told(built):
    notebook = _read(built / "01_toy.ipynb")
    assert _text(_cell(notebook, "kernel:")) == f"working folder is empty: True\nkernel: {sys.executable}\n"
    variables, backend = _text(_cell(notebook, "OMP_NUM_THREADS")).splitlines()
    assert variables == "1 False False" and "inline" in backend


def test_build_stores_no_provenance(built):
    raw = json.loads((built / "01_toy.ipynb").read_text(encoding="utf-8"))
    assert set(raw["metadata"]) == {"kernelspec", "language_info"}
    assert raw["metadata"]["kernelspec"]["name"] == "python3"
    assert "version" not in raw["metadata"]["language_info"]
    assert all(set(cell["metadata"]) <= {"tags", "jupyter", "slideshow"} for cell in raw["cells"])


def test_solutions_have_a_folder_of_their_own_out_of_which_links_lead(built):
    student, full = _read(built / "01_toy.ipynb"), _read(built / "solutions" / "01_toy.ipynb")
    assert "[map](00_map.ipynb#top), [web](https://example.org/a.ipynb)" in student.cells[0].source
    assert "[map](../00_map.ipynb#top), [web](https://example.org/a.ipynb)" in full.cells[0].source
    assert not any("answer = 42" in cell.source or "One way" in cell.source for cell in student.cells)
    assert len(full.cells) == len(student.cells) + 2
    assert [_text(_cell(notebook, "in globals")) for notebook in (student, full)] == ["False", "True"]
    for notebook in (student, full):
        first = next(cell for cell in notebook.cells if cell.cell_type == "code")
        assert first.source == FIRST_CELL.rstrip() and not first.outputs
        assert first.metadata.jupyter == {"source_hidden": True}


def test_build_twice_gives_equal_bytes(toy):
    before = {path: path.read_bytes() for path in toy.rglob("*.ipynb")}
    builder.build(["01_toy"], notebooks=toy)
    assert len(before) == 2
    assert {path: path.read_bytes() for path in before} == before


def test_ids_come_from_the_content_and_are_unique(built, tmp_path):
    ids = [cell.id for cell in _read(built / "01_toy.ipynb").cells]
    assert len(set(ids)) == len(ids)
    # One more cell on top leaves the ids of the others alone.
    longer = tmp_path / "02_longer.py"
    longer.write_text("# %% [markdown]\n# new\n\n" + SOURCE.lstrip(), encoding="utf-8")
    [notebook, _] = builder.versions(longer, tmp_path).values()
    assert [cell.id for cell in notebook.cells][1:] == ids


def test_failing_cells_are_named_and_leave_the_old_notebook(toy, capsys, monkeypatch):
    before = (toy / "01_toy.ipynb").read_bytes()
    parameters = '# %% tags=["parameters"]\na = 1\n\n# %%\n'
    (toy / "src" / "01_toy.py").write_text(parameters + "b = 2\n\n# %%\nprint(a / (b - 2))\n", encoding="utf-8")
    (toy / "src" / "02_slow.py").write_text(parameters + "import time\n\ntime.sleep(60)\n", encoding="utf-8")
    monkeypatch.setattr(builder, "find_notebooks", lambda: toy)
    monkeypatch.setattr(builder, "CELL_TIMEOUT", 2)
    assert builder.main([]) == 1
    said = capsys.readouterr().err
    assert "notebooks/01_toy.ipynb, cell 4 failed" in said
    assert "ZeroDivisionError: division by zero" in said
    assert "notebooks/02_slow.ipynb, cell 3 took longer than 2 s" in said
    assert "\x1b" not in said
    assert (toy / "01_toy.ipynb").read_bytes() == before
    assert not [path for path in toy.iterdir() if path.name.startswith(".") or path.name == "02_slow.ipynb"]


def test_check_agrees_after_a_build_and_executes_nothing(built, monkeypatch):
    monkeypatch.setattr(builder.NotebookClient, "execute", lambda self: pytest.fail("check() executed a notebook"))
    assert builder.check(notebooks=built) == []
    assert builder.check(["01_toy"], notebooks=built) == []


def _edit_source(old: str, new: str) -> Callable[[Path], None]:
    def edit(toy: Path) -> None:
        source = toy / "src" / "01_toy.py"
        source.write_text(source.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")

    return edit


def _edit_notebook(change: Callable[[Any], None], name: str = "01_toy.ipynb") -> Callable[[Path], None]:
    def edit(toy: Path) -> None:
        path = toy / name
        notebook = json.loads(path.read_text(encoding="utf-8"))
        change(notebook)
        path.write_text(json.dumps(notebook), encoding="utf-8")

    return edit


ERROR = {"output_type": "error", "ename": "ValueError", "evalue": "bad", "traceback": []}
DRIFTS = {
    "code changed": (_edit_source("half", "quarter"), "cell 5 differs from its source"),
    "prose changed": (_edit_source("A toy", "The toy"), "cell 1 differs from its source"),
    "not built yet": (
        lambda toy: shutil.copy(toy / "src" / "01_toy.py", toy / "src" / "02_new.py"),
        "02_new.ipynb: is missing",
    ),
    "orphan": (lambda toy: (toy / "src" / "01_toy.py").unlink(), "01_toy.ipynb: no source"),
    "cell gone": (_edit_notebook(lambda notebook: notebook["cells"].pop()), "has 8 cells, its source has 9"),
    "id": (_edit_notebook(lambda notebook: notebook["cells"][0].update(id="abc")), "(id)"),
    "tag": (_edit_notebook(lambda notebook: notebook["cells"][4]["metadata"]["tags"].append("x")), "(metadata)"),
    "metadata": (_edit_notebook(lambda notebook: notebook["metadata"].update(widgets={})), "metadata"),
    "stripped": (
        _edit_notebook(lambda notebook: notebook["cells"][4].update(execution_count=None)),
        "cell 5 was not executed",
    ),
    "rerun": (_edit_notebook(lambda notebook: notebook["cells"][4].update(execution_count=9)), "instead of 4"),
    "error": (_edit_notebook(lambda notebook: notebook["cells"][4].update(outputs=[ERROR])), "holds an error"),
    "no verdict": (_edit_notebook(lambda notebook: notebook["cells"][4].update(outputs=[])), "without stored text"),
    "unasked output": (_edit_notebook(lambda notebook: notebook["cells"][3].update(outputs=[ERROR])), "stores an"),
    "solutions": (
        _edit_notebook(lambda notebook: notebook["cells"].pop(), name="solutions/01_toy.ipynb"),
        "solutions/01_toy.ipynb: has 10 cells",
    ),
    "no notebook": (lambda toy: (toy / "01_toy.ipynb").write_text("{", encoding="utf-8"), "is no notebook"),
}


@pytest.mark.parametrize("drift", DRIFTS)
def test_check_finds_drift(toy, drift, monkeypatch, capsys):
    spoil, expected = DRIFTS[drift]
    spoil(toy)
    monkeypatch.setattr(builder, "find_notebooks", lambda: toy)
    assert builder.main(["--check"]) == 1
    said = capsys.readouterr().err
    assert expected in said
    assert "make notebooks" in said


def test_unknown_name_is_refused_with_the_known_ones(built):
    with pytest.raises(ValueError, match=r"02_nothing.*01_toy"):
        builder.check(["02_nothing"], notebooks=built)


def test_outside_a_checkout_the_error_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(kernel, "_LIBRARY_FOLDER", tmp_path)
    assert builder.main(["--check"]) == 1
    assert "part of a checkout" in capsys.readouterr().err
