"""VGG-16 features: seeded, labelled, frozen, and never silently something else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d

from hsds_lib.images.batches import load_scenes
from hsds_lib.images.color import split_luma
from hsds_lib.images.exposure import embedded_photographs
from hsds_lib.losses import features
from hsds_lib.losses.contrast import gamma
from hsds_lib.losses.features import (
    CONTRAST_LAYERS,
    LAYERS,
    VGG16,
    Trace,
    WeightsError,
    feature_tangents,
    load_vgg16,
)


def picture(channels: int = 1, size: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.rand(2, channels, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_same_seed_gives_the_same_network_and_another_seed_another() -> None:
    first, again, other = (load_vgg16("random", seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["weights.relu1_1"], other["weights.relu1_1"])


def test_making_a_network_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    load_vgg16("random", seed=1)
    assert torch.equal(before, torch.get_rng_state())


def test_a_seed_draws_the_same_weights_whatever_their_layout_in_memory() -> None:
    drawn = torch.empty(64, 3, 3, 3).normal_(0.0, (2 / 27) ** 0.5, generator=torch.Generator().manual_seed(3))
    assert torch.equal(load_vgg16("random", seed=3).weights["relu1_1"], drawn)


def test_random_features_are_labelled_loudly() -> None:
    network = load_vgg16("random")
    assert network.source == "random"
    assert network.label == "random VGG-16 features: not comparable with the paper"


def test_the_trunk_has_the_published_shape(vgg: VGG16) -> None:
    assert len(LAYERS) == 11 and LAYERS[-1] == "relu5_1"
    assert sum(parameter.numel() for parameter in vgg.parameters()) == 9_995_072
    shapes = {
        layer: tuple(value.shape[1:]) for layer, value in vgg(picture(), ("relu1_2", "relu3_3", "relu5_1")).items()
    }
    assert shapes == {"relu1_2": (64, 32, 32), "relu3_3": (256, 8, 8), "relu5_1": (512, 2, 2)}


def test_forward_equals_the_layers_written_out(vgg: VGG16) -> None:
    image = picture(channels=3)
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).view(3, 1, 1)
    x = (image - mean) / std
    state = vgg.state_dict()
    for layer in ("relu1_1", "relu1_2", "pool", "relu2_1"):
        if layer == "pool":
            x = F.max_pool2d(x, kernel_size=2, stride=2)
        else:
            x = F.conv2d(x, state[f"weights.{layer}"], state[f"biases.{layer}"], padding=1).clamp(min=0)
    # The buffers were rounded to float32 once.
    assert torch.allclose(vgg(image, ["relu2_1"])["relu2_1"], x, rtol=1e-5, atol=1e-5)


def test_luminance_is_gray_rgb(vgg: VGG16) -> None:
    y = picture()
    assert torch.equal(vgg(y, ["relu2_2"])["relu2_2"], vgg(y.repeat(1, 3, 1, 1), ["relu2_2"])["relu2_2"])


def test_shallow_features_do_not_change_when_deeper_ones_are_asked_for_too(vgg: VGG16) -> None:
    together = vgg(picture(), ("relu4_3", "relu1_2"))
    assert torch.equal(together["relu1_2"], vgg(picture(), ["relu1_2"])["relu1_2"])
    assert set(together) == {"relu4_3", "relu1_2"}


def test_forward_stops_at_the_deepest_layer_asked_for(vgg: VGG16) -> None:
    # Three pixels survive one pooling, not four: a pass that went on would fail.
    assert vgg(picture(size=3), ["relu2_2"])["relu2_2"].shape[-2:] == (1, 1)
    with pytest.raises(ValueError, match="at least 8"):
        vgg(picture(size=3), ["relu2_2", "relu4_1"])


def test_gradient_reaches_the_image_and_not_the_weights(vgg: VGG16) -> None:
    image = picture().requires_grad_()
    value = vgg(image, ["relu5_1"])["relu5_1"].square().mean()
    value.backward()
    assert image.grad is not None
    assert image.grad.norm() > 0
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in vgg.parameters())


def test_it_stays_in_evaluation_mode() -> None:
    network = load_vgg16("random")
    torch.nn.Sequential(network).train()
    assert not network.training


@pytest.mark.parametrize("layers", [["relu9_9"], []])
def test_unknown_layers_are_refused(vgg: VGG16, layers: list[str]) -> None:
    with pytest.raises(ValueError, match="choose one or more of relu1_1"):
        vgg(picture(), layers)


def test_wrong_shapes_and_sources_are_refused(vgg: VGG16) -> None:
    with pytest.raises(ValueError, match=r"\(B, 1, H, W\)"):
        vgg(picture(channels=2), ["relu1_1"])
    with pytest.raises(ValueError, match="choose 'imagenet', 'random', 'torchvision'"):
        load_vgg16("resnet")  # type: ignore[arg-type]


def test_a_file_that_is_not_the_published_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "vgg16-397923af.pth"
    file.write_bytes(b"not weights")
    with pytest.raises(WeightsError, match="not the published VGG-16"):
        load_vgg16("torchvision", path=file)
    with pytest.raises(WeightsError, match="does not exist"):
        load_vgg16("torchvision", path=tmp_path / "none.pth")


def test_without_a_network_torchvision_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pooch

    def refuse(*args: object, **kwargs: object) -> str:
        raise ConnectionError("no route")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path)
    with pytest.raises(WeightsError, match=r"could not be downloaded.*by hand"):
        load_vgg16("torchvision")


def test_the_weights_that_ship_are_level_sharp_and_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Mean activations are 1 over the photographs they were levelled by, also in float16."""
    vgg = load_vgg16()
    assert (vgg.source, vgg.label) == ("imagenet", "ImageNet VGG-16 features")
    photographs = [split_luma(embedded_photographs()[name][None])[0] for name in ("coffee", "motorcycle", "rocket")]
    means = torch.tensor([[value.mean() for value in vgg(photo, LAYERS).values()] for photo in photographs]).mean(dim=0)
    assert torch.allclose(means, torch.ones(len(LAYERS)), atol=0.01)
    monkeypatch.setattr(features, "SHIPPED_WEIGHTS", tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match="install hsds_lib again"):
        load_vgg16()


