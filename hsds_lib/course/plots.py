"""Figures of a search: its losses, its loss weights, its terms, and the training that follows.

Every function takes what :class:`hsds_lib.search.dual.DualSearch` records and returns ``(figure, alt)``, the
figure and its alternative text, ready for ``show(*...)`` of :mod:`hsds_lib.course.show`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from hsds_lib.course import style
from hsds_lib.search.dual import CONTRAST_NAMES

Record = Mapping[str, Any]
"""One step of a search, as ``DualSearch.history`` and ``history.jsonl`` hold it."""

_FAMILIES = {
    "l1": ("pixels", style.BLUE),
    "mse": ("pixels", style.BLUE),
    "ssim": ("SSIM", style.ORANGE),
    "mefssim": ("MEF-SSIM", style.GREEN),
    "grad": ("gradient", style.YELLOW),
    "perceptual": ("perceptual (VGG-16)", style.PURPLE),
    "psnr": ("PSNR", style.SKY),
    "colour": ("colour", style.VERMILION),
    "tv": ("total variation", style.BLACK),
}


@style.styled
def search_curves(
    history: Sequence[Record], *, top_p: int, features: str = "", contrast: str = "hybrid"
) -> tuple[Figure, str]:
    """Draw the fusion loss, the contrast and the number of active operations over the steps of a search.

    Every step sees other crops, so single steps (dots) scatter; the lines are running means.
    """
    figure = style.new_figure(3.3)
    loss, gamma, active = figure.subplots(1, 3)
    epochs = [record["epoch"] for record in history]
    for axes in (loss, gamma, active):
        style.mark_epochs(axes, epochs)
        axes.set_xlabel("search step")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    _trend(loss, [record["train_loss"] for record in history], style.BLUE, "training half")
    _trend(loss, [record["val_loss"] for record in history], style.ORANGE, "validation half")
    loss.set(title="fusion loss", ylabel="weighted sum of the terms")
    loss.legend()
    _trend(gamma, [record["gamma"] for record in history], style.PURPLE, "")
    half = CONTRAST_NAMES[contrast]
    gamma.set(title=f"contrast $\\{half}$ (validation)", ylabel="ratio, smaller is better")
    gamma.set_ylim(bottom=0)
    _mark_beta(gamma, history)
    counts = [record["n_active"] for record in history]
    nodes, operations = np.shape(history[0]["node_mix"])
    active.plot(range(1, len(counts) + 1), counts, drawstyle="steps-mid", color=style.VERMILION, lw=2)
    active.axhline(nodes * top_p, color=style.GRAY, ls="--", lw=1)
    active.text(0.5, nodes * top_p, f" {nodes} nodes × P = {top_p}", va="bottom", color=style.GRAY, fontsize=8.5)
    active.set(title="active operations", ylabel=f"of {nodes * operations}", ylim=(0, nodes * operations * 1.05))
    style.entitle(figure, f"A search of {len(history)} steps; shaded: every second epoch")
    alt = (
        f"Three curves over {len(history)} search steps: fusion loss {_from_to(history, 'train_loss')} on the training "
        f"half and {_from_to(history, 'val_loss')} on the validation half, {half} {_from_to(history, 'gamma')} "
        f"(means of the first and last third), active operations from {nodes * operations} to {counts[-1]}."
    )
    return figure, alt + style.feature_note(figure, features)


def _trend(axes: Axes, values: Sequence[float], colour: str, label: str) -> None:
    steps = range(1, len(values) + 1)
    axes.plot(steps, values, ".", color=colour, alpha=0.5, ms=6, mew=0)
    reach = max(1, len(values) // 10)
    windows = (values[max(0, step - reach) : step + reach + 1] for step in range(len(values)))
    axes.plot(steps, [float(np.mean(window)) for window in windows], color=colour, lw=2, label=label)


def _mark_beta(axes: Axes, history: Sequence[Record]) -> None:
    """Mark where beta starts to move, after its warm-up."""
    moves = (record["step_spread"] is not None for record in history)
    start = next((step for step, moving in enumerate(moves, start=1) if moving), None)
    if start is not None:
        axes.axvline(start - 0.5, color=style.GRAY, ls=":", lw=1.2)
        axes.text(start - 0.3, axes.get_ylim()[1], "β moves from here", va="top", fontsize=8.5, color=style.GRAY)


def _from_to(history: Sequence[Record], key: str) -> str:
    third = max(1, len(history) // 3)
    first, last = (np.mean([record[key] for record in part]) for part in (history[:third], history[-third:]))
    return f"from {first:.2f} to {last:.2f}"


@style.styled
def term_bars(values: Mapping[str, float], gradients: Mapping[str, float], *, features: str = "") -> tuple[Figure, str]:
    """Draw the value of every loss term and the norm of its gradient: which terms are alive."""
    figure = style.new_figure(0.8 + 0.235 * len(values))
    left, right = figure.subplots(1, 2, sharey=True)
    names = list(values)
    alive = [norm for norm in gradients.values() if norm > 0]
    right.set(xscale="log", xlim=(min(alive) / 2, 2 * max(alive)) if alive else (0.1, 1))
    for row, name in enumerate(names):
        left.barh(row, values[name], color=_colour(name), **_hatch(name, features), height=0.72)
        if gradients[name] > 0:  # no bars: a logarithmic axis has no zero to start from
            right.plot(gradients[name], row, "o", ms=8, mfc=_colour(name), mec=style.BLACK, mew=0.5)
        else:
            right.text(
                0.02, row, "no gradient", transform=right.get_yaxis_transform(), va="center", color=style.VERMILION
            )
    for axes in (left, right):
        axes.grid(color=style.PALE, lw=0.8)
        axes.set_axisbelow(True)
    left.set_yticks(range(len(names)), names)
    left.invert_yaxis()
    left.axvline(0, color=style.GRAY, lw=0.8)
    left.set(title="value", xlabel="loss (no unit)")
    right.set(title="norm of the gradient", xlabel="with respect to the fused picture (logarithmic)")
    families = dict(_FAMILIES[name.split("_")[0]] for name in names)
    handles = [Patch(color=colour, label=family) for family, colour in families.items()]
    right.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))
    style.entitle(figure, f"The {len(names)} candidate losses at one fused picture")
    weakest, strongest = (choose(gradients, key=lambda name: gradients[name]) for choose in (min, max))
    alt = (
        f"Bars of the {len(names)} loss terms. Every gradient norm is positive; the smallest is {weakest} "
        f"({gradients[weakest]:.1e}), the largest {strongest} ({gradients[strongest]:.1e})."
        if min(gradients.values()) > 0
        else f"Bars of the {len(names)} loss terms. The term {weakest} has no gradient."
    )
    return figure, alt + style.feature_note(figure, features)


def _colour(term: str) -> str:
    return _FAMILIES[term.split("_")[0]][1]


def _hatch(term: str, features: str) -> dict[str, Any]:
    """Bars that stand on random features are hatched."""
    doubtful = term.startswith("perceptual") and "random" in features
    return {"hatch": "////", "edgecolor": "white"} if doubtful else {}


@style.styled
def loss_weight_curves(history: Sequence[Record], names: Sequence[str], *, features: str = "") -> tuple[Figure, str]:
    """Draw how the loss weights ``softmax(beta)`` moved, and where they ended."""
    weights = np.array([record["loss_mix"] for record in history])  # (steps, terms)
    uniform = 1 / len(names)
    order = np.argsort(weights[-1])
    told = [int(term) for term in (*order[-3:], *order[:3])]
    figure = style.new_figure(4.6)
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    style.mark_epochs(left, [record["epoch"] for record in history])
    steps = range(1, len(history) + 1)
    left.plot(steps, weights, color=style.GRAY, alpha=0.35, lw=1)
    for term in told:
        left.plot(steps, weights[:, term], color=_colour(names[term]), lw=2.2)
    _label_ends(left, {names[term]: float(weights[-1, term]) for term in told}, at=len(history) + 0.6)
    left.axhline(uniform, color=style.BLACK, ls="--", lw=0.9)
    left.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    left.set(title="over the search", xlabel="search step", ylabel="weight (all sum to 1)")
    for row, name in enumerate(names):
        right.barh(row, weights[-1, row], color=_colour(name), **_hatch(name, features), height=0.72)
    right.axvline(uniform, color=style.BLACK, ls="--", lw=0.9)
    right.text(uniform, -0.75, f" start: 1/{len(names)}", fontsize=8.5)
    right.set_yticks(range(len(names)), names)
    right.invert_yaxis()
    right.set(title="at the end", xlabel="weight")
    style.entitle(figure, "The loss that was searched: weights of the terms")
    up, down = names[order[-1]], names[order[0]]
    alt = (
        f"Weights of {len(names)} loss terms over {len(history)} steps, all starting at 1/{len(names)}. Highest at the "
        f"end: {up} ({weights[-1].max():.3f}), lowest: {down} ({weights[-1].min():.3f})."
    )
    return figure, alt + style.feature_note(figure, features)


def _label_ends(axes: Axes, ends: Mapping[str, float], *, at: float) -> None:
    """Write names beside the ends of lines, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    gap, place = 0.052 * (high - low), -np.inf
    for name, value in sorted(ends.items(), key=lambda item: item[1]):
        place = max(value, place + gap)
        axes.text(at, place, name, va="center", fontsize=8.5, clip_on=False)


