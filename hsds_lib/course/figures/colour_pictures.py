"""Figures of colour: rules that fuse chroma, the colours alone, and walls of fused pictures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
import torch
from torch import Tensor

from hsds_lib.course import style
from hsds_lib.course.pictures import place
from hsds_lib.images.color import NEUTRAL, merge_luma

Rule = Callable[[Tensor, Tensor], Tensor]
"""Chroma of under and of over to fused chroma, 0.5 for gray."""


def colour_alone(cbcr: Tensor, *, y: float = 0.6) -> Tensor:
    """Show chroma ``(B, 2, H, W)`` as RGB of one brightness, so that casts are seen whatever the picture."""
    return merge_luma(torch.full_like(cbcr[:, :1], y), cbcr).clamp(0, 1)


@style.styled
def chroma_maps(rules: Mapping[str, Rule], pixels: tuple[Tensor, Tensor], *, reach: float = 0.25) -> style.Drawn:
    """Draw what rules make of the chroma of a pixel in the two exposures, and where a scene's pixels lie."""
    figure = style.new_figure(3.9, "What becomes of the chroma of a pixel; dots: pixels of a scene")
    panels = figure.subplots(1, len(rules), squeeze=False)[0]
    axis = torch.linspace(-reach, reach, 161, dtype=torch.float64)
    over, under = torch.meshgrid(axis, axis, indexing="ij")
    seen = [(channel.flatten() - NEUTRAL).clamp(-reach, reach).numpy() for channel in pixels]
    levels = np.linspace(-reach, reach, 21)
    for axes, (name, rule) in zip(panels, rules.items(), strict=True):
        fused = (rule(under + NEUTRAL, over + NEUTRAL) - NEUTRAL).numpy()
        drawn = axes.contourf(axis, axis, fused, levels, cmap="PuOr_r")
        axes.contour(axis, axis, fused, levels, colors="white", linewidths=0.6)
        axes.plot(
            *(values[:: max(1, len(values) // 3000)] for values in seen), ".", ms=1.6, color=style.INK, alpha=0.35
        )
        axes.axhline(0, color=style.GRAY, lw=0.8)
        axes.axvline(0, color=style.GRAY, lw=0.8)
        axes.set(aspect="equal", title=name, xlabel="under: distance from gray", ylabel="over: distance from gray")
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
    bar = figure.colorbar(drawn, ax=list(panels), shrink=0.9)
    bar.set_label("fused: distance from gray")
    alt = (
        f"Maps of the fused chroma over the chroma of the two exposures, for the rules {', '.join(rules)}, with the "
        "pixels of a scene as dots. Lines of equal value show how much each exposure counts."
    )
    return figure, alt


@style.styled
def captioned_wall(
    wall: Mapping[str, Mapping[str, Tensor]],
    captions: Mapping[str, Mapping[str, str]] | None = None,
    *,
    title: str,
    bold: Collection[tuple[str, str]] = (),
) -> style.Drawn:
    """Show rows of pictures with the same columns, such as scenes and methods; captions in ``bold`` stand out.

    ``ValueError`` without pictures, when rows differ in their columns, or pictures of a row in size.
    """
    columns = _columns(wall)
    captions = captions or {}
    cell = (style.WIDTH - 0.3) / len(columns)
    shapes = {row: next(iter(pictures.values())).shape for row, pictures in wall.items()}
    heights = [cell * shapes[row][-2] / shapes[row][-1] + (0.3 if captions.get(row) else 0.1) for row in wall]
    figure = style.new_figure(0.65 + sum(heights), title)
    grid = figure.subplots(len(wall), len(columns), squeeze=False, height_ratios=heights)
    for number, (row, pictures) in enumerate(wall.items()):
        line = grid[number]
        for axes, column in zip(line, columns, strict=True):
            place(axes, pictures[column], "" if number else column, colour=style.ROLES.get(column))
            caption = captions.get(row, {}).get(column, "")
            weight = "bold" if (row, column) in bold else "normal"
            axes.set_xlabel(caption, fontsize=9, weight=weight, labelpad=3)
        line[0].set_ylabel(row, fontsize=9)
    said = [f"{row}: " + ", ".join(f"{c} ({v})" for c, v in captions[row].items()) for row in wall if row in captions]
    told = f" Captions: {'; '.join(said)}." if said else ""
    return figure, f"{title}. Rows: {', '.join(wall)}. Columns: {', '.join(columns)}.{told}"


def _columns(wall: Mapping[str, Mapping[str, Tensor]]) -> list[str]:
    names = [list(pictures) for pictures in wall.values()]
    if not names or not names[0] or any(row != names[0] for row in names):
        raise ValueError(f"captioned_wall needs the same pictures in every row; given: {names or 'none'}")
    for row, pictures in wall.items():
        sizes = {tuple(picture.shape) for picture in pictures.values()}
        if len(sizes) > 1:
            raise ValueError(f"captioned_wall needs pictures of one size in a row; row '{row}' has {sorted(sizes)}")
    return names[0]
