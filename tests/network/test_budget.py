"""Prices of operations and networks are those that torch counts, and a budget charges for the excess alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from hsds_lib.network.budget import (
    check_budget,
    expected_macs,
    fixed_macs,
    genotype_macs,
    least_macs,
    operation_macs,
    over_budget,
)
from hsds_lib.network.fusion_net import FusionNet, Supernet, derive
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.model_file import MODELS
from hsds_lib.network.operations import PRIMITIVES, softmax_active

SHAPE = (len(NODES), len(PRIMITIVES))

COST = {"width": 0.25, "top_p": 2}


def counted(build: Callable[[], FusionNet]) -> dict[str, float]:
    """MACs per pixel by the name of a part ("" is all), half of the operations that torch counts in convolutions."""
    with torch.device("meta"), torch.no_grad():  # shapes without content: nothing is computed, all is counted
        network, mix = build().eval(), torch.zeros(SHAPE)
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 2, 12, 18), mix)
    counts = {name.partition(".")[2]: sum(parts.values()) for name, parts in counter.get_flop_counts().items()}
    return {name: flops / 2 / (12 * 18) for name, flops in {**counts, "": counter.get_total_flops()}.items()}


def drawn(seed: int, *, width: float) -> Genotype:
    """A genotype that keeps any number of operations of each node."""
    generator = torch.Generator().manual_seed(seed)
    kept = torch.rand(SHAPE, generator=generator) < torch.rand(len(NODES), 1, generator=generator)
    kept[torch.arange(len(NODES)), torch.randint(len(PRIMITIVES), (len(NODES),), generator=generator)] = True
    return Genotype.from_mix(softmax_active(torch.randn(SHAPE, generator=generator).double(), kept), width=width)


def logits(seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SHAPE, generator=generator, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("width", [0.0625, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_genotype_costs_exactly_what_torch_counts(seed: int, width: float) -> None:
    genotype = drawn(seed, width=width)
    assert genotype_macs(genotype) == counted(lambda: derive(genotype))[""]


@pytest.mark.parametrize("width", [0.125, 0.3, 1.0])
def test_every_price_is_what_torch_counts_in_that_operation(width: float) -> None:
    parts = counted(lambda: Supernet(width=width))
    wanted = [[parts[f"nodes.{node}.operations.{primitive}"] for primitive in PRIMITIVES] for node in NODES]
    assert operation_macs(width).tolist() == wanted
    assert fixed_macs(width) == sum(parts[name] for name in ("guide_xy", "guide_yx", "reconstruction"))


def test_all_operations_cost_the_supernet() -> None:
    even = torch.full(SHAPE, 1 / len(PRIMITIVES), dtype=torch.float64)
    assert expected_macs(even, width=1.0, top_p=len(PRIMITIVES)).item() == pytest.approx(
        counted(Supernet)[""], rel=1e-12
    )


def test_released_genotype_costs_871544() -> None:
    nodes = Genotype.load(MODELS / "released" / "genotype.json").nodes
    assert genotype_macs(Genotype(nodes=nodes)) == 871_544  # counted on the released network


def test_expected_cost_is_the_mean_over_networks_that_draw_their_operations() -> None:
    mix, prices = logits().detach().softmax(dim=1), operation_macs(0.25)
    choices = torch.multinomial(mix, 2 * 20_000, replacement=True, generator=torch.Generator().manual_seed(0))
    costs = prices.gather(1, choices).view(len(NODES), 20_000, 2).sum(dim=(0, 2)) + fixed_macs(0.25)
    wanted = expected_macs(mix, **COST).item()
    assert abs(costs.mean().item() - wanted) < 4 * costs.std().item() / 20_000**0.5
    assert costs.std() < wanted / 4  # so that the line above says something


def test_a_decided_mixture_is_expected_to_cost_its_network() -> None:
    genotype = Genotype(
        nodes={node: {PRIMITIVES[row % len(PRIMITIVES)]: 1.0} for row, node in enumerate(NODES)}, width=0.25
    )
    assert expected_macs(genotype.mix(), width=0.25, top_p=1).item() == genotype_macs(genotype)


@pytest.mark.parametrize("budget", [500.0, 4000.0])
def test_gradient_of_the_excess_is_that_of_finite_differences(budget: float) -> None:
    assert torch.autograd.gradcheck(lambda a: over_budget(a.softmax(dim=1), budget=budget, **COST), [logits()])


def test_gradient_pushes_down_what_costs_more_than_its_node_on_average() -> None:
    alpha, prices = logits(), operation_macs(0.25)
    (gradient,) = torch.autograd.grad(over_budget(alpha.softmax(dim=1), budget=4000.0, **COST), alpha)
    mix = alpha.detach().softmax(dim=1)
    mean = (mix * prices).sum(dim=1, keepdim=True)
    assert torch.allclose(gradient, 2 / 4000 * mix * (prices - mean), rtol=1e-9)


def test_within_the_budget_nothing_is_paid_and_the_gradient_is_exactly_zero() -> None:
    alpha = logits()
    expected = expected_macs(alpha.softmax(dim=1), **COST).item()
    for budget in (expected, 1.001 * expected, 1e9):
        excess = over_budget(alpha.softmax(dim=1), budget=budget, **COST)
        assert excess.item() == 0 and not torch.autograd.grad(excess, alpha)[0].any()
    assert over_budget(alpha.softmax(dim=1), budget=expected / 1.5, **COST).item() == pytest.approx(0.5, rel=1e-12)


def test_least_is_met_by_a_network_and_beaten_by_none() -> None:
    least = least_macs(0.25, top_p=3)
    order = operation_macs(0.25).argsort(dim=1)[:, :3]
    cheapest = torch.zeros(SHAPE, dtype=torch.float64).scatter(1, order, 1 / 3)
    assert genotype_macs(Genotype.from_mix(cheapest, width=0.25)) == least
    check_budget(least, width=0.25, top_p=3)
    with pytest.raises(ValueError, match=r"^mac_budget is 5, but with 3 operations in each node .*; raise"):
        check_budget(5.0, width=0.25, top_p=3)


@pytest.mark.parametrize("shape", [SHAPE[::-1], SHAPE[:1], (1, *SHAPE)])
def test_a_mixture_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"has no price; give {len(NODES)} x {len(PRIMITIVES)} weights"):
        expected_macs(torch.ones(shape), **COST)
