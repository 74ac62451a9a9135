"""Pruning refinement and weight retention: what survives, and which rule breaks ties."""

from __future__ import annotations

import pytest
import torch

from hsds_lib.network.genotype import NODES
from hsds_lib.network.operations import PRIMITIVES, softmax_active
from hsds_lib.search.wsras import prune_step, retain

SHAPE = (len(NODES), len(PRIMITIVES))


def everything(rows: int = len(NODES)) -> torch.Tensor:
    return torch.ones(rows, len(PRIMITIVES), dtype=torch.bool)


@pytest.mark.paper("Algorithm 1 lines 8-13")
def test_prune_removes_only_the_smallest_below_theta() -> None:
    alpha = torch.tensor([[2.0, 0.0, -4.0], [0.0, 0.1, 0.2]])
    active = torch.ones(2, 3, dtype=torch.bool)
    assert prune_step(alpha, active, theta=0.05, top_p=1).tolist() == [[True, True, False], [True, True, True]]


def test_prune_leaves_its_input_untouched() -> None:
    active = everything()
    prune_step(torch.randn(SHAPE) * 5, active, theta=0.5, top_p=2)
    assert active.all()


@pytest.mark.paper("Algorithm 1 lines 8-13")
@pytest.mark.parametrize("top_p", [1, 2, 3, len(PRIMITIVES)])
def test_prune_never_leaves_fewer_than_top_p_and_never_revives(top_p: int) -> None:
    generator = torch.Generator().manual_seed(top_p)
    active = everything()
    for _ in range(30):
        pruned = prune_step(torch.randn(SHAPE, generator=generator) * 4, active, theta=1.0, top_p=top_p)
        assert not (pruned & ~active).any()
        assert ((active.sum(1) - pruned.sum(1)) <= 1).all()
        active = pruned
    assert (active.sum(dim=1) == top_p).all()


def test_theta_zero_prunes_nothing_even_at_extreme_logits() -> None:
    alpha = torch.zeros(SHAPE)
    alpha[:, 0] = 500.0  # the others underflow to a weight of exactly 0
    assert prune_step(alpha, everything(), theta=0.0, top_p=1).all()


def test_logits_decide_where_weights_are_rounded_to_equal_ones() -> None:
    alpha = torch.zeros(SHAPE)
    alpha[:, 0], alpha[:, 4] = 500.0, -1.0  # all weights but one are 0
    pruned = prune_step(alpha, everything(), theta=0.5, top_p=2)
    assert not pruned[:, 4].any() and int((~pruned).sum()) == len(NODES)
    close = torch.zeros(SHAPE, dtype=torch.float64)
    close[:, 7] = 1e-30  # all weights are equal
    assert all(list(kept) == ["conv_5x1"] for kept in retain(close, everything(), top_p=1, width=1.0).nodes.values())


def test_ties_remove_the_last_and_retain_the_first() -> None:
    pruned = prune_step(torch.zeros(SHAPE), everything(), theta=0.5, top_p=2)
    assert not pruned[:, -1].any() and pruned[:, :-1].all()
    genotype = retain(torch.zeros(SHAPE), everything(), top_p=2, width=1.0)
    assert all(list(retained) == ["conv_1x1", "conv_3x3"] for retained in genotype.nodes.values())


@pytest.mark.paper("Algorithm 1 line 15")
def test_retain_keeps_the_strongest_with_the_softmax_over_them() -> None:
    generator = torch.Generator().manual_seed(0)
    alpha = torch.randn(SHAPE, generator=generator)
    genotype = retain(alpha, everything(), top_p=3, width=0.5)
    row = alpha[NODES.index("div")].double()
    best = row.topk(3)
    expected = {PRIMITIVES[i]: w for i, w in zip(best.indices.tolist(), best.values.softmax(0).tolist(), strict=True)}
    assert genotype.nodes["div"] == pytest.approx(expected)
    assert genotype.width == 0.5


