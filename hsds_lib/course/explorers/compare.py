"""Two pictures of one scene, compared: an edge to move between them, zoom, blink, their difference, their scores."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hsds_lib.course.explorers.media import encode, svg, table
from hsds_lib.course.pictures import luma
from hsds_lib.course.style import INK
from hsds_lib.course.widgets import as_script, boxed, data_address, filled, live_words, options_html, page_text, select
from hsds_lib.evaluation.metrics import UndefinedMetricError, psnr, to_pixels
from hsds_lib.losses.mef_ssim import mef_ssim_pair

LONGEST = 640
"""Pixels of the longer side; larger pictures are reduced, and scored as they are shown."""
ZOOMS = (1, 2, 4)
_WIDTH = 520  # CSS pixels
_ROLES = ("under", "over", "ref")


def explorer(pictures: Mapping[str, Tensor] | None = None, *, start: tuple[str, str] | None = None) -> Comparison:
    """Make the explorer that compares two of some pictures by name, RGB ``(3, H, W)`` in [0, 1], all of one size.

    MEF-SSIM is given where there are pictures called ``under`` and ``over``, and PSNR where there is one called
    ``ref``. By default an embedded scene with its reference, an average, Mertens' fusion, and the fusion by the model
    that ships. ``start`` names the two at the beginning. ``ValueError`` for fewer than two, different sizes, or an
    unknown start.
    """
    if pictures is None:
        pictures, start = _embedded(), start or ("Mertens", "fused")
    _check(pictures, start)
    shown = {name: _reduced(picture) for name, picture in pictures.items()}
    pixels = {name: to_pixels(picture) for name, picture in shown.items()}
    known = {role: shown[role] for role in _ROLES if role in shown}
    scored = {name: scores(picture, **known) for name, picture in shown.items()}
    first, second = start or tuple(pixels)[:2]
    return Comparison(pixels, scored, (first, second))


@dataclass(frozen=True)
class Comparison:
    """Pictures to compare by twos; shown like an ``Explorer``, but without a state for each position of the edge.

    ``pixels`` holds RGB uint8 ``(H, W, 3)`` by name, ``scored`` the scores as they are written, ``start`` two names.
    """

    pixels: Mapping[str, Pixels]
    scored: Mapping[str, Mapping[str, str]]
    start: tuple[str, str]
    name: str = "compare"
    title: str = "Two pictures of one scene"
    _gaps: dict[tuple[str, str], Gap] = field(default_factory=dict, repr=False, compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The pictures' names, in their order."""
        return tuple(self.pixels)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = next(iter(self.pixels.values())).shape[:2]
        return height, width

    def gap(self, first: str, second: str) -> Gap:
        """The difference of two pictures."""
        if (first, second) not in self._gaps:
            self._gaps[first, second] = gap(self.pixels[first], self.pixels[second])
        return self._gaps[first, second]

    def words(self, first: str, second: str) -> str:
        """The scores of two pictures, and how far they are apart, as HTML."""
        rows = [(f"{letter}: {name}", *self.scored[name].values()) for letter, name in (("A", first), ("B", second))]
        apart = self.gap(first, second)
        said = f"A and B differ by {apart.mean:.1f} of 255 levels on average, by {apart.most:.0f} at most."
        if first == second:
            said = "A and B are the same picture."
        drawn = table(("picture", *self.scored[first]), rows) if self.scored[first] else ""
        return f'{drawn}<p style="margin:6px 0;font-size:13px">{escape(said)}</p>'

    def summary(self, *, sized: bool = True) -> str:
        """Say what is compared, in which size; and how large the page is, for which it must be written."""
        height, width = self.size
        size = f" Stored as WebP, {len(self.page()) / 1e6:.1f} MB." if sized else ""
        return (
            f"{len(self.pixels)} pictures of {width} × {height} pixels. Scores and differences are computed "
            f"from the pictures as they are, before any of them is stored for a page.{size}"
        )

    def live(self) -> Any:
        """The comparison as ipywidgets; a kernel composes the picture at each move."""
        return _live(self)

    def page(self) -> str:
        """The comparison as HTML that moves by itself; every picture and every difference is inside."""
        look = re.search(r"<style>\n(.*?)</style>", page_text("page.html"), re.DOTALL)
        content = self._content()
        height, width = self.size
        first, second = (self.names.index(name) for name in self.start)
        size = len(json.dumps(content)) / 1e6
        parts = {
            "look": look[1] if look else "",
            "title": escape(self.title),
            "first": options_html(self.names, first),
            "second": options_html(self.names, second),
            "zooms": "".join(f'<option value="{zoom}">{zoom}×</option>' for zoom in ZOOMS),
            "show": f'<option value="edge">{EDGE_NAME}</option><option value="map">{MAP_NAME}</option>',
            "width": str(_WIDTH),
            "ratio": f"{width} / {height}",
            "first-picture": content["pictures"][first],
            "second-picture": content["pictures"][second],
            "words": self.words(*self.start),
            "note": f"{escape(self.summary(sized=False))} Stored as WebP, {size:.1f} MB.",
            "content": as_script(content),
        }
        return filled("compare.html", parts)

    def _content(self) -> dict[str, Any]:
        rows = [[self.gap(first, second) for second in self.names] for first in self.names]
        # The difference is the same either way, and its map is stored once.
        drawn = [[data_address(encode(_tensor(apart.map), quality=85)) for apart in row] for row in rows]
        maps = list(dict.fromkeys(address for row in drawn for address in row))
        return {
            "names": self.names,
            "pictures": [data_address(encode(_tensor(pixels), quality=92)) for pixels in self.pixels.values()],
            "maps": maps,
            "map": [[maps.index(address) for address in row] for row in drawn],
            "legends": [legend(scale) for scale in SCALES],
            "scale": [[SCALES.index(apart.scale) for apart in row] for row in rows],
            "words": [[self.words(first, second) for second in self.names] for first in self.names],
        }


