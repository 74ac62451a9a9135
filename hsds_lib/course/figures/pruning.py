"""Pruning replayed on the records of a search, and the figures of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hsds_lib.course import style
from hsds_lib.course.plots import Record, active_masks, label_map, operation_label
from hsds_lib.network.genotype import NODES
from hsds_lib.network.operations import PRIMITIVES, softmax_active
from hsds_lib.search.wsras import prune_step

_LINES = (style.BLUE, style.ORANGE, style.VERMILION, style.PURPLE, style.GREEN)
_GONE = -1e4  # logit of an operation without a recorded weight: its share of a softmax is exactly 0


def replay(history: Sequence[Record], *, theta: float, top_p: int, from_epoch: int = 0) -> np.ndarray:
    """Prune with another threshold by the recorded weights of a search (Algorithm 1 lines 8-13).

    This is not a search: the weights stay those that were recorded, where a search with this threshold would have gone
    on with fewer operations and found others. An operation that the recorded search removed has no weight from then on
    and counts as 0, so a positive threshold below the recorded one can save nothing. Gives what is active after each
    step.
    """
    active = torch.ones(len(NODES), len(PRIMITIVES), dtype=torch.bool)
    masks = []
    for record, known in zip(history, active_masks(history), strict=True):
        weights = torch.tensor(record["node_mix"], dtype=torch.float64).clamp(min=1e-7)  # recorded with six digits
        logits = torch.where(torch.from_numpy(known), weights.log(), _GONE)
        if record["epoch"] >= from_epoch:
            active = prune_step(logits, active, theta=theta, top_p=top_p)
        masks.append(active.numpy().copy())
    return np.array(masks)


@style.styled
def node_cuts(mix: torch.Tensor, *, theta: float, top_p: int) -> style.Drawn:
    """Draw what pruning does to one node while its logits stay as they are, until it stops by itself."""
    alpha, active = mix.double().log()[None], torch.ones(1, len(mix), dtype=torch.bool)
    states = [active]
    while not torch.equal(pruned := prune_step(alpha, states[-1], theta=theta, top_p=top_p), states[-1]):
        states.append(pruned)
    shown = sorted({round(place) for place in np.linspace(0, len(states) - 1, min(6, len(states)))})
    figure = style.new_figure(3.3)
    grid = figure.subplots(1, len(shown), squeeze=False, sharex=True, sharey=True)[0]
    labels = [operation_label(name) for name in PRIMITIVES]
    for axes, place in zip(grid, shown, strict=True):
        weights = softmax_active(alpha, states[place])[0].numpy()
        axes.barh(
            labels,
            weights,
            color=[style.VERMILION if weight < theta else style.BLUE for weight in weights],
            height=0.72,
        )
        axes.plot(np.zeros((~states[place]).sum()), np.flatnonzero(~states[place][0]), "x", color=style.GRAY, ms=5)
        axes.axvline(theta, color=style.INK, ls="--", lw=1)
        axes.set(title=f"{int(states[place].sum())} left", xlabel="weight")
        axes.xaxis.set_major_locator(MaxNLocator(3))
    grid[0].invert_yaxis()
    grid[0].set_ylabel("operation")
    left, least = int(states[-1].sum()), float(softmax_active(alpha, states[-1])[states[-1]].min())
    style.entitle(figure, f"One node, one removal after another (dashed: θ = {theta:g}; red: below it; ×: removed)")
    why = f"P = {top_p} are left" if left <= top_p else f"the smallest weight, {least:.3f}, is not below the threshold"
    return figure, f"Weights of one node after each removal: from {len(mix)} to {left} operations, where {why}."


@style.styled
def replay_overview(
    history: Sequence[Record],
    *,
    thetas: Sequence[float],
    top_p: int,
    node: str,
    from_epoch: int = 0,
    features: str = "",
) -> style.Drawn:
    """Draw one recorded search pruned by several thresholds: how much is left, where, and when it goes."""
    runs = {theta: replay(history, theta=theta, top_p=top_p, from_epoch=from_epoch) for theta in thetas}
    figure = style.new_figure(8.0, "One recorded search, pruned by several θ: the weights are the recorded ones")
    layout = figure.add_gridspec(2, 2, width_ratios=[1.2, 1], height_ratios=[1.35, 1])
    curves, cut, strip = (figure.add_subplot(layout[place]) for place in ((0, 0), (0, 1), (1, slice(None))))
    style.mark_epochs(curves, [record["epoch"] for record in history])
    for (theta, masks), colour in zip(runs.items(), _LINES, strict=False):
        counts = masks.sum(axis=(1, 2))
        curves.plot(range(1, len(counts) + 1), counts, drawstyle="steps-mid", color=colour, lw=2)
        curves.text(len(counts) + 1, counts[-1], f" θ = {theta:g}: {counts[-1]}", color=colour, va="center")
    floor = len(NODES) * top_p
    curves.axhline(floor, color=style.GRAY, ls="--", lw=1)
    curves.text(1, floor, f"{len(NODES)} nodes × P = {top_p}", va="bottom", color=style.GRAY, fontsize=8.5)
    curves.set(
        title="operations left", xlabel="search step", ylabel=f"of {len(NODES) * len(PRIMITIVES)}", ylim=(0, 172)
    )
    _cut_map(figure, cut, runs)
    _node_strip(figure, strip, history, runs, node)
    ends = ", ".join(f"{masks[-1].sum()} at theta {theta:g}" for theta, masks in runs.items())
    alt = (
        f"Operations left over {len(history)} steps of one recorded search: {ends}. A table says for each node and "
        f"operation the smallest of these thresholds that removes it; below, the weights of node {node} over the steps."
    )
    return figure, alt + style.feature_note(figure, features)


def _cut_map(figure: Figure, axes: Axes, runs: Mapping[float, np.ndarray]) -> None:
    """For every node and operation, the smallest threshold that removes it by the end."""
    gone = np.array([~masks[-1] for masks in runs.values()])  # (thresholds, nodes, operations)
    place = np.where(gone.any(axis=0), gone.argmax(axis=0), len(runs))
    colours = ListedColormap([*_LINES[: len(runs)], style.PALE])
    levels = np.arange(len(runs) + 2) - 0.5
    image = axes.imshow(place, cmap=colours, norm=BoundaryNorm(levels, colours.N), aspect="auto")
    axes.set_xticks(np.arange(-0.5, len(PRIMITIVES)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(NODES)), minor=True)
    axes.grid(which="minor", color="white", lw=1)
    axes.tick_params(which="both", length=0)
    label_map(np.array([[axes]]))
    axes.set_title("smallest of these θ that cuts it")
    bar = figure.colorbar(image, ax=axes, ticks=range(len(runs) + 1), pad=0.03)
    bar.set_ticklabels([*(f"{theta:g}" for theta in runs), "none"])
    bar.ax.tick_params(length=0)


def _node_strip(
    figure: Figure, axes: Axes, history: Sequence[Record], runs: Mapping[float, np.ndarray], node: str
) -> None:
    """The recorded weights of one node over the steps, with a mark where each threshold cuts."""
    row = NODES.index(node)
    weights = np.array([record["node_mix"][row] for record in history]).T  # (operations, steps)
    uniform = 1 / len(PRIMITIVES)
    scale = TwoSlopeNorm(uniform, vmin=0, vmax=max(2 * uniform, float(weights.max())))
    shade = colormaps["PuOr"].with_extremes(bad=style.PALE)
    extent = (0.5, len(history) + 0.5, len(PRIMITIVES) - 0.5, -0.5)
    alive = active_masks(history)[:, row].T
    image = axes.imshow(np.where(alive, weights, np.nan), cmap=shade, norm=scale, aspect="auto", extent=extent)
    for place, ((theta, masks), colour) in enumerate(zip(runs.items(), _LINES, strict=False)):
        cuts = [(step, op) for op in range(len(PRIMITIVES)) for step in _first_gone(masks[:, row, op])]
        xs, ys = zip(*cuts, strict=True) if cuts else ((), ())
        # Side by side within a row, so that cuts in the same step can all be seen.
        aside = 0.2 * (place - (len(runs) - 1) / 2)
        look: dict[str, Any] = {"ms": 5.5, "mec": "white", "mew": 0.6, "zorder": 9, "clip_on": False}
        axes.plot(xs, [y + aside for y in ys], "o", color=colour, label=f"θ = {theta:g}", **look)
    axes.set_yticks(range(len(PRIMITIVES)), [operation_label(name) for name in PRIMITIVES])
    axes.tick_params(length=0)
    axes.set(
        title=f"weights of node ${node}$ (gray: removed; dot: cut by θ)",
        xlabel="search step",
        ylabel="operation",
    )
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(runs), handletextpad=0.1)
    higher = np.arange(0.2, weights.max(), 0.2)
    bar = figure.colorbar(image, ax=axes, pad=0.015, ticks=[0, uniform, *higher])
    bar.ax.set_yticklabels(["0", f"1/{len(PRIMITIVES)}", *(f"{tick:.1f}" for tick in higher)])
    bar.set_label("weight")


def _first_gone(alive: np.ndarray) -> list[int]:
    """The step, counted from 1, after which an operation is gone; empty if it stays."""
    return [] if alive[-1] else [int(alive.argmin()) + 1]


@style.styled
def replay_against_search(
    recorded: Sequence[Record], searches: Mapping[float, Sequence[Record]], *, top_p: int, features: str = ""
) -> style.Drawn:
    """Draw replays of a search without pruning beside real searches with those thresholds."""
    figure = style.new_figure(3.4, "A replay is not a search")
    left, right = figure.subplots(1, 2, width_ratios=[1.3, 1])
    said = []
    for row, ((theta, history), colour) in enumerate(zip(searches.items(), _LINES, strict=False)):
        played, real = replay(recorded, theta=theta, top_p=top_p), active_masks(history)
        steps = range(1, len(history) + 1)
        left.plot(steps, played.sum(axis=(1, 2)), "--", color=colour, lw=1.6, label=f"θ = {theta:g}, replay")
        left.plot(steps, real.sum(axis=(1, 2)), "o-", color=colour, lw=1.8, ms=4, label=f"θ = {theta:g}, search")
        both, only = (played[-1] & real[-1]).sum(), [(played[-1] & ~real[-1]).sum(), (real[-1] & ~played[-1]).sum()]
        start = 0
        for count, shade in zip((both, *only), (style.GREEN, style.GRAY, style.SKY), strict=True):
            right.barh(row, count, left=start, color=shade, height=0.6)
            right.text(start + count / 2, row, str(count), ha="center", va="center", color="white", weight="bold")
            start += count
        said.append(f"at theta {theta:g} they share {both}, {only[0]} only in the replay, {only[1]} only in the search")
    left.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    left.set(title="operations left", xlabel="search step", ylabel=f"of {len(NODES) * len(PRIMITIVES)}", ylim=(0, 170))
    left.legend(loc="lower left")
    right.set_yticks(range(len(searches)), [f"θ = {theta:g}" for theta in searches])
    right.invert_yaxis()
    right.set(title="who survives", xlabel="operations after the last step")
    handles = [right.barh(0, 0, color=shade, label=name) for name, shade in _SHARES.items()]
    right.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
    alt = f"Operations left in replays and in real searches over {len(recorded)} steps, and who survives: "
    return figure, alt + "; ".join(said) + "." + style.feature_note(figure, features)


_SHARES = {"both": style.GREEN, "replay only": style.GRAY, "search only": style.SKY}
