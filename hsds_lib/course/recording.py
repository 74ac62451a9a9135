"""Recorded runs that ship with the course: facts as JSON and pictures, in one zip file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from hsds_lib.runtime import atomic_path

FOLDER = Path(str(files("hsds_lib.course"))) / "recordings"
"""Where the recordings that ship lie."""
_FACTS = "facts.json"
_DATE = (2026, 1, 1, 0, 0, 0)  # the same for all, so that equal recordings are equal files


def write_recording(path: str | Path, facts: Mapping[str, Any], pictures: Mapping[str, bytes]) -> None:
    """Write facts (anything JSON can hold) and picture files by name into one zip, atomically."""
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        # Pictures are compressed already.
        _add(archive, _FACTS, text.encode(), zipfile.ZIP_DEFLATED)
        for name in sorted(pictures):
            _add(archive, name, pictures[name], zipfile.ZIP_STORED)


def read_recording(path: str | Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read what :func:`write_recording` wrote: the facts, and the pictures by name.

    ``FileNotFoundError`` where there is no such file; ``ValueError`` for a file that is no recording.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no recording {path}; the ones that ship lie in {FOLDER}")
    try:
        with zipfile.ZipFile(path) as archive:
            facts = json.loads(archive.read(_FACTS))
            return facts, {name: archive.read(name) for name in archive.namelist() if name != _FACTS}
    except (zipfile.BadZipFile, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no recording ({error}); make it anew") from None


def _add(archive: zipfile.ZipFile, name: str, content: bytes, compression: int) -> None:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.compress_type = compression
    archive.writestr(entry, content)
