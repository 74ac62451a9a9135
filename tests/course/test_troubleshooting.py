"""The troubleshooting guide quotes messages that are really given: each of them is provoked."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "notebooks" / "guides" / "troubleshooting.md").read_text(encoding="utf-8")
BOOTSTRAP = (ROOT / "bootstrap.sh").read_text(encoding="utf-8")


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
    from hsds_lib.images.batches import load_scenes
    from hsds_lib.images.datasets import data_folder
    from hsds_lib.losses.features import load_vgg16
    from hsds_lib.network.genotype import Genotype
    from hsds_lib.outputs import own_folder, require_apart
    from hsds_lib.reports.execute import run_reports
    from hsds_lib.reports.site import build_site
    from hsds_lib.runs.lock import alone_in
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
    monkeypatch.setattr("hsds_lib.losses.features.SHIPPED_WEIGHTS", folder / "none.safetensors")
    monkeypatch.setattr(check.os, "sysconf", lambda name: 1)
    monkeypatch.setattr(check, "version", _raise(check.PackageNotFoundError()))
    monkeypatch.setattr(check, "MODELS", folder)
    monkeypatch.setattr(check.sys, "version_info", (3, 9, 0))
    monkeypatch.setattr(check.tempfile, "NamedTemporaryFile", _raise(OSError(30, "Read-only file system")))
    yield _message(check.machine_checks)
    monkeypatch.undo()
    yield _message(lambda: load_vgg16("torchvision", path=folder / "other.pth"))
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
    yield from _interrupted(folder / "run")
    yield _message(lambda: require_apart(folder / "other.pth", folder / "other.pth"))
    yield _message(lambda: own_folder(folder, "hsds site"))
    with alone_in(folder / "run", "search"):
        yield _message(lambda: alone_in(folder / "run", "train").__enter__())
    yield _message(lambda: Genotype.load(folder / "none" / "genotype.json"))
    yield _message(lambda: build_site(folder / "site", executed=folder))
    monkeypatch.setattr("pooch.retrieve", _raise(ConnectionError()))
    monkeypatch.setattr("hsds_lib.losses.features.vgg16_cache_path", lambda: folder / "missing.pth")
    yield _message(lambda: load_vgg16("torchvision"))
    monkeypatch.undo()


def _interrupted(folder: Path) -> Iterator[str]:
    """What is said of checkpoints and of memory."""
    from hsds_lib.runs.checkpoints import Checkpoint, Checkpoints
    from hsds_lib.runs.progress import memory_advice

    kept, said = Checkpoints(folder, "search"), list[str]()
    kept.save(Checkpoint(1, {}, {"theta": 0.05}))
    yield _message(lambda: kept.find({"theta": 0.2}, said.append))
    kept.path.write_bytes(b"half")
    kept.find({}, said.append)
    yield from said

    def work() -> None:
        with memory_advice("crop (256)"):
            raise MemoryError

    yield _message(work)


def _raise(error: Exception) -> Callable[..., Any]:
    def call(*_: Any, **__: Any) -> Any:
        raise error

    return call


def _bootstrap_words() -> str:
    known = {
        "$LOCK": "requirements.lock",
        "$lock": "requirements.lock",
        "$VENV": ".venv",
        "$torch": "torch…",
        "$blame": "",
    }
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
    quoted = re.findall(r"^\| ((?:\\\||[^|\n])+)", GUIDE, re.MULTILINE)  # the first cell of each row
    assert len(quoted) > 35
    for what in quoted:
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
    # The embedded scenes are a part of a package: they fail only with it.
    assert [name for name in named - {"embedded scenes"} if f"[FAIL] {name}: " not in GUIDE] == []
