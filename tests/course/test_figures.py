"""A figure is shown as one PNG with its alternative text, and nothing else."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import IPython.display
import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from hsds_lib.course.show import FIGURES_VARIABLE, save_figure, show

matplotlib.use("Agg")


@pytest.fixture
def displayed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    calls: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(IPython.display, "display", lambda *args, **options: calls.append((*args, options)))
    return calls


def _figure(**options: Any) -> Figure:
    figure, axes = plt.subplots(**options)
    axes.plot([0, 1, 0])
    return figure


def _panels() -> Figure:
    """A layout that every drawing adjusts a little further."""
    figure = Figure(figsize=(6, 3), layout="constrained")
    panels = figure.subplots(1, 3)
    for panel in panels:
        panel.imshow(np.arange(12).reshape(3, 4))
        panel.set(title="a title", xlabel="across")
    figure.colorbar(panels[0].images[0], ax=panels)
    figure.suptitle("Panels")
    return figure


def test_show_displays_one_png_with_alt_and_no_text(displayed, capsys):
    assert show(_figure(), alt="A line that\n    rises and falls.") is None
    [(data, options)] = displayed
    assert list(data) == ["image/png"]
    assert options["metadata"]["image/png"]["alt"] == "A line that rises and falls."
    assert capsys.readouterr().out == ""


def test_show_closes_the_figure(displayed):
    figure = _figure()
    show(figure, alt="A line.")
    assert not plt.fignum_exists(figure.number)


def test_show_draws_finer_than_it_displays(displayed):
    show(_figure(figsize=(4, 3)), alt="A line.", dpi=192)
    [(data, options)] = displayed
    picture = Image.open(BytesIO(base64.b64decode(data["image/png"])))
    assert picture.width == pytest.approx(2 * options["metadata"]["image/png"]["width"], abs=2)
    assert np.asarray(picture.convert("L")).std() > 1  # something is drawn


def test_show_gives_equal_bytes_for_equal_figures(displayed):
    show(_figure(), alt="A line.")
    show(_figure(), alt="A line.")
    assert displayed[0] == displayed[1]
    assert b"Software" not in base64.b64decode(displayed[0][0]["image/png"])


@pytest.mark.parametrize("alt", ["", "  \n"])
def test_show_refuses_an_empty_alt(displayed, alt):
    with pytest.raises(ValueError, match="alt text"):
        show(_figure(), alt=alt)
    assert displayed == []
    plt.close("all")


def test_show_refuses_axes_and_says_what_to_give(displayed):
    figure = _figure()
    with pytest.raises(TypeError, match="Figure"):
        show(figure.axes[0], alt="A line.")
    plt.close(figure)


def test_equal_figures_are_equal_files_without_dates(tmp_path):
    once, twice = (save_figure(_figure(), tmp_path / name / "line") for name in ("once", "twice"))
    assert [path.name for path in once] == ["line.svg", "line.pdf", "line.png"]
    for first, second in zip(once, twice, strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name
    assert b"CreationDate" not in once[1].read_bytes()
    assert b"<dc:date>" not in once[0].read_bytes()


def test_text_stays_text_in_vectors(tmp_path):
    figure = _figure()
    figure.axes[0].set_title("Hypergradient")
    svg, pdf = save_figure(figure, tmp_path / "line", formats=("svg", "pdf"))
    plt.close(figure)
    assert ">Hypergradient</text>" in svg.read_text(encoding="utf-8")
    assert b"/Type3" not in pdf.read_bytes() and b"/FontFile2" in pdf.read_bytes()  # TrueType, embedded


def test_a_stem_with_a_dot_keeps_it(tmp_path):
    [path] = save_figure(_figure(), tmp_path / "theta_0.05", formats=("png",))
    assert path.name == "theta_0.05.png"
    plt.close("all")


def test_show_saves_numbered_figures_where_the_variable_says_and_shows_the_same(displayed, tmp_path, monkeypatch):
    monkeypatch.delenv(FIGURES_VARIABLE, raising=False)
    show(_panels(), alt="Panels.")
    monkeypatch.setenv(FIGURES_VARIABLE, str(tmp_path / "figures"))
    for _ in range(2):
        show(_panels(), alt="Panels.")
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == [f"0{number}.{form}" for number in (1, 2) for form in ("pdf", "png", "svg")]
    assert displayed[0] == displayed[1] == displayed[2]


def test_saving_a_figure_in_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match="figures are not saved as gif; choose among svg, pdf, png"):
        save_figure(Figure(), tmp_path / "figure", formats=("gif",))
    assert list(tmp_path.iterdir()) == []


def test_a_figure_is_numbered_so_that_no_file_is_written_over(displayed, tmp_path, monkeypatch):
    for name in ("01.png", "02.svg", "04.pdf"):
        (tmp_path / name).write_bytes(b"mine")
    monkeypatch.setenv(FIGURES_VARIABLE, str(tmp_path))
    for _ in range(2):
        show(_figure(), alt="A line.")
    assert [path.name for path in sorted(tmp_path.iterdir()) if path.read_bytes() != b"mine"] == [
        *(f"03.{form}" for form in ("pdf", "png", "svg")),
        *(f"05.{form}" for form in ("pdf", "png", "svg")),
    ]
