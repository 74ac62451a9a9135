"""From source to notebook: identities, tags, what a source must not contain, and what is kept of a cell's outputs."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from notebooks.tools.outputs import OutputError, fit_png, normalise_outputs
from notebooks.tools.source import SourceError, read_source, versions

PARAMETERS = '# %% tags=["parameters"]\na = 1\n\n'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("# %%\na = 1\n", "0 cells are tagged 'parameters'"),
        (PARAMETERS + PARAMETERS, "2 cells are tagged 'parameters'"),
        (PARAMETERS + '# %% tags=["verdicts"]\nprint(1)\n', "unknown tag verdicts"),
        (PARAMETERS + '# %% [markdown] tags=["verdict"]\n# words\n', "unknown tag verdict on a markdown cell"),
        (PARAMETERS + '# %% tags=["hero"]\na\n\n# %% tags=["hero"]\na\n', "2 cells are tagged 'hero'"),
        (PARAMETERS + "# %%\n\n# %%\na\n", "code cell is empty"),
        ('# %% tags=["parameters", "slide", "skip"]\na = 1\n', "toy.py, cell 1: skip and slide on one cell"),
        (PARAMETERS + "# %% [markdown] **Lost.** This\n# is kept.\n", "cell 2: .*begin it on the next line"),
    ],
)
def test_read_source_refuses(tmp_path, text, complaint):
    source = tmp_path / "toy.py"
    source.write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match=complaint):
        read_source(source)


def _png(width: int = 64, height: int = 48) -> str:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(noise).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _picture(alt: str | None) -> Any:
    metadata = {"image/png": {"alt": alt}} if alt else {}
    return new_output("display_data", data={"image/png": _png()}, metadata=metadata)


def _printed(text: str, name: str = "stdout") -> Any:
    return new_output("stream", name=name, text=text)


@pytest.mark.parametrize(
    ("names", "outputs", "complaint"),
    [
        ([], [_picture(None)], "without alternative text"),
        (["verdict"], [], "printed nothing"),
        (["verdict"], [_printed("\n")], "printed nothing"),
        (["verdict"], [_printed("fine\n"), _printed("a warning", "stderr")], "wrote to stderr"),
        (["verdict"], [_printed("<object object at 0x7f00>\n")], "memory address"),
        (["verdict"], [new_output("display_data", data={"text/html": "<b>", "text/plain": "x"})], "text/html"),
        (["hero"], [_printed("no figure")], "showed 0 PNG"),
        (["hero"], [_picture("one"), _picture("two")], "showed 2 PNG"),
    ],
)
def test_normalise_outputs_refuses(names, outputs, complaint):
    cell = new_code_cell("print(1)", outputs=outputs, metadata={"tags": names})
    with pytest.raises(OutputError, match=rf"cell 1 \('print\(1\)'\).*{complaint}"):
        normalise_outputs(new_notebook(cells=[cell]))


def test_normalise_outputs_joins_what_was_printed_in_pieces():
    cell = new_code_cell("p()", outputs=[_printed("a\n"), _printed("b\n")], metadata={"tags": ["verdict"]})
    normalise_outputs(new_notebook(cells=[cell]))
    assert [output.text for output in cell.outputs] == ["a\nb\n"]


def test_fit_png_keeps_shape_and_limit():
    small = fit_png(base64.b64decode(_png(400, 200)), width=300, limit=40_000)
    picture = Image.open(BytesIO(small))
    assert len(small) <= 40_000
    assert picture.width < 300
    assert picture.width / picture.height == pytest.approx(2, abs=0.05)


def test_equal_cells_get_different_ids(tmp_path):
    source = tmp_path / "toy.py"
    source.write_text('# %% tags=["parameters"]\na = 1\n\n# %%\nprint(1)\n\n# %%\nprint(1)\n', encoding="utf-8")
    [notebook] = versions(source, tmp_path).values()
    assert len({cell.id for cell in notebook.cells}) == 1 + 3  # the folded cell for Colab comes first


SLIDES = """
# %% [markdown] tags=["slide"]
# # 1 · A toy

# %% tags=["parameters", "skip"]
a = 1

# %% tags=["verdict", "fragment"]
print(a)

# %% [markdown] tags=["notes"]
# Say it.

# %% [markdown] tags=["subslide"]
# More.

# %% [markdown]
# Untagged.
"""


def test_tags_about_slides_become_what_other_tools_read(tmp_path):
    source = tmp_path / "toy.py"
    source.write_text(SLIDES.lstrip(), encoding="utf-8")
    [notebook] = versions(source, tmp_path).values()
    nbformat.validate(notebook)
    types = [cell.metadata.get("slideshow", {}).get("slide_type") for cell in notebook.cells]
    assert types == ["slide", "skip", "skip", "fragment", "notes", "subslide", None]
    assert notebook.cells[0].metadata.tags == ["slide"]
    assert notebook.cells[3].metadata.tags == ["verdict", "fragment"]
