"""Recorded runs that ship with the course: facts as JSON and pictures, in one zip file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from hsds_lib.config import PRESETS, SearchConfig, TrainConfig
from hsds_lib.runtime import atomic_path, parse_json

FOLDER = Path(str(files("hsds_lib.course"))) / "recordings"
"""Where the recordings that ship lie."""
State = Mapping[str, Any]
"""What was recorded of one state of an explorer."""
_FACTS = "facts.json"
_DATE = (2026, 1, 1, 0, 0, 0)  # the same for all, so that equal recordings are equal files


def write_recording(path: str | Path, facts: Mapping[str, Any], pictures: Mapping[str, bytes]) -> None:
    """Write facts (anything JSON can hold) and picture files by name into one zip, atomically."""
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        # Pictures are compressed already.
        _add(archive, _FACTS, text.encode(), zipfile.ZIP_DEFLATED)
        for name in sorted(pictures):
            _add(archive, name, pictures[name], zipfile.ZIP_STORED)


def read_recording(path: str | Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read what :func:`write_recording` wrote: the facts, and the pictures by name.

    ``FileNotFoundError`` where there is no such file; ``ValueError`` for a file that is no recording.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no recording {path}; the ones that ship lie in {FOLDER}")
    try:
        with zipfile.ZipFile(path) as archive:
            facts = parse_json(archive.read(_FACTS), f"{path} is no recording", "make it anew")
            return facts, {name: archive.read(name) for name in archive.namelist() if name != _FACTS}
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"{path} is no recording ({error}); make it anew") from None


def _add(archive: zipfile.ZipFile, name: str, content: bytes, compression: int) -> None:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.compress_type = compression
    archive.writestr(entry, content)


@dataclass(frozen=True)
class RecordedStudy:
    """A search and a training for every condition of Table 3 and every seed, and what they are judged by.

    Condition and seed are set in ``search`` and ``training``. Pictures are kept of the first embedded scene of the part
    ``shown``, which the training must not see. ``metrics`` are the paper's in its arithmetic, and the correct ones.
    """

    file: str
    search: SearchConfig
    training: TrainConfig
    shown: Literal["val", "test"]
    metrics: tuple[str, ...]


SEEDS = (0, 1, 2)
_PERCEPTUAL = ("perceptual_ref", "perceptual_under", "perceptual_over")
RECORDED_STUDIES = {
    "tiny": RecordedStudy(
        file="ablations.zip",
        search=PRESETS["tiny"].search.changed(epochs=5, steps_per_epoch=6, features="random"),
        training=PRESETS["tiny"].train.changed(
            epochs=1, steps_per_epoch=100, skip_terms=_PERCEPTUAL, features="random"
        ),
        shown="val",
        metrics=("SD", "VIF", "CC", "TMQI", "MS-SSIM", "MEF-SSIM", "SD_double", "VIF_double", "TMQI_255", "Qabf"),
    ),
    # The search of the preset "lesson" with 48 of its 120 steps, and the training of the models that ship, shorter.
    "photographs": RecordedStudy(
        file="ablations_photographs.zip",
        search=PRESETS["lesson"].search.changed(
            data="real", epochs=4, steps_per_epoch=12, lr_beta=5e-2, features="random"
        ),
        training=PRESETS["lesson"].train.changed(
            data="real", epochs=2, steps_per_epoch=100, batch_size=2, lr=4e-3, skip_terms=_PERCEPTUAL,
            jitter=True, fixed_statistics=0.5, range_weight=1.0, clip_norm=1.0, features="random",
        ),
        shown="test",
        metrics=("SD", "VIF", "MS-SSIM", "MEF-SSIM", "EN", "Qabf", "SD_double", "VIF_double", "TMQI_255_N"),
    ),
}  # fmt: skip
"""The studies that ship; ``python -m notebooks.tools.recordings.ablations`` records them."""
