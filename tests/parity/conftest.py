"""Recorded values of other people's code, and a ledger: what was compared, how far apart, and what was left out.

A module of this folder names its file in ``FILE`` and lists in ``INPUTS`` the keys it only reads and in ``EXCUSED``
the keys it does not reproduce, with the reason. Its tests compare the rest through the fixture ``recorded``; the last
test of each module asks that no key was forgotten.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hsds_lib.losses.features import BLOCKS, LAYERS, VGG16, load_vgg16
from hsds_lib.released.terms import PerceptualVGG

_LEDGERS: list[Recorded] = []


@dataclass
class Recorded:
    """The arrays of one recorded file, and how near the library came to each of them."""

    name: str
    arrays: dict[str, np.ndarray]
    read_only: frozenset[str]
    errors: dict[str, float] = field(default_factory=dict)

    def input(self, key: str, dtype: torch.dtype = torch.float64) -> Tensor:
        """An array that tests only read."""
        assert key in self.read_only, f"{key} of {self.name} is to be reproduced, not read"
        return torch.from_numpy(np.array(self.arrays[key])).to(dtype)

    def check(
        self, key: str, found: Any, *, rtol: float | None = None, atol: float | None = None, noise: bool = False
    ) -> None:
        """Compare with a recorded value: float64 to 1e-6 of each element, float32 to 1e-4, plus 2e-4 of the largest.

        An array is also allowed 1e-8 of its largest element in float64, because its small elements are differences
        of large numbers. A value 1 % off must not pass, unless the recorded value is ``noise`` around zero.
        """
        wanted = np.asarray(self.arrays[key], dtype=np.float64)
        value = np.asarray(found.detach().cpu() if isinstance(found, Tensor) else found, dtype=np.float64)
        assert value.shape == wanted.shape, f"{self.name} {key}: shape {value.shape} instead of {wanted.shape}"
        largest = float(np.abs(wanted).max(initial=0.0))
        single = "_f32" in key
        rtol = (1e-4 if single else 1e-6) if rtol is None else rtol
        # In single precision other processors add in another order: up to 9e-5 of the largest element were seen.
        atol = (2e-4 if single else 1e-8) * largest if atol is None else atol
        distance = float(np.abs(value - wanted).max(initial=0.0))
        self.errors[key] = distance if noise else distance / (largest or 1.0)
        assert np.allclose(value, wanted, rtol=rtol, atol=atol), (
            f"{self.name} {key}: {distance:.3g} apart, largest {largest:.3g}"
        )
        if not noise and largest > 0:
            assert not np.allclose(1.01 * wanted, wanted, rtol=rtol, atol=atol), f"{key}: 1 % would go unnoticed"


@pytest.fixture(scope="module")
def recorded(request: pytest.FixtureRequest) -> Recorded:
    """The file that the module's ``FILE`` names, below the folder ``HSDS_FIXTURES``."""
    root = os.environ.get("HSDS_FIXTURES")
    if not root:
        pytest.skip("HSDS_FIXTURES is not set")
    path = Path(root) / "parity" / request.module.FILE
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    ledger = Recorded(path.name, arrays, frozenset(request.module.INPUTS))
    _LEDGERS.append(ledger)
    return ledger


@pytest.fixture
def forgotten(recorded: Recorded, request: pytest.FixtureRequest) -> set[str]:
    """Keys that no test of this module compared, read or excused; meaningful only when all of them ran."""
    ran = {item.originalname for item in request.session.items if item.path == request.path}
    if not {name for name in dir(request.module) if name.startswith("test_")} <= ran:
        pytest.skip("only some tests of this module were selected")
    return set(recorded.arrays) - set(recorded.errors) - recorded.read_only - set(request.module.EXCUSED)


@pytest.fixture(scope="module")
def seeded_state() -> Callable[[list[str], list[str], int], dict[str, np.ndarray]]:
    """Make the network weights that recorded values were computed with, from names, shapes (JSON) and a seed.

    They are too large to be stored, so they are drawn again: in the order of the names, float64, then rounded.
    """

    def draw(names: list[str], shapes: list[str], seed: int) -> dict[str, np.ndarray]:
        random = np.random.RandomState(seed)
        return {name: _drawn(name, json.loads(shape), random) for name, shape in zip(names, shapes, strict=True)}

    return draw


