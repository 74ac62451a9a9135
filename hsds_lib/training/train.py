"""Train the derived network with the loss that was found: from two JSON files to a model."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hsds_lib.config import TrainConfig
from hsds_lib.images.batches import Batch, Scene
from hsds_lib.losses.features import VGG16
from hsds_lib.losses.mef_ssim import mef_ssim_pair
from hsds_lib.losses.space import LossWeights, weighted_loss
from hsds_lib.losses.terms import prepare_targets, term_vector
from hsds_lib.network.fusion_net import FusionNet
from hsds_lib.network.genotype import Genotype
from hsds_lib.network.model_file import MODEL, PARTIAL, PROVENANCE, described_model, save_model
from hsds_lib.network.operations import BatchNorm
from hsds_lib.runs.checkpoints import EVERY, Checkpoints
from hsds_lib.runs.lock import alone_in
from hsds_lib.runs.log import RunLog
from hsds_lib.runs.parallel import process_group
from hsds_lib.runs.progress import memory_advice
from hsds_lib.runtime import RunError, file_hash, pick_device, write_json
from hsds_lib.training.job import TrainingJob, TrainingRun, validation_batches

_HISTORY = "training.partial.jsonl"


def train_network(
    genotype: Genotype,
    loss_weights: LossWeights,
    config: TrainConfig,
    *,
    out: Path | None = None,
    device: str = "auto",
    show: bool = True,
    resume: bool = False,
    accept_code_change: bool = False,
    checkpoint_every: float = EVERY,
) -> TrainingRun:
    """Train the network a genotype describes with searched loss weights, from fresh weights.

    Started by ``torchrun`` in several processes, each takes batches of its own and the gradients are averaged. ``out``
    gets ``model.safetensors``, ``training.jsonl`` and ``training_provenance.json`` when the training is finished, in
    place of those of an earlier one; until then there are checkpoints, and model and history so far, called
    ``partial``. ``resume`` goes on from the last checkpoint, to the same bits; where the code has changed since, only
    with ``accept_code_change``, and the provenance tells of it. The running statistics are recalibrated at the end.

    FileExistsError: to ``resume``, but a finished training is there. DataError and ValueError say which data or
    settings cannot be used; RunError that the loss became infinite or NaN, memory or disk are full, another process is
    at work in ``out``, or the checkpoint is of other settings or code; Stopped that Ctrl-C or SIGTERM ended it after a
    checkpoint.
    """
    where = pick_device(device)
    lower = f"batch_size ({config.batch_size}) or crop ({config.crop})"
    with process_group(where.type) as group, alone_in(None if group.rank else out, "train"), memory_advice(lower):
        if out is not None and resume and _is_finished(Path(out)) and not Checkpoints(out, "train").exist():
            raise FileExistsError(f"{out} already holds a trained model; --restart (resume=False) trains another one")
        job = TrainingJob(genotype, loss_weights, config, where, group)
        log = RunLog(out, "train", show=show, every=checkpoint_every, group=group, history=_HISTORY)
        found = log.find(job.identity, accept_code_change=accept_code_change) if resume else None
        if found is not None:
            job.restore(found)
        _descend(job, log)
        job.run.network.eval()
        # The layout of a model that was read from a file, so that both give the same bits.
        job.run.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        if log.writes:
            _save(job, log)
            write_json(log.folder / PROVENANCE, {**job.origin(), "model_sha256": file_hash(log.folder / PARTIAL)})
            _put_in_place(log.folder)
            log.finish()
    return job.run


def _save(job: TrainingJob, log: RunLog) -> None:
    save_model(job.run.network, log.folder / PARTIAL, epochs=(len(job.run.history), job.config.epochs))


def _put_in_place(folder: Path) -> None:
    """Let history and model follow the provenance, which was written first and holds the hash of the model."""
    if (folder / _HISTORY).is_file():
        os.replace(folder / _HISTORY, folder / "training.jsonl")
    os.replace(folder / PARTIAL, folder / MODEL)


def _is_finished(folder: Path) -> bool:
    """Say whether a trained model is there; what a kill in the last moment left undone is done now."""
    partial = folder / PARTIAL
    if partial.is_file() and described_model(folder) == file_hash(partial):
        _put_in_place(folder)
    return (folder / MODEL).is_file()


def _descend(job: TrainingJob, log: RunLog) -> None:
    """Run the epochs; after each the statistics are recalibrated, the model is written and validated."""
    config, began = job.config, time.perf_counter()
    total = config.epochs * job.steps
    with log.running(total, job.run.history, done=job.done):
        for step in range(job.done, total):
            if step == job.fixed_from and not job.brings_statistics:
                _recalibrate(job)
            for group in job.optimiser.param_groups:
                group["lr"] = config.lr * _rate(step / total, config.schedule)
            job.losses.append(_train_step(job, step))
            record = None
            if len(job.losses) == job.steps:
                record = _end_epoch(job, round(time.perf_counter() - began, 1))
                began = time.perf_counter()
                if log.writes:
                    _save(job, log)
            log.step(record, job.checkpoint)
            if record is not None:
                score = f"loss {record['loss']:.4f}, val MEF-SSIM {record['val_mef_ssim']:.4f}"
                log.progress.line(f"epoch {record['epoch'] + 1}/{config.epochs}, {score}")


def _recalibrate(job: TrainingJob) -> None:
    recalibrate(job.run.network, [next(job.batches) for _ in range(job.config.recalibration_batches)])
    # Of the batches of all processes.
    job.group.average([buffer for buffer in job.run.network.buffers() if buffer.is_floating_point()])


def _end_epoch(job: TrainingJob, seconds: float) -> dict[str, Any]:
    network, config = job.run.network, job.config
    if job.done <= job.fixed_from:  # else the weights were trained for the statistics as they are
        _recalibrate(job)
    job.group.require_equal(list(network.parameters()), "their weights")
    score = validation_score(network, job.val_scenes, crop=config.crop)
    if not math.isfinite(score):
        raise RunError(f"step {job.done}: the network gives pixels that are not finite; lower lr")
    record = {
        "epoch": len(job.run.history),
        "loss": sum(job.losses) / len(job.losses),
        "val_mef_ssim": score,
        "seconds": seconds,
    }
    job.run.history.append(record)
    job.losses.clear()
    return record


def _rate(share: float, schedule: str) -> float:
    """Factor of the learning rate after ``share`` of the steps; the cosine ends at 1 %."""
    return 1.0 if schedule == "constant" else 0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2


def _train_step(job: TrainingJob, step: int) -> float:
    network, optimiser, config = job.run.network, job.optimiser, job.config
    network.train(step < job.fixed_from)
    batch = next(job.batches).to(next(network.parameters()).device)
    fused, outside = _in_range(network(batch.over_under_y), config.range_weight)
    names, mix = zip(*job.weights.items(), strict=True)
    terms = batch_terms(fused, batch, job.vgg, names, config.perceptual_items)
    loss = weighted_loss(terms, terms.new_tensor(mix)) + outside
    seen = torch.cat([terms.detach(), loss.detach()[None]])
    job.group.average([seen])
    if not bool(torch.isfinite(seen).all()):
        bad = [name for name, value in zip((*names, "the sum"), seen.tolist(), strict=True) if not math.isfinite(value)]
        raise RunError(f"step {step}: the training loss is not finite in {', '.join(bad)}; lower lr")
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    job.group.average([weight.grad for weight in network.parameters() if weight.grad is not None])
    if config.clip_norm is not None:
        nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
    optimiser.step()
    return float(seen[-1])


def batch_terms(fused_y: Tensor, batch: Batch, vgg: VGG16, names: Sequence[str], items: int | None = None) -> Tensor:
    """Evaluate terms of the loss on a batch: ``(len(names),)``, the perceptual ones on its first ``items``, or on all.

    Terms are means over items, and the items of a batch are drawn at random: a part of them is no other loss, only a
    noisier one. VGG-16 is most of the time of a training step.
    """
    values: dict[str, Tensor] = {}
    for seen, count in ((False, len(fused_y)), (True, items or len(fused_y))):
        group = [name for name in names if name.startswith("perceptual_") == seen]
        if group:
            targets = prepare_targets(batch.first(count), vgg, contrast=False, names=group)
            values.update(zip(group, term_vector(fused_y[:count], targets, vgg, names=group), strict=True))
    return torch.stack([values[name] for name in names])


def _in_range(fused_y: Tensor, weight: float) -> tuple[Tensor, Tensor | float]:
    """Clamp luma to what a picture can hold, and price what was cut off; without a weight the paper's way, neither."""
    if weight == 0:
        return fused_y, 0.0
    inside = fused_y.clamp(0, 1)
    return inside, weight * (fused_y - inside).abs().mean()


@torch.no_grad()
def recalibrate(network: FusionNet, batches: list[Batch]) -> None:
    """Set the running statistics of every normalisation to their mean over some training batches.

    The moving average of training mixes statistics of many older weights; a plain mean under the present ones is what
    evaluation needs. A batch counts the same whatever its size; without one it is a ValueError. The network is left in
    evaluation mode, its weights as they are.

    Example:
        >>> from hsds_lib.network.fusion_net import derive
        >>> from hsds_lib.network.genotype import NODES, Genotype
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
    """Give the mean three-scale MEF-SSIM of the fused luma, clamped, on the central crop of every scene.

    The crop is at least 44 pixels, else a ValueError; DataError if there are no scenes or one cannot be used.
    """
    device = next(network.parameters()).device
    network.eval()
    scores: list[Tensor] = []
    for batch in validation_batches(scenes, crop):
        pair = batch.to(device).over_under_y
        scores.append(mef_ssim_pair(network(pair).clamp(0, 1), pair[:, 1:2], pair[:, 0:1]))
    return float(torch.cat(scores).mean())
