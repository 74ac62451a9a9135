"""What is known of one executed notebook: a JSON file beside its page, and what page and index show of it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from hsds_lib.course.kernel import tags
from hsds_lib.course.outputs import alt_text, pictures
from hsds_lib.reports.data import data_line
from hsds_lib.reports.page import render
from hsds_lib.runtime import atomic_path, read_json

FORMAT = 1
"""Version of the JSON; the index leaves files of another one out."""
VARIES = frozenset({"Executed", "Duration"})
"""What differs between two runs that are otherwise equal; the page marks these with ``data-varies``."""
_THUMBNAIL_WIDTH = 520  # pixels; twice what the index shows


def page_facts(record: Mapping[str, Any], *, failed_cell: str | None, index: str = "index.html") -> dict[str, Any]:
    """What the provenance block of a page shows of a record.

    Args:
        record: as written to JSON by ``hsds_lib.reports.execute``.
        failed_cell: id of the cell that failed, if one did.
        index: address of the overview, seen from the page.
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

    Returns:
        Its alternative text; without any figure an empty string, and then an earlier file is removed.
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
    except ValueError:
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
