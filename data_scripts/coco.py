"""Natural photographs: COCO val2017 as a whole, or some images out of the zip on its server.

The archive as a whole has a known sha256. Its images have none that is published, so single ones are checked by the
CRC-32 that the archive's own directory gives: that finds damage on the way, and does not prove who made them. The index
says for each file which of the two it was.
"""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from data_scripts.archives import ArchiveError, unpack
from data_scripts.download import Downloader, FetchError, require_space
from data_scripts.given import proven
from data_scripts.images import DOWNLOADS, Fetched, with_nothing_left, without_network
from data_scripts.index import INDEX, read_index, write_index
from data_scripts.meter import Meter
from data_scripts.ranges import MirrorError
from data_scripts.registry import LARGEST_IMAGE, Entry
from data_scripts.remote_zip import open_remote
from hsds_lib.images.datasets import DataError
from hsds_lib.runtime import atomic_path, file_hash

_MEMBER = re.compile(r"val2017/\d{12}\.jpg")
_DIRECTORY = 32_000_000  # bytes that reading the archive's directory may take, far more than it does
_BY_CRC, _BY_SHA = "crc32 in the archive's directory", "sha256 of the archive"


def fetch_coco(
    entry: Entry,
    root: Path,
    *,
    images: int | None = None,
    given: Sequence[Path] = (),
    downloader: Downloader | None = None,
) -> Fetched:
    """Fetch val2017, or its first images by name.

    Args:
        entry: ``coco`` of the registry.
        root: the data folder; the images go to ``coco/val2017``.
        images: how many; None for the whole archive.
        given: the archive, fetched by hand; nothing is downloaded then.
        downloader: default: one that is patient and shows a meter.

    Returns:
        What was done.

    Raises:
        FetchError: the server does not give the file, or gives no parts of it.
        DataError: lack of space, or the archive that was given is another one.

    Example:
        >>> from data_scripts.registry import load_entry
        >>> fetch_coco(load_entry("coco"), Path("data"), images=0)
        Traceback (most recent call last):
        hsds_lib.images.datasets.DataError: 0 images were asked for; give 1 or more, or ...
    """
    if images is not None and images < 1:
        raise DataError(f"{images} images were asked for; give 1 or more, or leave --images out for all 5000")
    downloader = downloader or Downloader()
    try:
        if images is None:
            return _fetch_all(entry, root, given, downloader)
        return _fetch_some(entry, root, images, given, downloader)
    except (FetchError, MirrorError) as error:
        named = error if isinstance(error, FetchError) else f"{entry.files[0].urls[0]} {error}"
        raise FetchError(f"{named}; {without_network(entry)}") from error


def unproven_files(folder: Path) -> dict[str, str]:
    """Compare a folder with its index.

    Args:
        folder: with an ``index.csv``.

    Returns:
        "missing" or "changed" for each file that is not as the index says.

    Example:
        >>> unproven_files(Path("no-such-folder"))
        {}
    """
    found = {}
    for name, row in read_index(folder).items():
        if not (folder / name).is_file():
            found[name] = "missing"
        elif file_hash(folder / name) != row["sha256"]:
            found[name] = "changed"
    return found


def _fetch_all(entry: Entry, root: Path, given: Sequence[Path], downloader: Downloader) -> Fetched:
    folder, downloads = root / "coco", root / DOWNLOADS / entry.name
    index = read_index(folder)
    if index and all(row.get("checked_by") == _BY_SHA for row in index.values()) and not unproven_files(folder):
        return Fetched(folder, new=0, kept=len(index))
    _require_own(folder, index)
    require_space(root, entry.disk)
    archive = proven(given, entry.files[0]) if given else downloader.fetch(entry.files[0], downloads / "val2017.zip")
    stage = downloads / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    unpack(archive, stage)
    files = sorted(path.relative_to(stage) for path in stage.rglob("*.jpg"))
    if not files:
        raise ArchiveError(f"{archive} holds no .jpg files; fetch it again")
    write_index(stage, [_row(stage, file.as_posix(), _BY_SHA) for file in files])
    if folder.exists():
        os.rename(folder, downloads / "old")
    os.rename(stage, folder)
    shutil.rmtree(downloads)
    with_nothing_left(downloads.parent)
    return Fetched(folder, new=len(files), kept=0)


def _require_own(folder: Path, index: dict[str, dict[str, str]]) -> None:
    """The folder will be replaced, so it must hold nothing that somebody else has put there."""
    if not folder.exists():
        return
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    foreign = sorted(found - set(index) - {INDEX})
    if foreign:
        raise DataError(f"{folder} holds '{foreign[0]}', which was not fetched from here; move it away first")


def _fetch_some(entry: Entry, root: Path, images: int, given: Sequence[Path], downloader: Downloader) -> Fetched:
    folder, new = root / "coco", 0
    require_space(root, images * 400_000)
    index = read_index(folder)
    bad = unproven_files(folder)
    rows: dict[str, dict[str, object]] = {name: dict(row) for name, row in index.items() if name not in bad}
    with _opened(entry, images, given, downloader) as archive:
        names = sorted(name for name in archive.namelist() if _MEMBER.fullmatch(name))[:images]
        if len(names) < images:
            raise DataError(f"{images} images were asked for; the archive has {len(names)}")
        meter = Meter("coco", total=images, unit="images")
        try:
            for name in names:
                if name not in rows:
                    _extract(archive, name, folder)
                    rows[name] = _row(folder, name, _BY_SHA if given else _BY_CRC)
                    new += 1
                meter.add(1)
        finally:
            meter.close()
            if new:
                write_index(folder, [rows[name] for name in sorted(rows)])
    return Fetched(folder, new=new, kept=images - new)


@contextmanager
def _opened(entry: Entry, images: int, given: Sequence[Path], downloader: Downloader) -> Iterator[zipfile.ZipFile]:
    file = entry.files[0]
    try:
        if given:
            with zipfile.ZipFile(proven(given, file)) as archive:
                yield archive
            return
        assert file.size is not None  # registered
        budget = _DIRECTORY + 4_000_000 * images
        stream = open_remote(file.urls[0], size=file.size, budget=budget, patience=downloader.patience)
        with stream, zipfile.ZipFile(stream) as archive:
            yield archive
    except (zipfile.BadZipFile, EOFError) as error:
        raise FetchError(f"{file.name} gave a damaged image or directory ({error})") from error


def _extract(archive: zipfile.ZipFile, name: str, folder: Path) -> None:
    if archive.getinfo(name).file_size > LARGEST_IMAGE:
        raise FetchError(f"{name} in the archive has more than {LARGEST_IMAGE} bytes")
    content = archive.read(name)  # zipfile compares the CRC-32
    with atomic_path(folder / name) as temporary:
        temporary.write_bytes(content)


def _row(folder: Path, name: str, checked_by: str) -> dict[str, object]:
    path = folder / name
    return {
        "file": name,
        "bytes": path.stat().st_size,
        "sha256": file_hash(path),
        "source": f"COCO val2017.zip, {name}",
        "checked_by": checked_by,
    }


if __name__ == "__main__":
    from data_scripts.commands import run_script

    run_script("fetch", "coco")
