"""VIF and Q^AB/F as losses: near the metrics of the evaluation, finite everywhere, with the right slope."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hsds_lib.evaluation.metrics import qabf, vif_sum
from hsds_lib.images.batches import load_scenes
from hsds_lib.losses.pair_terms import prepare_vif, qabf_pair, vif_pair

Trio = tuple[Tensor, Tensor]


def gray(image: Tensor) -> Tensor:
    """8-bit gray of the mean colour, so that tensors and the metrics' pixels hold the same numbers."""
    return (image.mean(dim=0, keepdim=True)[None].double() * 255).round() / 255


def pixels(image: Tensor) -> np.ndarray:
    return (image[0, 0] * 255).round().to(torch.uint8)[..., None].expand(-1, -1, 3).numpy()


@pytest.fixture(scope="module")
def trio() -> Trio:
    """Two exposures of a simulated scene as ``(1, 2, H, W)``, and a picture between them."""
    scene = load_scenes("embedded", "train", limit=1)[0]
    assert scene.ref is not None
    return torch.cat([gray(scene.under), gray(scene.over)], dim=1), gray(scene.ref)


def test_vif_of_a_picture_is_half_the_metric(trio: Trio) -> None:
    sources, fused = trio
    expected = vif_sum(pixels(sources[:, :1]), pixels(sources[:, 1:]), pixels(fused)) / 2
    assert float(vif_pair(fused, prepare_vif(sources))) == pytest.approx(expected, abs=0.03)


def test_qabf_ranks_pictures_as_the_metric_does(trio: Trio) -> None:
    sources, fused = trio
    candidates = [fused, sources[:, :1], sources[:, 1:], sources.mean(dim=1, keepdim=True).mul(255).round() / 255]
    losses = [float(qabf_pair(picture, sources)) for picture in candidates]
    metrics = [qabf(pixels(sources[:, :1]), pixels(sources[:, 1:]), pixels(picture)) for picture in candidates]
    assert np.argsort(losses).tolist() == np.argsort(metrics).tolist()
    assert losses == pytest.approx(metrics, abs=0.08)  # faint edges count more for the metric


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_flat_sources_have_nothing_to_lose_and_no_slope_is_lost(level: float) -> None:
    sources = torch.full((1, 2, 48, 48), level, dtype=torch.float64)
    fused = torch.full((1, 1, 48, 48), 0.3, dtype=torch.float64, requires_grad=True)
    values = torch.stack([vif_pair(fused, prepare_vif(sources)), qabf_pair(fused, sources)])
    values.sum().backward()
    torch.testing.assert_close(values.detach(), torch.ones_like(values), rtol=0, atol=1e-6)
    assert fused.grad is not None and fused.grad.isfinite().all()


@pytest.mark.parametrize("measure", ["vif", "qabf"])
def test_slopes_agree_with_finite_differences(measure: str) -> None:
    generator = torch.Generator().manual_seed(3)
    sources = torch.rand(1, 2, 44, 44, generator=generator, dtype=torch.float64)
    fused = torch.rand(1, 1, 44, 44, generator=generator, dtype=torch.float64).requires_grad_()
    direction = torch.randn(fused.shape, generator=generator, dtype=torch.float64)
    levels = prepare_vif(sources)

    def value(image: Tensor) -> Tensor:
        return vif_pair(image, levels).sum() if measure == "vif" else qabf_pair(image, sources).sum()

    slope = float((torch.autograd.grad(value(fused), fused)[0] * direction).sum())
    step = 1e-7
    with torch.no_grad():
        change = float(value(fused + step * direction) - value(fused - step * direction)) / (2 * step)
    assert slope == pytest.approx(change, rel=1e-4, abs=1e-7)


def test_each_item_counts_for_itself() -> None:
    generator = torch.Generator().manual_seed(4)
    sources, fused = torch.rand(2, 2, 48, 48, generator=generator), torch.rand(2, 1, 48, 48, generator=generator)
    both = torch.stack([vif_pair(fused, prepare_vif(sources)), qabf_pair(fused, sources)])
    for i in range(2):
        alone = [vif_pair(fused[i : i + 1], prepare_vif(sources[i : i + 1])), qabf_pair(fused[i:][:1], sources[i:][:1])]
        torch.testing.assert_close(both[:, i], torch.cat(alone))


def test_vif_says_how_large_a_crop_it_needs() -> None:
    with pytest.raises(ValueError, match="40 x 40 pixels, but needs at least 41"):
        prepare_vif(torch.zeros(1, 2, 40, 40))
