"""Small seeded colour scenes in float64, and one feature network for all tests of the losses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from hsds_lib.images.batches import Batch
from hsds_lib.losses.features import VGG16, load_vgg16

MakeBatch = Callable[..., Batch]


def smooth_image(size: int, generator: torch.Generator, items: int) -> Tensor:
    """Colour blobs with a little texture, away from 0 and 1."""
    coarse = torch.rand(items, 3, size // 4, size // 4, generator=generator, dtype=torch.float64)
    fine = torch.rand(items, 3, size, size, generator=generator, dtype=torch.float64)
    blobs = F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    return 0.05 + 0.8 * blobs + 0.1 * fine


@pytest.fixture(scope="session")
def make_batch() -> MakeBatch:
    """Give a maker of batches: two exposures of a scene, the scene itself, and another scene as natural image."""

    def make(size: int = 32, items: int = 2, seed: int = 0) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        ref, natural = smooth_image(size, generator, items), smooth_image(size, generator, items)
        noise = 0.02 * torch.rand(2, items, 3, size, size, generator=generator, dtype=torch.float64)
        return Batch(
            under=(0.4 * ref + noise[0]).clamp(0, 1),
            over=(1.4 * ref + noise[1]).clamp(0, 1),
            ref=ref,
            natural=natural,
        )

    return make


@pytest.fixture(scope="session")
def vgg() -> VGG16:
    """Give a random feature network in float64."""
    return load_vgg16("random", seed=0).double()
