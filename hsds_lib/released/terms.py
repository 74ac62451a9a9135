"""The 19 losses as the authors' released code computes them; the paper's are in ``hsds_lib.losses.terms``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from kornia.metrics import ssim
from torch import Tensor, nn

from hsds_lib.losses.features import BLOCKS
from hsds_lib.losses.terms import IMAGES, TERM_NAMES


class PerceptualVGG(nn.Module):
    """VGG-16 with batch normalisation up to its tenth convolution, as the released perceptual loss uses it.

    Its weights are left unset: load a state of names ``convs.K.*`` and ``norms.K.*``, K from 0 to 9.

    Example:
        >>> PerceptualVGG().convs[9].weight.shape
        torch.Size([512, 512, 3, 3])
    """

    def __init__(self) -> None:
        """Build the layers without drawing from the global generator."""
        super().__init__()
        channels = [3, *(width for block in BLOCKS[:4] for width in block)]
        skip = nn.utils.skip_init
        self.convs = nn.ModuleList(skip(nn.Conv2d, fewer, more, 3, padding=1) for fewer, more in pairwise(channels))
        self.norms = nn.ModuleList(skip(nn.BatchNorm2d, width) for width in channels[1:])
        self.requires_grad_(False)
        self.eval()

    def forward(self, rgb: Tensor) -> list[Tensor]:
        """Encode images after dividing every pixel by its norm over the channels, not by mean and deviation.

        In training mode the batch's own statistics are used, and none are recorded.

        Args:
            rgb: ``(B, 3, H, W)``.

        Returns:
            The four features compared, one per block: blocks 1 to 3 after the ReLU, block 4 before it, because
            of an activation that works in place.
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


# Factors with which the terms enter the sum. The minus of SSIM and perceptual loss rewards being unlike a source.
FACTORS: Mapping[str, float] = {
    **{f"{kind}_{image}": -1.0 for kind in ("ssim", "perceptual") for image in ("under", "over")},
    **{f"mefssim_{image}": -1.0 for image in IMAGES},
    "psnr_ref": -0.075,
    "colour_ref": 0.15,
}
_WINDOW, _SIGMA = 11, 11 / 6
_LARGEST_COSINE = 0.999999


def released_terms(fused_y: Tensor, images: Tensor, vgg: PerceptualVGG) -> dict[str, Tensor]:
    """Evaluate the 19 released search losses with the sign and scale they have in the released sum.

    Four carry no gradient for a single item: the three perceptual ones, because a gray pixel divided by its
    norm is the same for every brightness, and colour, because gray has no angle. MEF-SSIM and colour mix the
    items of a batch.

    Args:
        fused_y: luminance ``(B, 1, H, W)``.
        images: luminance of reference, under- and over-exposed image as channels, ``(B, 3, H, W)``.
        vgg: features of the perceptual loss.

    Returns:
        A scalar for each of ``TERM_NAMES``, in that order.

    Example:
        >>> vgg = PerceptualVGG()
        >>> for weight in vgg.state_dict().values():
        ...     _ = weight.fill_(0.01) if weight.is_floating_point() else weight.zero_()
        >>> images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) + 0.1
        >>> dark, bright = (released_terms(share * images[:, :1], images, vgg) for share in (0.5, 1.0))
        >>> len(dark), bool(bright["l1_ref"] < dark["l1_ref"])
        (19, True)
        >>> bool((bright["perceptual_ref"] - dark["perceptual_ref"]).abs() < 1e-6)  # dead
        True
    """
    pairs = {name: images[:, i : i + 1] for i, name in enumerate(IMAGES)}
    thrice = {name: image.expand(-1, 3, -1, -1) for name, image in {"fused": fused_y, **pairs}.items()}
    features = {name: vgg(image) for name, image in thrice.items()}
    values: dict[str, Tensor] = {}
    for name, image in pairs.items():
        values[f"l1_{name}"] = (fused_y - image).abs().mean()
        values[f"mse_{name}"] = (fused_y - image).square().mean()
        values[f"ssim_{name}"] = ssim_loss(fused_y, image)
        values[f"mefssim_{name}"] = mef_ssim(fused_y, image)
        values[f"perceptual_{name}"] = feature_distance(features["fused"], features[name])
    values["grad"] = gradient(fused_y, pairs["under"], pairs["over"])
    values["psnr_ref"] = psnr(fused_y, pairs["ref"])
    values["colour_ref"] = colour(thrice["fused"], thrice["ref"])
    values["tv"] = total_variation(fused_y)
    return {name: FACTORS.get(name, 1.0) * values[name] for name in TERM_NAMES}


def ssim_loss(first: Tensor, second: Tensor) -> Tensor:
    """Give the mean of ``(1 - SSIM) / 2``, clamped to [0, 1], in windows of 5 pixels.

    Args:
        first: ``(B, C, H, W)`` in [0, 1].
        second: same shape.

    Returns:
        A scalar in [0, 1].

    Example:
        >>> image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> bool(ssim_loss(image, image) < 1e-6), bool(ssim_loss(image, 1 - image) > 0.5)
        (True, True)
    """
    return ssim_map(first, second).mean()


