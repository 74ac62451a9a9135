"""ONE table of data sets, where their images lie on disk, and which scene belongs to which split.

Nothing is read here but file names, and the split files that ship.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal, get_args

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


def list_images(folder: Path) -> list[Path]:
    """List all images in a folder and its sub-folders, sorted; a file is an image by its suffix. DataError for none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not found:
        raise DataError(f"{folder} holds no images ({', '.join(IMAGE_SUFFIXES)})")
    return found


def repeated(names: Sequence[str]) -> str | None:
    """Give the first name that comes more than once."""
    return next((name for name in names if names.count(name) > 1), None)


@dataclass(frozen=True)
class SceneFiles:
    """The image files of one scene."""

    name: str
    under: Path
    over: Path
    ref: Path | None


_ROLES = ("under", "over", "ref")


def scan(folder: Path) -> list[SceneFiles]:
    """List the scenes of a folder that is not divided further, sorted by name.

    It holds ``<scene>/{under,over[,ref]}.*``, or ``{under,over[,ref]}/NNN.*``. DataError if there are none, or if one
    is incomplete.
    """
    if (folder / "under").is_dir() and (folder / "over").is_dir():
        stems = {path.stem for role in ("under", "over") for path in list_images(folder / role)}
        scenes = [_scene(stem, folder, {role: (folder / role, stem) for role in _ROLES}) for stem in sorted(stems)]
    else:
        places = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        scenes = [_scene(place.name, place, {role: (place, role) for role in _ROLES}) for place in places]
    if not scenes:
        raise DataError(
            f"{folder} holds no scenes; expected <scene>/{{under,over[,ref]}}.* or {{under,over[,ref]}}/NNN.*"
        )
    return scenes


def _scene(name: str, place: Path, wanted: dict[str, tuple[Path, str]]) -> SceneFiles:
    try:
        found = {role: find_image(folder, stem) for role, (folder, stem) in wanted.items()}
    except ImageError as error:
        raise DataError(str(error)) from error
    under, over = found["under"], found["over"]
    if under is None or over is None:
        missing = "under" if under is None else "over"
        raise DataError(f"scene '{name}' in {place} has no '{missing}' image; add it or remove the scene")
    return SceneFiles(name, under, over, found["ref"])


def list_scenes(folder: Path, split: Split, *, seed: int = 0) -> list[SceneFiles]:
    """List the scenes of one split of a folder, by name; DataError if there are none or the layout is not known.

    - A data set with a split file: that decides; the scenes for final evaluation may lie in a folder beside it, which
      holds nothing for training. No other scene may be there.
    - ``{train,test}/``, each with ``{under,over[,ref]}/NNN.*`` or ``<scene>/{under,over[,ref]}.*``: a fifth of
      ``train`` is val, or the scenes that the table names; ``test`` is test.
    - ``<scene>/{under,over[,ref]}.*``, or ``{under,over[,ref]}/NNN.*`` without train and test: a fifth is
      test, a fifth of the rest is val, so that a model is never tested on what it was trained on.

    The shares are drawn by ``seed`` from the scenes' names, in whatever order the disk lists them.
    """
    called = (folder.name, Path(os.path.realpath(folder)).name)
    known = next((one for one in DATA_SETS.values() if one.split_file and {one.name, one.apart} & {*called}), None)
    if known is not None:
        return _list_known(folder, split, known, beside=known.name in called)
    if (folder / "train").is_dir() or (folder / "test").is_dir():
        return _list_train_test(folder, split, seed)
    scenes = scan(folder)
    test = _drawn_fifth([scene.name for scene in scenes], seed, least=len(scenes) >= 3)
    rest = [scene.name for scene in scenes if scene.name not in test]
    val = _drawn_fifth(rest, seed, least=len(rest) >= 2)
    wanted = {"train": set(rest) - val, "val": val, "test": test}[split]
    return _require_some(folder, split, [scene for scene in scenes if scene.name in wanted])


def all_scenes(folder: Path) -> list[SceneFiles]:
    """List the scenes of all splits of a folder, sorted by name, but for test scenes that a split file keeps apart.

    DataError if there are none, one is incomplete, or two have one name.
    """
    names = split_names(set_of(folder).name)
    if names:
        allowed = {*names["train"], *names["val"]}
        return _require_some(folder, "train or val", [scene for scene in scan(folder) if scene.name in allowed])
    parts = [folder / name for name in ("train", "test") if (folder / name).is_dir()] or [folder]
    scenes = sorted((scene for part in parts for scene in scan(part)), key=lambda scene: scene.name)
    listed = [scene.name for scene in scenes]
    twice = repeated(listed)
    if twice is not None:
        raise DataError(f"{folder} has a scene '{twice}' in train and in test; take one split")
    return scenes


def _list_known(folder: Path, split: Split, known: DataSet, *, beside: bool) -> list[SceneFiles]:
    names, apart = split_names(known.name), folder.with_name(known.apart)
    scenes = scan(folder)
    if split == "test" and beside and apart.is_dir():
        scenes += scan(apart)
    unknown = sorted({scene.name for scene in scenes} - set().union(*names.values()))
    if unknown:
        raise DataError(
            f"{folder} holds '{unknown[0]}', which is no scene of {known.title}'s split file; move it elsewhere"
        )
    chosen = [scene for scene in scenes if scene.name in names[split]]
    if not chosen and split == "test":
        raise DataError(
            f"{folder} holds none of the {len(names['test'])} {known.title} scenes for final evaluation; fetch them, "
            "or use split val"
        )
    return _require_some(folder, split, chosen)


def _list_train_test(folder: Path, split: Split, seed: int) -> list[SceneFiles]:
    part = folder / ("test" if split == "test" else "train")
    if not part.is_dir():
        raise DataError(
            f"{folder} has no folder '{part.name}', so there is no {split} split; use another split or data"
        )
    scenes = scan(part)
    if split != "test":
        names = [scene.name for scene in scenes]
        val = set(set_of(folder).val) or _drawn_fifth(names, seed, least=len(names) >= 2)
        scenes = [scene for scene in scenes if (scene.name in val) == (split == "val")]
    return _require_some(folder, split, scenes)


def _require_some(folder: Path, split: str, scenes: list[SceneFiles]) -> list[SceneFiles]:
    if not scenes:
        raise DataError(f"{folder} has too few scenes for a {split} split; add scenes or use data 'embedded'")
    return scenes


def _drawn_fifth(names: list[str], seed: int, *, least: bool) -> set[str]:
    # Ordered by a hash of the name: independent of the other names and of Python's own hash seed.
    drawn = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    return set(drawn[: max(round(len(names) / 5), int(least))])
