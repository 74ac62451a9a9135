"""What several test folders share: where real data and recorded fixtures lie, and lines for the end of a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

Sections = dict[str, list[str]]


def pytest_configure(config: pytest.Config) -> None:
    """Have a place for what the folders' own conftest files want to say at the end: title to lines."""
    config.sections = {}


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """In one process of several: hand the lines to the one that speaks."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["sections"] = session.config.sections


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take them there."""
    found: Sections = getattr(node, "workeroutput", {}).get("sections", {})
    for title, lines in found.items():
        node.config.sections.setdefault(title, []).extend(lines)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say them."""
    for title, lines in config.sections.items():
        terminalreporter.section(title)
        for line in sorted(lines):
            terminalreporter.write_line(line)


def _folder_of(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set")
    folder = Path(value)
    assert folder.is_dir(), f"{variable} is set to {folder}, which is no folder"
    return folder


@pytest.fixture
def data_root() -> Path:
    """The folder that HSDS_DATA names; the test is skipped when it is unset, and fails when it is wrong."""
    return _folder_of("HSDS_DATA")


@pytest.fixture
def fixtures_root() -> Path:
    """The folder that HSDS_FIXTURES names; the test is skipped when it is unset, fails when it is wrong."""
    return _folder_of("HSDS_FIXTURES")
