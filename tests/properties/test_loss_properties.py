"""The losses on any size and any values: a finite number and a finite slope, or one clear sentence."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hsds_lib.images.batches import Batch
from hsds_lib.losses.contrast import CONTRAST_LAYERS, gamma
from hsds_lib.losses.features import VGG16, load_vgg16
from hsds_lib.losses.mef_ssim import WINDOW, mef_ssim_pair, mef_ssim_single
from hsds_lib.losses.space import SPACES, LossWeights, mixture, term_names, weighted_loss
from hsds_lib.losses.terms import TERM_NAMES, encode_fused, prepare_targets, term_vector

WITHOUT_FEATURES = tuple(name for name in TERM_NAMES if not name.startswith("perceptual"))


def examples(count: int) -> settings:
    """So many cases, the same ones every time, however slow the machine."""
    return settings(deadline=None, derandomize=True, max_examples=count)


# The least of each measure, the next smaller, and odd ones; nothing new happens in large pictures.
sizes = st.one_of(st.sampled_from([1, 10, 11, 43, 44, 87]), st.integers(1, 60))
dtypes = st.sampled_from([torch.float32, torch.float64])
seeds = st.integers(0, 2**31 - 1)
# What a picture may hold: noise, or one value everywhere, inside the range, at its ends, or tiny.
kinds = st.sampled_from(["noise", "zeros", "ones", "middle", "tiny", "black and white"])


def picture(kind: str, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    noise = torch.rand(shape, generator=generator, dtype=dtype)
    constant = {"zeros": 0.0, "ones": 1.0, "middle": 0.5, "tiny": 1e-30}
    if kind in constant:
        return torch.full_like(noise, constant[kind])
    return noise if kind == "noise" else noise.round()


@cache
def network(dtype: torch.dtype) -> VGG16:
    return load_vgg16("random").to(dtype)


def batch_of(chosen: list[str], shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Batch:
    return Batch(*(picture(kind, shape, generator, dtype) for kind in chosen))


def assert_finite_with_slopes(values: Tensor, fused: Tensor, names: tuple[str, ...]) -> None:
    assert values.dtype == fused.dtype
    for name, value in zip(names, values, strict=True):
        assert value.isfinite(), name
        (slope,) = torch.autograd.grad(value, fused, retain_graph=True)
        assert slope.isfinite().all(), name


@pytest.mark.paper("Table 1")
@examples(60)
@given(height=sizes, width=sizes, dtype=dtypes, seed=seeds, chosen=st.lists(kinds, min_size=5, max_size=5))
def test_terms_are_finite_at_any_size_and_value_or_refuse_in_one_sentence(
    height: int, width: int, dtype: torch.dtype, seed: int, chosen: list[str]
) -> None:
    generator = torch.Generator().manual_seed(seed)
    batch = batch_of(chosen[:4], (1, 3, height, width), generator, dtype)
    fused = (1.2 * picture(chosen[4], (1, 1, height, width), generator, dtype) - 0.1).requires_grad_()
    targets = prepare_targets(batch, None, contrast=False, names=WITHOUT_FEATURES)
    if min(height, width) < WINDOW:
        with pytest.raises(ValueError, match=f"{height} x {width} pixels, but needs at least 11"):
            term_vector(fused, targets, names=WITHOUT_FEATURES)
        names = tuple(name for name in WITHOUT_FEATURES if "ssim" not in name)
    else:
        names = WITHOUT_FEATURES
    assert_finite_with_slopes(term_vector(fused, targets, names=names), fused, names)


@examples(20)
@given(height=st.integers(5, 20), width=st.integers(5, 20), dtype=dtypes, seed=seeds, kind=kinds, other=kinds)
def test_perceptual_terms_are_finite_or_refuse(
    height: int, width: int, dtype: torch.dtype, seed: int, kind: str, other: str
) -> None:
    names = ("perceptual_ref", "perceptual_under", "perceptual_over")
    vgg, generator = network(dtype), torch.Generator().manual_seed(seed)
    batch = batch_of([other] * 4, (1, 3, height, width), generator, dtype)
    fused = picture(kind, (1, 1, height, width), generator, dtype).requires_grad_()
    if min(height, width) < 8:
        with pytest.raises(ValueError, match="relu4_3 needs at least 8"):
            prepare_targets(batch, vgg, contrast=False, names=names)
        return
    targets = prepare_targets(batch, vgg, contrast=False, names=names)
    features = encode_fused(fused, vgg, contrast=False)
    assert_finite_with_slopes(term_vector(fused, targets, features=features, names=names), fused, names)


@pytest.mark.paper("Table 1 row 2")
@examples(100)
@given(height=sizes, width=sizes, dtype=dtypes, seed=seeds, chosen=st.lists(kinds, min_size=3, max_size=3))
def test_mef_ssim_is_at_most_one_at_any_size_and_value_or_refuses(
    height: int, width: int, dtype: torch.dtype, seed: int, chosen: list[str]
) -> None:
    generator = torch.Generator().manual_seed(seed)
    fused, under, over = (picture(kind, (1, 1, height, width), generator, dtype) for kind in chosen)
    fused.requires_grad_()
    smallest = min(height, width)
    for function, least in (
        (lambda: mef_ssim_single(fused, under), 11),
        (lambda: mef_ssim_pair(fused, under, over, scales=1), 11),
        (lambda: mef_ssim_pair(fused, under, over), 44),
    ):
        if smallest < least:
            with pytest.raises(ValueError, match=f"needs at least {least} on each side"):
                function()
            continue
        value = function()
        assert value.isfinite().all() and value.max() <= 1 + 1e-5
        assert torch.autograd.grad(value.sum(), fused)[0].isfinite().all()


@pytest.mark.paper("Eq. 3")
@examples(80)
@given(
    side=st.integers(1, 16),
    items=st.integers(1, 3),
    n_negatives=st.integers(1, 3),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
    dtype=dtypes,
    seed=seeds,
    equal=st.booleans(),
)
def test_gamma_is_finite_and_not_negative(
    side: int, items: int, n_negatives: int, scale: float, dtype: torch.dtype, seed: int, equal: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)

    def draw() -> dict[str, Tensor]:
        shape = (items, 2, side, side)
        return {layer: scale * torch.rand(shape, generator=generator, dtype=dtype) for layer in CONTRAST_LAYERS}

    fused = {layer: value.requires_grad_() for layer, value in draw().items()}
    positive, negatives = draw(), [(draw(), draw()) for _ in range(n_negatives)]
    if equal:
        negatives = [({k: v.detach() for k, v in fused.items()},) * 2] * n_negatives
    value = gamma(fused, positive, negatives)
    assert value.isfinite() and value >= 0
    assert all(slope.isfinite().all() for slope in torch.autograd.grad(value, list(fused.values())))


@pytest.mark.paper("Eq. 1")
@examples(100)
@given(
    beta=st.lists(st.floats(-1e3, 1e3), min_size=len(TERM_NAMES), max_size=len(TERM_NAMES)),
    terms=st.lists(st.floats(-1e6, 1e6), min_size=len(TERM_NAMES), max_size=len(TERM_NAMES)),
    dtype=dtypes,
)
def test_loss_is_a_weighted_mean_for_any_logits(beta: list[float], terms: list[float], dtype: torch.dtype) -> None:
    mix = mixture(torch.tensor(beta, dtype=dtype))
    assert mix.isfinite().all() and mix.min() >= 0
    assert float(mix.sum()) == pytest.approx(1, abs=1e-5)
    loss = float(weighted_loss(torch.tensor(terms, dtype=dtype), mix))
    slack = 1e-4 * max(map(abs, terms), default=0) + 1e-9
    assert min(terms) - slack <= loss <= max(terms) + slack


@examples(50)
@given(data=st.data(), space=st.sampled_from(list(SPACES)))
def test_loss_weights_survive_their_json(data: st.DataObject, space: str) -> None:
    count = len(term_names(space))
    beta = data.draw(st.lists(st.floats(-50, 50), min_size=count, max_size=count))
    weights = LossWeights.from_beta(beta, space=space)
    assert LossWeights.model_validate_json(weights.model_dump_json()) == weights
