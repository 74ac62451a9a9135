"""Natural photographs: COCO val2017 as a whole, or some images out of the zip on its server.

The archive as a whole has a known sha256. Its images have none that is published, so single ones are checked by the
CRC-32 that the archive's own directory gives: that finds damage on the way, and does not prove who made them. The index
says for each file which of the two it was.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import remotezip

from data_scripts.archives import ArchiveError, proven, unpack
from data_scripts.download import (
    EVERY,
    Downloader,
    Fetched,
    FetchError,
    MirrorError,
    TransientError,
    advice,
    arrived,
    of_the_disk,
    on_its_way,
    printable,
    range_of,
    request,
    require_space,
    short,
)
from data_scripts.registry import (
    INDEX,
    LARGEST_IMAGE,
    Entry,
    RemoteFile,
    below,
    read_index,
    states_by_index,
    write_index,
)
from hsds_lib.images.datasets import DataError
from hsds_lib.runs.progress import Progress
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
    """Fetch val2017, or its first images by name, into ``coco/val2017`` of the data folder.

    If the archive fetched by hand is ``given``, nothing is downloaded. A FetchError where the server does not give the
    file, or gives no parts of it; a DataError for lack of space or an archive that is another one.
    """
    if images is not None and images < 1:
        raise DataError(f"{images} images were asked for; give 1 or more, or leave --images out for all 5000")
    downloader = downloader or Downloader()
    with advice(entry):
        if images is None:
            return _fetch_all(entry, root, given, downloader)
        return _fetch_some(entry, root, images, given, downloader)


def _fetch_all(entry: Entry, root: Path, given: Sequence[Path], downloader: Downloader) -> Fetched:
    folder = root / "coco"
    index = read_index(folder)
    proven_whole = index and all(row.get("checked_by") == _BY_SHA for row in index.values())
    if proven_whole and set(states_by_index(folder).values()) == {"ok"}:
        return Fetched(folder, new=0, kept=len(index))
    _require_own(folder, index)
    require_space(root, entry.disk)
    given = [proven(given, entry.files[0])] if given else []
    downloads = on_its_way(root, entry)
    archive = given[0] if given else downloader.fetch(entry.files[0], downloads / "val2017.zip")
    stage = downloads / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    unpack(archive, stage)
    files = [path.relative_to(stage) for path in below(stage) if path.suffix == ".jpg"]
    if not files:
        raise ArchiveError(f"{archive} holds no .jpg files; fetch it again")
    write_index(stage, [_row(stage, file.as_posix(), _BY_SHA) for file in files])
    if folder.exists():
        os.rename(folder, downloads / "old")
    os.rename(stage, folder)
    arrived(downloads)
    return Fetched(folder, new=len(files), kept=0)


def _require_own(folder: Path, index: dict[str, dict[str, str]]) -> None:
    """The folder will be replaced, so it must hold nothing that somebody else has put there."""
    found = {path.relative_to(folder).as_posix() for path in below(folder) if path.is_symlink() or not path.is_dir()}
    foreign = sorted(found - set(index) - ({INDEX} if index else set()))
    if foreign:
        raise DataError(f"{folder} holds '{foreign[0]}', which was not fetched from here; move it away first")


def _fetch_some(entry: Entry, root: Path, images: int, given: Sequence[Path], downloader: Downloader) -> Fetched:
    folder, new = root / "coco", 0
    require_space(root, images * 400_000)
    states = states_by_index(folder)
    rows: dict[str, dict[str, object]] = {
        name: dict(row) for name, row in read_index(folder).items() if states[name] == "ok"
    }
    with _opened(entry, images, given, downloader) as archive:
        names = sorted(name for name in archive.namelist() if _MEMBER.fullmatch(name))[:images]
        if len(names) < images:
            raise DataError(f"{images} images were asked for; the archive has {len(names)}")
        try:
            with Progress(images, label="coco", unit="images", every=EVERY) as progress:
                for name in names:
                    if name not in rows:
                        _extract(archive, name, folder, own=name in states)
                        rows[name] = _row(folder, name, _BY_SHA if given else _BY_CRC)
                        new += 1
                    progress.step()
        finally:
            if new:
                write_index(folder, [rows[name] for name in sorted(rows)])
    return Fetched(folder, new=new, kept=images - new)


@contextmanager
def _opened(entry: Entry, images: int, given: Sequence[Path], downloader: Downloader) -> Iterator[zipfile.ZipFile]:
    if given:
        with zipfile.ZipFile(proven(given, entry.files[0])) as archive:
            yield archive
    else:
        with _remote_zip(entry.files[0], downloader, budget=_DIRECTORY + 4_000_000 * images) as archive:
            yield archive


def _extract(archive: zipfile.ZipFile, name: str, folder: Path, *, own: bool) -> None:
    if archive.getinfo(name).file_size > LARGEST_IMAGE:
        raise FetchError(f"{name} in the archive has more than {LARGEST_IMAGE} bytes")
    if archive.getinfo(name).flag_bits & 0x1:
        raise zipfile.BadZipFile(f"{name} is encrypted")
    content = archive.read(name)  # zipfile compares the CRC-32
    if not own and (folder / name).exists() and (folder / name).read_bytes() != content:
        raise DataError(f"{folder / name} was not fetched from here; move it away first")
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


@contextmanager
def _remote_zip(file: RemoteFile, downloader: Downloader, *, budget: int) -> Iterator[zipfile.ZipFile]:
    """A zip on a server, whose members are fetched as they are read, ``budget`` bytes in all, each with its CRC-32."""
    try:
        with remotezip.RemoteZip(file.urls[0], fetcher=_Ranges, file=file, budget=budget, owner=downloader) as archive:
            yield archive
    except MirrorError as error:
        raise FetchError(f"{file.urls[0]} {error}") from error
    except Exception as error:  # decoders raise almost anything on what is damaged
        if of_the_disk(error) or isinstance(error, FetchError | DataError):
            raise
        raise FetchError(f"{file.name} gave a damaged image or directory ({short(error)})") from error


class _Ranges:
    """What remotezip reads by: its own asks once, without a limit, and believes whatever range and size it is given."""

    def __init__(self, url: str, *_: object, file: RemoteFile, budget: int, owner: Downloader, **__: object) -> None:
        assert file.size is not None  # registered
        self._url, self._length, self._left, self._owner = url, file.size, budget, owner

    def fetch(self, data_range: tuple[int, int | None], stream: bool = False) -> remotezip.PartialBuffer:
        """Fetch from one byte to another, or (negative) so many from the end, as often as patience allows."""
        start = data_range[0] if data_range[0] >= 0 else max(0, self._length + data_range[0])
        end = self._length - 1 if data_range[1] is None else data_range[1]
        if not start <= end < self._length:
            raise zipfile.BadZipFile("a member lies outside of the archive")
        self._left -= end - start + 1
        if self._left < 0:
            raise MirrorError("has a zip of which more would have to be read than single images need")
        failures = 0
        while True:
            try:
                block = io.BytesIO(self._asked(start, end))
                return remotezip.PartialBuffer(block, start, end - start + 1, stream=False)
            except TransientError as trouble:
                failures += 1
                self._owner.wait(failures, trouble)

    def _asked(self, start: int, end: int) -> bytes:
        count, block = end - start + 1, bytearray()
        wanted = {"Range": f"bytes={start}-{end}"}
        with request(self._url, wanted, self._owner.patience) as (response, blocks):
            if response.status_code != 206:
                raise MirrorError("gives no parts of a file (HTTP Range), which single images need; fetch the whole")
            first, last, total = range_of(response)
            if (first, last) != (start, end):
                said = printable(response.headers.get("Content-Range", ""))
                raise MirrorError(f"gave the range '{said}', asked for {start}-{end}")
            if total != self._length:
                raise MirrorError(f"has a file of {total} bytes, expected {self._length}")
            for more in blocks:
                block += more
                if len(block) >= count:
                    return bytes(block[:count])
        raise TransientError(f"ended after {len(block)} of {count} bytes")


if __name__ == "__main__":
    from data_scripts.commands import run_script

    run_script("fetch", "coco")
