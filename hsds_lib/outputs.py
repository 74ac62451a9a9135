"""Where a command may write: never over what it was given, and never into what it did not make."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

MARKER = ".made-by-hsds"
"""A file in a folder that a command made, with the command's name in it."""
LOCK_FILES = (".in-use", ".in-use-by")
"""What a process at work in a folder keeps there; see ``hsds_lib.runs.lock``."""


class OutputError(ValueError):
    """A result would lie over something that its command did not make."""


def place_of(path: str | Path) -> Path:
    """Where a name leads, through links and ``..``, also by way of folders that only making it would make."""
    return Path(os.path.realpath(path))  # Path.resolve gives up at links that lead in a circle


def require_apart(out: str | Path, *given: str | Path | None) -> None:
    """Refuse an output that is one of the files or folders given, or lies over one of them; links are followed.

    None stands for something that was not given. A folder given as input may hold the output; an output that would hold
    an input may not be.

    Example:
        >>> require_apart("fused.png", "under.png", None)
        >>> require_apart("photos/../a.png", "a.png")
        Traceback (most recent call last):
        hsds_lib.outputs.OutputError: the output photos/../a.png is or holds the input a.png; name another place
    """
    place = place_of(out)
    if any("\ud800" <= letter <= "\udfff" for letter in str(place)):
        raise OutputError(f"the output {out} lies at a name that is not UTF-8; name another place")
    for one in given:
        if one is None:
            continue
        path = place_of(one)
        if place == path or place in path.parents or _same_file(place, path):
            raise OutputError(f"the output {out} is or holds the input {one}; name another place")


def _same_file(one: Path, other: Path) -> bool:
    """Whether two names are the same file, by a hard link or on a file system that does not tell cases apart."""
    with suppress(OSError):
        return one.samefile(other)
    return False


def own_folder(
    out: str | Path,
    command: str,
    *inputs: str | Path | None,
    adopt: Callable[[Path], bool] = lambda folder: False,
) -> Path:
    """Give the path of a folder that ``command`` may fill, clear and write over: new, empty, or made by it before.

    Only such folders carry its marker. ``adopt`` says of a folder without any whether the command made it before there
    were markers. OutputError for a file, a folder with anything else in it, one that another command made, and one that
    is or holds an input.
    """
    require_apart(out, *inputs)
    folder = place_of(out)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"the output {out} is a file; name a folder")
    marker = folder / MARKER
    if folder.is_dir() and any(path.name not in LOCK_FILES for path in folder.iterdir()):
        made = marker.read_text(encoding="utf-8", errors="replace").strip() if marker.is_file() else ""
        if made != command and (made or not adopt(folder)):
            whose = f"was made by `{made}`" if made else "holds files that this command did not write"
            raise OutputError(f"the folder {out} {whose}; name a new or empty one for `{command}`")
    folder.mkdir(parents=True, exist_ok=True)
    marker.write_text(f"{command}\n", encoding="utf-8")
    return folder