@style.styled
def training_curves(
    history: Sequence[Record], baselines: Mapping[str, float] | None = None, *, features: str = ""
) -> tuple[Figure, str]:
    """Draw training loss and validation MEF-SSIM over the epochs of a training."""
    figure = style.new_figure(2.9)
    left, right = figure.subplots(1, 2)
    epochs = [record["epoch"] + 1 for record in history]
    left.plot(epochs, [record["loss"] for record in history], "o-", color=style.BLUE, lw=2)
    left.set(title="training loss", ylabel="weighted sum of the terms")
    scores = [record["val_mef_ssim"] for record in history]
    right.plot(epochs, scores, "o-", color=style.VERMILION, lw=2, label="this network")
    for (name, score), dash in zip((baselines or {}).items(), ("--", ":", "-."), strict=False):
        right.axhline(score, color=style.GRAY, ls=dash, lw=1.3, label=f"{name} ({score:.3f})")
    right.legend(loc="best")
    right.set(title="MEF-SSIM on the validation scenes", ylabel="MEF-SSIM (at most 1)")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    style.entitle(figure, "Training the derived network")
    alt = (
        f"Training loss {history[0]['loss']:.3f} in the first and {history[-1]['loss']:.3f} in the last of "
        f"{len(history)} epochs; validation MEF-SSIM {scores[0]:.3f} and {scores[-1]:.3f}."
    )
    return figure, alt + style.feature_note(figure, features)
