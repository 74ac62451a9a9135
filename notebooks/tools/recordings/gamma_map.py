"""Measure the contrast on a plane of pictures: ``python -m notebooks.tools.recordings.gamma_map``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hsds_lib.course.explorers.media import encode
from hsds_lib.course.recording import write_recording
from hsds_lib.images.batches import load_naturals, load_scenes
from hsds_lib.images.color import split_luma
from hsds_lib.losses.contrast import CONTRAST_LAYERS
from hsds_lib.losses.features import Features, load_vgg16
from hsds_lib.runtime import provenance
from notebooks.tools.recordings import main

ACROSS = (-0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
"""From the under-exposed (0) to the over-exposed picture (1)."""
TOWARDS = (-0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)
"""From the middle of the exposures (0) to the reference (1)."""
_WIDTH = 160  # pixels


def record(path: Path, *, across: Sequence[float] = ACROSS, towards: Sequence[float] = TOWARDS, seed: int = 0) -> None:
    """Measure pulls and pushes of Eq. 3 at every place of the plane, and write what the explorer shows."""
    scene = load_scenes("embedded", "val", seed=seed)[1]
    assert scene.ref is not None
    under, over, ref = (_reduced(image) for image in (scene.under, scene.over, scene.ref))
    natural = _reduced(load_naturals("embedded", "train", seed=seed)[0], like=under)
    vgg = load_vgg16()
    seen = {name: features(image, vgg) for name, image in (("under", under), ("over", over))}
    goods = {"R": features(ref, vgg), "N": features(natural, vgg)}
    states: list[dict[str, Any]] = []
    pictures: dict[str, bytes] = {}
    for a in across:
        for b in towards:
            picture = place(under, over, ref, a, b)
            name = f"{len(pictures):04d}.webp"
            pictures[name] = encode(picture, quality=82)
            here = features(picture, vgg)
            states.append({"across": a, "towards": b, "picture": name, **measured(here, seen, goods)})
    facts = {
        "scene": scene.name,
        "features": vgg.label,
        "layers": list(CONTRAST_LAYERS),
        "across": list(across),
        "towards": list(towards),
        "states": states,
        "provenance": provenance(seed=seed, scene=scene.name),
    }
    write_recording(path, facts, pictures)


def place(under: Tensor, over: Tensor, ref: Tensor, a: float, b: float) -> Tensor:
    """The picture at a place of the plane through the three, clipped to [0, 1]."""
    return (under + a * (over - under) + b * (ref - (under + over) / 2)).clamp(0, 1)


@torch.no_grad()
def features(image: Tensor, vgg: Any) -> Features:
    """What VGG-16 sees of the luma of an RGB picture ``(3, H, W)``."""
    found: Features = vgg(split_luma(image[None])[0], CONTRAST_LAYERS)
    return found


def measured(here: Features, seen: dict[str, Features], goods: dict[str, Features]) -> dict[str, list[float]]:
    """By layer: the pull to each positive, and the sum of the pushes from both exposures (M = 1 of Eq. 3)."""

    def mse(other: Features, layer: str) -> float:
        return float((here[layer] - other[layer]).square().mean())

    pulls = {name: [mse(good, layer) for layer in CONTRAST_LAYERS] for name, good in goods.items()}
    return {**pulls, "push": [mse(seen["under"], layer) + mse(seen["over"], layer) for layer in CONTRAST_LAYERS]}


def _reduced(image: Tensor, like: Tensor | None = None) -> Tensor:
    height, width = image.shape[-2:]
    size = (round(height * _WIDTH / width), _WIDTH) if like is None else tuple(like.shape[-2:])
    return functional.interpolate(image[None], size=size, mode="area")[0]


if __name__ == "__main__":
    main(record, "gamma_map")
