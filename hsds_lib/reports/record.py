"""What is known of one executed notebook: a JSON file beside its page, and what page and index show of it."""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from hsds_lib.images.datasets import DataError, data_folder, is_in_memory, parts_of
from hsds_lib.reports.notebook import alt_text, pictures, tags
from hsds_lib.reports.page import render
from hsds_lib.runtime import atomic_path, read_json

_CPU_FACTS = Path("/proc/cpuinfo")


@cache
def machine_facts() -> dict[str, Any]:
    """Name of the processor, number of its cores, and name of the GPU or None."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": cpu_name(), "cores": os.cpu_count(), "gpu": gpu}


def cpu_name() -> str:
    """The processor's name as its maker writes it; where the system does not tell, its architecture."""
    if platform.system() == "Linux":
        found = _linux()
    elif platform.system() == "Darwin":
        found = _mac()
    else:
        found = platform.processor()
    return " ".join(found.split()) or platform.machine()


def _linux() -> str:
    if not _CPU_FACTS.is_file():
        return ""
    facts = (line.partition(":") for line in _CPU_FACTS.read_text(encoding="utf-8", errors="replace").splitlines())
    return next((value for name, _, value in facts if name.strip() == "model name"), "")  # ARM has no such line


def _mac() -> str:
    command = ["sysctl", "-n", "machdep.cpu.brand_string"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


MOST_BYTES = 2_000_000_000
"""Up to here a folder is hashed by content, beyond it by names and sizes, and the report says so."""
_PICTURES = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"}


def data_facts(data: Any) -> dict[str, Any] | None:
    """Say which pictures a parameter ``data`` stands for: ``files``, ``bytes``, ``sha256``, and ``by``, what is hashed.

    None for a notebook without that parameter, or where the data cannot be found (the notebook itself then says so).
    """
    if not isinstance(data, str):
        return None
    parts = parts_of(data)
    folders = [part for part in parts if not is_in_memory(part)]
    if not folders:
        return {"data": data, **_embedded_facts()}
    try:
        # Names within each set, so that the hash is the same wherever the pictures lie.
        files = [entry for name in folders for entry in _pictures(data_folder(name))]
        facts = {"data": data, **_hashed(files)}
    except (DataError, OSError):
        return None
    return _with_embedded(facts) if len(folders) < len(parts) else facts


def data_line(facts: dict[str, Any] | None) -> str:
    """The same in words, for the provenance block."""
    if facts is None:
        return "no data set"
    return f"{facts['data']}: {facts['files']} pictures, sha256 {facts['sha256'][:16]}… (over {facts['by']})"


@cache
def _embedded_facts() -> dict[str, Any]:
    from hsds_lib.images.exposure import embedded_photographs
    from hsds_lib.runtime import fingerprint

    photographs = embedded_photographs()
    size = sum(photo.numel() for photo in photographs.values())
    hashed = fingerprint(photographs.values())
    return {"files": len(photographs), "bytes": size, "sha256": hashed, "by": "photographs, before exposure"}


def _with_embedded(facts: dict[str, Any]) -> dict[str, Any]:
    embedded = _embedded_facts()
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


FORMAT = 1
"""Version of the JSON; the index leaves files of another one out."""
VARIES = frozenset({"Executed", "Duration"})
"""What differs between two runs that are otherwise equal; the page marks these with ``data-varies``."""
_THUMBNAIL_WIDTH = 520  # pixels; twice what the index shows


def page_facts(record: Mapping[str, Any], *, failed_cell: str | None, index: str = "index.html") -> dict[str, Any]:
    """What the provenance block of a page shows of a record, as ``execute_report`` writes it to JSON.

    ``failed_cell`` is the id of the cell that failed, ``index`` the address of the overview, seen from the page.
    """
    origin = record["provenance"]
    longest = max(record["cell_seconds"], default=0.0)
    details = [
        ("Notebook", f"{record['name']}.ipynb, sha256 {record['notebook_sha256']}"),
        *((f"Parameter {name}", _plain(value)) for name, value in record["parameters"].items()),
        ("Data", data_line(record.get("data"))),
        ("Real data folder", origin.get("HSDS_DATA") or "none: HSDS_DATA is not set"),
        ("Duration", f"{duration(record['seconds'])}; the slowest cell took {duration(longest)}"),
        ("hsds_lib", origin["hsds_lib"]),
        ("Commit", _commit(origin)),
        ("Python", f"{origin['python']} on {origin['system']}"),
        ("Processor", f"{origin['cpu']}, cores: {origin['cores']}, threads of torch: {origin['threads']}"),
        ("GPU", origin["gpu"] or "none that torch can use"),
        ("Packages", ", ".join(f"{name} {version}" for name, version in origin["packages"].items())),
    ]
    summary = [
        ("Executed", _moment(origin["written"])),
        ("Duration", duration(record["seconds"])),
        ("Parameters", _main_parameters(record)),
        ("Commit", _commit(origin)),
        ("Computer", origin["gpu"] or origin["cpu"]),
    ]
    marked = {
        name: [(label, text, label in VARIES) for label, text in rows]
        for name, rows in (("summary", summary), ("details", details))
    }
    kept = {key: record[key] for key in ("name", "title", "status", "error")}
    slowest = [(duration(seconds), line, cell) for seconds, line, cell in record["slowest_cells"]]
    return {**kept, **marked, "slowest": slowest, "failed_cell": failed_cell, "index": index}


def holds_reports(folder: Path) -> bool:
    """Whether a folder without a marker holds reports, not of a sweep: every page and notebook has its record."""
    names = {path.stem for kind in ("*.html", "*.ipynb") for path in folder.glob(kind)} - {"index"}
    records = [folder / f"{name}.json" for name in names]
    return bool(records) and not (folder / "run.json").exists() and all(map(_read, records))


def write_index(out: Path) -> Path:
    """Write ``index.html`` over all reports in a folder, those of earlier runs included; returns its path."""
    records = [record for record in map(_read, sorted(out.glob("*.json"))) if record]
    ran = sum(record["status"] == "ok" for record in records)
    total = duration(sum(record["seconds"] for record in records))
    noun = "notebook" if len(records) == 1 else "notebooks"
    sentence = f"{ran} of {len(records)} {noun} ran to the end without an error; {total} in all."
    rows = [
        {
            **record,
            "time": duration(record["seconds"]),
            "parameters": _main_parameters(record),
            "executed": _moment(record["provenance"]["written"]),
            "commit": _commit(record["provenance"]),
            "thumbnail": _embedded(out / f"{record['name']}.jpg"),
        }
        for record in records
    ]
    index = out / "index.html"
    with atomic_path(index) as temporary:
        temporary.write_text(render("index.html.j2", reports=rows, sentence=sentence), encoding="utf-8")
    return index


def write_thumbnail(notebook: NotebookNode, path: Path) -> str:
    """Keep the notebook's best figure, small, as a JPEG: that of the ``hero`` cell, else the first one.

    Returns its alternative text; without any figure an empty string, and then an earlier file is removed.
    """
    from PIL import Image

    cells = sorted((cell for cell in notebook.cells if pictures(cell)), key=lambda cell: "hero" not in tags(cell))
    found = [output for cell in cells for output in pictures(cell) if "image/png" in output.data]
    if not found:
        path.unlink(missing_ok=True)
        return ""
    picture = Image.open(BytesIO(base64.b64decode(found[0].data["image/png"]))).convert("RGB")
    picture.thumbnail((_THUMBNAIL_WIDTH, 2 * _THUMBNAIL_WIDTH))
    with atomic_path(path) as temporary:
        picture.save(temporary, format="JPEG", quality=85)
    return alt_text(found[0])


def duration(seconds: float) -> str:
    """Seconds in words: ``0.4 s``, ``73 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record = read_json(path)
    except (OSError, ValueError):
        return None
    ours = isinstance(record, dict) and record.get("report") == FORMAT and path.with_suffix(".html").is_file()
    return record if ours else None


def _embedded(path: Path) -> str | None:
    if not path.is_file():
        return None
    return f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _main_parameters(record: Mapping[str, Any]) -> str:
    """Those given for this run, and the two that say most about any run; the page's details have them all."""
    shown = {"preset", "seed", *record["given"]}
    found = [f"{name} {_plain(value)}" for name, value in record["parameters"].items() if name in shown]
    return ", ".join(found) or "defaults"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) and value else repr(value)


def _moment(iso: str) -> str:
    return datetime.fromisoformat(iso).strftime("%Y-%m-%d %H:%M UTC")


def _commit(origin: Mapping[str, Any]) -> str:
    commit = origin.get("commit")
    if not commit:
        return "unknown (not in a git checkout)"
    clean = commit.removesuffix("-dirty")
    return clean if clean == commit else f"{clean} with uncommitted changes"
