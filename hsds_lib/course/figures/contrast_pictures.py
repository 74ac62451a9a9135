"""Figures of the contrast (Eq. 3): what VGG-16 sees, what each layer adds, and the pulls on a picture.

As in :mod:`hsds_lib.course.plots`, every drawing function returns ``(figure, alt)``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from hsds_lib.course import style
from hsds_lib.course.pictures import place, preview
from hsds_lib.losses.contrast import CONTRAST_LAYERS
from hsds_lib.losses.features import Features

_LAYER_COLOURS = dict(zip(CONTRAST_LAYERS, (style.BLUE, style.SKY, style.ORANGE), strict=True))


def thumbnail(picture: Tensor, side: int) -> Tensor:
    """Reduce the central square of RGB ``(3, H, W)`` to ``side`` pixels, so that few show a whole scene."""
    square = min(picture.shape[-2:])
    top, left = ((length - square) // 2 for length in picture.shape[-2:])
    return preview(picture[:, top : top + square, left : left + square], longest=side)


def symbols(text: str) -> str:
    """Set ``Γ_R``, ``Γ_N`` and ``Γ_H`` as symbols with an index, for matplotlib."""
    return re.sub(r"Γ_([A-Z])", r"$\\Gamma_\1$", text)


@style.styled
def feature_maps(
    images: Mapping[str, Tensor], encoded: Mapping[str, Features], *, features: str = ""
) -> tuple[Figure, str]:
    """Show pictures, and for each layer of the contrast the channel that varies most between and within them."""
    columns = len(CONTRAST_LAYERS) + 1
    figure = style.new_figure(len(images) * 2.15 + 0.9, width=style.WIDTH * 0.86)
    grid = figure.subplots(len(images), columns, squeeze=False)
    for row, (name, image) in zip(grid, images.items(), strict=True):
        place(row[0], image, name, colour=style.ROLES.get(name))
    for column, layer in enumerate(CONTRAST_LAYERS, start=1):
        stack = torch.cat([encoded[name][layer] for name in images]).detach()
        channel = int(stack.var(dim=(0, 2, 3)).argmax())
        top = stack[:, channel].max().item()
        for row, seen in zip(grid, stack[:, channel], strict=True):
            drawn = row[column].imshow(seen.numpy(), cmap="cividis", vmin=0, vmax=top, interpolation="nearest")
            row[column].set(xticks=[], yticks=[])
        height, width = stack.shape[-2:]
        grid[0, column].set_title(f"{layer}: {stack.shape[1]} channels\nof {height} × {width}; here no. {channel}")
        figure.colorbar(drawn, ax=list(grid[:, column]), location="bottom", shrink=0.8, aspect=30).set_label("response")
    style.entitle(figure, "The same scene, as three layers see it")
    alt = (
        f"Pictures ({', '.join(images)}) and one feature map of {', '.join(CONTRAST_LAYERS)} for each: the deeper the "
        "layer, the fewer and larger the places it tells apart."
    )
    return figure, alt + style.feature_note(figure, features)


@style.styled
def layer_bars(values: Mapping[str, Mapping[str, Sequence[float]]], *, features: str = "") -> tuple[Figure, str]:
    """Stack what each layer adds to Gamma, for several pictures and kinds of positive."""
    figure = style.new_figure(3.1)
    grid = figure.subplots(1, len(values), squeeze=False, sharex=True, sharey=True)[0]
    said = []
    for axes, (title, table) in zip(grid, values.items(), strict=True):
        start = np.zeros(len(table))
        for layer, part in zip(CONTRAST_LAYERS, np.array(list(table.values())).T, strict=True):
            axes.barh(list(table), part, left=start, color=_LAYER_COLOURS[layer], label=layer, ec="white", lw=0.6)
            start = start + part
        for row, total in enumerate(start):
            axes.text(total, row, f" {total:.2f}", va="center", fontsize=9)
        axes.set(title=symbols(title), xlabel="ratio, smaller is better")
        axes.margins(x=0.12)
        said.append(f"{title}: " + ", ".join(f"{name} {total:.2f}" for name, total in zip(table, start, strict=True)))
    grid[0].invert_yaxis()
    grid[0].set_ylabel("picture")
    grid[-1].legend(loc="lower right")
    style.entitle(figure, "What each layer adds")
    return figure, f"Stacked bars of {len(CONTRAST_LAYERS)} layers. {'; '.join(said)}." + style.feature_note(
        figure, features
    )


@style.styled
def brightness_walk(
    images: Mapping[str, Tensor],
    brightness: Sequence[float],
    gammas: Sequence[float],
    errors: Sequence[float],
    *,
    negatives: tuple[float, float],
    features: str = "",
) -> tuple[Figure, str]:
    """Show pictures of one scene at several brightnesses, the contrast, and the distance in pixels."""
    figure = style.new_figure(5.0)
    parts = figure.subfigures(2, 1, height_ratios=[1, 1.1], squeeze=False)[:, 0]
    for axes, (name, image) in zip(parts[0].subplots(1, len(images)), images.items(), strict=True):
        place(axes, image, name, colour=style.ROLES.get(name.split(",")[0]))
    wide = parts[1].subplots(1, 2)
    shown = [max(value, 1e-2) for value in gammas]  # 0 has no place on a logarithmic axis
    for axes, values, colour in zip(wide, (shown, errors), (style.VERMILION, style.INK), strict=True):
        axes.plot(brightness, values, color=colour, lw=2)
        for factor, role in zip(negatives, ("under", "over"), strict=True):
            axes.axvline(factor, color=style.ROLES[role], lw=1.5, ls="--", label=f"{role}-exposed")
        axes.axvline(1, color=style.ROLES["ref"], lw=1.5, ls="--", label="reference")
        axes.set_xlabel("brightness of the fused picture (1: the reference)")
    wide[0].set(yscale="log", title="contrast", ylabel="$\\Gamma_R$ (0.01 stands for less)")
    wide[1].set(title="distance to the reference in pixels", ylabel="mean square error of Y")
    wide[1].legend(loc="lower left")
    style.entitle(figure, "Ever nearer to the reference, and the contrast grows first")
    peak = int(np.argmax(gammas))
    alt = (
        f"Four pictures and two curves. The mean square error falls from {errors[0]:.3f} at brightness "
        f"{brightness[0]:g} to the reference, but Gamma_R first climbs from {gammas[0]:.1f} to {gammas[peak]:.1f} at "
        f"brightness {brightness[peak]:.2f}, between or near the two exposures."
    )
    return figure, alt + style.feature_note(figure, features)


@style.styled
def pull_pictures(steps: Mapping[str, Tensor], cosines: Tensor, *, features: str = "") -> tuple[Figure, str]:
    """Show in which direction contrasts pull the pixels of a picture, and the cosines between them."""
    count = len(steps)
    figure = style.new_figure(5.4)
    parts = figure.subfigures(2, 1, height_ratios=[1, 0.9], squeeze=False)
    upper, lower = parts[0, 0], parts[1, 0]
    grid = upper.subplots(1, count, squeeze=False)[0]
    for axes, (name, step) in zip(grid, steps.items(), strict=True):
        unit = (step / step.square().mean().sqrt()).detach().numpy()
        drawn = axes.imshow(unit, cmap="PuOr_r", vmin=-3, vmax=3, interpolation="nearest")
        axes.set(xticks=[], yticks=[], title=symbols(name))
    upper.colorbar(drawn, ax=list(grid), pad=0.01, shrink=0.8).set_label(
        "darker ◂  ▸ brighter\n(units of its own size)"
    )
    axes = lower.subplots()
    axes.imshow(cosines.numpy(), cmap="PuOr_r", vmin=-1, vmax=1, aspect="auto")
    for row, column in np.ndindex(count, count):
        value = float(cosines[row, column])
        axes.text(
            column, row, f"{value:.2f}", ha="center", va="center", color="white" if abs(value) > 0.7 else style.BLACK
        )
    axes.set(xticks=range(count), yticks=range(count), xlabel="pull", ylabel="pull", title="cosine between two pulls")
    axes.set_xticklabels(map(symbols, steps))
    axes.set_yticklabels(map(symbols, steps))
    style.entitle(figure, "What each contrast wants of the same picture")
    first = next(iter(steps))
    said = ", ".join(f"{name} {float(value):.2f}" for name, value in list(zip(steps, cosines[0], strict=True))[1:])
    alt = f"Maps of where {', '.join(steps)} brighten and darken a picture. Cosines with {first}: {said}."
    return figure, alt + style.feature_note(figure, features)
