"""The losses and the contrast as the authors' released code computes them, faults included, for comparison only.

The paper's are in ``hsds_lib.losses``. Nothing of the method imports this room: notebooks, tests and the course do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from kornia.metrics import ssim
from torch import Tensor, nn

from hsds_lib.losses.features import BLOCKS, LAYERS, VGG16, Features
from hsds_lib.losses.terms import IMAGES, TERM_NAMES

# Factors with which the terms enter the sum. The minus of SSIM and perceptual loss rewards being unlike a source.
FACTORS: Mapping[str, float] = {
    **{f"{kind}_{image}": -1.0 for kind in ("ssim", "perceptual") for image in ("under", "over")},
    **{f"mefssim_{image}": -1.0 for image in IMAGES},
    "psnr_ref": -0.075,
    "colour_ref": 0.15,
}
RELEASED_LAYERS = ("relu5_1", "relu3_3", "relu2_2")  # of the contrast
_EPS = 1e-7  # in every denominator of the contrast
_WINDOW, _SIGMA = 11, 11 / 6
_LARGEST_COSINE = 0.999999


class PerceptualVGG(nn.Module):
    """VGG-16 with batch normalisation up to its tenth convolution, as the released perceptual loss uses it.

    Its weights are left unset: load a state of names ``convs.K.*`` and ``norms.K.*``, K from 0 to 9.
    """

    def __init__(self) -> None:
        super().__init__()
        channels = [3, *(width for block in BLOCKS[:4] for width in block)]
        skip = nn.utils.skip_init  # nothing is drawn from the global generator
        self.convs = nn.ModuleList(skip(nn.Conv2d, fewer, more, 3, padding=1) for fewer, more in pairwise(channels))
        self.norms = nn.ModuleList(skip(nn.BatchNorm2d, width) for width in channels[1:])
        self.requires_grad_(False)
        self.eval()

    def forward(self, rgb: Tensor) -> list[Tensor]:
        """Encode ``(B, 3, H, W)`` after dividing every pixel by its norm: the features compared, one per block.

        Blocks 1 to 3 after the ReLU, block 4 before it, because of an activation that works in place. In training
        mode the batch's own statistics are used, and none are recorded.
        """
        x, features, layer = self.normalised(rgb), [], 0
        for block, widths in enumerate(BLOCKS[:4]):
            if block:
                x = F.max_pool2d(x, 2)
            for _ in widths:
                before = self._before_relu(layer, x)
                x, layer = F.relu(before), layer + 1
            features.append(before if block == 3 else x)
        return features

    @staticmethod
    def normalised(rgb: Tensor) -> Tensor:
        """Divide every pixel of ``(B, 3, H, W)`` by its norm over the channels: all grays but black become one."""
        return F.normalize(rgb, dim=1)

    def _before_relu(self, layer: int, x: Tensor) -> Tensor:
        norm = self.norms[layer]
        assert isinstance(norm, nn.BatchNorm2d)
        mean, variance = (None, None) if self.training else (norm.running_mean, norm.running_var)
        return F.batch_norm(self.convs[layer](x), mean, variance, norm.weight, norm.bias, self.training, 0.0, norm.eps)


def released_terms(fused_y: Tensor, images: Tensor, vgg: PerceptualVGG) -> dict[str, Tensor]:
    """Evaluate the released search losses, a scalar for each of ``TERM_NAMES``, as they enter the released sum.

    ``(B, 1, H, W)`` and luminance of reference, under- and over-exposed image as channels ``(B, 3, H, W)``. Four carry
    no gradient for a single item: the three perceptual ones, because a gray pixel divided by its norm is the same for
    every brightness, and colour, because gray has no angle. MEF-SSIM and colour mix the items of a batch.
    """
    pairs = {name: images[:, i : i + 1] for i, name in enumerate(IMAGES)}
    thrice = {name: image.expand(-1, 3, -1, -1) for name, image in {"fused": fused_y, **pairs}.items()}
    features = {name: vgg(image) for name, image in thrice.items()}
    values: dict[str, Tensor] = {}
    for name, image in pairs.items():
        values[f"l1_{name}"] = (fused_y - image).abs().mean()
        values[f"mse_{name}"] = (fused_y - image).square().mean()
        values[f"ssim_{name}"] = ssim_loss(fused_y, image)
        values[f"mefssim_{name}"] = released_mef_ssim(fused_y, image)
        values[f"perceptual_{name}"] = feature_distance(features["fused"], features[name])
    values["grad"] = gradient(fused_y, pairs["under"], pairs["over"])
    values["psnr_ref"] = released_psnr(fused_y, pairs["ref"])
    values["colour_ref"] = colour(thrice["fused"], thrice["ref"])
    values["tv"] = total_variation(fused_y)
    return {name: FACTORS.get(name, 1.0) * values[name] for name in TERM_NAMES}


def ssim_loss(first: Tensor, second: Tensor) -> Tensor:
    """Give the mean of ``ssim_map``, in [0, 1]."""
    return ssim_map(first, second).mean()


def ssim_map(first: Tensor, second: Tensor) -> Tensor:
    """Give ``(1 - SSIM) / 2``, clamped to [0, 1], at each pixel of ``(B, C, H, W)``, in windows of 5 pixels."""
    return ((1 - ssim(first, second, 5)) / 2).clamp(0, 1)


def released_psnr(first: Tensor, second: Tensor) -> Tensor:
    """Give the peak signal-to-noise ratio over the whole batch in dB, unbounded for equal images."""
    return -10 * torch.log10((first - second).square().mean())


def gradient(fused: Tensor, under: Tensor, over: Tensor) -> Tensor:
    """Compare the edges of ``(B, 1, H, W)`` with the stronger ones of the sources.

    Sobel filters are not normalised and see zeros outside the image, so that every border is an edge.
    """
    return (_edges(fused) - torch.maximum(_edges(under), _edges(over))).abs().mean()


def _edges(image: Tensor) -> Tensor:
    ramp, smooth = image.new_tensor([-1.0, 0.0, 1.0]), image.new_tensor([1.0, 2.0, 1.0])
    kernels = torch.stack([torch.outer(smooth, ramp), torch.outer(ramp, smooth)])[:, None]
    return F.conv2d(image, kernels, padding=1).abs().sum(dim=1, keepdim=True)


def colour(first_rgb: Tensor, second_rgb: Tensor) -> Tensor:
    """Give a tenth of the mean angle between colours ``(B, 3, H, W)`` in degrees, at least 0.0081 in float64.

    Black counts as 90 degrees from everything. A batch is cut into three rows without moving its axis, so that for
    several items the "colours" are not those of pixels.
    """
    first, second = (F.normalize(rgb.reshape(3, -1), dim=0) for rgb in (first_rgb, second_rgb))
    cosine = (first * second).sum(dim=0).clamp(-_LARGEST_COSINE, _LARGEST_COSINE)
    return 0.1 * torch.rad2deg(torch.acos(cosine)).mean()


def total_variation(image: Tensor) -> Tensor:
    """Give twice the sum of the mean squared differences down and to the right."""
    down, right = image[:, :, 1:] - image[:, :, :-1], image[..., 1:] - image[..., :-1]
    return 2 * (down.square().mean() + right.square().mean())


def feature_distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Sum the mean square errors of features, as ``PerceptualVGG`` gives them, over the layers."""
    return torch.stack([(a - b).square().mean() for a, b in zip(first, second, strict=True)]).sum()


