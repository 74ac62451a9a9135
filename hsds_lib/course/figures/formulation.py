"""Figures of notebook 01: what one exposure holds, two levels on a triangle, and approximate hypergradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from hsds_lib.course import style
from hsds_lib.course.bilevel import Function
from hsds_lib.course.pictures import BLOWN, CRUSHED, place
from hsds_lib.images.exposure import Camera, linear_to_srgb

_LINES = (style.BLUE, style.ORANGE, style.GREEN, style.VERMILION, style.PURPLE, style.SKY)


@style.styled
def exposure_sweep(
    pictures: Mapping[float, Tensor], shares: Mapping[float, tuple[float, float]], *, pair: float
) -> style.Drawn:
    """Show one scene at several exposures, and how much every single exposure loses."""
    ratio = next(iter(pictures.values())).shape[-2] / next(iter(pictures.values())).shape[-1]
    tall = style.WIDTH / len(pictures) * ratio + 0.3
    figure = style.new_figure(tall + 3.1, "One scene at many exposures: what each loses, and what a pair loses")
    grid = figure.add_gridspec(2, len(pictures), height_ratios=[tall, 2.6])
    for column, (shift, picture) in enumerate(pictures.items()):
        place(figure.add_subplot(grid[0, column]), picture, f"{shift:+g} stops")
    axes = figure.add_subplot(grid[1, :])
    stops = np.array(list(shares))
    black, white = 100 * np.array(list(shares.values())).T
    axes.stackplot(stops, black, white, colors=[style.SKY, style.VERMILION], alpha=0.75, labels=["black", "white"])
    best = int(np.argmin(black + white))
    least = float(black[best] + white[best])
    axes.plot(stops[best], least, "o", color=style.BLACK, zorder=3)
    axes.annotate(
        f"best single exposure: {style.per_cent(least / 100)}",
        (float(stops[best]), least),
        xytext=(float(stops[best]), least + 30),
        ha="center",
        arrowprops={"arrowstyle": "-", "color": style.BLACK},
    )
    axes.axhline(100 * pair, color=style.GREEN, lw=2, label=f"lost by both of a pair: {100 * pair:.2g} %")
    axes.set(xlim=(stops[0], stops[-1]), ylim=(-1.5, 100), xlabel="exposure relative to the photograph (stops)")
    axes.set(ylabel="lost pixels (%)")
    axes.legend(loc="upper center", ncols=3)
    alt = (
        f"One scene at {len(pictures)} exposures, and the share of lost pixels over the exposure. The best single "
        f"exposure, {stops[best]:+g} stops, loses {style.per_cent(least / 100)}; a pair loses {100 * pair:.2g} % in "
        "both."
    )
    return figure, alt


@style.styled
def camera_response(camera: Camera) -> style.Drawn:
    """Draw what two exposures make of light: the luma they write, and how finely each stop is divided."""
    stops = torch.linspace(-12, 5, 1701, dtype=torch.float64)
    figure = style.new_figure(3.4, "Two exposures divide the light differently; the coloured edges are lost")
    curve, levels = figure.subplots(1, 2)
    peaks = []
    for role, shift in (("under", camera.ev_under), ("over", camera.ev_over)):
        code = linear_to_srgb(torch.exp2(stops + shift).clamp(0, 1))
        curve.plot(stops, code, color=style.ROLES[role], lw=2, label=f"{role}-exposed, {shift:+g} stops")
        edges = linear_to_srgb(torch.exp2(torch.arange(-12, 6).double() + shift).clamp(0, 1))
        steps = 255 * edges.diff().numpy()
        levels.stairs(steps, np.arange(-12, 6), color=style.ROLES[role], lw=1.5, fill=True, alpha=0.45)
        peaks.append(f"{role} up to {steps.max():.0f} levels a stop, none above {-shift:+g} stops")
    curve.axhspan(-0.02, CRUSHED, color=style.SKY, alpha=0.5, lw=0)
    curve.axhspan(BLOWN, 1.02, color=style.VERMILION, alpha=0.4, lw=0)
    curve.set(title="response", xlabel="light (stops; 0 is the photograph's white)", ylabel="luma Y (0 to 1)")
    curve.set(xlim=(-12, 5), ylim=(-0.02, 1.02))
    curve.legend(loc="upper left", bbox_to_anchor=(0, 0.95))
    levels.set(title="levels of 8 bits that each stop of light gets", xlabel="light (stops)", ylabel="levels")
    levels.set(xlim=(-12, 5), ylim=(0, None))
    return figure, f"Response curves and levels per stop of two exposures: {'; '.join(peaks)}."


@style.styled
def two_levels(
    corners: Tensor, goal: Tensor, mix: Tensor, losses: Function, judge: Function, descent: Tensor
) -> style.Drawn:
    """Draw both levels of the triangle: the mixed loss that trains omega, and the judge of what it finds."""
    figure = style.new_figure(4.0, "Two levels: training goes to ω*, the search moves ω* to the goal")
    lower, upper = figure.subplots(1, 2, sharex=True, sharey=True)
    x, y = np.meshgrid(np.linspace(-0.4, 2.4, 57), np.linspace(-1.2, 1.8, 61))
    points = torch.from_numpy(np.stack([x, y], axis=-1).reshape(-1, 2))
    for axes, value in ((lower, lambda w: (mix * losses(w)).sum()), (upper, judge)):
        heights = torch.stack([value(point) for point in points]).reshape(x.shape).numpy()
        axes.contour(x, y, heights, 10, colors=style.GRAY, linewidths=0.7, alpha=0.7)
        _triangle(axes, corners, goal)
    solved = mix @ corners
    lower.plot(*descent.T, ".-", color=style.BLUE, lw=1.2, ms=4, label="training: ω")
    lower.plot(*solved, "o", color=style.VERMILION, ms=8, label="ω* of this mixture")
    lower.set_title("lower level: the mixed loss, β fixed")
    upper.plot(*solved, "o", color=style.VERMILION, ms=8, label="ω* of this mixture")
    arrow = {"arrowstyle": "-|>", "color": style.VERMILION, "lw": 1.8, "shrinkB": 7, "mutation_scale": 14}
    upper.annotate("", goal.tolist(), solved.tolist(), arrowprops=arrow)
    upper.set_title("upper level: the judge of ω*, moved by β")
    for axes in (lower, upper):
        axes.legend(loc="lower left", frameon=True, framealpha=0.9, edgecolor="none")
    alt = (
        "Two drawings of a triangle. Left: training runs down the mixed loss to ω* inside the triangle. Right: the "
        f"judge wants another point, {float((solved - goal).norm()):.2f} away, and β can move ω* there."
    )
    return figure, alt


def _triangle(axes: Axes, corners: Tensor, goal: Tensor) -> None:
    axes.fill(*corners.T, facecolor=style.PALE, edgecolor=style.GRAY, alpha=0.6, zorder=0)
    centre = corners.mean(0)
    for number, corner in enumerate(corners, start=1):
        axes.plot(*corner, "s", color=style.BLACK, ms=5)
        x, y = (corner + 0.16 * (corner - centre) / (corner - centre).norm()).tolist()
        axes.text(x, y, f"$c_{number}$", ha="center", va="center")
    axes.plot(*goal, "*", color=style.GREEN, ms=15, mec="white", label="goal", zorder=4)
    axes.set(xlabel=r"$\omega_1$", ylabel=r"$\omega_2$", aspect="equal", xlim=(-0.4, 2.4), ylim=(-1.2, 1.8))


@style.styled
def unrolling_errors(exact: Tensor, unrolled: Mapping[float, Mapping[int, Tensor]]) -> style.Drawn:
    """Draw how far unrolled hypergradients are from the exact one: in all, and in direction alone."""
    figure = style.new_figure(3.7, "Unrolled hypergradients against the exact one, over the number of steps")
    length, angle = figure.subplots(1, 2)
    said = []
    for colour, (rate, by_steps) in zip(_LINES, unrolled.items(), strict=False):
        steps, found = list(by_steps), torch.stack(list(by_steps.values()))
        errors = (found - exact).norm(dim=1) / exact.norm()
        cosines = torch.cosine_similarity(found, exact[None], dim=1).clamp(-1, 1)
        length.loglog(steps, errors, "o-", ms=3.5, color=colour, label=f"ξ = {rate:g}")
        angle.semilogx(steps, torch.rad2deg(cosines.acos()), "o-", ms=3.5, color=colour, label=f"ξ = {rate:g}")
        said.append(f"ξ = {rate:g}: {float(errors[0]):.2g} after 1 step, {float(errors[-1]):.2g} after {steps[-1]}")
    length.axhline(1, color=style.GRAY, ls="--", lw=1, label="no gradient at all")
    length.set(title="relative error", xlabel="unrolled steps", ylabel="|unrolled - exact| / |exact|")
    length.set_ylim(1e-5, 1e3)
    length.legend(loc="lower left")
    angle.axhline(90, color=style.GRAY, ls="--", lw=1)
    angle.text(steps[-1], 94, "above: uphill", color=style.GRAY, fontsize=8.5, ha="right")
    angle.set(title="angle to the exact one", xlabel="unrolled steps", ylabel="degrees", ylim=(0, 180))
    return figure, f"Relative error and angle of unrolled hypergradients over the number of steps. {'; '.join(said)}."


@style.styled
def radius_errors(
    radii: Sequence[float], errors: Mapping[str, Sequence[float]], *, used: float, kink: float
) -> style.Drawn:
    """Draw the relative error of a finite difference over its radius."""
    figure = style.new_figure(3.4, width=0.75 * style.WIDTH)
    axes = figure.subplots()
    floor = 1e-13
    for colour, (name, values) in zip(_LINES, errors.items(), strict=False):
        axes.loglog(radii, np.maximum(values, floor), "o-", ms=3.5, color=colour, label=name)
    for place_, text in ((used, "released code"), (kink, "distance to the kink")):
        axes.axvline(place_, color=style.GRAY, ls=":", lw=1.2)
        axes.text(place_, 30, f" {text}", color=style.GRAY, fontsize=8.5, va="top")
    axes.set(xlabel="radius (length of the step in ω)", ylabel="relative error", ylim=(floor / 3, 60))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    style.entitle(figure, "A finite difference has a radius; the exact derivative has none")
    nearest = min(range(len(radii)), key=lambda i: abs(np.log(radii[i] / used)))
    said = "; ".join(f"{name}: {values[nearest]:.2g}" for name, values in errors.items())
    return figure, f"Relative error of a central difference over its radius. At {radii[nearest]:.2g}: {said}."


@style.styled
def search_paths(corners: Tensor, goal: Tensor, paths: Mapping[str, Tensor]) -> style.Drawn:
    """Draw searches on the triangle: the path of omega for each, and the distance to the solution over the steps."""
    figure = style.new_figure(6.6, "Searches on the triangle: the path of ω, and its distance to the goal")
    grid = figure.add_gridspec(2, len(paths), height_ratios=[3.9, 2.3])
    below, said = figure.add_subplot(grid[1, :]), []
    for column, (colour, (name, path)) in enumerate(zip(_LINES, paths.items(), strict=False)):
        axes = figure.add_subplot(grid[0, column])
        _triangle(axes, corners, goal)
        axes.plot(*path.T, color=colour, lw=1.1)
        axes.plot(*path[0], "o", color=colour, ms=5)
        axes.text(float(path[0, 0]) - 0.1, float(path[0, 1]), "start", ha="right", va="center", fontsize=8.5)
        axes.set_title(name)
        if column:
            axes.set_ylabel("")
        distances = (path - goal).norm(dim=1)
        below.semilogy(range(len(path)), distances.clamp_min(1e-9), color=colour, lw=1.5, label=name)
        late = distances[-len(path) // 5 :].max()
        said.append(f"{name}: at most {float(late):.1g} away in the last fifth")
    below.set(xlabel="step of the search", ylabel="distance of ω to the goal", xlim=(0, None))
    below.legend(loc="lower left", ncols=len(paths))
    return figure, f"Paths of searches in a triangle and their distance to the known solution. {'; '.join(said)}."
