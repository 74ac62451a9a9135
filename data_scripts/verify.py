"""Whether what lies in the data folder is what it should be."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from data_scripts.coco import unproven_files
from data_scripts.images import image_state
from data_scripts.index import INDEX, read_index
from data_scripts.registry import Entry
from data_scripts.vgg import converted_file, weights_state

_DOCUMENTS = (".md", ".txt", ".csv", ".json", ".html")  # beside the data, and no part of it


@dataclass(frozen=True)
class Verdict:
    """What was found of one entry.

    Attributes:
        name: of the entry.
        checked: how many files were compared.
        troubles: file to what is wrong with it: "missing", "changed", "extra" or "unproven".

    Example:
        >>> print(Verdict("mefb", 80, {}))
        mefb: 80 files, all as they should be
        >>> print(Verdict("mefb", 80, {"mefb/Arno/over.png": "changed"}))
        mefb: 80 files, 1 of them or beside them in trouble
          changed: mefb/Arno/over.png
    """

    name: str
    checked: int
    troubles: dict[str, str]

    def __str__(self) -> str:
        """Say it, a line for each trouble."""
        if not self.troubles:
            return f"{self.name}: {self.checked} files, all as they should be"
        lines = [f"  {trouble}: {file}" for file, trouble in sorted(self.troubles.items())]
        first = f"{self.name}: {self.checked} files, {len(lines)} of them or beside them in trouble"
        return "\n".join([first, *lines])


def present_folders(entry: Entry, root: Path) -> list[str]:
    """List which folders of an entry exist.

    Args:
        entry: of the registry.
        root: the data folder.

    Returns:
        Their names.

    Example:
        >>> from data_scripts.registry import load_entry
        >>> present_folders(load_entry("mefb"), Path("no-such-folder"))
        []
    """
    return [folder for folder in entry.folders if (root / folder).is_dir()]


def verify(entry: Entry, root: Path | None, *, weights: Path | None = None) -> Verdict:
    """Check every file of an entry against the registry, or the index that was written when it was fetched.

    A folder that is not there is not checked, unless it is the first of an entry of which there is nothing.

    Args:
        entry: of the registry.
        root: the data folder; weights do not need it.
        weights: folder of the weights, if not the cache of this user.

    Returns:
        What was found.

    Example:
        >>> from data_scripts.registry import load_entry
        >>> verify(load_entry("sice"), Path("no-such-folder")).troubles
        {'sice': 'missing'}
    """
    if entry.name == "vgg16":
        file = converted_file(weights)
        state = weights_state(file)
        return Verdict(entry.name, 1, {} if state == "ok" else {str(file): state})
    assert root is not None
    folders = present_folders(entry, root) or list(entry.folders[:1])
    if entry.images:
        images = [image for image in entry.images if image.path.partition("/")[0] in folders]
        states = {image.path: image_state(image, root) for image in images}
    else:
        states = _states_by_index(root, folders)
    troubles = {path: state for path, state in states.items() if state != "ok"}
    for folder in folders:
        troubles |= dict.fromkeys(_extras(root, folder, states), "extra")
    return Verdict(entry.name, len(states), troubles)


def _states_by_index(root: Path, folders: list[str]) -> dict[str, str]:
    states: dict[str, str] = {}
    for folder in folders:
        if not (root / folder).is_dir():
            return {folder: "missing"}
        rows = read_index(root / folder)
        if not rows:
            return {f"{folder}/{INDEX}": "missing"}
        bad = unproven_files(root / folder)
        states |= {f"{folder}/{name}": bad.get(name, "ok") for name in rows}
    return states


def _extras(root: Path, folder: str, known: Collection[str]) -> list[str]:
    """Files that nobody knows: images that would be taken for data. Documents and hidden files are tolerated."""
    found = (path for path in (root / folder).rglob("*") if path.is_file() and path.suffix.lower() not in _DOCUMENTS)
    names = (path.relative_to(root).as_posix() for path in found)
    return [name for name in names if name not in known and not any(part.startswith(".") for part in name.split("/"))]
