"""Algorithm 1: each of the three moves, pruning is physical, and every setting acts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from hsds_lib.config import SearchConfig, preset
from hsds_lib.images.batches import Batch, PairBatches, load_naturals, load_scenes
from hsds_lib.losses.features import VGG16
from hsds_lib.losses.mef_ssim import mef_ssim_pair
from hsds_lib.losses.terms import TERM_NAMES, prepare_targets
from hsds_lib.network.fusion_net import derive
from hsds_lib.network.genotype import NODES
from hsds_lib.network.operations import PRIMITIVES, BatchNorm, batch_statistics
from hsds_lib.runs.scenes import halves
from hsds_lib.runtime import RunError
from hsds_lib.search.dual import DualSearch
from hsds_lib.search.run import run_search, term_gradients

SMALL = preset("tiny").search.changed(width=0.0625, crop=24, batch_size=1, beta_warmup=1, prune_from_epoch=0)


def run(config: SearchConfig, vgg: VGG16, batches: list[Batch], steps: int = 3) -> DualSearch:
    search = DualSearch(config, vgg)
    for step in range(steps):
        search.step(batches[step], batches[step + 1])
    return search


@pytest.fixture(scope="module")
def searched(vgg: VGG16, batches: list[Batch]) -> DualSearch:
    return run(SMALL.changed(theta=0.09), vgg, batches)


@pytest.mark.paper("Algorithm 1 lines 1-7")
def test_omega_alpha_and_beta_each_change(searched: DualSearch, vgg: VGG16) -> None:
    start = DualSearch(SMALL, vgg)
    before = dict(start.network.named_parameters())
    moved = [name for name, weight in searched.network.named_parameters() if not torch.equal(weight, before[name])]
    assert len(moved) == len(list(searched.network.parameters()))
    assert (searched.alpha != 0).any(dim=1).all()
    assert (searched.beta != 0).all()


@pytest.mark.paper("Algorithm 1 lines 8-13")
def test_operations_below_theta_are_removed_physically(searched: DualSearch) -> None:
    removed = [tuple(entry) for record in searched.history for entry in record["removed"]]
    assert removed
    assert int(searched.active.sum()) == searched.active.numel() - len(removed)
    for node, primitive in removed:
        assert primitive not in searched.network.nodes[node].operations
    alive = set(searched.network.parameters())
    assert set(searched.omega_optimiser.state) == alive
    assert set(searched.omega_optimiser.param_groups[0]["params"]) == alive


def test_the_same_seed_with_theta_zero_gives_another_genotype(
    searched: DualSearch, vgg: VGG16, batches: list[Batch]
) -> None:
    unpruned = run(SMALL.changed(theta=0.0), vgg, batches)
    assert unpruned.active.all()
    assert unpruned.genotype() != searched.genotype()


def test_the_same_seed_gives_the_same_search(searched: DualSearch, vgg: VGG16, batches: list[Batch]) -> None:
    def without_time(search: DualSearch) -> list[dict[str, Any]]:
        return [{key: value for key, value in record.items() if key != "seconds"} for record in search.history]

    again = run(SMALL.changed(theta=0.09), vgg, batches)
    assert without_time(again) == without_time(searched)
    assert again.genotype() == searched.genotype()


def test_alpha_of_removed_operations_stays_put(vgg: VGG16, batches: list[Batch]) -> None:
    search = DualSearch(SMALL.changed(theta=0.0), vgg)
    search.step(batches[0], batches[1])
    search.active[:, 3] = False
    held = search.alpha.detach().clone()
    search.step(batches[1], batches[2])
    assert torch.equal(search.alpha[:, 3], held[:, 3])
    assert not torch.equal(search.alpha[:, 4], held[:, 4])


def test_running_statistics_move_in_the_omega_step_only(vgg: VGG16, batches: list[Batch]) -> None:
    search = DualSearch(SMALL.changed(theta=0.0, beta_warmup=0), vgg)
    search.step(batches[0], batches[1])
    counts = {m.num_batches_tracked.item() for m in search.network.modules() if isinstance(m, BatchNorm)}
    assert counts == {1, 3}  # once, and three times where the Retinex paths iterate


def test_second_order_alpha_waits_for_adam_like_beta(vgg: VGG16, batches: list[Batch]) -> None:
    """Before the warm-up is over the factor D is huge, so alpha moves by its first-order gradient alone."""
    first, second = (
        DualSearch(SMALL.changed(alpha_order=order, beta_warmup=1, theta=0.0), vgg) for order in ("first", "second")
    )
    for search in (first, second):
        search.step(batches[0], batches[1])
    assert torch.equal(first.alpha, second.alpha)
    for search in (first, second):
        search.step(batches[1], batches[2])
    assert not torch.equal(first.alpha.grad, second.alpha.grad)


@pytest.mark.paper("Algorithm 1 line 5")
@pytest.mark.parametrize("warmup", [0, 1])
def test_beta_moves_after_its_warm_up_and_not_before(vgg: VGG16, batches: list[Batch], warmup: int) -> None:
    search = DualSearch(SMALL.changed(beta_warmup=warmup), vgg)
    moved = []
    for step in range(2):
        search.step(batches[step], batches[step + 1])
        moved.append(bool((search.beta != 0).any()))
    assert moved == [step >= warmup for step in range(2)]


@pytest.mark.paper("Algorithm 1 lines 8-13")
def test_pruning_begins_with_its_epoch(vgg: VGG16, batches: list[Batch]) -> None:
    search = DualSearch(SMALL.changed(prune_from_epoch=1, theta=1.0), vgg)
    active = [search.step(batches[e], batches[e + 1], epoch=e)["n_active"] for e in range(2)]
    assert active == [len(NODES) * left for left in (len(PRIMITIVES), len(PRIMITIVES) - 1)]


def test_optimisers_have_the_settings_of_the_paper_and_of_the_released_code(vgg: VGG16) -> None:
    search = DualSearch(SMALL.changed(lr_omega=1e-3, lr_alpha=0.2, lr_beta=0.03, upper_decay=2e-3), vgg)
    groups = {name: getattr(search, f"{name}_optimiser").param_groups[0] for name in ("omega", "alpha", "beta")}
    assert {name: group["lr"] for name, group in groups.items()} == {"omega": 1e-3, "alpha": 0.2, "beta": 0.03}
    assert groups["omega"]["betas"] == (0.9, 0.999) and groups["omega"]["weight_decay"] == 0
    for name in ("alpha", "beta"):
        assert groups[name]["betas"] == (0.5, 0.999) and groups[name]["weight_decay"] == 2e-3


def test_recorded_training_loss_is_the_one_omega_descended_on(vgg: VGG16, batches: list[Batch]) -> None:
    search = DualSearch(SMALL.changed(beta_warmup=0, lr_beta=0.5), vgg)
    record = search.step(batches[0], batches[1])
    assert record["train_loss"] == pytest.approx(
        sum(record["train_terms"]) / len(search.names), abs=1e-5
    )  # beta was still uniform
    assert (search.beta.abs() > 0.1).all()


@pytest.mark.paper("Eq. 3")
def test_more_negatives_change_what_beta_is_judged_by(vgg: VGG16) -> None:
    scenes, naturals = load_scenes("embedded", "train", limit=4), load_naturals("embedded", "train")
    generator = torch.Generator().manual_seed(0)
    pairs = list(PairBatches(scenes, naturals, crop=24, batch_size=2, generator=generator))
    gammas = []
    for count in (1, 2):
        search = DualSearch(SMALL.changed(batch_size=2, n_negatives=count), vgg)
        gammas.append(search.step(pairs[0], pairs[1])["gamma"])
    assert gammas[1] < 0.9 * gammas[0]  # more in the denominator


def test_a_search_ends_with_a_network_that_is_its_supernet_bit_for_bit(vgg: VGG16, batches: list[Batch]) -> None:
    """Prune down to P operations everywhere; then deriving changes nothing at all."""
    search = run(SMALL.changed(theta=1.0, top_p=2), vgg, batches, steps=1)
    while (search.active.sum(dim=1) > 3).any():
        search._prune()
    search.step(batches[1], batches[2])  # which prunes for the last time
    assert (search.active.sum(dim=1) == 2).all()
    derived = derive(search.genotype())
    derived.load_state_dict(search.network.state_dict())
    pair = batches[0].over_under_y
    with torch.no_grad():
        for training in (True, False):
            ours = search.network.train(training)(pair, search.node_mix())
            assert torch.equal(ours, derived.train(training)(pair))


def test_no_loss_term_is_dead(vgg: VGG16, batches: list[Batch]) -> None:
    norms = term_gradients(DualSearch(SMALL, vgg), batches[0])
    assert set(norms) == set(TERM_NAMES)
    assert all(norm > 0 for norm in norms.values()), norms


def test_without_contrast_the_loss_is_not_searched(vgg: VGG16, batches: list[Batch]) -> None:
    search = run(SMALL.changed(contrast="none"), vgg, batches, steps=2)
    assert (search.beta == 0).all() and (search.alpha != 0).any()


@pytest.mark.parametrize("contrast", ["reference", "natural"])
def test_each_half_of_gamma_searches_another_loss(
    contrast: str, searched: DualSearch, vgg: VGG16, batches: list[Batch]
) -> None:
    half = run(SMALL.changed(contrast=contrast, theta=0.09), vgg, batches)
    assert (half.beta != 0).all()
    # Not the first step on beta: that of Adam knows only signs.
    assert half.history[2]["loss_mix"] != searched.history[2]["loss_mix"]


def test_mef_ssim_can_judge_the_loss(vgg: VGG16, batches: list[Batch]) -> None:
    """Beyond the paper: the judge is what is missing to an MEF-SSIM of 1, and beta goes down its slope."""
    config = SMALL.changed(contrast="mef_ssim", crop=48)
    scenes, naturals = load_scenes("embedded", "train", seed=0), load_naturals("embedded", "train", seed=0)
    draws = PairBatches(scenes, naturals, crop=48, batch_size=1, generator=torch.Generator().manual_seed(0))
    large = [next(iter(draws)) for _ in range(4)]
    search = run(config, vgg, large)
    assert (search.beta != 0).all()
    with torch.no_grad(), batch_statistics(search.network):
        fused = search.network(large[0].over_under_y, search.node_mix())
    targets = prepare_targets(large[0], None, contrast=False, names=("l1_ref",))
    missing = 1 - mef_ssim_pair(fused, targets.under_y, targets.over_y).mean()
    assert float(search._judged(fused, {}, targets)) == pytest.approx(float(missing), abs=1e-7)
    with pytest.raises(ValueError, match="crop is 24, but contrast 'mef_ssim' measures"):
        SMALL.changed(contrast="mef_ssim")


def test_a_loss_that_is_not_finite_stops_with_step_and_term(vgg: VGG16, batches: list[Batch]) -> None:
    search = DualSearch(SMALL, vgg)
    with torch.no_grad():
        search.network.reconstruction.bias.fill_(torch.nan)
    with pytest.raises(RunError, match=r"step 0: the loss is not finite in l1_ref, .* lower lr_omega"):
        search.step(batches[0], batches[1])


def test_halves_share_no_scene() -> None:
    scenes = load_scenes("embedded", "train")
    first, second = halves(scenes, torch.Generator().manual_seed(0))
    names = [scene.name for scene in (*first, *second)]
    assert sorted(names) == sorted(scene.name for scene in scenes) and len(set(names)) == len(names)


@pytest.mark.paper("Algorithm 1", "Algorithm 1 lines 1, 14 and 15")
def test_run_search_leaves_its_files_and_refuses_to_overwrite_them(tmp_path: Path) -> None:
    config = SMALL.changed(epochs=2, steps_per_epoch=1)
    seen: list[int] = []
    result = run_search(config, tmp_path, device="cpu", show=False, on_epoch=lambda search, epoch: seen.append(epoch))
    assert seen == [-1, 0, 1]
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1]
    assert type(result.genotype).load(tmp_path / "genotype.json") == result.genotype
    assert type(result.loss_weights).load(tmp_path / "loss_weights.json") == result.loss_weights
    origin = json.loads((tmp_path / "provenance.json").read_text())
    assert origin["config"] == json.loads(json.dumps(config.model_dump()))
    for when in ("start", "end"):
        norms = origin["term_gradient_norms"][when]
        assert set(norms) == set(TERM_NAMES) and min(norms.values()) > 0
    with pytest.raises(FileExistsError, match="already holds a finished search"):
        run_search(config, tmp_path, show=False)


def test_computing_again_instead_of_keeping_changes_no_bit(vgg: VGG16, batches: list[Batch]) -> None:
    kept, again = (run(SMALL.changed(theta=0.09, recompute=flag), vgg, batches, steps=2) for flag in (False, True))
    for one, other in zip(kept.history, again.history, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert torch.equal(kept.alpha, again.alpha) and torch.equal(kept.beta, again.beta)
