"""Table 3: what each of the seven searches does and leaves undone, seen in short runs of all of them."""

from __future__ import annotations

import pytest
import torch

from hsds_lib.config import ABLATIONS, ablation, preset
from hsds_lib.images.batches import Batch
from hsds_lib.losses.features import VGG16
from hsds_lib.network.operations import PRIMITIVES
from hsds_lib.search.dual import DualSearch

pytestmark = pytest.mark.paper("Table 3")

# A step of pruning per step of the search, and a threshold just below equal weights, so that few steps show it.
OURS = preset("tiny").search.changed(
    width=0.0625, crop=24, batch_size=1, beta_warmup=0, prune_from_epoch=0, theta=0.99 / len(PRIMITIVES), top_p=2
)
STEPS = 2  # the first of Adam knows only signs, so it takes two to tell losses apart
PRUNED = ("w/o Gamma_H", "only Gamma_R", "only Gamma_N", "ours", "only PR")
UNPRUNED = ("only WR", "DARTS")


@pytest.fixture(scope="module")
def searches(vgg: VGG16, batches: list[Batch]) -> dict[str, DualSearch]:
    done = {}
    for name in ABLATIONS:
        search = DualSearch(ablation(OURS, name), vgg)
        for step in range(STEPS):
            search.step(batches[step], batches[step + 1])
        done[name] = search
    return done


def test_pruned_and_unpruned_rows_are_all_rows() -> None:
    assert {*PRUNED, *UNPRUNED} == set(ABLATIONS)


def test_beta_stays_uniform_without_gamma_and_moves_in_all_other_rows(searches: dict[str, DualSearch]) -> None:
    assert (searches["w/o Gamma_H"].beta == 0).all()
    assert all((search.beta != 0).all() for name, search in searches.items() if name != "w/o Gamma_H")


def test_each_kind_of_contrast_finds_another_loss(searches: dict[str, DualSearch]) -> None:
    losses = [searches[name].loss_mix().detach() for name in ("ours", "only Gamma_R", "only Gamma_N")]
    assert all(not torch.equal(losses[i], losses[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


@pytest.mark.parametrize("name", UNPRUNED)
def test_nothing_is_removed_without_pruning_refinement(name: str, searches: dict[str, DualSearch]) -> None:
    assert searches[name].active.all()
    assert all(
        len(searches[name].network.node(node).operations) == len(PRIMITIVES) for node in searches[name].genotype().nodes
    )


@pytest.mark.parametrize("name", PRUNED)
def test_operations_are_removed_with_pruning_refinement(name: str, searches: dict[str, DualSearch]) -> None:
    removed = [entry for record in searches[name].history for entry in record["removed"]]
    assert len(removed) == int((~searches[name].active).sum()) > 0


@pytest.mark.parametrize("name", list(ABLATIONS))
def test_weight_retention_keeps_p_operations_and_one_without_it(name: str, searches: dict[str, DualSearch]) -> None:
    kept = 1 if name in ("only PR", "DARTS") else OURS.top_p
    assert {len(retained) for retained in searches[name].genotype().nodes.values()} == {kept}


def test_alpha_and_omega_are_searched_in_every_row(searches: dict[str, DualSearch], vgg: VGG16) -> None:
    start = dict(DualSearch(OURS, vgg).network.named_parameters())
    for search in searches.values():
        assert (search.alpha != 0).any(dim=1).all()
        assert not any(torch.equal(weight, start[key]) for key, weight in search.network.named_parameters())


def test_retention_alone_changes_no_step_of_the_search(searches: dict[str, DualSearch]) -> None:
    """Only the end of Algorithm 1 differs, so DARTS and only WR walk the same way."""
    assert torch.equal(searches["DARTS"].alpha, searches["only WR"].alpha)
    assert torch.equal(searches["DARTS"].beta, searches["only WR"].beta)
    best = {node: max(kept, key=lambda name: kept[name]) for node, kept in searches["only WR"].genotype().nodes.items()}
    assert {node: next(iter(kept)) for node, kept in searches["DARTS"].genotype().nodes.items()} == best
