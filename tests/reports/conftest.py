"""Toy notebooks, one that runs and one that fails, the reports made of them once, and one for sweeps."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from hsds_lib.reports.execute import ReportResult, run_reports
from notebooks.tools.source import versions

GOOD = r"""
# %% [markdown]
# # 1 · A *good* one
#
# [![Badge](https://example.org/badge.svg)](https://example.org/launch) Inline $a_k$, and displayed:
#
# $$\min_{\alpha} \Gamma_H(\alpha) \tag{3}$$
#
# Read [the bad one](02_bad.ipynb#part) and [the readme](../README.md).

# %% tags=["parameters"]
preset: str = "tiny"  # tiny | lesson | paper
theta: float = 0.05  # pruning threshold

# %%
import os
import warnings

from matplotlib import pyplot as plt

from hsds_lib.course.show import show

print("preset", preset, "theta", theta)
warnings.warn("something to know", stacklevel=1)

# %% tags=["hero"]
figure, axes = plt.subplots(figsize=(3, 2))
axes.plot([0, 1, 0])
show(figure, alt="A line that <rises> & falls.")

# %%
from ipywidgets import IntSlider

IntSlider(value=3)

# %% tags=["hide-input"]
print("data folder:", os.environ.get("HSDS_DATA"))

# %% tags=["raises-exception"]
raise KeyError("meant to be shown")

# %%
with open("left_behind.txt", "w") as file:
    print("kept", file=file)
"""
BAD = """
# %% [markdown]
# # 2 · A bad one

# %% tags=["parameters"]
preset: str = "tiny"  # tiny | lesson | paper

# %%
print("it went well until here")

# %%
raise ValueError(f"no such preset as {preset}")

# %%
print("this is never said")
"""
SWEPT = """
# %% [markdown]
# # 1 · One for sweeps

# %% tags=["parameters"]
seed: int = 0
mode: str = "fine"  # fine | fails | waits | kills | kills once
place: str = ""  # folder for marks

# %%
import os
import signal
import time
from pathlib import Path

from IPython.display import display

mark = Path(place) / f"{mode} {seed}"
again = mark.exists()
mark.touch()
print("it went well until here")

# %%
if mode == "fails" and not (Path(place) / "mended").exists():
    raise ValueError("not mended yet")
if mode == "waits":
    time.sleep(200)
if mode == "kills" or (mode == "kills once" and not again):
    os.kill(os.getppid(), signal.SIGKILL)  # the worker
    time.sleep(200)

# %%
display({"application/vnd.hsds.numbers+json": {"tenfold": 10 * seed}, "text/plain": "tenfold"}, raw=True)
"""


def build(folder: Path, texts: dict[str, str]) -> Path:
    """Make a folder of notebooks as the builder would; what they store does not matter to a report."""
    for name, text in texts.items():
        source = folder / "src" / f"{name}.py"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(text.lstrip(), encoding="utf-8")
        for path, notebook in versions(source, folder).items():
            nbformat.write(notebook, path)
    return folder


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the notebook ``01_swept``, which does what its parameter ``mode`` says."""
    return build(tmp_path_factory.mktemp("swept") / "notebooks", {"01_swept": SWEPT})


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one notebook that runs and one that fails."""
    return build(tmp_path_factory.mktemp("checkout") / "notebooks", {"01_good": GOOD, "02_bad": BAD})


@pytest.fixture(scope="module")
def reports(notebooks: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[ReportResult]]:
    """Both notebooks executed once, into a relative folder."""
    work = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        patch.setenv("HSDS_DATA", "/some/photographs")
        results = run_reports(parameters={"preset": "lesson", "theta": 0.25}, out="reports", notebooks=notebooks)
    return work / "reports", results
