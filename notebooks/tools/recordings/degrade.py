"""Record what the explorer of metrics shows: ``python -m notebooks.tools.recordings.degrade``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor
from torch.nn import functional

from hsds_lib.course.explorers.degrade import DEGRADATIONS, degrade
from hsds_lib.course.explorers.media import encode
from hsds_lib.course.recording import write_recording
from hsds_lib.evaluation.metrics import CORRECT_FORM, PAPER_METRICS, Picture, all_metrics, to_pixels
from hsds_lib.fusing.fuse import fuse
from hsds_lib.images.batches import load_scenes
from hsds_lib.network.model_file import load_model
from hsds_lib.runtime import provenance
from notebooks.tools.recordings import main

STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
SIZE = (200, 300)
"""Height and width in pixels of the copies that are scored: TMQI needs 161."""


def record(
    path: Path, *, kinds: Sequence[str] = tuple(DEGRADATIONS), strengths: Sequence[float] = STRENGTHS, seed: int = 0
) -> None:
    """Fuse an embedded scene by the model that ships, degrade the picture in every way, and score each result."""
    scene = load_scenes("embedded", "val", seed=seed, limit=1)[0]
    if scene.ref is None:
        raise ValueError(f"scene {scene.name} has no reference, and CC and TMQI need one")
    fused = fuse(load_model(device="cpu"), scene.under, scene.over)
    under, over, ref = (Picture(to_pixels(_reduced(image))) for image in (scene.under, scene.over, scene.ref))
    start = _reduced(fused)
    states, pictures = [], {}
    for place, kind in enumerate(kinds):
        for strength in strengths:
            shown = degrade(kind, start[None], strength, seed=seed)[0]
            scores = all_metrics(under, over, Picture(to_pixels(shown)), ref)
            name = f"{place}-{strength:g}.webp" if strength else "start.webp"
            pictures[name] = encode(shown, quality=82)
            # The correct forms: the toolboxes' arithmetic behind Table 2 would hide what a metric is for.
            names = [CORRECT_FORM.get(metric, metric) for metric in PAPER_METRICS]
            values = {metric: _rounded(scores[metric]) for metric in names}
            states.append({"kind": kind, "strength": strength, "metrics": values, "picture": name})
    origin = provenance(seed=seed, scene=scene.name, size=list(SIZE), model="default")
    facts = {"scene": scene.name, "kinds": list(kinds), "strengths": list(strengths), "states": states}
    write_recording(path, {**facts, "provenance": origin}, pictures)


def _reduced(image: Tensor) -> Tensor:
    return functional.interpolate(image[None], size=SIZE, mode="area")[0]


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


if __name__ == "__main__":
    main(record, "degrade")
