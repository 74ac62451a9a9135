"""A file from one of several mirrors: resumed by HTTP Range, in place only when its sha256 is right.

pooch, which knows one address and begins anew each time, cannot resume; requests neither gives up a server that sends
byte by byte nor one that does not end, and sends it passwords of ``~/.netrc``. So the transfer is written out here.
"""

from __future__ import annotations

import errno
import http.client
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from data_scripts.registry import Entry, RemoteFile
from hsds_lib import __version__
from hsds_lib.images.datasets import DataError
from hsds_lib.outputs import own_folder
from hsds_lib.runs.progress import Progress
from hsds_lib.runtime import RunError, file_hash

EVERY = 15.0  # seconds between lines of progress where there is no terminal
USER_AGENT = f"hsds-mef/{__version__} (course on multi-exposure fusion; python-requests)"
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_CHUNK = 1 << 16
_LONGEST_ASKED = 60.0  # seconds that are waited when a server asks for them or more
_PROGRESS = 1 << 20  # bytes after which an attempt counts as a success, however it ended
_SHOWN_FROM = 5_000_000  # bytes; smaller files have no progress of their own


class FetchError(RunError):
    """A file could not be fetched from any mirror."""


class TransientError(RuntimeError):
    """The same request may work a little later; ``after`` so many seconds where the server says it."""

    after = 0.0


class MirrorError(RuntimeError):
    """This mirror does not have the file, or has another one."""

    unreachable = False


@dataclass(frozen=True)
class Patience:
    """How long to try: attempts without progress until the next mirror's turn; seconds to wait before the second one.

    The wait is doubled before each further one, and a server may ask for up to a minute (Retry-After). For a
    connection (to each address of a host), the headers and each redirect a server has ``timeout`` seconds, whatever it
    sends meanwhile; then it is given up if fewer than ``slowest`` bytes of the file come in so many seconds.
    """

    attempts: int = 4
    wait: float = 1.0
    timeout: float = 30.0
    slowest: int = 1024


@dataclass(frozen=True)
class Fetched:
    """What a fetch did: the folder or file, and how many files are new or were there before, and right."""

    place: Path
    new: int
    kept: int

    def __str__(self) -> str:
        """Say it in a line."""
        return f"{self.place}: {self.new + self.kept} files, {self.new} of them new"


def require_space(folder: Path, needed: int) -> None:
    """Raise DataError where a folder, which need not exist, has less free space than so many bytes."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise DataError(
            f"{folder} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are needed; "
            "make room or name another folder with --to DIR"
        )


def mismatch(path: Path, file: RemoteFile) -> str | None:
    """Say how a file on disk differs from what it should be: both sizes or both hashes; None where it is right."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"it has {size} bytes, expected {file.size}"
    found = file_hash(path)
    return None if found == file.sha256 else f"its sha256 is {found}, expected {file.sha256}"


def on_its_way(place: Path, entry: Entry) -> Path:
    """Make the folder where an entry's files lie until they are proven: a hidden one in that of the data or weights."""
    return own_folder(place / ".downloads" / entry.name, f"hsds data fetch {entry.name}")


def arrived(downloads: Path) -> None:
    """Remove such a folder, and the one around it if it was the last."""
    shutil.rmtree(downloads, ignore_errors=True)
    if downloads.parent.is_dir() and not any(downloads.parent.iterdir()):
        downloads.parent.rmdir()


@contextmanager
def advice(entry: Entry) -> Iterator[None]:
    """Add to a FetchError what works when nothing can be downloaded."""
    try:
        yield
    except FetchError as error:
        raise FetchError(
            f"{error}; without it everything runs on data embedded and random features; or fetch "
            f"{' and '.join(entry.by_hand)} by hand and give it with --from"
        ) from error


