"""Exercises of notebook 9: terms nobody feels, exact derivatives, truncated chroma, and integers that saturate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from hsds_lib.course.checks import Exercise, Mistake
from hsds_lib.released.color import mean_chroma_level

Function = Callable[[Tensor], Tensor]


def _saturating_sd(gray: Tensor) -> float:
    above = torch.floor(gray - gray.mean() + 0.5).clamp(0, 255)
    return float(above.square().clamp(max=255).mean().sqrt())


def _gray_cases(rng: torch.Generator) -> Iterable[tuple[Tensor]]:
    for scale in (2, 12, 60):
        yield ((128 + scale * torch.randn(9, 11, generator=rng, dtype=torch.float64)).round().clamp(0, 255),)
    yield (torch.tensor([[0.0, 255.0], [255.0, 255.0]], dtype=torch.float64),)


def _dead(terms: Mapping[str, Function], image: Tensor) -> list[str]:
    x = image.clone().requires_grad_()
    return [name for name, term in terms.items() if not torch.autograd.grad(term(x), x)[0].any()]


def _no_sum(terms: Mapping[str, Function], image: Tensor) -> list[str]:
    x = image.clone().requires_grad_()
    return [name for name, term in terms.items() if torch.autograd.grad(term(x), x)[0].sum().abs() < 1e-9]


def _any_zero(terms: Mapping[str, Function], image: Tensor) -> list[str]:
    x = image.clone().requires_grad_()
    return [name for name, term in terms.items() if (torch.autograd.grad(term(x), x)[0] == 0).any()]


def _nearly_dead(terms: Mapping[str, Function], image: Tensor) -> list[str]:
    x = image.clone().requires_grad_()
    return [name for name, term in terms.items() if torch.autograd.grad(term(x), x)[0].norm() < 1e-6]


def _term_cases(rng: torch.Generator) -> Iterable[tuple[dict[str, Function], Tensor]]:
    variation: Function = lambda x: (x[1:] - x[:-1]).square().sum()  # noqa: E731
    contrast: Function = lambda x: 1 - (x - x.mean()).square().mean()  # noqa: E731
    flat: Function = lambda x: 0.081 + 0 * x.sum()  # noqa: E731
    levels: Function = lambda x: (x + (x.round() - x)).detach().sum() + 0 * x.mean()  # noqa: E731
    mean: Function = lambda x: (x - 0.5).abs().mean()  # noqa: E731
    nothing: Function = lambda x: 0 * x.square().mean()  # noqa: E731
    corner: Function = lambda x: x[0].square()  # noqa: E731  # most elements of its gradient are 0
    faint: Function = lambda x: 1e-8 * x.square().sum()  # noqa: E731
    for _ in range(3):
        image = torch.rand(8, generator=rng, dtype=torch.float64)
        yield {"variation": variation, "flat": flat, "mean": mean, "levels": levels, "contrast": contrast}, image
    yield {"nothing": nothing, "flat": flat, "mean": mean}, image
    yield {"corner": corner, "nothing": nothing, "faint": faint}, image


def _chroma_cases(rng: torch.Generator) -> Iterable[tuple[Tensor, Tensor]]:
    for _ in range(3):
        under, over = torch.randint(0, 256, (2, 60), generator=rng).double()
        # A mean halfway between two levels may be rounded either way.
        clear = (mean_chroma_level(under, over).frac() - 0.5).abs() > 1e-6
        yield under[clear], over[clear]
    yield torch.tensor([128.0, 128.0]).double(), torch.tensor([128.0, 140.0]).double()


def _directional(function: Function, x: Tensor, v: Tensor) -> Tensor:
    return torch.func.jvp(function, (x,), (v,))[1]


def _two_points(function: Function, x: Tensor, v: Tensor) -> Tensor:
    step = 0.01 / v.norm()
    return (function(x + step * v) - function(x - step * v)) / (2 * step)


def _kink_cases(rng: torch.Generator) -> Iterable[tuple[Function, Tensor, Tensor]]:
    for _ in range(3):
        x, v = torch.randn(2, 40, generator=rng, dtype=torch.float64)
        yield (lambda w: torch.stack([w.abs().mean(), w.relu().sum(), w.square().sum()])), 0.01 * x, v
    yield (lambda w: torch.stack([w.abs().mean(), w.relu().sum()])), 1e-9 * x, v  # kinks nearer than any usual radius


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        "9.1",
        _dead,
        "for each term, take torch.autograd.grad(term(x), x)[0] at a copy x that requires a gradient, and ask whether "
        "any element differs from 0.",
        cases=_term_cases,
        mistakes=[
            Mistake(
                lambda terms, image: [name for name, term in terms.items() if term(image) == 0],
                "That looks at the value. A term can be 0.081 for every picture, or 0 and alive.",
            ),
            Mistake(_no_sum, "Elements of a gradient cancel in a sum, as those of total variation do; ask for any()."),
            Mistake(
                _any_zero,
                "A term is dead if *all* elements of its gradient are 0; one pixel that does not count is fine.",
            ),
            Mistake(
                _nearly_dead, "A faint gradient is alive, and an optimiser such as Adam would make it large: ask for 0."
            ),
            Mistake(
                lambda terms, image: [name for name in terms if name not in _dead(terms, image)],
                "Those are the living ones; the dead are wanted.",
            ),
        ],
    ),
    Exercise(
        "9.2",
        _directional,
        "torch.func.jvp(function, (x,), (v,)) gives the value and the derivative along v.",
        cases=_kink_cases,
        mistakes=[
            Mistake(_two_points, "Two points 0.02 apart: between them lie kinks. Use torch.func.jvp."),
            Mistake(
                lambda function, x, v: (function(x + 1e-6 * v) - function(x - 1e-6 * v)) / 2e-6,
                "Closer points, but a kink can be closer still. Use torch.func.jvp.",
            ),
            Mistake(
                lambda function, x, v: _directional(function, x, v / v.norm()),
                "The derivative along v grows with v's length; do not normalise it.",
            ),
            Mistake(
                lambda function, x, v: _directional(function, x, torch.ones_like(v)),
                "That is the derivative along (1, ..., 1); v must come in.",
            ),
            Mistake(lambda f, x, v: f(x), "That is the value, the first result of jvp; the second is wanted."),
        ],
    ),
    Exercise(
        "9.3",
        lambda under, over: mean_chroma_level(under, over).round(),
        "mean_chroma_level gives the exact mean; which whole number is nearest to it?",
        cases=_chroma_cases,
        mistakes=[
            Mistake(lambda u, o: mean_chroma_level(u, o).floor(), "That truncates, as the released code does."),
            Mistake(lambda u, o: mean_chroma_level(u, o).ceil(), "Always upwards: the bias has changed its sign."),
            Mistake(
                lambda under, over: ((under + over) / 2).round(),
                "The two must be weighted by their distance from 128: use mean_chroma_level.",
            ),
            Mistake(
                lambda under, over: torch.where((under - 128).abs() > (over - 128).abs(), under, over),
                "That takes the more colourful of the two; a weighted mean is wanted.",
            ),
        ],
        atol=1e-3,
    ),
    Exercise(
        "9.4",
        _saturating_sd,
        "four steps: subtract the mean, round to whole numbers, keep each within 0..255; then square, and keep each "
        "square within 0..255; then the root of the mean.",
        cases=_gray_cases,
        mistakes=[
            Mistake(lambda gray: float(gray.std(correction=0)), "That is the correct SD; the integers never came in."),
            Mistake(
                lambda gray: float(torch.floor(gray - gray.mean() + 0.5).clamp(0, 255).square().mean().sqrt()),
                "Negative differences are 0, good; but a square above 255 must stop at 255, too.",
            ),
            Mistake(
                lambda gray: float(torch.floor(gray - gray.mean() + 0.5).square().clamp(max=255).mean().sqrt()),
                "An unsigned integer has no minus: below the mean the difference counts as 0.",
            ),
            Mistake(
                lambda gray: float(
                    torch.floor(gray - gray.mean() + 0.5).clamp(0, 255).square().mean().sqrt().clamp(max=255**0.5)
                ),
                "The ceiling of 255 is on each single square, not on their mean.",
            ),
        ],
    ),
)
