"""From source to notebook: identities, tags about slides, and what a source must not contain."""

from __future__ import annotations

import nbformat
import pytest

from notebooks.tools.source import SourceError, versions


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


def test_two_tags_about_slides_are_refused(tmp_path):
    source = tmp_path / "toy.py"
    source.write_text('# %% tags=["parameters", "slide", "skip"]\na = 1\n', encoding="utf-8")
    with pytest.raises(SourceError, match=r"toy.py, cell 1: skip and slide on one cell"):
        versions(source, tmp_path)


def test_text_on_the_line_of_the_marker_is_refused(tmp_path):
    source = tmp_path / "toy.py"
    source.write_text(
        '# %% tags=["parameters"]\na = 1\n\n# %% [markdown] **Lost.** This\n# is kept.\n', encoding="utf-8"
    )
    with pytest.raises(SourceError, match=r"toy.py, cell 2: .*begin it on the next line"):
        versions(source, tmp_path)
