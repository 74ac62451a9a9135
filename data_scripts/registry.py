"""What can be fetched (mirrors, checksums, licences, in JSON and CSV beside this), and the index of what was."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hsds_lib.images.datasets import DATA_VARIABLE, DataError
from hsds_lib.runtime import atomic_path, file_hash

INDEX = "index.csv"  # in a folder of data: what lies there, from where, and the hashes that `hsds data verify` compares
LARGEST_IMAGE = 64_000_000  # bytes; no image of the tables comes near it


@dataclass(frozen=True)
class RemoteFile:
    """A file as its publisher offers it: its path there, mirrors in the order in which they are tried, and its sha256.

    ``size`` in bytes is None where it is not known.
    """

    name: str
    urls: Sequence[str]
    sha256: str
    size: int | None = None

    @property
    def largest(self) -> int:
        """Bytes at which a download is given up."""
        return self.size or LARGEST_IMAGE


@dataclass(frozen=True)
class StoredImage:
    """An image as it lies in the data folder: ``path`` is relative to that, ``split`` development, test or all.

    The bytes are those of the source, or ``converted``: decoded (from JPEG, PNG or TIFF) and stored as PNG with its
    pixels unchanged, whose ``images.pixel_hash`` is ``pixels_sha256`` where it is known.
    """

    path: str
    split: str
    source: RemoteFile
    source_format: str
    converted: bool
    pixels_sha256: str | None


@dataclass(frozen=True)
class Entry:
    """A data set of single images or of one archive, or a file of weights.

    ``download`` and ``disk`` are about how many bytes are fetched at most, and needed meanwhile; ``by_hand`` is what to
    fetch with a browser where this machine has no network.
    """

    name: str
    what: str
    licence: str
    download: int
    disk: int
    folders: Sequence[str]
    images: Sequence[StoredImage]
    files: Sequence[RemoteFile]
    by_hand: Sequence[str]


def entry_names() -> list[str]:
    """Names of all entries, in the order in which they are shown."""
    return list(json.loads(_text("entries.json")))


def load_entry(name: str) -> Entry:
    """Read one entry of the registry; DataError if there is none of this name."""
    entries = json.loads(_text("entries.json"))
    if name not in entries:
        raise DataError(f"data set '{name}' is not registered; choose one of {', '.join(entries)}")
    facts = entries[name]
    rows = csv.DictReader(_text(facts["table"]).splitlines()) if "table" in facts else ()
    return Entry(
        name=name,
        images=[_image(row, facts) for row in rows],
        files=[RemoteFile(**file) for file in facts.get("files", ())],
        **{key: facts[key] for key in ("what", "licence", "download", "disk", "folders", "by_hand")},
    )


def _text(name: str) -> str:
    return (files("data_scripts") / name).read_text(encoding="utf-8")


def _image(row: Mapping[str, str], facts: Mapping[str, Any]) -> StoredImage:
    repository = row["repository"]
    places = {"repository": repository, "commit": facts["commit"][repository], "path": quote(row["source"])}
    return StoredImage(
        path=row["path"],
        split=row["split"],
        source=RemoteFile(row["source"], [url.format(**places) for url in facts["mirrors"]], row["source_sha256"]),
        source_format=row["source_format"],
        converted=row["converted"] == "yes",
        pixels_sha256=row["pixels_sha256"] or None,
    )


def data_root(to: Path | None = None) -> Path:
    """The folder in which data sets lie: ``to``, else what ``HSDS_DATA`` names; DataError if neither is given."""
    named = os.environ.get(DATA_VARIABLE)
    if to is None and not named:
        raise DataError(f"no folder for data was given: set {DATA_VARIABLE} to one, or give it with --to DIR")
    root = to if to is not None else Path(str(named))
    if root.exists() and not root.is_dir():
        raise DataError(f"{root} is a file; data go into a folder, so name one with --to DIR")
    return root


def below(folder: Path) -> list[Path]:
    """All that lies in a folder, at any depth and in order, links not followed; DataError where that is too deep."""
    try:
        return sorted(folder.rglob("*"))
    except RecursionError:
        raise DataError(f"{folder} holds folders too deep within each other to be read; move them away") from None


def write_index(folder: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write the index of a folder, atomically: at least one row, each with ``file`` (relative to it) and ``sha256``.

    DataError where a file of this name is none that was written here.
    """
    if (folder / INDEX).exists() and not read_index(folder):
        raise DataError(f"{folder / INDEX} was not written from here; move it away first")
    with atomic_path(folder / INDEX) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_index(folder: Path) -> dict[str, dict[str, str]]:
    """Rows of a folder's index by file, none where there is no index or one of another layout; DataError if no CSV."""
    path = folder / INDEX
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [{key: value for key, value in row.items() if key is not None} for row in csv.DictReader(file)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no CSV file ({error}); fetch the data set again") from error
    return {row["file"]: row for row in rows if row.get("file") and row.get("sha256")}


def states_by_index(folder: Path) -> dict[str, str]:
    """Say "ok", "missing" or "changed" of each file in the folder's index."""
    states = {}
    for name, row in read_index(folder).items():
        if not (folder / name).is_file():
            states[name] = "missing"
        else:
            states[name] = "ok" if file_hash(folder / name) == row["sha256"] else "changed"
    return states
