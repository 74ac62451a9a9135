"""What several test folders share: real data and fixtures, a browser, who runs what, and lines for the end of a run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
Sections = dict[str, list[str]]
ONE_BY_ONE = "notebooks/test_execution.py::"
"""The tests of this file are spread over the processes."""


def pytest_configure(config: pytest.Config) -> None:
    """Have a place for what the folders' own conftest files want to say at the end: title to lines."""
    config.sections = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no process is left with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """In several processes, each takes a file at a time, whose tests share what is made once; a notebook is a file."""
    from xdist.scheduler import LoadFileScheduling

    class AFileOrANotebook(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid if ONE_BY_ONE in nodeid else super()._split_scope(nodeid)

    config.option.loadscopereorder = False  # by the number of tests, which says little
    return AFileOrANotebook(config, log)


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


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser; without one the test is skipped, with that reason."""
    named = os.environ.get("HSDS_CHROMIUM")
    found = named if named is not None else next(filter(None, map(shutil.which, CHROMIUM)), "")
    if not found:
        pytest.skip("no Chromium here; install it, or name it in HSDS_CHROMIUM")
    return found


class Watched:
    """A page that may talk to this machine only; every other request is stopped and remembered."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.refused: list[str] = []
        self.errors: list[str] = []
        page.route("**/*", self._route)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)

    def _route(self, route: Any) -> None:
        address = route.request.url
        if address.startswith(("http://127.0.0.1:", "file:", "data:", "blob:")):
            route.continue_()
        else:
            self.refused.append(address)
            route.abort()


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """One browser for the tests of a file, which work in contexts of their own.

    Playwright keeps an event loop running in this thread as long as it is open; other files need theirs.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as running:
        started = running.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def watched(browser: Any) -> Iterator[Watched]:
    """A page in a fresh context."""
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    context.set_default_timeout(150_000)
    yield Watched(context.new_page())
    context.close()
