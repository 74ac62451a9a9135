"""Recorded values of other people's code, and a ledger: what was compared, how far apart, and what was left out.

A module of this folder names its file in ``FILE`` and lists in ``INPUTS`` the keys it only reads and in ``EXCUSED``
the keys it does not reproduce, with the reason. Its tests compare the rest through the fixture ``recorded``; the last
test of each module asks that no key was forgotten.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

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
        """Compare with a recorded value: float64 to 1e-6 of each element, float32 to 1e-4 and 1e-5.

        An array is also allowed 1e-8 of its largest element in float64, because its small elements are differences
        of large numbers. A value 1 % off must not pass, unless the recorded value is ``noise`` around zero.
        """
        wanted = np.asarray(self.arrays[key], dtype=np.float64)
        value = np.asarray(found.detach().cpu() if isinstance(found, Tensor) else found, dtype=np.float64)
        assert value.shape == wanted.shape, f"{self.name} {key}: shape {value.shape} instead of {wanted.shape}"
        largest = float(np.abs(wanted).max(initial=0.0))
        single = "_f32" in key
        rtol = (1e-4 if single else 1e-6) if rtol is None else rtol
        atol = (1e-5 if single else 1e-8 * largest) if atol is None else atol
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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was reproduced, and how closely."""
    if not _LEDGERS:
        return
    terminalreporter.section("parity with recorded values")
    for ledger in _LEDGERS:
        exact = [error for key, error in ledger.errors.items() if "_f32" not in key]
        single = [error for key, error in ledger.errors.items() if "_f32" in key]
        parts = [
            f"{kind} {len(errors)} keys, max error {max(errors):.1e}"
            for kind, errors in (("float64 or exact:", exact), ("float32:", single))
            if errors
        ]
        terminalreporter.write_line(f"{ledger.name}: {'; '.join(parts)}")
