"""The camera model: what it promises about light, exposures, noise and seeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.color import rgb2xyz

from hsds_lib.images.exposure import (
    EMBEDDED_SHORT_SIDE,
    Camera,
    embedded_photographs,
    illumination,
    linear_to_srgb,
    simulate_triple,
    srgb_to_linear,
)

QUIET = replace(Camera(), full_well=1e30, read_noise=0.0, ev_jitter=0.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def luma(image: torch.Tensor) -> torch.Tensor:
    return 0.299 * image[0] + 0.587 * image[1] + 0.114 * image[2]


@pytest.fixture(scope="module")
def photographs() -> dict[str, torch.Tensor]:
    return embedded_photographs()


def test_the_embedded_photographs_are_colourful_8_bit_and_large_enough_for_the_papers_crop(
    photographs: dict[str, torch.Tensor],
) -> None:
    assert list(photographs) == ["astronaut", "chelsea", "coffee", "motorcycle", "rocket"]
    for photo in photographs.values():
        assert photo.dtype == torch.float32 and min(photo.shape[1:]) == EMBEDDED_SHORT_SIDE == 256
        assert torch.equal(photo, (photo * 255).round() / 255)
        assert photo.std(dim=0).mean() > 0.03
        assert photo.min() < 0.1 and photo.max() > 0.8


def test_changing_a_photograph_does_not_change_the_next_callers(photographs: dict[str, torch.Tensor]) -> None:
    embedded_photographs()["coffee"].zero_()
    assert torch.equal(embedded_photographs()["coffee"], photographs["coffee"])


def test_the_srgb_curve_is_the_standards_and_has_an_inverse() -> None:
    levels = torch.arange(256, dtype=torch.float64) / 255
    gray = np.repeat(levels.numpy()[:, None], 3, axis=1)
    # The second row of XYZ is luminance, for gray the linear light itself.
    assert np.abs(srgb_to_linear(levels).numpy() - rgb2xyz(gray)[:, 1]).max() < 1e-6
    assert (linear_to_srgb(srgb_to_linear(levels)) - levels).abs().max() < 1e-7
    assert srgb_to_linear(torch.tensor(0.5)).item() == pytest.approx(0.21404, abs=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_the_illumination_spans_exactly_its_range_and_has_no_hard_edge(seed: int) -> None:
    pattern = illumination(96, 128, edge=0.06, generator=seeded(seed))
    assert pattern.shape == (96, 128)
    assert pattern.min().item() == pytest.approx(-0.5) and pattern.max().item() == pytest.approx(0.5)
    assert pattern.diff(dim=0).abs().max() < 0.15 and pattern.diff(dim=1).abs().max() < 0.15


def test_without_light_noise_and_exposure_the_camera_gives_back_the_photograph(
    photographs: dict[str, torch.Tensor],
) -> None:
    camera = replace(QUIET, stops=0.0, ev_under=0.0, ev_over=0.0)
    for image in simulate_triple(photographs["coffee"], camera, seeded()):
        assert torch.equal(image, photographs["coffee"])


def test_one_stop_is_a_factor_of_two_in_light() -> None:
    gray = torch.full((3, 40, 40), 100 / 255)
    camera = replace(QUIET, stops=0.0, ev_under=-2.0, ev_over=1.0)
    under, over, ref = (
        srgb_to_linear(image.double()).mean().item() for image in simulate_triple(gray, camera, seeded())
    )
    assert under / ref == pytest.approx(1 / 4, rel=0.01)
    assert over / ref == pytest.approx(2, rel=0.01)


def test_the_reference_keeps_its_share_of_the_illumination() -> None:
    gray = torch.full((3, 64, 64), 100 / 255)

    def span(camera: Camera) -> float:
        light = srgb_to_linear(simulate_triple(gray, camera, seeded())[2].double())
        return torch.log2(light.max() / light.min()).item()

    assert span(replace(QUIET, stops=6.0, keep=0.25)) == pytest.approx(1.5, abs=0.05)
    assert span(replace(QUIET, stops=6.0, keep=0.0)) == 0


def test_the_same_seed_gives_the_same_triple_and_another_seed_another(
    photographs: dict[str, torch.Tensor],
) -> None:
    photo = photographs["coffee"][:, :64, :64]
    first, again, other = (simulate_triple(photo, Camera(), seeded(seed)) for seed in (3, 3, 4))
    for a, b, c in zip(first, again, other, strict=True):
        assert torch.equal(a, b) and not torch.equal(a, c)


def test_a_triple_is_8_bit_and_of_the_photographs_size(photographs: dict[str, torch.Tensor]) -> None:
    photo = photographs["astronaut"][:, :50, :70]
    for image in simulate_triple(photo, Camera(), seeded()):
        assert image.shape == photo.shape and image.dtype == torch.float32
        assert torch.equal(image, (image * 255).round() / 255)


def test_noise_has_the_shot_and_read_parts_asked_for() -> None:
    # Middle gray, so that neither clipping nor coding in 8 bits hides the noise.
    gray = torch.full((3, 200, 200), 0.5)
    light = srgb_to_linear(torch.tensor(0.5, dtype=torch.float64)).item()
    camera = replace(QUIET, stops=0.0, ev_under=0.0, ev_over=0.0, full_well=500.0, read_noise=0.02)
    seen = srgb_to_linear(simulate_triple(gray, camera, seeded())[0].double())
    assert seen.std().item() == pytest.approx((light / 500 + 0.02**2) ** 0.5, rel=0.03)
    assert seen.mean().item() == pytest.approx(light, rel=0.01)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "motorcycle", "rocket"])
def test_the_default_camera_makes_a_fusion_problem(photographs: dict[str, torch.Tensor], name: str) -> None:
    """As in real pairs: one is dark with its highlights whole, one bright with its shadows open."""
    for seed in range(4):
        under, over, ref = simulate_triple(photographs[name], Camera(), seeded(seed))
        assert luma(under).mean() < 0.3 and luma(over).mean() > 0.45
        assert luma(under).mean() + 0.05 < luma(ref).mean() < luma(over).mean() - 0.05
        assert (under == 1).all(dim=0).float().mean() < 0.02
        assert (over == 1).any(dim=0).float().mean() > 0.03
