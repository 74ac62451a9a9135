"""Three and more exposures: in any order, and nearer to the scene than Mertens' fusion of all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from hsds_lib.fusing.fuse import fuse, fuse_stack
from hsds_lib.images.classical import mertens_of
from hsds_lib.images.datasets import ImageError
from hsds_lib.images.exposure import embedded_photographs, illumination, linear_to_srgb, srgb_to_linear
from hsds_lib.network.folded import FoldedNet, fold
from hsds_lib.network.model_file import load_model

STOPS, KEPT = 6.0, 0.2  # of the illumination, and the share of it that the reference keeps


@pytest.fixture(scope="module")
def network() -> FoldedNet:
    return fold(load_model("default", device="cpu"))


def stack_of(photo: Tensor, values: tuple[float, ...], seed: int) -> tuple[list[Tensor], Tensor]:
    """A photograph lit anew, at these exposure values, and what fusion should find."""
    light, generator = srgb_to_linear(photo.double()), torch.Generator().manual_seed(seed)
    stops = STOPS * illumination(*photo.shape[1:], edge=0.05, generator=generator)
    shots = [linear_to_srgb((light * torch.exp2(stops + value)).clamp(0, 1)).float() for value in values]
    return shots, linear_to_srgb((light * torch.exp2(KEPT * stops)).clamp(0, 1)).float()


def test_order_does_not_matter_and_two_are_a_pair(network: FoldedNet) -> None:
    shots, _ = stack_of(embedded_photographs()["coffee"][:, :64, :80], (-3, -1, 0, 2), 0)
    fused = fuse_stack(network, shots)
    assert torch.equal(fuse_stack(network, [shots[number] for number in (2, 0, 3, 1)]), fused)
    assert torch.equal(fuse_stack(network, [shots[3], shots[0]]), fuse(network, shots[0], shots[3]))


def test_every_exposure_counts(network: FoldedNet) -> None:
    shots, _ = stack_of(embedded_photographs()["coffee"][:, :64, :80], (-4, -2, 0, 2, 4), 0)
    fused = fuse_stack(network, shots)
    for number in range(len(shots)):
        assert (fuse_stack(network, shots[:number] + shots[number + 1 :]) - fused).abs().max() > 0.02, number


@pytest.mark.parametrize("count", [1, 10])
def test_one_and_ten_are_refused(network: FoldedNet, count: int) -> None:
    with pytest.raises(ImageError, match=f"^{count} exposures were given; give 2 to 9 of one scene$"):
        fuse_stack(network, [torch.rand(3, 8, 8)] * count)


@pytest.mark.parametrize("values", [(-3, 0, 3), (-4.5, -1.5, 1.5, 4.5), (-4, -2, 0, 2, 4)])
def test_it_is_nearer_to_the_scene_than_mertens_fusion_of_all(network: FoldedNet, values: tuple[float, ...]) -> None:
    """The mean over all photographs that ship, in PSNR and in SSIM."""
    scores = []
    for seed, photo in enumerate(embedded_photographs().values()):
        shots, ref = stack_of(photo, values, seed)
        wanted = ref.numpy()
        for fused in (fuse_stack(network, shots).numpy(), mertens_of(shots).numpy()):
            psnr = peak_signal_noise_ratio(wanted, fused, data_range=1)
            scores.append((psnr, structural_similarity(wanted, fused, channel_axis=0, data_range=1)))
    ours, mertens = np.array(scores).reshape(-1, 2, 2).mean(axis=0)
    assert (ours > mertens).all(), (ours, mertens)
