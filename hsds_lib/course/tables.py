"""Small tables and folded notes that a notebook shows."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Table:
    """A table to show as the last line of a cell.

    Attributes:
        header: names of the columns.
        rows: one sequence of cells per row; numbers other than whole ones are shown with four digits.
        title: folds the table under this line, when given.
    """

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
