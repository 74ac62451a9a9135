"""The 19 candidate losses of Table 1, as one vector, and what they compare the fused image with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from kornia.filters import spatial_gradient
from kornia.metrics import ssim
from torch import Tensor

from hsds_lib.images.batches import Batch
from hsds_lib.images.color import merge_luma, split_luma
from hsds_lib.losses.features import CONTRAST_LAYERS, PERCEPTUAL_LAYERS, VGG16, Features, Trace
from hsds_lib.losses.mef_ssim import WINDOW, contrast_structure
from hsds_lib.losses.pair_terms import PAIR_TERMS, Prepared, pair_values, prepare_pair_terms

_ANGLE_FLOOR = 1e-6


def abs_sobel(image: Tensor) -> Tensor:
    """Give ``|d/dx| + |d/dy|`` of ``(B, C, H, W)`` by Sobel filters, edges repeated: the gradient of Table 1 row 3.

    The kernels are kornia's normalised ones: a horizontal ramp of slope s per pixel gives s.
    """
    return spatial_gradient(image, mode="sobel", normalized=True).abs().sum(dim=2)


def colour_angle(first_rgb: Tensor, second_rgb: Tensor) -> Tensor:
    """Give the angle between two colours at each pixel, by the two-argument arctangent: Table 1 row 6.

    Two ``(B, 3, H, W)``, which may leave [0, 1], to ``(B, H, W)`` in radians, 0 to pi. The slope is finite everywhere:
    black has the angle 0 to every colour, and parallel colours the slope 0.
    """
    sine_square = torch.linalg.cross(first_rgb, second_rgb, dim=1).square().sum(dim=1)
    # Smoothed by the floor, and exactly 0 where the colours are parallel.
    sine = torch.sqrt(sine_square + _ANGLE_FLOOR**2) - _ANGLE_FLOOR
    cosine = (first_rgb * second_rgb).sum(dim=1) + _ANGLE_FLOOR
    # Colours of opposite direction can cancel the floor; the angle has no slope at that one point.
    defined = sine.square() + cosine.square() > 0.25 * _ANGLE_FLOOR**2
    one, zero = torch.ones_like(cosine), torch.zeros_like(cosine)
    return torch.atan2(torch.where(defined, sine, zero), torch.where(defined, cosine, one))


IMAGES = ("ref", "under", "over")  # the candidate set of R in Table 1
TERM_NAMES: tuple[str, ...] = (
    *(f"{kind}_{image}" for kind in ("l1", "mse", "ssim", "mefssim") for image in IMAGES),
    "grad",
    *(f"perceptual_{image}" for image in IMAGES),
    "psnr_ref",
    "colour_ref",
    "tv",
)
PSNR_SCALE = 1.0 / 40.0  # so that the dB do not drown the other terms
# So that the slopes of the perceptual terms, of features of mean 1, are of the size of SSIM's: at the picture of
# `default` the norms of their gradients are .011 to .028 on two embedded scenes, those of SSIM's .028 to .056.
PERCEPTUAL_SCALE = 1.0 / 100.0
PSNR_FLOOR = 1e-8  # mean square error that counts as perfect: 80 dB


@dataclass(frozen=True)
class Targets:
    """Everything the losses need that does not depend on the fused image; one per batch, made once."""

    images: Tensor  # luminance of reference, under- and over-exposed image as channels, (B, 3, H, W)
    chroma: Tensor  # fused chroma of the pair, (B, 2, H, W), neutral at 0.5
    ref_rgb: Tensor  # (B, 3, H, W)
    gradient: Tensor  # larger abs-Sobel of the two exposures, (B, 1, H, W)
    ref_features: Features
    under_features: Features
    over_features: Features
    natural_features: Features | None = None  # contrast layers only; None without contrast
    pair: Prepared = field(default_factory=dict)  # for the terms of the extended space that were asked for

    @property
    def ref_y(self) -> Tensor:
        """Luminance of the reference, ``(B, 1, H, W)``."""
        return self.images[:, 0:1]

    @property
    def under_y(self) -> Tensor:
        """Luminance of the under-exposed image, ``(B, 1, H, W)``."""
        return self.images[:, 1:2]

    @property
    def over_y(self) -> Tensor:
        """Luminance of the over-exposed image, ``(B, 1, H, W)``."""
        return self.images[:, 2:3]


@torch.no_grad()
def prepare_targets(batch: Batch, vgg: VGG16 | None, *, contrast: bool, names: Sequence[str] = TERM_NAMES) -> Targets:
    """Encode the images of a batch once, for any number of calls of ``term_vector`` and of the contrast.

    Without any gradient. The network, of the batch's device and dtype, may be None if neither contrast nor perceptual
    terms are among ``names``. ValueError if it is needed and not given, or a name is unknown.
    """
    _check_names(names)
    luma = [split_luma(image)[0] for image in (batch.ref, batch.under, batch.over)]
    gradient = torch.maximum(abs_sobel(luma[1]), abs_sobel(luma[2]))
    perceptual = any(name.startswith("perceptual_") for name in names)
    layers = (*(PERCEPTUAL_LAYERS if perceptual else ()), *(CONTRAST_LAYERS if contrast else ()))
    features: list[Features] = [{}, {}, {}]
    natural = None
    if layers:
        if vgg is None:
            raise ValueError("perceptual terms and contrast need features; give vgg, from load_vgg16()")
        # One pass for the three: fewer, larger convolutions.
        encoded = {layer: value.chunk(3) for layer, value in vgg(torch.cat(luma), layers).items()}
        features = [{layer: parts[i] for layer, parts in encoded.items()} for i in range(3)]
        natural = vgg(split_luma(batch.natural)[0], CONTRAST_LAYERS) if contrast else None
    return Targets(
        images=torch.cat(luma, dim=1),
        chroma=batch.chroma,
        ref_rgb=batch.ref,
        gradient=gradient,
        ref_features=features[0],
        under_features=features[1],
        over_features=features[2],
        natural_features=natural,
        pair=prepare_pair_terms(torch.cat(luma[1:], dim=1), names),
    )


def encode_fused(fused_y: Tensor, vgg: VGG16, *, contrast: bool, trace: Trace | None = None) -> Features:
    """Encode a fused luminance in one pass, for ``term_vector(..., features=...)`` and, if asked, the contrast.

    Gradients flow through; a trace, if given, is filled with what forward mode needs.
    """
    return vgg(fused_y, (*PERCEPTUAL_LAYERS, *CONTRAST_LAYERS) if contrast else PERCEPTUAL_LAYERS, trace=trace)


def term_vector(
    fused_y: Tensor,
    targets: Targets,
    vgg: VGG16 | None = None,
    *,
    features: Features | None = None,
    names: Sequence[str] = TERM_NAMES,
) -> Tensor:
    """Evaluate candidate losses of Table 1, and of the extended space, on a batch: ``(len(names),)``.

    Each term is taken per item and then averaged over the batch, so a batch of two equals two batches of one. All terms
    are smaller for a better image; none is clamped, and each has a gradient on colour input. ``fused_y`` is luminance
    ``(B, 1, H, W)``, nominally in [0, 1]; the network is not needed when ``features`` of it are given or no perceptual
    term is asked for. ValueError for an unknown name, a shape that does not fit, or missing features.

    Example:
        >>> batch = Batch(*(torch.full((1, 3, 16, 16), level) for level in (0.2, 0.8, 0.5, 0.5)))
        >>> names = ("l1_ref", "mse_under", "tv")
        >>> targets = prepare_targets(batch, None, contrast=False, names=names)
        >>> term_vector(torch.full((1, 1, 16, 16), 0.6), targets, names=names)
        tensor([0.1000, 0.1600, 0.0000])
    """
    _check_names(names)
    expected = targets.images[:, :1].shape
    if fused_y.shape != expected:
        raise ValueError(f"the fused luminance has shape {tuple(fused_y.shape)}; the targets are for {tuple(expected)}")
    if features is None and any(name.startswith("perceptual_") for name in names):
        if vgg is None:
            raise ValueError("the perceptual terms need features; give vgg or features of the fused image")
        features = encode_fused(fused_y, vgg, contrast=False)
    values: dict[str, Tensor] = {}
    for members, group in _GROUPS:
        if members.intersection(names):
            values.update(group(fused_y, targets, features))
    values.update(pair_values(fused_y, targets.images[:, 1:], targets.pair, names))
    return torch.stack([values[name] for name in names]).mean(dim=1)


_Group = Callable[[Tensor, Targets, "Features | None"], dict[str, Tensor]]


def _named(kind: str, values: Tensor) -> dict[str, Tensor]:
    """Name the columns of ``(B, 3)`` values after the three images."""
    return {f"{kind}_{image}": values[:, i] for i, image in enumerate(IMAGES)}


def _pixel_terms(fused: Tensor, targets: Targets, features: Features | None) -> dict[str, Tensor]:
    """Table 1 rows 1 and 5: mean absolute and squared difference, and the PSNR."""
    difference = fused - targets.images
    square = difference.square().mean(dim=(2, 3))
    psnr = -10.0 * torch.log10(square[:, 0] + PSNR_FLOOR)
    absolute = difference.abs().mean(dim=(2, 3))
    return {**_named("l1", absolute), **_named("mse", square), "psnr_ref": -PSNR_SCALE * psnr}


def _ssim_terms(fused: Tensor, targets: Targets, features: Features | None) -> dict[str, Tensor]:
    """Table 1 row 2: 1 - SSIM."""
    if min(fused.shape[2:]) < WINDOW:
        height, width = fused.shape[2:]
        raise ValueError(f"SSIM got {height} x {width} pixels, but needs at least {WINDOW} on each side")
    # 'valid': no invented border, and the same windows as MEF-SSIM. eps 0: the constants keep it finite.
    fused_thrice = fused.expand_as(targets.images)
    maps = ssim(fused_thrice, targets.images, WINDOW, max_val=1.0, eps=0.0, padding="valid")
    return _named("ssim", 1.0 - maps.mean(dim=(2, 3)))


def _mefssim_terms(fused: Tensor, targets: Targets, features: Features | None) -> dict[str, Tensor]:
    """Table 1 row 2: 1 - MEF-SSIM against one image each."""
    return _named("mefssim", 1.0 - contrast_structure(fused, targets.images))


def _gradient_term(fused: Tensor, targets: Targets, features: Features | None) -> dict[str, Tensor]:
    """Table 1 row 3: distance to the stronger edges of the two exposures."""
    return {"grad": (abs_sobel(fused) - targets.gradient).abs().mean(dim=(1, 2, 3))}


def _perceptual_terms(fused: Tensor, targets: Targets, features: Features | None) -> dict[str, Tensor]:
    """Table 1 row 4: distance of VGG-16 features, scaled."""
    values, given = {}, features or {}
    for image in IMAGES:
        wanted: Features = getattr(targets, f"{image}_features")
        missing = [k for k in PERCEPTUAL_LAYERS if k not in given or k not in wanted]
        if missing:
            raise ValueError(f"features of {', '.join(missing)} are missing (fused or targets); encode them")
        distances = [(given[k] - wanted[k]).square().mean(dim=(1, 2, 3)) for k in PERCEPTUAL_LAYERS]
        values[f"perceptual_{image}"] = PERCEPTUAL_SCALE * torch.stack(distances).mean(dim=0)
    return values


def _colour_term(fused: Tensor, targets: Targets, features: Features | None) -> dict[str, Tensor]:
    """Table 1 row 6: angle between the colours of fused image and reference."""
    angle = colour_angle(merge_luma(fused, targets.chroma), targets.ref_rgb)
    return {"colour_ref": angle.mean(dim=(1, 2))}


def _variation_term(fused: Tensor, targets: Targets, features: Features | None) -> dict[str, Tensor]:
    """Table 1 row 7: total variation."""
    down = (fused[:, :, 1:] - fused[:, :, :-1]).square().sum(dim=(1, 2, 3))
    right = (fused[:, :, :, 1:] - fused[:, :, :, :-1]).square().sum(dim=(1, 2, 3))
    return {"tv": (down + right) / (fused.shape[2] * fused.shape[3])}


def _kind(kind: str) -> frozenset[str]:
    return frozenset(f"{kind}_{image}" for image in IMAGES)


_GROUPS: tuple[tuple[frozenset[str], _Group], ...] = (
    (_kind("l1") | _kind("mse") | {"psnr_ref"}, _pixel_terms),
    (_kind("ssim"), _ssim_terms),
    (_kind("mefssim"), _mefssim_terms),
    (frozenset({"grad"}), _gradient_term),
    (_kind("perceptual"), _perceptual_terms),
    (frozenset({"colour_ref"}), _colour_term),
    (frozenset({"tv"}), _variation_term),
)


def _check_names(names: Sequence[str]) -> None:
    known = {name for members, _ in _GROUPS for name in members}.union(PAIR_TERMS)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        choice = ", ".join(sorted(known))
        raise ValueError(f"the loss terms {unknown} are not known; choose one or more of {choice}")


def term_gradient_norms(fused: Tensor, targets: Targets, vgg: VGG16, names: tuple[str, ...]) -> dict[str, float]:
    """Norm of the gradient of every loss term with respect to the fused image: which terms are alive."""
    fused = fused.detach().requires_grad_()
    terms = term_vector(fused, targets, vgg, names=names)
    norms = (torch.autograd.grad(term, fused, retain_graph=True)[0].norm() for term in terms)
    return {name: float(norm) for name, norm in zip(names, norms, strict=True)}
