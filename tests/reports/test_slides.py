"""Slides: nothing of a notebook that is to be seen gets lost, what tags say is done, and the file needs no network."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from hsds_lib.reports.slides import SlidesError, arrange, slides_page, write_slides
from tests.offline import loads_from_elsewhere

VENDOR = Path(__file__).resolve().parents[2] / "hsds_lib" / "reports" / "vendor" / "reveal"
PNG = base64.b64encode(b"\x89PNG not really").decode()


def _picture(alt: str = "A line <rises>.") -> Any:
    return new_output("display_data", data={"image/png": PNG}, metadata={"image/png": {"alt": alt}})


def _text(text: str) -> Any:
    return new_output("stream", name="stdout", text=text)


def _code(source: str, *outputs: Any, tags: tuple[str, ...] = ()) -> Any:
    metadata = {"tags": list(tags)} if tags else {}
    return new_code_cell(source, outputs=list(outputs), execution_count=1, metadata=metadata)


def _prose(text: str, *tags: str) -> Any:
    return new_markdown_cell(text, metadata={"tags": list(tags)} if tags else {})


@pytest.fixture
def notebook() -> Any:
    return new_notebook(
        cells=[
            _prose("# 1 · A title\n\n**Promise.** Something.\n\n**Time** soon."),
            _code("a = 1", _text("set up\n")),
            _prose(
                "## One\n\nFirst [words](00_other.ipynb).\n\nSecond words.\n\nHence\n\n$$ x_k = 1 $$\n\nThird words."
            ),
            _code("show()", _picture(), _text("printed\n")),
            _code("print(1)", _text("equal: True\n"), tags=("verdict",)),
            _prose("About the figure."),
            _code("Table()", new_output("execute_result", data={"text/html": "<table><tr><td>7</td></tr></table>"})),
            _prose("### Exercise 1.1\n\nDo this.\n\nAnd that."),
            _code("def mine(x):\n    return ..."),
            _code('check("1.1", mine)', _text("1.1 not attempted yet.\n"), tags=("verdict",)),
            _code("colophon()", new_output("display_data", data={"text/html": "<details><p>python</p></details>"})),
        ]
    )


def _body(slide: Any) -> str:
    return "".join(slide.body)


def test_each_heading_starts_a_slide_with_its_first_paragraph(notebook: Any) -> None:
    slides = arrange(notebook)
    one = next(slide for slide in slides if slide.title == "One")
    assert "First words." in _body(one)
    assert "Second words." not in _body(one)
    assert "Second words." in "".join(one.notes)
    assert [slide.kind for slide in slides] == ["title", "text", "figure", "text", "table", "exercise"]


def test_formulas_are_kept_with_what_leads_to_them(notebook: Any) -> None:
    one = next(slide for slide in arrange(notebook) if slide.title == "One")
    assert re.search(r"Hence.*<math display=\"block\">", _body(one), re.DOTALL)


def test_a_picture_has_a_slide_with_its_heading_its_words_and_its_code(notebook: Any) -> None:
    [figure] = [slide for slide in arrange(notebook) if slide.kind == "figure"]
    assert figure.title == "One"
    assert BeautifulSoup(_body(figure), "html.parser").img["alt"] == "A line <rises>."
    assert "A line &lt;rises&gt;." in "".join(figure.notes)
    assert "show" in figure.code[0]


def test_verdicts_are_shown_and_other_text_is_not(notebook: Any) -> None:
    seen = "".join(map(_body, arrange(notebook)))
    assert "equal: True" in seen
    assert not [words for words in ("printed", "set up", "not attempted", "<details") if words in seen]


def test_comments_below_a_figure_are_said_and_not_shown(notebook: Any) -> None:
    slides = arrange(notebook)
    assert "About the figure." not in "".join(map(_body, slides))
    assert "About the figure." in "".join(note for slide in slides for note in slide.notes)


def test_an_exercise_shows_its_question_and_its_stub(notebook: Any) -> None:
    [exercise] = [slide for slide in arrange(notebook) if slide.kind == "exercise"]
    words = BeautifulSoup(_body(exercise), "html.parser").get_text()
    assert all(part in words for part in ("Do this.", "And that.", "def mine(x):"))
    notebook.cells += [_prose("After it.\n\n$$ y $$"), _code("print(2)", _text("two\n"), tags=("verdict",))]
    slides = arrange(notebook)
    assert [(slide.title, slide.kind) for slide in slides[-2:]] == [("Exercise 1.1", "exercise"), ("One", "text")]
    assert "two" in _body(slides[-1]), "what follows an exercise goes on with the section"


def test_references_are_for_the_notes() -> None:
    [slide] = arrange(new_notebook(cells=[_prose("# T\n\nPromise.\n\n**Further reading**\n\n- Somebody")]))
    assert "Somebody" in "".join(slide.notes) and "Somebody" not in _body(slide)


def test_no_slide_is_empty_or_too_full(notebook: Any) -> None:
    long = [_code("print()", _text(f"line {n}\n" * 6), tags=("verdict",)) for n in range(9)]
    notebook.cells += [_prose("## Long"), *long]
    slides = arrange(notebook)
    assert all(slide.body or slide.kind == "title" for slide in slides)
    assert all(_body(slide).count("line") <= 18 for slide in slides)
    assert sum(_body(slide).count("line 3") for slide in slides) == 6
    assert [slide.title for slide in slides[-3:]] == ["Long"] * 3


def test_tags_decide() -> None:
    cells = [
        _prose("# T\n\nPromise."),
        _prose("Spoken.", "notes"),
        _prose("All of this.\n\nAnd this.", "slide"),
        _prose("Later.", "fragment"),
        _code("show()", _picture(), tags=("skip",)),
        _code("print()", _text("printed\n"), tags=("subslide",)),
    ]
    slides = arrange(new_notebook(cells=cells))
    assert [slide.title for slide in slides] == ["T"] * 3
    assert "Spoken." in "".join(slides[0].notes)
    assert "All of this." in _body(slides[1]) and "And this." in _body(slides[1])
    assert '<div class="fragment"><p>Later.</p>' in _body(slides[1])
    assert "printed" in _body(slides[2])
    assert "<img" not in "".join(map(_body, slides))


def test_types_set_by_other_tools_are_read_like_tags() -> None:
    cell = new_markdown_cell("Spoken.", metadata={"slideshow": {"slide_type": "notes"}})
    [slide] = arrange(new_notebook(cells=[_prose("# T\n\nPromise."), cell]))
    assert "Spoken." in slide.notes[0]


def test_the_page_needs_nothing_from_elsewhere(notebook: Any, tmp_path: Path) -> None:
    nbformat.write(notebook, tmp_path / "01_toy.ipynb")
    path = write_slides(tmp_path / "01_toy.ipynb", tmp_path / "deck")
    assert path == tmp_path / "deck" / "01_toy.html"
    page = path.read_text(encoding="utf-8")
    assert loads_from_elsewhere(page) == []
    soup = BeautifulSoup(page, "html.parser")
    assert soup.title is not None and soup.title.get_text() == "1 · A title"
    assert len(soup.select(".slides > section")) == len(arrange(notebook))
    assert all(picture.get("alt") for picture in soup.select("img"))
    assert not soup.select(".slides a[href$='.ipynb']")
    assert "sourceMappingURL" not in page


def test_reading_changes_nothing(notebook: Any) -> None:
    before = nbformat.writes(notebook)
    assert slides_page(notebook) == slides_page(notebook)
    assert nbformat.writes(notebook) == before


def test_what_makes_no_slides_is_refused(notebook: Any, tmp_path: Path) -> None:
    with pytest.raises(SlidesError, match=r"03_none.ipynb does not exist; `hsds report 03_none`"):
        write_slides(tmp_path / "03_none.ipynb", tmp_path)
    (tmp_path / "bad.ipynb").write_text("{", encoding="utf-8")
    with pytest.raises(SlidesError, match="is no notebook"):
        write_slides(tmp_path / "bad.ipynb", tmp_path)
    notebook.cells[1].execution_count = None
    nbformat.write(notebook, tmp_path / "raw.ipynb")
    with pytest.raises(SlidesError, match="was not executed to its end"):
        write_slides(tmp_path / "raw.ipynb", tmp_path / "x.html")


def test_slides_replace_slides_and_nothing_else(notebook: Any, tmp_path: Path) -> None:
    nbformat.write(notebook, tmp_path / "01_toy.ipynb")
    before = (tmp_path / "01_toy.ipynb").read_bytes()
    (tmp_path / "01_toy.html").write_text("<html>the report, with <div class='reveal'> in it</html>")
    (tmp_path / "folder.html").mkdir()
    for place in (tmp_path, tmp_path / "01_toy.html", tmp_path / "folder.html", tmp_path / "new" / ".."):
        with pytest.raises(SlidesError, match="holds no slides"):
            write_slides(tmp_path / "01_toy.ipynb", place)
    with pytest.raises(OSError, match="exists"):
        write_slides(tmp_path / "01_toy.ipynb", tmp_path / "01_toy.ipynb")
    assert (tmp_path / "01_toy.ipynb").read_bytes() == before and "the report" in (tmp_path / "01_toy.html").read_text()
    once = write_slides(tmp_path / "01_toy.ipynb", tmp_path / "deck.html").read_bytes()
    assert write_slides(tmp_path / "01_toy.ipynb", tmp_path / "deck.html").read_bytes() == once


@pytest.mark.parametrize(
    "content", ["null", "[]", "{}", "[" * 100_000, '{"nbformat": 3, "nbformat_minor": 0}'], ids=len
)
def test_json_that_is_no_notebook_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "odd.ipynb").write_text(content)
    with pytest.raises(SlidesError, match=r"odd\.ipynb is no notebook \(.+\); give the \.ipynb that"):
        write_slides(tmp_path / "odd.ipynb", tmp_path)


@pytest.mark.parametrize(("key", "value"), [("source", None), ("cell_type", []), ("metadata", 3), ("outputs", {})])
def test_a_notebook_with_an_odd_cell_is_refused(key: str, value: object, notebook: Any, tmp_path: Path) -> None:
    notebook.cells[1][key] = value
    (tmp_path / "odd.ipynb").write_text(json.dumps(notebook))
    with pytest.raises(SlidesError, match=r"odd\.ipynb is no notebook"):
        write_slides(tmp_path / "odd.ipynb", tmp_path)


def test_vendored_files_are_those_of_the_readme() -> None:
    sums = dict(re.findall(r"\| `(\S+)` \| `([0-9a-f]{64})` \|", (VENDOR / "README.md").read_text(encoding="utf-8")))
    assert set(sums) == {path.name for path in VENDOR.iterdir()} - {"README.md"}
    for name, digest in sums.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest
    assert b"MIT licensed" in (VENDOR / "reveal.js").read_bytes()[:200]
