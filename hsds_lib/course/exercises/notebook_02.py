"""The exercises of notebook 02: two losses, how two of them agree, and how they are mixed."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from hsds_lib.course.checks import Exercise, Mistake
from hsds_lib.course.image_descent import cosines
from hsds_lib.losses.mef_ssim import CONTRAST_CONSTANT, SIGMA, WINDOW, mef_ssim_single
from hsds_lib.losses.space import mixture, weighted_loss
from hsds_lib.losses.terms import TERM_NAMES, abs_sobel

Case = tuple[Tensor, ...]


def _window_loss(fused: Tensor, source: Tensor, window: Tensor) -> Tensor:
    # The window is the library's own, so its function for whole pictures answers for one window.
    return 1 - mef_ssim_single(fused[None, None], source[None, None])[0]


def _structure(fused: Tensor, source: Tensor, window: Tensor, *, centred: bool = True) -> Tensor:
    means = [(window * image).sum() if centred else 0.0 for image in (fused, source)]
    f, r = fused - means[0], source - means[1]
    above, below = 2 * (window * f * r).sum(), (window * (f * f + r * r)).sum()
    return (above + CONTRAST_CONSTANT) / (below + CONTRAST_CONSTANT)


def _without_two(fused: Tensor, source: Tensor, window: Tensor) -> Tensor:
    f, r = fused - (window * fused).sum(), source - (window * source).sum()
    above, below = (window * f * r).sum(), (window * (f * f + r * r)).sum()
    return 1 - (above + CONTRAST_CONSTANT) / (below + CONTRAST_CONSTANT)


def _with_luminance(fused: Tensor, source: Tensor, window: Tensor) -> Tensor:
    mean_f, mean_r = (window * fused).sum(), (window * source).sum()
    luminance = (2 * mean_f * mean_r + 0.01**2) / (mean_f**2 + mean_r**2 + 0.01**2)
    return 1 - luminance * _structure(fused, source, window)


def _gaussian_window() -> Tensor:
    offsets = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    bell = torch.exp(-offsets.square() / (2 * SIGMA**2))
    return torch.outer(bell, bell) / bell.sum() ** 2


def _windows(rng: torch.Generator) -> Iterable[Case]:
    pairs = [torch.rand(2, WINDOW, WINDOW, generator=rng, dtype=torch.float64) for _ in range(3)]
    return [(pair[0], 0.1 + 0.4 * pair[0] + 0.4 * pair[1], _gaussian_window()) for pair in pairs]


def _two_gradients(rng: torch.Generator) -> Iterable[Case]:
    pairs = [torch.randn(2, 1, 1, 5, 6, generator=rng) for _ in range(3)]
    return [(pair[0], 3 * pair[1] + share * pair[0]) for pair, share in zip(pairs, (0.0, 5.0, -5.0), strict=True)]


EXERCISES: tuple[Exercise, ...] = (
    Exercise(
        "2.1",
        _window_loss,
        "mean_f = (window * fused).sum(); then subtract the means, and build variances and covariance from the rest.",
        cases=_windows,
        mistakes=[
            Mistake(
                _with_luminance,
                "That is 1 - SSIM: it also compares the two means. MEF-SSIM keeps the factor of contrast and "
                "structure only.",
            ),
            Mistake(
                _structure,
                "That is the similarity itself, largest where the two agree. A loss must be small there: 1 minus it.",
            ),
            Mistake(
                lambda fused, source, window: 1 - _structure(fused, source, window, centred=False),
                "The means are still in your variances and covariance. Subtract them first, or an offset counts.",
            ),
            Mistake(
                lambda fused, source, window: (
                    1 - _structure(fused, source, torch.full_like(window, 1 / window.numel()))
                ),
                "You weigh all pixels of the window alike. Use the weights in `window`: the middle counts most.",
            ),
            Mistake(
                lambda fused, source, window: (
                    1 - _structure(fused - fused.mean(), source - source.mean(), window, centred=False)
                ),
                "You subtract the plain means. The means of the window are weighted too: (window * fused).sum().",
            ),
            Mistake(
                _without_two, "A factor is missing: of two equal windows the ratio must be 1, so it is 2 covariances."
            ),
        ],
    ),
    Exercise(
        "2.2",
        lambda fused, under, over: (abs_sobel(fused) - torch.maximum(abs_sobel(under), abs_sobel(over))).abs().mean(),
        "take edges(...) of all three pictures first; torch.maximum chooses the larger of two, pixel by pixel.",
        cases=lambda rng: [tuple(torch.rand(3, 1, 1, 12, 15, generator=rng)) for _ in range(3)],
        mistakes=[
            Mistake(
                lambda fused, under, over: (abs_sobel(fused) - (abs_sobel(under) + abs_sobel(over)) / 2).abs().mean(),
                "You compare with the average of the two edge strengths. An edge that only one exposure has would be "
                "wanted at half its strength; Table 1 takes the larger of the two.",
            ),
            Mistake(
                lambda fused, under, over: (abs_sobel(fused) - abs_sobel(torch.maximum(under, over))).abs().mean(),
                "You take the larger of the two pictures, and then its edges. The brighter pixel is mostly that of "
                "the over-exposed picture, so its burnt-out, flat areas would win. First edges, then the maximum.",
            ),
            Mistake(
                lambda fused, under, over: (abs_sobel(fused) - torch.maximum(abs_sobel(under), abs_sobel(over))).mean(),
                "The absolute value around the difference is missing: too weak edges here and too strong ones there "
                "cancel, and a picture without any edge gets the lowest loss of all.",
            ),
            Mistake(
                lambda fused, under, over: (
                    (abs_sobel(fused) - torch.maximum(abs_sobel(under), abs_sobel(over))).square().mean()
                ),
                "You square the differences. The norm of Table 1 row 3 has a 1 below it: absolute differences.",
            ),
        ],
    ),
    Exercise(
        "2.3",
        lambda first, second: cosines(torch.stack([first, second]))[0, 1],
        "the cosine is the sum of the products of the entries, divided by both lengths; a length is the root of the "
        "sum of all squares.",
        cases=_two_gradients,
        mistakes=[
            Mistake(
                lambda first, second: (first * second).sum(),
                "That is the inner product. It grows with the size of the gradients; divide by both lengths, and "
                "only the directions are left.",
            ),
            Mistake(
                lambda first, second: torch.cosine_similarity(first, second, dim=-1).mean(),
                "You take a cosine for every row of pixels, and average. A gradient is one vector with as many "
                "entries as the picture has pixels: flatten it first.",
            ),
            Mistake(
                lambda first, second: torch.cosine_similarity(first.flatten(), second.flatten(), dim=0).abs(),
                "The sign is lost. It is the point: negative means that one loss rises where the other falls.",
            ),
        ],
    ),
    Exercise(
        "2.4",
        lambda beta, terms: weighted_loss(terms, mixture(beta)),
        "torch.softmax(beta, dim=0) turns logits into weights.",
        cases=lambda rng: [
            (2 * torch.randn(size, generator=rng) + 1, torch.rand(size, generator=rng))
            for size in (3, len(TERM_NAMES), len(TERM_NAMES))
        ],
        mistakes=[
            Mistake(
                lambda beta, terms: (beta * terms).sum(),
                "You weigh by the logits themselves. They may be negative, and then a loss would be rewarded for "
                "growing; the weights are their softmax.",
            ),
            Mistake(
                lambda beta, terms: (beta / beta.sum() * terms).sum(),
                "Logits divided by their sum need not be positive. Softmax takes exponentials first.",
            ),
            Mistake(
                lambda beta, terms: (torch.softmax(beta, dim=0) * terms).mean(),
                "The weights have the sum 1 already. With a mean in place of the sum the loss is divided by the "
                "number of terms once more.",
            ),
            Mistake(
                lambda beta, terms: torch.softmax(beta * terms, dim=0).sum(),
                "Softmax belongs to the logits alone; the terms are multiplied by its result. (A softmax has the sum "
                "1, whatever is in it.)",
            ),
        ],
    ),
)
