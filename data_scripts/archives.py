"""What somebody fetched by hand: files found by their hash, whatever their names; archives unpacked as if hostile.

Before anything appears in the target folder, every member was checked and written into a temporary folder beside it.
Refused are names that lead outside, links and devices, names that are one on some file systems, passwords, and what
grows beyond its limits; sizes are counted as they are written, whatever the archive says of itself.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

from data_scripts.download import mismatch, of_the_disk, printable, short
from data_scripts.registry import RemoteFile, below
from hsds_lib.images.datasets import DataError
from hsds_lib.runtime import file_hash

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
_BLOCK = 1 << 20
_MOST_HEADERS = 4_000_000  # bytes
_SMALL = 1_000_000  # bytes below which a ratio says nothing
_DEEPEST, _LONGEST = 32, 1000  # folders within each other; bytes of a name with its folders
_Member = tuple[str, int, Callable[[], Any] | None]  # name, size as it is said, and how to open it; None for a folder


class ArchiveError(DataError):
    """An archive that is not unpacked, because it is damaged or could do harm."""


@dataclass(frozen=True)
class Limits:
    """What an archive may hold: bytes of all members, files and folders, and bytes unpacked to bytes packed."""

    total: int = 64_000_000_000
    count: int = 50_000
    ratio: float = 200.0


def is_archive(path: Path) -> bool:
    """Whether a file is called like a zip, tar or tar.gz; ArchiveError for archives of other kinds."""
    name = path.name.lower()
    if name.endswith((".rar", ".7z", ".tar.xz", ".tar.bz2", ".tar.zst", ".txz", ".tbz2")):
        raise ArchiveError(f"{path} is an archive that cannot be read here; unpack it by hand and give the folder")
    return name.endswith(ARCHIVE_SUFFIXES)


def unpack(archive: Path, target: Path, limits: Limits | None = None) -> Path:
    """Unpack a zip, tar or tar.gz into a new folder, which appears whole or not at all.

    Raises ArchiveError where the archive is damaged, hostile or too large, or the target exists.
    """
    if target.exists():
        raise ArchiveError(f"{target} exists already; move it away first")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".unpacked-"))
    try:
        _unpack_into(archive, temporary, _Account(limits or Limits(), packed=max(1, archive.stat().st_size)))
        temporary.chmod(0o755)
        os.rename(temporary, target)
    except _Refused as reason:
        raise ArchiveError(f"{archive} is not unpacked: {reason}") from None
    except Exception as error:  # decoders raise almost anything on what is damaged
        if of_the_disk(error):
            raise
        raise ArchiveError(
            f"{archive} is damaged or of a kind that cannot be read ({short(error)}); fetch it again"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


class _Refused(Exception):
    """Why an archive is not unpacked, to go behind its name."""


@dataclass
class _Account:
    """What was unpacked so far, against the limits."""

    limits: Limits
    packed: int
    total: int = 0
    names: dict[str, str] = field(default_factory=dict)

    def admit(self, name: str, *, folder: bool) -> str:
        """Check one name, and give it without a slash at its end."""
        clean = name.rstrip("/") if folder else name
        clean = clean.removeprefix("./")
        if folder and clean in ("", "."):
            return ""
        _check_name(name, clean)
        *above, _ = accumulate(clean.split("/"), "{}/{}".format)  # a/B/c is not to lie beside a/b/d
        for place in [*above, clean]:
            same = unicodedata.normalize("NFC", place).casefold()
            if same in self.names and (self.names[same] != place or (place is clean and not folder)):
                said = f"'{printable(self.names[same])}' and '{printable(place)}'"
                raise _Refused(f"{said} are one name on some file systems")
            self.names[same] = place
        if len(self.names) > self.limits.count:
            raise _Refused(f"it holds more than {self.limits.count} files")
        return clean

    def require(self, count: int) -> None:
        """Refuse so many bytes more if they are too many."""
        total = self.total + count
        if total > self.limits.total:
            raise _Refused(f"it unpacks to more than {self.limits.total} bytes")
        if total > _SMALL and total > self.limits.ratio * self.packed:
            raise _Refused(f"it unpacks to more than {self.limits.ratio:g} times its size")

    def write(self, stream: IO[bytes], path: Path) -> None:
        """Write a member, counting what comes, whatever the archive says of its size."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                while block := stream.read(_BLOCK):
                    self.require(len(block))
                    self.total += len(block)
                    file.write(block)
        except (FileExistsError, NotADirectoryError):
            raise _Refused(f"'{path.name}' is there twice, or both a file and a folder") from None


