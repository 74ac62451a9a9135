"""Record the states of the exposure gap's explorer: ``python -m notebooks.tools.recordings.exposure_gap``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hsds_lib.course.explorers.exposure_gap import BINS, BRIGHTEST, DEEPEST
from hsds_lib.course.explorers.media import encode
from hsds_lib.course.pictures import lost, luma
from hsds_lib.course.recording import write_recording
from hsds_lib.images.classical import average, mertens
from hsds_lib.images.color import split_luma
from hsds_lib.images.exposure import Camera, embedded_photographs, illumination, simulate_triple, srgb_to_linear
from hsds_lib.losses.mef_ssim import mef_ssim_pair
from hsds_lib.runtime import provenance
from notebooks.tools.recordings import main

GAPS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
"""Stops between the two exposures."""
MIDDLES = (-4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0)
"""Exposure in the middle of the two, in stops relative to the photograph's."""
_SIDE = 216  # pixels of the longer side
_VERMILION = (0.835, 0.369, 0.0)


def record(
    path: Path,
    *,
    photo: str = "coffee",
    seed: int = 1,
    gaps: Sequence[float] = GAPS,
    middles: Sequence[float] = MIDDLES,
) -> None:
    """Photograph a scene with every gap and every middle, and write what the explorer shows."""
    known = embedded_photographs()
    if photo not in known:
        raise ValueError(f"there is no photograph '{photo}'; choose one of {', '.join(known)}")
    picture = reduced(known[photo])
    states: list[dict[str, Any]] = []
    pictures: dict[str, bytes] = {}
    for gap in gaps:
        for middle in middles:
            facts, mosaic = state(picture, gap, middle, seed)
            name = f"{len(states):04d}.webp"
            pictures[name] = encode(mosaic, quality=82)
            states.append({"gap": gap, "middle": middle, "picture": name, **facts})
    facts = {"photo": photo, "gaps": list(gaps), "middles": list(middles), "states": states}
    origin = provenance(photo=photo, seed=seed, camera=vars(Camera(ev_jitter=0.0)))
    write_recording(path, {**facts, "light": light(picture, seed), "provenance": origin}, pictures)


def pair(picture: Tensor, gap: float, middle: float, seed: int) -> tuple[Tensor, Tensor]:
    """The two exposures of a photograph under the scene's light, RGB ``(3, H, W)`` in [0, 1]."""
    camera = Camera(ev_jitter=0.0, ev_under=middle - gap / 2, ev_over=middle + gap / 2)
    return simulate_triple(picture, camera, torch.Generator().manual_seed(seed))[:2]


def state(picture: Tensor, gap: float, middle: float, seed: int) -> tuple[dict[str, Any], Tensor]:
    """Shares of lost pixels and scores of two fusions, and the pictures of one state side by side."""
    under, over = pair(picture, gap, middle, seed)
    gone = [torch.stack(lost(image)).any(0) for image in (under, over)]
    both = gone[0] & gone[1]
    lumas = [split_luma(image[None])[0] for image in (under, over)]
    fused = {"average": average(under, over), "Mertens": mertens(under, over)}
    scores = {name: float(mef_ssim_pair(split_luma(image[None])[0], *lumas)) for name, image in fused.items()}
    masks = {"under": gone[0], "over": gone[1], "both": both}
    shares = {name: mask.float().mean().item() for name, mask in masks.items()}
    return {name: round(value, 5) for name, value in {**shares, **scores}.items()}, _mosaic(
        under, over, fused["Mertens"], both
    )


def light(picture: Tensor, seed: int) -> list[int]:
    """Histogram of the scene's light in stops."""
    camera = Camera()
    shadows = illumination(*picture.shape[-2:], edge=camera.edge, generator=torch.Generator().manual_seed(seed))
    found = luma(srgb_to_linear(picture.double()) * torch.exp2(camera.stops * shadows))
    stops = torch.log2(found.clamp(min=2.0**DEEPEST))
    return [int(count) for count in torch.histc(stops, bins=BINS, min=DEEPEST, max=BRIGHTEST).tolist()]


def reduced(photo: Tensor) -> Tensor:
    """The photograph at the size in which it is shown."""
    return functional.interpolate(photo[None], scale_factor=_SIDE / max(photo.shape[-2:]), mode="area")[0]


def _mosaic(under: Tensor, over: Tensor, fused: Tensor, both: Tensor) -> Tensor:
    """Above the exposures, below the fusion, and once more in gray with the lost pixels in colour."""
    gray = 0.35 + 0.55 * luma(fused).float().expand(3, -1, -1)
    marked = torch.where(both, torch.tensor(_VERMILION).reshape(3, 1, 1), gray)
    gap = torch.ones(3, under.shape[1], 6)
    rows = [torch.cat([first, gap, second], dim=2) for first, second in ((under, over), (fused, marked))]
    return torch.cat([rows[0], torch.ones(3, 6, rows[0].shape[2]), rows[1]], dim=1)


if __name__ == "__main__":
    main(record, "exposure_gap")