def _drawn(name: str, shape: list[int], random: np.random.RandomState) -> np.ndarray:
    if name.endswith("num_batches_tracked"):
        return np.zeros((), dtype=np.int64)
    if name.endswith("running_var"):
        return (0.5 + random.random_sample(shape)).astype(np.float32)
    normal = random.standard_normal(shape)
    if len(shape) == 4:
        gain = 0.02 if name == "ret.reconstruction.weight" else np.sqrt(2 / np.prod(shape[1:]))
        return (gain * normal).astype(np.float32)
    if name == "ret.reconstruction.bias":
        return (0.05 * normal).astype(np.float32)
    return (0.1 * normal + (1.0 if name.endswith("weight") else 0.0)).astype(np.float32)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Say at the end what was reproduced, and how closely."""
    for ledger in _LEDGERS:
        exact = [error for key, error in ledger.errors.items() if "_f32" not in key]
        single = [error for key, error in ledger.errors.items() if "_f32" in key]
        parts = [
            f"{kind} {len(errors)} keys, max error {max(errors):.1e}"
            for kind, errors in (("float64 or exact:", exact), ("float32:", single))
            if errors
        ]
        lines = session.config.sections.setdefault("parity with recorded values", [])
        lines.append(f"{ledger.name}: {'; '.join(parts)}")


@pytest.fixture(scope="session")
def released_perceptual_vgg() -> PerceptualVGG:
    """Seeded VGG-16 with batch normalisation, as the recorded perceptual losses used it, in float64."""
    draws, channels, state = np.random.RandomState(1601), 3, {}
    digest = hashlib.sha256()
    widths = [*(width for block in BLOCKS for width in block), 512, 512]  # the recorded one had all 13 convolutions
    for layer, width in enumerate(widths):
        arrays = {
            f"convs.{layer}.weight": draws.standard_normal((width, channels, 3, 3)) * np.sqrt(2 / (9 * channels)),
            f"convs.{layer}.bias": 0.05 * draws.standard_normal(width),
            f"norms.{layer}.weight": 1 + 0.1 * draws.standard_normal(width),
            f"norms.{layer}.bias": 0.1 * draws.standard_normal(width),
            f"norms.{layer}.running_mean": 0.1 * draws.standard_normal(width),
            f"norms.{layer}.running_var": 0.5 + draws.random_sample(width),
        }
        channels = width
        for name, array in arrays.items():
            digest.update(array.astype(np.float32).tobytes())
            state[name] = torch.from_numpy(array.astype(np.float32))
    vgg = PerceptualVGG()
    vgg.load_state_dict({name: state[name] for name in vgg.state_dict() if name in state}, strict=False)
    vgg.sha256, vgg.drawn = digest.hexdigest(), state
    return vgg.double()


@pytest.fixture(scope="session")
def released_contrast_vgg() -> VGG16:
    """Seeded plain VGG-16 up to its eleventh convolution, as the recorded contrast used it, in float64."""
    draws, channels, digest = np.random.RandomState(1602), 3, hashlib.sha256()
    vgg, drawn = load_vgg16("random"), {}
    widths = [width for block in BLOCKS for width in block]
    for name, width in zip(LAYERS[:11], widths, strict=False):
        weight = draws.standard_normal((width, channels, 3, 3)) * np.sqrt(2 / (9 * channels))
        arrays = {"weights": weight, "biases": 0.05 * draws.standard_normal(width)}
        channels = width
        for kind, array in arrays.items():
            single = array.astype(np.float32)
            digest.update(single.tobytes())
            drawn[f"{kind}.{name}"] = torch.from_numpy(single)
    vgg.load_state_dict(drawn, strict=False)
    vgg.sha256, vgg.drawn = digest.hexdigest(), drawn
    return vgg.double()