def released_mef_ssim(fused_y: Tensor, sequence: Tensor, *, luminance: bool = False) -> Tensor:
    """Give the released MEF-SSIM, at most 1, a simplified measure: at each pixel only the strongest exposure counts.

    That is the one of the largest local variance among K exposures ``(K, 1, H, W)``. The items of a *batch* are taken
    as the exposures of one sequence, which is why the released loss mixes them; images are padded with zeros. With
    ``luminance``, local brightness is compared too, with exposures weighted by how near they are to 0.5.
    """
    mean, variance = _moments(sequence)
    fused_mean, fused_variance = _moments(fused_y.expand_as(sequence))
    covariance = _local(fused_y * sequence) - fused_mean * mean
    agreement = (2 * covariance + 0.03**2) / (fused_variance + variance + 0.03**2)
    strongest = variance.argmax(dim=0, keepdim=True)
    agreement = agreement.gather(0, strongest)
    if luminance:
        overall = mean.mean(dim=(2, 3), keepdim=True)
        weight = torch.exp(-((mean - 0.5).square() + (overall - 0.5).square()) / (2 * 0.2**2))
        wanted = (weight * mean).sum(dim=0, keepdim=True) / weight.sum(dim=0, keepdim=True)
        agreement = agreement * (2 * fused_mean * wanted + 0.01**2) / (fused_mean.square() + wanted.square() + 0.01**2)
    return agreement.mean()


