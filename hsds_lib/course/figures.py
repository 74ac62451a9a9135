"""Showing a figure in a notebook: one PNG with its alternative text, and nothing else in the output."""

from __future__ import annotations

import base64
import struct
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CSS_PIXELS_PER_INCH = 96


def show(figure: Figure, alt: str, *, dpi: int = 144) -> None:
    """Display ``figure`` as a PNG with alternative text, then close it.

    The output holds the image alone: no ``<Figure size ...>`` text that nbval would compare, and no
    second copy from the inline backend. The PNG is drawn finer than it is shown (``dpi`` pixels where a
    browser counts 96), so that it is sharp on dense screens and in print; it carries no version or date.

    Args:
        figure: a matplotlib figure; it is closed afterwards, so finish it first.
        alt: what the figure says, in one or two sentences, for readers who cannot see it.
        dpi: pixels per inch of the PNG.

    Raises:
        ValueError: when ``alt`` is empty.
        TypeError: when ``figure`` is no matplotlib figure (an ``Axes``, say).
    """
    from IPython.display import display
    from matplotlib import pyplot as plt
    from matplotlib.figure import Figure

    if not isinstance(figure, Figure):
        raise TypeError(f"show() got a {type(figure).__name__}; give it a Figure (axes have one: axes.figure)")
    alt = " ".join(alt.split())
    if not alt:
        raise ValueError("show() got an empty alt text; say in a sentence what the figure shows")
    png = _png(figure, dpi)
    plt.close(figure)
    width, height = (round(side * _CSS_PIXELS_PER_INCH / dpi) for side in png_size(png))
    metadata = {"image/png": {"alt": alt, "width": width, "height": height}}
    display({"image/png": base64.b64encode(png).decode("ascii")}, raw=True, metadata=metadata)


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels, from a PNG's header."""
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def _png(figure: Figure, dpi: int) -> bytes:
    buffer = BytesIO()
    # Software=None leaves matplotlib's version out, so that equal pictures are equal bytes.
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()
