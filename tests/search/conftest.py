"""A random feature network and small batches of the embedded scenes, for every test of a search."""

from __future__ import annotations

import pytest
import torch

from hsds_lib.images.batches import Batch, PairBatches, load_naturals, load_scenes
from hsds_lib.losses.features import VGG16, load_vgg16


@pytest.fixture(scope="session")
def vgg() -> VGG16:
    return load_vgg16("random", seed=0)


@pytest.fixture(scope="session")
def batches() -> list[Batch]:
    scenes, naturals = load_scenes("embedded", "train", limit=3), load_naturals("embedded", "train")
    generator = torch.Generator().manual_seed(0)
    pairs = PairBatches(scenes, naturals, crop=24, batch_size=1, generator=generator)
    return [batch for _ in range(3) for batch in pairs]
