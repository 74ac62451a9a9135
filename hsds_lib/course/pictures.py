"""Figures of pictures: rows to compare, and what an exposure loses."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor
from torch.nn.functional import interpolate

from hsds_lib.course import style
from hsds_lib.images.color import split_luma

CRUSHED, BLOWN = 0.02, 0.98
"""Luma at or below the first is lost in the dark, at or above the second in the light; 5 of 255 levels each."""

_DARK, _LIGHT = (86 / 255, 180 / 255, 233 / 255), (213 / 255, 94 / 255, 0.0)  # sky blue, vermilion


def luma(rgb: Tensor) -> Tensor:
    """Take the luma ``(H, W)`` of one picture, RGB ``(3, H, W)``, both in [0, 1]."""
    return split_luma(rgb[None])[0][0, 0]


def lost(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Mark the pixels of RGB ``(3, H, W)`` that hold no more detail: those crushed and those blown, bool ``(H, W)``."""
    y = luma(rgb)
    return y <= CRUSHED, y >= BLOWN


@style.styled
def exposure_loss(under: Tensor, over: Tensor) -> style.Drawn:
    """Show two exposures, RGB ``(3, H, W)`` in [0, 1], the pixels each has lost, and their histograms."""
    ratio = under.shape[-2] / under.shape[-1]
    figure = style.new_figure(0.4 + style.WIDTH / 4 * ratio * 1.02 + 2.6)
    grid = figure.add_gridspec(2, 4, height_ratios=[style.WIDTH / 4 * ratio + 0.35, 2.2])
    sentences = []
    for column, (role, picture) in enumerate((("under", under), ("over", over))):
        crushed, blown = lost(picture)
        place(figure.add_subplot(grid[0, 2 * column]), picture, f"{role}-exposed", colour=style.ROLES[role])
        black, white = (style.per_cent(mask.float().mean().item()) for mask in (crushed, blown))
        shares = f"{black} black, {white} white"
        place(figure.add_subplot(grid[0, 2 * column + 1]), _mark(picture, crushed, blown), f"lost: {shares}")
        sentences.append(f"the {role}-exposed picture has {shares}")
    _histograms(figure.add_subplot(grid[1, :]), under, over)
    style.entitle(figure, "Two exposures of one scene, and what each of them has lost")
    alt = f"Two exposures beside maps of their lost pixels: {' and '.join(sentences)}. Below, both histograms."
    return figure, alt


def _mark(picture: Tensor, crushed: Tensor, blown: Tensor) -> Tensor:
    marked = (luma(picture)[None].expand(3, -1, -1) * 0.5 + 0.25).clone()
    for mask, colour in ((crushed, _DARK), (blown, _LIGHT)):
        marked[:, mask] = torch.tensor(colour)[:, None]
    return marked


def _histograms(axes: Axes, under: Tensor, over: Tensor) -> None:
    bins = np.linspace(0, 1, 51)  # CRUSHED and BLOWN are edges of bins
    for role, picture in (("under", under), ("over", over)):
        counts = np.histogram(luma(picture).clamp(0, 1).numpy(), bins)[0] / luma(picture).numel()
        axes.stairs(100 * counts, bins, fill=True, color=style.ROLES[role], alpha=0.45, label=f"{role}-exposed")
        axes.stairs(100 * counts, bins, color=style.ROLES[role], lw=1.3)
    axes.axvspan(0, CRUSHED, color=_DARK, alpha=0.5, lw=0)
    axes.axvspan(BLOWN, 1, color=_LIGHT, alpha=0.5, lw=0)
    axes.set_yscale("symlog", linthresh=1, linscale=0.6)
    axes.set_yticks([0, 1, 10, 50], ["0", "1", "10", "50"])
    axes.set(xlim=(0, 1), xlabel="luma Y (0 black, 1 white)", ylabel="share of pixels (%)")
    axes.set_title("histograms; the coloured edges are lost")
    axes.legend(loc="upper center", ncols=2)


