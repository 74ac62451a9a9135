"""The contrastive constraint as the released code computes it; the paper's is in ``hsds_lib.losses.contrast``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hsds_lib.losses.features import LAYERS, VGG16, Features

CONTRAST_LAYERS = ("relu5_1", "relu3_3", "relu2_2")
EPS = 1e-7  # in every denominator


@dataclass(frozen=True)
class ContrastDraw:
    """Unpaired images of one random draw of the released contrast: a natural image, and sources of other scenes.

    Attributes:
        natural: ``(B, 1, H, W)`` in [0, 1].
        under: same shape.
        over: same shape.

    Example:
        >>> ContrastDraw(*3 * [torch.zeros(1, 1, 32, 32)]).natural.shape
        torch.Size([1, 1, 32, 32])
    """

    natural: Tensor
    under: Tensor
    over: Tensor


def contrast_features(image: Tensor, vgg: VGG16) -> Features:
    """Encode an image as the released contrast does: scaled to 127.5 .. 255, no mean removed, no fourth pooling.

    Args:
        image: luminance ``(B, 1, H, W)`` in [0, 1].
        vgg: a network of ``load_vgg16``; only its convolutions are used.

    Returns:
        The features of ``CONTRAST_LAYERS``; relu5_1 has an eighth of the size, not a sixteenth.

    Example:
        >>> from hsds_lib.losses.features import load_vgg16
        >>> contrast_features(torch.zeros(1, 1, 32, 32), load_vgg16("random"))["relu5_1"].shape
        torch.Size([1, 512, 4, 4])
    """
    x = (image.expand(-1, 3, -1, -1) + 1) * 127.5
    features: Features = {}
    for name in LAYERS[: LAYERS.index("relu5_1") + 1]:
        if name in ("relu2_1", "relu3_1", "relu4_1"):
            x = F.max_pool2d(x, 2)
        x = F.relu(F.conv2d(x, vgg.weights[name], vgg.biases[name], padding=1))
        if name in CONTRAST_LAYERS:
            features[name] = x
    return features


def distances(first: Features, second: Features) -> Tensor:
    """Give the mean square errors of instance-normalised features, for every layer of the released contrast.

    Args:
        first: features by layer, ``(B, C, h, w)``.
        second: same layers and shapes.

    Returns:
        ``(3,)`` in the order of ``CONTRAST_LAYERS``.

    Example:
        >>> draw = torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
        >>> one, other = (dict.fromkeys(CONTRAST_LAYERS, x) for x in (draw, 7 * draw + 3))
        >>> bool(distances(one, other).max() < 1e-6)  # an instance norm forgets offset and scale
        True
    """
    pairs = [(F.instance_norm(first[layer]), F.instance_norm(second[layer])) for layer in CONTRAST_LAYERS]
    return torch.stack([(a - b).square().mean() for a, b in pairs])


def contrast(
    fused_y: Tensor, ref_y: Tensor, under_y: Tensor, over_y: Tensor, draws: Sequence[ContrastDraw], vgg: VGG16
) -> Tensor:
    """Evaluate the released contrastive constraint, which differs from the paper's in seven ways.

    Layers are summed before dividing; features are instance-normalised; each source has a denominator of its
    own; the distance to the reference enters four more times, plainly; natural images are compared with
    sources of other scenes; the input is scaled to 127.5 .. 255; a batch is one distance.

    Args:
        fused_y: luminance ``(B, 1, H, W)``.
        ref_y: same shape.
        under_y: same shape.
        over_y: same shape.
        draws: of natural images and unrelated sources; the released code draws three at random.
        vgg: a network of ``load_vgg16``.

    Returns:
        A scalar.

    Example:
        >>> from hsds_lib.losses.features import load_vgg16
        >>> image = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> contrast(image, image, 1 - image, image.square(), [], load_vgg16("random")).item()
        0.0
    """
    fused = contrast_features(fused_y, vgg)

    def distance(image: Tensor) -> Tensor:
        return distances(fused, contrast_features(image, vgg)).sum()

    positive = distance(ref_y)
    total = 4 * positive + positive / (distance(under_y) + EPS) + positive / (distance(over_y) + EPS)
    for draw in draws:
        natural = distance(draw.natural)
        total = total + natural / (distance(draw.under) + EPS) + natural / (distance(draw.over) + EPS)
    return total
