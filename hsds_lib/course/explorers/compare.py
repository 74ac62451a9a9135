"""Two pictures of one scene, compared: an edge to move between them, zoom, blink, their difference, their scores."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hsds_lib.course.explorers.comparison import EDGE_NAME, MAP_NAME, SCALES, Gap, Pixels, gap, legend, scores
from hsds_lib.course.explorers.media import encode, table

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
    pixels = {name: _pixels(picture) for name, picture in shown.items()}
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
        from hsds_lib.course.explorers.comparison_live import live

        return live(self, width=_WIDTH, zooms=ZOOMS)

    def page(self) -> str:
        """The comparison as HTML that moves by itself; every picture and every difference is inside."""
        folder = files("hsds_lib.course") / "explorers"
        template = (folder / "compare.html").read_text(encoding="utf-8")
        look = re.search(r"<style>\n(.*?)</style>", (folder / "page.html").read_text(encoding="utf-8"), re.DOTALL)
        content = self._content()
        height, width = self.size
        first, second = (self.names.index(name) for name in self.start)
        size = len(json.dumps(content)) / 1e6
        parts = {
            "look": look[1] if look else "",
            "title": escape(self.title),
            "first": _options(self.names, first),
            "second": _options(self.names, second),
            "zooms": "".join(f'<option value="{zoom}">{zoom}×</option>' for zoom in ZOOMS),
            "show": f'<option value="edge">{EDGE_NAME}</option><option value="map">{MAP_NAME}</option>',
            "width": str(_WIDTH),
            "ratio": f"{width} / {height}",
            "first-picture": content["pictures"][first],
            "second-picture": content["pictures"][second],
            "words": self.words(*self.start),
            "note": f"{escape(self.summary(sized=False))} Stored as WebP, {size:.1f} MB.",
            "content": json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/"),
        }
        return re.sub("|".join(f"@{name}@" for name in parts), lambda found: parts[found[0][1:-1]], template)

    def _content(self) -> dict[str, Any]:
        rows = [[self.gap(first, second) for second in self.names] for first in self.names]
        # The difference is the same either way, and its map is stored once.
        drawn = [[_address(encode(_tensor(apart.map), quality=85)) for apart in row] for row in rows]
        maps = list(dict.fromkeys(address for row in drawn for address in row))
        return {
            "names": self.names,
            "pictures": [_address(encode(_tensor(pixels), quality=92)) for pixels in self.pixels.values()],
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
    from hsds_lib.fusing.fuse import fuse, load_model
    from hsds_lib.images.batches import load_scenes
    from hsds_lib.images.classical import average, mertens

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


def _pixels(picture: Tensor) -> Pixels:
    from hsds_lib.evaluation.picture import to_pixels

    return to_pixels(picture)


def _tensor(pixels: Pixels) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1).float() / 255


def _address(webp: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(webp).decode('ascii')}"


def _options(names: tuple[str, ...], chosen: int) -> str:
    return "".join(
        f'<option value="{place}"{" selected" if place == chosen else ""}>{escape(name)}</option>'
        for place, name in enumerate(names)
    )
