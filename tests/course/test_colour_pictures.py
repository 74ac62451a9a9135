"""Figures of colour, walls of pictures, and two facts about the rule that fuses chroma."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure
from torch import Tensor

from hsds_lib.course.figures import colour_pictures
from hsds_lib.images.color import fuse_chroma, split_luma


def draw(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def rules() -> dict[str, colour_pictures.Rule]:
    return {"mean": lambda under, over: (under + over) / 2, "weighted": fuse_chroma}


def wall() -> dict[str, dict[str, Tensor]]:
    sizes = {"wide": (8, 12), "square": (8, 8)}
    return {row: {c: draw(i, 3, *size) for i, c in enumerate(("under", "fused"))} for row, size in sizes.items()}


CAPTIONS = {"wide": {"under": "0.100", "fused": "0.900"}, "square": {"under": "0.200", "fused": "0.300"}}
FIGURES: dict[str, Callable[[], tuple[Figure, str]]] = {
    "chroma_maps": lambda: colour_pictures.chroma_maps(rules(), (draw(0, 9, 9), draw(1, 9, 9))),
    "wall": lambda: colour_pictures.captioned_wall(wall(), CAPTIONS, title="A wall", bold=[("wide", "fused")]),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_says_what_it_shows_and_leaves_no_trace(name: str) -> None:
    before = dict(matplotlib.rcParams)
    figure, alt = FIGURES[name]()
    figure.canvas.draw()
    assert len(alt) > 40 and alt.endswith(".")
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []


def test_a_wall_names_each_column_and_row_once() -> None:
    figure, alt = FIGURES["wall"]()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["under", "fused", "", ""]
    assert [axes.get_ylabel() for axes in figure.axes] == ["wide", "", "square", ""]
    assert "wide: under (0.100), fused (0.900)" in alt


def test_only_the_chosen_caption_of_a_wall_is_bold() -> None:
    figure, _ = FIGURES["wall"]()
    bold = [axes.get_xlabel() for axes in figure.axes if axes.xaxis.label.get_fontweight() == "bold"]
    assert bold == ["0.900"]


def test_a_wall_without_captions_says_so_in_no_odd_words() -> None:
    _, alt = colour_pictures.captioned_wall(wall(), {"wide": CAPTIONS["wide"]}, title="A wall")
    assert "square:" not in alt


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({}, "the same pictures in every row; given: none"),
        ({"a": {"under": draw(0, 3, 4, 4)}, "b": {"over": draw(0, 3, 4, 4)}}, "the same pictures in every row"),
        ({"a": {"under": draw(0, 3, 4, 4), "over": draw(0, 3, 4, 5)}}, "one size in a row; row 'a'"),
    ],
)
def test_a_wall_that_does_not_fit_is_refused_in_one_sentence(bad: dict[str, dict[str, Tensor]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        colour_pictures.captioned_wall(bad, title="A wall")


def test_colour_alone_has_the_chroma_of_the_picture_and_one_brightness() -> None:
    chroma = 0.45 + 0.1 * draw(0, 1, 2, 6, 6)  # pale enough for RGB to hold
    y, cbcr = split_luma(colour_pictures.colour_alone(chroma, y=0.5))
    torch.testing.assert_close(y, torch.full_like(y, 0.5), atol=1e-3, rtol=0)
    torch.testing.assert_close(cbcr, chroma, atol=1e-3, rtol=0)


def test_fused_chroma_is_the_contraharmonic_mean_of_equal_signs_and_the_sum_of_different_ones() -> None:
    a, b = 0.4 * draw(0, 500).double() + 1e-3, 0.4 * draw(1, 500).double() + 1e-3
    torch.testing.assert_close(fuse_chroma(0.5 + a, 0.5 + b) - 0.5, (a**2 + b**2) / (a + b))
    torch.testing.assert_close(fuse_chroma(0.5 - a, 0.5 - b) - 0.5, -(a**2 + b**2) / (a + b))
    torch.testing.assert_close(fuse_chroma(0.5 - a, 0.5 + b) - 0.5, b - a)
