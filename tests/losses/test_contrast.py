"""Eq. 3: pulled to the positive, pushed from the negatives, per item, whatever the scale of the features."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hsds_lib.images.batches import Batch, PairBatches, load_naturals, load_scenes
from hsds_lib.images.color import split_luma
from hsds_lib.losses.contrast import CONTRAST_LAYERS, gamma, gamma_h, gamma_n, gamma_r, source_negatives
from hsds_lib.losses.features import VGG16, Features, load_vgg16
from hsds_lib.losses.terms import Targets, encode_fused, prepare_targets

MakeBatch = Callable[..., Batch]


def draw(seed: int, items: int = 2) -> Features:
    generator = torch.Generator().manual_seed(seed)
    return {
        layer: torch.rand(items, 4 + i, 3, 3, generator=generator, dtype=torch.float64)
        for i, layer in enumerate(CONTRAST_LAYERS)
    }


def between(start: Features, end: Features, share: float) -> Features:
    return {layer: torch.lerp(start[layer], end[layer], share) for layer in start}


def prepared(make_batch: MakeBatch, vgg: VGG16) -> tuple[Targets, Features]:
    batch = make_batch()
    fused = 0.5 * (split_luma(batch.under)[0] + split_luma(batch.ref)[0])
    return prepare_targets(batch, vgg, contrast=True), encode_fused(fused, vgg, contrast=True)


@pytest.mark.paper("Eq. 3")
def test_gamma_equals_the_equation_written_out() -> None:
    fused, positive, *rest = (draw(seed) for seed in range(6))
    negatives = [(rest[0], rest[1]), (rest[2], rest[3])]
    total = 0.0
    for i in range(2):
        for layer in CONTRAST_LAYERS:

            def error(other: Features, layer: str = layer, i: int = i) -> float:
                return float(((fused[layer][i] - other[layer][i]) ** 2).mean())

            total += error(positive) / (sum(error(u) + error(o) for u, o in negatives) + 1e-7) / 2
    assert gamma(fused, positive, negatives).item() == pytest.approx(total, rel=1e-12)


def test_gamma_falls_towards_the_positive_and_rises_towards_a_negative() -> None:
    fused, positive, under, over = (draw(seed) for seed in range(4))
    shares = (0.0, 0.3, 0.6, 1.0)
    to_positive = [gamma(between(fused, positive, s), positive, [(under, over)]).item() for s in shares]
    assert to_positive == sorted(to_positive, reverse=True)
    assert to_positive[-1] == 0.0
    for negative in (under, over):
        # From the positive to the negative: nearer to what repels, farther from what attracts.
        values = [gamma(between(positive, negative, s), positive, [(under, over)]).item() for s in shares]
        assert values == sorted(values)
        assert values[-1] > values[0]


def test_gamma_does_not_depend_on_the_scale_of_the_features() -> None:
    parts = [draw(seed) for seed in range(4)]
    scaled = [{layer: 1000 * value for layer, value in part.items()} for part in parts]
    first = gamma(parts[0], parts[1], [(parts[2], parts[3])]).item()
    assert gamma(scaled[0], scaled[1], [(scaled[2], scaled[3])]).item() == pytest.approx(first, rel=1e-5)


def test_more_negatives_enlarge_the_denominator() -> None:
    fused, positive, under, over = (draw(seed) for seed in range(4))
    once = gamma(fused, positive, [(under, over)]).item()
    assert gamma(fused, positive, [(under, over)] * 2).item() == pytest.approx(once / 2, rel=1e-5)


def test_gamma_of_two_is_the_mean_of_two_gammas_of_one(make_batch: MakeBatch, vgg: VGG16) -> None:
    batch = make_batch()
    fused = 0.5 * (split_luma(batch.under)[0] + split_luma(batch.ref)[0])
    alone = []
    for i in range(2):
        item = Batch(**{f.name: getattr(batch, f.name)[i : i + 1] for f in dataclasses.fields(batch)})
        features = encode_fused(fused[i : i + 1], vgg, contrast=True)
        alone.append(gamma_h(features, prepare_targets(item, vgg, contrast=True)).item())
    targets = prepare_targets(batch, vgg, contrast=True)
    together = gamma_h(encode_fused(fused, vgg, contrast=True), targets, own=True).item()
    assert together == pytest.approx(sum(alone) / 2, rel=1e-10)
    assert abs(alone[0] - alone[1]) > 1e-6


@pytest.mark.paper("Eq. 3")
def test_gamma_h_is_the_plain_sum(make_batch: MakeBatch, vgg: VGG16) -> None:
    targets, features = prepared(make_batch, vgg)
    parts = gamma_r(features, targets), gamma_n(features, targets)
    assert gamma_h(features, targets).item() == pytest.approx(sum(part.item() for part in parts), rel=1e-12)
    assert parts[0] < parts[1]  # half-way to the reference, nowhere near the natural image


@pytest.mark.paper("Eq. 3")
def test_the_two_halves_are_the_equation_with_their_positives(make_batch: MakeBatch, vgg: VGG16) -> None:
    targets, features = prepared(make_batch, vgg)
    own, other = ([pair] for pair in source_negatives(targets, 2))
    assert targets.natural_features is not None
    wanted = gamma(features, targets.ref_features, own).item()
    assert gamma_r(features, targets).item() == pytest.approx(wanted, rel=1e-12)
    for whose, negatives in ((True, own), (False, other)):
        wanted = gamma(features, targets.natural_features, negatives).item()
        assert gamma_n(features, targets, own=whose).item() == pytest.approx(wanted, rel=1e-12)


def test_gamma_r_is_zero_at_the_reference(make_batch: MakeBatch, vgg: VGG16) -> None:
    targets, _ = prepared(make_batch, vgg)
    assert gamma_r(encode_fused(targets.ref_y, vgg, contrast=True), targets).item() == pytest.approx(0.0, abs=1e-12)


def test_gradient_is_finite_and_alive_even_when_everything_is_equal(make_batch: MakeBatch, vgg: VGG16) -> None:
    batch = make_batch()
    same = dataclasses.replace(batch, under=batch.ref, over=batch.ref, natural=batch.ref)
    for case, alive in ((batch, True), (same, False)):
        fused: Tensor = split_luma(case.under)[0].clone().requires_grad_()
        value = gamma_h(encode_fused(fused, vgg, contrast=True), prepare_targets(case, vgg, contrast=True))
        (gradient,) = torch.autograd.grad(value, fused)
        assert value.isfinite()
        assert gradient.isfinite().all()
        assert bool(gradient.norm() > 0) == alive


@pytest.mark.paper("Eq. 3")
def test_further_negatives_are_those_of_the_other_items(make_batch: MakeBatch, vgg: VGG16) -> None:
    targets, features = prepared(make_batch, vgg)
    own, other = source_negatives(targets, 2)
    assert torch.equal(own[0]["relu3_3"], targets.under_features["relu3_3"])
    assert torch.equal(other[0]["relu3_3"], targets.under_features["relu3_3"].flip(0))
    assert torch.equal(other[1]["relu5_1"], targets.over_features["relu5_1"].flip(0))
    assert gamma_r(features, targets, n_negatives=2) < gamma_r(features, targets)


@pytest.mark.paper("Eq. 3")
def test_with_the_scenes_own_exposures_gamma_n_prefers_noise_to_the_reference() -> None:
    """Why the negatives of Gamma_N are of other scenes: a count over real pictures, with ImageNet's features."""
    vgg, scenes = load_vgg16("imagenet"), load_scenes("embedded", "train", seed=0)
    naturals, rng = load_naturals("embedded", "train", seed=0), torch.Generator().manual_seed(0)
    draws = PairBatches(scenes, naturals, crop=96, batch_size=2, generator=rng)
    wins = {True: 0, False: 0}
    for batch in draws:
        targets = prepare_targets(batch, vgg, contrast=True)
        noise = encode_fused(torch.rand(targets.ref_y.shape, generator=rng), vgg, contrast=True)
        good = encode_fused(targets.ref_y, vgg, contrast=True)
        for own in wins:
            wins[own] += int(gamma_h(good, targets, own=own) < gamma_h(noise, targets, own=own))
    assert wins[True] == 0 and wins[False] >= len(draws) - 1, "own: noise is always better; of others: nearly never"


def test_wrong_use_gives_one_clear_sentence(make_batch: MakeBatch, vgg: VGG16) -> None:
    fused, positive = draw(0), draw(1)
    with pytest.raises(ValueError, match="at least one"):
        gamma(fused, positive, [])
    with pytest.raises(ValueError, match="lacks features of relu5_1"):
        gamma({layer: fused[layer] for layer in CONTRAST_LAYERS[:2]}, positive, [(fused, fused)])
    targets, features = prepared(make_batch, vgg)
    for count in (0, 3):
        with pytest.raises(ValueError, match="between 1 and 2"):
            gamma_r(features, targets, n_negatives=count)
    with pytest.raises(ValueError, match="contrast=True"):
        gamma_n(features, dataclasses.replace(targets, natural_features=None))
