"""What a cell printed, as one text: a kernel sends it in pieces, cut by the clock and not by the program."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby

from nbformat import NotebookNode

_OVERWRITTEN = re.compile(r"[^\n]*\r(?=[^\n])")  # by a progress bar's next state


def join_streams(notebook: NotebookNode) -> None:
    """Join neighbouring pieces of stdout, and of stderr, in place; what other outputs stand between stays apart."""
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        joined: list[NotebookNode] = []
        for printed, outputs in groupby(cell.outputs, key=lambda output: output.output_type == "stream"):
            together = list(outputs)
            joined += _by_name(together) if printed else together
        cell.outputs = joined


def _by_name(outputs: Iterable[NotebookNode]) -> list[NotebookNode]:
    found: dict[str, NotebookNode] = {}
    for output in outputs:
        if output.name in found:
            found[output.name].text += output.text
        else:
            found[output.name] = output
    for output in found.values():
        output.text = _OVERWRITTEN.sub("", output.text)
    return list(found.values())
