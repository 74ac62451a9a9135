"""What ends an epoch of training: running statistics from training batches, and a score on validation scenes."""

from __future__ import annotations

import torch
from torch import Tensor

from hsds_lib.images.batches import Batch, PairBatches, Scene
from hsds_lib.losses.mef_ssim import mef_ssim_pair
from hsds_lib.network.fusion_net import FusionNet
from hsds_lib.network.operations import BatchNorm


@torch.no_grad()
def recalibrate(network: FusionNet, batches: list[Batch]) -> None:
    """Set the running statistics of every normalisation to their mean over some training batches.

    The moving average of training mixes statistics of many older weights; a plain mean under the present
    ones is what evaluation needs.

    Args:
        network: changed in place, and left in evaluation mode; its weights stay as they are.
        batches: at least one; a batch counts the same whatever its size.

    Raises:
        ValueError: when there is no batch.

    Example:
        >>> from hsds_lib.network.fusion_net import derive
        >>> from hsds_lib.network.genotype import NODES, Genotype
        >>> network = derive(Genotype(nodes={node: {"conv_1x1": 1.0} for node in NODES}, width=0.125))
        >>> image = torch.full((2, 3, 16, 16), 0.5)
        >>> recalibrate(network, [Batch(under=image, over=image, ref=image, natural=image)])
        >>> operation = network.node("x_1").operations["conv_1x1"]
        >>> torch.allclose(operation.norm.running_mean, operation.conv.weight.flatten() / 2)  # of a gray of 0.5
        True
    """
    if not batches:
        raise ValueError("there is no batch to take statistics from; give one or more")
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # plain mean
    network.train()
    device = next(network.parameters()).device
    for batch in batches:
        network(batch.to(device).over_under_y)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()


@torch.no_grad()
def validation_score(network: FusionNet, scenes: list[Scene], *, crop: int) -> float:
    """Give the mean three-scale MEF-SSIM of the fused luma, on the central crop of every scene.

    Args:
        network: left in evaluation mode.
        scenes: with references, at least ``crop`` pixels high and wide.
        crop: side of the crops, pixels, at least 44.

    Returns:
        The score of luma clamped to [0, 1], at most 1.

    Raises:
        DataError: there are no scenes, or one cannot be used.
        ValueError: the crop is smaller than 44 pixels.

    Example:
        >>> from hsds_lib.fusing.fuse import load_model
        >>> from hsds_lib.images.batches import load_scenes
        >>> scenes = load_scenes("embedded", "val", limit=2)
        >>> 0.5 < validation_score(load_model("default", device="cpu"), scenes, crop=96) < 1
        True
    """
    generator = torch.Generator().manual_seed(0)
    naturals = [scene.under for scene in scenes[:1]]  # not used by the score
    batches = PairBatches(scenes, naturals, crop=crop, batch_size=1, generator=generator, augment=False)
    device = next(network.parameters()).device
    network.eval()
    scores: list[Tensor] = []
    for batch in batches:
        pair = batch.to(device).over_under_y
        scores.append(mef_ssim_pair(network(pair).clamp(0, 1), pair[:, 1:2], pair[:, 0:1]))
    return float(torch.cat(scores).mean())
