"""Auditing a paper: what its released code does differently, measured and drawn.

Facts about that code come from reading and running RollingPlain/HSDS_MEF at 601166f; here they are reproduced by the
library's modules called ``released``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from hsds_lib.course import style
from hsds_lib.images.color import fuse_chroma, merge_luma, split_luma
from hsds_lib.released import color as released_color
from hsds_lib.released.terms import PerceptualVGG

DEAD_SHARE = 1e-6
"""A term whose gradient is below this share of the median one counts as dead: it is rounding, not a slope."""


def random_perceptual_vgg(seed: int = 0) -> PerceptualVGG:
    """Give the released perceptual network seeded He-normal convolutions and neutral batch norms."""
    rng, vgg = torch.Generator().manual_seed(seed), PerceptualVGG()
    for name, value in vgg.state_dict().items():
        if value.dim() == 4:
            value.normal_(0, math.sqrt(2 / value[0].numel()), generator=rng)
        else:
            value.fill_(name.startswith("norms") and name.endswith(("weight", "running_var")))
    return vgg


def gradient_norms(terms: Mapping[str, Tensor], image: Tensor) -> dict[str, float]:
    """Measure the norm of the gradient of every term with respect to ``image``, a leaf of its graph."""
    return {
        name: float(torch.autograd.grad(value, image, retain_graph=True)[0].norm()) for name, value in terms.items()
    }


def dead_terms(norms: Mapping[str, float]) -> list[str]:
    """Name the terms that no optimiser can feel: those at or below ``DEAD_SHARE`` of the median."""
    limit = DEAD_SHARE * median(norms.values())
    return [name for name, norm in norms.items() if norm <= limit]


@style.styled
def gradient_comparison(
    picture: Tensor, normalised: Tensor, here: Mapping[str, float], released: Mapping[str, float], *, features: str = ""
) -> style.Drawn:
    """Draw which loss terms are alive, here and in the released code, beside what the latter's VGG is shown."""
    figure = style.new_figure(5.2)
    grid = figure.add_gridspec(2, 2, width_ratios=[1, 2.7])
    for row, (image, title) in enumerate(((picture, "fused luma"), (normalised, "what its VGG sees"))):
        _gray(figure.add_subplot(grid[row, 0]), image, title)
    axes = figure.add_subplot(grid[:, 1])
    dead = dead_terms(released)
    alive = [norms[name] for norms in (here, released) for name in norms if name not in dead_terms(norms)]
    low = min(alive) / 30
    for row, name in enumerate(here):
        ends = [max(norms[name], low) for norms in (here, released)]
        axes.plot(ends, [row, row], color=style.VERMILION if name in dead else style.PALE, lw=1.6, zorder=1)
    rows = {name: row for row, name in enumerate(here)}
    axes.plot([max(here[name], low) for name in rows], list(rows.values()), "o", color=style.BLUE, ms=7, label="here")
    others = [name for name in rows if name not in dead]
    axes.plot(
        [released[n] for n in others], [rows[n] for n in others], "s", color=style.ORANGE, ms=6, label="released code"
    )
    axes.plot(
        [low] * len(dead),
        [rows[n] for n in dead],
        "X",
        color=style.VERMILION,
        ms=10,
        label="released code: zero (at the edge)",
    )
    axes.set(xscale="log", xlabel="norm of the gradient with respect to the fused luma (logarithmic)")
    axes.set_yticks(range(len(rows)), list(rows))
    axes.invert_yaxis()
    axes.grid(axis="x", color=style.PALE, lw=0.8)
    axes.set_axisbelow(True)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    style.entitle(figure, f"{len(dead)} of {len(rows)} released losses cannot be felt by any optimiser")
    alt = (
        f"Gradient norms of {len(rows)} loss terms. In the released code {len(dead)} are dead: {', '.join(dead)}. "
        f"Here {len(dead_terms(here)) or 'none'} are. Beside them a gray picture, and the uniform gray that the "
        "released perceptual network makes of it."
    )
    return figure, alt + style.feature_note(figure, features)


def _gray(axes: Axes, image: Tensor, title: str) -> None:
    axes.imshow(image.detach().numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[], title=title)


