"""Tables of scores for papers and pages: LaTeX with booktabs, Markdown and HTML, with best and second best marked."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from hsds_lib.evaluation.statistics import Difference

Mark = Literal["", "best", "second"]
NO_VALUE = "-"
_BEST = "Best in bold, second best"
"""What the marks mean; no colour is needed to see them."""

_LATEX = {
    **{sign: rf"\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "↑": r"$\uparrow$"},
    **{"▲": r"$\blacktriangle$", "▼": r"$\blacktriangledown$", "↓": r"$\downarrow$", "–": "--", "|": r"\textbar{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}"},
}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~])")


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, perhaps of several lines, and whether it is the best or second best of its column.

    Example:
        >>> Cell("0.9764", "best").mark
        'best'
    """

    text: str
    mark: Mark = ""


@dataclass(frozen=True)
class ScoreTable:
    r"""A table of methods and metrics.

    Attributes:
        title: what it shows, in a line.
        header: names of the columns, that of the methods first.
        rows: the name of a method and its cells.
        note: how to read it.

    Example:
        >>> table = ScoreTable("Means", ("method", "EN ↑"), [("a_b", [Cell("7.1", "best")]), ("c", [Cell("6.2")])])
        >>> print(table.markdown())
        **Means**
        <BLANKLINE>
        | method | EN ↑ |
        |---|---:|
        | a\_b | **7.1** |
        | c | 6.2 |
        <BLANKLINE>
        Best in bold, second best in italics.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    note: str = field(default="")

    def __post_init__(self) -> None:
        """Refuse rows that do not fit the header."""
        for name, cells in self.rows:
            if len(cells) != len(self.header) - 1:
                raise ValueError(
                    f"row '{name}' has {len(cells)} cells under {len(self.header) - 1} headings; give one for each"
                )

    def markdown(self) -> str:
        """The table as Markdown, as GitHub reads it."""
        lines = [f"**{escape_markdown(self.title)}**", ""]
        lines.append("| " + " | ".join(escape_markdown(name) for name in self.header) + " |")
        lines.append("|---" + "|---:" * (len(self.header) - 1) + "|")
        for name, cells in self.rows:
            lines.append(f"| {' | '.join([escape_markdown(name), *map(_markdown_cell, cells)])} |")
        note = self._note("in italics.")
        return "\n".join([*lines, *(["", escape_markdown(note)] if note else [])])

    def latex(self) -> str:
        """The table as LaTeX; the document needs the packages booktabs and amssymb."""
        lines = [f"% {line}" for line in (self.title, self._note("underlined.")) if line]
        lines += [r"\begin{tabular}{l" + "r" * (len(self.header) - 1) + "}", r"\toprule"]
        lines.append(" & ".join(escape_latex(name) for name in self.header) + r" \\")
        lines.append(r"\midrule")
        lines += [" & ".join([escape_latex(name), *map(_latex_cell, cells)]) + r" \\" for name, cells in self.rows]
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])

    def html(self) -> str:
        """The table as an HTML element, with headings for screen readers."""
        head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in self.header)
        body = "".join(
            f'<tr><th scope="row">{html.escape(name)}</th>{"".join(map(_html_cell, cells))}</tr>\n'
            for name, cells in self.rows
        )
        said = self._note("underlined.")
        note = f'<p class="note">{html.escape(said)}</p>' if said else ""
        caption = f"<caption>{html.escape(self.title)}</caption>"
        return f'<table class="scores">{caption}<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>{note}'

    def _note(self, second: str) -> str:
        """The note, and what the marks mean where there are some."""
        marked = any(cell.mark for _, cells in self.rows for cell in cells)
        return f"{self.note} {_BEST} {second}".strip() if marked else self.note

    def _repr_html_(self) -> str:
        return self.html()


def escape_latex(text: str) -> str:
    r"""Write a text so that LaTeX prints it.

    Args:
        text: a name, say.

    Returns:
        The text with its special signs escaped.

    Example:
        >>> print(escape_latex("50%_A & B"))
        50\%\_A \& B
    """
    return "".join(_LATEX.get(sign, sign) for sign in text)


def escape_markdown(text: str) -> str:
    r"""Write a text so that Markdown shows it as it is.

    Args:
        text: a name, say.

    Returns:
        The text with its special signs escaped.

    Example:
        >>> print(escape_markdown("a_b|c"))
        a\_b\|c
    """
    return _MARKDOWN.sub(r"\\\1", text)


def marks(values: Sequence[float | None], *, low_is_good: bool = False) -> list[Mark]:
    """Find the best and the second best of a column; equal ones share a mark.

    Args:
        values: by method; None is left out.
        low_is_good: for ranks.

    Returns:
        A mark for each value.

    Example:
        >>> marks([0.5, None, 0.9, 0.9, 0.7])
        ['', '', 'best', 'best', 'second']
    """
    found = sorted({value for value in values if value is not None}, reverse=not low_is_good)
    names: dict[float, Mark] = dict(zip(found, ("best", "second"), strict=False))
    return ["" if value is None else names.get(value, "") for value in values]


def number_column(
    values: Sequence[float | None], *, digits: int | None = None, low_is_good: bool = False
) -> list[Cell]:
    """Make a column of cells: numbers with the same decimals, the best two marked by their unrounded values.

    Args:
        values: by method; None becomes ``-``.
        digits: decimals; default: 4, and 2 where a number reaches 20.
        low_is_good: for ranks.

    Returns:
        A cell for each value.

    Example:
        >>> [(cell.text, cell.mark) for cell in number_column([0.25, None, 0.5])]
        [('0.2500', 'second'), ('-', ''), ('0.5000', 'best')]
    """
    if digits is None:
        digits = 2 if max((abs(value) for value in values if value is not None), default=0) >= 20 else 4
    texts = [NO_VALUE if value is None else f"{value:.{digits}f}" for value in values]
    return [Cell(text, mark) for text, mark in zip(texts, marks(values, low_is_good=low_is_good), strict=True)]


def means_table(
    means: Mapping[str, Mapping[str, float | None]],
    metrics: Sequence[str],
    *,
    title: str,
    note: str = "",
    ranks: Mapping[str, Mapping[str, float]] | None = None,
) -> ScoreTable:
    """Lay out means by method and metric, with the mean rank as the last column where ranks are given.

    Args:
        means: by method and metric.
        metrics: the columns.
        title: of the table.
        note: how to read it.
        ranks: what :func:`hsds_lib.evaluation.statistics.rank_table` gives.

    Returns:
        The table; higher is better in every metric, so each heading has an arrow up, and ranks one down.

    Example:
        >>> table = means_table({"a": {"EN": 7.0}, "b": {"EN": None}}, ["EN"], title="Means")
        >>> table.header, [(name, cells[0].text) for name, cells in table.rows]
        (('method', 'EN ↑'), [('a', '7.0000'), ('b', '-')])
    """
    columns = [number_column([row.get(metric) for row in means.values()]) for metric in metrics]
    header = ["method", *(f"{metric} ↑" for metric in metrics)]
    if ranks:
        columns.append(number_column([ranks[name]["mean rank"] for name in means], digits=2, low_is_good=True))
        header.append("mean rank ↓")
    rows = [(name, [column[number] for column in columns]) for number, name in enumerate(means)]
    return ScoreTable(title, tuple(header), rows, note)


def ranks_table(ranks: Mapping[str, Mapping[str, float]], *, title: str, note: str = "") -> ScoreTable:
    """Lay out the places of the methods in every metric, and their mean.

    Args:
        ranks: what :func:`hsds_lib.evaluation.statistics.rank_table` gives.
        title: of the table.
        note: how to read it.

    Returns:
        The table; low is good.

    Example:
        >>> ranks_table({"a": {"EN": 1.0, "mean rank": 1.0}}, title="Ranks").rows
        [('a', [Cell(text='1', mark='best'), Cell(text='1.00', mark='best')])]
    """
    columns = list(next(iter(ranks.values()), {}))
    cells: list[list[Cell]] = []
    for name in columns:
        values = [row[name] for row in ranks.values()]
        found = marks(values, low_is_good=True)
        texts = [f"{value:.2f}" if name == "mean rank" else f"{value:g}" for value in values]
        cells.append([Cell(text, mark) for text, mark in zip(texts, found, strict=True)])
    rows = [(name, [column[number] for column in cells]) for number, name in enumerate(ranks)]
    return ScoreTable(title, ("method", *(f"{name} ↓" for name in columns)), rows, note)


def differences_table(differences: Sequence[Difference], *, title: str, note: str = "") -> ScoreTable:
    r"""Lay out differences from a baseline: mean, interval, scenes won.

    Args:
        differences: of one baseline.
        title: of the table.
        note: is put before the meaning of the signs.

    Returns:
        The table: ▲ where the whole interval is above zero, ▼ where it is below.

    Example:
        >>> one = Difference("b", "a", "EN", 0.5, 0.25, 0.75, scenes=12, won=11, lost=1)
        >>> differences_table([one], title="b - a").rows
        [('b', [Cell(text='▲ +0.5000\n[+0.2500, +0.7500]\n11/12 won', mark='')])]
    """
    methods = list(dict.fromkeys(one.method for one in differences))
    metrics = list(dict.fromkeys(one.metric for one in differences))
    found = {(one.method, one.metric): _difference_text(one) for one in differences}
    rows = [(name, [Cell(found.get((name, metric), NO_VALUE)) for metric in metrics]) for name in methods]
    signs = "▲: the whole interval is above zero, ▼: below; neither: it includes zero."
    return ScoreTable(title, ("method", *(f"{metric} ↑" for metric in metrics)), rows, f"{note} {signs}".strip())


def _difference_text(one: Difference) -> str:
    digits = 2 if abs(one.mean) >= 1 else 4
    text = f"{one.mean:+.{digits}f}"
    if one.low is not None and one.high is not None:
        sign = ("▲ " if one.low > 0 else "▼ ") if one.clear else ""
        text = f"{sign}{text}\n[{one.low:+.{digits}f}, {one.high:+.{digits}f}]"
    return f"{text}\n{one.won}/{one.scenes} won"


def _markdown_cell(cell: Cell) -> str:
    text = escape_markdown(cell.text).replace("\n", "<br>")
    return {"": text, "best": f"**{text}**", "second": f"*{text}*"}[cell.mark]


def _latex_cell(cell: Cell) -> str:
    text = escape_latex(cell.text.replace("\n", " "))
    return {"": text, "best": rf"\textbf{{{text}}}", "second": rf"\underline{{{text}}}"}[cell.mark]


def _html_cell(cell: Cell) -> str:
    text = html.escape(cell.text).replace("\n", "<br>")
    marked = {"": text, "best": f"<strong>{text}</strong>", "second": f"<u>{text}</u>"}
    said = {"": "", "best": ' title="best"', "second": ' title="second best"'}
    return f"<td{said[cell.mark]}>{marked[cell.mark]}</td>"
