"""Run the conditions of Table 3 at a tiny scale, with seeds: ``python -m hsds_lib.course.recordings.ablations``.

What these runs can show is the mechanism of each condition and how far seeds scatter. They cannot reproduce Table 3.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hsds_lib.config import ABLATIONS, PRESETS, SearchConfig, TrainConfig, ablation
from hsds_lib.course.explorers.media import encode
from hsds_lib.course.recording import FOLDER, write_recording
from hsds_lib.course.recordings.thresholds import macs
from hsds_lib.evaluation.metrics import all_metrics, to_pixels
from hsds_lib.fusing import fuse
from hsds_lib.images.pairs import Scene, load_scenes
from hsds_lib.losses.features import load_vgg16
from hsds_lib.network.fusion_net import FusionNet
from hsds_lib.runtime import provenance
from hsds_lib.search.run import run_search
from hsds_lib.training import train_network

SEEDS = (0, 1, 2)
SEARCH = PRESETS["tiny"].search.changed(epochs=5, steps_per_epoch=6)
TRAINING = PRESETS["tiny"].train.changed(
    epochs=1, steps_per_epoch=100, skip_terms=("perceptual_ref", "perceptual_under", "perceptual_over")
)
METRICS = ("SD", "VIF", "CC", "TMQI", "MS-SSIM", "MEF-SSIM", "SD_double", "VIF_double", "TMQI_255", "Qabf")


def record(
    path: Path,
    *,
    seeds: Sequence[int] = SEEDS,
    conditions: Sequence[str] = tuple(ABLATIONS),
    search: SearchConfig = SEARCH,
    training: TrainConfig = TRAINING,
) -> None:
    """Search, train and score every condition with every seed, and write what notebook 8 shows.

    Args:
        path: the zip file to write.
        seeds: of search, training and data order; the validation scenes are the same for all.
        conditions: names in ``ABLATIONS``.
        search: settings of the search; condition and seed are set in it.
        training: settings of the training; the seed is set in it.
    """
    scenes = load_scenes("embedded", "val", seed=0)
    runs: list[dict[str, Any]] = []
    pictures: dict[str, bytes] = {}
    for condition in conditions:
        for seed in seeds:
            facts, network = run(condition, search.changed(seed=seed), training.changed(seed=seed))
            name = f"{len(runs):04d}.webp"
            pictures[name] = encode(fuse(network, scenes[0].under, scenes[0].over), quality=82)
            scores = {scene.name: score(network, scene) for scene in scenes}
            runs.append({"condition": condition, "seed": seed, "picture": name, **facts, "scores": scores})
            print(f"{condition}, seed {seed}: {scores[scenes[0].name]['MS-SSIM']:.3f}", flush=True)
    label = load_vgg16(search.features, seed=0).label
    origin = provenance(search=search.model_dump(), training=training.model_dump(), features=label)
    facts = {"scene": scenes[0].name, "features": label, "runs": runs, "provenance": origin}
    write_recording(path, facts, pictures)


def run(condition: str, search: SearchConfig, training: TrainConfig) -> tuple[dict[str, Any], FusionNet]:
    """One search under a condition of Table 3 and one training: what was found, and the trained network."""
    done = run_search(ablation(search, condition), device="cpu", show=False)
    network = train_network(done.genotype, done.loss_weights, training, device="cpu", show=False).network
    facts = {
        "genotype": {node: {n: round(w, 6) for n, w in kept.items()} for node, kept in done.genotype.nodes.items()},
        "loss_mix": {name: round(weight, 6) for name, weight in done.loss_weights.mix.items()},
        "operations_left": int(done.search.active.sum()),
        "operations": sum(len(kept) for kept in done.genotype.nodes.values()),
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "macs": macs(done.genotype),
    }
    return facts, network


def score(network: FusionNet, scene: Scene) -> dict[str, float]:
    """The metrics of one scene, the paper's in the paper's arithmetic and the correct ones."""
    fused = fuse(network, scene.under, scene.over)
    assert scene.ref is not None
    under, over, result, ref = (to_pixels(image) for image in (scene.under, scene.over, fused, scene.ref))
    found = all_metrics(under, over, result, ref=ref)
    return {name: round(found[name] or 0.0, 5) for name in METRICS}


def main() -> None:
    """Record and write the file that ships."""
    parser = argparse.ArgumentParser(description="Run the seven conditions of Table 3 at a tiny scale.")
    parser.add_argument("--out", type=Path, default=FOLDER / "ablations.zip")
    record(parser.parse_args().out)


if __name__ == "__main__":
    main()
