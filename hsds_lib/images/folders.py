"""Which files in a folder are the exposures of one scene, and in which split the scene is.

Names say which files belong together; where they do not say ``under`` and ``over``, mean luma orders them. That is the
one rule for everything that takes a folder: fusing, metrics, evaluations, searches and trainings.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from hsds_lib.images.color import mean_luma
from hsds_lib.images.datasets import (
    DATA_SETS,
    DataError,
    DataSet,
    ImageError,
    Split,
    find_image,
    images_in,
    list_images,
    listed,
    repeated,
    require_image,
    set_of,
    split_names,
)
from hsds_lib.images.io import read_rgb

MOST_EXPOSURES = 9
LAYOUTS = (
    "<scene>/{under,over[,ref]}.*, {under,over[,ref]}/<scene>.*, <scene>/ with 2 to 9 exposures, "
    "<scene>_A.* with <scene>_B.*, or <scene>(-2).* with <scene>(+2).*"
)
"""What a folder of scenes may look like."""
_ROLES = ("under", "over", "ref")
_EV = r"[+-]?\d+(?:[.,]\d+)?"
_MARKED = re.compile(
    rf"(?P<scene>.+?)(?:_[A-I]|[ _]?\((?P<ev>{_EV})(?: ?EV)?\)|_(?=[+-]){_EV}(?: ?EV)?)", re.IGNORECASE
)
_NAMES_SHOWN = 4


@dataclass(frozen=True)
class SceneFiles:
    """The image files of one scene; ``between`` are further exposures, from dark to bright.

    ``by_luma`` says that their mean luma decided on the order, and not their names.
    """

    name: str
    under: Path
    over: Path
    ref: Path | None
    between: tuple[Path, ...] = ()
    by_luma: bool = False

    @property
    def exposures(self) -> tuple[Path, ...]:
        """All but the reference, from dark to bright."""
        return (self.under, *self.between, self.over)


@dataclass(frozen=True)
class SceneFolder:
    """What lies in a folder: its layout in words, and by name, sorted, a scene or why it is none."""

    layout: str
    found: dict[str, SceneFiles | str]


def look(folder: str | Path) -> SceneFolder:
    """Find the scenes of a folder that is not divided further, sorted by name; ``LAYOUTS`` says what it may look like.

    Junk is passed over, and folders that a command made. Files called under and over are taken as such; else names only
    say which files belong together, and the one of least mean luma is ``under``, the one of most ``over``. In a folder
    of one scene ``ref.*`` is its reference. DataError if there are no scenes, whatever is wrong with them.
    """
    root = Path(folder)
    layout, wanted = _candidates(root) if root.is_dir() else ("", {})
    if not wanted:
        lies = listed(root) if root.is_dir() else []
        names = ", ".join(path.name for path in lies[:_NAMES_SHOWN]) + (" ..." if len(lies) > _NAMES_SHOWN else "")
        there = f"there lie {names}" if lies else "it is empty" if root.is_dir() else "it is no folder"
        raise DataError(f"'{folder}' holds no scenes ({there}); expected {LAYOUTS}")
    return SceneFolder(layout, {name: _found(name, find) for name, find in wanted.items()})


def _found(name: str, find: Callable[[], SceneFiles]) -> SceneFiles | str:
    """A scene, or what is wrong with it."""
    try:
        name.encode()
        return find()
    except UnicodeEncodeError:
        return f"the name {name!a} is not UTF-8; rename the file or folder"
    except MemoryError:
        return "out of memory while looking which exposure is darker; reduce the pictures"
    except (ImageError, OSError) as error:
        return str(error)


def _candidates(root: Path) -> tuple[str, Mapping[str, Callable[[], SceneFiles]]]:
    """The layout of a folder, and by name, sorted, what finds the files of a scene."""
    if (root / "under").is_dir() and (root / "over").is_dir():
        stems = sorted({path.stem for role in ("under", "over") for path in list_images(root / role)})
        by_role = {stem: partial(_named, stem, {role: (root / role, stem) for role in _ROLES}) for stem in stems}
        return "under/<scene>.* and over/<scene>.*", by_role
    places, loose = [entry for entry in listed(root) if entry.is_dir()], images_in(root)
    if any(images_in(place) for place in places) or not loose:
        return "<scene>/ with its exposures", {place.name: partial(_in_folder, place) for place in places}
    groups = _groups(loose)
    if groups:
        single = {path.stem: [path] for path in loose if not any(path in group for group in groups.values())}
        found = {
            name: partial(_by_luma, name, groups.get(name) or single[name]) for name in sorted({**single, **groups})
        }
        return "names that tell scene and exposure apart", found
    if len(loose) == 2 or {path.stem.lower() for path in loose} >= {"under", "over"}:
        return "one scene", {root.resolve().name: partial(_in_folder, root)}
    return "", {}


def _groups(images: Iterable[Path]) -> dict[str, list[Path]]:
    """Images by the name of their scene, two and more of it; (1) and (2) without a sign are copies, not exposures."""
    found: dict[str, list[re.Match[str]]] = {}
    files: dict[str, list[Path]] = {}
    for path in images:
        mark = _MARKED.fullmatch(path.stem)
        if mark:
            found.setdefault(mark["scene"], []).append(mark)
            files.setdefault(mark["scene"], []).append(path)
    signed = {name for name, marks in found.items() if any(not mark["ev"] or mark["ev"][0] in "+-" for mark in marks)}
    return {name: paths for name, paths in files.items() if name in signed and len(paths) > 1}


def _named(name: str, places: dict[str, tuple[Path, str]]) -> SceneFiles:
    """A scene whose files are called after what they are."""
    under, over = (require_image(*places[role]) for role in ("under", "over"))
    return SceneFiles(name, under, over, find_image(*places["ref"]))


def _in_folder(place: Path) -> SceneFiles:
    """A scene that has a folder of its own."""
    exposures = [path for path in images_in(place) if path.stem.lower() != "ref"]
    if len(exposures) < 2 or {path.stem.lower() for path in exposures} & {"under", "over"}:
        return _named(place.name, {role: (place, role) for role in _ROLES})
    groups = _groups(exposures)
    if (groups and sum(map(len, groups.values())) < len(exposures)) or len(groups) > 1:
        raise ImageError(f"{place} holds pictures of several scenes ({', '.join(groups)} ...); give that folder itself")
    return _by_luma(place.resolve().name, exposures, find_image(place, "ref"))


def _by_luma(name: str, paths: list[Path], ref: Path | None = None) -> SceneFiles:
    """A scene whose exposures only their pixels tell apart."""
    if not 2 <= len(paths) <= MOST_EXPOSURES:
        raise ImageError(f"{len(paths)} images go with {paths[0]}; expected 2 to {MOST_EXPOSURES} exposures of a scene")
    under, *between, over = dark_to_bright(paths)
    return SceneFiles(name, under, over, ref, tuple(between), by_luma=True)


@lru_cache(maxsize=4096)
def _file_luma(path: Path, _changed: int) -> float:
    """Mean luma of a file."""
    return mean_luma(read_rgb(path))


def dark_to_bright(paths: Iterable[Path]) -> list[Path]:
    """Order image files by their mean luma, equal ones by name; each is read once as long as it stays the same."""
    return sorted(paths, key=lambda path: (_file_luma(path, path.stat().st_mtime_ns), path.name))


def scan(folder: Path) -> list[SceneFiles]:
    """List the scenes of a folder as pairs, as :func:`look` finds them; DataError if one is incomplete or has more."""
    return [pair_of(name, scene) for name, scene in look(folder).found.items()]


def pair_of(name: str, scene: SceneFiles | str) -> SceneFiles:
    """Give a scene of two exposures, for all that compares and does not fuse; DataError says what is wrong with it."""
    if isinstance(scene, str):
        raise DataError(f"scene '{name}': {scene}; add what is missing or remove the scene")
    if scene.between:
        names = ", ".join(path.name for path in scene.exposures)
        raise DataError(f"scene '{name}' has more than two exposures ({names}); call two of them under.* and over.*")
    return scene


def picture_ending(folder: Path, scenes: Iterable[str], method: str = "") -> str:
    """Say what follows a scene's name in a method's pictures: nothing, or one word: ``_<method>``, or what most have.

    ImageError where two words are as frequent, and none is the method's name.
    """
    stems = [path.stem for path in images_in(folder)]
    starts = {f"{name}_".lower(): len(name) for name in scenes}
    counts = Counter(
        stem[end:] for start, end in starts.items() for stem in stems if f"{stem}_".lower().startswith(start)
    )
    if "" in counts or not counts:
        return ""
    named = next((ending for ending in counts if ending.lower() == f"_{method}".lower()), None)
    most = counts.most_common(2)
    if named is None and len(most) == 2 and most[0][1] == most[1][1]:
        words = " and ".join(f"<scene>{ending}" for ending, _ in most)
        raise ImageError(f"{folder} holds pictures of several methods ({words}); name the method like one of them")
    return named or most[0][0]


def list_scenes(folder: Path, split: Split, *, seed: int = 0) -> list[SceneFiles]:
    """List the scenes of one split of a folder, by name; DataError if there are none or the layout is not known.

    - A data set with a split file: that decides; the scenes for final evaluation may lie in a folder beside it, which
      holds nothing for training. No other scene may be there.
    - ``{train,test}/``, each in a layout of :func:`look`: a fifth of ``train`` is val, or the scenes that the table
      names; ``test`` is test.
    - One of these layouts without train and test: a fifth is test, a fifth of the rest is val, so that a model is never
      tested on what it was trained on.

    The shares are drawn by ``seed`` from the scenes' names, in whatever order the disk lists them.
    """
    called = (folder.name, folder.resolve().name)
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
    twice = repeated([scene.name for scene in scenes])
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
