"""The guides say what is so: links lead somewhere, commands and messages exist, minutes are the notebooks' own."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer.main

from hsds_lib.course import guides
from hsds_lib.course.checks import all_exercises
from hsds_lib.course.source import versions

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
        assert f"({'../' + notebook.name}.ipynb) | {notebook.computing} | {notebook.reading} |" in _read("instructor")


def test_sessions_are_long_enough_and_hold_every_notebook() -> None:
    minutes = {notebook.name[:2]: notebook.minutes for notebook in FACTS}
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


def _resolve(dotted: str) -> Any:
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        if find_spec(".".join(parts[:count])) if count == 1 or _is_module(parts[:count]) else None:
            value = import_module(".".join(parts[:count]))
            for name in parts[count:]:
                value = getattr(value, name)
            return value
    raise AssertionError(f"{dotted} does not exist")


def _is_module(parts: list[str]) -> bool:
    path = ROOT.joinpath(*parts)
    return path.with_suffix(".py").is_file() or path.is_dir()


def test_every_symbol_has_its_name_in_the_library() -> None:
    rows = [row for row in _rows(_read("notation")) if len(row) == 5]
    assert len(rows) > 30
    for _, code, _, _, where in rows:
        [name] = CODE.findall(code)
        assert name in _identifiers(), name
        assert _resolve(CODE.findall(where)[0]) is not None


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
    if words[0].startswith("hsds_lib."):
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


def _message(call: Callable[[], Any]) -> str:
    try:
        found = call()
    except Exception as error:  # the message is what is wanted
        return f"{type(error).__name__}: {error}"
    return found if isinstance(found, str) else "\n".join(map(str, found))


def _messages(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[str]:
    """What the library says when things go wrong, provoked."""
    import torch

    from hsds_lib import check, config
    from hsds_lib.course import checks, widgets
    from hsds_lib.images.folders import data_folder
    from hsds_lib.images.pairs import load_scenes
    from hsds_lib.losses.features import load_vgg16
    from hsds_lib.network.genotype import Genotype
    from hsds_lib.reports.execute import run_reports
    from hsds_lib.reports.site import build_site
    from hsds_lib.runtime import pick_device
    from hsds_lib.search.run import run_search

    (folder / "mefb").mkdir()
    (folder / "genotype.json").write_text("{}", encoding="utf-8")
    (folder / "other.pth").write_bytes(b"other")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("HSDS_DATA", raising=False)
    yield _message(lambda: data_folder("sice"))
    yield _message(lambda: data_folder("nothing-here"))
    monkeypatch.setenv("HSDS_DATA", str(folder))
    yield _message(lambda: data_folder("sice"))
    yield _message(lambda: load_scenes("mefb", "test"))
    monkeypatch.setenv("HSDS_DATA", str(folder / "mefb"))
    monkeypatch.setattr(check, "load_vgg16", lambda source: load_vgg16("random"))
    monkeypatch.setattr(check.os, "sysconf", lambda name: 1)
    monkeypatch.setattr(check, "version", _raise(check.PackageNotFoundError()))
    monkeypatch.setattr(check, "MODELS", folder)
    monkeypatch.setattr(check.sys, "version_info", (3, 9, 0))
    monkeypatch.setattr(check.tempfile, "NamedTemporaryFile", _raise(OSError(30, "Read-only file system")))
    yield _message(check.machine_checks)
    monkeypatch.undo()
    yield _message(lambda: load_vgg16("imagenet", path=folder / "other.pth"))
    monkeypatch.setenv("HSDS_WIDGETS", "off")
    yield _message(lambda: widgets.explore(None))
    monkeypatch.undo()
    yield _message(lambda: checks.find("99.9"))
    checks.check("3.1", ...)
    yield capsys.readouterr().out
    yield _message(lambda: run_reports(["99_nothing"], out=folder / "r"))
    yield _message(lambda: run_reports(["00_start_here"], parameters={"nothing": 1}, out=folder / "r"))
    yield _message(lambda: config.preset("nothing"))
    yield _message(lambda: config.SearchConfig().changed(nothing=1))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    yield _message(lambda: pick_device("cuda"))
    monkeypatch.undo()
    yield _message(lambda: run_search(config.preset("tiny").search, folder, device="cpu"))
    yield _message(lambda: Genotype.load(folder / "none" / "genotype.json"))
    yield _message(lambda: build_site(folder / "site", executed=folder))
    monkeypatch.setattr("pooch.retrieve", _raise(ConnectionError()))
    monkeypatch.setattr("hsds_lib.losses.features.vgg16_cache_path", lambda: folder / "missing.pth")
    yield _message(lambda: load_vgg16("imagenet"))
    yield load_vgg16("auto").label
    monkeypatch.undo()


def _raise(error: Exception) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise error

    return call


def _bootstrap_words() -> str:
    known = {"$LOCK": "requirements.lock", "$VENV": ".venv", "$torch": "torch…", "$blame": ""}
    text = BOOTSTRAP.replace("\\\n", "")
    for variable, value in known.items():
        text = text.replace(variable, value)
    blame = re.search(r'blame="(.*?)"', text, re.DOTALL)
    reasons = re.findall(r'reason="([^"]+)"', text)
    assert blame
    made = [f"making .venv ({reason})" for reason in reasons]
    return "\n".join([text, f"could not install x: {blame[1]}", *made])


FOREIGN = ("make: command not found", "ModuleNotFoundError", "Error displaying widget", "address already in use")


def test_messages_in_the_troubleshooting_guide_are_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = "\n".join([*_messages(tmp_path, monkeypatch, capsys), _bootstrap_words()])
    rows = _rows(_read("troubleshooting"))
    assert len(rows) > 35
    for what, *_ in rows:
        # Two code spans in a row are one message: Markdown has no way to write a backtick inside of one.
        message = re.match(r"`([^`]+)`(?: `([^`]+)`)?", what)
        if message is None or message[1].startswith(FOREIGN):
            continue
        text = " ".join(filter(None, message.groups())) if message[2] else message[1]
        pattern = ".*?".join(re.escape(part.strip()) for part in text.split("…"))
        pattern = pattern.replace(r"run\ make", r"run\ `?make")
        assert re.search(pattern, real), text


def test_every_line_of_hsds_check_that_can_fail_is_in_the_troubleshooting_guide() -> None:
    from hsds_lib import check

    calls = ast.walk(ast.parse(Path(check.__file__).read_text(encoding="utf-8")))
    named = {
        node.args[0].value
        for node in calls
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "Check"
        and isinstance(node.args[0], ast.Constant)
        and not (isinstance(node.args[1], ast.Constant) and node.args[1].value is True)
    }
    assert {"Python", "memory", "real data"} <= named
    text = _read("troubleshooting")
    # The embedded scenes are a part of a package: they fail only with it.
    assert [name for name in named - {"embedded scenes"} if f"[FAIL] {name}: " not in text] == []
