"""The image files of scenes: under, over and perhaps a reference of each, as they lie in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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
