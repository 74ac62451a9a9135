"""The two classical fusions: as users of OpenCV know them, in our shapes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from hsds_lib.images.classical import average, mertens


def random_pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    under, over = (torch.randint(0, 256, (3, 48, 64), generator=generator).float() / 255 for _ in range(2))
    return under * 0.3, over * 0.7 + 0.3


@pytest.mark.parametrize("weights", [(1.0, 1.0, 0.0), (1.0, 1.0, 1.0), (0.0, 0.0, 1.0)])
def test_mertens_is_what_opencv_gives_for_8_bit_bgr_files(weights: tuple[float, float, float]) -> None:
    generator = torch.Generator().manual_seed(1)
    levels = torch.randint(0, 256, (2, 3, 48, 64), generator=generator, dtype=torch.uint8)
    bgr = [np.ascontiguousarray(image.permute(1, 2, 0).numpy()[..., ::-1]) for image in levels]
    expected = np.clip(cv2.createMergeMertens(*weights).process(bgr), 0, 1)[..., ::-1]
    contrast, saturation, exposedness = weights
    fused = mertens(levels[0] / 255, levels[1] / 255, contrast=contrast, saturation=saturation, exposedness=exposedness)
    assert fused.shape == (3, 48, 64) and fused.dtype == torch.float32
    assert np.abs(fused.permute(1, 2, 0).numpy() - expected).max() < 1e-5


def test_fusing_an_image_with_itself_gives_the_image() -> None:
    image = random_pair()[1]
    assert (mertens(image, image) - image).abs().max() < 1e-5
    assert torch.equal(average(image, image), image)


def test_mertens_stays_in_range_and_leaves_its_inputs_alone() -> None:
    under, over = random_pair()
    before = under.clone(), over.clone()
    fused = mertens(under, over, exposedness=1.0)
    assert fused.min() >= 0 and fused.max() <= 1
    assert torch.equal(under, before[0]) and torch.equal(over, before[1])


def test_the_average_is_half_of_both() -> None:
    under, over = random_pair()
    assert torch.allclose(average(under, over), 0.5 * under + 0.5 * over)
