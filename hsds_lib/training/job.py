"""A training in progress with its data: what it needs before the first step, and what a checkpoint must hold."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch

from hsds_lib.config import TrainConfig
from hsds_lib.images.batches import PairBatches, Scene, load_naturals
from hsds_lib.losses.features import load_vgg16
from hsds_lib.losses.space import LossWeights, training_weights
from hsds_lib.network.fusion_net import FusionNet, derive
from hsds_lib.network.genotype import Genotype
from hsds_lib.network.model_file import PROVENANCE, load_model, model_file
from hsds_lib.runs.checkpoints import Checkpoint, optimiser_tensors, restore_optimiser
from hsds_lib.runs.parallel import Group
from hsds_lib.runs.scenes import Endless, referenced_scenes
from hsds_lib.runs.sources import code_parts
from hsds_lib.runtime import file_hash, fingerprint, provenance, read_json, seeded


@dataclass
class TrainingRun:
    """A trained network in evaluation mode, and one record per epoch."""

    network: FusionNet
    history: list[dict[str, Any]] = field(default_factory=list)


class TrainingJob:
    """A training with its data, before its first step or between two: all that a checkpoint must hold."""

    def __init__(
        self,
        genotype: Genotype,
        loss_weights: LossWeights,
        config: TrainConfig,
        device: torch.device,
        group: Group,
    ) -> None:
        """Load the data, and build a network with fresh weights or those of the model to start from."""
        self.config, self.group = config, group
        self.train_scenes = referenced_scenes(config.data, "train", seed=config.seed)
        self.val_scenes = referenced_scenes(config.data, "val", seed=config.seed)
        naturals = load_naturals(config.data, "train", seed=config.seed)
        self.generator = torch.Generator().manual_seed(config.seed)
        batches = PairBatches(
            self.train_scenes,
            naturals,
            crop=config.crop,
            batch_size=config.batch_size,
            generator=self.generator,
            jitter=config.jitter,
        )
        validation_batches(self.val_scenes, config.crop)  # now, and not after the first epoch
        self.batches = Endless(batches, rank=group.rank, size=group.size)
        self.steps = config.steps_per_epoch or max(1, len(batches) // group.size)  # in an epoch
        self.weights = training_weights(loss_weights, config.skip_terms, only=config.only_terms)
        self.vgg = load_vgg16(config.features, seed=config.seed).to(device)
        with seeded(config.seed):
            network = derive(genotype, separate_statistics=config.separate_statistics).to(device)
        if device.type == "cpu":  # torch's convolutions of few channels are faster so: benchmarks/training_step.py
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        started = _start(network, config.start) if config.start else None
        self.before = _origin_of(config.start) if config.start else None
        self.run = TrainingRun(network)
        self.optimiser = torch.optim.Adam(network.parameters(), lr=config.lr)
        images = [image for scene in self.train_scenes for image in (scene.under, scene.over)]
        self.identity = {
            "config": config.model_dump(mode="json"),
            "loss_weights": self.weights,
            "genotype": genotype.model_dump(),
            "data_sha256": fingerprint(images),
            "vgg": self.vgg.source,
            "start_sha256": started,
            "processes": group.size,
            "code": code_parts("hsds_lib.training.train"),
        }
        self.code_changes: list[dict[str, Any]] = []  # that were accepted
        self.losses: list[float] = []  # of this epoch
        self.seconds = 0.0  # before this process
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
        own["code_changes"] = self.code_changes
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
        self.run.history[:], self.code_changes = facts["history"], facts["code_changes"]

    def origin(self) -> dict[str, Any]:
        """Say where the network comes from, ready for JSON; ``before`` is the same of the one it went on from."""
        return provenance(
            kind="training",
            **self.identity,
            code_changes=self.code_changes,
            train_scenes=[scene.name for scene in self.train_scenes],
            val_scenes=[scene.name for scene in self.val_scenes],
            references={scene.name: scene.ref_origin for scene in self.train_scenes},
            seconds=self.elapsed(),
            history=self.run.history,
            before=self.before,
        )


def validation_batches(scenes: list[Scene], crop: int) -> PairBatches:
    """The central crop of every scene, one at a time; DataError if there are no scenes or one cannot be used."""
    naturals = [scene.under for scene in scenes[:1]]  # not used by the score
    generator = torch.Generator().manual_seed(0)
    return PairBatches(scenes, naturals, crop=crop, batch_size=1, generator=generator, augment=False)


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
    beside = model_file(source).parent / PROVENANCE
    return read_json(beside) if beside.is_file() else None
