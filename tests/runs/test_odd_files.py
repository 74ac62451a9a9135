"""A few of the odd runs that ``odd_files.py`` makes any number of."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ODD = runpy.run_path(str(Path(__file__).with_name("odd_files.py")))


@pytest.mark.timeout(300)
def test_an_odd_file_or_option_is_used_or_refused_in_one_sentence_and_nothing_is_lost(tmp_path: Path) -> None:
    codes = set()
    for kind, code, said, lost in ODD["trials"](tmp_path, 24, 1):
        assert ODD["one_sentence"](code, said) and not lost, (kind, code, said, lost)
        codes.add(code)
    assert codes == {0, 2}
