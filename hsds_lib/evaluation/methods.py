"""What an evaluation is given: scenes, and methods that fuse them; and everything that can be wrong with them.

A method is a folder of pictures, a classical fuser or a trained model. All of it is looked at before anything is
computed, and what is wrong comes as one list; what the library fuses itself it fuses once, and keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from torch import Tensor

from hsds_lib.fusing.fuse import fuse_files
from hsds_lib.images.classical import mertens
from hsds_lib.images.datasets import (
    DATA_SETS,
    DataError,
    ImageError,
    Split,
    data_folder,
    find_image,
    images_in,
    is_in_memory,
    parts_of,
    repeated,
    set_of,
    split_names,
)
from hsds_lib.images.folders import SceneFiles, all_scenes, list_scenes, picture_ending
from hsds_lib.images.io import check_exposures, read_pair, read_rgb, write_rgb
from hsds_lib.network.folded import FoldedNet, fold
from hsds_lib.network.model_file import SHIPPED, load_model, model_file
from hsds_lib.runs.progress import memory_advice
from hsds_lib.runs.sources import code_hash, joined_hash
from hsds_lib.runtime import RunError, file_hash, pick_device, read_json, write_json

SPLITS = (*get_args(Split), "all")
_NAMES_SHOWN = 6


class BenchmarkError(ValueError):
    """An evaluation was given what cannot be compared; the message lists all of it and says what to do."""


@dataclass(frozen=True)
class Selection:
    """The scenes of an evaluation, sorted, each name once: what was asked for, and which part of it.

    ``others`` names scenes of the same data that were not selected; pictures of them may lie about.
    """

    data: str
    split: str
    scenes: tuple[SceneFiles, ...]
    others: frozenset[str]

    @property
    def names(self) -> list[str]:
        """Names of the scenes."""
        return [scene.name for scene in self.scenes]


@dataclass(frozen=True)
class Method:
    """What takes part, under a name: a folder of pictures that are there, a model, or else a classical fuser.

    ``model`` is a run folder, a ``.safetensors`` file or one of ``SHIPPED``.
    """

    name: str
    folder: Path | None = None
    model: str | None = None

    def pictures(self, out: Path) -> Path:
        """The folder with one fused picture for each scene; what the library fuses goes into the results ``out``."""
        return self.folder or out / "fused" / self.name

    @property
    def origin(self) -> str:
        """How the pictures come about."""
        if self.folder is not None:
            return "pictures that were given"
        how = {"average": "(under + over + 1) // 2", "mertens": "OpenCV MergeMertens, weights 1, 1, 0, BGR order"}
        model = f"model {self.model}, sha256 {file_hash(model_file(self.model))}" if self.model else how[self.name]
        return f"fused by this library ({model})"


def rounded_average(under: Tensor, over: Tensor) -> Tensor:
    """Average two exposures in whole 8-bit levels, halves rounded up: (under + over + 1) // 2.

    RGB ``(3, H, W)`` in [0, 1], multiples of 1/255, as is the result. Other exposures are an ``ImageError``.
    """
    check_exposures(under, over)
    levels = [(image * 255).round().int() for image in (under, over)]
    return ((levels[0] + levels[1] + 1) // 2).to(under.dtype) / 255


CLASSICAL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"average": rounded_average, "mertens": mertens}
"""Fusions that need no training."""
BUILT_IN = (*CLASSICAL, *SHIPPED)
"""What may be asked for by name: the classical fusions and the models that ship."""


def built_ins(names: Iterable[str], models: Iterable[tuple[str, str]] = ()) -> list[Method]:
    """Make methods of names in ``BUILT_IN``, and of models with names, in that order.

    ``BenchmarkError``: a name is unknown or was given twice; ``ModelError``: there is no trained model at a place.
    """
    found = []
    for name in names:
        if name not in BUILT_IN:
            raise BenchmarkError(f"--builtin '{name}' is unknown; choose among {', '.join(BUILT_IN)}")
        found.append(Method(name, model=None if name in CLASSICAL else name))
    for name, source in models:
        model_file(source)  # asked for now, not after minutes
        found.append(Method(name, model=source))
    twice = repeated([method.name for method in found])
    if twice is not None:
        raise BenchmarkError(f"'{twice}' was asked for twice; give each method a name of its own")
    return found


def read_named(texts: Iterable[str], option: str) -> dict[str, str]:
    """Read options of the form NAME=VALUE; another form, an odd name or one given twice is a ``BenchmarkError``.

    Example:
        >>> read_named(["ours=out/ours", "theirs=out/theirs"], "--method")
        {'ours': 'out/ours', 'theirs': 'out/theirs'}
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
    """Find the scenes to evaluate on: of a folder or a data set with a name, or of ``real`` (MEFB and SICE sample).

    ``split`` is ``train``, ``val``, ``test`` or ``all``; default: ``val`` of a data set with a name, ``all`` of a
    folder. MEFB's 60 test scenes are not in ``all``. ``only`` names the scenes that are kept. ``BenchmarkError``:
    another split, or a scene of ``only`` is not there; ``DataError``: the data is missing, or the split is empty.
    """
    if split is not None and split not in SPLITS:
        raise BenchmarkError(f"split '{split}' is not known; use one of {', '.join(SPLITS)}")
    parts = parts_of(pairs)
    if any(is_in_memory(part) for part in parts):
        known = next(name for name, one in DATA_SETS.items() if one.recorded)
        raise BenchmarkError(f"data '{pairs}' is made in memory and has no files; give a folder of scenes or '{known}'")
    folders = [data_folder(part) for part in parts]
    chosen = split or ("val" if pairs in DATA_SETS or set_of(folders[0]).apart else "all")
    found = [all_scenes(one) if chosen == "all" else list_scenes(one, chosen) for one in folders]  # type: ignore[arg-type]
    scenes = [scene for part in found for scene in part]
    twice = repeated([scene.name for scene in scenes])
    if twice is not None:
        raise DataError(f"{pairs} has a scene '{twice}' twice; evaluate its parts one by one")
    others = {name for folder in folders for name in _names_of(folder)}
    if only is not None:
        missing = [name for name in only if name not in {scene.name for scene in scenes}]
        if missing:
            there = _some(scene.name for scene in scenes)
            raise BenchmarkError(f"{pairs} ({chosen}) has no scene {_some(missing)}; it has {there}")
        scenes = [scene for scene in scenes if scene.name in set(only)]
    kept = {scene.name for scene in scenes}
    return Selection(pairs, chosen, tuple(sorted(scenes, key=lambda scene: scene.name)), frozenset(others - kept))


