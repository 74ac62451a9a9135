"""What views are made of: pictures as small files, tables and drawings as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from io import BytesIO
from typing import Any, Literal

import numpy as np
from torch import Tensor

from hsds_lib.course.widgets import data_address

SHADES = ("#f7f7f7", "#e1ebf5", "#c3d9ec", "#9ec3e0", "#6fa6d0", "#4387bd", "#1f66a3", "#0b4478")
"""From no weight to all of it: one hue, falling lightness, readable in gray as well."""
_TABLE_STYLE = (
    "<style>.hsds-table{border-collapse:collapse;font-size:13px;background:none}"
    ".hsds-table :is(td,th){padding:1px 10px 1px 0;text-align:right;border-bottom:1px solid #e6e6e6;white-space:nowrap;"
    "font-variant-numeric:tabular-nums}.hsds-table :is(td,th):first-child{text-align:left}"
    ".hsds-table caption{text-align:left;font-weight:700}</style>"
)


def encode(image: Tensor, *, form: Literal["webp", "png", "jpeg"] = "webp", quality: int = 88) -> bytes:
    """Write an image, ``(C, H, W)`` or ``(1, C, H, W)`` in [0, 1], as a picture file; equal images give equal bytes.

    WebP for photographs, PNG for what must stay exact; ``quality``, 1 to 100, is that of WebP and JPEG.
    """
    from PIL import Image

    pixels = image.detach().cpu().reshape(image.shape[-3:]).clamp(0, 1).mul(255).round().byte()
    array = pixels.permute(1, 2, 0).numpy()
    buffer = BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array))
    options: dict[str, dict[str, Any]]
    options = {"png": {"optimize": True}, "webp": {"quality": quality, "method": 4}, "jpeg": {"quality": quality}}
    picture.save(buffer, format=form.upper(), **options[form])
    return buffer.getvalue()


def data_figures(files: Sequence[tuple[str, bytes]], *, width: int) -> str:
    """Pictures with their names below them, in a row; the files are inside."""
    look = f"margin:0;font-size:12px;width:{width}px"
    figures = "".join(
        f'<figure style="{look}"><img src="{data_address(file)}" alt="{escape(name)}" style="width:100%">'
        f"<figcaption>{escape(name)}</figcaption></figure>"
        for name, file in files
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:8px;margin:0 0 8px">{figures}</div>' if files else ""


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "", strong: int | None = None) -> str:
    """A small table; the first column is text, the others are numbers; row ``strong`` is bold."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in header)
    lines = []
    for number, row in enumerate(rows):
        cells = "".join(f"<td>{escape(text)}</td>" for text in row)
        lines.append(f'<tr style="font-weight:700">{cells}</tr>' if number == strong else f"<tr>{cells}</tr>")
    words = f"<caption>{escape(caption)}</caption>" if caption else ""
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'{_TABLE_STYLE}<table class="hsds-table">{words}{body}</table>'


def svg(
    width: float, height: float, said: str, parts: Sequence[str], *, font: int = 13, look: str = "", ink: str = ""
) -> str:
    """A drawing of a size in CSS pixels, with the words that stand for it where it is not seen."""
    said, fill = escape(said, quote=False).replace('"', "&quot;"), f' fill="{ink}"' if ink else ""
    return (
        f'<svg role="img" aria-label="{said}" viewBox="0 0 {width:g} {height:g}" width="{width:g}"{fill} '
        f'style="max-width:100%;height:auto;font:{font}px system-ui,sans-serif{look}">{"".join(parts)}</svg>'
    )
