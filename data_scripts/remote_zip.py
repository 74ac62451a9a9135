"""Single members out of a zip on a server, by HTTP Range, without fetching the whole."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from typing import Any

from data_scripts.ranges import MirrorError, Patience, TransientError, request

_BLOCK = 1 << 18  # bytes of one request: a photograph of COCO is 163 kB on average


class RemoteFileReader(io.RawIOBase):
    """A file on a server as one that can be read anywhere; ``zipfile`` finds in it what it needs.

    Example:
        >>> reader = RemoteFileReader("http://example.org/a.zip", size=100)
        >>> reader.seek(-22, io.SEEK_END), reader.tell()  # nothing is fetched before it is read
        (78, 78)
    """

    def __init__(
        self,
        url: str,
        *,
        size: int,
        budget: int | None = None,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Set up; nothing is fetched yet.

        Args:
            url: http or https.
            size: bytes the file must have.
            budget: bytes that may be fetched in all; default: as many as the file has.
            patience: how long to try.
            sleep: how to wait between attempts.
        """
        self._url, self._length, self._patience, self._sleep = url, size, patience or Patience(), sleep
        self._position, self._left = 0, size if budget is None else budget

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Give the position, bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, as for any file; give the new position, bytes."""
        self._position = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence] + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the position; give the number of bytes."""
        wanted = min(len(buffer), self._length - self._position)
        if wanted <= 0:
            return 0
        block = self._range(self._position, wanted)
        buffer[: len(block)] = block
        self._position += len(block)
        return len(block)

    def _range(self, start: int, count: int) -> bytes:
        self._left -= count
        if self._left < 0:
            raise MirrorError("has a zip of which more would have to be read than single images need")
        for failures in range(1, self._patience.attempts + 1):
            try:
                return self._asked(start, count)
            except TransientError as trouble:
                if failures == self._patience.attempts:
                    raise MirrorError(f"failed {failures} times, last: {trouble}") from trouble
                self._sleep(self._patience.pause(failures))
        raise AssertionError("attempts are at least 1")

    def _asked(self, start: int, count: int) -> bytes:
        with request(self._url, {"Range": f"bytes={start}-{start + count - 1}"}, self._patience) as response:
            if response.status_code != 206:
                raise MirrorError("gives no parts of a file (HTTP Range), which single images need; fetch the whole")
            said = response.headers.get("Content-Range", "")
            match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", said)
            if match is None or (int(match[1]), int(match[2])) != (start, start + count - 1):
                raise MirrorError(f"gave the range '{said}', asked for {start}-{start + count - 1}")
            if int(match[3]) != self._length:
                raise MirrorError(f"has a file of {match[3]} bytes, expected {self._length}")
            block = bytearray()
            while len(block) < count and (more := response.raw.read1(count - len(block))):
                block += more
        if len(block) < count:
            raise TransientError(f"ended after {len(block)} of {count} bytes")
        return bytes(block)


def open_remote(
    url: str, *, size: int, budget: int | None = None, patience: Patience | None = None
) -> io.BufferedReader:
    """Open a file on a server for reading anywhere, a quarter of a megabyte at a time.

    Args:
        url: http or https.
        size: bytes it must have.
        budget: bytes that may be fetched in all.
        patience: how long to try.

    Returns:
        A buffered reader; ``zipfile.ZipFile`` takes it.

    Example:
        >>> open_remote("http://example.org/a.zip", size=100).seekable()
        True
    """
    return io.BufferedReader(RemoteFileReader(url, size=size, budget=budget, patience=patience), buffer_size=_BLOCK)