def require_fair(selection: Selection, methods: Sequence[Method]) -> dict[str, dict[str, Path]]:
    """Look at all names and pictures of methods with a folder, and give the fused picture of each scene by method.

    ``BenchmarkError``: pictures are missing, are of no scene, cannot be read or have another size; all are listed.
    """
    found: dict[str, dict[str, Path]] = {}
    problems = []
    for method in methods:
        found[method.name], more = _find_pictures(selection, method.name, method.pictures(Path()))
        problems += more
    for scene in selection.scenes:
        problems += _size_problems(scene, {name: paths.get(scene.name) for name, paths in found.items()})
    raise_problems(problems)
    return found


def require_different(hashes: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse, as ``BenchmarkError``, one and the same file under two methods, or for two scenes of one method.

    Given is SHA-256 of the fused picture by method and scene.
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
    """Raise all problems as one list in a ``BenchmarkError``, if there are any."""
    if problems:
        count, them = ("1 problem", "it") if len(problems) == 1 else (f"{len(problems)} problems", "them")
        lines = "".join(f"\n- {problem}" for problem in problems)
        raise BenchmarkError(f"nothing was scored, because of {count}; put {them} right and run again:{lines}")


def fuse_scenes(
    method: Method, scenes: Iterable[SceneFiles], out: Path, *, device: str = "auto"
) -> Iterator[tuple[str, Path]]:
    """Fuse scenes into the results ``out``, and give name and picture of each as soon as it is there.

    What is there already and made from the same is left as it is. ``ModelError``: there is no usable model;
    ``ImageError``: exposures cannot be read or do not fit together; ``RunError``, after all others are done: for some
    there is too little memory.
    """
    weights = None if method.model is None else file_hash(model_file(method.model))
    kind = None if method.model is None else pick_device(device).type
    maker = joined_hash([code_hash(__name__), weights or method.name, kind])
    write, failed = _writer(method, device), []
    for scene in scenes:
        target = method.pictures(out) / f"{scene.name}.png"
        made = joined_hash([maker, file_hash(scene.under), file_hash(scene.over)])
        note = out / "cache" / f"fused-{made}.json"
        if not _is_made(target, note):
            try:
                with memory_advice("the size of the pictures"):
                    write(scene, target)
            except RunError as error:
                failed.append(f"{scene.name} ({error})")
                continue
            write_json(note, {"method": method.name, "scene": scene.name, "sha256": file_hash(target)})
        yield scene.name, target
    if failed:
        raise RunError(f"{method.name} could not fuse {_some(failed)}; the other pictures are kept for the next time")


def _writer(method: Method, device: str) -> Callable[[SceneFiles, Path], object]:
    """Give what fuses one scene; a network is loaded only when the first picture is wanted."""
    if method.model is None:
        fuse = CLASSICAL[method.name]
        return lambda scene, target: write_rgb(target, fuse(*read_pair(scene.under, scene.over)))
    source = method.model
    networks: list[FoldedNet] = []

    def write(scene: SceneFiles, target: Path) -> None:
        if not networks:
            networks.append(fold(load_model(source, device=device)))
        fuse_files(networks[0], scene.under, scene.over, target)

    return write


def _is_made(target: Path, note: Path) -> bool:
    try:
        return file_hash(target) == read_json(note)["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _names_of(folder: Path) -> Iterator[str]:
    """Names of all scenes of a folder, whatever their split."""
    known = split_names(set_of(folder).name)
    if known:
        yield from (name for names in known.values() for name in names)
        return
    parts = [folder / name for name in ("train", "test") if (folder / name).is_dir()] or [folder]
    for part in parts:
        yield from (scene.name for scene in all_scenes(part))


def _find_pictures(selection: Selection, method: str, folder: Path) -> tuple[dict[str, Path], list[str]]:
    if not folder.is_dir():
        return {}, [f"{method}: {folder} is not a folder; give the one that holds <scene>.png of every scene"]
    known = {*selection.names, *selection.others}
    try:
        ending = picture_ending(folder, selection.names, method)
    except ImageError as error:
        return {}, [f"{method}: {error}"]
    found: dict[str, Path] = {}
    problems, missing = [], []
    for name in selection.names:
        try:
            path = find_image(folder, f"{name}{ending}")
        except ImageError as error:
            problems.append(f"{method}: {error}")
            continue
        if path is None:
            missing.append(name)
        else:
            found[name] = path
    if missing:
        share = f"{len(missing)} of {len(selection.scenes)} scenes"
        problems.append(f"{method} lacks pictures of {share}: {_some(missing)}")
    # Where the method is part of a name, other methods may lie in the same folder.
    starts = tuple(f"{name}_" for name in known) if ending else ()
    strangers = (path for path in images_in(folder) if path.stem not in known and path not in found.values())
    extra = [path.name for path in strangers if not path.stem.startswith(starts)]
    if extra:
        problems.append(f"{method} has pictures of no scene: {_some(extra)}")
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
    try:
        with memory_advice("the size of the pictures"):
            _, height, width = read_rgb(path).shape
    except RunError as error:
        raise ImageError(f"{path}: {error}") from None
    return width, height


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _NAMES_SHOWN} more" if len(listed) > _NAMES_SHOWN else ""
    return ", ".join(listed[:_NAMES_SHOWN]) + more
