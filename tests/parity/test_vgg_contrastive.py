"""Released features, perceptual loss on colour, and the contrastive constraint with its gradient."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from hsds_lib.losses.features import VGG16
from hsds_lib.released.terms import (
    RELEASED_LAYERS,
    ContrastDraw,
    PerceptualVGG,
    contrast_features,
    distances,
    feature_distance,
    released_contrast,
)

FILE = "vgg_contrastive.npz"
_DRAWS = ("naturals", "neg_under", "neg_over")
_IMAGES = ("fake", "gt", "under", "over", *_DRAWS)
INPUTS = ("rgb_a", "rgb_b", *_IMAGES, *(f"b2_{name}" for name in _IMAGES))
EXCUSED = {
    "vggbn_names": "labels of the recorded sums, which are compared in this order",
    "vggcr_names": "labels of the recorded sums, which are compared in this order",
}
both_precisions = pytest.mark.parametrize(("dtype", "suffix"), [(torch.float64, "f64"), (torch.float32, "f32")])


def test_parity_seeded_weights_are_the_recorded_ones(
    recorded: Any, released_perceptual_vgg: PerceptualVGG, released_contrast_vgg: VGG16
) -> None:
    assert str(recorded.arrays["vggbn_sha256"]) == released_perceptual_vgg.sha256
    assert str(recorded.arrays["vggcr_sha256"]) == released_contrast_vgg.sha256
    recorded.errors |= {"vggbn_sha256": 0.0, "vggcr_sha256": 0.0}
    first = released_perceptual_vgg.drawn["convs.0.weight"].flatten()[:5]
    recorded.check("vggbn_first5", first, rtol=0, atol=0)
    recorded.check("vggcr_first5", released_contrast_vgg.weights["relu1_1"].flatten()[:5], rtol=0, atol=0)
    for name, vgg in (("vggbn", released_perceptual_vgg), ("vggcr", released_contrast_vgg)):
        sums = [float(value.double().abs().sum()) for value in vgg.drawn.values()]
        recorded.check(f"{name}_abs_sums", sums)


@both_precisions
@pytest.mark.paper("Table 1 row 4")
def test_parity_released_perceptual_on_colour(
    recorded: Any, released_perceptual_vgg: PerceptualVGG, dtype: torch.dtype, suffix: str
) -> None:
    vgg = copy.deepcopy(released_perceptual_vgg).to(dtype)
    for mode, training in (("eval", False), ("train", True)):
        first = recorded.input("rgb_a", dtype)[:1].requires_grad_()
        value = feature_distance(*map(vgg.train(training), (first, recorded.input("rgb_b", dtype)[:1])))
        recorded.check(f"perceptual_rgb_{mode}_{suffix}", value)
        (gradient,) = torch.autograd.grad(value, first)
        recorded.check(f"perceptual_rgb_{mode}_grad_{suffix}", gradient)


def test_parity_released_normalisation_and_compared_features(
    recorded: Any, released_perceptual_vgg: PerceptualVGG
) -> None:
    image = recorded.input("rgb_a")[:1]
    recorded.check("normalised_a", released_perceptual_vgg.normalised(image), rtol=1e-6, atol=1e-7)
    features = copy.deepcopy(released_perceptual_vgg).eval()(image)
    for block, feature in enumerate(features):
        # Recorded from the float32 network.
        recorded.check(f"hook{block}_a", feature, rtol=1e-4, atol=1e-5)
    assert features[3].min() < 0 <= features[2].min()  # block 4 is compared before its ReLU


def constraint(recorded: Any, vgg: VGG16, dtype: torch.dtype, prefix: str = "") -> tuple[Tensor, Tensor, list[Any]]:
    fused, ref, under, over = (recorded.input(prefix + key, dtype) for key in ("fake", "gt", "under", "over"))
    naturals = (recorded.input(prefix + key, dtype) for key in _DRAWS)
    draws = [ContrastDraw(*images) for images in zip(*naturals, strict=True)]
    fused.requires_grad_()
    return released_contrast(fused, ref, under, over, draws, vgg), fused, draws


@both_precisions
def test_parity_released_contrast_and_gradient(
    recorded: Any, released_contrast_vgg: VGG16, dtype: torch.dtype, suffix: str
) -> None:
    value, fused, _ = constraint(recorded, copy.deepcopy(released_contrast_vgg).to(dtype), dtype)
    recorded.check(f"loss_G_{suffix}", value)
    (gradient,) = torch.autograd.grad(value, fused)
    recorded.check(f"loss_G_grad_{suffix}", gradient)


def test_parity_released_contrast_of_a_batch(recorded: Any, released_contrast_vgg: VGG16) -> None:
    value, _, _ = constraint(recorded, released_contrast_vgg, torch.float64, "b2_")
    recorded.check("b2_loss_G_f64", value)


@both_precisions
def test_parity_released_distances(
    recorded: Any, released_contrast_vgg: VGG16, dtype: torch.dtype, suffix: str
) -> None:
    vgg = copy.deepcopy(released_contrast_vgg).to(dtype)
    fused = contrast_features(recorded.input("fake", dtype), vgg)

    def to(image: Tensor) -> Tensor:
        return distances(fused, contrast_features(image, vgg))

    for key, name in (("gt", "gt"), ("under", "under"), ("over", "over")):
        recorded.check(f"dist_{name}_{suffix}", to(recorded.input(key, dtype)).sum())
    for key in _DRAWS:
        recorded.check(f"dist_{key}_{suffix}", torch.stack([to(x).sum() for x in recorded.input(key, dtype)]))
    for name in ("gt", "over"):
        recorded.check(f"dist_{name}_layers_{suffix}", to(recorded.input(name, dtype)))


def test_parity_released_features_lack_the_fourth_pooling(recorded: Any, released_contrast_vgg: VGG16) -> None:
    features = contrast_features(recorded.input("fake"), released_contrast_vgg)
    for layer in RELEASED_LAYERS:
        # Recorded from the float32 network.
        recorded.check(f"feat_fake_{layer}", features[layer], rtol=1e-4, atol=1e-3)
    ours = released_contrast_vgg(recorded.input("fake"), ["relu5_1"])["relu5_1"]
    assert (ours.shape[-1], features["relu5_1"].shape[-1]) == (2, 4)


def test_parity_vgg_contrastive_forgets_no_key(forgotten: set[str]) -> None:
    assert forgotten == set()
