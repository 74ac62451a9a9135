"""Figures of a search: its losses, its loss weights, its operations, and the training that follows.

Every function takes what :class:`hsds_lib.search.dual.DualSearch` records and returns ``(figure, alt)``, the
figure and its alternative text, ready for ``show(*...)`` of :mod:`hsds_lib.course.show`. ``features`` is
``VGG16.label``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, Normalize, TwoSlopeNorm
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from hsds_lib.course import style
from hsds_lib.losses.space import term_kind
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.operations import PRIMITIVES, kernel
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
) -> style.Drawn:
    """Draw the fusion loss, the contrast and the number of active operations over the steps of a search.

    Every step sees other crops, so single steps (dots) scatter; the lines are running means.
    """
    figure = style.new_figure(3.3, f"A search of {len(history)} steps; shaded: every second epoch")
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
def term_bars(values: Mapping[str, float], gradients: Mapping[str, float], *, features: str = "") -> style.Drawn:
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
    families = dict(map(_family, names))
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


def _family(term: str) -> tuple[str, str]:
    """What a term measures, and its colour; terms of the pair (extended space) and any to come share one."""
    return _FAMILIES.get(term_kind(term), ("measures of the pair", style.GRAY))


def _colour(term: str) -> str:
    return _family(term)[1]


def _hatch(term: str, features: str) -> dict[str, Any]:
    """Bars that stand on random features are hatched."""
    doubtful = term.startswith("perceptual") and "random" in features
    return {"hatch": "////", "edgecolor": "white"} if doubtful else {}


@style.styled
def loss_weight_curves(history: Sequence[Record], names: Sequence[str], *, features: str = "") -> style.Drawn:
    """Draw how the loss weights ``softmax(beta)`` moved, and where they ended."""
    weights = np.array([record["loss_mix"] for record in history])  # (steps, terms)
    uniform = 1 / len(names)
    order = np.argsort(weights[-1])
    told = [int(term) for term in (*order[-3:], *order[:3])]
    figure = style.new_figure(4.6, "The loss that was searched: weights of the terms")
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
) -> style.Drawn:
    """Draw training loss and validation MEF-SSIM over the epochs of a training."""
    figure = style.new_figure(2.9, "Training the derived network")
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
    alt = (
        f"Training loss {history[0]['loss']:.3f} in the first and {history[-1]['loss']:.3f} in the last of "
        f"{len(history)} epochs; validation MEF-SSIM {scores[0]:.3f} and {scores[-1]:.3f}."
    )
    return figure, alt + style.feature_note(figure, features)


def operation_label(primitive: str) -> str:
    """Write an operation shortly: ``3×3``, and ``3×3 d2`` with dilation 2."""
    height, width, dilation = kernel(primitive)
    return f"{height}×{width}" + (" d2" if dilation == 2 else "")


def active_masks(history: Sequence[Record]) -> np.ndarray:
    """Work out which operations were active after each step, bool ``(steps, nodes, operations)``."""
    alive = np.ones((len(NODES), len(PRIMITIVES)), dtype=bool)
    masks = []
    for record in history:
        for node, primitive in record["removed"]:
            alive[NODES.index(node), PRIMITIVES.index(primitive)] = False
        masks.append(alive.copy())
    return np.array(masks)


@style.styled
def alpha_maps(history: Sequence[Record], *, panels: int = 6, features: str = "") -> style.Drawn:
    """Draw the weights of all operations at some steps of a search; removed operations are hatched."""
    steps = sorted({round(step) for step in np.linspace(0, len(history) - 1, min(panels, len(history)))})
    columns = min(3, len(steps))
    rows = -(-len(steps) // columns)
    masks = active_masks(history)
    size = f"{len(NODES)} nodes × {len(PRIMITIVES)} operations"
    figure = style.new_figure(0.9 + 3.15 * rows, f"Architecture weights: {size} (hatched: removed)")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    uniform = 1 / len(PRIMITIVES)
    highest = max(2 * uniform, *(np.max(history[step]["node_mix"]) for step in steps))
    scale = TwoSlopeNorm(uniform, vmin=0, vmax=highest)
    for axes, step in zip(grid.flat, steps, strict=False):
        image = weight_map(axes, np.array(history[step]["node_mix"]), masks[step], scale, colours="PuOr")
        count = int(masks[step].sum())
        axes.set_title(f"after step {step + 1}: {count} of {masks[step].size} active")
    for axes in grid.flat[len(steps) :]:
        axes.axis("off")
    label_map(grid)
    ticks = [0, uniform / 2, uniform, *np.arange(0.2, highest, 0.1)]
    bar = figure.colorbar(image, ax=grid, shrink=0.6, pad=0.015, ticks=ticks)
    bar.set_ticklabels([f"1/{len(PRIMITIVES)}: start" if tick == uniform else f"{tick:.2g}" for tick in ticks])
    bar.set_label("weight of the operation in its node")
    final = np.where(masks[-1], np.array(history[-1]["node_mix"]), -1)
    node, operation = np.unravel_index(final.argmax(), final.shape)
    alt = (
        f"{len(steps)} heat maps of {size}. All weights start near 1/{len(PRIMITIVES)}; after the last step "
        f"{int(masks[-1].sum())} operations are left, and the largest weight is {final.max():.2f} "
        f"({operation_label(PRIMITIVES[operation])} in node {NODES[node]})."
    )
    return figure, alt + style.feature_note(figure, features)


def weight_map(axes: Axes, mix: np.ndarray, active: np.ndarray, scale: Normalize, *, colours: str) -> AxesImage:
    """Draw one table of weights ``(nodes, operations)``; cells that are not active are gray and hatched."""
    image = axes.imshow(np.where(active, mix, np.nan), cmap=colours, norm=scale, aspect="auto")
    for row, column in np.argwhere(~active):
        cell = (column - 0.5, row - 0.5)
        axes.add_patch(Rectangle(cell, 1, 1, facecolor=style.PALE, edgecolor=style.GRAY, hatch="/////", lw=0))
    axes.axhline(9.5, color="white", lw=2.5)  # attention above, Retinex below
    axes.set_xticks(np.arange(-0.5, len(PRIMITIVES)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(NODES)), minor=True)
    axes.grid(which="minor", color="white", lw=0.6)
    axes.tick_params(which="both", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def label_map(grid: np.ndarray) -> None:
    """Name nodes and operations at the outer edge of a grid of weight maps."""
    for axes in grid[-1]:
        axes.set_xticks(range(len(PRIMITIVES)), [operation_label(name) for name in PRIMITIVES], rotation=90)
        axes.set_xlabel("operation (d2: dilation 2)")
    for row in grid:
        row[0].set_yticks(range(len(NODES)), [f"${name}$" if "_" in name else name for name in NODES])
        row[0].set_ylabel("node")


@style.styled
def pruning_timeline(history: Sequence[Record], *, theta: float, features: str = "") -> style.Drawn:
    """Draw how many operations each node had after every step, and which kinds were removed."""
    counts = active_masks(history).sum(axis=2).T  # (nodes, steps)
    figure = style.new_figure(4.4)
    left, right = figure.subplots(1, 2, width_ratios=[2.1, 1])
    levels = np.arange(1, len(PRIMITIVES) + 2) - 0.5
    colours = colormaps["cividis"].resampled(len(levels) - 1)
    extent = (0.5, len(history) + 0.5, len(NODES) - 0.5, -0.5)
    image = left.imshow(counts, cmap=colours, norm=BoundaryNorm(levels, colours.N), aspect="auto", extent=extent)
    for step, record in enumerate(history, start=1):
        for node in {node for node, _ in record["removed"]}:
            left.plot(step, NODES.index(node), ".", color=style.VERMILION, ms=6, mec="white", mew=0.5)
    for row, count in enumerate(counts[:, -1]):
        left.text(len(history) + 0.7, row, f" {count}", va="center", fontsize=9, weight="bold")
    left.set_yticks(range(len(NODES)), [f"${name}$" if "_" in name else name for name in NODES])
    left.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    left.set(title="active operations in each node (dot: one removed)", xlabel="search step", ylabel="node")
    left.tick_params(length=0)
    figure.colorbar(image, ax=left, ticks=range(1, len(PRIMITIVES) + 1, 2), pad=0.06).set_label("operations")
    removed = Counter(primitive for record in history for _, primitive in record["removed"])
    right.barh(
        [operation_label(name) for name in PRIMITIVES], [removed[name] for name in PRIMITIVES], color=style.VERMILION
    )
    right.invert_yaxis()
    right.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    right.set(title="removed, by operation", xlabel=f"nodes (of {len(NODES)})", xlim=(0, max(1, *removed.values(), 1)))
    style.entitle(figure, f"Pruning with θ = {theta:g}: the weakest operation goes, one per node and step at most")
    first = next((step for step, record in enumerate(history, start=1) if record["removed"]), None)
    alt = f"{removed.total()} operations were removed in {len(history)} steps" + (
        f", the first in step {first}; between {counts[:, -1].min()} and {counts[:, -1].max()} are left per node."
        if first is not None
        else "; every node still has all of its operations."
    )
    return figure, alt + style.feature_note(figure, features)


@style.styled
def genotype_maps(genotypes: Mapping[str, Genotype], *, features: str = "") -> style.Drawn:
    """Draw several genotypes as tables side by side; operations that not all of them retain are framed."""
    tables = {name: genotype.mix().numpy() for name, genotype in genotypes.items()}
    common = np.all([table > 0 for table in tables.values()], axis=0)
    figure = style.new_figure(4.6, "Retained operations")
    grid = figure.subplots(1, len(tables), squeeze=False, sharey=True)
    scale = Normalize(0, max(table.max() for table in tables.values()))
    for axes, (name, table) in zip(grid[0], tables.items(), strict=True):
        image = weight_map(axes, table, table > 0, scale, colours="cividis_r")
        for row, column in np.argwhere((table > 0) & ~common):
            corner = (column - 0.46, row - 0.46)
            axes.add_patch(Rectangle(corner, 0.92, 0.92, fill=False, edgecolor=style.VERMILION, lw=2))
        axes.set_title(name)
    label_map(grid)
    figure.colorbar(image, ax=grid, pad=0.015).set_label("weight of the retained operation")
    frame = Patch(facecolor="none", edgecolor=style.VERMILION, lw=2, label="retained by one of them only")
    grid[0, 0].legend(handles=[frame], loc="lower left", bbox_to_anchor=(0, 1.06), labelcolor=style.BLACK)
    retained = int((tables[next(iter(tables))] > 0).sum())
    alt = f"Tables of retained operations for {', '.join(tables)}: {common.sum()} of {retained} are the same in all."
    return figure, alt + style.feature_note(figure, features)