@style.styled
def picture_row(
    pictures: Mapping[str, Tensor],
    captions: Mapping[str, str] | None = None,
    *,
    title: str,
    features: str = "",
    columns: int = 4,
) -> style.Drawn:
    """Show pictures by name, RGB ``(3, H, W)`` in [0, 1], side by side; captions go under some of the names.

    ``ValueError`` without pictures, or when they differ in size.
    """
    sizes = {tuple(picture.shape) for picture in pictures.values()}
    if len(sizes) != 1:
        raise ValueError(f"picture_row needs pictures of one size; given: {sorted(sizes) or 'none'}")
    captions = captions or {}
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    (_, height, width) = sizes.pop()
    cell = style.WIDTH / columns
    figure = style.new_figure(0.45 + rows * (cell * height / width + (0.5 if captions else 0.3)), title)
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (name, picture) in zip(grid, pictures.items(), strict=False):
        caption = captions.get(name, "")
        place(axes, picture, f"{name}\n{caption}" if captions else name, colour=style.ROLES.get(name.split("-")[0]))
    for axes in list(figure.axes)[len(pictures) :]:
        axes.axis("off")
    said = [f"{name} ({captions[name]})" if captions.get(name) else name for name in pictures]
    return figure, f"{title}. Pictures: {'; '.join(said)}." + style.feature_note(figure, features)


@style.styled
def loss_votes(
    pictures: Mapping[str, Tensor], values: Mapping[str, Mapping[str, float]], *, features: str = ""
) -> style.Drawn:
    """Show candidate pictures, and under each the losses that are smallest there: their votes."""
    terms = list(next(iter(values.values())))
    votes: dict[str, list[str]] = {name: [] for name in pictures}
    for term in terms:
        votes[min(pictures, key=lambda name: values[name][term])].append(term)
    (height, width) = next(iter(pictures.values())).shape[-2:]
    longest = math.ceil(max(len(given) for given in votes.values()) / 2)
    tall, low = style.WIDTH / len(pictures) * height / width + 0.3, 0.19 * longest + 0.15
    figure = style.new_figure(tall + low + 0.5, f"Which picture is the best fusion? {len(terms)} losses vote")
    grid = figure.subplots(2, len(pictures), height_ratios=[tall, low])
    for column, (name, picture) in enumerate(pictures.items()):
        title = f"{name}: {len(votes[name])} of {len(terms)} votes"
        place(grid[0, column], picture, title, colour=style.ROLES.get(name))
        below = grid[1, column]
        below.axis("off")
        for line, term in enumerate(votes[name]):
            side, row = divmod(line, longest)
            below.text(side * 0.52, 1 - row / longest, term, va="top", fontsize=8.5, transform=below.transAxes)
    said = "; ".join(f"{name}: {', '.join(given) or 'none'}" for name, given in votes.items())
    alt = f"Candidate pictures and the losses that are smallest for each. {said}."
    return figure, alt + style.feature_note(figure, features)


def place(axes: Axes, picture: Tensor, title: str, *, colour: str | None = None) -> None:
    """Show one RGB picture ``(3, H, W)`` in [0, 1] under a title, framed in ``colour``."""
    axes.imshow(picture.detach().clamp(0, 1).permute(1, 2, 0).cpu().numpy(), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9.5)
    for spine in axes.spines.values():
        spine.set(
            visible=True,
            color=colour or (style.PALE if colour is None else style.GRAY),
            linewidth=2.2 if colour else 0.8,
        )


def preview(picture: Tensor, *, longest: int = 900) -> Tensor:
    """Reduce a large RGB picture ``(3, H, W)`` so that its longer side has at most ``longest`` pixels."""
    scale = longest / max(picture.shape[-2:])
    if scale >= 1:
        return picture
    size = [max(1, round(side * scale)) for side in picture.shape[-2:]]
    return interpolate(picture[None], size=size, mode="bilinear", antialias=True)[0].clamp(0, 1)
