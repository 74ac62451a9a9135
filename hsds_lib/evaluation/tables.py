"""Tables of results for papers, pages and notebooks: LaTeX with booktabs, Markdown and HTML; and scores as CSV."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hsds_lib.evaluation.statistics import MEAN_RANK, Difference
from hsds_lib.runtime import atomic_path

NO_VALUE = "-"
_BEST = "Best in bold, second best"  # no colour is needed to see it
_LATEX = {
    **{sign: rf"\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "↑": r"$\uparrow$"},
    **{"▲": r"$\blacktriangle$", "▼": r"$\blacktriangledown$", "↓": r"$\downarrow$", "–": "--", "|": r"\textbar{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "\n": " "},
}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~])")


@dataclass(frozen=True)
class ScoreTable:
    r"""A table of texts with methods as its index, a mark of the same shape for each (best, second or nothing), a note.

    Example:
        >>> values = pd.DataFrame({"EN ↑": {"a_b": 7.12, "c": 6.25}})
        >>> print(number_table(values, title="Means").markdown())
        **Means**
        <BLANKLINE>
        | method | EN ↑ |
        |---|---:|
        | a\_b | **7.1200** |
        | c | *6.2500* |
        <BLANKLINE>
        Best in bold, second best in italics.
    """

    title: str
    texts: pd.DataFrame
    marks: pd.DataFrame | None = None
    note: str = ""

    def markdown(self) -> str:
        """The table as Markdown, as GitHub reads it."""
        frame = self._filled(escape_markdown, "**{}**", "*{}*").reset_index()
        lines = [f"| {' | '.join(row)} |" for row in ([*frame.columns], *frame.to_numpy())]
        lines.insert(1, "|---" + "|---:" * (len(frame.columns) - 1) + "|")
        note = escape_markdown(self._note("in italics."))
        return "\n".join([f"**{escape_markdown(self.title)}**", "", *lines, *(["", note] if note else [])])

    def latex(self) -> str:
        """The table as LaTeX; the document needs the packages booktabs and amssymb."""
        frame = self._filled(escape_latex, r"\textbf{{{}}}", r"\underline{{{}}}").reset_index()
        said = [f"% {line}\n" for line in (self.title, self._note("underlined.")) if line]
        columns = "l" + "r" * (len(frame.columns) - 1)
        return "".join(said) + frame.style.hide().to_latex(hrules=True, column_format=columns).rstrip()

    def html(self) -> str:
        """The table as an HTML element, with headings for screen readers."""
        looks = '<strong title="best">{}</strong>', '<u title="second best">{}</u>'
        frame = self._filled(lambda text: html.escape(text).replace("\n", "<br>"), *looks)
        frame = frame.rename_axis(index=None, columns=frame.index.name)
        plain = frame.style.set_caption(html.escape(self.title)).to_html(exclude_styles=True)
        table = plain.replace("<table>", '<table class="scores">').replace("<td >", "<td>")
        table = table.replace("<th >", '<th scope="col">', len(frame.columns) + 1).replace("<th >", '<th scope="row">')
        said = self._note("underlined.")
        return table.rstrip() + (f'<p class="note">{html.escape(said)}</p>' if said else "")

    def _filled(self, escape: Callable[[str], str], best: str, second: str) -> pd.DataFrame:
        """All texts as one of the formats wants them, the names of rows and columns included."""
        filled = self.texts.map(escape)
        for mark, look in (("best", best), ("second", second)):
            if self.marks is not None:
                filled = filled.mask(self.marks == mark, filled.map(look.format))
        filled.index = pd.Index([escape(name) for name in self.texts.index], name=self.texts.index.name or "method")
        return filled.set_axis([escape(name) for name in self.texts], axis="columns")

    def _note(self, second: str) -> str:
        """The note, and what the marks mean where there are some."""
        marked = self.marks is not None and (self.marks != "").any(axis=None)
        return f"{self.note} {_BEST} {second}".strip() if marked else self.note

    def _repr_html_(self) -> str:
        return self.html()


def escape_latex(text: str) -> str:
    r"""Write a text, such as a name, so that LaTeX prints it: ``50%_A`` becomes ``50\%\_A``."""
    return "".join(_LATEX.get(sign, sign) for sign in text)


def escape_markdown(text: str) -> str:
    r"""Write a text so that Markdown shows it as it is, in a cell of a table: ``a_b|c`` becomes ``a\_b\|c``."""
    return _MARKDOWN.sub(r"\\\1", text).replace("\n", "<br>")


def number_table(values: pd.DataFrame, *, title: str, note: str = "") -> ScoreTable:
    """Lay out numbers, methods by columns: the best two of a column are marked by all their digits, equal ones alike.

    In a column whose heading ends in ``↓``, of places or of mean ranks, low is good. Other numbers have 4 decimals, or
    2 where one reaches 20; NaN becomes ``-``.
    """
    texts, marks = {}, {}
    for heading, column in values.astype(float).items():
        low_is_good, is_mean = str(heading).endswith("↓"), str(heading).startswith(MEAN_RANK)
        decimals = 2 if is_mean or column.abs().max() >= 20 else 4
        form = "{:g}" if low_is_good and not is_mean else f"{{:.{decimals}f}}"
        texts[heading] = [NO_VALUE if pd.isna(value) else form.format(value) for value in column]
        order = column.rank(method="dense", ascending=low_is_good)
        marks[heading] = [{1: "best", 2: "second"}.get(place, "") for place in order]
    shown, marked = (pd.DataFrame(cells, index=values.index, dtype=object) for cells in (texts, marks))
    return ScoreTable(title, shown, marked, note)


def differences_table(differences: Sequence[Difference], *, title: str, note: str = "") -> ScoreTable:
    """Lay out differences from a baseline: mean, interval, scenes won; ▲ or ▼ where the interval is beside zero."""
    texts: dict[str, dict[str, str]] = {}
    for one in differences:
        texts.setdefault(f"{one.metric} ↑", {})[one.method] = _difference_text(one)
    methods = list(dict.fromkeys(one.method for one in differences))
    signs = "▲: the whole interval is above zero, ▼: below; neither: it includes zero."
    frame = pd.DataFrame(texts, index=methods, dtype=object).fillna(NO_VALUE)
    return ScoreTable(title, frame, note=f"{note} {signs}".strip())


def _difference_text(one: Difference) -> str:
    digits = 2 if abs(one.mean) >= 1 else 4
    text = f"{one.mean:+.{digits}f}"
    if one.low is not None and one.high is not None:
        sign = ("▲ " if one.low > 0 else "▼ ") if one.clear else ""
        text = f"{sign}{text}\n[{one.low:+.{digits}f}, {one.high:+.{digits}f}]"
    return f"{text}\n{one.won}/{one.scenes} won"


def write_csv(path: str | Path, table: pd.DataFrame, *, index: bool = True) -> None:
    """Write a table as CSV, atomically and with all digits; a cell is empty where there is no value."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=index, lineterminator="\n")


def read_method_scores(path: str | Path) -> dict[str, dict[str, dict[str, float | None]]]:
    """Read a CSV file of scores, such as ``scores.csv`` of an evaluation, by method, scene and metric.

    A missing file is a ``FileNotFoundError``, another table a ``ValueError``; None where there was no value.

    Example:
        >>> from hsds_lib.network.model_file import MODELS
        >>> round(read_method_scores(MODELS / "validation.csv")["mertens"]["Cave"]["Qabf"], 3)
        0.877
    """
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)  # a scene called 507 or NA stays a name
    if list(frame.columns[:2]) != ["method", "scene"]:
        raise ValueError(f"{path} is not a table of scores; give the scores.csv of an evaluation")
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for method, scene, *values in frame.itertuples(index=False, name=None):
        row = {name: float(value) if value else None for name, value in zip(frame.columns[2:], values, strict=True)}
        found.setdefault(method, {})[scene] = row
    return found
