"""ONE table of data sets, where their images lie on disk, and which scene belongs to which split.

Nothing is read here but file names, and the split files that ship.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal, get_args

from hsds_lib.outputs import MARKER

Split = Literal["train", "val", "test"]
DATA_VARIABLE = "HSDS_DATA"
IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".webp", ".bmp"),
    *(".avif", ".heic", ".heif"),
)


class ImageError(ValueError):
    """An image file that cannot be used as it is; the message names the file and what to do."""


class DataError(ValueError):
    """Data that is missing or cannot be used; the message says what to set, fetch or change."""


@dataclass(frozen=True)
class DataSet:
    """What a name in ``--data`` stands for. What can be fetched, and under which licence, ``hsds data list`` says."""

    name: str  # also of its folder in HSDS_DATA
    title: str = ""  # as its authors write it
    parts: tuple[str, ...] = ()  # it is these sets together, and has no folder of its own
    in_memory: bool = False  # simulated from photographs that come with scikit-image; it has no folder either
    naturals: bool = False  # natural images instead of exposures
    split_file: str = ""  # ships beside this module and names the scenes of each split; without one they are drawn
    apart: str = ""  # folder of the test scenes, which are kept for one final evaluation
    val: tuple[str, ...] = ()  # scenes held out of train/ instead of a drawn fifth
    recorded: bool = False  # scores of other methods on it come with the library


DATA_SETS: dict[str, DataSet] = {
    one.name: one
    for one in (
        DataSet("embedded", in_memory=True),
        DataSet("real", parts=("mefb", "sice_sample")),
        DataSet("mefb", "MEFB", split_file="mefb_split.json", apart="mefb_test", recorded=True),
        DataSet("sice_sample", "SICE", val=("003",)),
        DataSet("sice", "SICE"),
        DataSet("natural", naturals=True),
        DataSet("coco", "COCO", naturals=True),
        DataSet("real+embedded", parts=("real", "embedded")),
    )
}
"""A further data set is a line here, and an entry in ``data_scripts/entries.json`` if it can be fetched."""
NAMED_SETS = tuple(name for name, one in DATA_SETS.items() if not one.parts and not one.in_memory)
"""Those that are a folder in ``HSDS_DATA``."""
SCENE_SETS = tuple(name for name, one in DATA_SETS.items() if not one.naturals)
"""Those that a search or a training can take."""


def parts_of(data: str | Path) -> list[str]:
    """List the sets that a name joins, such as "real"; any other name, and a folder, is one by itself.

    Example:
        >>> parts_of("real+embedded")
        ['mefb', 'sice_sample', 'embedded']
    """
    one = DATA_SETS.get(str(data))
    return [part for joined in one.parts for part in parts_of(joined)] if one and one.parts else [str(data)]


def is_in_memory(data: str | Path) -> bool:
    """Say whether a name stands for scenes that are simulated, and that no file holds."""
    one = DATA_SETS.get(str(data))
    return one is not None and one.in_memory


def set_of(folder: str | Path) -> DataSet:
    """Say which data set a folder holds, by its name, as given or behind a link; else one without properties.

    No link can so open test scenes that are kept apart. The folder need not exist.
    """
    folder = Path(folder)
    called = (folder.name, Path(os.path.realpath(folder)).name)
    found = [DATA_SETS[name] for name in NAMED_SETS if name in called]
    return max(found, key=lambda one: bool(one.apart), default=DataSet(folder.name))


def shown_split(data: str | Path) -> Split:
    """Say from which split a lesson takes scenes that neither search nor training saw; a folder need not exist.

    It is "val" where the test scenes of a part are kept for one final evaluation, else "test".

    Example:
        >>> shown_split("embedded"), shown_split("real")
        ('test', 'val')
    """
    return "val" if any(set_of(part).apart for part in parts_of(data)) else "test"


def split_names(name: str) -> dict[Split, list[str]]:
    """Read which scenes of a data set are for training, validation and final evaluation; empty without a split file.

    Example:
        >>> {split: len(names) for split, names in split_names("mefb").items()}
        {'train': 28, 'val': 12, 'test': 60}
    """
    one = DATA_SETS.get(name)
    if one is None or not one.split_file:
        return {}
    content = json.loads((files("hsds_lib.images") / one.split_file).read_text(encoding="utf-8"))
    return {split: content[split] for split in get_args(Split)}


def check_split(split: str) -> None:
    """Refuse anything but "train", "val" and "test" by a DataError."""
    if split not in get_args(Split):
        raise DataError(f"split '{split}' is not known; use one of {', '.join(get_args(Split))}")


def data_folder(data: str | Path) -> Path:
    """Give the existing folder of a data set: one of ``NAMED_SETS`` in ``HSDS_DATA``, or any folder.

    A name wins over a folder called like it. DataError says what is missing, and what to do.
    """
    if str(data) not in NAMED_SETS:
        folder = Path(data)
        if not folder.is_dir():
            raise DataError(f"data '{data}' is no folder and none of {', '.join(DATA_SETS)}")
        return folder
    root = os.environ.get(DATA_VARIABLE)
    if not root:
        raise DataError(
            f"data '{data}' is looked for in the folder that {DATA_VARIABLE} names, and that is not set; "
            "set it, or use data 'embedded', which needs no files"
        )
    folder = Path(root) / str(data)
    if not folder.is_dir():
        raise DataError(
            f"{DATA_VARIABLE} is {root} and holds no folder '{data}'; fetch that data set, "
            "or use data 'embedded', which needs no files"
        )
    return folder


def find_image(folder: str | Path, stem: str) -> Path | None:
    """Find the one image called ``stem`` in a folder, whatever its known suffix; None when there is none.

    Only where no name is exactly so, case does not matter (``Under.JPG``). ImageError if several have this name
    (``under.png`` and ``under.jpg``).
    """
    images = [entry for entry in sorted(Path(folder).glob("*")) if entry.suffix.lower() in IMAGE_SUFFIXES]
    found = [entry for entry in images if entry.stem == stem and entry.is_file()]
    found = found or [entry for entry in images if entry.stem.lower() == stem.lower() and entry.is_file()]
    if len(found) > 1:
        names = " and ".join(entry.name for entry in found)
        raise ImageError(f"{folder} holds {names}, so '{stem}' is ambiguous; keep one of them")
    return found[0] if found else None


def require_image(folder: str | Path, stem: str) -> Path:
    """Find the one image called ``stem`` in a folder; ImageError if there is none, or several have this name."""
    path = find_image(folder, stem)
    if path is None:
        names = [entry.name for entry in sorted(Path(folder).glob("*"))]
        near = sorted(names, key=lambda name: not name.lower().startswith(stem.lower()))
        held = ", ".join(near[:5]) + (f" and {len(near) - 5} more" if len(near) > 5 else "")
        raise ImageError(
            f"no image named {stem}.* in {folder}, which holds {held or 'nothing'}; images end in "
            f"{', '.join(IMAGE_SUFFIXES)}"
        )
    return path


def is_junk(name: str) -> bool:
    """Say whether a file or folder is what systems and programs leave behind: hidden, ``@eaDir``, ``__MACOSX`` ..."""
    return name.startswith((".", "@")) or name.lower() in {"__macosx", "thumbs.db", "desktop.ini"}


def listed(folder: Path) -> list[Path]:
    """List what lies in a folder, sorted, but for junk and for folders that a command made."""
    return sorted(path for path in folder.iterdir() if not is_junk(path.name) and not (path / MARKER).is_file())


def images_in(folder: Path) -> list[Path]:
    """List the images that lie in a folder itself, sorted; a file is an image by its suffix."""
    return [path for path in listed(folder) if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]


def list_images(folder: Path) -> list[Path]:
    """List all images in a folder and its sub-folders, sorted; a file is an image by its suffix. DataError for none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    found = [path for path in found if not any(map(is_junk, path.relative_to(folder).parts))]
    if not found:
        raise DataError(f"{folder} holds no images ({', '.join(IMAGE_SUFFIXES)})")
    return found


def repeated(names: Sequence[str]) -> str | None:
    """Give the first name that comes more than once."""
    return next((name for name in names if names.count(name) > 1), None)