def _moments(images: Tensor) -> tuple[Tensor, Tensor]:
    mean = _local(images)
    return mean, _local(images.square()) - mean.square()


def _local(images: Tensor) -> Tensor:
    return F.conv2d(images, window().to(images), padding=_WINDOW // 2)


def window(channels: int = 1) -> Tensor:
    """Give the window of the released MEF-SSIM: Gaussian, 11 x 11, sigma 11/6 pixels, divided by the channels.

    float32 ``(1, channels, 11, 11)`` of sum 1, whatever the precision of the images.
    """
    row = torch.tensor([math.exp(-((k - _WINDOW // 2) ** 2) / (2 * _SIGMA**2)) for k in range(_WINDOW)])
    row = row / row.sum()
    return (torch.outer(row, row) / channels).expand(1, channels, _WINDOW, _WINDOW)


@dataclass(frozen=True)
class ContrastDraw:
    """A random draw of the released contrast, ``(B, 1, H, W)`` each: a natural image, and sources of other scenes."""

    natural: Tensor
    under: Tensor
    over: Tensor


def contrast_features(image: Tensor, vgg: VGG16) -> Features:
    """Encode luminance ``(B, 1, H, W)`` as the released contrast does: the features of ``RELEASED_LAYERS``.

    The image is scaled to 127.5 .. 255, no mean is removed, and the fourth pooling is missing, so that relu5_1 has an
    eighth of the size and not a sixteenth. Only the convolutions of the network are used.
    """
    x = (image.expand(-1, 3, -1, -1) + 1) * 127.5
    features: Features = {}
    for name in LAYERS[: LAYERS.index("relu5_1") + 1]:
        if name in ("relu2_1", "relu3_1", "relu4_1"):
            x = F.max_pool2d(x, 2)
        x = F.relu(F.conv2d(x, vgg.weights[name], vgg.biases[name], padding=1))
        if name in RELEASED_LAYERS:
            features[name] = x
    return features


def distances(first: Features, second: Features) -> Tensor:
    """Give the mean square errors of instance-normalised features, ``(3,)`` in the order of ``RELEASED_LAYERS``."""
    pairs = [(F.instance_norm(first[layer]), F.instance_norm(second[layer])) for layer in RELEASED_LAYERS]
    return torch.stack([(a - b).square().mean() for a, b in pairs])


def released_contrast(
    fused_y: Tensor, ref_y: Tensor, under_y: Tensor, over_y: Tensor, draws: Sequence[ContrastDraw], vgg: VGG16
) -> Tensor:
    """Evaluate the released contrastive constraint, which differs from the paper's in seven ways.

    Layers are summed before dividing; features are instance-normalised; each source has a denominator of its own; the
    distance to the reference enters four more times, plainly; natural images are compared with sources of other scenes
    (three draws at random in the released code); the input is scaled to 127.5 .. 255; a batch is one distance.
    """
    fused = contrast_features(fused_y, vgg)

    def distance(image: Tensor) -> Tensor:
        return distances(fused, contrast_features(image, vgg)).sum()

    positive = distance(ref_y)
    total = 4 * positive + positive / (distance(under_y) + _EPS) + positive / (distance(over_y) + _EPS)
    for draw in draws:
        natural = distance(draw.natural)
        total = total + natural / (distance(draw.under) + _EPS) + natural / (distance(draw.over) + _EPS)
    return total
