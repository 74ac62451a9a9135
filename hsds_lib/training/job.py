"""A training in progress with its data: what it needs before the first step, and what a checkpoint must hold."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch

from hsds_lib.config import TrainConfig
from hsds_lib.fusing.fuse import load_model, model_file
from hsds_lib.images.batches import PairBatches, Scene, load_naturals
from hsds_lib.losses.features import VGG16, load_vgg16
from hsds_lib.losses.space import LossWeights, training_weights
from hsds_lib.network.fusion_net import FusionNet, derive
from hsds_lib.network.genotype import Genotype
from hsds_lib.runs.checkpoints import Checkpoint, optimiser_tensors, restore_optimiser
from hsds_lib.runs.parallel import Group
from hsds_lib.runs.scenes import Endless, referenced_scenes
from hsds_lib.runtime import file_hash, fingerprint, provenance, read_json, seeded


@dataclass
class TrainingRun:
    """A trained network in evaluation mode, and one record per epoch.

    Example:
        >>> from hsds_lib.fusing.fuse import load_model
        >>> TrainingRun(load_model("default", device="cpu")).history
        []
    """

    network: FusionNet
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class TrainingJob:
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
    before: dict[str, Any] | None = None  # where the weights that it started from come from
    losses: list[float] = field(default_factory=list)  # of this epoch
    seconds: float = 0.0  # before this process

    def __post_init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def done(self) -> int:
        """Steps so far."""
        return len(self.run.history) * self.steps + len(self.losses)

    @property
    def fixed_from(self) -> int:
        """The first step that normalises by fixed statistics; the number of all steps if none does."""
        total = self.config.epochs * self.steps
        return total - round(self.config.fixed_statistics * total)

    @property
    def brings_statistics(self) -> bool:
        """Whether the first step already normalises by fixed statistics, those that came with the weights."""
        return bool(self.config.start) and self.fixed_from == 0

    def elapsed(self) -> float:
        """Seconds of computing so far, those of earlier processes included."""
        return round(self.seconds + time.perf_counter() - self._began, 1)

    def checkpoint(self) -> Checkpoint:
        """Note down everything that going on needs."""
        network = self.run.network
        tensors = {f"network/{name}": value for name, value in network.state_dict().items()}
        tensors |= optimiser_tensors("adam", self.optimiser, dict(network.named_parameters()))
        tensors["generator"] = self.generator.get_state()
        own = {"left": self.batches.left, "losses": self.losses, "seconds": self.elapsed(), "history": self.run.history}
        return Checkpoint(self.done, tensors, {**self.identity, **own})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go back to where a checkpoint was written."""
        tensors, facts = checkpoint.tensors, checkpoint.facts
        network = self.run.network
        network.load_state_dict(
            {name.removeprefix("network/"): value for name, value in tensors.items() if name.startswith("network/")}
        )
        restore_optimiser("adam", self.optimiser, dict(network.named_parameters()), tensors)
        self.generator.set_state(tensors["generator"])
        self.batches.left, self.losses, self.seconds = facts["left"], facts["losses"], facts["seconds"]
        self.run.history[:] = facts["history"]


def prepare(
    genotype: Genotype, loss_weights: LossWeights, config: TrainConfig, device: torch.device, group: Group
) -> TrainingJob:
    """Load the data, and build a network with fresh weights.

    Args:
        genotype: the operations of every node.
        loss_weights: the searched loss.
        config: the settings.
        device: where to train.
        group: the processes that take part.

    Returns:
        A training before its first step.

    Raises:
        DataError: the data is missing or cannot be used.
        ValueError: the settings leave no loss term or name an unknown one, or the network to start from is another.
        ModelError: there is no model to start from.
    """
    train_scenes = referenced_scenes(config.data, "train", seed=config.seed)
    val_scenes = referenced_scenes(config.data, "val", seed=config.seed)
    naturals = load_naturals(config.data, "train", seed=config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    batches = PairBatches(
        train_scenes,
        naturals,
        crop=config.crop,
        batch_size=config.batch_size,
        generator=generator,
        jitter=config.jitter,
    )
    weights = training_weights(loss_weights, config.skip_terms, only=config.only_terms)
    vgg = load_vgg16(config.features, seed=config.seed).to(device)
    with seeded(config.seed):
        network = derive(genotype, separate_statistics=config.separate_statistics).to(device)
    if device.type == "cpu":  # torch's convolutions of few channels are faster so: benchmarks/training_step.py
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    started = _start(network, config.start) if config.start else None
    images = [image for scene in train_scenes for image in (scene.under, scene.over)]
    identity = {
        "config": config.model_dump(mode="json"),
        "loss_weights": weights,
        "genotype": genotype.model_dump(),
        "data_sha256": fingerprint(images),
        "vgg": vgg.source,
        "start_sha256": started,
        "processes": group.size,
    }
    return TrainingJob(
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
        before=_origin_of(config.start) if config.start else None,
    )


def _start(network: FusionNet, source: str) -> str:
    """Take over what another training ended with, and say which file it was in."""
    other = load_model(source, device="cpu")
    same = other.mix is not None and network.mix is not None and torch.equal(other.mix, network.mix.cpu())
    if not same or other.width != network.width or other.separate_statistics != network.separate_statistics:
        raise ValueError(
            f"start = '{source}' holds another network; its genotype, width and separate_statistics must be those of "
            "this training"
        )
    network.load_state_dict(other.state_dict())
    return file_hash(model_file(source))


def _origin_of(source: str) -> dict[str, Any] | None:
    """What is written beside a model about its training; None for a file that lies alone."""
    beside = model_file(source).parent / "training_provenance.json"
    return read_json(beside) if beside.is_file() else None


def origin(job: TrainingJob) -> dict[str, Any]:
    """Say where a trained network comes from.

    Args:
        job: a training, finished or not.

    Returns:
        Settings, data, versions and history, ready for JSON; ``before`` has the same of the training it went on from.
    """
    return provenance(
        kind="training",
        **job.identity,
        train_scenes=[scene.name for scene in job.train_scenes],
        val_scenes=[scene.name for scene in job.val_scenes],
        references={scene.name: scene.ref_origin for scene in job.train_scenes},
        seconds=job.elapsed(),
        history=job.run.history,
        before=job.before,
    )
