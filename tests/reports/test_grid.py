"""Grids of a sweep: bad ones are refused before anything runs, good ones are products without repetition."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest

from hsds_lib.reports.grid import MOST, Grid, combinations, load_grid, plan
from hsds_lib.reports.notebook import find_notebooks
from hsds_lib.reports.sweep import run_sweep

GRIDS = sorted((find_notebooks() / "grids").glob("*.json"))


def written(folder: Path, text: str) -> Path:
    path = folder / "grid.json"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            '{"notebook": "01_swept", "parameter": {"seed": 1}}',
            "unknown key 'parameter'; a grid has notebook, parameters",
        ),
        ('{"parameters": {"seed": 1}}', "the key 'notebook' is missing"),
        ('{"notebook": []}', "'notebook' is empty"),
        ('{"notebook": "01_swept", "parameters": {"seed": []}}', "'parameters.seed' is empty"),
        (
            '{"notebook": "01_swept", "parameters": {"seed": [[1]]}}',
            r"'parameters.seed' is \[1\], but must be a number",
        ),
        ('{"notebook": "01_swept", "parameters": {"seed": NaN}}', "NaN is not a finite number"),
        ('{"notebook": "01_swept", "parameters": {"seed": {"a": 1}}}', "must be a list or a single value"),
        ('{"notebook": "01_swept", "runs": [{}]}', "'runs.0' is empty"),
        ("[1]", "holds no JSON object"),
        ("{", "is not valid JSON"),
        ("null", "holds no JSON object"),
        ('{"notebook": "01_swept", "parameters": {"seed": ' + "[" * 300 + "]" * 300 + "}}", "nested deeper than 100"),
        ('{"notebook": "01_swept", "parameters": {"\\ud800": [{"\\ud800": "\\n"}]}}', "surrogates not allowed"),
    ],
)
def test_a_bad_grid_file_is_one_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        load_grid(written(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 1 and "grid.json" in str(caught.value)


@pytest.mark.parametrize(
    ("grid", "sentence"),
    [
        ({"notebook": "09_gone"}, "no notebook is called 09_gone"),
        ({"parameters": {"sede": 1}}, "unknown parameter sede; the notebooks of the grid know mode, place, seed"),
        ({"runs": [{"seed": 1}, {"sede": 1}]}, "unknown parameter sede"),
        ({"exclude": [{"sede": 1}]}, "unknown parameter sede"),
        ({"parameters": {"seed": [1, 2]}, "exclude": [{"seed": 3}]}, r'exclude {"seed": 3} meets no combination'),
        ({"parameters": {"seed": 1}, "exclude": [{"seed": 1}]}, "excludes all its combinations"),
        ({"parameters": {"out": "runs/x"}}, "a grid cannot set 'out'"),
    ],
)
def test_a_grid_that_does_not_fit_is_refused_before_anything_runs(
    grid: dict[str, Any], sentence: str, swept: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=sentence):
        run_sweep(Grid(**{"notebook": "01_swept", **grid}), tmp_path / "out", notebooks=swept)
    assert not (tmp_path / "out").exists()


def test_a_grid_is_the_product_and_the_further_runs_without_what_is_excluded(swept: Path) -> None:
    grid = Grid(
        notebook="01_swept",
        parameters={"seed": [1, 2], "mode": ["fine", "fails"]},
        runs=[{"seed": 5}],
        exclude=[{"seed": 2.0, "mode": "fails"}],
    )
    assert [run.given for run in plan(grid, swept)] == [
        {"seed": 1, "mode": "fine"},
        {"seed": 1, "mode": "fails"},
        {"seed": 2, "mode": "fine"},
        {"seed": 5},
    ]


def test_equal_combinations_are_merged_also_with_defaults(swept: Path) -> None:
    grid = Grid(
        notebook=["01_swept", "01_swept"], parameters={"seed": [0, 1, 1]}, runs=[{"mode": "fine"}, {"seed": True}]
    )
    assert [run.given for run in plan(grid, swept)] == [{"seed": 0}, {"seed": 1}, {"seed": True}]


def test_the_hash_follows_name_parameters_and_source_but_not_outputs(swept: Path, tmp_path: Path) -> None:
    def keys(folder: Path, name: str = "01_swept") -> list[str]:
        return [run.key for run in plan(Grid(notebook=name, parameters={"seed": [1, 2]}), folder)]

    path = shutil.copytree(swept, tmp_path / "copy") / "01_swept.ipynb"
    before = keys(swept)
    assert len(set(before)) == 2 and keys(path.parent) == before
    shutil.copy(path, path.with_name("02_other.ipynb"))
    assert not set(keys(path.parent, "02_other")) & set(before)
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].outputs = [nbformat.v4.new_output("stream", text="other")]
    nbformat.write(notebook, path)
    assert keys(path.parent) == before
    notebook.cells[-1].source += "\n1 + 1"
    nbformat.write(notebook, path)
    assert not set(keys(path.parent)) & set(before)


def test_each_run_gets_its_own_folder_for_results() -> None:
    (run,) = plan(Grid(notebook="05_dual_search"), find_notebooks())
    assert run.parameters["out"] == "results" and "out" not in run.given


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_the_grids_in_the_checkout_fit_the_notebooks(path: Path) -> None:
    assert len(plan(load_grid(path), find_notebooks())) > 1


def test_there_is_an_example_grid() -> None:
    assert "thresholds" in [path.stem for path in GRIDS]


def test_a_grid_of_a_thousand_million_runs_is_refused_before_any_is_made() -> None:
    for grid in (
        Grid(notebook="01_swept", parameters={name: tuple(range(1000)) for name in "abc"}),
        Grid(notebook="01_swept", parameters={f"p{number}": (0, 1) for number in range(20_000)}),
        Grid(notebook="01_swept", runs=({"seed": 1},) * (MOST + 1)),
        Grid(notebook="01_swept", parameters={"seed": (1,)}, exclude=({"seed": 2},) * (MOST + 1)),
    ):
        with pytest.raises(ValueError, match="more than 10000 combinations"):
            combinations(grid)
    assert len(combinations(Grid(notebook="01_swept", parameters={"seed": tuple(range(MOST))}))) == MOST
