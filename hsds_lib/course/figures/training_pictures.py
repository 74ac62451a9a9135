"""Figures of a derived network: what its nodes cost, what its statistics do, and how far it sees."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from hsds_lib.course import style
from hsds_lib.course.plots import operation_label
from hsds_lib.network.operations import PRIMITIVES

Cost = tuple[int, float]
"""Parameters, and multiplications with addition for each pixel of the picture."""

_SHADES = (style.BLUE, style.SKY, style.PURPLE, style.GREEN, style.ORANGE)
LEVELS = 255
"""Steps of 8 bits: errors of pictures are shown in these units."""


@style.styled
def cost_bars(costs: Mapping[str, Mapping[str, Cost]], notes: Mapping[str, str] | None = None) -> style.Drawn:
    """Draw what every node of a network costs, stacked by operation in the order given."""
    figure = style.new_figure(0.9 + 0.235 * len(costs), "What the nodes of this network cost, stacked by operation")
    panels = figure.subplots(1, 2, sharey=True)
    totals = [{name: sum(cost[kind] for cost in parts.values()) for name, parts in costs.items()} for kind in (0, 1)]
    for kind, axes in enumerate(panels):
        _stack(axes, costs, kind)
        axes.set_xlim(0, 1.02 * max(totals[kind].values()))
        axes.grid(axis="x", color=style.PALE, lw=0.8)
        axes.set_axisbelow(True)
    for row, parts in enumerate(costs.values()):
        names = " + ".join(operation_label(name) if name in PRIMITIVES else name for name in parts)
        panels[1].text(1.02, row, names, va="center", fontsize=8.5, transform=panels[1].get_yaxis_transform())
    labels = [f"{name}  {(notes or {}).get(name, '')}".strip() for name in costs]
    panels[0].set_yticks(range(len(costs)), labels)
    panels[0].invert_yaxis()
    sums = [sum(total.values()) for total in totals]
    panels[0].set(title=f"parameters: {sums[0]:,.0f}", xlabel="parameters")
    panels[1].set(
        title=f"work: {sums[1]:,.0f} MACs a pixel", xlabel="multiply-accumulates for each pixel of the picture"
    )
    most = [max(total, key=lambda name: total[name]) for total in totals]
    alt = (
        f"Bars of {len(costs)} parts of the network. Parameters: {sums[0]:,.0f} in all, most of them in {most[0]}. "
        f"Multiply-accumulates per pixel: {sums[1]:,.0f} in all, most of them in {most[1]}."
    )
    return figure, alt


def _stack(axes: Axes, costs: Mapping[str, Mapping[str, Cost]], kind: int) -> None:
    for row, parts in enumerate(costs.values()):
        left = 0.0
        for place, cost in enumerate(parts.values()):
            colour = _SHADES[place % len(_SHADES)]
            axes.barh(row, cost[kind], left=left, height=0.72, color=colour, edgecolor="white", lw=0.5)
            left += cost[kind]


@style.styled
def statistics_curves(
    curves: Mapping[str, Mapping[int, float]], levels: Mapping[str, float], *, title: str
) -> style.Drawn:
    """Draw a score over the number of batches that the running statistics have seen."""
    figure = style.new_figure(3.3, title, width=7.6)
    axes = figure.subplots()
    for (name, points), colour in zip(curves.items(), (style.VERMILION, style.BLUE, style.GREEN), strict=False):
        axes.plot(list(points), list(points.values()), "o-", color=colour, lw=2, label=name)
    for (name, level), dash in zip(levels.items(), ("--", ":", "-."), strict=False):
        axes.axhline(level, color=style.GRAY, ls=dash, lw=1.3, label=f"{name} ({level:.3f})")
    axes.set(xlabel="batches that the statistics have seen", ylabel="validation MEF-SSIM (at most 1)")
    axes.set_ylim(top=1.0)
    axes.xaxis.set_major_locator(MaxNLocator(9, integer=True))
    axes.grid(color=style.PALE, lw=0.8)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    said = [
        f"{name}: {points[min(points)]:.3f} after {min(points)}, {points[max(points)]:.3f} after {max(points)} batches"
        for name, points in curves.items()
    ]
    lines = "".join(f"; {name}: {level:.3f}" for name, level in levels.items())
    return figure, f"{title}. Validation MEF-SSIM. {'; '.join(said)}{lines}."


@style.styled
def iteration_statistics(means: Mapping[str, Tensor], spreads: Mapping[str, Tensor]) -> style.Drawn:
    """Show how far the iterations of the Retinex nodes are from the one mean and spread that would serve all."""
    figure = style.new_figure(3.4)
    left, right = figure.subplots(1, 2)
    for axes, table in ((left, means), (right, spreads)):
        for place, values in enumerate(table.values()):
            count = len(values)
            for iteration, row in enumerate(values):
                x = place + 0.24 * (iteration - (count - 1) / 2)
                label = f"iteration {iteration + 1}" if place == 0 else None
                axes.plot(
                    np.full(len(row), x),
                    row.numpy(),
                    "o",
                    ms=5,
                    mew=0,
                    alpha=0.6,
                    color=_SHADES[iteration * 2],
                    label=label,
                )
        axes.set_xticks(range(len(table)), list(table))
        axes.grid(axis="y", color=style.PALE, lw=0.8)
        axes.set_axisbelow(True)
    left.axhline(0, color=style.INK, lw=1.2)
    right.axhline(1, color=style.INK, lw=1.2)
    right.set_yscale("log", base=2)
    right.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    left.set(title="mean, less the common one", ylabel="common standard deviations", xlabel="node")
    right.set(title="spread, over the common one", ylabel="ratio (logarithmic)", xlabel="node")
    right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    style.entitle(figure, "One dot a channel: what each pass of a Retinex node would need, against one set for all")
    farthest = max(float(values.abs().max()) for values in means.values())
    ratios = torch.cat([values.flatten() for values in spreads.values()])
    alt = (
        f"Dots for every channel of the nodes {', '.join(means)} and each iteration. Means lie up to {farthest:.1f} "
        f"standard deviations from the common one; spreads are {float(ratios.min()):.2f} to {float(ratios.max()):.2f} "
        "times the common one."
    )
    return figure, alt


@style.styled
def margin_figure(seams: Tensor, errors: Mapping[int, tuple[float, float]], *, radius: int) -> style.Drawn:
    """Show the seams of tiles without a margin, and how the error falls with the margin."""
    figure = style.new_figure(3.5, "Tiles: what a margin buys")
    # The map's share of the width follows its shape, so that it fills its panel.
    left, right = figure.subplots(1, 2, width_ratios=[0.2 + 0.6 * seams.shape[1] / seams.shape[0], 1])
    drawn = left.imshow((LEVELS * seams).numpy(), cmap="magma", vmax=float(LEVELS * seams.quantile(0.998)))
    left.set(xticks=[], yticks=[], title="tiles without a margin: error")
    figure.colorbar(drawn, ax=left, shrink=0.85, extend="max").set_label("8-bit levels")
    margins = list(errors)
    for place, (name, colour) in enumerate((("largest", style.VERMILION), ("mean", style.BLUE))):
        values = [LEVELS * error[place] for error in errors.values()]
        right.plot(margins, values, "o-", color=colour, lw=2, label=name, clip_on=False)
    right.set_yscale("symlog", linthresh=1e-4, linscale=0.5)
    right.set_yticks([0, 1e-4, 1e-2, 1, 100], ["0", "0.0001", "0.01", "1", "100"])
    right.set_ylim(bottom=0)
    right.axhline(0.5, color=style.GRAY, ls=":", lw=1.3)
    right.text(radius, 0.5, "half a level ", ha="right", va="bottom", color=style.GRAY, fontsize=8.5)
    right.axvline(radius, color=style.GREEN, ls="--", lw=1.3)
    right.text(radius, 60, "radius ", ha="right", va="center", color=style.GREEN, fontsize=8.5)
    right.set(title="error over the margin", xlabel="margin (pixels)", ylabel="error (8-bit levels)")
    right.legend(loc="lower left")
    first, last = margins[0], margins[-1]
    alt = (
        f"Left, a map of the seams that tiles leave. Right, the largest error: {LEVELS * errors[first][0]:.1f} 8-bit "
        f"levels at a margin of {first}, {LEVELS * errors[last][0]:.1g} at {last}; the promised radius is {radius}."
    )
    return figure, alt
