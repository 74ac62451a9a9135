"""Record the searches behind the explorer of thresholds: ``python -m notebooks.tools.recordings.thresholds``.

Every threshold theta is a search of its own, from the same start and on the same batches. Every P too, unless a search
provably does not depend on it: P only forbids that a node loses one of its last P operations, so a search in which no
node has fewer than P at the end is the search with that P as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from hsds_lib.config import PRESETS, SearchConfig, TrainConfig
from hsds_lib.course.explorers.media import encode
from hsds_lib.course.recording import write_recording
from hsds_lib.evaluation.metrics import all_metrics, to_pixels
from hsds_lib.fusing.fuse import fuse
from hsds_lib.images.batches import Scene, load_scenes
from hsds_lib.images.color import colourise, split_luma
from hsds_lib.losses.features import load_vgg16
from hsds_lib.network.budget import genotype_macs
from hsds_lib.network.operations import batch_statistics
from hsds_lib.runtime import provenance
from hsds_lib.search.dual import DualSearch
from hsds_lib.search.run import run_search
from hsds_lib.search.wsras import retain
from hsds_lib.training.train import train_network
from notebooks.tools.recordings import main

THETAS = (0.0, 0.04, 0.05, 0.06, 0.07, 0.08)
TOP_PS = (1, 2, 3)
METRICS = ("MS-SSIM", "VIF_double", "Qabf", "EN")
SETTINGS = PRESETS["tiny"].search.changed(epochs=12, steps_per_epoch=8, lr_alpha=0.1, beta_warmup=6, features="random")
TRAINING = PRESETS["tiny"].train.changed(
    epochs=1, steps_per_epoch=60, skip_terms=("perceptual_ref", "perceptual_under", "perceptual_over")
)
_PICTURE_WIDTH = 200  # pixels


def record(
    path: Path,
    *,
    config: SearchConfig = SETTINGS,
    thetas: Sequence[float] = THETAS,
    top_ps: Sequence[int] = TOP_PS,
    every: int = 2,
    training: TrainConfig = TRAINING,
) -> None:
    """Search with each threshold and each P, and write what the explorer shows."""
    scene = _reduced(load_scenes("embedded", "val", seed=config.seed)[0])
    label = load_vgg16(config.features, seed=config.seed).label
    states: list[dict[str, Any]] = []
    pictures: dict[str, bytes] = {}
    searched: list[dict[str, float]] = []
    for theta in thetas:
        runs: dict[int, list[dict[str, Any]]] = {}
        for top_p in top_ps:
            below = [p for p in runs if runs[p][-1]["fewest"] >= top_p]
            if below:  # no node has fewer: the search with that smaller P is this search
                runs[top_p] = runs[below[0]]
            else:
                runs[top_p] = _search(config.changed(theta=theta, top_p=top_p), scene, every)
                searched.append({"theta": theta, "top_p": top_p})
            for state in runs[top_p]:
                known = next((s for s in states if state["step"] == 0 == s["step"] and s["top_p"] == top_p), None)
                if known is not None:  # at the start theta makes no difference
                    states.append({**known, "theta": theta})
                    continue
                shown, mosaic = _shown(state, top_p, config.width, training, scene)
                name = f"{len(pictures):04d}.webp"
                pictures[name] = encode(mosaic, quality=80)
                states.append({"theta": theta, "top_p": top_p, "picture": name, **shown})
            print(f"theta {theta}, P {top_p}: {runs[top_p][-1]['active'].sum()} operations left", flush=True)
    origin = provenance(
        config=config.model_dump(), training=training.model_dump(), scene=scene.name, features=label, searches=searched
    )
    facts = {"scene": scene.name, "width": config.width, "features": label, "training_steps": training.steps_per_epoch}
    write_recording(path, {**facts, "states": states, "provenance": origin}, pictures)


def _search(config: SearchConfig, scene: Scene, every: int) -> list[dict[str, Any]]:
    """Run one search; keep copies of its state, and the picture of the search network."""
    kept: list[dict[str, Any]] = []
    pair = torch.cat([split_luma(image[None])[0] for image in (scene.over, scene.under)], dim=1)

    def keep(search: DualSearch, epoch: int) -> None:
        done = epoch + 1
        if done % every and done != config.epochs:
            return
        with torch.no_grad(), batch_statistics(search.network):
            fused = search.network(pair, search.node_mix())
        kept.append(
            {
                "step": len(search.history),
                "alpha": search.alpha.detach().clone(),
                "active": search.active.clone(),
                "fewest": int(search.active.sum(dim=1).min()),
                "loss_weights": search.loss_weights(),
                "picture": colourise(fused, scene.under[None], scene.over[None])[0],
            }
        )

    run_search(config, device="cpu", show=False, on_epoch=keep)
    return kept


def _shown(
    state: Mapping[str, Any], top_p: int, width: float, training: TrainConfig, scene: Scene
) -> tuple[dict[str, Any], Tensor]:
    """What the explorer shows of a state: facts, and two pictures side by side."""
    genotype = retain(state["alpha"], state["active"], top_p=top_p, width=width)
    network = train_network(genotype, state["loss_weights"], training, device="cpu", show=False).network
    fused = {"search": state["picture"], "trained": fuse(network, scene.under, scene.over)}
    mix = torch.where(state["active"], state["alpha"].double(), -torch.inf).softmax(dim=1)
    facts = {
        "step": state["step"],
        "mix": [[round(value, 5) for value in row] for row in mix.tolist()],
        "active": state["active"].int().tolist(),
        "genotype": {node: {n: round(w, 5) for n, w in kept.items()} for node, kept in genotype.nodes.items()},
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "macs": genotype_macs(genotype),
        "metrics": {name: _scores(scene, picture) for name, picture in fused.items()},
    }
    gap = torch.ones(3, scene.under.shape[1], 6)
    return facts, torch.cat([fused["search"], gap, fused["trained"]], dim=2)


def _scores(scene: Scene, fused: Tensor) -> dict[str, float]:
    found = all_metrics(*(to_pixels(image) for image in (scene.under, scene.over, fused)))
    return {name: round(found[name] or 0.0, 4) for name in METRICS}


def _reduced(scene: Scene) -> Scene:
    """The scene at the size in which it is shown."""
    height = round(scene.under.shape[1] * _PICTURE_WIDTH / scene.under.shape[2] / 2) * 2

    def small(image: Tensor) -> Tensor:
        return functional.interpolate(image[None], size=(height, _PICTURE_WIDTH), mode="area")[0]

    return Scene(scene.name, small(scene.under), small(scene.over), None if scene.ref is None else small(scene.ref))


if __name__ == "__main__":
    main(record, "thresholds")
