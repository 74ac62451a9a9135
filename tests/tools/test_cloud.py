"""Codespaces and Colab: settings, guide and set-up files agree, and the guarded cell does nothing anywhere else."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from notebooks.tools import cloud

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONTAINER = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
GUIDE = (ROOT / "notebooks" / "guides" / "cloud.md").read_text(encoding="utf-8")


def test_container_has_a_python_that_the_project_allows() -> None:
    found = re.fullmatch(r"mcr\.microsoft\.com/devcontainers/python:(\d+\.\d+)-\w+", CONTAINER["image"])
    assert found is not None
    assert found[1] in SpecifierSet(PROJECT["requires-python"])
    assert f"Python\n{found[1]}" in GUIDE
    # What continuous integration runs, too.
    assert f"- python={found[1]}\n" in (ROOT / "environment.yml").read_text(encoding="utf-8")


def test_container_runs_and_opens_what_there_is() -> None:
    assert CONTAINER["postCreateCommand"] == "make setup"
    commands = [CONTAINER["postCreateCommand"], *(port["label"] for port in CONTAINER["portsAttributes"].values())]
    targets = {target for command in commands for target in re.findall(r"make (\w+)", command)}
    assert targets == {"setup", "lab", "apps"}
    assert targets <= set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    interpreter = CONTAINER["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert interpreter.endswith("/" + re.findall(r"^PY := (\S+)", MAKEFILE, re.MULTILINE)[0])
    assert {str(port) for port in CONTAINER["forwardPorts"]} == set(CONTAINER["portsAttributes"])


def test_colab_gets_every_dependency_or_brings_it() -> None:
    names = {Requirement(line).name for line in PROJECT["dependencies"]}
    listed = {Requirement(line).name for line in cloud.missing_in_colab()}
    assert names >= cloud.PREINSTALLED
    assert names >= cloud.NOT_IN_CLOUD
    assert names == listed | cloud.PREINSTALLED | cloud.NOT_IN_CLOUD
    assert not listed & (cloud.PREINSTALLED | cloud.NOT_IN_CLOUD)
    assert "torch" not in listed


def test_guide_names_the_allowed_pythons_and_a_command_that_exists() -> None:
    assert PROJECT["requires-python"] in GUIDE
    assert f"!python -m {cloud.__name__}" in GUIDE


def test_only_what_is_missing_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def installed(name: str) -> str:
        if name == "kornia":
            raise PackageNotFoundError(name)
        return "1"

    wanted = cloud.missing_in_colab()
    kornia = [line for line in wanted if line.startswith("kornia>")]
    assert cloud.missing_here(wanted, installed=installed) == kornia
    assert cloud.main() == 0
    assert capsys.readouterr().out == "\n"  # everything is installed here


@pytest.mark.parametrize(
    ("present", "stops"),
    [
        ((), False),
        (("hsds_lib",), False),
        (("google",), False),
        (("google", "google.colab", "hsds_lib"), False),
        (("google", "google.colab"), True),
    ],
)
def test_guarded_cell_stops_only_in_colab_without_the_course(
    present: Collection[str], stops: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(name: str) -> object | None:
        # As Python does it: the parent of a dotted name must be there.
        if "." in name and name.partition(".")[0] not in present:
            raise ModuleNotFoundError(name)
        return object() if name in present else None

    monkeypatch.setattr(importlib.util, "find_spec", find)
    if stops:
        with pytest.raises(SystemExit, match=r"guides/cloud\.md"):
            exec(cloud.FIRST_CELL, {})
    else:
        exec(cloud.FIRST_CELL, {})


def test_guarded_cell_keeps_the_rules_of_notebooks() -> None:
    assert (ROOT / "notebooks" / "guides" / "cloud.md").is_file()
    assert not [bad for bad in ("!pip", "%pip", "sys.path", "import *") if bad in cloud.FIRST_CELL]
    assert len(cloud.FIRST_CELL.splitlines()) <= 15