def test_retain_never_takes_a_pruned_operation() -> None:
    alpha, active = torch.zeros(SHAPE), everything()
    alpha[:, 4], active[:, 4] = 9.0, False
    assert all("conv_1x3" not in retained for retained in retain(alpha, active, top_p=2, width=1.0).nodes.values())
    active[:] = False
    active[:, 7] = True
    assert all(retained == {"conv_5x1": 1.0} for retained in retain(alpha, active, top_p=2, width=1.0).nodes.values())


def test_pruning_then_softmax_renormalises_the_rest() -> None:
    alpha = torch.tensor([[1.0, 0.0, -9.0]])
    active = prune_step(alpha, torch.ones(1, 3, dtype=torch.bool), theta=0.05, top_p=1)
    torch.testing.assert_close(softmax_active(alpha, active)[0, :2], torch.tensor([1.0, 0.0]).softmax(0))


def test_a_row_is_pruned_by_its_own_weights_only() -> None:
    generator = torch.Generator().manual_seed(3)
    alpha = torch.randn(SHAPE, generator=generator) * torch.linspace(0, 3, len(NODES))[:, None]
    together = prune_step(alpha, everything(), theta=0.02, top_p=2)
    alone = [prune_step(alpha[row : row + 1], everything(1), theta=0.02, top_p=2) for row in range(len(NODES))]
    assert torch.equal(together, torch.cat(alone))
    assert not together.all() and together.all(dim=1).any()  # some rows lose one, some do not


def test_theta_is_compared_with_the_weight_among_the_survivors() -> None:
    alpha, active = torch.zeros(1, len(PRIMITIVES)), torch.zeros(1, len(PRIMITIVES), dtype=torch.bool)
    active[:, :4] = True  # four of equal weight 1/4, which was less before
    assert torch.equal(prune_step(alpha, active, theta=0.24, top_p=1), active)
    assert prune_step(alpha, active, theta=0.26, top_p=1).tolist() == [[True] * 3 + [False] * (len(PRIMITIVES) - 3)]


def test_a_weight_of_exactly_theta_is_not_pruned() -> None:
    active = torch.zeros(1, len(PRIMITIVES), dtype=torch.bool)
    active[:, :4] = True
    assert torch.equal(prune_step(torch.zeros(1, len(PRIMITIVES)), active, theta=0.25, top_p=1), active)


def test_least_weight_retains_the_operations_that_exceed_it() -> None:
    weights = torch.tensor([0.001] * len(PRIMITIVES), dtype=torch.float64)
    weights[2], weights[5], weights[8] = 0.692, 0.2, 0.1
    alpha = weights.log().expand(SHAPE)
    for least, kept in ((0.0, len(PRIMITIVES)), (0.05, 3), (0.15, 2), (0.5, 1)):
        genotype = retain(alpha, everything(), top_p=11, width=1.0, least_weight=least)
        assert {len(retained) for retained in genotype.nodes.values()} == {kept}
    both = retain(alpha, everything(), top_p=11, width=1.0, least_weight=0.15).nodes["x_1"]
    assert both == pytest.approx({"conv_5x5": 0.692 / 0.892, "conv_3x1": 0.2 / 0.892})
    assert list(retain(alpha, everything(), top_p=1, width=1.0, least_weight=0.15).nodes["x_1"]) == ["conv_5x5"]


def test_an_operation_of_exactly_the_least_weight_is_not_retained() -> None:
    active = torch.zeros(SHAPE, dtype=torch.bool)
    active[:, [3, 6]] = True  # two of weight 1/2
    genotype = retain(torch.zeros(SHAPE), active, top_p=11, width=1.0, least_weight=0.5)
    assert all(retained == {"conv_7x7": 1.0} for retained in genotype.nodes.values())


def test_the_strongest_is_retained_even_below_the_least_weight() -> None:
    genotype = retain(torch.zeros(SHAPE), everything(), top_p=11, width=1.0, least_weight=0.1)
    assert all(retained == {"conv_1x1": 1.0} for retained in genotype.nodes.values())
