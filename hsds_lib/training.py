"""Train the derived network with the loss that was found: from two JSON files to a model."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from hsds_lib.config import TrainConfig
from hsds_lib.images.pairs import Batch, PairBatches, Scene, load_naturals
from hsds_lib.losses.features import VGG16, load_vgg16
from hsds_lib.losses.mef_ssim import mef_ssim_pair
from hsds_lib.losses.space import LossWeights, training_weights, weighted_loss
from hsds_lib.losses.terms import prepare_targets, term_vector
from hsds_lib.network.fusion_net import FusionNet, derive
from hsds_lib.network.genotype import Genotype
from hsds_lib.network.operations import BatchNorm
from hsds_lib.runtime import Progress, RunError, atomic_path, fingerprint, pick_device, provenance, seeded, write_json
from hsds_lib.scenes import endless, referenced_scenes


@dataclass
class TrainingRun:
    """A trained network in evaluation mode, and one record per epoch.

    Example:
        >>> from hsds_lib.fusing import load_model
        >>> TrainingRun(load_model("default", device="cpu")).history
        []
    """

    network: FusionNet
    history: list[dict[str, Any]] = field(default_factory=list)


def train_network(
    genotype: Genotype,
    loss_weights: LossWeights,
    config: TrainConfig,
    *,
    out: Path | None = None,
    device: str = "auto",
    show: bool = True,
) -> TrainingRun:
    """Train the network a genotype describes with searched loss weights, from fresh weights.

    Args:
        genotype: the operations of every node.
        loss_weights: the loss; terms named in ``config.skip_terms`` are left out and the rest rescaled.
        config: the settings; their seed fixes everything that is random.
        out: run folder for ``model.safetensors``, ``training.jsonl`` and ``training_provenance.json``.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        show: report progress on standard error.

    Returns:
        The network with recalibrated running statistics, and the history.

    Raises:
        DataError: the data is missing or cannot be used.
        RunError: the loss became infinite or NaN.
        ValueError: ``config.skip_terms`` leaves nothing or names an unknown term, or the device is not present.

    Example:
        >>> from hsds_lib.config import preset
        >>> from hsds_lib.network.genotype import NODES
        >>> genotype = Genotype(nodes={node: {"conv_3x3": 1.0} for node in NODES}, width=0.125)
        >>> skipped = ("perceptual_ref", "perceptual_under", "perceptual_over")  # the slow ones
        >>> short = preset("tiny").train.changed(
        ...     epochs=1, steps_per_epoch=1, crop=48, recalibration_batches=1, skip_terms=skipped, features="random"
        ... )
        >>> run = train_network(genotype, LossWeights.uniform(), short, device="cpu", show=False)
        >>> list(run.history[0])
        ['epoch', 'loss', 'val_mef_ssim', 'seconds']
    """
    began = time.perf_counter()
    where = pick_device(device)
    train_scenes = referenced_scenes(config.data, "train", seed=config.seed)
    val_scenes = referenced_scenes(config.data, "val", seed=config.seed)
    naturals = load_naturals(config.data, "train", seed=config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    shape: dict[str, Any] = {"crop": config.crop, "batch_size": config.batch_size, "generator": generator}
    batches = PairBatches(train_scenes, naturals, **shape)
    weights = training_weights(loss_weights, config.skip_terms)
    vgg = load_vgg16(config.features, seed=config.seed).to(where)
    with seeded(config.seed):
        network = derive(genotype, separate_statistics=config.separate_statistics).to(where)
    run = TrainingRun(network)
    _descend(run, endless(batches), len(batches), weights, config, vgg, val_scenes, out=out, show=show)
    network.eval()
    if out is not None:
        images = [image for scene in train_scenes for image in (scene.under, scene.over)]
        origin = provenance(
            kind="training",
            config=config.model_dump(),
            loss_weights=weights,
            genotype=genotype.model_dump(),
            train_scenes=[scene.name for scene in train_scenes],
            val_scenes=[scene.name for scene in val_scenes],
            references={scene.name: scene.ref_origin for scene in train_scenes},
            data_sha256=fingerprint(images),
            vgg=vgg.source,
            seconds=round(time.perf_counter() - began, 1),
            history=run.history,
        )
        write_json(Path(out) / "training_provenance.json", origin)
    return run


def _descend(
    run: TrainingRun,
    batches: Iterator[Batch],
    per_pass: int,
    weights: dict[str, float],
    config: TrainConfig,
    vgg: VGG16,
    val_scenes: list[Scene],
    *,
    out: Path | None,
    show: bool,
) -> None:
    """Run the epochs; after each the statistics are recalibrated, the model is written and validated."""
    steps = config.steps_per_epoch or per_pass
    optimiser = torch.optim.Adam(run.network.parameters(), lr=config.lr)
    progress = Progress(config.epochs * steps, label="train", show=show)
    try:
        for epoch in range(config.epochs):
            began, losses = time.perf_counter(), []
            for step in range(steps):
                share = (epoch * steps + step) / (config.epochs * steps)
                for group in optimiser.param_groups:
                    group["lr"] = config.lr * _rate(share, config.schedule)
                losses.append(_train_step(run.network, optimiser, next(batches), weights, vgg))
                progress.step()
            recalibrate(run.network, [next(batches) for _ in range(config.recalibration_batches)])
            score = validation_score(run.network, val_scenes, crop=config.crop)
            record = {
                "epoch": epoch,
                "loss": sum(losses) / len(losses),
                "val_mef_ssim": score,
                "seconds": round(time.perf_counter() - began, 1),
            }
            run.history.append(record)
            progress.line(f"epoch {epoch + 1}/{config.epochs}, loss {record['loss']:.4f}, val MEF-SSIM {score:.4f}")
            if out is not None:
                save_model(run.network, Path(out) / "model.safetensors")
                with atomic_path(Path(out) / "training.jsonl") as temporary:
                    temporary.write_text("".join(json.dumps(row) + "\n" for row in run.history), encoding="utf-8")
    finally:
        progress.close()


def _rate(share: float, schedule: str) -> float:
    """Factor of the learning rate after ``share`` of the steps; the cosine ends at 1 %."""
    return 1.0 if schedule == "constant" else 0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2


def _train_step(
    network: FusionNet, optimiser: torch.optim.Optimizer, batch: Batch, weights: dict[str, float], vgg: VGG16
) -> float:
    network.train()
    batch = batch.to(next(network.parameters()).device)
    names, mix = zip(*weights.items(), strict=True)
    targets = prepare_targets(batch, vgg, contrast=False, names=names)
    terms = term_vector(network(batch.over_under_y), targets, vgg, names=names)
    loss = weighted_loss(terms, terms.new_tensor(mix))
    if not bool(torch.isfinite(loss)):
        bad = [name for name, value in zip(names, terms.tolist(), strict=True) if not math.isfinite(value)]
        raise RunError(f"the training loss is not finite in {', '.join(bad) or 'the sum'}; lower lr")
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return float(loss.detach())


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
        >>> from hsds_lib.network.genotype import NODES
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
        >>> from hsds_lib.fusing import load_model
        >>> from hsds_lib.images.pairs import load_scenes
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


def save_model(network: FusionNet, path: str | Path) -> None:
    """Write weights and, in the file's metadata, the genotype they belong to, as one safetensors file.

    Args:
        network: a derived network.
        path: the file to write, atomically; ``load_model`` reads it.

    Raises:
        ValueError: for a supernet, which has no genotype.

    Example:
        >>> import tempfile
        >>> from hsds_lib.fusing import load_model
        >>> network, pair = load_model("default", device="cpu"), torch.rand(1, 2, 9, 9)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_model(network, Path(folder) / "model.safetensors")
        ...     torch.equal(load_model(folder, device="cpu")(pair), network(pair))
        True
    """
    if network.mix is None:
        raise ValueError("a supernet has no genotype of its own; derive a network first")
    genotype = Genotype.from_mix(network.mix.double().cpu(), width=network.width)
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    metadata = {
        "genotype": genotype.model_dump_json(),
        "separate_statistics": json.dumps(network.separate_statistics),
    }
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)
