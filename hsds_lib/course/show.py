"""Showing a figure in a notebook: one PNG with its alternative text, and nothing else in the output."""

from __future__ import annotations

import base64
import os
import struct
from collections.abc import Sequence
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES_VARIABLE = "HSDS_FIGURES"
"""Environment variable: a folder into which ``show`` saves every figure as well."""
_CSS_PIXELS_PER_INCH = 96
# Neither a date nor a version, so that equal figures are equal files.
_METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}


def show(figure: Figure, alt: str, *, dpi: int = 144) -> None:
    """Display ``figure`` as a PNG with alternative text, then close it.

    The output holds the image alone: no ``<Figure size ...>`` text that nbval would compare, and no second copy from
    the inline backend. The PNG is drawn finer than it is shown (``dpi`` pixels where a browser counts 96), so that it
    is sharp on dense screens and in print; it carries no version or date. ``ValueError`` for an empty ``alt``, which
    should say in a sentence or two what the figure shows; ``TypeError`` for anything but a matplotlib figure.
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
    if os.environ.get(FIGURES_VARIABLE):
        # After the PNG: drawing moves what a constrained layout has placed, and a report must not change by it.
        folder = Path(os.environ[FIGURES_VARIABLE])
        names = (f"{number:02d}" for number in count(1))
        save_figure(figure, folder / next(name for name in names if not any(folder.glob(f"{name}.*"))))
    plt.close(figure)
    width, height = (round(side * _CSS_PIXELS_PER_INCH / dpi) for side in png_size(png))
    metadata = {"image/png": {"alt": alt, "width": width, "height": height}}
    display({"image/png": base64.b64encode(png).decode("ascii")}, raw=True, metadata=metadata)


def save_figure(figure: Figure, stem: str | Path, *, formats: Sequence[str] = ("svg", "pdf", "png")) -> list[Path]:
    """Save a figure for print as ``stem`` with each ending: vectors with text as text, and a fine PNG.

    Equal figures give equal files; each is written atomically. ``ValueError`` for another format.
    """
    from matplotlib import rc_context

    from hsds_lib.course.style import PRINTED
    from hsds_lib.runtime import atomic_path

    unknown = set(formats) - set(_METADATA)
    if unknown:
        raise ValueError(f"figures are not saved as {', '.join(sorted(unknown))}; choose among {', '.join(_METADATA)}")
    written = []
    for form in formats:
        path = Path(stem).with_name(f"{Path(stem).name}.{form}")
        with rc_context(PRINTED), atomic_path(path) as temporary:
            figure.savefig(temporary, format=form, dpi=300, bbox_inches="tight", metadata=_METADATA[form])
        written.append(path)
    return written


def png_size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels, from a PNG's header."""
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def _png(figure: Figure, dpi: int) -> bytes:
    buffer = BytesIO()
    # Software=None leaves matplotlib's version out, so that equal pictures are equal bytes.
    figure.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()
