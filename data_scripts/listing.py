"""The table of ``hsds data list``."""

from __future__ import annotations

from pathlib import Path

from data_scripts.registry import Entry, data_root, entry_names, load_entry
from data_scripts.verify import present_folders
from hsds_lib.images.datasets import DataError


def listing(to: Path | None = None) -> str:
    """Say what can be fetched and what is here; files are counted, not compared.

    Args:
        to: the data folder, default ``HSDS_DATA``; neither is needed.

    Returns:
        A table, and below it what each name means.

    Example:
        >>> print(listing(Path("no-such-folder")).splitlines()[1])
        mefb         about 60 MB  no                  research use; no licence file accompanies the images
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
    exact = bool(entry.files)
    return f"{'' if exact else 'about '}{entry.download / 1e6:.0f} MB"


def _here(entry: Entry, root: Path | None, to: Path | None) -> str:
    if entry.name == "vgg16":
        from data_scripts.vgg import converted_file

        return "yes" if converted_file(to).is_file() else "no"
    if root is None or not present_folders(entry, root):
        return "no"
    if not entry.images:
        return "yes"
    count = sum((root / image.path).is_file() for image in entry.images)
    return f"{count} of {len(entry.images)} files"
