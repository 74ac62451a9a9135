"""What an evaluation is given: scenes, folders of fused pictures, and everything that can be wrong with them.

All of it is looked at before anything is computed, and what is wrong comes as one list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from hsds_lib.images.datasets import (
    NAMED_SETS,
    DataError,
    SceneFiles,
    Split,
    all_scenes,
    data_folder,
    is_called,
    list_scenes,
    mefb_split,
)
from hsds_lib.images.io import IMAGE_SUFFIXES, ImageError, find_image, read_rgb

SPLITS = (*get_args(Split), "all")
_NAMES_SHOWN = 6


class BenchmarkError(ValueError):
    """An evaluation was given what cannot be compared; the message lists all of it and says what to do."""


@dataclass(frozen=True)
class Entry:
    """A method that takes part: a folder with one fused picture for each scene, and how it came about.

    Example:
        >>> Entry("ours", Path("fused/ours")).origin
        'pictures that were given'
    """

    name: str
    folder: Path
    origin: str = "pictures that were given"


@dataclass(frozen=True)
class Selection:
    """The scenes of an evaluation.

    Attributes:
        data: what was asked for.
        split: which part of it.
        scenes: at least one, sorted by name, each name once.
        others: names of scenes that belong to the same data and were not selected; pictures of them may lie about.

    Example:
        >>> scene = SceneFiles("hall", Path("hall/under.png"), Path("hall/over.png"), ref=None)
        >>> Selection("pairs", "all", (scene,), frozenset()).names
        ['hall']
    """

    data: str
    split: str
    scenes: tuple[SceneFiles, ...]
    others: frozenset[str]

    @property
    def names(self) -> list[str]:
        """Names of the scenes."""
        return [scene.name for scene in self.scenes]


def read_named(texts: Iterable[str], option: str) -> dict[str, str]:
    """Read options of the form NAME=VALUE.

    Args:
        texts: what was given.
        option: name of the option, for messages.

    Returns:
        Values by name, in their order.

    Raises:
        BenchmarkError: if one has another form, a name is odd, or a name was given twice.

    Example:
        >>> read_named(["ours=out/ours", "theirs=out/theirs"], "--method")
        {'ours': 'out/ours', 'theirs': 'out/theirs'}
        >>> read_named(["out/ours"], "--method")
        Traceback (most recent call last):
        hsds_lib.evaluation.entries.BenchmarkError: --method 'out/ours' is not NAME=VALUE; write for
        example ours=out/ours
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name or not value:
            example = text.strip("= ") or "DIR"
            raise BenchmarkError(f"{option} '{text}' is not NAME=VALUE; write for example ours={example}")
        if not name.isprintable() or "/" in name or "\\" in name or name.startswith("."):
            raise BenchmarkError(f"{option} '{text}': a name has no slash and no leading dot; rename '{name}'")
        if name in found:
            raise BenchmarkError(f"{option} names '{name}' twice; give each method a name of its own")
        found[name] = value
    return found


def select_scenes(pairs: str, *, split: str | None = None, only: Sequence[str] | None = None) -> Selection:
    """Find the scenes to evaluate on.

    Args:
        pairs: a folder in one of the layouts of :func:`hsds_lib.images.datasets.list_scenes`, the name of a data set in
            ``HSDS_DATA`` (such as ``mefb``), or ``real`` for MEFB and the SICE sample together.
        split: ``train``, ``val``, ``test`` or ``all``. Default: ``val`` of a data set with a name, ``all`` of a folder.
            MEFB's 60 test scenes are not in ``all``.
        only: names of scenes; the others are left out.

    Returns:
        The scenes.

    Raises:
        BenchmarkError: for another split, or if a scene of ``only`` is not there.
        DataError: the data is missing or incomplete, or the split is empty.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as pairs:
        ...     for path in ("hall/under.png", "hall/over.png", "roof/under.png", "roof/over.png"):
        ...         (Path(pairs) / path).parent.mkdir(exist_ok=True)
        ...         (Path(pairs) / path).touch()
        ...     selection = select_scenes(pairs, only=["roof"])
        >>> selection.split, selection.names, sorted(selection.others)
        ('all', ['roof'], ['hall'])
    """
    if split is not None and split not in SPLITS:
        raise BenchmarkError(f"split '{split}' is not known; use one of {', '.join(SPLITS)}")
    names = ("mefb", "sice_sample") if pairs == "real" else (pairs,)
    if pairs == "embedded":
        raise BenchmarkError("data 'embedded' is made in memory and has no files; give a folder of scenes or 'mefb'")
    folders = [data_folder(name) for name in names]
    chosen = split or ("val" if pairs in (*NAMED_SETS, "real") or is_called(folders[0], "mefb") else "all")
    scenes = [scene for folder in folders for scene in _scenes_of(folder, chosen)]
    _require_different([scene.name for scene in scenes], pairs)
    others = {name for folder in folders for name in _names_of(folder)}
    if only is not None:
        missing = [name for name in only if name not in {scene.name for scene in scenes}]
        if missing:
            there = _some(scene.name for scene in scenes)
            raise BenchmarkError(f"{pairs} ({chosen}) has no scene {_some(missing)}; it has {there}")
        scenes = [scene for scene in scenes if scene.name in set(only)]
    kept = {scene.name for scene in scenes}
    return Selection(pairs, chosen, tuple(sorted(scenes, key=lambda scene: scene.name)), frozenset(others - kept))


