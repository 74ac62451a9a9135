"""The terms of Table 1: each is what it says, none is dead, and slopes are finite and the same both ways."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity
from torch import Tensor

from hsds_lib.images.batches import Batch, load_scenes
from hsds_lib.images.color import fuse_chroma, merge_luma, split_luma
from hsds_lib.losses.features import VGG16, load_vgg16
from hsds_lib.losses.pair_terms import PAIR_TERMS
from hsds_lib.losses.terms import (
    PERCEPTUAL_SCALE,
    TERM_NAMES,
    Targets,
    abs_sobel,
    colour_angle,
    encode_fused,
    prepare_targets,
    term_gradient_norms,
    term_vector,
)
from hsds_lib.network.model_file import load_model

MakeBatch = Callable[..., Batch]
EXTENDED = (*TERM_NAMES, *PAIR_TERMS)
PERCEPTUAL = tuple(name for name in TERM_NAMES if name.startswith("perceptual_"))
# VGG-16 in float64 takes most of the time, and needs fewer pixels than MEF-SSIM at three scales.
in_two_parts = pytest.mark.parametrize(
    ("names", "size"), [(PERCEPTUAL, 16), (tuple(name for name in EXTENDED if name not in PERCEPTUAL), 44)]
)


def some_fused(batch: Batch, seed: int = 5) -> Tensor:
    """A mixture of the exposures with noise: like neither of them, nor the reference."""
    y = 0.5 * (split_luma(batch.under)[0] + split_luma(batch.over)[0])
    generator = torch.Generator().manual_seed(seed)
    return (0.9 * y + 0.1 * torch.rand(y.shape, generator=generator, dtype=y.dtype)).detach()


def by_name(fused: Tensor, targets: Targets, vgg: VGG16, names: tuple[str, ...] = TERM_NAMES) -> dict[str, float]:
    return dict(zip(names, term_vector(fused, targets, vgg, names=names).tolist(), strict=True))


def item(batch: Batch, i: int) -> Batch:
    return Batch(**{f.name: getattr(batch, f.name)[i : i + 1] for f in dataclasses.fields(batch)})


def test_the_order_is_that_of_the_design() -> None:
    assert TERM_NAMES == (
        "l1_ref", "l1_under", "l1_over", "mse_ref", "mse_under", "mse_over", "ssim_ref", "ssim_under", "ssim_over",
        "mefssim_ref", "mefssim_under", "mefssim_over", "grad", "perceptual_ref", "perceptual_under",
        "perceptual_over", "psnr_ref", "colour_ref", "tv",
    )  # fmt: skip


@pytest.mark.paper("Table 1")
@pytest.mark.parametrize("items", [1, 2])
@in_two_parts
def test_no_term_is_dead_on_colour_input(
    make_batch: MakeBatch, vgg: VGG16, names: tuple[str, ...], size: int, items: int
) -> None:
    batch = make_batch(size=size, items=items)
    fused = some_fused(batch).requires_grad_()
    terms = term_vector(fused, prepare_targets(batch, vgg, contrast=False, names=names), vgg, names=names)
    for name, value in zip(names, terms, strict=True):
        (gradient,) = torch.autograd.grad(value, fused, retain_graph=True)
        per_item = gradient.flatten(1).norm(dim=1)
        assert (per_item > 1e-5).all(), f"{name} is dead"


def contrast_structure_by_scipy(first: np.ndarray, second: np.ndarray) -> float:
    """``(2 s_ab + C) / (s_a^2 + s_b^2 + C)`` with C = 0.03^2, by scipy's Gaussian of 11 pixels, inside only."""

    def mean(image: np.ndarray) -> np.ndarray:
        return gaussian_filter(image, sigma=1.5, radius=5)[5:-5, 5:-5]

    covariance = mean(first * second) - mean(first) * mean(second)
    variances = sum(mean(image**2) - mean(image) ** 2 for image in (first, second))
    return float(((2 * covariance + 0.0009) / (variances + 0.0009)).mean())


