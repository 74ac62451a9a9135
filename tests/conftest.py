"""Fixtures that several test folders share: where real data and recorded fixtures lie, if they are here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def _folder_of(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set")
    folder = Path(value)
    assert folder.is_dir(), f"{variable} is set to {folder}, which is no folder"
    return folder


@pytest.fixture
def data_root() -> Path:
    """The folder that HSDS_DATA names; the test is skipped when it is unset, and fails when it is wrong."""
    return _folder_of("HSDS_DATA")


@pytest.fixture
def fixtures_root() -> Path:
    """The folder that HSDS_FIXTURES names; the test is skipped when it is unset, fails when it is wrong."""
    return _folder_of("HSDS_FIXTURES")
