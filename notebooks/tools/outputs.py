"""Which outputs of an executed notebook are stored: what nbval can compare everywhere, and one picture."""

from __future__ import annotations

import base64
import re
from io import BytesIO
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output

from hsds_lib.course.show import png_size
from hsds_lib.reports.notebook import PICTURES, alt_text, pictures, tags

HERO_BYTES = 600_000
"""Largest PNG that a built notebook may hold; a bigger one is drawn smaller."""
_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")


class OutputError(ValueError):
    """An output that may not be stored; the message names the cell."""


def normalise_outputs(notebook: NotebookNode) -> None:
    """Keep the text of ``verdict`` cells and the picture of the ``hero`` cell, in place; drop all else.

    Raises OutputError when a picture has no alternative text, a verdict is empty or holds something nbval would compare
    but no machine repeats, or the hero cell does not show exactly one PNG.
    """
    for number, cell in enumerate(notebook.cells, start=1):
        if cell.cell_type != "code":
            continue
        where = f"cell {number} ({cell.source.splitlines()[0]!r})"
        if not all(alt_text(output) for output in pictures(cell)):
            raise OutputError(
                f"{where} shows a picture without alternative text; "
                "show figures with hsds_lib.course.show.show(figure, alt=...)"
            )
        kept = []
        if "verdict" in tags(cell):
            kept += _verdict(cell, where)
        if "hero" in tags(cell):
            kept.append(_hero(cell, where))
        cell.outputs = kept


def _verdict(cell: NotebookNode, where: str) -> list[NotebookNode]:
    kept: list[NotebookNode] = []
    for output in cell.outputs:
        if output.output_type == "stream":
            if output.name != "stdout":
                raise OutputError(f"{where} is a verdict and wrote to {output.name}: {output.text.strip()[:200]!r}")
            if kept and kept[-1].output_type == "stream":
                kept[-1].text += output.text
            else:
                kept.append(new_output("stream", name="stdout", text=output.text))
        elif output.output_type in ("display_data", "execute_result"):
            kept += _plain(output, where)
        # An error is left only where the cell may raise; nbval does not compare it.
    text = "".join(output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in kept)
    if not text.strip():
        raise OutputError(f"{where} is a verdict and printed nothing; nbval would have nothing to compare")
    if _ADDRESS.search(text):
        raise OutputError(f"{where} is a verdict and printed a memory address; print a fact instead")
    return kept


def _plain(output: NotebookNode, where: str) -> list[NotebookNode]:
    others = set(output.data) - PICTURES - {"text/plain"}
    if others:
        raise OutputError(f"{where} is a verdict and showed {', '.join(sorted(others))}; print text instead")
    if "text/plain" not in output.data:
        return []
    options: dict[str, Any] = {"data": {"text/plain": output.data["text/plain"]}, "metadata": {}}
    if output.output_type == "execute_result":
        options["execution_count"] = output.execution_count
    return [new_output(output.output_type, **options)]


def _hero(cell: NotebookNode, where: str) -> NotebookNode:
    found = [output for output in pictures(cell) if "image/png" in output.data]
    if len(found) != 1:
        raise OutputError(f"{where} is the hero and showed {len(found)} PNG figures; show exactly one")
    [output] = found
    png = base64.b64decode(output.data["image/png"])
    width = output.metadata.get("image/png", {}).get("width") or png_size(png)[0]
    data = {"image/png": base64.b64encode(fit_png(png, width=width, limit=HERO_BYTES)).decode("ascii")}
    return new_output("display_data", data=data, metadata={"image/png": {"alt": alt_text(output)}})


def fit_png(png: bytes, *, width: int, limit: int) -> bytes:
    """Draw a PNG at most ``width`` pixels wide, and smaller still until it takes at most ``limit`` bytes."""
    from PIL import Image

    picture = Image.open(BytesIO(png)).convert("RGB")
    width = min(width, picture.width)
    while True:
        size = (width, max(1, round(picture.height * width / picture.width)))
        buffer = BytesIO()
        picture.resize(size, Image.Resampling.LANCZOS).save(buffer, format="PNG", optimize=True)
        if buffer.tell() <= limit or width == 1:
            return buffer.getvalue()
        width = max(1, int(width * 0.85))