@pytest.mark.paper("Table 1", "Table 1 rows 1-7")
def test_each_term_equals_its_formula(make_batch: MakeBatch, vgg: VGG16) -> None:
    batch = make_batch(size=32, items=1)
    fused = some_fused(batch)
    values = by_name(fused, prepare_targets(batch, vgg, contrast=False), vgg)
    f = fused[0, 0]
    layers = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
    features = vgg(fused, layers)
    for image in ("ref", "under", "over"):
        y = split_luma(getattr(batch, image))[0]
        wanted = y[0, 0]
        assert values[f"l1_{image}"] == pytest.approx((f - wanted).abs().mean().item(), rel=1e-12)
        assert values[f"mse_{image}"] == pytest.approx(((f - wanted) ** 2).mean().item(), rel=1e-12)
        similarity = structural_similarity(
            f.numpy(), wanted.numpy(), data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert values[f"ssim_{image}"] == pytest.approx(1 - similarity, abs=1e-9)
        structure = contrast_structure_by_scipy(f.numpy(), wanted.numpy())
        assert values[f"mefssim_{image}"] == pytest.approx(1 - structure, rel=1e-9)
        other = vgg(y, layers)
        errors = [((features[layer] - other[layer]) ** 2).mean().item() for layer in layers]
        assert values[f"perceptual_{image}"] == pytest.approx(PERCEPTUAL_SCALE * sum(errors) / 4, rel=1e-9)
    psnr = -10 * math.log10(values["mse_ref"])
    assert values["psnr_ref"] == pytest.approx(-psnr / 40, abs=1e-6)
    variation = ((f[1:] - f[:-1]) ** 2).sum() + ((f[:, 1:] - f[:, :-1]) ** 2).sum()
    assert values["tv"] == pytest.approx(variation.item() / f.numel(), rel=1e-12)
    chroma = fuse_chroma(split_luma(batch.under)[1], split_luma(batch.over)[1])
    rgb = merge_luma(fused, chroma)
    cosine = torch.nn.functional.cosine_similarity(rgb, batch.ref, dim=1)
    assert values["colour_ref"] == pytest.approx(torch.arccos(cosine).mean().item(), abs=1e-4)


@pytest.mark.paper("Table 1 row 3")
def test_grad_compares_with_the_stronger_edge(make_batch: MakeBatch, vgg: VGG16) -> None:
    batch = make_batch(size=32, items=1)
    targets = prepare_targets(batch, vgg, contrast=False)
    fused = some_fused(batch)
    sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=torch.float64) / 8

    def edges(y: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(y, (1, 1, 1, 1), mode="replicate")
        both = [torch.nn.functional.conv2d(padded, kernel[None, None]).abs() for kernel in (sobel, sobel.T)]
        return both[0] + both[1]

    strongest = torch.maximum(edges(targets.under_y), edges(targets.over_y))
    expected = (edges(fused) - strongest).abs().mean().item()
    assert by_name(fused, targets, vgg)["grad"] == pytest.approx(expected, rel=1e-12)


def test_a_ramp_has_its_slope_as_sobel_value() -> None:
    ramp = 0.01 * torch.arange(12, dtype=torch.float64).expand(1, 1, 12, 12)
    assert torch.allclose(abs_sobel(ramp)[..., 1:-1], torch.tensor(0.01, dtype=torch.float64))


@pytest.mark.parametrize("image", ["ref", "under", "over"])
def test_terms_against_an_image_are_least_at_that_image(make_batch: MakeBatch, vgg: VGG16, image: str) -> None:
    batch = make_batch(items=1)
    names = tuple(f"{kind}_{image}" for kind in ("l1", "mse", "ssim", "mefssim", "perceptual"))
    targets = prepare_targets(batch, vgg, contrast=False)
    y = split_luma(getattr(batch, image))[0]
    at = by_name(y, targets, vgg, names)
    away = by_name(some_fused(batch), targets, vgg, names)
    for name in names:
        assert at[name] == pytest.approx(0.0, abs=1e-12), name
        assert away[name] > 1e-4, name


def test_psnr_colour_and_tv_are_least_where_they_should_be(make_batch: MakeBatch, vgg: VGG16) -> None:
    batch = make_batch(items=1)
    targets = prepare_targets(batch, vgg, contrast=False)
    assert by_name(targets.ref_y, targets, vgg)["psnr_ref"] == pytest.approx(-80 / 40)
    assert by_name(torch.full_like(targets.ref_y, 0.4), targets, vgg)["tv"] == 0.0
    # With the reference's own chroma, its luminance gives its colours back.
    own = dataclasses.replace(targets, chroma=split_luma(batch.ref)[1])
    assert by_name(targets.ref_y, own, vgg)["colour_ref"] < 0.01
    assert by_name(targets.ref_y * 0.6, own, vgg)["colour_ref"] > 0.02


def test_grad_is_zero_when_the_edges_are_the_stronger_ones(make_batch: MakeBatch, vgg: VGG16) -> None:
    batch = make_batch(items=1)
    flat = dataclasses.replace(batch, under=torch.full_like(batch.under, 0.2))
    targets = prepare_targets(flat, vgg, contrast=False)
    assert by_name(targets.over_y, targets, vgg)["grad"] == pytest.approx(0.0, abs=1e-15)


@pytest.mark.paper("Table 1")
def test_a_batch_of_two_is_the_mean_of_two_batches_of_one(make_batch: MakeBatch, vgg: VGG16) -> None:
    batch = make_batch(size=44)
    fused = some_fused(batch)
    together = term_vector(fused, prepare_targets(batch, vgg, contrast=False), vgg, names=EXTENDED)
    alone = [
        term_vector(fused[i : i + 1], prepare_targets(item(batch, i), vgg, contrast=False), vgg, names=EXTENDED)
        for i in range(2)
    ]
    assert torch.allclose(together, torch.stack(alone).mean(dim=0), rtol=1e-10, atol=1e-12)
    assert (alone[0] - alone[1]).abs().min() > 1e-9  # otherwise the test could not fail


@in_two_parts
def test_forward_mode_equals_reverse_mode(make_batch: MakeBatch, vgg: VGG16, names: tuple[str, ...], size: int) -> None:
    batch = make_batch(size=size)
    targets = prepare_targets(batch, vgg, contrast=False, names=names)
    fused = some_fused(batch)
    generator = torch.Generator().manual_seed(9)
    tangent = torch.randn(fused.shape, generator=generator, dtype=fused.dtype)

    def terms(y: Tensor) -> Tensor:
        return term_vector(y, targets, vgg, names=names)

    values, forward = torch.func.jvp(terms, (fused,), (tangent,))
    y = fused.clone().requires_grad_()
    reverse = torch.stack([(torch.autograd.grad(v, y, retain_graph=True)[0] * tangent).sum() for v in terms(y)])
    assert torch.allclose(values, terms(fused), rtol=1e-10, atol=1e-12)
    assert torch.allclose(forward, reverse, rtol=1e-9, atol=1e-12)


def awkward(batch: Batch, kind: str) -> tuple[Batch, Tensor]:
    """A batch and a fused image at a point where a careless formula divides by zero."""
    y = split_luma(batch.ref)[0]
    if kind == "fused is ref":
        return batch, y
    if kind == "fused is under, which is over":
        return dataclasses.replace(batch, over=batch.under), split_luma(batch.under)[0]
    if kind == "noise below zero":
        return batch, y - 1.0
    level = {"zeros": 0.0, "middle": 0.5, "ones": 1.0}[kind.split()[-1]]
    if kind.startswith("all"):
        flat = torch.full_like(batch.ref, level)
        return Batch(under=flat, over=flat, ref=flat, natural=flat), torch.full_like(y, level)
    return batch, torch.full_like(y, level)


AWKWARD = (
    "fused is ref", "fused is under, which is over", "noise below zero",
    "fused zeros", "fused middle", "fused ones", "all zeros", "all middle", "all ones",
)  # fmt: skip


@pytest.mark.parametrize("kind", AWKWARD)
@in_two_parts
def test_values_and_slopes_are_finite_at_awkward_points(
    make_batch: MakeBatch, vgg: VGG16, names: tuple[str, ...], size: int, kind: str
) -> None:
    batch, fused = awkward(make_batch(size=size, items=1), kind)
    targets = prepare_targets(batch, vgg, contrast=False, names=names)
    y = fused.clone().requires_grad_()
    terms = term_vector(y, targets, vgg, names=names)
    for name, value in zip(names, terms, strict=True):
        (gradient,) = torch.autograd.grad(value, y, retain_graph=True)
        assert value.isfinite(), name
        assert gradient.isfinite().all(), name

    _, forward = torch.func.jvp(
        lambda y: term_vector(y, targets, vgg, names=names), (fused,), (torch.ones_like(fused),)
    )
    assert forward.isfinite().all()


def test_single_precision_is_close_and_stays_single(make_batch: MakeBatch, vgg: VGG16) -> None:
    batch = make_batch(size=44)
    fused = some_fused(batch)
    exact = term_vector(fused, prepare_targets(batch, vgg, contrast=False), vgg, names=EXTENDED)
    single = Batch(**{f.name: getattr(batch, f.name).float() for f in dataclasses.fields(batch)})
    network = VGG16("random")
    network.load_state_dict({key: value.float() for key, value in vgg.state_dict().items()})
    targets = prepare_targets(single, network, contrast=False)
    rough = term_vector(fused.float(), targets, network, names=EXTENDED)
    assert rough.dtype == torch.float32
    assert torch.allclose(rough.double(), exact, rtol=1e-4, atol=1e-5)


def test_features_given_and_features_computed_agree(make_batch: MakeBatch, vgg: VGG16) -> None:
    batch = make_batch()
    targets = prepare_targets(batch, vgg, contrast=True)
    fused = some_fused(batch)
    features = encode_fused(fused, vgg, contrast=True)
    assert torch.equal(term_vector(fused, targets, features=features), term_vector(fused, targets, vgg))
    assert {"relu2_2", "relu3_3", "relu5_1"} <= set(features)


def test_a_choice_of_terms_gives_the_same_numbers_in_the_order_asked(make_batch: MakeBatch, vgg: VGG16) -> None:
    batch = make_batch(size=44)
    targets = prepare_targets(batch, vgg, contrast=False)
    fused = some_fused(batch)
    everything = by_name(fused, targets, vgg, EXTENDED)
    names = ("tv", "qabf_pair", "perceptual_over", "mefssim_fine", "l1_ref")
    assert term_vector(fused, targets, vgg, names=names).tolist() == [everything[name] for name in names]


def test_terms_without_features_need_no_network(make_batch: MakeBatch) -> None:
    batch = make_batch()
    names = ("l1_ref", "colour_ref")
    targets = prepare_targets(batch, None, contrast=False, names=names)
    assert term_vector(some_fused(batch), targets, names=names).shape == (2,)


def test_targets_are_prepared_once_and_carry_no_gradient(make_batch: MakeBatch, vgg: VGG16) -> None:
    batch = make_batch()
    batch.ref.requires_grad_()
    targets = prepare_targets(batch, vgg, contrast=True)
    assert not targets.images.requires_grad
    assert not any(value.requires_grad for value in targets.ref_features.values())
    assert torch.equal(targets.under_y, split_luma(batch.under)[0])
    assert torch.allclose(targets.over_features["relu2_2"], vgg(targets.over_y, ["relu2_2"])["relu2_2"])


def test_the_colour_angle_is_the_angle() -> None:
    red, green = torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0])
    for angle in (0.0, 1e-3, 0.5, 1.5, 3.1):
        other = math.cos(angle) * red + math.sin(angle) * green
        pair = [colour.double().view(1, 3, 1, 1) for colour in (0.7 * red, other)]
        assert colour_angle(*pair).item() == pytest.approx(angle, abs=5e-6)
    black = torch.zeros(1, 3, 1, 1)
    assert colour_angle(black, green.view(1, 3, 1, 1)).item() == 0.0