def test_imagenet_features_see_blur_where_random_ones_do_not() -> None:
    """Eq. 3 with the sharp picture as its positive and the darker exposure as its negative."""
    scene = load_scenes("embedded", "test", limit=1)[0]
    ref, under, over = (split_luma(image[None])[0] for image in (scene.ref, scene.under, scene.over))
    seen = {}
    for source in ("imagenet", "random"):
        vgg = load_vgg16(source)
        images = (gaussian_blur2d(ref, (9, 9), (2.0, 2.0)), ref, under, over)
        blurred, positive, dark, light = (vgg(image, CONTRAST_LAYERS) for image in images)
        seen[source] = float(gamma(blurred, positive, [(dark, light)]))
    assert seen["imagenet"] > 2 * seen["random"], seen


def test_published_weights_go_to_the_right_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The module numbers of the published file, counted by building that network's list of modules.
    numbers, index = [], 0
    for width in (64, 64, "pool", 128, 128, "pool", *(256,) * 3, "pool", *(512,) * 3, "pool", 512):
        if width != "pool":
            numbers.append(index)
        index += 1 if width == "pool" else 2
    drawn = load_vgg16("random", seed=7)
    state = {"classifier.0.weight": torch.zeros(1)}
    for number, layer in zip(numbers, LAYERS, strict=True):
        state[f"features.{number}.weight"] = drawn.weights[layer].data
        state[f"features.{number}.bias"] = torch.full_like(drawn.biases[layer].data, number)
    file = tmp_path / "vgg16.pth"
    torch.save(state, file)
    monkeypatch.setattr(features, "WEIGHTS_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    network = load_vgg16("torchvision", path=file)
    assert network.source == "torchvision"
    assert "random" not in network.label
    for number, layer in zip(numbers, LAYERS, strict=True):
        assert torch.equal(network.weights[layer], drawn.weights[layer])
        assert network.biases[layer][0].item() == number


def test_feature_tangents_are_those_of_forward_mode() -> None:
    vgg, trace = load_vgg16("random", seed=0).double(), Trace()
    image, moved = torch.rand(2, 1, 1, 19, 17, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    layers = ("relu1_2", "relu3_3", "relu5_1")
    recorded = vgg(image, layers, trace=trace)
    values, expected = torch.func.jvp(lambda x: vgg(x, layers), (image,), (moved,))
    found = feature_tangents(vgg, trace, moved, layers)
    assert list(found) == list(layers)
    for layer in layers:
        assert torch.equal(recorded[layer], values[layer])
        assert (found[layer] - expected[layer]).norm() < 1e-12 * expected[layer].norm()
