"""The command ``hsds`` in this process: what the tests of commands share."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

import pytest

from hsds_lib.cli import main


def hsds(*words: str | Path) -> int:
    """Run the command in this process and give its exit code."""
    with mock.patch.object(sys, "argv", ["hsds", *map(str, words)]), pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)
