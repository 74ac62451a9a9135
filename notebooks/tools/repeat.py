"""What two executions with equal parameters must have in common: everything but times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nbformat
from bs4 import BeautifulSoup
from nbformat import NotebookNode

_TIMES = ("seconds", "cell_seconds", "slowest_cells")


def comparable_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of a report without durations and the moment of writing."""
    kept = {key: value for key, value in record.items() if key not in _TIMES}
    return {**kept, "provenance": {key: value for key, value in record["provenance"].items() if key != "written"}}


def comparable_page(page: str) -> str:
    """A page, or a piece of one, with the elements emptied that are marked with ``data-varies``."""
    soup = BeautifulSoup(page, features="html.parser")
    for element in soup.select("[data-varies]"):
        element.clear()
    return str(soup)


def comparable_notebook(notebook: NotebookNode) -> NotebookNode:
    """An executed notebook without papermill's times; marked elements are emptied in outputs as well."""
    kept: NotebookNode = nbformat.from_dict(notebook)
    kept.metadata.pop("papermill", None)
    for cell in kept.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "data-varies" in data.get("text/html", ""):
                output.data = NotebookNode({"text/html": comparable_page(data["text/html"])})
    return kept