def _check(pictures: Mapping[str, Tensor], start: tuple[str, str] | None) -> None:
    if len(pictures) < 2:
        raise ValueError(f"comparing takes two pictures or more; given: {', '.join(pictures) or 'none'}")
    shapes = {name: tuple(picture.shape) for name, picture in pictures.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 3 or shape[0] != 3 for shape in shapes.values()):
        raise ValueError(f"give RGB pictures (3, H, W) of one size; given: {shapes}")
    if start and not set(start) <= set(pictures):
        raise ValueError(f"the start {start} is not among the pictures; choose two of {', '.join(pictures)}")


def _embedded() -> dict[str, Tensor]:
    from hsds_lib.fusing.fuse import fuse
    from hsds_lib.images.batches import load_scenes
    from hsds_lib.images.classical import average, mertens
    from hsds_lib.network.model_file import load_model

    scene = load_scenes("embedded", "test", limit=2)[1]
    found = {"under": scene.under, "over": scene.over}
    found["fused"] = fuse(load_model(device="cpu"), scene.under, scene.over)
    found |= {"average": average(scene.under, scene.over), "Mertens": mertens(scene.under, scene.over)}
    return found if scene.ref is None else {**found, "ref": scene.ref}


def _reduced(picture: Tensor) -> Tensor:
    picture = picture.detach().cpu().float()
    scale = LONGEST / max(picture.shape[-2:])
    if scale >= 1:
        return picture
    return functional.interpolate(picture[None], scale_factor=scale, mode="area")[0]


def _tensor(pixels: Pixels) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float() / 255


Pixels = np.ndarray
"""RGB, uint8, ``(H, W, 3)``."""
SCALES = (8, 16, 32, 64, 128, 255)
"""Where the scale of differences may end, in levels of 255."""
EDGE_NAME, MAP_NAME = "edge between A and B", "difference of A and B"
_SMALLEST = 44  # pixels; MEF-SSIM has three scales of patches of 11
_ALMOST_ALL = 99.0  # per cent of the pixels that a scale must reach


@dataclass(frozen=True)
class Gap:
    """How far two pictures are apart, in levels of 255, the mean of red, green and blue.

    ``map`` shows every pixel in colours, RGB uint8 ``(H, W, 3)``; ``scale`` is the difference at their bright end.
    """

    map: Pixels
    scale: int
    mean: float
    most: float


def gap(first: Pixels, second: Pixels) -> Gap:
    """Measure and draw the absolute difference of two pictures, RGB uint8 ``(H, W, 3)``; the two may be swapped."""
    apart = np.abs(first.astype(np.float32) - second).mean(axis=2)
    needed = float(np.percentile(apart, _ALMOST_ALL))
    scale = next(scale for scale in SCALES if scale >= needed)
    places = np.minimum(np.rint(apart * (255 / scale)), 255).astype(np.uint8)
    return Gap(_colours()[places], scale, float(apart.mean()), float(apart.max()))


