"""``import hsds_lib as hsds``: every name of the public face is there, and the import alone loads next to nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import hsds_lib as hsds


@pytest.mark.parametrize("name", hsds.__all__)
def test_every_name_of_the_face_exists(name: str) -> None:
    assert getattr(hsds, name) is not None


def test_importing_the_library_loads_neither_torch_nor_anything_that_draws() -> None:
    script = (
        "import sys, hsds_lib; print(*sorted({'torch', 'numpy', 'matplotlib', 'pandas', 'IPython'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_face_lists_its_names_and_refuses_others() -> None:
    assert set(hsds.__all__) <= set(dir(hsds))
    with pytest.raises(AttributeError, match="Supernett"):
        _ = hsds.Supernett


def test_the_lines_of_the_readme_fuse_two_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
    [lines] = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    scene = hsds.load_scenes("embedded", "test", limit=1)[0]
    monkeypatch.chdir(tmp_path)
    for role in ("under", "over"):  # the readers go by the content, not by the ending
        hsds.write_rgb("picture.png", getattr(scene, role)[:, :64, :48])
        Path("picture.png").rename(f"{role}.jpg")
    exec(lines, {})
    assert hsds.read_rgb("fused.png").shape == (3, 64, 48)
