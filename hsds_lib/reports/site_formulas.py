"""A Sphinx extension: formulas as MathML, drawn by the browser without a script."""

from __future__ import annotations

from typing import Any

from docutils import nodes

from hsds_lib.reports.formulas import to_html


def setup(app: Any) -> dict[str, bool]:
    """Register the renderer ``hsds`` for ``html_math_renderer``."""
    app.add_html_math_renderer("hsds", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline(translator: Any, node: nodes.Element) -> None:
    translator.body.append(to_html(node.astext(), display=False))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.Element) -> None:
    translator.body.append(f'<div class="math">{to_html(node.astext(), display=True)}</div>')
    raise nodes.SkipNode