@style.styled
def kink_errors(
    panels: Mapping[str, Mapping[str, Sequence[float]]], radii: Sequence[float], *, released: float, features: str = ""
) -> style.Drawn:
    """Draw how wrong finite differences are, against their radius."""
    figure = style.new_figure(3.5, "A finite difference steps over kinks")
    said = []
    for axes, (title, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for (name, errors), (colour, mark) in zip(
            lines.items(), ((style.BLUE, "o-"), (style.ORANGE, "s-"), (style.GREEN, "^-")), strict=False
        ):
            axes.plot(radii, np.maximum(errors, 1e-16), mark, color=colour, lw=1.8, ms=5, label=name)
            said.append(f"{title}, {name}: {errors[_nearest(radii, released)]:.0%} at {released:g}")
        axes.axvline(released, color=style.VERMILION, ls="--", lw=1.2, label=f"released radius {released:g}")
        axes.axhline(1, color=style.GRAY, lw=0.8)
        axes.set(xscale="log", yscale="log", title=title, xlabel="radius", ylabel="relative error (1: all wrong)")
        axes.invert_xaxis()
        axes.grid(color=style.PALE, lw=0.8)
        axes.legend(loc="upper right", bbox_to_anchor=(1, 0.98))
    return figure, f"Relative errors of finite differences. {'; '.join(said)}." + style.feature_note(figure, features)


def _nearest(values: Sequence[float], wanted: float) -> int:
    return min(range(len(values)), key=lambda place: abs(math.log(values[place] / wanted)))


def truncation_errors() -> Tensor:
    """Give fused chroma minus its exact mean in levels, for all pairs of 256, when the mean is truncated."""
    level = torch.arange(256, dtype=torch.float64)
    mean = released_color.mean_chroma_level(*torch.meshgrid(level, level, indexing="ij"))
    return mean.floor() - mean


@style.styled
def chroma_bias() -> style.Drawn:
    """Draw what truncation does to chroma, and what the offset 0.5 does to a neutral 8-bit gray."""
    figure = style.new_figure(3.2, "Two small biases of the released colour")
    left, right = figure.subplots(1, 2, width_ratios=[1.4, 1])
    truncated = truncation_errors()
    rounded = truncated - (truncated + 0.5).floor()  # to the nearest level instead
    bins = np.linspace(-1.05, 0.55, 33)
    for errors, colour, name in ((rounded, style.BLUE, "rounded"), (truncated, style.ORANGE, "truncated (released)")):
        share = np.histogram(errors.numpy(), bins)[0] / errors.numel()
        label = f"{name}, mean {_signed([errors.mean().item()])}"
        left.stairs(100 * share, bins, fill=True, color=colour, alpha=0.45, label=label)
        left.axvline(errors.mean().item(), color=colour, lw=2)
    left.set(title="fused chroma minus its exact mean", xlabel="levels of 255", ylabel="share of all pairs (%)")
    left.legend(loc="upper left")
    casts = neutral_casts()
    for place, (name, values) in enumerate(casts.items()):
        right.text(1 + 4 * place, -0.95, name, ha="center", color=style.GRAY)
        for x, value, colour in zip(
            range(4 * place, 4 * place + 3), values, (style.VERMILION, style.GREEN, style.SKY), strict=True
        ):
            right.bar(x, value, color=colour, width=0.8)
            right.text(x, value, _signed([value]), ha="center", va="bottom" if value >= 0 else "top", fontsize=8.5)
    right.set_xticks([*range(3), *range(4, 7)], ["R", "G", "B"] * 2)
    right.set(title="a neutral 8-bit gray comes back as", ylabel="shift in levels", ylim=(-1, 1.3))
    right.axhline(0, color=style.BLACK, lw=0.8)
    right.set_xlabel("channel")
    alt = (
        f"Truncation shifts chroma by {truncated.mean().item():.2f} levels on average, rounding by "
        f"{abs(rounded.mean().item()):.2f}. A neutral gray shifts by {_signed(casts['released'])} levels in R, G and B."
    )
    return figure, alt


def neutral_casts(level: int = 128) -> dict[str, list[float]]:
    """Fuse the chroma of a gray pixel with itself: the shift of R, G and B in levels, ``released`` and ``here``."""
    y, cbcr = split_luma(torch.full((1, 3, 1, 1), level / 255, dtype=torch.float64))
    results = {
        "released": released_color.merge_luma(y, released_color.fuse_chroma(cbcr, cbcr)),
        "here": merge_luma(y, fuse_chroma(cbcr, cbcr)),
    }
    return {name: (255 * rgb.flatten() - level).tolist() for name, rgb in results.items()}


def _signed(values: Sequence[float]) -> str:
    return ", ".join(f"{round(value, 2) + 0.0:+.2f}" for value in values)  # + 0.0: no minus zero


@style.styled
def rank_changes(scores: Mapping[str, Mapping[str, tuple[float, float]]], *, title: str) -> style.Drawn:
    """Draw how pictures are ranked by a metric as published and by its correct form; lines that cross disagree."""
    figure = style.new_figure(3.1, title)
    said = []
    for axes, (metric, values) in zip(figure.subplots(1, len(scores), squeeze=False)[0], scores.items(), strict=True):
        ranks = [sorted(values, key=lambda name: -values[name][form]) for form in (0, 1)]
        for name, colour in zip(
            values, (style.VERMILION, style.BLUE, style.ORANGE, style.GREEN, style.PURPLE), strict=False
        ):
            ends = [order.index(name) + 1 for order in ranks]
            axes.plot((0, 1), ends, "o-", color=colour, lw=2.4, ms=8)
            for form, (side, gap) in enumerate((("right", -0.07), ("left", 0.07))):
                text = f"{name} {values[name][form]:.4g}"
                axes.text(form + gap, ends[form], text, ha=side, va="center", fontsize=8.5, color=colour)
        axes.set_xticks((0, 1), ("as published", "correct"))
        axes.set_yticks(range(1, len(values) + 1))
        axes.set(title=metric, xlim=(-1.25, 2.25), ylim=(len(values) + 0.4, 0.6), xlabel="arithmetic")
        said.append(f"{metric}: {' > '.join(ranks[0])} as published, {' > '.join(ranks[1])} correctly")
    figure.axes[0].set_ylabel("rank (1 is best)")
    return figure, f"{title}. {'; '.join(said)}."


DEVIATIONS: tuple[tuple[str, str, str, str], ...] = (
    (
        "Algorithm 1 line 3 has no step size",
        "Adam, 2e-4",
        "beta's gradient is proportional to it",
        "search.dual.DualSearch",
    ),
    (
        "Algorithm 1 line 5: first order",
        "exact, through one Adam step (second moment fixed)",
        "a first-order gradient is identically zero",
        "search.hypergradient.beta_gradient",
    ),
    (
        "Algorithm 1 lines 8-13: until P are left",
        "at most one removal per node and step",
        "as written the loop need not end",
        "search.wsras.prune_step",
    ),
    (
        "Eq. 3: the source images are the negatives",
        "in Gamma_N those of other scenes, as released",
        "with its own, noise is better than the reference",
        "losses.contrast.gamma_n",
    ),
    (
        "theta, P, initial values not given",
        "theta 0.05 (tiny 0.06), P 2, logits 0",
        "design decisions",
        "config.SearchConfig",
    ),
    ("Table 1 row 5: -PSNR", "-PSNR / 40", "it would drown the other 18 terms", "losses.terms.PSNR_SCALE"),
    (
        "ImageNet VGG-16 (torchvision's)",
        "Oxford's ImageNet weights, layers of mean activation 1; perceptual terms / 100",
        "free to ship; the terms stay of the size of the others",
        "losses.features.load_vgg16",
    ),
    (
        "running statistics of the Retinex nodes not given",
        "tiny, lesson: one set per iteration; paper: one set",
        "the three distributions differ",
        "network.operations.BatchNorm",
    ),
    (
        "references chosen by people",
        "without references: the best of classical fusions by MEF-SSIM",
        "people are not at hand",
        "runs.scenes.attach_references",
    ),
    (
        "colour handling not given",
        "luma is fused; chroma is weighted by its distance from neutral, and made paler where it would leave RGB",
        "as released, without the rounding bias and without clipping, which changes luma",
        "images.color.colourise",
    ),
)
"""What the paper says, what is done here, why, and the place below ``hsds_lib``."""
