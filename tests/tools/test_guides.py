"""The guides say what is so: links lead somewhere, commands and messages exist, minutes are the notebooks' own."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name

import pytest
import typer.main

from hsds_lib.course.checks import all_exercises
from notebooks.tools import guides
from notebooks.tools.source import versions

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"
GUIDES = sorted((NOTEBOOKS / "guides").glob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
BOOTSTRAP = (ROOT / "bootstrap.sh").read_text(encoding="utf-8")
FACTS = guides.notebook_facts()

every_guide = pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)


def _read(name: str) -> str:
    return (NOTEBOOKS / "guides" / f"{name}.md").read_text(encoding="utf-8")


def _rows(text: str) -> list[list[str]]:
    """The cells of all table rows but the headings."""
    lines = text.splitlines()
    rows = [
        line
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
        if line.startswith("| ") and after[:4] != "|---"
    ]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


@cache
def _notebooks_to_be() -> set[Path]:
    """What the sources make, built or not: the builder's own test says whether it is there."""
    return {target for source in (NOTEBOOKS / "src").glob("*.py") for target in versions(source, NOTEBOOKS)}


@every_guide
def test_links_lead_somewhere(guide: Path) -> None:
    targets = [target.partition("#")[0] for target in LINK.findall(guide.read_text(encoding="utf-8"))]
    local = [(guide.parent / target).resolve() for target in targets if target and "://" not in target]
    assert [path for path in local if not path.exists() and path not in _notebooks_to_be()] == []


def test_generated_parts_are_those_of_the_notebooks() -> None:
    assert guides.main(["--check"]) == 0


def test_every_notebook_is_in_the_instructors_guide() -> None:
    text = _read("instructor")
    for notebook in FACTS:
        assert f"(../{notebook.name}.ipynb)" in text
        assert re.search(rf"^\*\*{notebook.name[:2]} · ", text, re.MULTILINE), f"no question for {notebook.name}"


def test_every_exercise_and_mistake_is_in_the_instructors_guide() -> None:
    parts = guides.generated()["instructor.md"]
    assert set(re.findall(r"\[(\d+\.\d+)\]", parts["grading"])) == set(all_exercises())
    assert set(re.findall(r"\*\*(\d+\.\d+)\*\*", parts["mistakes"])) == set(all_exercises())


def test_minutes_are_read_from_the_notebooks() -> None:
    for notebook in FACTS:
        source = (NOTEBOOKS / "src" / f"{notebook.name}.py").read_text(encoding="utf-8")
        head = " ".join(re.sub(r"^# ?", "", source.split("\n# %%")[1], flags=re.MULTILINE).split())
        assert f"**Time** {notebook.computing} of computing, {notebook.reading} of reading" in head
        assert f"(../{notebook.name}.ipynb) | {notebook.computing} | {notebook.reading} |" in _read("instructor")


def test_sessions_are_long_enough_and_hold_every_notebook() -> None:
    minutes = {notebook.name[:2]: guides.MINUTES[notebook.reading] for notebook in FACTS}
    rows = {row[0]: row for row in _rows(_read("instructor")) if row[0] in ("one", "three", "six")}
    assert set(rows) == {"one", "three", "six"}
    for _, each, *sessions in rows.values():
        for session in filter(None, sessions):
            known = [minutes[number] for number in session.split(", ") if number in minutes]
            assert sum(known) <= int(each.split()[0]), session
    assert set(minutes) <= set(re.findall(r"\d\d", " ".join(rows["six"][2:])))


def test_a_notebook_without_its_time_is_named(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    source = '# %% [markdown]\n# # 1 · A title\n#\n# **Time** soon\n\n# %% tags=["parameters"]\na = 1\n'
    (tmp_path / "src" / "01_toy.py").write_text(source, encoding="utf-8")
    with pytest.raises(guides.GuideError, match=r"01_toy.*\*\*Time\*\*"):
        guides.notebook_facts(tmp_path)


def test_a_guide_without_markers_is_refused() -> None:
    text = "<!-- begin a -->\nold\n<!-- end a -->"
    assert guides.updated(text, {"a": "new"}, where="x") == "<!-- begin a -->\nnew\n<!-- end a -->"
    with pytest.raises(guides.GuideError, match="begin b"):
        guides.updated(text, {"b": "new"}, where="x")


def _terms() -> list[re.Match[str]]:
    return list(re.finditer(r"^- \*\*(.+?)\*\* – (.+?) \[\d+\]\(\.\./(\w+)\.ipynb\)$", _read("glossary"), re.MULTILINE))


def test_glossary_is_alphabetical_and_brief() -> None:
    terms = _terms()
    names = [term[1].casefold() for term in terms]
    assert len(names) > 50
    assert len(names) == _read("glossary").count("\n- ")
    assert names == sorted(set(names))
    for term in terms:
        sentences = re.findall(r"[.:?](?= [A-Z]|$)", term[2])
        assert 1 <= len(sentences) <= 3, term[1]
        assert int(term[3][:2]) <= 9


@cache
def _identifiers() -> set[str]:
    """Every name that the library defines: functions, classes, arguments, attributes, constants."""
    found: set[str] = set()
    for path in (ROOT / "hsds_lib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.arg):
                found.add(node.arg)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
    return found


def test_every_symbol_has_its_name_in_the_library() -> None:
    rows = [row for row in _rows(_read("notation")) if len(row) == 5]
    assert len(rows) > 30
    for _, code, _, _, where in rows:
        [name] = CODE.findall(code)
        assert name in _identifiers(), name
        assert resolve_name(CODE.findall(where)[0]) is not None


def _commands(text: str) -> Iterator[str]:
    lines = [line for block in BLOCK.findall(text) for line in block.splitlines()]
    for code in [*lines, *CODE.findall(BLOCK.sub("", text))]:
        for part in code.split("&&"):
            words = part.strip()
            while re.match(r"[A-Z_]+=\S+ ", words):  # a variable for one command
                words = words.partition(" ")[2]
            if re.match(r"(make|hsds|\.venv/bin/\w+|bash) ", words):
                yield words


def _check_hsds(words: list[str]) -> None:
    from hsds_lib.cli import app

    command = typer.main.get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words[1:]:
        if word.startswith("-"):
            assert word.partition("=")[0] in {*options, "--help"}, word


def _check_module(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert find_spec(words[0]), words[0]
    if words[0].startswith(("hsds_lib.", "data_scripts.", "notebooks.")):
        with pytest.raises(SystemExit):
            import_module(words[0]).main(["--help"])
        known = capsys.readouterr().out
        assert all(word in known for word in words[1:] if word.startswith("--"))


@every_guide
def test_commands_exist(guide: Path, capsys: pytest.CaptureFixture[str]) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for command in _commands(guide.read_text(encoding="utf-8")):
        first, *words = shlex.split(command)
        if first == "make":
            assert words[0] in targets, command
        elif first == "bash":
            assert (ROOT / words[0]).is_file(), command
            assert all(f"    {word})" in BOOTSTRAP or f"    {word}) " in BOOTSTRAP for word in words[1:]), command
        elif first.endswith("hsds"):
            _check_hsds(words)
        elif words[0] == "-m":
            _check_module(words[1:], capsys)
        else:
            assert words[0] == "-c", command
            exec(words[1], {})


def test_commands_are_found_in_the_guides() -> None:
    assert len(list(_commands(_read("troubleshooting")))) > 20
