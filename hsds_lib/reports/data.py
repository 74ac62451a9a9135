"""Which data a report was made from: a hash over the bytes, so that two reports can be compared."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from hsds_lib.images.folders import DataError, data_folder

MOST_BYTES = 2_000_000_000
"""Up to here a folder is hashed by content, beyond it by names and sizes, and the report says so."""
_PICTURES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"}


def data_facts(data: Any) -> dict[str, Any] | None:
    """Say which pictures a parameter ``data`` stands for.

    Args:
        data: ``embedded``, the name of a data set in ``HSDS_DATA``, or a folder; None where a notebook has no such
            parameter.

    Returns:
        ``data``, ``files``, ``bytes``, ``sha256`` and ``by``: what the hash is over. None where there is nothing, or
        where the data cannot be found (the notebook itself then says so).
    """
    if not isinstance(data, str):
        return None
    if data == "embedded":
        return {"data": data, **_embedded()}
    folders = ("mefb", "sice_sample") if data in {"real", "real+embedded"} else (data,)
    try:
        # Names within each set, so that the hash is the same wherever the pictures lie.
        files = [entry for name in folders for entry in _pictures(data_folder(name))]
        facts = {"data": data, **_hashed(files)}
    except (DataError, OSError):
        return None
    return _with_embedded(facts) if data == "real+embedded" else facts


def data_line(facts: dict[str, Any] | None) -> str:
    """The same in words, for the provenance block."""
    if facts is None:
        return "no data set"
    return f"{facts['data']}: {facts['files']} pictures, sha256 {facts['sha256'][:16]}… (over {facts['by']})"


@cache
def _embedded() -> dict[str, Any]:
    from hsds_lib.images.exposure import embedded_photographs
    from hsds_lib.runtime import fingerprint

    photographs = embedded_photographs()
    size = sum(photo.numel() for photo in photographs.values())
    hashed = fingerprint(photographs.values())
    return {"files": len(photographs), "bytes": size, "sha256": hashed, "by": "photographs, before exposure"}


def _with_embedded(facts: dict[str, Any]) -> dict[str, Any]:
    embedded = _embedded()
    both = hashlib.sha256(f"{facts['sha256']}\n{embedded['sha256']}".encode()).hexdigest()
    total = {name: facts[name] + embedded[name] for name in ("files", "bytes")}
    return {**facts, **total, "sha256": both, "by": f"{facts['by']}, and embedded {embedded['by']}"}


def _pictures(folder: Path) -> list[tuple[str, Path]]:
    """Name within the folder and path of every picture."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in _PICTURES and path.is_file())
    return sorted((path.relative_to(folder).as_posix(), path) for path in found)


def _hashed(files: list[tuple[str, Path]]) -> dict[str, Any]:
    states = [path.stat() for _, path in files]
    size = sum(state.st_size for state in states)
    whole = size <= MOST_BYTES
    digest = hashlib.sha256()
    for (name, path), state in zip(files, states, strict=True):
        digest.update(f"{name}:{state.st_size}\n".encode())
        if whole:
            digest.update(_contents(path, state.st_size, state.st_mtime_ns))
    by = "contents" if whole else "names and sizes"
    return {"files": len(files), "bytes": size, "sha256": digest.hexdigest(), "by": by}


@cache
def _contents(path: Path, size: int, modified: int) -> bytes:
    """Hash of a file; read once in a run over many notebooks, and again when the file was changed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
