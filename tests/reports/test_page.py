"""One page: what a cell's outputs and formulas become."""

from __future__ import annotations

from typing import Any

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from hsds_lib.reports.formulas import FormulaError, latex_output, to_html, to_mathml
from hsds_lib.reports.page import markdown_html, report_page
from hsds_lib.reports.record import duration


def _html(*outputs: Any) -> str:
    notebook = new_notebook(
        cells=[new_markdown_cell("# T"), new_code_cell("x", execution_count=1, outputs=list(outputs))]
    )
    facts = {"name": "t", "title": "T", "status": "ok", "error": None, "failed_cell": None}
    return report_page(notebook, {**facts, "summary": [], "details": []}, pages=[])


def test_page_prefers_html_and_draws_latex_outputs():
    table = new_output("execute_result", data={"text/html": "<table><td>7</td></table>", "text/plain": "seven"})
    page = _html(table, new_output("display_data", data={"text/latex": "$a^2$"}))
    assert "<td>7</td>" in page
    assert "seven" not in page
    assert "<msup>" in page


def test_page_escapes_what_cells_print():
    page = _html(new_output("stream", name="stdout", text="<script>alert(1)</script>"))
    assert "<script>" not in page


@pytest.mark.parametrize(
    "tex",
    [
        r"\min_{\alpha,\beta} \Gamma_H(\omega^{*}(\alpha,\beta);\alpha) \tag{1}",
        r"\begin{aligned} a &= b \\ c &= d \end{aligned} \tag{2}",
        r"\sum_{i} \frac{\lVert \phi_i(I_f) - \phi_i(I_r) \rVert_2^2}{\sum_{m=1}^{M} \lVert x \rVert_1 + \epsilon}",
        r"\frac{\partial \Gamma}{\partial \beta_k} = -\xi\, \mathrm{mix}_k \Bigl( J_k - \sum_j J_j \Bigr)",
        r"\operatorname*{arg\,min}_{\omega} \mathcal{L}_{\text{train}}, \boldsymbol{\alpha} \in \mathbb{R}^{15}",
        r"\begin{cases} 1 & x > 0 \\ 0 & \text{else} \end{cases}",
    ],
)
def test_formulas_of_the_course_can_be_drawn(tex):
    assert to_mathml(tex, display=True).startswith("<math")


def test_only_tagged_formulas_are_numbered():
    assert "(1)" not in to_mathml(r"\begin{equation} a = b \end{equation}", display=True)
    assert "(7)" in to_mathml(r"a = b \tag{7}", display=True)


def test_formula_that_cannot_be_drawn_stays_readable():
    with pytest.raises(FormulaError, match="nosuchcommand"):
        to_mathml(r"\nosuchcommand{x}", display=False)
    shown = to_html(r"\nosuchcommand{x} < 1", display=False)
    assert 'class="tex"' in shown
    assert r"\nosuchcommand{x} &lt; 1</code>" in shown


@pytest.mark.parametrize(("text", "displayed"), [("$a$", False), ("$$a$$", True), (r"\(a\)", False), ("a", True)])
def test_latex_output_takes_the_delimiters_off(text, displayed):
    shown = latex_output(text)
    assert ('display="block"' in shown) == displayed
    assert "$" not in shown


def test_dollars_in_code_are_left_alone():
    assert "<math" not in markdown_html("Set `$HOME$`.\n\n```bash\necho $HOME$\n```\n")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (73.2, "73 s"), (720, "12 min"), (12_000, "3 h 20 min")]
)
def test_duration_in_words(seconds, words):
    assert duration(seconds) == words
