"""Google Colab, whose Python has most of what is needed: ``python -m notebooks.tools.cloud`` prints, for pip, the rest.

That is what ``pyproject.toml`` asks for, less what Colab brings along and what the notebooks do not import.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version

from hsds_lib.reports.notebook import find_notebooks

# fmt: off
PREINSTALLED = frozenset({
    "beautifulsoup4", "ipykernel", "ipywidgets", "jinja2", "lazy-loader", "matplotlib", "nbclient", "nbconvert",
    "nbformat", "numpy", "opencv-python-headless", "pandas", "pillow", "pooch", "pydantic", "pygments", "safetensors",
    "scikit-image", "scipy", "torch", "tqdm", "typer",
})
# fmt: on
"""What Colab is known to bring along, in versions that its own packages need: never replaced there."""
FIRST_CELL = """\
from importlib.util import find_spec

if find_spec("google") and find_spec("google.colab") and not find_spec("hsds_lib"):
    raise SystemExit("This is Colab without the course: notebooks/guides/cloud.md says what to run first.")
"""
"""What a notebook may begin with, so that Colab says what to do; anywhere else it does nothing. The library cannot ask
this itself: where the cell matters, there is none."""
NOT_IN_CLOUD = frozenset({"jupyterlab", "voila", "dask", "distributed"})
"""Programs in place of which Colab has its own page, and what only ``hsds sweep`` needs."""


def missing_in_colab() -> list[str]:
    """List the requirements to install in Colab, such as ``kornia>=0.8``, in the order of ``pyproject.toml``."""
    pyproject = find_notebooks().parent / "pyproject.toml"
    lines = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["dependencies"]
    return [line for line in lines if _name(line) not in PREINSTALLED | NOT_IN_CLOUD]


def _name(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower()


def missing_here(requirements: Iterable[str], *, installed: Callable[[str], str] = version) -> list[str]:
    """Leave of requirements those whose package is not installed, in whatever version."""

    def is_missing(requirement: str) -> bool:
        try:
            installed(_name(requirement))
        except PackageNotFoundError:
            return True
        return False

    return [requirement for requirement in requirements if is_missing(requirement)]


def main() -> int:
    """Print what is to be installed here, for ``pip install``."""
    print(" ".join(missing_here(missing_in_colab())))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
