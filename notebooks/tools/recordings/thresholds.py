"""Record the searches behind the explorer of thresholds: ``python -m notebooks.tools.recordings.thresholds``.

The question: what do theta and P buy? Written down before the runs: a larger theta should cost less search time and
give networks of about the same size; if it also gives better ones, their means must differ by more than the range of
three seeds. Else theta buys time alone. The same for P: more operations cost more, and pay only beyond that range.

Every theta and every seed is a search of its own. The loss weights stay uniform in all of them (the condition "w/o
Gamma_H" of Table 3), so that theta alone differs. No search goes below three operations in a node; P = 1, 2 and 3 are
what line 15 of Algorithm 1 retains of it. Each retained network is then trained in the same way, with the same five
terms, so that structures alone are compared.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from hsds_lib.config import PRESETS, SearchConfig, TrainConfig
from hsds_lib.course.explorers.media import encode
from hsds_lib.course.explorers.thresholds import BASELINES, Facts, costs, fixed_pictures, scores, state_of
from hsds_lib.course.recording import FOLDER, write_recording
from hsds_lib.fusing.fuse import fuse
from hsds_lib.images.batches import Scene, load_scenes
from hsds_lib.images.color import colourise, split_luma
from hsds_lib.losses.features import LABELS
from hsds_lib.losses.space import LossWeights
from hsds_lib.network.folded import fold
from hsds_lib.network.fusion_net import Supernet
from hsds_lib.network.genotype import NODES
from hsds_lib.network.model_file import load_model
from hsds_lib.network.operations import PRIMITIVES, batch_statistics, softmax_active
from hsds_lib.runtime import provenance
from hsds_lib.search.wsras import retain
from notebooks.tools.recordings import place_for
from notebooks.tools.recordings.runs import add_options, kept_states, searched, side_by_side, trained, work_folder

THETAS = (0.0, 0.03, 0.05, 0.08, 1 / 11)
TOP_PS = (1, 2, 3)
SEEDS = (0, 1, 2)
SEARCH = PRESETS["lesson"].search.changed(
    data="real", epochs=20, steps_per_epoch=20, crop=48, contrast="none", top_p=max(TOP_PS)
)
TRAINING = PRESETS["lesson"].train.changed(
    data="real", epochs=5, steps_per_epoch=100, batch_size=4, crop=64, lr=4e-3, jitter=True, fixed_statistics=0.5,
    range_weight=1.0, clip_norm=1.0, perceptual_items=1,
    only_terms=("mse_ref", "ssim_ref", "mefssim_under", "mefssim_over", "grad"),
)  # fmt: skip
_PICTURE_WIDTH = 208  # pixels
_SCORED_SIDE = 256  # pixels; the longer side of the scenes that are scored


def record(
    path: Path,
    work: Path,
    *,
    search: SearchConfig = SEARCH,
    training: TrainConfig = TRAINING,
    thetas: Sequence[float] = THETAS,
    seeds: Sequence[int] = SEEDS,
    processes: int = 1,
) -> None:
    """Search with each threshold and seed, train what is retained, and write what the explorer shows."""
    configs = [search.changed(theta=theta, seed=seed) for seed in seeds for theta in thetas]
    found = side_by_side([partial(followed, work, config, training) for config in configs], processes)
    states = [state for group, _ in found for state in group]
    retained = [one for _, group in found for one in group]
    shown, scenes = shown_scene(), scored_scenes(search.data)
    fixed = fixed_pictures(shown)
    pictures = {f"{name}.webp": file for name, file in fixed.items()}
    for number, one in enumerate([*states, *retained]):
        picture = one.pop("picture")
        if one["seed"] == seeds[0]:  # the one that is shown
            one["picture"] = f"{number:04d}.webp"
            pictures[one["picture"]] = picture
    facts = {
        "about": _about(search, training, len(found), len(seeds)),
        "scene": shown.name,
        "scenes": len(scenes),
        "width": search.width,
        "top_ps": list(TOP_PS),
        "fixed": {name: f"{name}.webp" for name in fixed},
        "baselines": {name: scores(method, scenes) for name, method in BASELINES.items()},
        "states": states,
        "retained": retained,
        "provenance": provenance(search=search.model_dump(), training=training.model_dump()),
    }
    write_recording(path, facts, pictures)


def _about(search: SearchConfig, training: TrainConfig, runs: int, seeds: int) -> str:
    steps, trained_for = (
        search.epochs * (search.steps_per_epoch or 0),
        training.epochs * (training.steps_per_epoch or 0),
    )
    return (
        f"{runs} real searches of {steps} steps ({search.crop} pixels, width {search.width:g}, "
        f"{LABELS[search.features]}, uniform loss weights), recorded: {seeds} seeds of every θ. "
        f"Of each the networks of P = 1, 2 and 3, trained for {trained_for} steps with "
        f"{len(training.only_terms)} terms."
    )


def followed(work: Path, config: SearchConfig, training: TrainConfig) -> tuple[list[Facts], list[Facts]]:
    """Do a search, or find it done: its kept states, and the networks retained at its end, trained."""
    run = searched(work, config)
    records = [json.loads(line) for line in (run / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    shown, scenes, whose = shown_scene(), scored_scenes(config.data), {"theta": config.theta, "seed": config.seed}
    states, retained = [], []
    for step, tensors in kept_states(run).items():
        fused = partial(supernet_fuses, *supernet(tensors, config.width))
        seen = {"scores": scores(fused, scenes), "picture": encode(fused(shown.under, shown.over), quality=82)}
        states.append({**whose, **state_of(records[:step], config.width), **seen})
    for top_p in TOP_PS:
        genotype = retain(tensors["alpha"], tensors["active"], top_p=top_p, width=config.width)
        folder = trained(work, genotype, LossWeights.uniform(), training.changed(seed=config.seed))
        fused = partial(fuse, fold(load_model(folder, device="cpu")))
        seen = {"scores": scores(fused, scenes), "picture": encode(fused(shown.under, shown.over), quality=82)}
        retained.append({**whose, "top_p": top_p, **costs(genotype), **seen})
    return states, retained


@torch.no_grad()
def supernet_fuses(network: Supernet, mix: Tensor, under: Tensor, over: Tensor) -> Tensor:
    """The picture of a search network, normalised as in the search."""
    pair = torch.cat([split_luma(image[None])[0] for image in (over, under)], dim=1)
    with batch_statistics(network):
        return colourise(network(pair, mix), under[None], over[None])[0]


def supernet(tensors: dict[str, Tensor], width: float) -> tuple[Supernet, Tensor]:
    """The search network of a kept state, and its node weights."""
    network = Supernet(width=width)
    for row, column in (~tensors["active"]).nonzero().tolist():
        network.remove(NODES[row], PRIMITIVES[column])
    prefix = "network/"
    network.load_state_dict({name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)})
    return network, softmax_active(tensors["alpha"].double(), tensors["active"]).float()


def shown_scene() -> Scene:
    """The scene that is shown, small."""
    return reduced(load_scenes("embedded", "val", seed=0)[0], _PICTURE_WIDTH)


def scored_scenes(data: str) -> list[Scene]:
    """The validation scenes, which no search and no training saw, reduced."""
    return [reduced(scene, _SCORED_SIDE) for scene in load_scenes(data, "val", seed=0)]


def reduced(scene: Scene, side: int) -> Scene:
    """A scene whose longer side has at most so many pixels."""
    height, width = scene.under.shape[-2:]
    scale = min(1.0, side / max(height, width))
    size = tuple(round(length * scale / 2) * 2 for length in (height, width))

    def small(image: Tensor) -> Tensor:
        return functional.interpolate(image[None], size=size, mode="area")[0]

    return Scene(scene.name, small(scene.under), small(scene.over), None if scene.ref is None else small(scene.ref))


def main() -> None:
    """Record and write the file that ships."""
    parser = argparse.ArgumentParser(description="Record searches with several thresholds, and what they retain.")
    add_options(parser, FOLDER / "thresholds.zip")
    options = parser.parse_args()
    record(place_for(options.out, parser), work_folder(options.work), processes=options.processes)


if __name__ == "__main__":
    main()
