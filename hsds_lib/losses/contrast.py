"""The hybrid contrast that judges a loss (Eq. 3): near a good image, far from the two exposures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hsds_lib.losses.features import CONTRAST_LAYERS, Features
from hsds_lib.losses.terms import Targets

EPS = 1e-7  # once in the denominator of each layer


def gamma(
    fused: Features,
    positive: Features,
    negatives: Sequence[tuple[Features, Features]],
    *,
    layers: Sequence[str] = CONTRAST_LAYERS,
) -> Tensor:
    """Contrast one set of features, Eq. 3: distance to the positive over the summed distances to M negatives.

    Per item and layer ``MSE(F, P) / (sum_m (MSE(F, u_m) + MSE(F, o_m)) + 1e-7)``; summed over the layers, mean over the
    items: a scalar, 0 when fused and positive agree. Features are VGG-16's, one ``(B, C, h, w)`` per layer; negatives
    are pairs (of an under-exposed image, of an over-exposed image). ValueError without negatives, or when a layer is
    missing.
    """
    if not negatives:
        raise ValueError("the contrast of Eq. 3 got no negatives; give at least one (under, over) pair of features")
    for features in (fused, positive, *(features for pair in negatives for features in pair)):
        missing = [layer for layer in layers if layer not in features]
        if missing:
            raise ValueError(
                f"the contrast of Eq. 3 lacks features of {', '.join(missing)}; encode {', '.join(layers)}"
            )
    ratios = []
    for layer in layers:
        push = torch.stack(
            [_distance(fused[layer], under[layer]) + _distance(fused[layer], over[layer]) for under, over in negatives]
        )
        ratios.append(_distance(fused[layer], positive[layer]) / (push.sum(dim=0) + EPS))
    return torch.stack(ratios).sum(dim=0).mean()


def gamma_r(features: Features, targets: Targets, *, n_negatives: int = 1) -> Tensor:
    """Contrast with the reference as positive: Gamma_R, Eq. 3.

    Of the features of the fused image, at least ``CONTRAST_LAYERS``, and of targets prepared with ``contrast=True``. M
    negatives: 1 is the item's own two exposures, more adds those of the next items of the batch.
    """
    return gamma(features, targets.ref_features, source_negatives(targets, n_negatives))


def gamma_n(features: Features, targets: Targets, *, n_negatives: int = 1, own: bool = False) -> Tensor:
    """Contrast with a natural image as positive: Gamma_N, Eq. 3; as ``gamma_r``, but for whose exposures repel.

    They are those of the next items of the batch, which show other scenes as the positive does; with ``own``, or in a
    batch of one, the item's own come first. ValueError if the targets hold no natural features.
    """
    # Paper: "the source images", which reads as the item's own. Released: of other scenes. With the item's own, the
    # numerator hardly depends on the fused image and the denominator does: noise and black then have a smaller Gamma_H
    # than the reference (notebook 4: in 8 of 8 scenes, with exposures of other scenes in 1).
    if targets.natural_features is None:
        raise ValueError("the targets hold no natural features; prepare them with prepare_targets(..., contrast=True)")
    return gamma(features, targets.natural_features, source_negatives(targets, n_negatives, first=0 if own else 1))


def gamma_h(features: Features, targets: Targets, *, n_negatives: int = 1, own: bool = False) -> Tensor:
    """Contrast with both positives: Gamma_H = Gamma_R + Gamma_N, Eq. 3 and the sentence after it.

    It does not contain beta: only its effect through the network weights does.
    """
    natural = gamma_n(features, targets, n_negatives=n_negatives, own=own)
    return gamma_r(features, targets, n_negatives=n_negatives) + natural


def source_negatives(targets: Targets, n_negatives: int = 1, *, first: int = 0) -> list[tuple[Features, Features]]:
    """Choose the M negatives of Eq. 3: each item's own exposures, then those of the items after it (cyclically).

    M pairs (under features, over features), each for the whole batch of B; ValueError if M is outside 1..B. ``first``
    is the item to begin with, counted from the own one.
    """
    batch = targets.images.shape[0]
    if not 1 <= n_negatives <= batch:
        raise ValueError(f"n_negatives is {n_negatives}; a batch of {batch} gives between 1 and {batch} negatives")
    under, over = targets.under_features, targets.over_features
    return [(_shifted(under, shift), _shifted(over, shift)) for shift in range(first, first + n_negatives)]


def _shifted(features: Features, shift: int) -> Features:
    if shift == 0:
        return features
    return {layer: torch.roll(value, -shift, dims=0) for layer, value in features.items() if layer in CONTRAST_LAYERS}


def _distance(first: Tensor, second: Tensor) -> Tensor:
    """Mean square error per item: ``(B, C, h, w)`` to ``(B,)``."""
    return (first - second).square().mean(dim=(1, 2, 3))
