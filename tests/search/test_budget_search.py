"""A search with a budget of multiply-accumulates: off it changes nothing, small it buys a cheaper network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hsds_lib.config import SearchConfig, preset
from hsds_lib.images.batches import Batch
from hsds_lib.losses.features import VGG16
from hsds_lib.network.budget import expected_macs, genotype_macs, over_budget
from hsds_lib.network.genotype import NODES
from hsds_lib.network.operations import PRIMITIVES
from hsds_lib.search.dual import DualSearch
from hsds_lib.search.run import run_search

SHAPE = (len(NODES), len(PRIMITIVES))

SMALL = preset("tiny").search.changed(width=0.125, crop=24, batch_size=1, beta_warmup=1, theta=0.0, budget_weight=1.0)
COST = {"width": 0.125, "top_p": 2}
BUDGET = 4000.0  # less than half of what is expected at the start, when all weights are equal


def run(config: SearchConfig, vgg: VGG16, batches: list[Batch], steps: int = 6) -> DualSearch:
    search = DualSearch(config, vgg)
    for step in range(steps):
        search.step(batches[step], batches[step + 1])
    return search


def without_time(search: DualSearch, *other: str) -> list[dict[str, Any]]:
    left_out = {"seconds", *other}
    return [{key: value for key, value in record.items() if key not in left_out} for record in search.history]


@pytest.fixture(scope="module")
def free(vgg: VGG16, batches: list[Batch]) -> DualSearch:
    return run(SMALL, vgg, batches)


def test_start_costs_what_these_tests_think(free: DualSearch) -> None:
    assert expected_macs(torch.full(SHAPE, 1 / len(PRIMITIVES)), **COST).item() > 2 * BUDGET
    assert "expected_macs" not in free.history[0]


def test_a_search_with_a_small_budget_ends_with_a_cheaper_network(
    free: DualSearch, vgg: VGG16, batches: list[Batch]
) -> None:
    saving = run(SMALL.changed(mac_budget=BUDGET), vgg, batches)
    expected = [record["expected_macs"] for record in saving.history]
    assert expected[0] > 1.5 * BUDGET and expected[-1] < BUDGET
    assert expected[-1] == round(expected_macs(saving.node_mix().detach(), **COST).item())
    assert genotype_macs(saving.genotype()) < BUDGET < genotype_macs(free.genotype())


@pytest.mark.parametrize("order", ["first", "second"])
def test_a_budget_that_is_never_reached_changes_no_bit(order: str, vgg: VGG16, batches: list[Batch]) -> None:
    config = SMALL.changed(alpha_order=order, theta=0.08, prune_from_epoch=0)
    plain, ample = (run(config.changed(mac_budget=budget), vgg, batches, steps=2) for budget in (None, 1e6))
    assert plain.history[-1]["n_active"] < plain.active.numel()
    assert without_time(ample, "expected_macs") == without_time(plain)
    assert torch.equal(ample.alpha, plain.alpha) and torch.equal(ample.beta, plain.beta)
    weights = zip(ample.network.parameters(), plain.network.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in weights)


def test_without_a_budget_its_code_is_not_reached(
    free: DualSearch, vgg: VGG16, batches: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search without a budget is the one before there was any: same numbers with the module out of order."""

    def broken(*_: object, **__: object) -> None:
        raise AssertionError("no budget was set")

    for name in ("check_budget", "expected_macs", "over_budget"):
        monkeypatch.setattr(f"hsds_lib.search.dual.{name}", broken)
    again = run(SMALL.changed(budget_weight=7.0), vgg, batches, steps=2)
    assert without_time(again) == without_time(free)[:2]


@pytest.mark.parametrize("order", ["first", "second"])
def test_gradient_of_alpha_is_that_of_the_loss_plus_the_weighted_one_of_the_excess(
    order: str, vgg: VGG16, batches: list[Batch]
) -> None:
    config = SMALL.changed(alpha_order=order, beta_warmup=0)
    plain, charged = (
        DualSearch(config.changed(mac_budget=budget, budget_weight=3.0), vgg) for budget in (None, BUDGET)
    )
    for search in (plain, charged):
        search.step(batches[0], batches[1])
    alpha = torch.zeros(SHAPE, dtype=torch.float64, requires_grad=True)  # where the first step begins
    (extra,) = torch.autograd.grad(3 * over_budget(alpha.softmax(dim=1), budget=BUDGET, **COST), alpha)
    assert plain.alpha.grad is not None and charged.alpha.grad is not None
    assert extra.abs().max() > 0.01
    assert torch.allclose(charged.alpha.grad.double() - plain.alpha.grad, extra, atol=1e-6)
    assert charged.history[0]["val_loss"] == plain.history[0]["val_loss"]  # the record keeps the loss itself


def test_removed_operations_cost_nothing(vgg: VGG16, batches: list[Batch]) -> None:
    config = SMALL.changed(mac_budget=BUDGET, theta=1.0, prune_from_epoch=0)
    search = run(config, vgg, batches, steps=2)
    assert int(search.active.sum()) == len(NODES) * (len(PRIMITIVES) - 2)
    assert not search.node_mix()[~search.active].any()
    assert not search.alpha.grad[~search.active & (search.alpha == 0)].any()
    assert search.history[-1]["expected_macs"] == round(expected_macs(search.node_mix().detach(), **COST).item())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mac_budget": 0}, "^setting 'mac_budget' = 0: Input should be greater than 0$"),
        ({"mac_budget": "small"}, "^setting 'mac_budget' = 'small': Input should be a valid number"),
        ({"mac_budget": float("inf")}, "^setting 'mac_budget' = inf: Input should be a finite number$"),
        ({"budget_weight": -1}, "^setting 'budget_weight' = -1: Input should be greater than 0$"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SMALL.changed(**change)


def test_a_budget_that_no_network_keeps_is_refused_before_the_search(vgg: VGG16, tmp_path: Path) -> None:
    sentence = (
        "^mac_budget is 1,000, but with 2 operations in each node the cheapest network of width 0.125 takes 1,055 "
        "multiply-accumulates per pixel; raise mac_budget, or lower top_p or width$"
    )
    with pytest.raises(ValueError, match=sentence):
        DualSearch(SMALL.changed(mac_budget=1000), vgg)
    with pytest.raises(ValueError, match="the cheapest network of width"):
        run_search(SMALL.changed(mac_budget=1000), tmp_path / "run", device="cpu", show=False)
    assert not (tmp_path / "run").exists()
