"""Optimise a picture for every place of a simplex of loss weights: ``python -m notebooks.tools.recordings.simplex``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from hsds_lib.course.explorers.media import encode
from hsds_lib.course.image_descent import Descent, descend
from hsds_lib.course.recording import write_recording
from hsds_lib.images.batches import Batch, Scene, load_scenes
from hsds_lib.images.color import colourise, split_luma
from hsds_lib.losses.mef_ssim import mef_ssim_pair
from hsds_lib.losses.terms import Targets, prepare_targets, term_vector
from hsds_lib.runtime import provenance
from notebooks.tools.recordings import main

CORNERS = ("ssim_under", "mse_over", "tv")
"""The three losses of Table 1 at the corners."""
PARTS = 5
_SIDE = 192  # pixels of the longer side


def weights_at(third: int, split: int, parts: int = PARTS) -> tuple[float, float, float]:
    """Weights of the corners: ``third / parts`` for the last, the rest divided between the first two by ``split``."""
    rest = (parts - third) / parts
    return rest * (parts - split) / parts, rest * split / parts, third / parts


def record(path: Path, *, steps: int = 300, parts: int = PARTS, seed: int = 0) -> None:
    """Optimise all pictures, each from the same average, and write what the explorer shows."""
    scene = reduced(load_scenes("embedded", "val", seed=seed)[0])
    targets, start = prepared(scene)
    made = {place: optimise(start, targets, weights_at(*place, parts), steps) for place in _places(parts)}
    corners = [made[0, 0].picture, made[0, parts].picture, made[parts, 0].picture]
    states, pictures = [], {}
    for (third, split), done in made.items():
        weights = weights_at(third, split, parts)
        blend = sum((weight * corner for weight, corner in zip(weights, corners, strict=True)), torch.zeros(()))
        name = f"{third}{split}.webp"
        pictures[name] = encode(colourise(done.picture, scene.under[None], scene.over[None])[0], quality=85)
        states.append(
            {
                "third": third,
                "split": split,
                "weights": [round(weight, 6) for weight in weights],
                "picture": name,
                "losses": losses(done.picture, targets),
                "loss": round(done.losses[-1], 6),
                "loss_before": round(done.losses[0], 6),
                "loss_of_blend": round(_loss(blend, targets, weights), 6),
                "mef_ssim": round(float(mef_ssim_pair(done.picture, targets.under_y, targets.over_y)), 4),
            }
        )
    origin = provenance(scene=scene.name, seed=seed, steps=steps)
    facts = {"scene": scene.name, "corners": list(CORNERS), "parts": parts, "states": states, "provenance": origin}
    write_recording(path, facts, pictures)


def reduced(scene: Scene) -> Scene:
    """The scene at the size in which it is optimised and shown."""
    scale = _SIDE / max(scene.under.shape[-2:])
    under, over, ref = (
        functional.interpolate(image[None], scale_factor=scale, mode="area")[0] for image in _images(scene)
    )
    return Scene(scene.name, under, over, ref)


def prepared(scene: Scene) -> tuple[Targets, Tensor]:
    """What the losses compare with, and the luma of the average to start from."""
    under, over, ref = (image[None] for image in _images(scene))
    targets = prepare_targets(Batch(under, over, ref, ref), None, contrast=False, names=CORNERS)
    return targets, split_luma((under + over) / 2)[0]


def optimise(start: Tensor, targets: Targets, weights: tuple[float, float, float], steps: int) -> Descent:
    """The picture that the weighted losses want."""
    return descend(start, targets, dict(zip(CORNERS, weights, strict=True)), steps=steps, lr=0.02)


def losses(picture: Tensor, targets: Targets) -> Mapping[str, float]:
    """The three losses of a picture."""
    found = term_vector(picture, targets, None, names=CORNERS).tolist()
    return {name: round(value, 6) for name, value in zip(CORNERS, found, strict=True)}


def _loss(picture: Tensor, targets: Targets, weights: tuple[float, float, float]) -> float:
    return sum(weight * value for weight, value in zip(weights, losses(picture, targets).values(), strict=True))


def _places(parts: int) -> list[tuple[int, int]]:
    # In the last corner there is nothing left to divide: one picture stands for all splits.
    return [(third, split) for third in range(parts + 1) for split in range(parts + 1 if third < parts else 1)]


def _images(scene: Scene) -> list[Tensor]:
    assert scene.ref is not None
    return [scene.under, scene.over, scene.ref]


if __name__ == "__main__":
    main(record, "simplex")
