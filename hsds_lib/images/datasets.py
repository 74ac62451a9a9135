"""Where the images of a data set lie on disk, and which scene belongs to which split.

Nothing is read here but file names, and the split file of MEFB.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal, get_args

from hsds_lib.images.io import IMAGE_SUFFIXES, ImageError, find_image


class DataError(ValueError):
    """Data that is missing or cannot be used; the message says what to set, fetch or change."""


@dataclass(frozen=True)
class SceneFiles:
    """The image files of one scene.

    Example:
        >>> SceneFiles("hall", Path("hall/under.png"), Path("hall/over.png"), ref=None).under.name
        'under.png'
    """

    name: str
    under: Path
    over: Path
    ref: Path | None


def list_images(folder: Path) -> list[Path]:
    """List all images in a folder and its sub-folders.

    Args:
        folder: where to look.

    Returns:
        At least one path, sorted; a file is an image by its suffix.

    Raises:
        DataError: there is none.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("b.png", "a.JPG", "notes.txt"):
        ...         (Path(folder) / name).touch()
        ...     [path.name for path in list_images(Path(folder))]
        ['a.JPG', 'b.png']
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if not found:
        raise DataError(f"{folder} holds no images ({', '.join(IMAGE_SUFFIXES)})")
    return found


def scan(folder: Path) -> list[SceneFiles]:
    """List the scenes of a folder that is not divided further.

    Args:
        folder: with ``<scene>/{under,over[,ref]}.*``, or ``{under,over[,ref]}/NNN.*``.

    Returns:
        At least one scene, sorted by name.

    Raises:
        DataError: there is none, or one is incomplete.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     for path in ("under/1.png", "over/1.png"):
        ...         (Path(name) / path).parent.mkdir()
        ...         (Path(name) / path).touch()
        ...     [scene.name for scene in scan(Path(name))]
        ['1']
    """
    by_role = (folder / "under").is_dir() and (folder / "over").is_dir()
    scenes = _scan_roles(folder) if by_role else _scan_scenes(folder)
    if not scenes:
        raise DataError(
            f"{folder} holds no scenes; expected <scene>/{{under,over[,ref]}}.* or {{under,over[,ref]}}/NNN.*"
        )
    return scenes


def _scan_scenes(folder: Path) -> list[SceneFiles]:
    scenes = []
    for scene in sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        scenes.append(_complete(scene.name, scene, {role: _find(scene, role) for role in ("under", "over", "ref")}))
    return scenes


def _scan_roles(folder: Path) -> list[SceneFiles]:
    stems = {path.stem for role in ("under", "over") for path in list_images(folder / role)}
    roles = ("under", "over", "ref")
    return [_complete(stem, folder, {role: _find(folder / role, stem) for role in roles}) for stem in sorted(stems)]


def _find(folder: Path, stem: str) -> Path | None:
    try:
        return find_image(folder, stem)
    except ImageError as error:
        raise DataError(str(error)) from error


def _complete(name: str, place: Path, found: dict[str, Path | None]) -> SceneFiles:
    under, over = found["under"], found["over"]
    if under is None or over is None:
        missing = "under" if under is None else "over"
        raise DataError(f"scene '{name}' in {place} has no '{missing}' image; add it or remove the scene")
    return SceneFiles(name, under, over, found["ref"])


Split = Literal["train", "val", "test"]
NAMED_SETS = ("mefb", "sice_sample", "sice", "natural", "coco")
DATA_VARIABLE = "HSDS_DATA"
MEFB_TEST = "mefb_test"  # MEFB's scenes for final evaluation, where they are kept apart

# Of the four triples of the SICE sample one is held out, always the same.
_SICE_SAMPLE_VAL = ("003",)


def check_split(split: str) -> None:
    """Refuse anything but "train", "val" and "test".

    Args:
        split: name of a split.

    Raises:
        DataError: for any other name.

    Example:
        >>> check_split("val")
        >>> check_split("validation")
        Traceback (most recent call last):
        hsds_lib.images.datasets.DataError: split 'validation' is not known; use one of train, val, test
    """
    if split not in get_args(Split):
        raise DataError(f"split '{split}' is not known; use one of {', '.join(get_args(Split))}")


def data_folder(data: str | Path) -> Path:
    """Give the folder of a data set.

    Args:
        data: a name in ``HSDS_DATA`` (``NAMED_SETS``) or any folder. A name wins over a folder called
            like it.

    Returns:
        An existing folder.

    Raises:
        DataError: ``HSDS_DATA`` is not set or has no such folder, or the folder does not exist.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     data_folder(folder) == Path(folder)
        True
        >>> data_folder("mebf")
        Traceback (most recent call last):
        hsds_lib.images.datasets.DataError: data 'mebf' is no folder and none of embedded, real, mefb, ...
    """
    if str(data) not in NAMED_SETS:
        folder = Path(data)
        if not folder.is_dir():
            raise DataError(f"data '{data}' is no folder and none of embedded, real, {', '.join(NAMED_SETS)}")
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