@cache
def _colours() -> Pixels:
    from matplotlib import colormaps

    # Lightness rises evenly, and colour-blind readers see what others see.
    return (colormaps["cividis"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)


def compose(first: Pixels, second: Pixels, *, edge: float, zoom: int = 1, x: float = 0.5, y: float = 0.5) -> Pixels:
    """Put two pictures into one frame: the first left of the edge, the second right of it.

    The edge, from 0 (only the second) to 1 (only the first), is a line of black and white. Each pixel is repeated
    ``zoom`` times; ``x`` and ``y``, 0 to 1, say which part is seen.
    """
    width = first.shape[1]
    column = round(edge * width)
    frame = magnify(first, zoom=zoom, x=x, y=y).copy()
    frame[:, column:] = magnify(second, zoom=zoom, x=x, y=y)[:, column:]
    if 0 < column < width:
        frame[:, column - 1], frame[:, column] = 0, 255
    return frame


def magnify(picture: Pixels, *, zoom: int, x: float, y: float) -> Pixels:
    """Cut a part out of a picture and repeat its pixels to the size of the whole; as for :func:`compose`."""
    height, width = picture.shape[:2]
    rows, columns = -(-height // zoom), -(-width // zoom)
    top, left = round(y * (height - rows)), round(x * (width - columns))
    part = picture[top : top + rows, left : left + columns]
    return part.repeat(zoom, axis=0).repeat(zoom, axis=1)[:height, :width]


@torch.no_grad()
def scores(
    picture: Tensor, *, under: Tensor | None = None, over: Tensor | None = None, ref: Tensor | None = None
) -> dict[str, str]:
    """Score a picture, RGB ``(3, H, W)`` in [0, 1], as far as there is something to score it against, in words."""
    found: dict[str, str] = {}
    if under is not None and over is not None and min(picture.shape[-2:]) >= _SMALLEST:
        lumas = (luma(image)[None, None] for image in (picture, under, over))
        found["MEF-SSIM"] = f"{float(mef_ssim_pair(*lumas)):.3f}"
    if ref is not None:
        try:
            found["PSNR to ref"] = f"{psnr(to_pixels(ref), to_pixels(picture)):.1f} dB"
        except UndefinedMetricError:  # the reference itself
            found["PSNR to ref"] = "∞"
    return found


def legend(scale: int) -> str:
    """The colours of differences as SVG; ``scale`` is the difference at their bright end, in levels of 255."""
    width, left, n = 300, 8, 32
    step = (width - 2 * left) / n
    bars = "".join(
        f'<rect x="{left + place * step:.1f}" y="18" width="{step + 0.5:.1f}" height="12" fill="#{_hex(place, n)}"/>'
        for place in range(n)
    )
    end = str(scale) if scale == SCALES[-1] else f"≥ {scale}"
    marks = ((left, "start", "0"), (width / 2, "middle", f"{scale / 2:g}"), (width - left, "end", end))
    ticks = "".join(f'<text x="{x:.0f}" y="44" text-anchor="{side}">{escape(text)}</text>' for x, side, text in marks)
    said = f"Colours of differences: dark is 0, bright is {scale} of 255 levels or more."
    head = f'<text x="{left}" y="12">|A − B|, mean of R, G, B (levels of 255)</text>'
    return svg(width, 48, said, [head, bars, ticks], font=12, ink=INK)


def _hex(place: int, n: int) -> str:
    return bytes(_colours()[round(place * 255 / (n - 1))].tolist()).hex()


# The browser blinks, not the kernel (blink.html): two pictures lie on each other, and the upper one comes and goes.
# Nothing moves by itself where the reader's system asks for less motion; then the edge swaps the two.
_STILL = "Your system asks for less motion, so nothing blinks: move the edge from 0 to 100 %."


def png(pixels: Pixels) -> bytes:
    """Write pixels as a PNG file, quickly rather than small."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _live(comparison: Comparison) -> Any:
    import ipywidgets

    controls = _controls(comparison)
    lower, upper, words = _picture(), _picture(), ipywidgets.HTML()
    tags = [_classed(ipywidgets.HTML(), f"hsds-{side}") for side in ("left", "right")]
    _classed(upper, "hsds-comes")

    def update(change: Any = None) -> None:
        if change and change["owner"] in (controls["edge"], controls["show"]):
            controls["blink"].value = False
        state = {name: control.value for name, control in controls.items()}
        for picture, pixels in zip((lower, upper), _seen(comparison, state), strict=False):
            picture.value = png(pixels)
            _classed(picture, "hsds-zoomed", on=state["zoom"] > 1)
        upper.layout.display = "block" if state["blink"] else "none"
        _set_tags(tags, state)
        controls["x"].disabled = controls["y"].disabled = state["zoom"] == 1
        controls["edge"].disabled = controls["blink"].disabled = state["show"] == MAP_NAME
        controls["blink"].description = "Stop blinking" if state["blink"] else "Blink A and B"
        words.value = _words(comparison, state)

    for control in controls.values():
        control.observe(update, names="value")
    update()
    frame = ipywidgets.Box([lower, upper, *tags], layout=ipywidgets.Layout(width=f"{_WIDTH}px", max_width="100%"))
    still = ipywidgets.HTML(f'<small class="hsds-still">{_STILL}</small>{page_text("blink.html")}')
    return boxed(comparison, [*controls.values(), still], [_classed(frame, "hsds-frame"), words])


def _seen(comparison: Comparison, state: Mapping[str, Any]) -> list[Pixels]:
    """What lies in the frame: one picture, or the two that blink."""
    first, second = (comparison.pixels[state[name]] for name in ("first", "second"))
    zoom, x, y = state["zoom"], state["x"] / 100, state["y"] / 100
    if state["show"] == MAP_NAME:
        return [magnify(comparison.gap(state["first"], state["second"]).map, zoom=zoom, x=x, y=y)]
    if state["blink"]:
        return [magnify(pixels, zoom=zoom, x=x, y=y) for pixels in (first, second)]
    return [compose(first, second, edge=state["edge"] / 100, zoom=zoom, x=x, y=y)]


def _words(comparison: Comparison, state: Mapping[str, Any]) -> str:
    named = (state["first"], state["second"])
    if state["show"] == MAP_NAME:
        alt, scale = f"Seen: the difference of {named[0]} and {named[1]}.", legend(comparison.gap(*named).scale)
    else:
        alt, scale = f"Seen: {named[0]} left of the edge, {named[1]} right of it.", ""
    return live_words(comparison.words(*named) + scale, alt)


def _controls(comparison: Comparison) -> dict[str, Any]:
    import ipywidgets

    choices = {
        "first": ("A, left of the edge", comparison.names, comparison.start[0]),
        "second": ("B, right of the edge", comparison.names, comparison.start[1]),
        "edge": ("place of the edge", [(f"{place} %", place) for place in range(0, 101, 2)], 50),
        "zoom": ("zoom", [(f"{zoom}×", zoom) for zoom in ZOOMS], ZOOMS[0]),
        "x": ("look left or right", [(f"{place} %", place) for place in range(0, 101, 5)], 50),
        "y": ("look up or down", [(f"{place} %", place) for place in range(0, 101, 5)], 50),
        "show": ("show", (EDGE_NAME, MAP_NAME), EDGE_NAME),
    }
    made = {name: select(name, *choice) for name, choice in choices.items()}
    blink = ipywidgets.ToggleButton(value=False, layout=ipywidgets.Layout(width="150px"))
    return {**made, "blink": _classed(blink, "hsds-control-blink")}


def _picture() -> Any:
    import ipywidgets

    return ipywidgets.Image(format="png", layout=ipywidgets.Layout(width="100%", height="auto"))


def _classed(widget: Any, name: str, *, on: bool = True) -> Any:
    return widget.add_class(name) if on else widget.remove_class(name)


def _set_tags(tags: list[Any], state: Mapping[str, Any]) -> None:
    """Write the names over the pictures; of two that blink, each name shows with its own."""
    drawn, blinks, edge = state["show"] == MAP_NAME, state["blink"], state["edge"]
    texts = (f"A: {state['first']}", f"B: {state['second']}")
    texts = (f"|{state['first']} − {state['second']}|", "") if drawn else texts
    seen = (drawn or blinks or edge > 0, not drawn and (blinks or edge < 100))
    for tag, text, shown, motion in zip(tags, texts, seen, ("hsds-goes", "hsds-comes"), strict=True):
        tag.value = f'<span class="hsds-tag">{escape(text)}</span>' if shown else ""
        _classed(tag, motion, on=blinks)