def ssim_map(first: Tensor, second: Tensor) -> Tensor:
    """Give ``(1 - SSIM) / 2``, clamped to [0, 1], at each pixel; see ``ssim_loss``.

    Args:
        first: ``(B, C, H, W)`` in [0, 1].
        second: same shape.

    Returns:
        Same shape.

    Example:
        >>> image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> bool(ssim_map(image, image).max() < 1e-6), bool(ssim_map(image, 1 - image).mean() > 0.5)
        (True, True)
    """
    return ((1 - ssim(first, second, 5)) / 2).clamp(0, 1)


def psnr(first: Tensor, second: Tensor) -> Tensor:
    """Give the peak signal-to-noise ratio over the whole batch in dB, unbounded for equal images.

    Args:
        first: ``(B, C, H, W)`` in [0, 1].
        second: same shape.

    Returns:
        A scalar.

    Example:
        >>> round(psnr(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.1)).item(), 3)
        20.0
    """
    return -10 * torch.log10((first - second).square().mean())


def gradient(fused: Tensor, under: Tensor, over: Tensor) -> Tensor:
    """Compare the edges with the stronger ones of the sources.

    Sobel filters are not normalised and see zeros outside the image, so that every border is an edge.

    Args:
        fused: ``(B, 1, H, W)``.
        under: same shape.
        over: same shape.

    Returns:
        A scalar.

    Example:
        >>> flat = torch.full((1, 1, 8, 8), 0.5)
        >>> gradient(flat, flat, flat).item(), gradient(0.4 * flat, flat, flat).item() > 0.1
        (0.0, True)
    """
    return (_edges(fused) - torch.maximum(_edges(under), _edges(over))).abs().mean()


def _edges(image: Tensor) -> Tensor:
    ramp, smooth = image.new_tensor([-1.0, 0.0, 1.0]), image.new_tensor([1.0, 2.0, 1.0])
    kernels = torch.stack([torch.outer(smooth, ramp), torch.outer(ramp, smooth)])[:, None]
    return F.conv2d(image, kernels, padding=1).abs().sum(dim=1, keepdim=True)


def colour(first_rgb: Tensor, second_rgb: Tensor) -> Tensor:
    """Give a tenth of the mean angle between colours in degrees, at least 0.0081 in float64.

    Black counts as 90 degrees from everything. A batch is cut into three rows without moving its axis, so
    that for several items the "colours" are not those of pixels.

    Args:
        first_rgb: ``(B, 3, H, W)``.
        second_rgb: same shape.

    Returns:
        A scalar.

    Example:
        >>> gray = torch.full((1, 3, 4, 4), 0.5)
        >>> round(colour(gray, gray).item(), 4), round(colour(gray, 0 * gray).item(), 4)
        (0.0082, 9.0)
    """
    first, second = (F.normalize(rgb.reshape(3, -1), dim=0) for rgb in (first_rgb, second_rgb))
    cosine = (first * second).sum(dim=0).clamp(-_LARGEST_COSINE, _LARGEST_COSINE)
    return 0.1 * torch.rad2deg(torch.acos(cosine)).mean()


def total_variation(image: Tensor) -> Tensor:
    """Give twice the sum of the mean squared differences down and to the right.

    Args:
        image: ``(B, C, H, W)``.

    Returns:
        A scalar.

    Example:
        >>> ramp = 0.1 * torch.arange(4.0).expand(1, 1, 4, 4)
        >>> round(total_variation(ramp).item(), 4)
        0.02
    """
    down, right = image[:, :, 1:] - image[:, :, :-1], image[..., 1:] - image[..., :-1]
    return 2 * (down.square().mean() + right.square().mean())


def feature_distance(first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Sum the mean square errors of features over the layers.

    Args:
        first: features, for example of ``PerceptualVGG``.
        second: features of the same shapes.

    Returns:
        A scalar.

    Example:
        >>> feature_distance([torch.zeros(1, 2, 3, 3)], [torch.ones(1, 2, 3, 3)]).item()
        1.0
    """
    return torch.stack([(a - b).square().mean() for a, b in zip(first, second, strict=True)]).sum()


def mef_ssim(fused_y: Tensor, sequence: Tensor, *, luminance: bool = False) -> Tensor:
    """Give the released MEF-SSIM, a simplified measure.

    At each pixel only the exposure with the largest local variance counts. The items of a *batch* are taken as
    the exposures of one sequence, which is why the released loss mixes them; images are padded with zeros.

    Args:
        fused_y: ``(1, 1, H, W)``, or ``(K, 1, H, W)`` with one fused image for each exposure.
        sequence: K exposures ``(K, 1, H, W)`` in [0, 1].
        luminance: also compare the local brightness, with exposures weighted by how near they are to 0.5.

    Returns:
        A scalar, at most 1.

    Example:
        >>> image = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> round(mef_ssim(image, image).item(), 5)
        1.0
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

    Args:
        channels: of the images it is meant for.

    Returns:
        float32 ``(1, channels, 11, 11)`` of sum 1, whatever the precision of the images.

    Example:
        >>> window(3).shape, round(window(3).sum().item(), 5)
        (torch.Size([1, 3, 11, 11]), 1.0)
    """
    row = torch.tensor([math.exp(-((k - _WINDOW // 2) ** 2) / (2 * _SIGMA**2)) for k in range(_WINDOW)])
    row = row / row.sum()
    return (torch.outer(row, row) / channels).expand(1, channels, _WINDOW, _WINDOW)
