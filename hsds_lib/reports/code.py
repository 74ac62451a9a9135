"""Code with colours, a line at a time, so that a page can wrap a long line under its own beginning."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

COLOURS = "xcode"
_TAG = re.compile(r"<[^>]+>")


class _Lines(HtmlFormatter[str]):
    """Each line is an element that knows its indentation."""

    def _format_lines(self, tokensource: Any) -> Iterator[tuple[int, str]]:
        for kind, line in super()._format_lines(tokensource):
            words = _TAG.sub("", line)
            indent = len(words) - len(words.lstrip(" "))
            known = f' style="--indent:{indent}ch"' if indent and words.strip() else ""
            yield kind, f'<span class="line"{known}>{line}</span>'


def code_html(source: str) -> str:
    r"""Python code of a cell, magics included, as HTML with the classes of ``code_style``.

    Example:
        >>> "--indent:4ch" in code_html("if a:\n    b()")
        True
    """
    return highlight(source, get_lexer_by_name("ipython3", stripnl=False), _Lines(cssclass="highlight"))


def code_style() -> str:
    """The colours as a style sheet."""
    return HtmlFormatter(style=COLOURS).get_style_defs(".highlight")
