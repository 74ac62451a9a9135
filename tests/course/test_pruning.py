"""Pruning replayed on a record, and the figures of notebook 3: they show what they were given."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from hsds_lib.course.figures import pruning, retention
from hsds_lib.course.plots import active_masks
from hsds_lib.network.budget import operation_macs
from hsds_lib.network.genotype import NODES
from hsds_lib.network.operations import PRIMITIVES, softmax_active
from hsds_lib.search.wsras import prune_step

SHAPE = (len(NODES), len(PRIMITIVES))

RANDOM = "random VGG-16 features: not comparable with the paper"


def make_history(theta: float, *, steps: int = 12, top_p: int = 2, from_epoch: int = 1) -> list[dict[str, Any]]:
    """Records of logits that drift apart, pruned as a search prunes; four steps an epoch."""
    rng = torch.Generator().manual_seed(0)
    alpha, active = torch.zeros(SHAPE, dtype=torch.float64), torch.ones(SHAPE, dtype=torch.bool)
    history = []
    for step in range(steps):
        alpha = alpha + 0.3 * torch.randn(SHAPE, generator=rng, dtype=torch.float64) * active
        before = active
        if step // 4 >= from_epoch:
            active = prune_step(alpha, active, theta=theta, top_p=top_p)
        removed = [(NODES[row], PRIMITIVES[column]) for row, column in (before & ~active).nonzero().tolist()]
        mix = softmax_active(alpha, active).mul(1e6).round().div(1e6).tolist()
        history.append({"epoch": step // 4, "node_mix": mix, "removed": removed, "n_active": int(active.sum())})
    return history


def texts(figure: Figure) -> str:
    return "\n".join(item.get_text() for item in figure.findobj(matplotlib.text.Text))


@pytest.mark.paper("Algorithm 1 lines 8-13")
def test_replay_with_the_recorded_theta_gives_back_the_record() -> None:
    history = make_history(0.06)
    assert history[-1]["n_active"] < 160
    replayed = pruning.replay(history, theta=0.06, top_p=2, from_epoch=1)
    assert np.array_equal(replayed, active_masks(history))


@pytest.mark.paper("Algorithm 1 lines 8-13")
def test_replay_of_a_free_record_follows_prune_step() -> None:
    history = make_history(0.0)
    active = torch.ones(SHAPE, dtype=torch.bool)
    for record, mask in zip(history, pruning.replay(history, theta=0.07, top_p=3), strict=True):
        logits = torch.tensor(record["node_mix"], dtype=torch.float64).log()
        active = prune_step(logits, active, theta=0.07, top_p=3)
        assert np.array_equal(mask, active.numpy())


def test_replay_saves_nothing_that_the_record_has_lost() -> None:
    history = make_history(0.06)
    replayed = pruning.replay(history, theta=0.001, top_p=2, from_epoch=1)
    assert np.array_equal(replayed, active_masks(history))


def test_replay_keeps_top_p_and_revives_nothing() -> None:
    masks = pruning.replay(make_history(0.06), theta=1.0, top_p=4)
    assert (masks[-1].sum(axis=1) == 4).all()
    assert not (masks[1:] & ~masks[:-1]).any()


def test_replay_waits_for_its_epoch() -> None:
    counts = pruning.replay(make_history(0.0), theta=1.0, top_p=2, from_epoch=2).sum(axis=(1, 2))
    assert counts[:8].tolist() == [SHAPE[0] * SHAPE[1]] * 8 and counts[8] == SHAPE[0] * (SHAPE[1] - 1)


def taps() -> dict[str, np.ndarray]:
    tables = {name: np.zeros((5, 5), dtype=bool) for name in PRIMITIVES}
    for place, table in enumerate(tables.values()):
        table.flat[[12, place]] = True
    return tables


def pairs(scale: float) -> list[tuple[int, float]]:
    return [(round(1e6 * scale * p), 1e6 * scale * p) for p in range(1, 12)]


FALLING = {"one": [11.0 - p for p in range(11)], "two": [2.0 * (10 - p) for p in range(11)]}
FIGURES = {
    "node_cuts": lambda: pruning.node_cuts(torch.arange(1.0, 12.0).div(66), theta=0.07, top_p=2),
    "replay_overview": lambda: pruning.replay_overview(
        make_history(0.06), thetas=(0.06, 0.08), top_p=2, node="l_1", from_epoch=1, features=RANDOM
    ),
    "replay_against_search": lambda: pruning.replay_against_search(
        make_history(0.0), {0.06: make_history(0.06, from_epoch=0)}, top_p=2, features=RANDOM
    ),
    "footprints": lambda: retention.footprints(taps()),
    "competition": lambda: retention.competition({"quick": [0.1, 0.5, 0.9], "slow": [0.1, 0.2, 0.3]}),
    "cost_curves": lambda: retention.cost_curves(
        {"searched": pairs(0.3)}, [pairs(0.2), pairs(0.4)], {"theta 0": [2e6, 1e6]}
    ),
    "gap_curves": lambda: retention.gap_curves(
        FALLING, {name: [(p + 1) / 11 for p in range(11)] for name in FALLING}, np.ones((2, 11)), features=RANDOM
    ),
    "price_map": lambda: retention.price_map(operation_macs(1.0).numpy()),
    "budget_curves": lambda: retention.budget_curves(
        {"none": [8e3, 9e3], "some": [7e3, 5e3]}, {"none": 8500.0, "some": 2100.0}, budget=4800.0, features=RANDOM
    ),
}
WITH_FEATURES = {"budget_curves", "replay_overview", "replay_against_search", "gap_curves"}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_says_what_it_shows_and_leaves_no_trace(name: str) -> None:
    before = dict(matplotlib.rcParams)
    figure, alt = FIGURES[name]()
    figure.canvas.draw()
    assert len(alt) > 40 and alt.endswith(".")
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", sorted(set(FIGURES) - {"footprints"}))
def test_every_axis_is_labelled(name: str) -> None:
    figure, _ = FIGURES[name]()
    panels = [axes for axes in figure.axes if axes.get_subplotspec() is not None]
    assert panels and all(axes.get_xlabel() for axes in panels)


@pytest.mark.parametrize("name", sorted(WITH_FEATURES))
def test_random_features_are_named_in_figure_and_alt(name: str) -> None:
    figure, alt = FIGURES[name]()
    assert RANDOM in texts(figure) and RANDOM in alt


def test_node_cuts_draws_every_removal_and_says_why_it_stops() -> None:
    mix = torch.tensor([0.04, 0.05, *[0.91 / 9] * 9])
    figure, alt = pruning.node_cuts(mix, theta=0.07, top_p=2)
    assert [axes.get_title("left") for axes in figure.axes] == ["11 left", "10 left", "9 left"]
    assert "is not below the threshold" in alt
    _, floor = pruning.node_cuts(mix, theta=1.0, top_p=4)
    assert "to 4 operations, where P = 4 are left" in floor


def test_replay_overview_counts_what_is_left() -> None:
    history = make_history(0.06)
    _, alt = FIGURES["replay_overview"]()
    assert f"{history[-1]['n_active']} at theta 0.06" in alt


def test_replay_against_search_counts_who_survives() -> None:
    recorded, searched = make_history(0.0), make_history(0.06, from_epoch=0)
    played, real = pruning.replay(recorded, theta=0.06, top_p=2)[-1], active_masks(searched)[-1]
    _, alt = FIGURES["replay_against_search"]()
    assert f"they share {(played & real).sum()}, {(played & ~real).sum()} only in the replay" in alt


def test_footprints_draw_each_tap_once() -> None:
    figure, alt = retention.footprints(taps())
    drawn = [sum(len(line.get_xdata()) for line in axes.lines if line.get_marker() == "s") for axes in figure.axes]
    assert drawn[:11] == [int(table.sum()) for table in taps().values()]
    assert f"1×1 reads {drawn[0]} pixels over 3 by 3" in alt


def test_cost_curves_give_the_ends() -> None:
    _, alt = FIGURES["cost_curves"]()
    assert "0.30 million parameters at P = 1, 3.30 at P = 11" in alt and "theta 0: 1.00 million" in alt


def test_gap_curves_give_the_first_gaps() -> None:
    _, alt = FIGURES["gap_curves"]()
    assert "one: 11.0 at P = 1, 10.0 at P = 2" in alt


def test_price_map_writes_every_price_and_names_the_ends() -> None:
    figure, alt = FIGURES["price_map"]()
    written = [text.get_text() for text in figure.axes[0].texts]
    assert len(written) == SHAPE[0] * SHAPE[1] and {"0.016", "2.3", "100"} <= set(written)
    assert "from 0.016 thousand (1×1 in x_1) to 100 thousand (7×7 in x_4)" in alt


def test_budget_curves_tell_the_mixture_from_the_network() -> None:
    figure, alt = FIGURES["budget_curves"]()
    assert "some: 5,000 expected after the last step, 2,100 of the network" in alt
    assert "budget: 4,800" in texts(figure)
