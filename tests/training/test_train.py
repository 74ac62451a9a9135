"""Training lowers its loss, recalibrates, and leaves a model that loads again."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from hsds_lib.config import preset
from hsds_lib.images.batches import Batch, DataError
from hsds_lib.losses.features import load_vgg16
from hsds_lib.losses.space import LossWeights
from hsds_lib.losses.terms import TERM_NAMES, prepare_targets, term_vector
from hsds_lib.network.fusion_net import derive
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.model_file import load_model
from hsds_lib.network.operations import BatchNorm
from hsds_lib.runtime import fingerprint
from hsds_lib.training.train import batch_terms, recalibrate, train_network, validation_score

GENOTYPE = Genotype(nodes={node: {"conv_3x3": 0.7, "conv_1x1": 0.3} for node in NODES}, width=0.125)
PERCEPTUAL = ("perceptual_ref", "perceptual_under", "perceptual_over")
SHORT = preset("tiny").train.changed(
    epochs=2, steps_per_epoch=12, batch_size=2, recalibration_batches=3, skip_terms=PERCEPTUAL
)


def test_training_learns_and_the_file_is_the_model(tmp_path: Path) -> None:
    run = train_network(GENOTYPE, LossWeights.uniform(), SHORT, out=tmp_path, device="cpu", show=False)
    assert run.history[1]["loss"] < 0.97 * run.history[0]["loss"]
    loaded, pair = load_model(tmp_path, device="cpu"), torch.rand(1, 2, 30, 22)
    assert torch.equal(loaded(pair), run.network(pair))
    assert not loaded.training
    origin = json.loads((tmp_path / "training_provenance.json").read_text())
    assert set(origin["loss_weights"]).isdisjoint(PERCEPTUAL) and len(origin["loss_weights"]) == 16
    assert not set(origin["train_scenes"]) & set(origin["val_scenes"])
    rows = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text().splitlines()]
    assert rows == run.history


def test_recalibration_gives_the_mean_statistics_of_the_batches() -> None:
    torch.manual_seed(0)
    network = derive(GENOTYPE)
    batches = [Batch(**dict.fromkeys(("under", "over", "ref", "natural"), torch.rand(2, 3, 16, 16))) for _ in range(3)]
    recalibrate(network, batches)
    node = network.nodes["x_1"].operations["conv_3x3"]
    means = torch.stack([node.conv(batch.over_under_y[:, 1:2]).mean(dim=(0, 2, 3)) for batch in batches])
    torch.testing.assert_close(node.norm.running_mean, means.mean(dim=0))
    assert not network.training
    assert all(m.momentum == 0.1 for m in network.modules() if isinstance(m, BatchNorm))


def test_without_batches_or_scenes_the_network_stays_as_it_is() -> None:
    network = derive(GENOTYPE)
    before = fingerprint(network.state_dict().values())
    with pytest.raises(ValueError, match="there is no batch to take statistics from"):
        recalibrate(network, [])
    with pytest.raises(DataError, match="there are no scenes"):
        validation_score(network, [], crop=64)
    assert fingerprint(network.state_dict().values()) == before


def test_perceptual_terms_of_parts_are_those_of_the_batch_on_average() -> None:
    """One item a step sees the same loss as all of them, if every item has its turn."""
    vgg = load_vgg16("imagenet")
    rng = torch.Generator().manual_seed(0)
    batch = Batch(*(torch.rand(3, 3, 24, 24, generator=rng) for _ in range(4)))
    fused = torch.rand(3, 1, 24, 24, generator=rng)
    whole = batch_terms(fused, batch, vgg, TERM_NAMES)
    assert torch.allclose(whole, term_vector(fused, prepare_targets(batch, vgg, contrast=False), vgg), rtol=1e-5)
    turned = [Batch(*(getattr(batch, f.name).roll(-turn, 0) for f in fields(batch))) for turn in range(3)]
    parts = [batch_terms(fused.roll(-turn, 0), each, vgg, TERM_NAMES, 1) for turn, each in enumerate(turned)]
    assert torch.allclose(torch.stack(parts).mean(dim=0), whole, rtol=1e-4)
    perceptual = [name.startswith("perceptual_") for name in TERM_NAMES]
    differ = (torch.stack(parts).std(dim=0) > 1e-4).tolist()
    assert differ == perceptual, "the others see all items in every turn"
