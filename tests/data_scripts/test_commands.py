"""``hsds data`` as a user meets it, and the scripts that do the same."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest

from data_scripts import commands
from data_scripts.registry import entry_names
from tests import command

SCRIPTS = Path(__file__).resolve().parents[2] / "data_scripts"
hsds = partial(command.hsds, "data")


@pytest.fixture(autouse=True)
def unset(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "data_root" in request.fixturenames:
        request.getfixturevalue("data_root")  # before it is unset
    monkeypatch.delenv("HSDS_DATA", raising=False)


def test_list_names_every_entry_with_size_licence_and_presence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mefb" / "Arno").mkdir(parents=True)
    (tmp_path / "mefb" / "Arno" / "under.png").touch()
    assert hsds("list", "--to", tmp_path) == 0
    said = capsys.readouterr().out
    for name in entry_names():
        assert f"\n{name} " in said and f"\n{name}: " in said
    assert "1 of 200 files" in said and "816 MB" in said and "research use" in said
    assert hsds("list") == 0
    assert "set HSDS_DATA or give --to DIR" in capsys.readouterr().out


def test_verify_exits_with_1_when_something_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hsds("verify", "sice", "--to", tmp_path) == 1
    assert "missing: sice" in capsys.readouterr().out


def test_verify_says_that_all_is_well(data_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hsds("verify", "sice_sample", "--to", data_root) == 0
    assert capsys.readouterr().out == "sice_sample: 28 files, all as they should be\n"


def test_hsds_data_names_the_folder_and_to_overrides_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HSDS_DATA", str(tmp_path / "one"))
    hsds("list")
    assert f"data folder: {tmp_path / 'one'}" in capsys.readouterr().out
    hsds("list", "--to", tmp_path / "two")
    assert f"data folder: {tmp_path / 'two'}" in capsys.readouterr().out


def test_ctrl_c_says_that_what_was_fetched_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pressed(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "fetch_entry", pressed)
    assert hsds("fetch", "mefb") == 130
    assert "what was fetched is kept, and the same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("mefb", "no folder for data was given"),
        ("sice_sample", "no folder for data was given"),
        ("coco", "no folder for data was given"),
        ("vgg16", "gone.pth does not exist"),
        ("sice", "no folder for data was given"),
    ],
)
def test_every_script_does_what_its_command_does(
    script: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--from", "gone.pth"] if script in ("vgg16", "sice") else []
    if script == "vgg16":
        words += ["--to", "nowhere"]
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *words])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPTS / f"{script}.py"), run_name="__main__")
    assert end.value.code == 2 and sentence in capsys.readouterr().err


def test_every_entry_has_a_script_and_a_row_in_the_table() -> None:
    scripts = {path.stem for path in SCRIPTS.glob("*.py") if "import run_script" in path.read_text(encoding="utf-8")}
    assert scripts == set(entry_names())
    table = (SCRIPTS / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)\.py` \|", table, flags=re.MULTILINE)
    assert rows[: len(scripts)] == entry_names()
    assert sorted(rows) == sorted(path.stem for path in SCRIPTS.glob("*.py") if path.stem != "__init__")


def test_no_module_hides_another_one_from_the_scripts() -> None:
    """A script's own folder comes first where modules are looked for."""
    found = {path.stem: find_spec(path.stem) for path in SCRIPTS.glob("*.py") if path.stem != "__init__"}
    assert [name for name, spec in found.items() if spec is not None] == []


def test_a_script_answers_without_the_heavy_libraries() -> None:
    script = [sys.executable, "-X", "importtime", str(SCRIPTS / "mefb.py"), "--help"]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    assert "mefb_test" in done.stdout.replace("\n", " ")
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "data_scripts.commands" in imported and not imported & {"torch", "numpy", "pooch", "requests", "cv2"}
