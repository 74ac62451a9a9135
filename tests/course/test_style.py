"""Figures of the course come out the same whatever the reader's matplotlibrc says, which stays as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch

from hsds_lib.course import pictures, plots, style
from hsds_lib.course.figures import loss_pictures
from hsds_lib.course.show import _png, save_figure
from hsds_lib.reports import evaluation_figures
from hsds_lib.reports.notebook import kernel_environment

HOSTILE = {
    **{"axes.facecolor": "black", "figure.facecolor": "black", "savefig.facecolor": "red", "savefig.pad_inches": 2},
    **{"image.origin": "lower", "image.interpolation": "bicubic", "image.cmap": "jet", "figure.dpi": 300},
    **{"text.usetex": True, "font.family": ["serif"], "font.sans-serif": ["cmr10"], "mathtext.fontset": "cm"},
    **{"axes.grid": True, "xtick.minor.visible": True, "xtick.color": "red", "axes.formatter.limits": [-1, 1]},
    **{"lines.antialiased": False, "hatch.color": "red", "path.sketch": (3, 10, 2), "svg.fonttype": "path"},
    **{"savefig.dpi": 33, "savefig.transparent": True, "figure.autolayout": True},
}
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
LIGHT = torch.from_numpy(PIXELS).permute(2, 0, 1) / 255
DRAWN: dict[str, Callable[[], style.Drawn]] = {
    "pictures": lambda: pictures.picture_row({"under": LIGHT, "over": LIGHT}, title="of $a_b$"),
    "bars": lambda: plots.term_bars({"tv": 0.3, "mse_over": 0.5}, {"tv": -0.3, "mse_over": 0.5}),
    "map": lambda: loss_pictures.cosine_map(torch.eye(2), ["tv", "mse_over"]),
    "dots": lambda: evaluation_figures.scores_by_method({"a": {"s": {"EN": 7.0}, "t": {"EN": -6.0}}}, ["EN"]),
    "wall": lambda: evaluation_figures.evaluation_wall(
        {"a": PIXELS, "b": PIXELS}, {"a": "EN 7"}, [evaluation_figures.Crop(3, 5, 12, 9)], title="hall"
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_figures_do_not_depend_on_the_settings_of_the_reader(name: str, tmp_path: Path) -> None:
    matplotlib.use("Agg")
    found = []
    for folder, settings in (("plain", {}), ("hostile", HOSTILE)):
        with matplotlib.rc_context(settings):
            before = dict(matplotlib.rcParams)
            figure, alt = DRAWN[name]()
            files = save_figure(figure, tmp_path / folder / name, formats=("svg",))
            found.append([alt, _png(figure, 60), *(path.read_bytes() for path in files)])
            assert dict(matplotlib.rcParams) == before
    assert found[0] == found[1]


def test_figures_of_the_reader_are_the_readers() -> None:
    with matplotlib.rc_context({"savefig.facecolor": "red"}):
        own, ours = matplotlib.figure.Figure(figsize=(1, 1)), style.new_figure(1, width=1)
        assert _png(own, 50) != _png(ours, 50)


def test_kernels_of_reports_have_matplotlibs_own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "matplotlibrc").write_text("figure.facecolor: black\ntext.usetex: True\nno.such.key: 1\n")
    monkeypatch.setenv("MATPLOTLIBRC", str(tmp_path))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path))
    code = "import matplotlib as m; print(m.rcParams['text.usetex'], m.rcParams['figure.facecolor'])"
    environments = (dict(os.environ), kernel_environment(tmp_path))
    command = [sys.executable, "-c", code]
    runs = [subprocess.run(command, env=one, capture_output=True, text=True) for one in environments]
    assert [run.stdout for run in runs] == ["True black\n", "False white\n"]
    assert "no.such.key" in runs[0].stderr and "no.such.key" not in runs[1].stderr
