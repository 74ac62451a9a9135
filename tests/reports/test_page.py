"""One page: what a cell's outputs and formulas become."""

from __future__ import annotations

import re
from typing import Any

import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from hsds_lib.course.widgets import Control, Explorer, View
from hsds_lib.reports import record as machine
from hsds_lib.reports.notebook import join_streams
from hsds_lib.reports.page import FormulaError, code_html, latex_output, markdown_html, report_page, to_html, to_mathml
from hsds_lib.reports.record import duration
from tests.offline import loads_from_elsewhere


def _html(*outputs: Any) -> str:
    notebook = new_notebook(
        cells=[new_markdown_cell("# T"), new_code_cell("x", execution_count=1, outputs=list(outputs))]
    )
    facts = {"name": "t", "title": "T", "status": "ok", "error": None, "failed_cell": None}
    return report_page(notebook, {**facts, "summary": [], "details": [], "slowest": []}, pages=[])


def test_page_prefers_html_and_draws_latex_outputs():
    table = new_output("execute_result", data={"text/html": "<table><td>7</td></table>", "text/plain": "seven"})
    page = _html(table, new_output("display_data", data={"text/latex": "$a^2$"}))
    assert "<td>7</td>" in page
    assert "seven" not in page
    assert "<msup>" in page


def test_prints_are_joined_however_the_kernel_cuts_them():
    def printed(*pieces: tuple[str, str]) -> Any:
        outputs = [new_output("stream", name=name, text=text) for name, text in pieces]
        figure = new_output("display_data", data={"text/plain": "figure"})
        cell = new_code_cell("x", outputs=[*outputs, figure, new_output("stream", name="stdout", text="after")])
        notebook = new_notebook(cells=[new_markdown_cell("# T"), cell])
        join_streams(notebook)
        return [output.get("text", "figure") for output in notebook.cells[1].outputs]

    whole = printed(("stdout", "one\ntwo\n"), ("stderr", "10 %\r20 %\n"))
    assert whole == ["one\ntwo\n", "20 %\n", "figure", "after"]
    assert (
        printed(("stdout", "one"), ("stdout", "\n"), ("stderr", "10 %"), ("stdout", "two\n"), ("stderr", "\r20 %\n"))
        == whole
    )


def test_page_escapes_what_cells_print():
    page = _html(new_output("stream", name="stdout", text="<script>alert(1)</script>"))
    assert "<script>" not in page


def test_an_explorer_reaches_the_page_letter_by_letter():
    words = '<svg viewBox="0 0 9 9"><linearGradient id="g"/></svg><b>"a" &lt; b</b></b>'
    control = Control("n", "n", ("1", "2"))
    explorer = Explorer("demo", "Squares", "Two.", [control], lambda n: View(words + str(n)))
    page = _html(new_output("display_data", data={"text/html": explorer.page(), "text/plain": "demo"}))
    scripts = [
        [tag.get_text() for tag in BeautifulSoup(html, "html.parser").select(".hsds-explorer script")]
        for html in (explorer.page(), page)
    ]
    assert scripts[0] == scripts[1] and len(scripts[0]) == 2
    assert all(script in page for script in scripts[0])
    assert loads_from_elsewhere(page) == []


def test_pictures_that_get_their_address_later_stay():
    later = '<div class="hsds-layer"><img alt=""></div><div class="hsds-layer"><img src="" alt=""></div>'
    page = _html(new_output("display_data", data={"text/html": later}))
    assert len(BeautifulSoup(page, "html.parser").select(".hsds-layer > img")) == 2
    remote = _html(new_output("display_data", data={"text/html": '<p id="p"><img src="a.png" alt="words"></p>'}))
    assert "<img" not in remote and "words" in remote
    assert loads_from_elsewhere(page) == loads_from_elsewhere(remote) == []


def test_code_wraps_under_its_own_beginning():
    source = 'def f(a):\n    """Two\n    lines."""\n\n        # deep\n    %timeit f(a < 1)'
    soup = BeautifulSoup(code_html(source), "html.parser")
    lines = soup.select("span.line")
    assert [line.get("style", "") for line in lines] == [
        "",
        "--indent:4ch",
        "--indent:4ch",
        "",
        "--indent:8ch",
        "--indent:4ch",
    ]
    assert "".join(line.get_text() for line in lines).rstrip("\n") == source


@pytest.mark.parametrize(
    ("system", "facts", "name"),
    [
        ("Linux", "processor : 0\nmodel name\t: Some  CPU @ 2 GHz\nmodel name\t: other", "Some CPU @ 2 GHz"),
        ("Linux", "processor : 0\nCPU part : 0xd0c", "architecture"),
        ("Linux", None, "architecture"),
    ],
)
def test_processor_is_named_or_its_architecture(tmp_path, monkeypatch, system, facts, name):
    if facts is not None:
        (tmp_path / "cpuinfo").write_text(facts, encoding="utf-8")
    monkeypatch.setattr(machine, "_CPU_FACTS", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine.platform, "system", lambda: system)
    monkeypatch.setattr(machine.platform, "machine", lambda: "architecture")
    assert machine.cpu_name() == name


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


def test_sized_bracket_below_a_script_stands_in_a_row_that_enlarges_it():
    drawn = to_mathml(r"\Bigl(\frac{a}{b}\Bigr)^2 + x\Big|_c + d_e", display=True)
    assert re.search(r"<msup><mrow><mo [^>]*minsize[^>]*>\)</mo></mrow><mn>2</mn></msup>", drawn)
    assert re.search(r"<msub><mrow><mo [^>]*minsize[^>]*>\|</mo></mrow><mi>c</mi></msub>", drawn)
    assert "<msub><mi>d</mi><mi>e</mi></msub>" in drawn


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
