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
    folders = ("mefb", "sice_sample") if data == "real" else (data,)
    try:
        files = [(name, path) for name in folders for path in _pictures(data_folder(name))]
        return {"data": data, **_hashed(files)}
    except (DataError, OSError):
        return None


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


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in _PICTURES and path.is_file())


def _hashed(files: list[tuple[str, Path]]) -> dict[str, Any]:
    sizes = [path.stat().st_size for _, path in files]
    whole = sum(sizes) <= MOST_BYTES
    digest = hashlib.sha256()
    for (name, path), size in zip(files, sizes, strict=True):
        digest.update(f"{name}/{path.name}:{size}\n".encode())
        if whole:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    by = "contents" if whole else "names and sizes"
    return {"files": len(files), "bytes": sum(sizes), "sha256": digest.hexdigest(), "by": by}
