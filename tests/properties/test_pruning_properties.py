"""Pruning and retention for any logits: what survives, which goes first, and files that give back what they hold."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from hsds_lib.config import SearchConfig
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.operations import PRIMITIVES, softmax_active
from hsds_lib.search.wsras import prune_step, retain

SHAPE = (len(NODES), len(PRIMITIVES))
many = settings(deadline=None, max_examples=60, derandomize=True)

# Few different numbers make ties, wide ranges make weights that underflow to 0.
NUMBERS = {
    "searched": st.floats(-5, 5, width=32),
    "ties": st.sampled_from([-1.0, 0.0, 1.0]),
    "far apart": st.floats(-300, 300, width=32),
    "huge": st.floats(-(2.0**100), 2.0**100, width=32),
}
top_ps = st.integers(1, len(PRIMITIVES))
thetas = st.floats(0, 1)


def logits(*kinds: str) -> st.SearchStrategy[Tensor]:
    numbers = st.sampled_from(kinds or tuple(NUMBERS)).flatmap(
        lambda kind: arrays(np.float32, SHAPE, elements=NUMBERS[kind])
    )
    return st.tuples(numbers, st.sampled_from([torch.float32, torch.float64])).map(
        lambda drawn: torch.from_numpy(drawn[0]).to(drawn[1])
    )


@st.composite
def masks(draw: st.DrawFn) -> Tensor:
    """Which operations are alive: at least one of every node."""
    alive = torch.from_numpy(draw(arrays(np.bool_, SHAPE)))
    alive[range(SHAPE[0]), draw(arrays(np.int64, SHAPE[0], elements=st.integers(0, SHAPE[1] - 1)))] = True
    return alive


def prune_to_the_end(alpha: Tensor, active: Tensor, top_p: int) -> Tensor:
    for _ in PRIMITIVES:
        active = prune_step(alpha, active, theta=1.0, top_p=top_p)
    return active


@many
@given(logits(), masks(), thetas, top_ps)
def test_pruning_revives_nothing_takes_one_at_most_and_leaves_p(
    alpha: Tensor, active: Tensor, theta: float, top_p: int
) -> None:
    left = prune_step(alpha, active, theta=theta, top_p=top_p)
    assert not (left & ~active).any()
    assert ((active.sum(1) - left.sum(1)) <= 1).all()
    assert (left.sum(1) >= torch.minimum(active.sum(1), torch.tensor(top_p))).all()


@many
@given(logits(), masks(), thetas, top_ps)
def test_what_is_pruned_is_the_least_and_the_last_of_equals(
    alpha: Tensor, active: Tensor, theta: float, top_p: int
) -> None:
    removed = active & ~prune_step(alpha, active, theta=theta, top_p=top_p)
    mix = softmax_active(alpha, active)
    for row, column in removed.nonzero().tolist():
        others = active[row].clone()
        others[column] = False
        assert (alpha[row][others] >= alpha[row, column]).all() and mix[row, column] < theta
        assert not (others[column:] & (alpha[row, column:] == alpha[row, column])).any()


@many
@given(logits(), masks(), thetas, top_ps)
def test_what_is_left_is_protected_by_p_or_by_theta(alpha: Tensor, active: Tensor, theta: float, top_p: int) -> None:
    left = prune_step(alpha, active, theta=theta, top_p=top_p)
    untouched = (left == active).all(dim=1)
    least = softmax_active(alpha, active).masked_fill(~active, torch.inf).amin(dim=1)
    assert ((active.sum(1) <= top_p) | (least >= theta))[untouched].all()


@many
@given(logits(), masks(), st.tuples(thetas, thetas), top_ps)
def test_a_higher_threshold_prunes_no_less(alpha: Tensor, active: Tensor, both: tuple, top_p: int) -> None:
    low, high = (prune_step(alpha, active, theta=theta, top_p=top_p) for theta in sorted(both))
    assert not (high & ~low).any()


@many
@given(logits("searched", "ties", "far apart"), masks(), top_ps)
def test_pruning_to_p_retains_what_retention_alone_would(alpha: Tensor, active: Tensor, top_p: int) -> None:
    """While logits stand still the two mechanisms agree; in a search they do not stand still."""
    survivors = prune_to_the_end(alpha, active, top_p)
    assert torch.equal(survivors.sum(1), active.sum(1).clamp(max=top_p))
    after, alone = (retain(alpha, mask, top_p=top_p, width=1.0) for mask in (survivors, active))
    assert after == alone


@many
@given(logits(), masks(), top_ps, st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_every_retained_weight_is_the_softmax_of_what_is_retained(
    alpha: Tensor, active: Tensor, top_p: int, least: float
) -> None:
    genotype = retain(alpha, active, top_p=top_p, width=1.0, least_weight=least)
    for row, node in enumerate(NODES):
        kept = [PRIMITIVES.index(name) for name in genotype.nodes[node]]
        assert 1 <= len(kept) <= top_p and active[row, kept].all()
        assert alpha[row].argmax() in kept or not active[row, alpha[row].argmax()]
        wanted = alpha[row, kept].double().softmax(0)
        torch.testing.assert_close(torch.tensor(list(genotype.nodes[node].values())).double(), wanted)


@many
@given(logits(), masks())
def test_mixture_weights_are_a_distribution_over_the_living(alpha: Tensor, active: Tensor) -> None:
    mix = softmax_active(alpha, active)
    assert torch.isfinite(mix).all() and (mix >= 0).all() and (mix[~active] == 0).all()
    torch.testing.assert_close(mix.sum(1), torch.ones(len(NODES), dtype=alpha.dtype))


@many
@given(logits(), masks(), top_ps, st.floats(0.01, 4))
def test_a_genotype_survives_its_file(alpha: Tensor, active: Tensor, top_p: int, width: float) -> None:
    genotype = retain(alpha, active, top_p=top_p, width=width)
    with tempfile.TemporaryDirectory() as folder:
        genotype.save(Path(folder) / "genotype.json")
        again = Genotype.load(Path(folder) / "genotype.json")
    assert again == genotype and torch.equal(again.mix(), genotype.mix())
    assert Genotype.from_mix(genotype.mix(), width=width) == genotype


@many
@given(thetas, top_ps, st.floats(1e-12, 1e3), st.sampled_from(["hybrid", "reference", "natural", "none"]))
def test_settings_survive_json_to_the_last_bit(theta: float, top_p: int, rate: float, contrast: str) -> None:
    config = SearchConfig().changed(theta=theta, top_p=top_p, lr_alpha=rate, contrast=contrast)
    assert SearchConfig.model_validate_json(config.model_dump_json()) == config
