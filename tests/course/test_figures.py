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

from hsds_lib.course.figures import show

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


def test_saving_a_figure_in_an_unknown_format_is_refused(tmp_path):
    from matplotlib.figure import Figure

    from hsds_lib.course.figures import save_figure

    with pytest.raises(ValueError, match="figures are not saved as gif; choose among svg, pdf, png"):
        save_figure(Figure(), tmp_path / "figure", formats=("gif",))
    assert list(tmp_path.iterdir()) == []
