"""TeX formulas as MathML, which browsers draw by themselves: no script, no font, no network."""

from __future__ import annotations

import html
import re
from functools import cache
from importlib.resources import files

from math_core import LatexError, LatexToMathML

_NUMBERED = re.compile(r"\\(begin|end)\{(equation|align|gather)\}")
_SIZED_BASE = re.compile(r"(<m(?:sub|sup|subsup)>)(<mo [^>]*minsize[^>]*>[^<]*</mo>)")
_DELIMITERS = (("$$", "$$"), (r"\[", r"\]"), ("$", "$"), (r"\(", r"\)"))


class FormulaError(ValueError):
    """A formula that cannot be drawn; the message holds the TeX and the reason."""


@cache
def _converter() -> LatexToMathML:
    # The TeX stays inside as an annotation: it can be copied, and search finds it.
    return LatexToMathML(annotation=True, fancy_error=False)


def to_mathml(tex: str, *, display: bool) -> str:
    r"""Convert one formula.

    Args:
        tex: the formula without delimiters; ``\tag{3}`` numbers a displayed one, and nothing else does.
        display: on a line of its own, or within text.

    Returns:
        A ``<math>`` element.

    Raises:
        FormulaError: on a command that is unknown or incomplete.
    """
    tex = tex.strip()
    if r"\tag" not in tex:
        # Counters would start anew in every cell, so formulas without a tag get no number.
        tex = _NUMBERED.sub(r"\\\1{\2*}", tex)
    elif not _NUMBERED.match(tex):
        tex = rf"\begin{{equation}}{tex}\end{{equation}}"
    try:
        drawn = _converter().convert_with_local_state(tex, displaystyle=display)
    except LatexError as error:
        raise FormulaError(f"{tex}: {' '.join(str(error).split())}") from None
    # Browsers enlarge a bracket (\Bigr) in a row, and not right below a script.
    return _SIZED_BASE.sub(r"\1<mrow>\2</mrow>", drawn)


def to_html(tex: str, *, display: bool) -> str:
    """Convert one formula; one that cannot be drawn is shown as its TeX, marked with the class ``tex``."""
    try:
        return to_mathml(tex, display=display)
    except FormulaError as error:
        tag = "pre" if display else "code"
        return f'<{tag} class="tex" title="{html.escape(str(error))}">{html.escape(tex.strip())}</{tag}>'


def latex_output(text: str) -> str:
    """Convert a ``text/latex`` output, whose formula stands between delimiters, or is an environment."""
    text = text.strip()
    for begin, end in _DELIMITERS:
        if text.startswith(begin) and text.endswith(end) and len(text) >= len(begin) + len(end):
            return to_html(text[len(begin) : -len(end)], display=begin in ("$$", r"\["))
    return to_html(text, display=True)


def formula_style() -> str:
    """The style sheet of formulas, for every page that has some."""
    return (files("hsds_lib.reports") / "templates" / "formulas.css").read_text(encoding="utf-8")
