"""What training can do beyond the paper: jittered pairs, fixed statistics at the end, luma kept in range."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hsds_lib.config import TrainConfig
from hsds_lib.images.batches import PairBatches, Scene, draw_side, load_naturals, load_scenes
from hsds_lib.losses.space import LossWeights, training_weights
from hsds_lib.network.fusion_net import derive
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.runtime import read_json, seeded
from hsds_lib.training.job import TrainingJob
from hsds_lib.training.train import _in_range, _train_step, train_network

GENOTYPE = Genotype(nodes={node: {"conv_3x3": 1.0} for node in NODES}, width=0.125)
WEIGHTS = LossWeights.uniform(space="extended")
SHORT = TrainConfig(
    epochs=2, steps_per_epoch=3, batch_size=2, crop=48, lr=5e-3, recalibration_batches=1,
    only_terms=("mefssim_pair", "mse_ref"), separate_statistics=True, jitter=True,
)  # fmt: skip


def statistics(folder: Path) -> dict[str, torch.Tensor]:
    return {name: value for name, value in load_file(folder / "model.safetensors").items() if "running" in name}


def test_statistics_stay_as_they_are_once_they_are_fixed(tmp_path: Path) -> None:
    """Two trainings at different rates, fixed from the first step on, differ in their weights alone."""
    for name, lr in (("fast", 5e-3), ("slow", 1e-3)):
        config = SHORT.changed(fixed_statistics=1.0, lr=lr)
        train_network(GENOTYPE, WEIGHTS, config, out=tmp_path / name, device="cpu", show=False)
    first, second = statistics(tmp_path / "fast"), statistics(tmp_path / "slow")
    assert first and all(torch.equal(first[name], second[name]) for name in first)
    weights = [load_file(tmp_path / name / "model.safetensors")["reconstruction.weight"] for name in ("fast", "slow")]
    assert not torch.equal(*weights)


def test_training_goes_on_from_the_weights_and_statistics_of_another(tmp_path: Path) -> None:
    train_network(GENOTYPE, WEIGHTS, SHORT, out=tmp_path / "first", device="cpu", show=False)
    still = SHORT.changed(start=str(tmp_path / "first"), fixed_statistics=1.0, lr=1e-12, epochs=1)
    train_network(GENOTYPE, WEIGHTS, still, out=tmp_path / "second", device="cpu", show=False)
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("first", "second"))
    assert all(torch.allclose(before[name], after[name], atol=1e-8) for name in before)
    origin = read_json(tmp_path / "second" / "training_provenance.json")
    assert origin["start_sha256"] == hashlib.sha256((tmp_path / "first" / "model.safetensors").read_bytes()).hexdigest()
    assert origin["before"]["config"]["lr"] == SHORT.lr and origin["before"]["before"] is None


def test_a_network_to_start_from_must_be_the_same_one(tmp_path: Path) -> None:
    train_network(GENOTYPE, WEIGHTS, SHORT.changed(epochs=1), out=tmp_path, device="cpu", show=False)
    other = Genotype(nodes={node: {"conv_1x1": 1.0} for node in NODES}, width=0.125)
    with pytest.raises(ValueError, match="holds another network"):
        train_network(other, WEIGHTS, SHORT.changed(start=str(tmp_path)), device="cpu", show=False)


@pytest.mark.parametrize("stop", [2, 4])  # before and after the statistics are fixed
def test_a_training_with_fixed_statistics_resumes_to_the_same_bits(tmp_path: Path, stop: int) -> None:
    config = SHORT.changed(fixed_statistics=0.5, range_weight=1.0, clip_norm=0.5)
    train_network(GENOTYPE, WEIGHTS, config, out=tmp_path / "whole", device="cpu", show=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hsds_lib.training.train._train_step", _stopping_after(stop))
        with pytest.raises(KeyboardInterrupt):
            train_network(GENOTYPE, WEIGHTS, config, out=tmp_path / "cut", device="cpu", show=False, checkpoint_every=0)
    train_network(GENOTYPE, WEIGHTS, config, out=tmp_path / "cut", device="cpu", show=False, resume=True)
    whole, cut = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def _stopping_after(steps: int) -> Callable[[TrainingJob, int], float]:
    def step(job: TrainingJob, number: int) -> float:
        if number == steps:
            raise KeyboardInterrupt
        return _train_step(job, number)

    return step


def test_what_leaves_the_range_is_clamped_and_has_a_price_that_pulls_it_back() -> None:
    fused = torch.tensor([-0.2, 0.5, 1.1]).reshape(1, 1, 1, 3).requires_grad_()
    inside, price = _in_range(fused, 3.0)
    assert inside.flatten().tolist() == [0.0, 0.5, 1.0]
    assert isinstance(price, torch.Tensor) and price.item() == pytest.approx(3 * (0.2 + 0.1) / 3)
    (slope,) = torch.autograd.grad(price, fused)
    assert slope.flatten().tolist() == pytest.approx([-1.0, 0.0, 1.0])
    assert _in_range(fused, 0.0) == (fused, 0.0)


def test_the_price_is_part_of_the_training_and_long_gradients_are_shortened() -> None:
    def weights(**settings: float) -> torch.Tensor:
        config = SHORT.changed(epochs=1, steps_per_epoch=2, **settings)
        network = train_network(GENOTYPE, WEIGHTS, config, device="cpu", show=False).network
        return torch.cat([weight.detach().flatten() for weight in network.parameters()])

    with seeded(SHORT.seed):
        start = torch.cat([w.detach().flatten() for w in derive(GENOTYPE).parameters()])
    plain = weights()
    assert not torch.equal(weights(range_weight=50.0), plain)
    # Far below Adam's epsilon a gradient moves nothing.
    assert (weights(clip_norm=1e-13) - start).abs().max() < 1e-5 < (plain - start).abs().max()


def test_jittered_crops_are_cut_turned_and_reduced_alike() -> None:
    """Where all three pictures are the same one, a new exposure keeps the order of its pixels, and so the scene."""
    image = torch.rand(3, 90, 120, generator=torch.Generator().manual_seed(1))
    batches = PairBatches(
        [Scene("same", image, image, image, "file")] * 3,
        [image],
        crop=48,
        batch_size=3,
        generator=torch.Generator().manual_seed(0),
        jitter=True,
    )
    batch = next(iter(batches))
    assert batch.under.shape == batch.natural.shape == (3, 3, 48, 48)
    assert not torch.equal(batch.under, batch.ref)
    order = batch.ref.flatten(1).argsort(dim=1)
    for exposure in (batch.under, batch.over):
        assert bool((exposure.flatten(1).gather(1, order).diff(dim=1) >= -1e-6).all())


def test_jitter_leaves_the_batches_without_it_as_they_were() -> None:
    scenes, naturals = load_scenes("embedded", "train", limit=2), load_naturals("embedded", "train")
    plain = PairBatches(scenes, naturals, crop=48, batch_size=2, generator=torch.Generator().manual_seed(0))
    told = PairBatches(
        scenes, naturals, crop=48, batch_size=2, generator=torch.Generator().manual_seed(0), augment=False, jitter=True
    )
    central = PairBatches(
        scenes, naturals, crop=48, batch_size=2, generator=torch.Generator().manual_seed(0), augment=False
    )
    assert not torch.equal(next(iter(plain)).under, next(iter(told)).under)
    assert torch.equal(next(iter(central)).under, next(iter(told)).under)


@pytest.mark.parametrize(("height", "width", "crop"), [(48, 48, 48), (50, 400, 48), (900, 300, 100)])
def test_drawn_sides_hold_the_crop_and_fit_the_scene(height: int, width: int, crop: int) -> None:
    generator = torch.Generator().manual_seed(0)
    sides = [draw_side(height, width, crop, generator) for _ in range(50)]
    assert crop <= min(sides) and max(sides) <= min(height, width, crop / 0.4)


def test_only_terms_keep_the_proportions_of_the_search() -> None:
    beta = [0.1 * number for number in range(23)]
    searched = LossWeights.from_beta(beta, space="extended")
    kept = training_weights(searched, only=("l1_ref", "qabf_pair"))
    assert list(kept) == ["l1_ref", "qabf_pair"] and sum(kept.values()) == pytest.approx(1)
    assert kept["qabf_pair"] / kept["l1_ref"] == pytest.approx(searched.mix["qabf_pair"] / searched.mix["l1_ref"])
    with pytest.raises(ValueError, match="only_terms must leave some of l1_ref"):
        training_weights(searched, only=("vif",))
