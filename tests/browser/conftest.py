"""Servers to point a browser at, and what was measured there."""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

LATENCIES: dict[tuple[str, str], list[float]] = {}
"""Milliseconds from a key to the changed view, by place (Lab, Voila, page) and explorer."""


def private_environment(folder: Path) -> dict[str, str]:
    """Variables of a server that reads and writes nothing of the user's."""
    names = [
        "HOME",
        "IPYTHONDIR",
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_DATA_DIR",
        "JUPYTER_RUNTIME_DIR",
        "JUPYTERLAB_SETTINGS_DIR",
        "JUPYTERLAB_WORKSPACES_DIR",
    ]
    changed = {name: str(folder / name.lower()) for name in names}
    for place in changed.values():
        Path(place).mkdir(parents=True, exist_ok=True)
    quiet = folder / "jupyterlab_settings_dir" / "@jupyterlab" / "apputils-extension"
    quiet.mkdir(parents=True)
    (quiet / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    return {**os.environ, **changed, "HSDS_WIDGETS": "live", "OMP_NUM_THREADS": "1"}


class Server:
    """A server in a process group of its own, on a free port of this machine."""

    def __init__(self, arguments: list[str], folder: Path, answers: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.log = folder / "server.log"
        command = [sys.executable, "-m", *(text.format(port=self.port) for text in arguments)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=private_environment(folder), stdout=log, stderr=log, start_new_session=True
            )
        self._wait(answers)

    def _wait(self, answers: str, seconds: float = 90) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            try:
                urllib.request.urlopen(self.address + answers, timeout=20).close()
                return
            except OSError:
                time.sleep(0.3)
        self.stop()
        pytest.fail(f"the server did not answer; its log ends with {self.log.read_text()[-1500:]}")

    def stop(self) -> None:
        """End the server and its kernels."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                break
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                continue


@pytest.fixture
def portrait(request: pytest.FixtureRequest) -> Callable[[Any, str], None]:
    """Photograph a part of a page, wide and narrow, where ``--portraits FOLDER`` asks for it."""
    folder = request.config.getoption("--portraits", default=None)

    def take(box: Any, name: str) -> None:
        if folder is None:
            return
        for width in (600, 1100):
            box.page.set_viewport_size({"width": width, "height": 900})
            box.page.wait_for_timeout(300)
            box.screenshot(path=Path(folder) / f"{name}-{width}.png")

    return take


@pytest.fixture
def latencies() -> dict[tuple[str, str], list[float]]:
    """Where tests leave the times they measured; they are printed at the end."""
    return LATENCIES


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Any]:
    """Start servers that end with the test."""
    servers: list[Server] = []

    def start(arguments: list[str], *, answers: str) -> Server:
        folder = tmp_path / f"server{len(servers)}"
        folder.mkdir()
        servers.append(Server(arguments, folder, answers))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Two things to keep; known where this folder itself is named on the command line."""
    parser.addoption("--portraits", metavar="FOLDER", help="write pictures of all explorers there")
    parser.addoption("--latencies", metavar="FILE", help="write the measured milliseconds there, as JSON")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Say at the end how fast the explorers answered."""
    for (place, name), times in LATENCIES.items():
        title = "explorers: milliseconds from a key to the changed view, median (moves)"
        lines = session.config.sections.setdefault(title, [])
        lines.append(f"{place:12} {name:14} {statistics.median(times):6.0f} ({len(times)})")
    if LATENCIES and (file := session.config.getoption("--latencies", default=None)):
        rows = [{"place": place, "explorer": name, "ms": times} for (place, name), times in LATENCIES.items()]
        Path(file).write_text(json.dumps(rows), encoding="utf-8")
