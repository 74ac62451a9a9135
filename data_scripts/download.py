"""A file from one of several mirrors: resumed by HTTP Range, and put in place only when size and sha256 are right.

pooch supplies the hashing; its own downloads cannot be resumed and know one address only.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from data_scripts.meter import Meter
from data_scripts.ranges import MirrorError, Patience, TransientError, request
from data_scripts.registry import RemoteFile
from hsds_lib.images.datasets import DataError
from hsds_lib.runtime import RunError, file_hash, write_json

if TYPE_CHECKING:
    import requests

_CHUNK = 1 << 16
_PROGRESS = 1 << 20  # bytes after which an attempt counts as a success, however it ended
_SHOWN_FROM = 5_000_000  # bytes; smaller files have no meter of their own


class FetchError(RunError):
    """A file could not be fetched from any mirror."""


def require_space(folder: Path, needed: int) -> None:
    """Refuse to begin what would fill the disk.

    Args:
        folder: where it would be written; it need not exist.
        needed: bytes.

    Raises:
        DataError: there is less free space than that.

    Example:
        >>> require_space(Path("."), 1)
        >>> require_space(Path("."), 10**18)
        Traceback (most recent call last):
        hsds_lib.images.datasets.DataError: . has ... GB free and 1000000000.0 GB are needed; ...
    """
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
    """Say how a file on disk differs from what it should be.

    Args:
        path: the file.
        file: what it should be.

    Returns:
        None where size and sha256 are right, else both sizes or both hashes in words.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "a").write_bytes(b"abc")
        ...     mismatch(Path(folder) / "a", RemoteFile("a", (), sha256="0" * 64))
        'its sha256 is ba7816bf..., expected 0000...'
    """
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"it has {size} bytes, expected {file.size}"
    found = file_hash(path)
    return None if found == file.sha256 else f"its sha256 is {found}, expected {file.sha256}"


class Downloader:
    """Fetches files; remembers which hosts could not be reached, and asks them last.

    Example:
        >>> downloader = Downloader(Patience(attempts=1), show=False)
        >>> downloader.fetch(RemoteFile("a.png", ("ftp://example.org/a.png",), "0" * 64), Path("a.png"))
        Traceback (most recent call last):
        data_scripts.download.FetchError: a.png could not be fetched: example.org leads to ftp://example.org/a.png, ...
    """

    def __init__(
        self, patience: Patience | None = None, *, show: bool = True, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Set up.

        Args:
            patience: how long to try.
            show: whether large files have a meter.
            sleep: how to wait between attempts.
        """
        self.patience = patience or Patience()
        self._show, self._sleep = show, sleep
        self._unreachable: set[str] = set()

    def fetch(self, file: RemoteFile, target: Path) -> Path:
        """Fetch one file.

        Until it is whole and proven it lies beside the target with ``.part`` behind its name; a part stays there when
        the transfer is interrupted, and the next call asks for the rest only.

        Args:
            file: what to fetch.
            target: where it goes.

        Returns:
            The target.

        Raises:
            FetchError: no mirror gave the right file.
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
                self._say(f"{file.name}: {failures[-1]}")
                continue
            os.replace(part, target)
            _note_of(part).unlink(missing_ok=True)
            return target
        raise FetchError(f"{file.name} could not be fetched: {'; '.join(failures)}")

    def _from_mirror(self, url: str, file: RemoteFile, part: Path) -> None:
        """Bring the part to its end and prove it; what is wrong is deleted."""
        failures, wrong, ever = 0, 0, False
        while True:
            before = _size(part)
            try:
                resumed = self._transfer(url, file, part)
            except TransientError as trouble:
                gained = _size(part) - before
                ever = ever or gained > 0
                failures = 1 if gained >= _PROGRESS else failures + 1
                if failures >= self.patience.attempts:
                    error = MirrorError(f"failed {failures} times, last: {trouble}")
                    error.unreachable = not ever
                    raise error from trouble
                self._sleep(self.patience.pause(failures))
                continue
            problem = mismatch(part, file)
            if problem is None:
                return
            _forget(part)
            wrong += 1
            if not resumed or wrong > 1:
                raise MirrorError(f"gave another file: {problem}")
            # The beginning may have come from elsewhere: this mirror once more, from the first byte.

    def _transfer(self, url: str, file: RemoteFile, part: Path) -> bool:
        """Ask for what is missing and append it; whether there was a beginning before."""
        begun = _size(part)
        if begun and begun == file.size:
            return True
        if begun > (file.size or file.largest):
            _forget(part)
            begun = 0
        with request(url, _range_headers(begun, part, url), self.patience) as response:
            if response.status_code == 416:
                return _at_its_end(response, begun, part)
            start, total = _placed(response, begun, file, part)
            write_json(_note_of(part), {"url": url, "etag": response.headers.get("ETag")})
            self._receive(response, part, start, total=total, limit=total or file.largest)
        if total is not None and _size(part) < total:
            raise TransientError(f"ended after {_size(part)} of {total} bytes")
        return start > 0

    def _receive(self, response: requests.Response, part: Path, start: int, *, total: int | None, limit: int) -> None:
        shown = self._show and (total or 0) >= _SHOWN_FROM
        meter, too_long = Meter(part.stem, total=total, done=start, show=shown), False
        try:
            with part.open("ab" if start else "wb") as stream:
                for block in _steady(response, self.patience):
                    stream.write(block)
                    meter.add(len(block))
                    too_long = stream.tell() > limit
                    if too_long:
                        break
        finally:
            meter.close()
        if too_long:
            _forget(part)
            raise MirrorError(f"sends more than {limit} bytes")

    def _say(self, text: str) -> None:
        if self._show:
            sys.stderr.write(text + "\n")


def _range_headers(begun: int, part: Path, url: str) -> dict[str, str]:
    """Ask for the rest; of the host that gave the beginning, only if its file is still the same."""
    if not begun:
        return {}
    headers = {"Range": f"bytes={begun}-"}
    try:
        note = json.loads(_note_of(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return headers
    tag = note.get("etag") if isinstance(note, dict) and note.get("url") == url else None
    if isinstance(tag, str) and tag.startswith('"'):  # a weak tag (W/"...") says nothing about bytes
        headers["If-Range"] = tag
    return headers


def _placed(response: requests.Response, begun: int, file: RemoteFile, part: Path) -> tuple[int, int | None]:
    """Where the body of a response begins in the file, and how long the file is; refuse what does not fit."""
    if response.status_code == 206:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", ""))
        if match is None or not begun or int(match[1]) != begun:
            _forget(part)
            raise TransientError(f"gave the range '{response.headers.get('Content-Range')}', asked for {begun}-")
        start, total = begun, int(match[3]) if match[3] != "*" else None
    else:  # 200: the whole, for servers that know no ranges, or have another file by now
        length = response.headers.get("Content-Length", "")
        start, total = 0, int(length) if length.isdigit() else None
    if file.size is not None and total not in (None, file.size):
        raise MirrorError(f"has a file of {total} bytes, expected {file.size}")
    if total is not None and total > file.largest:
        raise MirrorError(f"has a file of {total} bytes, expected at most {file.largest}")
    return start, total if total is not None else file.size


def _at_its_end(response: requests.Response, begun: int, part: Path) -> bool:
    """After status 416: the part is the whole file, or longer than it."""
    if response.headers.get("Content-Range") == f"bytes */{begun}":
        return True
    _forget(part)
    raise TransientError("has a file that is shorter than what was there")


def _steady(response: requests.Response, patience: Patience) -> Iterator[bytes]:
    """The blocks of a body, as long as they come at a reasonable pace."""
    began, count = time.monotonic(), 0
    # read1 gives what has arrived; iter_content would wait for a full block, however slowly it comes.
    while block := response.raw.read1(_CHUNK):
        yield block
        count += len(block)
        now = time.monotonic()
        if now - began > patience.timeout:
            if count < patience.slowest:
                raise TransientError(f"sent only {count} bytes in {now - began:.0f} s")
            began, count = now, 0


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _note_of(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note_of(part).unlink(missing_ok=True)


def _host(url: str) -> str:
    return urlsplit(url).netloc
