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
        The score of the luma, at most 1.

    Raises:
        ValueError: the shapes differ, or a side is shorter than 44 pixels.

    Example:
        >>> from hsds_lib.images.pairs import load_scenes
        >>> scene = load_scenes("embedded", "val", limit=1)[0]
        >>> fused = mertens(scene.under, scene.over)
        >>> [round(picture_score(picture, scene.under, scene.over), 1) for picture in (fused, scene.under)]
        [1.0, 0.6]
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

    Raises:
        ValueError: a scene is smaller than 44 pixels, or its exposures do not fit together.

    Example:
        >>> from hsds_lib.fusing import load_model
        >>> from hsds_lib.images.pairs import load_scenes
        >>> scores = compare(load_model("default", device="cpu"), load_scenes("embedded", "test", limit=1))
        >>> row = scores["astronaut-1"]
        >>> list(row), all(0 < score <= 1 for score in row.values())
        (['model', 'mertens', 'average'], True)
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