def require_fair(selection: Selection, entries: Sequence[Entry]) -> dict[str, dict[str, Path]]:
    """Look at all names and pictures before anything is computed.

    Args:
        selection: the scenes.
        entries: the methods.

    Returns:
        The fused picture of each scene by method.

    Raises:
        BenchmarkError: pictures are missing, are of no scene, cannot be read or have another size; all are listed.

    Example:
        >>> import tempfile, torch
        >>> from hsds_lib.images.io import write_rgb
        >>> folder = Path(tempfile.mkdtemp())
        >>> for path in ("pairs/hall/under.png", "pairs/hall/over.png", "ours/Hall.png"):
        ...     write_rgb(folder / path, torch.zeros(3, 4, 4))
        >>> require_fair(select_scenes(str(folder / "pairs")), [Entry("ours", folder / "ours")])
        Traceback (most recent call last):
        hsds_lib.evaluation.entries.BenchmarkError: nothing was scored, because of 2 problems; put them right ...
        - ours lacks pictures of 1 of 1 scenes: hall
        - ours has pictures of no scene: Hall.png
    """
    found: dict[str, dict[str, Path]] = {}
    problems = []
    for entry in entries:
        found[entry.name], more = _find_pictures(selection, entry)
        problems += more
    for scene in selection.scenes:
        problems += _size_problems(scene, {name: paths.get(scene.name) for name, paths in found.items()})
    raise_problems(problems)
    return found


def require_different(hashes: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse one and the same file under two methods, or for two scenes of one method.

    Args:
        hashes: SHA-256 of the fused picture by method and scene.

    Raises:
        BenchmarkError: a file occurs twice; all such are listed.

    Example:
        >>> require_different({"a": {"hall": "0f"}, "b": {"hall": "0f"}})
        Traceback (most recent call last):
        hsds_lib.evaluation.entries.BenchmarkError: nothing was scored, because of 1 problem; put it right ...
        - a and b hold the same files for 1 of 1 scenes: hall
    """
    methods, problems = list(hashes), []
    for number, first in enumerate(methods):
        by_hash: dict[str, list[str]] = {}
        for scene, digest in hashes[first].items():
            by_hash.setdefault(digest, []).append(scene)
        repeated = [same for same in by_hash.values() if len(same) > 1]
        problems += [f"{first} holds one and the same file for {_some(same)}" for same in repeated]
        for second in methods[number + 1 :]:
            same = [scene for scene, digest in hashes[first].items() if hashes[second].get(scene) == digest]
            if same:
                share = f"{len(same)} of {len(hashes[first])} scenes"
                problems.append(f"{first} and {second} hold the same files for {share}: {_some(same)}")
    raise_problems(problems)


def raise_problems(problems: Sequence[str]) -> None:
    """Raise all problems as one list, if there are any.

    Args:
        problems: one line each.

    Raises:
        BenchmarkError: there is at least one.

    Example:
        >>> raise_problems([]) is None
        True
    """
    if problems:
        count, them = ("1 problem", "it") if len(problems) == 1 else (f"{len(problems)} problems", "them")
        lines = "".join(f"\n- {problem}" for problem in problems)
        raise BenchmarkError(f"nothing was scored, because of {count}; put {them} right and run again:{lines}")


def _scenes_of(folder: Path, split: str) -> list[SceneFiles]:
    return all_scenes(folder) if split == "all" else list_scenes(folder, split)  # type: ignore[arg-type]


def _names_of(folder: Path) -> Iterator[str]:
    """Names of all scenes of a folder, whatever their split."""
    if is_called(folder, "mefb"):
        yield from (name for names in mefb_split().values() for name in names)
        return
    parts = [folder / name for name in ("train", "test") if (folder / name).is_dir()] or [folder]
    for part in parts:
        yield from (scene.name for scene in all_scenes(part))


def _require_different(names: Sequence[str], pairs: str) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{pairs} has a scene '{twice}' twice; evaluate its parts one by one")


def _find_pictures(selection: Selection, entry: Entry) -> tuple[dict[str, Path], list[str]]:
    if not entry.folder.is_dir():
        return {}, [f"{entry.name}: {entry.folder} is not a folder; give the one that holds <scene>.png of every scene"]
    found: dict[str, Path] = {}
    problems, missing = [], []
    for name in selection.names:
        try:
            path = find_image(entry.folder, name)
        except ImageError as error:
            problems.append(f"{entry.name}: {error}")
            continue
        if path is None:
            missing.append(name)
        else:
            found[name] = path
    if missing:
        share = f"{len(missing)} of {len(selection.scenes)} scenes"
        problems.append(f"{entry.name} lacks pictures of {share}: {_some(missing)}")
    known = {*selection.names, *selection.others}
    pictures = (path for path in sorted(entry.folder.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES)
    extra = [path.name for path in pictures if path.stem not in known and not path.name.startswith(".")]
    if extra:
        problems.append(f"{entry.name} has pictures of no scene: {_some(extra)}")
    return found, problems


def _size_problems(scene: SceneFiles, fused: Mapping[str, Path | None]) -> list[str]:
    try:
        wanted = _size(scene.under)
    except ImageError as error:
        return [f"scene {scene.name}: {error}"]
    named = {f"scene {scene.name}: over": scene.over, f"scene {scene.name}: ref": scene.ref}
    problems = []
    for what, path in {**named, **{f"{method}, scene {scene.name}": path for method, path in fused.items()}}.items():
        try:
            size = wanted if path is None else _size(path)
        except ImageError as error:
            problems.append(f"{what}: {error}")
            continue
        if size != wanted:
            problems.append(f"{what} is {size[0]} x {size[1]} pixels, and under is {wanted[0]} x {wanted[1]}")
    return problems


def _size(path: Path) -> tuple[int, int]:
    """Width and height; the whole file is decoded, so that a damaged one is met now and not after hours."""
    _, height, width = read_rgb(path).shape
    return width, height


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _NAMES_SHOWN} more" if len(listed) > _NAMES_SHOWN else ""
    return ", ".join(listed[:_NAMES_SHOWN]) + more
