"""What can be fetched: names, files, mirrors, checksums, licences. The facts lie beside this module as JSON and CSV."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hsds_lib.images.datasets import DATA_VARIABLE, DataError

LARGEST_IMAGE = 64_000_000  # bytes; no image of the tables comes near it
_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "TIFF": ".png"}


@dataclass(frozen=True)
class RemoteFile:
    """A file as its publisher offers it.

    Attributes:
        name: its path there.
        urls: mirrors, in the order in which they are tried.
        sha256: of its bytes.
        size: bytes, where they are known.
        largest: bytes at which a download of unknown size is given up.

    Example:
        >>> file = load_entry("vgg16").files[0]
        >>> file.name, file.size
        ('vgg16-397923af.pth', 553433881)
    """

    name: str
    urls: tuple[str, ...]
    sha256: str
    size: int | None = None
    largest: int = LARGEST_IMAGE


@dataclass(frozen=True)
class StoredImage:
    """An image as it lies in the data folder.

    Attributes:
        path: relative to the data folder.
        split: "development" or "test" for MEFB, else "all".
        source: the file it comes from.
        source_format: "JPEG", "PNG" or "TIFF".
        converted: decoded and stored as PNG with its pixels unchanged; else the bytes are those of the source.
        pixels_sha256: of the decoded pixels (``pictures.pixel_hash``), where it is known.

    Example:
        >>> image = load_entry("mefb").images[-2]
        >>> image.path, image.converted
        ('mefb_test/ArchSequence/under.jpg', False)
    """

    path: str
    split: str
    source: RemoteFile
    source_format: str
    converted: bool
    pixels_sha256: str | None


@dataclass(frozen=True)
class Entry:
    """A data set, or a file of weights.

    Attributes:
        name: as in ``hsds data fetch NAME``.
        what: a line on what it is.
        licence: as far as it is stated.
        citation: whom to cite.
        download: bytes to be fetched at most, about.
        disk: bytes needed while it is fetched, about.
        folders: in the data folder.
        images: for sets of single images.
        files: for sets that are one archive or one file.
        by_hand: what to fetch with a browser where this machine has no network.

    Example:
        >>> load_entry("sice_sample").licence
        'research use'
    """

    name: str
    what: str
    licence: str
    citation: str
    download: int
    disk: int
    folders: tuple[str, ...]
    images: tuple[StoredImage, ...]
    files: tuple[RemoteFile, ...]
    by_hand: tuple[str, ...]


def entry_names() -> list[str]:
    """List what is registered.

    Returns:
        Names, in the order in which they are shown.

    Example:
        >>> entry_names()
        ['mefb', 'sice_sample', 'sice', 'coco', 'vgg16']
    """
    return list(_facts())


def load_entry(name: str) -> Entry:
    """Read one entry of the registry.

    Args:
        name: one of ``entry_names``.

    Returns:
        The entry.

    Raises:
        DataError: there is none of this name.

    Example:
        >>> entry = load_entry("mefb")
        >>> len([image for image in entry.images if image.split == "development"])  # two to a scene
        80
        >>> load_entry("imagenet")
        Traceback (most recent call last):
        hsds_lib.images.datasets.DataError: data set 'imagenet' is not registered; choose one of mefb, ...
    """
    facts = _facts()
    if name not in facts:
        raise DataError(f"data set '{name}' is not registered; choose one of {', '.join(facts)}")
    given = facts[name]
    images = tuple(_image(row, given) for row in _rows(given["table"])) if "table" in given else ()
    plain = {key: given[key] for key in ("what", "licence", "citation", "download", "disk")}
    return Entry(
        name=name,
        **plain,
        folders=tuple(given["folders"]),
        images=images,
        files=tuple(_single(file) for file in given.get("files", ())),
        by_hand=tuple(given["by_hand"]),
    )


def _facts() -> dict[str, Any]:
    return json.loads((files("data_scripts") / "entries.json").read_text(encoding="utf-8"))


def _rows(table: str) -> list[dict[str, str]]:
    text = (files("data_scripts") / table).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _single(file: Mapping[str, Any]) -> RemoteFile:
    return RemoteFile(file["name"], tuple(file["urls"]), file["sha256"], file["size"], largest=file["size"])


def _image(row: Mapping[str, str], facts: Mapping[str, Any]) -> StoredImage:
    repository = row.get("repository") or next(iter(facts["commit"]))
    places = {"repository": repository, "commit": facts["commit"][repository], "path": quote(row["source"])}
    source = RemoteFile(
        name=row["source"],
        urls=tuple(mirror.format(**places) for mirror in facts["mirrors"]),
        sha256=row["source_sha256"],
    )
    path, split = _place(row, facts["folders"])
    return StoredImage(
        path=path,
        split=split,
        source=source,
        source_format=row["source_format"],
        converted="file" in row or row["source_format"] == "TIFF",  # the sample is stored as PNG throughout
        pixels_sha256=row["pixels_sha256"] or None,
    )


def _place(row: Mapping[str, str], folders: list[str]) -> tuple[str, str]:
    """Where an image is stored, and its split: the scenes for final evaluation have a folder of their own."""
    if "file" in row:
        return f"{folders[0]}/{row['file']}", "all"
    folder = folders[1] if row["split"] == "test" else folders[0]
    return f"{folder}/{row['scene']}/{row['role']}{_SUFFIXES[row['source_format']]}", row["split"]


def data_root(to: Path | None = None) -> Path:
    """Say in which folder data sets lie.

    Args:
        to: the folder given with the command, if any.

    Returns:
        That one, else the folder that ``HSDS_DATA`` names; it need not exist.

    Raises:
        DataError: neither is given.

    Example:
        >>> data_root(Path("data")).name
        'data'
    """
    named = os.environ.get(DATA_VARIABLE)
    if to is None and not named:
        raise DataError(f"no folder for data was given: set {DATA_VARIABLE} to one, or give it with --to DIR")
    return to if to is not None else Path(str(named))