def list_scenes(folder: Path, split: Split, *, seed: int = 0) -> list[SceneFiles]:
    """List the scenes of one split of a folder, by name.

    - A folder called ``mefb``: the split file that ships with the library decides; its scenes for final evaluation
      may lie in ``mefb_test`` beside it, which holds nothing for training.
    - ``{train,test}/``, each with ``{under,over[,ref]}/NNN.*`` or ``<scene>/{under,over[,ref]}.*``: a
      fifth of ``train`` is val (in a folder called ``sice_sample``: scene 003); ``test`` is test.
    - ``<scene>/{under,over[,ref]}.*``, or ``{under,over[,ref]}/NNN.*`` without train and test: a fifth is
      test, a fifth of the rest is val, so that a model is never tested on what it was trained on.

    The shares are drawn by ``seed`` from the scenes' names, in whatever order the disk lists them.

    Args:
        folder: the data set.
        split: "train", "val" or "test".
        seed: of the drawn shares.

    Returns:
        At least one scene.

    Raises:
        DataError: the split is empty, the layout is not known, or a scene is incomplete or not in the
            split file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     folder = Path(name)
        ...     for scene in ("arch", "bay", "cave", "dune", "elm"):
        ...         (folder / scene).mkdir()
        ...         for role in ("under", "over"):
        ...             (folder / scene / f"{role}.png").touch()  # only names are read here
        ...     {split: [scene.name for scene in list_scenes(folder, split)] for split in ("train", "val", "test")}
        {'train': ['arch', 'dune', 'elm'], 'val': ['cave'], 'test': ['bay']}
    """
    if is_called(folder, "mefb") or is_called(folder, MEFB_TEST):
        return _list_mefb(folder, split)
    if (folder / "train").is_dir() or (folder / "test").is_dir():
        return _list_train_test(folder, split, seed)
    scenes = scan(folder)
    test = _drawn_fifth([scene.name for scene in scenes], seed, least=len(scenes) >= 3)
    rest = [scene.name for scene in scenes if scene.name not in test]
    val = _drawn_fifth(rest, seed, least=len(rest) >= 2)
    wanted = {"train": set(rest) - val, "val": val, "test": test}[split]
    return _require_some(folder, split, [scene for scene in scenes if scene.name in wanted])


def all_scenes(folder: Path) -> list[SceneFiles]:
    """List the scenes of all splits of a folder, but for MEFB's test scenes, which are for final evaluation only.

    Args:
        folder: the data set, in one of the layouts of :func:`list_scenes`.

    Returns:
        At least one scene, sorted by name.

    Raises:
        DataError: there is none, one is incomplete, or two have one name.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name:
        ...     for path in ("train/under/1.png", "train/over/1.png", "test/under/2.png", "test/over/2.png"):
        ...         (Path(name) / path).parent.mkdir(parents=True, exist_ok=True)
        ...         (Path(name) / path).touch()
        ...     [scene.name for scene in all_scenes(Path(name))]
        ['1', '2']
    """
    if is_called(folder, "mefb"):
        allowed = {*mefb_split()["train"], *mefb_split()["val"]}
        return _require_some(folder, "train or val", [scene for scene in scan(folder) if scene.name in allowed])
    parts = [folder / name for name in ("train", "test") if (folder / name).is_dir()] or [folder]
    scenes = sorted((scene for part in parts for scene in scan(part)), key=lambda scene: scene.name)
    names = [scene.name for scene in scenes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{folder} has a scene '{twice}' in train and in test; take one split")
    return scenes


def mefb_split() -> dict[Split, list[str]]:
    """Read which of MEFB's scenes are for training, validation and final evaluation.

    Returns:
        The names of the scenes by split. Those of "test" are for final evaluation only.

    Example:
        >>> {split: len(names) for split, names in mefb_split().items()}
        {'train': 28, 'val': 12, 'test': 60}
    """
    text = (files("hsds_lib.images") / "mefb_split.json").read_text(encoding="utf-8")
    content = json.loads(text)
    return {"train": content["train"], "val": content["val"], "test": content["test"]}


def is_called(folder: Path, name: str) -> bool:
    """Whether a folder has a name, as given or behind a link, so that no link can open MEFB's test scenes.

    Args:
        folder: it need not exist.
        name: such as ``mefb``.

    Returns:
        True when one of its two names is that.

    Example:
        >>> is_called(Path("data/mefb"), "mefb")
        True
    """
    return name in {folder.name, folder.resolve().name}


def _list_mefb(folder: Path, split: Split) -> list[SceneFiles]:
    names = mefb_split()
    apart = folder.with_name(MEFB_TEST)
    scenes = scan(folder)
    if split == "test" and is_called(folder, "mefb") and apart.is_dir():
        scenes += scan(apart)
    unknown = sorted({scene.name for scene in scenes} - set().union(*names.values()))
    if unknown:
        raise DataError(f"{folder} holds '{unknown[0]}', which is no scene of MEFB's split file; move it elsewhere")
    chosen = [scene for scene in scenes if scene.name in names[split]]
    if not chosen and split == "test":
        raise DataError(f"{folder} holds none of the 60 MEFB scenes for final evaluation; fetch them, or use split val")
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
        sample = is_called(folder, "sice_sample")
        val = set(_SICE_SAMPLE_VAL) if sample else _drawn_fifth(names, seed, least=len(names) >= 2)
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
