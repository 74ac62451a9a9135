"""Train the derived network with the loss that was found: from two JSON files to a model."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from hsds_lib.calibration import recalibrate, validation_score
from hsds_lib.checkpoints import EVERY, Checkpoint, optimiser_tensors, restore_optimiser
from hsds_lib.config import TrainConfig
from hsds_lib.images.pairs import PairBatches, Scene, load_naturals
from hsds_lib.losses.features import VGG16, load_vgg16
from hsds_lib.losses.space import LossWeights, training_weights, weighted_loss
from hsds_lib.losses.terms import prepare_targets, term_vector
from hsds_lib.network.fusion_net import FusionNet, derive
from hsds_lib.network.genotype import Genotype
from hsds_lib.parallel import Group, process_group
from hsds_lib.progress import memory_advice
from hsds_lib.runlog import RunLog
from hsds_lib.runtime import RunError, atomic_path, fingerprint, pick_device, provenance, seeded, write_json
from hsds_lib.scenes import Endless, referenced_scenes


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


@dataclass
class _Job:
    """A training in progress with its data: all that a checkpoint must hold."""

    run: TrainingRun
    config: TrainConfig
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    batches: Endless
    steps: int  # in an epoch
    weights: dict[str, float]
    vgg: VGG16
    train_scenes: list[Scene]
    val_scenes: list[Scene]
    group: Group
    identity: dict[str, Any]
    losses: list[float] = field(default_factory=list)  # of this epoch
    seconds: float = 0.0  # before this process

    def __post_init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def done(self) -> int:
        """Steps so far."""
        return len(self.run.history) * self.steps + len(self.losses)

    def elapsed(self) -> float:
        return round(self.seconds + time.perf_counter() - self._began, 1)

    def checkpoint(self) -> Checkpoint:
        network = self.run.network
        tensors = {f"network/{name}": value for name, value in network.state_dict().items()}
        tensors |= optimiser_tensors("adam", self.optimiser, dict(network.named_parameters()))
        tensors["generator"] = self.generator.get_state()
        own = {"left": self.batches.left, "losses": self.losses, "seconds": self.elapsed(), "history": self.run.history}
        return Checkpoint(self.done, tensors, {**self.identity, **own})

    def restore(self, checkpoint: Checkpoint) -> None:
        tensors, facts = checkpoint.tensors, checkpoint.facts
        network = self.run.network
        network.load_state_dict(
            {name.removeprefix("network/"): value for name, value in tensors.items() if name.startswith("network/")}
        )
        restore_optimiser("adam", self.optimiser, dict(network.named_parameters()), tensors)
        self.generator.set_state(tensors["generator"])
        self.batches.left, self.losses, self.seconds = facts["left"], facts["losses"], facts["seconds"]
        self.run.history[:] = facts["history"]


def train_network(
    genotype: Genotype,
    loss_weights: LossWeights,
    config: TrainConfig,
    *,
    out: Path | None = None,
    device: str = "auto",
    show: bool = True,
    resume: bool = False,
    checkpoint_every: float = EVERY,
) -> TrainingRun:
    """Train the network a genotype describes with searched loss weights, from fresh weights.

    Started by ``torchrun`` in several processes, each takes batches of its own and the gradients are averaged.

    Args:
        genotype: the operations of every node.
        loss_weights: the loss; terms named in ``config.skip_terms`` are left out and the rest rescaled.
        config: the settings; their seed fixes everything that is random.
        out: run folder for ``model.safetensors``, ``training.jsonl`` and ``training_provenance.json``, and for
            checkpoints until it is finished.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        show: report progress on standard error.
        resume: go on from the last checkpoint in ``out``, if there is one, to the same bits; else begin anew.
        checkpoint_every: seconds from one checkpoint to the next; 0 writes one after every step.

    Returns:
        The network with recalibrated running statistics, and the history.

    Raises:
        DataError: the data is missing or cannot be used.
        RunError: the loss became infinite or NaN, memory or disk are full, or the checkpoint is of other settings.
        Stopped: Ctrl-C or SIGTERM; the step was ended and a checkpoint written.
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
    where = pick_device(device)
    lower = f"batch_size ({config.batch_size}) or crop ({config.crop})"
    with process_group(where.type) as group, memory_advice(lower):
        job = _prepare(genotype, loss_weights, config, where, group)
        log = RunLog(out, "train", show=show, every=checkpoint_every, group=group, history="training.jsonl")
        found = log.find(job.identity) if resume else None
        if found is not None:
            job.restore(found)
        _descend(job, log)
        job.run.network.eval()
        if log.writes:
            save_model(job.run.network, log.folder / "model.safetensors")
            write_json(log.folder / "training_provenance.json", _origin(job))
            log.finish()
    return job.run


