"""The page of apps: ``python -m hsds_lib.reports.apps`` serves ``notebooks/explorers.ipynb`` by Voila, without code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from hsds_lib.reports.notebook import find_notebooks

IDLE_SECONDS = 1800
"""A kernel that nobody has moved anything in for so long is ended; reloading the page starts another."""
# Extensions of JupyterLab that break in Voila's page and have no use there.
_NOT_NEEDED = ("jupyterlab-jupytext", "@voila-dashboards/jupyterlab-preview")
TEMPLATES = Path(str(files("hsds_lib.reports"))) / "templates"
"""Where Voila's template lies that asks nothing of other machines."""


def arguments(notebook: Path, more: Sequence[str] = ()) -> list[str]:
    """The arguments of Voila: only this machine may connect, no source is shown, idle kernels end.

    Example:
        >>> arguments(Path("page.ipynb"), ["--port=1234"])[:2]
        ['page.ipynb', '--Voila.ip=127.0.0.1']
    """
    return [
        str(notebook),
        "--Voila.ip=127.0.0.1",
        "--template=hsds",
        "--strip_sources=True",
        *(f"--VoilaConfiguration.extension_denylist={name}" for name in _NOT_NEEDED),
        f"--MappingKernelManager.cull_idle_timeout={IDLE_SECONDS}",
        "--MappingKernelManager.cull_interval=120",
        *more,
    ]


def main(more: Sequence[str] | None = None) -> None:
    """Serve until interrupted; further arguments go to Voila."""
    os.environ["JUPYTER_PATH"] = str(TEMPLATES)  # read when Voila is imported and looks for templates
    os.environ["HSDS_WIDGETS"] = "live"
    from voila.app import Voila

    own = sys.argv[1:] if more is None else list(more)
    Voila.launch_instance(argv=arguments(find_notebooks() / "explorers.ipynb", own))


if __name__ == "__main__":
    main()
