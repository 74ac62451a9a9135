"""Where the builder of notebooks stops, and that nbval stops at a built notebook whose verdict changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hsds_lib.reports import notebook as kernel
from notebooks.tools import build as builder


def test_cell_over_the_limit_is_named(tmp_path, monkeypatch):
    (tmp_path / "src").mkdir()
    source = '# %% tags=["parameters"]\na = 1\n\n# %%\nimport time\n\ntime.sleep(60)\n'
    (tmp_path / "src" / "slow.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(builder, "CELL_TIMEOUT", 2)
    with pytest.raises(builder.BuildError, match=r"slow.ipynb, cell 3 took longer than 2 s"):
        builder.build(notebooks=tmp_path)


def test_outside_a_checkout_the_error_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(kernel, "_LIBRARY_FOLDER", tmp_path)
    assert builder.main(["--check"]) == 1
    assert "part of a checkout" in capsys.readouterr().err


def _nbval(notebook: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q", "-p", "no:cacheprovider"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(kernel._LIBRARY_FOLDER)}
    for name in ("HSDS_DATA", "HSDS_FIXTURES", "MPLBACKEND", "JUPYTER_PATH", "PYTEST_ADDOPTS"):
        environment.pop(name, None)
    folder = notebook.parent
    return subprocess.run(
        [*command, f"--rootdir={folder}", notebook.name],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_nbval_compares_the_verdicts_of_a_built_notebook(tmp_path):
    (tmp_path / "src").mkdir()
    parameters = '# %% tags=["parameters"]\na = 1\n\n'
    source = parameters + '# %% tags=["verdict"]\nprint("sum:", a + 1)\n\n# %%\nimport time\n\nprint(time.time())\n'
    (tmp_path / "src" / "toy.py").write_text(source, encoding="utf-8")
    [notebook] = builder.build(notebooks=tmp_path)
    good = _nbval(notebook)
    assert good.returncode == 0, good.stdout
    assert "4 passed" in good.stdout
    notebook.write_text(notebook.read_text(encoding="utf-8").replace("sum: 2", "sum: 3"), encoding="utf-8")
    bad = _nbval(notebook)
    assert bad.returncode == 1, bad.stdout
    assert "1 failed" in bad.stdout