def test_wrong_use_gives_one_clear_sentence(make_batch: MakeBatch, vgg: VGG16) -> None:
    batch = make_batch()
    targets = prepare_targets(batch, vgg, contrast=False)
    fused = some_fused(batch)
    with pytest.raises(ValueError, match=r"'l3_ref'.*choose one or more of"):
        term_vector(fused, targets, vgg, names=("l1_ref", "l3_ref"))
    with pytest.raises(ValueError, match=r"has shape \(2, 1, 32, 31\); the targets are for \(2, 1, 32, 32\)"):
        term_vector(fused[..., 1:], targets, vgg)
    with pytest.raises(ValueError, match="give vgg or features"):
        term_vector(fused, targets)
    with pytest.raises(ValueError, match="relu1_2"):
        term_vector(fused, targets, features={})
    with pytest.raises(ValueError, match="load_vgg16"):
        prepare_targets(batch, None, contrast=False)
    with pytest.raises(ValueError, match="at least 11"):
        small = make_batch(size=8)
        term_vector(some_fused(small), prepare_targets(small, vgg, contrast=False), vgg)


def test_perceptual_terms_pull_about_as_hard_as_ssim() -> None:
    vgg, network = load_vgg16("imagenet"), load_model("default", device="cpu")
    for scene in load_scenes("embedded", "val", seed=0, limit=2):
        assert scene.ref is not None
        ref, under, over = (image[None, :, 64:192, 64:192] for image in (scene.ref, scene.under, scene.over))
        batch = Batch(under=under, over=over, ref=ref, natural=ref)
        fused = network(batch.over_under_y).detach().clamp(0, 1)
        names = tuple(f"{kind}_{image}" for kind in ("perceptual", "ssim") for image in ("ref", "under", "over"))
        norms = term_gradient_norms(fused, prepare_targets(batch, vgg, contrast=False, names=names), vgg, names)
        for image in ("ref", "under", "over"):
            assert 1 / 5 < norms[f"perceptual_{image}"] / norms[f"ssim_{image}"] < 5
