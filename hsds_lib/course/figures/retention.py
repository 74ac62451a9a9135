"""Figures of a node's operations: what they read, how they compete, and what it costs to keep several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator

from hsds_lib.course import style
from hsds_lib.course.plots import label_map, operation_label
from hsds_lib.network.genotype import NODES
from hsds_lib.network.operations import PRIMITIVES

_LINES = (style.BLUE, style.ORANGE, style.VERMILION, style.PURPLE, style.GREEN)
_DASHES = ("o-", "s--", "^:", "d-.", "v-")


@style.styled
def footprints(taps: Mapping[str, np.ndarray]) -> style.Drawn:
    """Draw which input pixels every operation reads for one output pixel."""
    figure = style.new_figure(4.0, f"{len(taps)} operations: the input pixels that one output pixel reads")
    grid = figure.subplots(2, 6)
    for axes in grid.flat:
        axes.axis("off")
    said = []
    for axes, (name, table) in zip(grid.flat, taps.items(), strict=False):
        middle = len(table) // 2
        colour = style.VERMILION if name.startswith("dil") else style.BLUE
        axes.imshow(np.zeros_like(table, dtype=float), cmap="Greys", vmin=0, vmax=1)
        axes.set_xticks(np.arange(-0.5, len(table)), minor=True)
        for edge in np.arange(-0.5, len(table)):
            axes.axhline(edge, color="#E0E0E0", lw=0.6)
            axes.axvline(edge, color="#E0E0E0", lw=0.6)
        rows, columns = np.nonzero(table)
        axes.plot(columns, rows, "s", ms=5.2, color=colour)
        axes.plot(middle, middle, "o", ms=2.4, color="white")
        height, width = (int(np.ptp(places)) + 1 for places in (rows, columns))
        axes.set_title(f"{operation_label(name)}\n", fontsize=10)
        axes.text(0, 1.03, f"{table.sum()} taps over {height}×{width}", transform=axes.transAxes, fontsize=8.5)
        said.append(f"{operation_label(name)} reads {table.sum()} pixels over {height} by {width}")
    text = "□ one input pixel\n○ the output's place\n\nblue: dense\nred: dilation 2 (d2)"
    grid.flat[-1].text(0, 0.9, text, va="top", fontsize=9)
    return figure, f"Footprints of {len(taps)} operations: {'; '.join(said)}."


@style.styled
def competition(weights: Mapping[str, Sequence[float]]) -> style.Drawn:
    """Draw how fast a softmax weight can move, and how the weight of the better operation grew in some runs."""
    figure = style.new_figure(3.3, "Competition inside a node")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.4])
    mix = np.linspace(0, 1, 201)
    left.plot(mix, mix * (1 - mix), color=style.BLUE, lw=2)
    start = 1 / len(PRIMITIVES)
    for place, text in ((start, f"  start: 1/{len(PRIMITIVES)}"), (0.5, "")):
        left.plot(place, place * (1 - place), "o", color=style.VERMILION, ms=7)
        left.text(place, place * (1 - place), text, va="top", fontsize=9)
    left.set(
        title="slope of a weight", xlabel="weight $m_k$", ylabel=r"$\partial m_k / \partial \alpha_k = m_k(1-m_k)$"
    )
    left.set(xlim=(0, 1), ylim=(0, 0.27))
    for (name, values), colour, dash in zip(weights.items(), _LINES, _DASHES, strict=False):
        every = max(1, len(values) // 12)
        right.plot(values, dash, color=colour, lw=1.8, ms=4.5, markevery=every, label=name)
    right.axhline(start, color=style.GRAY, ls="--", lw=0.9)
    right.set(title="weight of the better operation", xlabel="step", ylabel="weight", ylim=(0, 1.02))
    right.legend(loc="center right")
    ends = "; ".join(f"{name}: {values[-1]:.2f}" for name, values in weights.items())
    return (
        figure,
        f"The slope of a softmax weight is largest at one half. Weight of the better operation at the end, {ends}.",
    )


@style.styled
def cost_curves(
    costs: Mapping[str, Sequence[tuple[int, float]]],
    scattered: Sequence[Sequence[tuple[int, float]]],
    supernets: Mapping[str, Sequence[float]],
) -> style.Drawn:
    """Draw what a network costs against P, and what the supernet costs while it is pruned."""
    figure = style.new_figure(3.6, "What P costs afterwards, and what θ saves during the search (width 1)")
    parameters, macs, search = figure.subplots(1, 3)
    for axes, part, unit in ((parameters, 0, 1e6), (macs, 1, 1e6)):
        band = np.array(scattered)[:, :, part] / unit
        places = np.arange(1, band.shape[1] + 1)
        axes.fill_between(
            places, band.min(axis=0), band.max(axis=0), color=style.GRAY, alpha=0.3, lw=0, label="at random"
        )
        for (name, pairs), colour, dash in zip(costs.items(), _LINES, _DASHES, strict=False):
            axes.plot(places, [pair[part] / unit for pair in pairs], dash, color=colour, ms=4, label=name)
        axes.set(xlabel="P, operations per node", ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    parameters.set(title="parameters", ylabel="millions", ylim=(0, 1.55 * parameters.get_ylim()[1]))  # for the legend
    macs.set(title="multiply-accumulates", ylabel="millions per pixel")
    parameters.legend(loc="upper left")
    for (name, values), colour, dash in zip(supernets.items(), _LINES, _DASHES, strict=False):
        search.plot(range(1, len(values) + 1), np.array(values) / 1e6, dash, color=colour, ms=4, label=name)
    search.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    search.set(
        title="supernet during the search", xlabel="search step", ylabel="millions of MACs per pixel", ylim=(0, None)
    )
    search.legend(loc="lower left")
    first = next(iter(costs.values()))
    alt = (
        f"Cost against P: {first[0][0] / 1e6:.2f} million parameters at P = 1, {first[-1][0] / 1e6:.2f} at "
        f"P = {len(first)}. Multiply-accumulates of the supernet after the last step, "
        + "; ".join(f"{name}: {values[-1] / 1e6:.2f} million per pixel" for name, values in supernets.items())
    )
    return figure, alt + "."


@style.styled
def gap_curves(
    gaps: Mapping[str, Sequence[float]],
    mass: Mapping[str, Sequence[float]],
    scattered: np.ndarray,
    *,
    features: str = "",
) -> style.Drawn:
    """Draw how far derived networks are from the supernets they were cut out of."""
    figure = style.new_figure(3.5, "The discretisation gap: nothing but operations left out, no weight trained again")
    left, right = figure.subplots(1, 2)
    places = np.arange(1, scattered.shape[1] + 1)
    label = f"drawn at random ({next(iter(gaps))})"
    right.fill_between(
        places, scattered.min(axis=0), scattered.max(axis=0), color=style.GRAY, alpha=0.3, lw=0, label=label
    )
    for axes, table in ((left, mass), (right, gaps)):
        for (name, values), colour, dash in zip(table.items(), _LINES, _DASHES, strict=False):
            axes.plot(places, values, dash, color=colour, ms=4.5, lw=1.8, label=name)
        _label_p(axes)
    left.set(title="share of the weights retained", ylabel="mean over the nodes", ylim=(0, 1.03))
    right.set(title="output: derived network against supernet", ylabel="RMS difference (gray levels)")
    right.legend(loc="upper right")
    told = "; ".join(f"{name}: {values[0]:.1f} at P = 1, {values[1]:.1f} at P = 2" for name, values in gaps.items())
    return figure, f"Difference of the outputs in gray levels, {told}; zero where all are kept." + style.feature_note(
        figure, features
    )


@style.styled
def price_map(prices: np.ndarray) -> style.Drawn:
    """Draw what every operation costs in every node."""
    figure = style.new_figure(4.6)
    axes = figure.subplots()
    scale = LogNorm(prices.min(), prices.max())
    image = axes.imshow(prices, cmap=colormaps["cividis"], norm=scale, aspect="auto")
    style.write_cells(axes, prices, _thousands, lambda price: scale(price) < 0.55, size=8)
    axes.axhline(9.5, color="white", lw=2.5)  # attention above, Retinex below
    axes.tick_params(length=0)
    label_map(np.array([[axes]]))
    bar = figure.colorbar(image, ax=axes, pad=0.015)
    bar.set_label("MACs per pixel")
    style.entitle(
        figure, "What an operation costs: thousand multiply-accumulates for each pixel of the picture (width 1)"
    )
    ends = [np.unravel_index(place, prices.shape) for place in (prices.argmin(), prices.argmax())]
    low, high = (
        f"{_thousands(prices[row, column])} thousand ({operation_label(PRIMITIVES[column])} in {NODES[row]})"
        for row, column in ends
    )
    size = f"{len(NODES)} nodes by {len(PRIMITIVES)} operations"
    return figure, f"Table of multiply-accumulates per pixel, {size}: from {low} to {high}."


def _thousands(price: float) -> str:
    return f"{price / 1000:.0f}" if price >= 9950 else f"{price / 1000:.2g}"


@style.styled
def budget_curves(
    expected: Mapping[str, Sequence[float]], derived: Mapping[str, float], *, budget: float, features: str = ""
) -> style.Drawn:
    """Draw what searches with and without a budget expect to cost, and what their networks do cost."""
    figure = style.new_figure(3.4, "A budget acts on the mixture, not on the network", width=0.75 * style.WIDTH)
    axes = figure.subplots()
    said = []
    for (name, values), colour, dash in zip(expected.items(), _LINES, _DASHES, strict=False):
        steps = range(1, len(values) + 1)
        axes.plot(steps, values, dash, color=colour, ms=4.5, lw=1.8, label=f"{name}: expected")
        look: dict[str, Any] = {"color": colour, "ms": 10, "mec": style.INK, "ls": "none"}
        axes.plot(len(values) + 0.5, derived[name], "*", label=f"{name}: derived network", **look)
        said.append(f"{name}: {values[-1]:,.0f} expected after the last step, {derived[name]:,.0f} of the network")
    axes.axhline(budget, color=style.INK, ls=":", lw=1.4)
    axes.text(0.6, budget, f"budget: {budget:,.0f}", va="bottom", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.set(xlabel="search step", ylabel="MACs per pixel", ylim=(0, None), xlim=(0.5, None))
    figure.legend(loc="outside right center")
    alt = f"Multiply-accumulates per pixel with a budget of {budget:,.0f}. " + "; ".join(said) + "."
    return figure, alt + style.feature_note(figure, features)


def _label_p(axes: Axes) -> None:
    axes.set_xlabel("P, operations retained per node")
    axes.xaxis.set_major_locator(MaxNLocator(11, integer=True))
    axes.axvline(2, color=style.INK, ls=":", lw=1)
