"""The few numbers that a notebook wants to be compared by, where a sweep over many runs finds them again."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbformat import NotebookNode


@dataclass(frozen=True)
class Table:
    """A table to show as the last line of a cell; broken numbers have four digits, a title folds it."""

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    title: str = ""

    def __post_init__(self) -> None:
        """Refuse rows that do not fit the header."""
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(
                    f"a table with {len(self.header)} columns got a row of {len(row)}: {list(row)}; "
                    "give every row one cell per column"
                )

    def __repr__(self) -> str:
        """The table as plain text, for terminals."""
        lines = [list(self.header), *([_text(cell) for cell in row] for row in self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.header))]
        padded = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join(line.rstrip() for line in [*([self.title] if self.title else []), *padded])

    def _repr_html_(self) -> str:
        head = "".join(f'<th style="text-align:left">{html.escape(name)}</th>' for name in self.header)
        body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in self.rows)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        if not self.title:
            return table
        return f"<details><summary>{html.escape(self.title)}</summary>{table}</details>"


def _text(cell: Any) -> str:
    return f"{cell:.4f}" if isinstance(cell, float) else str(cell)


def _cell(cell: Any) -> str:
    side = "right" if isinstance(cell, int | float) and not isinstance(cell, bool) else "left"
    return f'<td style="text-align:{side}">{html.escape(_text(cell))}</td>'


NUMBERS = "application/vnd.hsds.numbers+json"
"""MIME type under which the numbers are stored in an executed notebook."""


@dataclass(frozen=True, repr=False)
class Headline(Table):
    """A table whose numbers are stored as data as well."""

    numbers: Mapping[str, float] = field(default_factory=dict)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {
            "text/plain": repr(self),
            "text/html": self._repr_html_(),
            NUMBERS: dict(self.numbers),
        }


def headline(numbers: Mapping[str, float], table: Table | None = None) -> Headline:
    """Show finite numbers as the last line of a cell, and keep them for the report's JSON and for sweeps.

    A name is the head of a column in the summary of a sweep. ``table`` is shown in place of the numbers, where they
    belong to more. ``ValueError`` for NaN or infinity, which JSON cannot hold.
    """
    bad = [name for name, value in numbers.items() if not math.isfinite(value)]
    if bad:
        raise ValueError(f"the number '{bad[0]}' is {numbers[bad[0]]}; a headline takes finite numbers only")
    if table is None:
        table = Table(("number", "value"), list(numbers.items()))
    return Headline(table.header, table.rows, table.title, numbers)


def headline_numbers(notebook: NotebookNode) -> dict[str, float]:
    """Find the numbers of all headlines in an executed notebook; of a name that comes twice, the last."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    found = [output.data[NUMBERS] for output in outputs if NUMBERS in output.get("data", {})]
    return {name: value for numbers in found for name, value in numbers.items()}
