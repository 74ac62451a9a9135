"""Tangents of VGG-16 features along a recorded pass: forward mode without computing the features again."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from hsds_lib.losses.features import VGG16, Features, Trace


def feature_tangents(vgg: VGG16, trace: Trace, moved: Tensor, layers: Sequence[str]) -> Features:
    """Tell how features move when the image does.

    Args:
        vgg: the feature network.
        trace: of the pass that encoded the image.
        moved: tangent of the image, luminance ``(B, 1, H, W)``.
        layers: which features, all of them recorded in the trace.

    Returns:
        One tangent per layer, in the shape of the feature.

    Example:
        >>> from hsds_lib.losses.features import load_vgg16
        >>> vgg, trace = load_vgg16("random").double(), Trace()
        >>> image = torch.rand(1, 1, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> features = vgg(image, ["relu2_1"], trace=trace)
        >>> moved = feature_tangents(vgg, trace, torch.full_like(image, 1e-6), ["relu2_1"])["relu2_1"]
        >>> change = vgg(image + 1e-6, ["relu2_1"])["relu2_1"] - features["relu2_1"]
        >>> bool((change - moved).norm() < 1e-3 * change.norm())
        True
    """
    tangents: Features = {}
    x = moved.expand(-1, 3, -1, -1) / vgg.std
    for name, activation in trace.activations.items():
        if name in trace.pooled:
            chosen = trace.pooled[name]
            x = x.flatten(2).gather(2, chosen.flatten(2)).view(chosen.shape)
        x = functional.conv2d(x, vgg.weights[name], padding=1)
        x = torch.ops.aten.threshold_backward(x, activation, 0)
        if name in layers:
            tangents[name] = x
    return tangents
