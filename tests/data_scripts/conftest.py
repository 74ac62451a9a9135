"""A server on this machine that behaves as badly as told, and files to fetch from it."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from data_scripts.download import Downloader, Patience
from data_scripts.registry import RemoteFile


@dataclass
class Site:
    """What the server holds, how it misbehaves, and what it was asked.

    A behaviour is taken from the front of the list of its path with each request: an integer is a status; "truncate"
    ends in the middle (with the announced length kept); "stall" and "drip" come to a halt or nearly so; others
    are explained where they are met.
    """

    url: str
    content: dict[str, bytes] = field(default_factory=dict)
    behaviour: dict[str, list[int | str]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # path, Range
    agents: set[str] = field(default_factory=set)
    closing: threading.Event = field(default_factory=threading.Event)

    def ranges(self, path: str) -> list[str | None]:
        return [asked_range for asked, asked_range in self.asked if asked == path]

    def file(self, *paths: str, size: bool = True, mirrors: int = 0) -> RemoteFile:
        """The file of the first path, with all paths as mirrors, or those from a number on."""
        content = self.content[paths[0]]
        urls = tuple(self.url + path for path in paths[mirrors:])
        known = len(content) if size else None
        return RemoteFile(paths[0].rpartition("/")[2], urls, hashlib.sha256(content).hexdigest(), known)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        site, path = self.site, self.path
        wanted = self.headers.get("Range")
        site.asked.append((path, wanted))
        site.agents.add(self.headers.get("User-Agent", ""))
        queue = site.behaviour.get(path, [])
        how = queue.pop(0) if queue else "well"
        if isinstance(how, int) or path not in site.content:
            return self._answer(how if isinstance(how, int) else 404, b"no")
        if how.startswith("to "):
            return self._answer(302, b"", Location=how[3:])
        self._give(site.content[path], wanted, how)

    def _give(self, content: bytes, wanted: str | None, how: str) -> None:
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted or "") if how != "ignore range" else None
        if match is None:
            extra = {"Content-Encoding": "gzip"} if how == "compressed" else {}
            return self._body(200, b"x" * len(content) if how == "wrong" else content, how, **extra)
        start, end = int(match[1]), min(int(match[2] or len(content)), len(content) - 1)
        if start >= len(content):
            return self._answer(416, b"", **{"Content-Range": f"bytes */{len(content)}"})
        shown = start + 1 if how == "wrong range" else start
        self._body(206, content[start : end + 1], how, **{"Content-Range": f"bytes {shown}-{end}/{len(content)}"})

    def _body(self, status: int, body: bytes, how: str, **headers: str) -> None:
        announced = {"announce more": len(body) + 100, "announce less": len(body) // 2}.get(how, len(body))
        self._head(status, headers, None if how == "endless" else announced)
        self.close_connection = how != "well"
        if how == "endless":
            for _ in range(200):
                self.wfile.write(body)
        elif how in ("truncate", "stall", "drip"):
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            while how == "drip" and not self.site.closing.wait(0.05):
                self.wfile.write(b"x")
            if how == "stall":
                self.site.closing.wait(20)
        else:
            self.wfile.write(body[:announced])

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self._head(status, headers, len(body))
        self.wfile.write(body)

    def _head(self, status: int, headers: dict[str, str], length: int | None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length is None:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients that hang up are part of the tests


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    handler = type("Handler", (_Handler,), {})
    server = _Server(("127.0.0.1", 0), handler)
    found = Site(f"http://127.0.0.1:{server.server_port}")
    handler.site = found  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield found
    found.closing.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def pauses() -> list[float]:
    """Seconds that the downloader wanted to wait; it does not."""
    return []


@pytest.fixture
def downloader(pauses: list[float]) -> Downloader:
    return Downloader(Patience(attempts=3, wait=0.5, timeout=0.4), show=False, sleep=pauses.append)


@pytest.fixture
def save_picture() -> Callable[..., bytes]:
    """Write a random RGB picture into a file, and give its bytes."""
    import numpy as np
    from PIL import Image

    def save(path: Path, *, seed: int = 0, size: tuple[int, int] = (24, 16), **options: object) -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, **options)
        return path.read_bytes()

    return save
