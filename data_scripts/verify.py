"""What lies in the data folder, and whether it is what it should be."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_scripts.images import image_state
from data_scripts.registry import INDEX, Entry, below, data_root, entry_names, load_entry, states_by_index
from data_scripts.vgg16 import converted_file, weights_state
from hsds_lib.arguments import UsageError
from hsds_lib.images.datasets import DataError

_DOCUMENTS = (".md", ".txt", ".csv", ".json", ".html")  # beside the data, and no part of it


@dataclass(frozen=True)
class Verdict:
    """What was found of one entry: how many files were compared, and what is wrong with which file.

    A trouble is "missing", "changed", "extra" or "unproven".
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


def verdicts(names: Sequence[str], to: Path | None = None) -> list[Verdict]:
    """Verify entries by name, or all of which something is in the data folder; UsageError if that is none."""
    if names:
        return [verify(load_entry(name), None if name == "vgg16" else data_root(to), weights=to) for name in names]
    root = data_root(to)
    found = [entry for entry in map(load_entry, entry_names()) if _present_folders(entry, root)]
    if not found:
        raise UsageError(
            f"{root} holds none of {', '.join(entry_names())}; fetch one, or name another folder with --to"
        )
    return [verify(entry, root) for entry in found]


def verify(entry: Entry, root: Path | None, *, weights: Path | None = None) -> Verdict:
    """Check every file of an entry against the registry, or the index that was written when it was fetched.

    A folder that is not there is not checked, unless it is the first of an entry of which there is nothing. Weights do
    not need the data folder; they are looked for in ``weights``, else in the cache of this user.
    """
    if entry.name == "vgg16":
        file = converted_file(weights)
        state = weights_state(file)
        return Verdict(entry.name, 1, {} if state == "ok" else {str(file): state})
    assert root is not None
    folders = _present_folders(entry, root) or list(entry.folders[:1])
    if entry.images:
        images = [image for image in entry.images if image.path.partition("/")[0] in folders]
        states = {image.path: image_state(image, root) for image in images}
    else:
        states = {path: state for folder in folders for path, state in _states_by_index(root, folder).items()}
    troubles = {path: state for path, state in states.items() if state != "ok"}
    for folder in folders:
        troubles |= dict.fromkeys(_extras(root, folder, states), "extra")
    return Verdict(entry.name, len(states), troubles)


def _present_folders(entry: Entry, root: Path) -> list[str]:
    return [folder for folder in entry.folders if (root / folder).is_dir()]


def _states_by_index(root: Path, folder: str) -> dict[str, str]:
    if not (root / folder).is_dir():
        return {folder: "missing"}
    states = states_by_index(root / folder)
    return {f"{folder}/{name}": state for name, state in states.items()} or {f"{folder}/{INDEX}": "missing"}


def _extras(root: Path, folder: str, known: Collection[str]) -> list[str]:
    """Files that nobody knows: images that would be taken for data. Documents and hidden files are tolerated."""
    found = (path for path in below(root / folder) if path.is_file() and path.suffix.lower() not in _DOCUMENTS)
    names = (path.relative_to(root).as_posix() for path in found)
    return [name for name in names if name not in known and not any(part.startswith(".") for part in name.split("/"))]


def listing(to: Path | None = None) -> str:
    """Say in a table what can be fetched and what is here, and below it what each name means.

    Files are counted, not compared. The data folder is ``to``, else ``HSDS_DATA``; neither is needed.
    """
    try:
        root: Path | None = data_root(to)
    except DataError:
        root = None
    entries = [load_entry(name) for name in entry_names()]
    lines = [f"{'name':<13}{'download':<13}{'here':<20}licence"]
    lines += [f"{entry.name:<13}{_size(entry):<13}{_here(entry, root, to):<20}{entry.licence}" for entry in entries]
    lines.append("")
    lines += [f"{entry.name}: {entry.what}" for entry in entries]
    lines += ["", f"data folder: {root if root is not None else 'not set; set HSDS_DATA or give --to DIR'}"]
    return "\n".join(lines)


def _size(entry: Entry) -> str:
    if not entry.download:
        return "by hand"
    return f"{'' if entry.files else 'about '}{entry.download / 1e6:.0f} MB"  # exact where it is one file


def _here(entry: Entry, root: Path | None, to: Path | None) -> str:
    if entry.name == "vgg16":
        return "yes" if converted_file(to).is_file() else "no"
    if root is None or not _present_folders(entry, root):
        return "no"
    if not entry.images:
        return "yes"
    count = sum((root / image.path).is_file() for image in entry.images)
    return f"{count} of {len(entry.images)} files"
