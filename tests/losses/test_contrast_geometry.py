"""Where Eq. 3 falls and rises, exactly: a condition on angles in feature space, and no promise in pixel space."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hsds_lib.images.batches import Batch
from hsds_lib.images.color import split_luma
from hsds_lib.losses.contrast import CONTRAST_LAYERS, gamma, gamma_h, gamma_r
from hsds_lib.losses.features import VGG16, Features
from hsds_lib.losses.terms import encode_fused, prepare_targets

MakeBatch = Callable[..., Batch]


def draw(seed: int, layers: int = 3, items: int = 1) -> Features:
    generator = torch.Generator().manual_seed(seed)
    return {
        layer: torch.randn(items, 3, 2, 2, generator=generator, dtype=torch.float64)
        for layer in CONTRAST_LAYERS[:layers]
    }


def shifted(features: Features, towards: Features, share: float) -> Features:
    return {layer: torch.lerp(value, towards[layer], share) for layer, value in features.items()}


def slope_towards(
    fused: Features, goal: Features, positive: Features, negatives: list[tuple[Features, Features]]
) -> float:
    """Derivative of gamma as the fused features start to move to ``goal``."""
    layers = tuple(fused)
    share = torch.zeros((), dtype=torch.float64, requires_grad=True)
    moved = {layer: fused[layer] + share * (goal[layer] - fused[layer]) for layer in layers}
    return float(torch.autograd.grad(gamma(moved, positive, negatives, layers=layers), share)[0])


def inner(first: Tensor, second: Tensor) -> float:
    return float((first * second).mean())


@pytest.mark.paper("Eq. 3")
@settings(deadline=None, max_examples=100, derandomize=True)
@given(seed=st.integers(0, 10_000), n_negatives=st.integers(1, 3))
def test_gamma_falls_towards_the_positive_exactly_when_the_negatives_see_both_on_one_side(
    seed: int, n_negatives: int
) -> None:
    """d log gamma = -2 sum_n <P - n, F - n> / sum_n |F - n|^2 for one layer, n over all under and over features."""
    fused, positive, *rest = (draw(7 * seed + k, layers=1) for k in range(2 + 2 * n_negatives))
    negatives = list(zip(rest[::2], rest[1::2], strict=True))
    (layer,) = fused
    f, p, ns = fused[layer], positive[layer], [n[layer] for n in rest]
    push = sum(inner(f - n, f - n) for n in ns)
    expected = (
        -2 * sum(inner(p - n, f - n) for n in ns) / push * float(gamma(fused, positive, negatives, layers=[layer]))
    )
    assert slope_towards(fused, positive, positive, negatives) == pytest.approx(expected, rel=1e-5, abs=1e-9)


@pytest.mark.paper("Eq. 3")
@settings(deadline=None, max_examples=100, derandomize=True)
@given(seed=st.integers(0, 10_000))
def test_gamma_rises_from_the_positive_to_any_negative_in_every_layer(seed: int) -> None:
    positive, under, over = (draw(3 * seed + k) for k in range(3))
    for negative in (under, over):
        near = shifted(positive, negative, 0.05)
        values = [gamma(shifted(near, negative, s), positive, [(under, over)]).item() for s in (0.0, 0.05, 0.1)]
        assert values == sorted(values) and values[2] > values[0]


@pytest.mark.paper("Eq. 3")
def test_more_layers_add_and_more_negatives_divide() -> None:
    fused, positive, under, over = (draw(k) for k in range(4))
    alone = [gamma(fused, positive, [(under, over)], layers=[layer]).item() for layer in CONTRAST_LAYERS]
    assert gamma(fused, positive, [(under, over)]).item() == pytest.approx(sum(alone), rel=1e-12)
    many = gamma(fused, positive, [(under, over)] * 4).item()
    assert many == pytest.approx(sum(alone) / 4, rel=1e-6)


def test_a_negative_between_fused_and_positive_makes_gamma_rise_first() -> None:
    """In feature space too: passing a negative on the way costs more than coming nearer gains."""
    positive, fused, over = draw(0, 1), draw(1, 1), draw(2, 1)
    under = shifted(fused, positive, 0.5)
    over = shifted(under, over, 0.01)
    values = [
        gamma(shifted(fused, positive, s), positive, [(under, over)], layers=list(fused)).item() for s in (0, 0.4, 1)
    ]
    assert values[1] > values[0] and values[2] == 0.0


@pytest.mark.paper("Eq. 3")
def test_pixel_space_promises_nothing(make_batch: MakeBatch, vgg: VGG16) -> None:
    """A case: a fused image darker than both exposures comes nearer to the reference, and gamma grows."""
    ref = make_batch(size=32, items=1).ref
    batch = Batch(under=0.5 * ref, over=0.55 * ref, ref=ref, natural=ref.flip(3))
    targets = prepare_targets(batch, vgg, contrast=True)
    ref_y = split_luma(ref)[0]
    values = []
    for brightness in (0.2, 0.5, 1.0):
        values.append(float(gamma_r(encode_fused(brightness * ref_y, vgg, contrast=True), targets)))
    assert values[1] > 2 * values[0] and values[2] == pytest.approx(0, abs=1e-12)


def test_gamma_of_the_network_input_is_invariant_to_the_scale_of_the_features(
    make_batch: MakeBatch, vgg: VGG16
) -> None:
    batch = make_batch(items=2)
    fused = 0.5 * (split_luma(batch.under)[0] + split_luma(batch.ref)[0])
    targets, features = prepare_targets(batch, vgg, contrast=True), encode_fused(fused, vgg, contrast=True)

    def scaled(part: Features) -> Features:
        return {layer: 100 * value for layer, value in part.items()}

    larger = dataclasses.replace(
        targets,
        **{f"{which}_features": scaled(getattr(targets, f"{which}_features")) for which in ("ref", "under", "over")},
        natural_features=scaled(targets.natural_features or {}),
    )
    assert float(gamma_h(scaled(features), larger)) == pytest.approx(float(gamma_h(features, targets)), rel=1e-6)
