"""Seeded 8-bit colour images for the tests of the metrics, and the recorded ones with their published values."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

MakePixels = Callable[..., np.ndarray]


@pytest.fixture(scope="session")
def make_pixels() -> MakePixels:
    """Give a maker of images: smooth colour blobs with a little texture, some of it clipped."""

    def make(height: int = 64, width: int | None = None, *, seed: int = 0, exposure: float = 1.0) -> np.ndarray:
        size = (height, width or height)
        generator = np.random.default_rng(seed)
        blobs = np.stack([gaussian_filter(generator.normal(size=size), 4) for _ in range(3)], axis=-1)
        scene = 110 + 60 * blobs / blobs.std() + 6 * generator.normal(size=(*size, 3))
        return np.clip(exposure * scene, 0, 255).round().astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def make_exposures(make_pixels: MakePixels) -> Callable[..., tuple[np.ndarray, ...]]:
    """Give a maker of under, over, fused and reference: one scene at four exposures."""

    def make(height: int = 64, width: int | None = None, *, seed: int = 0) -> tuple[np.ndarray, ...]:
        return tuple(make_pixels(height, width, seed=seed, exposure=factor) for factor in (0.4, 1.7, 0.9, 1.0))

    return make


def gray_image(values: np.ndarray | list) -> np.ndarray:
    """Make the RGB image whose three channels are the given levels ``(H, W)``."""
    return np.repeat(np.asarray(values, dtype=np.uint8)[..., None], 3, axis=-1)


@pytest.fixture(scope="session")
def gray() -> Callable[..., np.ndarray]:
    """Give ``gray(levels)``: the RGB image with three channels of these levels ``(H, W)``."""
    return gray_image


@pytest.fixture(scope="session")
def contest_once(
    make_exposures: Callable[..., tuple[np.ndarray, ...]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Give a folder with ``pairs`` of three scenes, the second with a reference, and methods ``near`` and ``far``."""
    folder = tmp_path_factory.mktemp("contest")
    for number, name in enumerate(("attic", "barn", "cellar")):
        under, over, fused, ref = make_exposures(56, 60, seed=number)
        noise = np.random.default_rng(number).integers(-25, 26, fused.shape)
        files = {
            f"pairs/{name}/under.png": under,
            f"pairs/{name}/over.png": over,
            f"near/{name}.png": fused,
            f"far/{name}.png": np.clip(fused + noise, 0, 255).astype(np.uint8),
        } | ({f"pairs/{name}/ref.png": ref} if name == "barn" else {})
        for path, pixels in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / path)
    return folder


@pytest.fixture
def contest(contest_once: Path, tmp_path: Path) -> Path:
    """Give a copy of the contest that a test may change."""
    return shutil.copytree(contest_once, tmp_path, dirs_exist_ok=True)
