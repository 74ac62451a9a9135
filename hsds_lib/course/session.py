"""What the set-up cell of a notebook calls: settings, device and a place for results, in one line."""

from __future__ import annotations

import platform
import re
import tempfile
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import hsds_lib
from hsds_lib.config import SearchConfig, TrainConfig
from hsds_lib.config import preset as find_preset
from hsds_lib.course.tables import Table
from hsds_lib.runtime import pick_device, provenance


class Colophon(Table):
    """A table of facts whose times are marked with ``data-varies``: all that differs when a notebook runs again."""

    VARIES = ("written", "duration")

    def _repr_html_(self) -> str:
        shown = super()._repr_html_()
        for name in self.VARIES:
            shown = re.sub(rf"(<td[^>]*>{name}</td><td)", r"\1 data-varies", shown)
        return shown


@dataclass(frozen=True)
class Session:
    """Everything a notebook was started with; ``out`` is the folder for its results, and need not exist yet."""

    notebook: str
    preset: str
    search: SearchConfig
    train: TrainConfig
    device: str
    out: Path
    began: float = field(default_factory=time.perf_counter, repr=False)
    _temporary: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)

    def colophon(self, **facts: Any) -> Table:
        """Tell how this execution came about, and further facts, as a folded table for a notebook's end."""
        origin = provenance(seed=self.search.seed, data=self.search.data, preset=self.preset, **facts)
        packages = ", ".join(f"{name} {version}" for name, version in origin.pop("packages").items())
        rows = [(name, str(value)) for name, value in origin.items()]
        seconds = f"{time.perf_counter() - self.began:.0f} s since the set-up cell"
        title = f"Provenance of this execution of {self.notebook}"
        return Colophon(("what", "value"), [*rows, ("packages", packages), ("duration", seconds)], title=title)


def start(
    preset: str, *, notebook: str, data: str = "embedded", seed: int = 0, device: str = "auto", out: str = ""
) -> Session:
    """Check a notebook's parameters and print one line that says what it will run with.

    ``data`` is ``embedded``, the name of a data set in ``HSDS_DATA``, or a folder. The device ``auto`` is the CPU for
    ``tiny``, which is too small to gain from anything else, and otherwise the best there is. Without ``out``, ``tiny``
    writes into a folder that vanishes with the kernel, and the others into a new one under ``runs``. An unknown preset,
    an impossible setting or a device that is not here is a ``ValueError``.
    """
    chosen = find_preset(preset)
    search, train = (settings.changed(data=data, seed=seed) for settings in (chosen.search, chosen.train))
    place = "cpu" if (preset, device) == ("tiny", "auto") else pick_device(device).type
    temporary = tempfile.TemporaryDirectory(prefix=f"{notebook}-") if preset == "tiny" and not out else None
    if temporary is not None:
        folder = Path(temporary.name)
    elif out:
        folder = Path(out).expanduser().resolve()
    else:
        folder = _runs_folder() / f"{notebook}-{preset}-{datetime.now():%Y%m%d-%H%M%S}"
    session = Session(notebook, preset, search, train, place, folder, _temporary=temporary)
    print(
        f"{notebook}: preset {preset}, data {data}, seed {seed}, on {place}; "
        f"hsds_lib {hsds_lib.__version__}, Python {platform.python_version()}"
    )
    return session


def _runs_folder() -> Path:
    """``runs`` in the checkout, which git ignores, wherever the kernel was started; else in the working folder."""
    checkout = Path(hsds_lib.__file__).resolve().parent.parent
    return (checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()) / "runs"