def _check_name(name: str, clean: str) -> None:
    parts = clean.split("/")
    outside = clean.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", clean) is not None
    said = f"its member '{printable(name)}'"
    if outside or "\\" in name:
        raise _Refused(f"{said} leads outside of the folder, or may on some systems")
    if any(not part or part == "." or part != part.rstrip(" .") for part in parts):
        raise _Refused(f"{said} has a name that not all systems keep")
    # Cs: bytes that are not UTF-8, as tarfile gives them.
    if any(letter in ':*?"<>|' or unicodedata.category(letter) in ("Cc", "Cs") for letter in clean):
        raise _Refused(f"{said} has a letter in its name that not all systems allow")
    if len(parts) > _DEEPEST or len(clean.encode()) > _LONGEST or any(len(part.encode()) > 255 for part in parts):
        raise _Refused(f"{said} lies in more than {_DEEPEST} folders, or has a name that is too long")


def _unpack_into(archive: Path, folder: Path, account: _Account) -> None:
    with archive.open("rb") as stream:
        start = stream.read(2)  # names are no proof of anything
    members = _zip_members(archive, account) if start == b"PK" else _tar_members(archive, start == b"\x1f\x8b")
    for name, size, opener in members:
        clean = account.admit(name, folder=opener is None)
        if opener is None:
            (folder / clean).mkdir(parents=True, exist_ok=True)
        else:
            account.require(size)  # before anything is written
            with opener() as stream:
                account.write(stream, folder / clean)


def _zip_members(archive: Path, account: _Account) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        account.require(sum(member.file_size for member in opened.infolist()))
        for member in opened.infolist():
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _Refused(f"its member '{printable(member.filename)}' is a link or a device")
            if member.flag_bits & 0x1:
                raise _Refused(f"its member '{printable(member.filename)}' is encrypted")
            # orig_filename: before zipfile cut it at a NUL or turned its separators.
            is_folder = member.orig_filename.endswith("/")
            yield member.orig_filename, member.file_size, None if is_folder else partial(opened.open, member)


class _Headers:
    """The stream below a tar; refuses more header bytes than any honest archive has between two members."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream, self.count, self.in_member = stream, 0, False

    def read(self, size: int = -1) -> bytes:
        block = self._stream.read(size)
        self.count = 0 if self.in_member else self.count + len(block)
        if self.count > _MOST_HEADERS:
            raise _Refused(f"it has more than {_MOST_HEADERS} bytes of headers for one member")
        return block


def _tar_members(archive: Path, packed: bool) -> Iterator[_Member]:
    # As a stream: each member is checked before the next one is unpacked, let alone read.
    with gzip.open(archive) if packed else archive.open("rb") as stream:
        headers = _Headers(stream)
        with tarfile.open(fileobj=headers, mode="r|") as opened:  # type: ignore[call-overload]
            for member in opened:
                if not (member.isfile() or member.isdir()) or member.issparse():
                    raise _Refused(f"its member '{printable(member.name)}' is a link, a device or a sparse file")
                headers.in_member = True
                yield member.name, member.size, None if member.isdir() else partial(opened.extractfile, member)
                headers.in_member, headers.count = False, 0
        while headers.read(_BLOCK):  # to the end, where gzip has its checksum
            pass


def read_given(paths: Sequence[Path], wanted: Collection[str], scratch: Path) -> dict[str, Path]:
    """Look through files, folders and archives, which are unpacked in ``scratch``; files found by their sha256.

    In folders and archives only files with the wanted names are looked at. A path that does not exist is a DataError,
    an archive that is damaged or hostile an ArchiveError.
    """
    names, files = {name.lower() for name in wanted}, list[Path]()
    for number, path in enumerate(paths):
        require_given(path)
        if path.is_file() and not is_archive(path):
            files.append(path)
            continue
        folder = path if path.is_dir() else unpack(path, scratch / str(number), Limits(total=8_000_000_000))
        files += (file for file in below(folder) if file.name.lower() in names and file.is_file())
    return {file_hash(file): file for file in reversed(files)}  # the first of those with the same content


def require_given(path: Path) -> None:
    """Raise DataError for a path that leads nowhere, or to a pipe or device that may have no end."""
    if not (path.is_file() or path.is_dir()):
        raise DataError(f"{path} does not exist or is no file; give the file, archive or folder fetched by hand")


def proven(paths: Sequence[Path], file: RemoteFile) -> Path:
    """Check the one file that an entry consists of; DataError if more was given, none, or another one."""
    if len(paths) != 1:
        raise DataError(f"{len(paths)} files were given; give one with --from, {file.name}")
    require_given(paths[0])
    if paths[0].is_dir():
        raise DataError(f"{paths[0]} is a folder; give the file {file.name}")
    problem = mismatch(paths[0], file)
    if problem is not None:
        raise DataError(f"{paths[0]} is not {file.name}: {problem}; fetch {file.urls[0]} again")
    return paths[0]
