"""The kernel that runs notebooks: this very interpreter, whatever Jupyter settings the machine has."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbformat import NotebookNode
from traitlets import default

import hsds_lib

SLIDE_TAGS = {
    "slide": "starts a slide, in the deck that hsds_lib.reports.slides makes of the notebook",
    "subslide": "starts a slide that goes on with the subject of the one before",
    "fragment": "appears on the slide before, one step later",
    "skip": "is not in the deck",
    "notes": "is in the speaker's notes",
}
"""Tags about slides; a cell has one of them at most, and most need none."""
PICTURES = {"image/png", "image/jpeg"}
KERNEL_NAME = "python3"
_LIBRARY_FOLDER = Path(hsds_lib.__file__).resolve().parent.parent


def read_notebook(path: str | Path) -> NotebookNode:
    """Read a notebook file, of any version as version 4; a ValueError says that it is none, or not well-formed."""
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except RecursionError:
        raise ValueError(f"{path} is no notebook (it is nested too deeply)") from None
    except (ValueError, LookupError, AttributeError, TypeError, nbformat.ValidationError) as error:
        raise ValueError(f"{path} is no notebook ({str(error).splitlines()[0][:200]})") from None
    return notebook


def kernel_manager(environment: Mapping[str, str]) -> type[AsyncKernelManager]:
    """A class for nbclient and papermill whose ``python3`` is the interpreter that runs this line.

    Jupyter looks kernels up in folders that ``JUPYTER_PATH``, ``JUPYTER_PREFER_ENV_PATH`` and the user's home can
    change. This manager looks in no folder at all, which leaves ipykernel's own entry.
    """

    class ThisInterpreter(AsyncKernelManager):
        @default("kernel_spec_manager")
        def _no_folders(self) -> KernelSpecManager:
            return KernelSpecManager(kernel_dirs=[], parent=self)

        async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
            # ipykernel otherwise writes of every kernel that the loopback connection is not encrypted, and of every
            # interrupt, to the terminal; errors of cells arrive as outputs.
            arguments = [*options.pop("extra_arguments", []), "--IPKernelApp.log_level=50"]
            await super().start_kernel(**{**options, "extra_arguments": arguments, "env": dict(environment)})

    return ThisInterpreter


def kernel_environment(ipython_folder: str | Path, **changes: str | None) -> dict[str, str]:
    """Environment variables for a kernel: those of this process, less what would change a notebook's outputs.

    The library is the one imported here, the plots are inline whatever ``MPLBACKEND`` says and look as matplotlib
    draws them, and the user's IPython start-up files stay out, for which ``ipython_folder`` stands. ``changes`` are
    variables to set, or with ``None`` to remove.
    """
    from matplotlib import get_data_path  # not at the top: much here needs no plots

    paths = [str(_LIBRARY_FOLDER), os.environ.get("PYTHONPATH", "")]
    changes = {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "IPYTHONDIR": str(ipython_folder),
        "MPLBACKEND": None,
        "MATPLOTLIBRC": str(Path(get_data_path()) / "matplotlibrc"),
        "PYTHONWARNINGS": None,
        "HSDS_WIDGETS": "static",  # nobody is there to move a live explorer
        **changes,
    }
    kept = {name: value for name, value in os.environ.items() if name not in changes}
    return kept | {name: value for name, value in changes.items() if value is not None}


def find_notebooks() -> Path:
    """The folder ``notebooks`` of the checkout that this library runs from; outside one, a ``FileNotFoundError``."""
    folder = _LIBRARY_FOLDER / "notebooks"
    if not (folder / "src").is_dir():
        raise FileNotFoundError(
            f"there is no folder {folder / 'src'}: notebooks are part of a checkout, not of the installed library; "
            "clone the project and install it with 'make' there"
        )
    return folder


def tags(cell: NotebookNode) -> list[str]:
    """The tags of a cell."""
    return list(cell.metadata.get("tags", []))


def first_error(notebook: NotebookNode) -> tuple[int, NotebookNode] | None:
    """Position (in ``notebook.cells``) and output of the first error; cells tagged ``raises-exception`` may raise."""
    for position, cell in enumerate(notebook.cells):
        if cell.cell_type != "code" or "raises-exception" in tags(cell):
            continue
        for output in cell.outputs:
            if output.output_type == "error":
                return position, output
    return None


_OVERWRITTEN = re.compile(r"[^\n]*\r(?=[^\n])")  # by a progress bar's next state


def join_streams(notebook: NotebookNode) -> None:
    """Join neighbouring pieces of stdout, and of stderr, in place; what other outputs stand between stays apart."""
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        joined: list[NotebookNode] = []
        for printed, outputs in groupby(cell.outputs, key=lambda output: output.output_type == "stream"):
            together = list(outputs)
            joined += _by_name(together) if printed else together
        cell.outputs = joined


def _by_name(outputs: Iterable[NotebookNode]) -> list[NotebookNode]:
    found: dict[str, NotebookNode] = {}
    for output in outputs:
        if output.name in found:
            found[output.name].text += output.text
        else:
            found[output.name] = output
    for output in found.values():
        output.text = _OVERWRITTEN.sub("", output.text)
    return list(found.values())


def alt_text(output: NotebookNode) -> str:
    """The alternative text of a displayed picture, or an empty string."""
    metadata = output.get("metadata", {})
    return next((metadata[kind]["alt"] for kind in PICTURES if metadata.get(kind, {}).get("alt")), "")


def pictures(cell: NotebookNode) -> list[NotebookNode]:
    """The outputs of a code cell that are pictures."""
    return [output for output in cell.get("outputs", []) if PICTURES & output.get("data", {}).keys()]
