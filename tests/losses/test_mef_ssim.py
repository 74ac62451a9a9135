"""MEF-SSIM: the published values, a second way to compute it, and slopes that stay finite."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from hsds_lib.losses.mef_ssim import (
    combine_scales,
    contrast_structure,
    mef_ssim_pair,
    mef_ssim_single,
    prepare_pair,
    score_pair,
)


def images(count: int, size: int = 48, items: int = 2, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(items, 1, size, size, generator=generator, dtype=torch.float64) for _ in range(count)]


def read_gray(folder: Path, name: str) -> Tensor:
    rgb = np.asarray(Image.open(folder / f"{name}.png").convert("RGB"), dtype=np.float64)
    gray = np.floor(rgb @ np.array([0.298936, 0.587043, 0.114021]) + 0.5)
    return torch.from_numpy(gray / 255.0)[None, None]


def gaussian_window() -> np.ndarray:
    axis = np.arange(11) - 5.0
    window = np.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / (2 * 1.5**2))
    return window / window.sum()


def patch_by_patch(fused: np.ndarray, sources: list[np.ndarray]) -> float:
    """One scale of Ma, Zeng and Wang (2015) as it is written, on 0..255, one patch after another."""
    window, values = gaussian_window(), []
    for row in range(fused.shape[0] - 10):
        for column in range(fused.shape[1] - 10):
            place = np.s_[row : row + 11, column : column + 11]
            centred = [source[place] - source[place].mean() for source in sources]
            norms = [float(np.linalg.norm(patch)) for patch in centred]
            consistency = float(np.linalg.norm(sum(centred))) / sum(norms) if sum(norms) > 0 else 1.0
            power = min(math.tan(math.pi / 2 * min(consistency, 1 - 1e-12)), 10.0)
            strengths = [norm + 0.001 for norm in norms]
            weights = np.array([(strength / 11) ** power + 2.0**-52 for strength in strengths])
            weights /= weights.sum()
            desired = sum(w * patch / s for w, patch, s in zip(weights, centred, strengths, strict=True))
            if np.linalg.norm(desired) > 0:
                desired = desired / np.linalg.norm(desired) * max(strengths)
            patch = fused[place]
            a, b = desired - (window * desired).sum(), patch - (window * patch).sum()
            constant = (0.03 * 255) ** 2
            top = 2 * (window * a * b).sum() + constant
            values.append(top / ((window * a * a).sum() + (window * b * b).sum() + constant))
    return float(np.mean(values))


def test_pair_measure_equals_the_published_code(fixtures_root: Path) -> None:
    folder = fixtures_root / "metrics_truth"
    scales = {"scale1_gray": 1, "ms3_gray": 3}
    compared = 0
    with (folder / "truth.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            if row["metric"] != "MEF-SSIM" or row["variant"] not in scales:
                continue
            scene = row["case"].split("_")[0]
            trio = [read_gray(folder / "images", name) for name in (row["case"], f"{scene}_under", f"{scene}_over")]
            if row["variant"] == "ms3_gray":  # which holds the finest scale too
                value = mef_ssim_pair(*trio).item()
                assert value == pytest.approx(float(row["value"]), abs=1e-9), row["case"]
            single = [image.float() for image in trio]
            rough = mef_ssim_pair(*single, scales=scales[row["variant"]]).item()
            assert rough == pytest.approx(float(row["value"]), abs=1e-5), row["case"]
            compared += 1
    assert compared == 30


def test_one_scale_equals_the_definition_patch_by_patch() -> None:
    fused, under, over = images(3, size=24, items=1)
    under[..., :14] *= 0.05
    over[..., 10:] = 1.0  # flat patches, and patches where the two disagree
    arrays = [255 * image[0, 0].numpy() for image in (fused, under, over)]
    expected = patch_by_patch(arrays[0], arrays[1:])
    assert mef_ssim_pair(fused, under, over, scales=1).item() == pytest.approx(expected, abs=1e-10)


def test_single_equals_the_definition_against_one_image() -> None:
    fused, source = images(2, size=24, items=1)
    expected = patch_by_patch(255 * fused[0, 0].numpy(), [255 * source[0, 0].numpy()])
    # The published code adds 0.001 gray levels to the norm of the patch; here the image itself is wanted.
    assert mef_ssim_single(fused, source).item() == pytest.approx(expected, abs=1e-6)


def test_an_image_is_perfect_for_itself() -> None:
    (image,) = images(1)
    assert torch.allclose(mef_ssim_single(image, image), torch.ones(2, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(mef_ssim_pair(image, image, image), torch.ones(2, dtype=torch.float64), atol=1e-6)


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_single_ignores_brightness(shift: float) -> None:
    fused, source = images(2)
    moved = mef_ssim_single(fused + shift, source)
    assert torch.allclose(moved, mef_ssim_single(fused, source), atol=1e-12)


def test_pair_does_not_care_which_source_is_which() -> None:
    fused, under, over = images(3)
    assert torch.allclose(mef_ssim_pair(fused, under, over), mef_ssim_pair(fused, over, under), atol=1e-12)


@pytest.mark.parametrize("scales", [1, 3])
def test_items_of_a_batch_do_not_mix(scales: int) -> None:
    trio = images(3)
    together = mef_ssim_pair(*trio, scales=scales)
    alone = [mef_ssim_pair(*(image[i : i + 1] for image in trio), scales=scales) for i in range(2)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-13)
    assert together.shape == (2,)


def test_several_sources_at_once_equal_one_by_one() -> None:
    fused, first, second = images(3)
    both = contrast_structure(fused, torch.cat([first, second], dim=1))
    one_by_one = torch.stack([mef_ssim_single(fused, first), mef_ssim_single(fused, second)], dim=1)
    assert torch.allclose(both, one_by_one, atol=1e-13)


def test_preparing_once_gives_the_same_score() -> None:
    fused, under, over = images(3)
    assert torch.equal(score_pair(fused, prepare_pair(under, over)), mef_ssim_pair(fused, under, over))


def test_gradient_agrees_with_finite_differences() -> None:
    fused, under, over = images(3, size=45, items=1)
    fused, under, over = 0.5 * (under + over) + 0.1 * fused, under, over
    for position, image in enumerate((fused, under, over)):
        trio = [fused, under, over]
        trio[position] = image.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(mef_ssim_pair(*trio).sum(), trio[position])
        generator = torch.Generator().manual_seed(position)
        direction = torch.randn(image.shape, generator=generator, dtype=torch.float64)
        ends = []
        for step in (1e-6, -1e-6):
            trio[position] = image + step * direction
            ends.append(mef_ssim_pair(*trio).item())
        slope = (ends[0] - ends[1]) / 2e-6
        assert slope == pytest.approx((gradient * direction).sum().item(), rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("which", [(0,), (1,), (2,), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_flat_images_give_finite_values_and_slopes(level: float, which: tuple[int, ...], dtype: torch.dtype) -> None:
    trio = [image.to(dtype) for image in images(3, size=44, items=1)]
    for position in which:
        trio[position] = torch.full_like(trio[position], level)
    trio = [image.requires_grad_() for image in trio]
    value = mef_ssim_pair(*trio)
    gradients = torch.autograd.grad(value.sum(), trio)
    assert value.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_opposite_sources_give_finite_values_and_slopes() -> None:
    fused, under = (image.requires_grad_() for image in images(2))
    value = mef_ssim_pair(fused, under, 1.0 - under)
    gradients = torch.autograd.grad(value.sum(), (fused, under))
    assert value.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_a_negative_image_still_has_a_way_up() -> None:
    (source,) = images(1)
    fused = (1.0 - source).requires_grad_()
    value = mef_ssim_pair(fused, source, source)
    (gradient,) = torch.autograd.grad(value.sum(), fused)
    assert (value > 0).all()
    assert (value < 0.01).all()
    better = mef_ssim_pair(fused.detach() + 0.05 * (source - 0.5), source, source)
    assert (better > value).all()
    assert gradient.norm() > 0


def test_sizes_down_to_the_minimum_work_and_smaller_ones_are_refused() -> None:
    assert mef_ssim_single(*images(2, size=11)).isfinite().all()
    assert mef_ssim_pair(*images(3, size=11), scales=1).isfinite().all()
    assert mef_ssim_pair(*images(3, size=44)).isfinite().all()
    with pytest.raises(ValueError, match="at least 11"):
        mef_ssim_single(*images(2, size=10))
    with pytest.raises(ValueError, match="at least 44"):
        mef_ssim_pair(*images(3, size=43))


def test_scales_are_multiplied_to_their_powers_and_continued_below_a_hundredth() -> None:
    weights = np.array([0.0448, 0.2856, 0.3001]) / 0.6305

    def combined(first: float) -> float:
        return combine_scales(torch.tensor([[first, 0.5, 0.6]], dtype=torch.float64)).item()

    rest = 0.5 ** weights[1] * 0.6 ** weights[2]
    assert combined(0.3) == pytest.approx(0.3 ** weights[0] * rest, rel=1e-12)
    # Below 0.01 the logarithm goes on as its tangent: log(0.01) + (s - 0.01) / 0.01.
    for score in (0.005, -0.2):
        logarithm = math.log(0.01) + (score - 0.01) / 0.01
        assert combined(score) == pytest.approx(math.exp(weights[0] * logarithm) * rest, rel=1e-12)


def test_wrong_input_is_refused() -> None:
    fused, under, over = images(3)
    with pytest.raises(ValueError, match="1 to 3 scales"):
        mef_ssim_pair(fused, under, over, scales=4)
    with pytest.raises(ValueError, match="same shape"):
        mef_ssim_pair(fused[..., :-1], under, over)
    with pytest.raises(ValueError, match="same shape"):
        mef_ssim_single(fused[:1], under)
    with pytest.raises(ValueError, match=r"luminance \(B, 1, H, W\)"):
        mef_ssim_single(fused[0], under[0])


def test_odd_sizes_halve_with_symmetric_edges() -> None:
    trio = images(3, size=47, items=1)
    doubled = [torch.nn.functional.pad(image, (0, 1, 0, 1), mode="replicate") for image in trio]
    coarse = [torch.nn.functional.avg_pool2d(image, 2) for image in doubled]
    first = mef_ssim_pair(*trio, scales=1)
    second = mef_ssim_pair(*coarse, scales=1)
    weights = np.array([0.0448, 0.2856])
    weights /= weights.sum()
    expected = max(first.item(), 0.0) ** weights[0] * max(second.item(), 0.0) ** weights[1]
    assert min(first.item(), second.item()) > 0.01
    assert mef_ssim_pair(*trio, scales=2).item() == pytest.approx(expected, abs=1e-12)
