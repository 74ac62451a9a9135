"""The VGG-16 of the released perceptual loss: batch-normalised, and blind to brightness."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from hsds_lib.losses.features import BLOCKS


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
