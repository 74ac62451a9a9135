"""The model beside two fusions that need no training, scene by scene, in MEF-SSIM."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hsds_lib.fusing import fuse
from hsds_lib.images.classical import average, mertens
from hsds_lib.images.color import split_luma
from hsds_lib.images.pairs import Scene
from hsds_lib.losses.mef_ssim import mef_ssim_pair
from hsds_lib.network.fusion_net import FusionNet

METHODS = ("model", "mertens", "average")


def picture_score(fused: Tensor, under: Tensor, over: Tensor) -> float:
    """Three-scale MEF-SSIM (Ma, Zeng, Wang 2015) of a fused picture, as it would be after saving.

    Args:
        fused: RGB ``(3, H, W)`` in [0, 1]; rounded to 8 bits here.
        under: the darker exposure, same shape.
        over: the brighter exposure, same shape.

    Returns:
        The score of the luma, at most 1; a picture needs 44 pixels on its shorter side.
    """
    images = [(image * 255).round() / 255 for image in (fused, under, over)]
    # On 8-bit luma, as the metric's authors and the tables compute it.
    fused_y, under_y, over_y = ((split_luma(image[None].double())[0] * 255).round() / 255 for image in images)
    return float(mef_ssim_pair(fused_y, under_y, over_y))


def compare(network: FusionNet, scenes: Sequence[Scene]) -> dict[str, dict[str, float]]:
    """Score the network, OpenCV's Mertens fusion and the plain average on some scenes.

    Args:
        network: a trained network in evaluation mode.
        scenes: pairs it was not trained on, if the numbers are to mean anything.

    Returns:
        For each scene name, the MEF-SSIM of each of ``METHODS``.
    """
    table = {}
    for scene in scenes:
        pictures = {
            "model": fuse(network, scene.under, scene.over),
            "mertens": mertens(scene.under, scene.over),
            "average": average(scene.under, scene.over),
        }
        table[scene.name] = {name: picture_score(pictures[name], scene.under, scene.over) for name in METHODS}
    return table
