"""Servers that answer anything: the next mirror is tried in time, and what fails is one sentence."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from data_scripts import download
from data_scripts.download import Downloader, FetchError, MirrorError, Patience
from hsds_lib.losses import features
from hsds_lib.losses.features import WeightsError, load_vgg16

CONTENT = np.random.default_rng(1).bytes(20_000)
LIMIT = 0.3
OK, LENGTH = b"HTTP/1.1 200 OK\r\n", b"Content-Length: 20000\r\n"


class Bad:
    """A server that answers each connection by the same script: bytes to send, seconds to wait, or "reset"."""

    def __init__(self) -> None:
        self.script: list[Any] = []
        self.asked: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._closing = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while not self._closing.is_set():
            with suppress(OSError):
                threading.Thread(target=self._answer, args=(self._listener.accept()[0],), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            self.asked.append(client.recv(65536))
            for step in self.script:
                for piece in step if isinstance(step, Endless) else [step]:
                    if self._closing.is_set():
                        return
                    if piece == "reset":
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    elif isinstance(piece, float):
                        self._closing.wait(piece)
                    else:
                        client.sendall(piece)

    def close(self) -> None:
        self._closing.set()
        self._listener.close()


class Endless:
    """The same bytes again and again, with pauses between them."""

    def __init__(self, piece: bytes, pause: float = 0.0) -> None:
        self.piece, self.pause = piece, pause

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield self.piece
            yield self.pause


def to(address: bytes, status: int = 302) -> list[Any]:
    return [b"HTTP/1.1 %d Found\r\nLocation: " % status + address + b"\r\nContent-Length: 0\r\n\r\n"]


def ok(*headers: bytes, body: list[Any] | None = None) -> list[Any]:
    return [OK + b"".join(header + b"\r\n" for header in headers) + b"\r\n", *([CONTENT] if body is None else body)]


CHUNKED = b"Transfer-Encoding: chunked"
DRIP = 0.05
REFUSED: dict[str, list[Any]] = {
    # time
    "headers that drip": [OK, Endless(b"X-A: b\r\n", DRIP)],
    "one header that drips": [OK + b"X-A: ", Endless(b"b", DRIP)],
    "status line that drips": [Endless(b"H", DRIP)],
    "endless 100 Continue": [Endless(b"HTTP/1.1 100 Continue\r\n\r\n")],
    "slow 100 Continue": [Endless(b"HTTP/1.1 100 Continue\r\n\r\n", DRIP)],
    "headers of 100 Continue that drip": [b"HTTP/1.1 100 Continue\r\n", Endless(b"X: y\r\n", DRIP)],
    "nothing": [5.0],
    "body that drips": ok(LENGTH[:-2], body=[CONTENT[:100], Endless(b"x", DRIP)]),
    "chunks that drip": ok(CHUNKED, body=[Endless(b"1\r\nx\r\n", DRIP)]),
    "size of a chunk that drips": ok(CHUNKED, body=[Endless(b"0", DRIP)]),
    "extension of a chunk that drips": ok(CHUNKED, body=[b"1;", Endless(b"e", DRIP)]),
    "endless trailers": ok(CHUNKED, body=[b"1\r\nx\r\n0\r\n", Endless(b"X-T: t\r\n")]),
    # redirects
    "malformed IPv6": to(b"http://[::1"),
    "malformed port": to(b"http://127.0.0.1:99999999/x"),
    "no port": to(b"http://127.0.0.1:port/x"),
    "empty host": to(b"http:///x"),
    "empty label": to(b"http://a..b/x"),
    "long label": to(b"http://" + b"a" * 300 + b"/x"),
    "not UTF-8": to(b"http://\xff\xfe/x"),
    "blank": to(b"http://a b/x"),
    "no address": [b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"],
    "empty address": to(b""),
    "file": to(b"file:///etc/passwd", 307),
    "ftp": to(b"ftp://127.0.0.1/x", 308),
    "data": to(b"data:,x", 301),
    "circle": to(b"/x"),
    "long address": to(b"/" + b"a" * 60_000),
    "terminal": to(b"odd:\x1b[31m"),
    # headers and status
    "no HTTP": [b"SSH-2.0-OpenSSH_9.6\r\n\r\n", 0.05],
    "HTTP/0.9": [CONTENT],
    "status in words": [b"HTTP/1.1 fine OK\r\n\r\n"],
    "status 99999": [b"HTTP/1.1 99999 OK\r\n\r\n"],
    "status 204": [b"HTTP/1.1 204 No Content\r\n\r\n"],
    "status 103": [b"HTTP/1.1 103 Early Hints\r\n\r\n"],
    "status 206 unasked": [
        b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-19999/20000\r\n" + LENGTH + b"\r\n",
        CONTENT,
    ],
    "status 416 unasked": [b"HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n"],
    "a huge header": [OK + b"X: " + b"x" * 200_000 + b"\r\n\r\n", CONTENT],
    "many headers": [OK + b"X: y\r\n" * 5000 + b"\r\n", CONTENT],
    "reset at once": ["reset"],
    "reset in headers": [OK, "reset"],
    "reset in body": ok(LENGTH[:-2], body=[CONTENT[:5000], "reset"]),
    "closed at once": [],
    "closed in headers": [OK + LENGTH],
    "other sizes": ok(b"Content-Length: 20000", b"Content-Length: 7"),
    "gzip": ok(LENGTH[:-2], b"Content-Encoding: gzip"),
    "unknown coding": ok(LENGTH[:-2], b"Content-Encoding: x-other"),
    "a login page": ok(b"Content-Type: text/html", body=[b"<html>please log in</html>" * 800]),
    "a login page of the right size": ok(LENGTH[:-2], body=[b"<html>log in</html>".ljust(20_000)]),
    "endless body": ok(body=[Endless(b"x" * 10_000)]),
    "negative chunk": ok(CHUNKED, body=[b"-5\r\nhello\r\n"]),
    "huge chunk": ok(CHUNKED, body=[b"f" * 5000 + b"\r\nhello\r\n"]),
    "too few chunks": ok(CHUNKED, body=[b"5\r\nhel"]),
    "busy for a day": [b"HTTP/1.1 503 Busy\r\nRetry-After: 86400\r\nContent-Length: 0\r\n\r\n"],
    "busy in words": [b"HTTP/1.1 429 Busy\r\nRetry-After: \xb2\r\nContent-Length: 0\r\n\r\n"],
}
GIVEN: dict[str, list[Any]] = {
    "superscript size": ok(b"Content-Length: \xb2"),
    "a long size": ok(b"Content-Length: " + b"9" * 5000),
    "negative size": ok(b"Content-Length: -1"),
    "no coding": ok(LENGTH[:-2], b"Content-Encoding:"),
    "100 Continue first": [b"HTTP/1.1 100 Continue\r\n\r\n", *ok(LENGTH[:-2])],
    "chunks": ok(CHUNKED, body=[b"4e20;a=b\r\n" + CONTENT + b"\r\n0\r\nX: y\r\n\r\n"]),
    "slow but steady": ok(
        LENGTH[:-2], body=[s for i in range(20) for s in (CONTENT[i * 1000 : i * 1000 + 1000], 0.06)]
    ),
    "a lone line feed": [b"HTTP/1.1 200 OK\nContent-Length: 20000\n\n", CONTENT],
}


@pytest.fixture
def bad() -> Iterator[Bad]:
    server = Bad()
    yield server
    server.close()


@pytest.fixture
def quick(site: Any, pauses: list[float]) -> Downloader:
    site.content["/good.bin"] = CONTENT
    return Downloader(Patience(attempts=2, wait=0.1, timeout=LIMIT), sleep=pauses.append)


@pytest.mark.parametrize("how", REFUSED)
def test_the_next_mirror_is_tried_in_time(
    bad: Bad, site: Any, quick: Downloader, tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad.script = REFUSED[how]
    file = site.file("/good.bin")
    began = time.monotonic()
    fetched = quick.fetch(replace(file, urls=(f"{bad.url}/x", *file.urls)), tmp_path / "a.bin")
    assert fetched.read_bytes() == CONTENT and [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert time.monotonic() - began < 2 * LIMIT + 2 and bad.asked
    (sentence,) = capsys.readouterr().err.splitlines()
    assert sentence.startswith("good.bin: 127.0.0.1:") and sentence.isprintable() and len(sentence) < 500


@pytest.mark.parametrize("how", GIVEN)
def test_what_is_odd_but_right_is_taken(bad: Bad, site: Any, tmp_path: Path, how: str) -> None:
    bad.script = GIVEN[how]
    site.content["/good.bin"] = CONTENT
    file = replace(site.file("/good.bin"), urls=(f"{bad.url}/x",))
    patient = Downloader(Patience(attempts=1, timeout=0.8), show=False)  # less than the slow one takes in all
    assert patient.fetch(file, tmp_path / "a.bin").read_bytes() == CONTENT
    assert len(bad.asked) == 1


@pytest.mark.parametrize(
    ("asked", "waited"), [("7", 7.0), ("86400", 60.0), ("0", 0.1), ("soon", 0.1), ("9" * 5000, 0.1)]
)
def test_a_busy_server_is_left_alone_as_long_as_it_asks_up_to_a_minute(
    bad: Bad, site: Any, quick: Downloader, pauses: list[float], tmp_path: Path, asked: str, waited: float
) -> None:
    bad.script = [b"HTTP/1.1 503 Busy\r\nRetry-After: " + asked.encode() + b"\r\nContent-Length: 0\r\n\r\n"]
    with pytest.raises(FetchError, match="status 503"):
        quick.fetch(replace(site.file("/good.bin"), urls=(f"{bad.url}/x",)), tmp_path / "a.bin")
    assert pauses == [waited]


def test_a_server_whose_parts_have_to_be_thrown_away_has_an_end(
    bad: Bad, site: Any, quick: Downloader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole beginnings and wrong ranges in turns: each beginning looks like progress."""
    monkeypatch.setattr(download, "_PROGRESS", 1000)
    beginning = ok(LENGTH[:-2], body=[CONTENT[:15_000]])
    wrong: list[Any] = [b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 3-19999/20000\r\nContent-Length: 0\r\n\r\n"]
    answers = Turns([beginning, wrong])
    monkeypatch.setattr(Bad, "script", property(lambda self: next(answers), lambda self, value: None), raising=False)
    with pytest.raises(FetchError, match="failed 2 times"):
        quick.fetch(replace(site.file("/good.bin"), urls=(f"{bad.url}/x",)), tmp_path / "a.bin")
    assert len(bad.asked) < 6


class Turns:
    def __init__(self, scripts: list[list[Any]]) -> None:
        self._scripts, self._count = scripts, 0

    def __next__(self) -> list[Any]:
        self._count += 1
        return self._scripts[(self._count - 1) % len(self._scripts)]


def test_no_password_is_sent(
    bad: Bad, site: Any, quick: Downloader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of ~/.netrc nor of an address; a proxy's own comes from the user and goes to the proxy."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    bad.script = to(bad.url.replace("//", "//user:secret@").encode() + b"/y")
    with pytest.raises(FetchError):
        quick.fetch(replace(site.file("/good.bin"), urls=(f"{bad.url}/x",)), tmp_path / "a.bin")
    assert len(bad.asked) > 1 and not any(b"authorization" in asked.lower() for asked in bad.asked)
    bad.asked.clear()
    monkeypatch.setattr(features, "WEIGHTS_URL", f"{bad.url}/weights.pth")
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache")
    with pytest.raises(WeightsError, match="could not be downloaded"):
        load_vgg16("torchvision")
    assert len(bad.asked) == 1 and b"authorization" not in bad.asked[0].lower()
    monkeypatch.setenv("http_proxy", bad.url.replace("//", "//user:secret@"))
    bad.script = ok(LENGTH[:-2])
    with suppress(FetchError):
        quick.fetch(replace(site.file("/good.bin"), urls=("http://mirror.invalid/x",)), tmp_path / "a.bin")
    assert re.search(rb"^Proxy-Authorization: Basic ", bad.asked[-1], re.MULTILINE)


def test_https_does_not_lead_to_less(monkeypatch: pytest.MonkeyPatch) -> None:
    def answered(self: requests.Session, url: str, **options: Any) -> requests.Response:
        response = requests.Response()
        response.status_code, response.headers["Location"], response.raw = 302, "http://a.example/x", Closed()
        return response

    monkeypatch.setattr(requests.Session, "get", answered)
    with (
        pytest.raises(MirrorError, match=r"leads from https to http://a\.example/x, which anybody"),
        download.request("https://a.example/x", {}, Patience()),
    ):
        pass


class Closed:
    closed = True

    def close(self) -> None:
        pass

    release_conn = close


def test_the_limit_is_for_all_that_a_proxy_says_too(
    bad: Bad, site: Any, quick: Downloader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", bad.url)
    bad.script = [b"HTTP/1.1 200 Connection established\r\n", Endless(b"X: y\r\n", DRIP)]
    began = time.monotonic()
    with pytest.raises(FetchError, match="failed 2 times"):
        quick.fetch(replace(site.file("/good.bin"), urls=("https://mirror.invalid/x",)), tmp_path / "a.bin")
    assert time.monotonic() - began < 2 * LIMIT + 2 and bad.asked[0].startswith(b"CONNECT mirror.invalid")