class Downloader:
    """Fetches files; remembers which hosts could not be reached, and asks them last.

    ``show`` says large files' progress and what mirrors got wrong; ``sleep`` waits between attempts.
    """

    def __init__(
        self, patience: Patience | None = None, *, show: bool = True, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Set up."""
        self.patience = patience or Patience()
        self._show, self._sleep = show, sleep
        self._unreachable: set[str] = set()

    def fetch(self, file: RemoteFile, target: Path) -> Path:
        """Fetch one file, unless it is there and right, and give its place; FetchError if no mirror has the right one.

        Until it is whole and proven it lies beside the target with ``.part`` behind its name; a part stays there when
        the transfer is interrupted, and the next call asks for the rest only.
        """
        if target.is_file() and mismatch(target, file) is None:
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        part, failures = target.with_name(target.name + ".part"), list[str]()
        for url in sorted(file.urls, key=lambda url: _host(url) in self._unreachable):
            try:
                self._from_mirror(url, file, part)
            except MirrorError as failure:
                if failure.unreachable:
                    self._unreachable.add(_host(url))
                failures.append(f"{_host(url)} {failure}")
                if self._show:
                    sys.stderr.write(f"{file.name}: {failures[-1]}\n")
                continue
            os.replace(part, target)
            return target
        raise FetchError(f"{file.name} could not be fetched: {'; '.join(failures)}")

    def _from_mirror(self, url: str, file: RemoteFile, part: Path) -> None:
        """Bring the part to its end and prove it; what is wrong is deleted."""
        failures, wrong, ever, furthest = 0, 0, False, _size(part)
        while True:
            before = _size(part)
            try:
                resumed = self._transfer(url, file, part)
            except TransientError as trouble:
                size = _size(part)
                ever = ever or size > before
                # Only what was never there before: else a server whose parts have to be thrown away has no end.
                failures = 1 if size - furthest >= _PROGRESS else failures + 1
                furthest = max(furthest, size)
                self.wait(failures, trouble, reached=ever)
                continue
            problem = mismatch(part, file)
            if problem is None:
                return
            part.unlink()
            wrong += 1
            if not resumed or wrong > 1:
                raise MirrorError(f"gave another file: {problem}")
            # The beginning may have come from elsewhere: this mirror once more, from the first byte.

    def wait(self, failures: int, trouble: TransientError, *, reached: bool = True) -> None:
        """Wait as long as is due after so many failures of a mirror; MirrorError if they were enough."""
        if failures >= self.patience.attempts:
            error = MirrorError(f"failed {failures} times, last: {trouble}")
            error.unreachable = not reached
            raise error from trouble
        self._sleep(max(min(self.patience.wait * 2 ** (failures - 1), 30.0), min(trouble.after, _LONGEST_ASKED)))

    def _transfer(self, url: str, file: RemoteFile, part: Path) -> bool:
        """Ask for what is missing and append it; whether there was a beginning before."""
        begun = _size(part)
        if begun and file.size in (None, begun) and mismatch(part, file) is None:
            return True
        if begun >= file.largest:
            part.unlink()
            begun = 0
        with request(url, {"Range": f"bytes={begun}-"} if begun else {}, self.patience) as (response, blocks):
            if response.status_code == 416:
                part.unlink(missing_ok=True)
                raise TransientError("has a file that is shorter than what was there")
            start, total = _placed(response, begun, file, part)
            self._receive(blocks, part, start, total=total, limit=total or file.largest)
        if total is not None and _size(part) < total:
            raise TransientError(f"ended after {_size(part)} of {total} bytes")
        return start > 0

    def _receive(self, blocks: Iterator[bytes], part: Path, start: int, *, total: int | None, limit: int) -> None:
        show = self._show and (total or 0) >= _SHOWN_FROM
        progress = Progress(total, label=part.stem, unit="MB", done=start, show=show, every=EVERY)
        with progress, part.open("ab" if start else "wb") as stream:
            for block in blocks:
                stream.write(block)
                progress.step(len(block))
                if stream.tell() > limit:
                    break
        if _size(part) > limit:
            part.unlink()
            raise MirrorError(f"sends more than {limit} bytes")


def _placed(response: requests.Response, begun: int, file: RemoteFile, part: Path) -> tuple[int, int | None]:
    """Where the body of a response begins in the file, and how long the file is; refuse what does not fit."""
    if response.status_code == 206:
        first, _, total = range_of(response)
        if not begun or first != begun:
            part.unlink(missing_ok=True)
            said = printable(response.headers.get("Content-Range", ""))
            raise TransientError(f"gave the range '{said}', asked for {begun}-")
    else:  # 200: the whole, for servers that know no ranges
        first, total = 0, _number(response.headers.get("Content-Length", ""))
    if file.size is not None and total not in (None, file.size):
        raise MirrorError(f"has a file of {total} bytes, expected {file.size}")
    if total is not None and total > file.largest:
        raise MirrorError(f"has a file of {total} bytes, expected at most {file.largest}")
    return first, total if total is not None else file.size


def range_of(response: requests.Response) -> tuple[int, int, int | None]:
    """First and last byte of a partial answer, and the size of the file if it is said; (-1, -1, None) if unreadable."""
    match = re.fullmatch(r"bytes (\S+)-(\S+)/(\S+)", response.headers.get("Content-Range", ""))
    first, last, total = map(_number, match.groups()) if match is not None else (None,) * 3
    return (-1, -1, None) if first is None or last is None else (first, last, total)


def _number(text: str) -> int | None:
    """A count in a header; None for anything else (str.isdigit takes superscripts, int no 5000 digits)."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


class _InTime(requests.adapters.HTTPAdapter):
    """Connections, by a proxy too, that end when a server did not get on in time, however often it sends a byte."""

    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self._patience = patience
        self.restart()

    def restart(self) -> None:
        self._end, self._count = time.monotonic() + self._patience.timeout, 0

    def blocks(self, response: requests.Response) -> Iterator[bytes]:
        """The blocks of a body, as long as they come at a reasonable pace."""
        self.restart()
        # read1 gives what has arrived; iter_content would wait for a full block, however slowly it comes.
        while block := response.raw.read1(_CHUNK):
            self._count += len(block)
            if self._count >= self._patience.slowest:
                self.restart()
            yield block

    def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> Any:
        pool = super().get_connection_with_tls_context(*arguments, **options)
        pool.ConnectionCls = type("Connection", (pool.ConnectionCls,), {"response_class": self._response})
        return pool

    def _response(self, server: socket.socket, *arguments: Any, **options: Any) -> http.client.HTTPResponse:
        """What headers, chunks and bodies are read by; the limit of a socket alone begins anew with each byte."""
        response = http.client.HTTPResponse(server, *arguments, **options)
        stream: Any = response.fp.raw
        read = stream.readinto

        def readinto(buffer: memoryview) -> int | None:
            left = self._end - time.monotonic()
            if left <= 0:
                raise TimeoutError("too slow")
            server.settimeout(left)
            return read(buffer)

        stream.readinto = readinto
        return response


@contextmanager
def request(
    url: str, headers: Mapping[str, str], patience: Patience
) -> Iterator[tuple[requests.Response, Iterator[bytes]]]:
    """Ask for an address; give the response, of status 200, 206 or 416, and the blocks of its body, still unread.

    Raises TransientError for no connection, a time-out or a status such as 503, here or inside the block, and
    MirrorError for another status and redirects that are too many, malformed, or lead to less than https from there.
    """
    # Compressed on the way, lengths and ranges would mean something else.
    sent = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
    errors, in_time = requests.exceptions, _InTime(patience)
    try:
        with requests.Session() as session, _followed(session, url, sent, in_time, patience.timeout) as response:
            if response.status_code in _TRANSIENT:
                trouble = TransientError(f"status {response.status_code}")
                trouble.after = _number(response.headers.get("Retry-After", "")) or 0.0
                raise trouble
            if response.status_code not in (200, 206, 416):
                raise MirrorError(f"status {response.status_code}")
            if response.headers.get("Content-Encoding", "").lower() not in ("", "identity"):
                raise MirrorError("sends the file compressed, though asked not to")
            yield response, in_time.blocks(response)
    except errors.SSLError as error:
        raise MirrorError(f"its certificate is not accepted ({short(error)})") from error
    except (errors.Timeout, urllib3.exceptions.ReadTimeoutError) as error:  # the second while the body is read
        raise TransientError(f"sent nothing or too little in {patience.timeout:g} s") from error
    except (errors.ConnectionError, errors.ChunkedEncodingError, urllib3.exceptions.HTTPError) as error:
        raise TransientError(short(error)) from error
    except requests.RequestException as error:
        raise MirrorError(short(error)) from error


def _followed(
    session: requests.Session, url: str, headers: Mapping[str, str], in_time: _InTime, timeout: float
) -> requests.Response:
    """Go where redirects lead; requests would first read all that a server sends with one, however much."""
    session.auth = lambda asked: asked  # else requests sends the passwords of ~/.netrc, and those within addresses
    for scheme in ("http://", "https://"):
        session.mount(scheme, in_time)
    for _ in range(_MOST_REDIRECTS + 1):
        in_time.restart()
        try:
            response = session.get(url, headers=headers, stream=True, timeout=timeout, allow_redirects=False)
            if response.status_code not in _REDIRECTS:
                return response
            response.close()
            before, url = url, urljoin(url, session.get_redirect_target(response) or "nowhere:")
            scheme = urlsplit(url).scheme
        except ValueError as error:
            raise MirrorError(f"leads to a malformed address ({short(error)})") from error
        if scheme not in ("http", "https"):
            raise MirrorError(f"leads to {printable(url)}, which is neither http nor https")
        if scheme == "http" and urlsplit(before).scheme == "https":
            raise MirrorError(f"leads from https to {printable(url)}, which anybody on the way could change")
    raise MirrorError(f"redirects more than {_MOST_REDIRECTS} times")


def short(error: Exception) -> str:
    """The last cause of an error, which is the one that says something."""
    reason: BaseException = error
    while reason.__cause__ or reason.__context__:
        reason = reason.__cause__ or reason.__context__ or reason
    return printable(f"{type(reason).__name__}: {reason}")


def printable(text: str) -> str:
    """Words of a server or an archive, short and without control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:200])


def of_the_disk(error: Exception) -> bool:
    """Whether it is about files here, such as a full disk; decoders have no number, or EINVAL for an odd offset."""
    return isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _host(url: str) -> str:
    return urlsplit(url).netloc
