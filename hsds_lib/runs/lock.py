"""One process at a time in a folder: a lock that its holder's death releases."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from hsds_lib.outputs import LOCK_FILES, place_of
from hsds_lib.runtime import RunError


@contextmanager
def alone_in(folder: str | Path | None, what: str) -> Iterator[None]:
    """Keep other processes out of a folder, which is made, inside the block; RunError says who is in there already.

    The lock is the operating system's, so that one who was killed holds nothing. None: no folder, and no lock.
    """
    if folder is None:
        yield
        return
    place = place_of(folder)
    new = not place.exists()
    place.mkdir(parents=True, exist_ok=True)
    lock_file, holder = (place / name for name in LOCK_FILES)
    try:
        with FileLock(lock_file).acquire(timeout=0):
            since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
            holder.write_text(f"{what}, process {os.getpid()} on {platform.node()}, since {since}", encoding="utf-8")
            try:
                yield
            finally:
                with suppress(OSError):  # Windows keeps a file that is open
                    holder.unlink()
                    lock_file.unlink()
    except Timeout:
        by = holder.read_text(encoding="utf-8") if holder.is_file() else "another process"
        raise RunError(f"{place} is in use: {by}; wait until that has ended, or name another folder") from None
    finally:
        if new:
            with suppress(OSError):  # there is something in it
                place.rmdir()
