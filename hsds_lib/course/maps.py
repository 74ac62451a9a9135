"""Figures of the architecture search: one cell for every node and operation.

As in :mod:`hsds_lib.course.plots`, every function returns ``(figure, alt)``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from hsds_lib.course import style
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.operations import PRIMITIVES, kernel

Record = Mapping[str, Any]


def operation_label(primitive: str) -> str:
    """Write an operation shortly: ``3×3``, and ``3×3 d2`` with dilation 2."""
    height, width, dilation = kernel(primitive)
    return f"{height}×{width}" + (" d2" if dilation == 2 else "")


def active_masks(history: Sequence[Record]) -> np.ndarray:
    """Work out which operations were active after each step, bool ``(steps, 15, 11)``."""
    alive = np.ones((len(NODES), len(PRIMITIVES)), dtype=bool)
    masks = []
    for record in history:
        for node, primitive in record["removed"]:
            alive[NODES.index(node), PRIMITIVES.index(primitive)] = False
        masks.append(alive.copy())
    return np.array(masks)


@style.styled
def alpha_maps(history: Sequence[Record], *, panels: int = 6, features: str = "") -> tuple[Figure, str]:
    """Draw the weights of all operations at some steps of a search; removed operations are hatched."""
    steps = sorted({round(step) for step in np.linspace(0, len(history) - 1, min(panels, len(history)))})
    columns = min(3, len(steps))
    rows = -(-len(steps) // columns)
    masks = active_masks(history)
    figure = style.new_figure(0.9 + 3.15 * rows)
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
    bar.set_ticklabels(["1/11: start" if tick == uniform else f"{tick:.2g}" for tick in ticks])
    bar.set_label("weight of the operation in its node")
    style.entitle(figure, "Architecture weights: 15 nodes × 11 operations (hatched: removed)")
    final = np.where(masks[-1], np.array(history[-1]["node_mix"]), -1)
    node, operation = np.unravel_index(final.argmax(), final.shape)
    alt = (
        f"{len(steps)} heat maps of 15 nodes by 11 operations. All weights start near 1/11; after the last step "
        f"{int(masks[-1].sum())} operations are left, and the largest weight is {final.max():.2f} "
        f"({operation_label(PRIMITIVES[operation])} in node {NODES[node]})."
    )
    return figure, alt + style.feature_note(figure, features)


def weight_map(axes: Axes, mix: np.ndarray, active: np.ndarray, scale: Normalize, *, colours: str) -> AxesImage:
    """Draw one table of weights ``(15, 11)``; cells that are not active are gray and hatched."""
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
def pruning_timeline(history: Sequence[Record], *, theta: float, features: str = "") -> tuple[Figure, str]:
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
def genotype_maps(genotypes: Mapping[str, Genotype], *, features: str = "") -> tuple[Figure, str]:
    """Draw several genotypes as tables side by side; operations that not all of them retain are framed."""
    tables = {name: genotype.mix().numpy() for name, genotype in genotypes.items()}
    common = np.all([table > 0 for table in tables.values()], axis=0)
    figure = style.new_figure(4.6)
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
    style.entitle(figure, "Retained operations")
    retained = int((tables[next(iter(tables))] > 0).sum())
    alt = f"Tables of retained operations for {', '.join(tables)}: {common.sum()} of {retained} are the same in all."
    return figure, alt + style.feature_note(figure, features)