def _prepare(
    genotype: Genotype, loss_weights: LossWeights, config: TrainConfig, device: torch.device, group: Group
) -> _Job:
    train_scenes = referenced_scenes(config.data, "train", seed=config.seed)
    val_scenes = referenced_scenes(config.data, "val", seed=config.seed)
    naturals = load_naturals(config.data, "train", seed=config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    shape: dict[str, Any] = {"crop": config.crop, "batch_size": config.batch_size, "generator": generator}
    batches = PairBatches(train_scenes, naturals, **shape)
    weights = training_weights(loss_weights, config.skip_terms)
    vgg = load_vgg16(config.features, seed=config.seed).to(device)
    with seeded(config.seed):
        network = derive(genotype, separate_statistics=config.separate_statistics).to(device)
    images = [image for scene in train_scenes for image in (scene.under, scene.over)]
    identity = {
        "config": config.model_dump(mode="json"),
        "loss_weights": weights,
        "genotype": genotype.model_dump(),
        "data_sha256": fingerprint(images),
        "vgg": vgg.source,
        "processes": group.size,
    }
    return _Job(
        run=TrainingRun(network),
        config=config,
        optimiser=torch.optim.Adam(network.parameters(), lr=config.lr),
        generator=generator,
        batches=Endless(batches, rank=group.rank, size=group.size),
        steps=config.steps_per_epoch or max(1, len(batches) // group.size),
        weights=weights,
        vgg=vgg,
        train_scenes=train_scenes,
        val_scenes=val_scenes,
        group=group,
        identity=identity,
    )


def _origin(job: _Job) -> dict[str, Any]:
    return provenance(
        kind="training",
        **job.identity,
        train_scenes=[scene.name for scene in job.train_scenes],
        val_scenes=[scene.name for scene in job.val_scenes],
        references={scene.name: scene.ref_origin for scene in job.train_scenes},
        seconds=job.elapsed(),
        history=job.run.history,
    )


def _descend(job: _Job, log: RunLog) -> None:
    """Run the epochs; after each the statistics are recalibrated, the model is written and validated."""
    config, began = job.config, time.perf_counter()
    total = config.epochs * job.steps
    with log.running(total, job.run.history, done=job.done):
        for step in range(job.done, total):
            for group in job.optimiser.param_groups:
                group["lr"] = config.lr * _rate(step / total, config.schedule)
            job.losses.append(_train_step(job, step))
            record = None
            if len(job.losses) == job.steps:
                record = _end_epoch(job, round(time.perf_counter() - began, 1))
                began = time.perf_counter()
                if log.writes:
                    save_model(job.run.network, log.folder / "model.safetensors")
            log.step(record, job.checkpoint)
            if record is not None:
                score = f"loss {record['loss']:.4f}, val MEF-SSIM {record['val_mef_ssim']:.4f}"
                log.progress.line(f"epoch {record['epoch'] + 1}/{config.epochs}, {score}")


def _end_epoch(job: _Job, seconds: float) -> dict[str, Any]:
    network, config = job.run.network, job.config
    recalibrate(network, [next(job.batches) for _ in range(config.recalibration_batches)])
    # Of the batches of all processes.
    job.group.average([buffer for buffer in network.buffers() if buffer.is_floating_point()])
    job.group.require_equal(list(network.parameters()), "their weights")
    record = {
        "epoch": len(job.run.history),
        "loss": sum(job.losses) / len(job.losses),
        "val_mef_ssim": validation_score(network, job.val_scenes, crop=config.crop),
        "seconds": seconds,
    }
    job.run.history.append(record)
    job.losses.clear()
    return record


def _rate(share: float, schedule: str) -> float:
    """Factor of the learning rate after ``share`` of the steps; the cosine ends at 1 %."""
    return 1.0 if schedule == "constant" else 0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2


def _train_step(job: _Job, step: int) -> float:
    network, optimiser, vgg = job.run.network, job.optimiser, job.vgg
    network.train()
    batch = next(job.batches).to(next(network.parameters()).device)
    names, mix = zip(*job.weights.items(), strict=True)
    targets = prepare_targets(batch, vgg, contrast=False, names=names)
    terms = term_vector(network(batch.over_under_y), targets, vgg, names=names)
    loss = weighted_loss(terms, terms.new_tensor(mix))
    seen = torch.cat([terms.detach(), loss.detach()[None]])
    job.group.average([seen])
    if not bool(torch.isfinite(seen).all()):
        bad = [name for name, value in zip((*names, "the sum"), seen.tolist(), strict=True) if not math.isfinite(value)]
        raise RunError(f"step {step}: the training loss is not finite in {', '.join(bad)}; lower lr")
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    job.group.average([weight.grad for weight in network.parameters() if weight.grad is not None])
    optimiser.step()
    return float(seen[-1])


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
