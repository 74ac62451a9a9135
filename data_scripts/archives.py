"""Archives from elsewhere, unpacked as if they were hostile.

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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from hsds_lib.images.datasets import DataError

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
_BLOCK = 1 << 20
_MOST_HEADERS = 4_000_000  # bytes
_SMALL = 1_000_000  # bytes below which a ratio says nothing


class ArchiveError(DataError):
    """An archive that is not unpacked, because it is damaged or could do harm."""


@dataclass(frozen=True)
class Limits:
    """What an archive may hold.

    Attributes:
        total: bytes of all members together.
        count: files and folders.
        ratio: bytes unpacked to bytes packed.

    Example:
        >>> Limits(count=10).count
        10
    """

    total: int = 64_000_000_000
    count: int = 50_000
    ratio: float = 200.0


def is_archive(path: Path) -> bool:
    """Whether a file is an archive that can be unpacked here, by its name.

    Args:
        path: the file.

    Returns:
        True for zip, tar and tar.gz.

    Raises:
        ArchiveError: it is an archive of another kind.

    Example:
        >>> is_archive(Path("Dataset.ZIP")), is_archive(Path("under.png"))
        (True, False)
    """
    name = path.name.lower()
    if name.endswith((".rar", ".7z", ".tar.xz", ".tar.bz2", ".txz", ".tbz2")):
        raise ArchiveError(f"{path} is an archive that cannot be read here; unpack it by hand and give the folder")
    return name.endswith(ARCHIVE_SUFFIXES)


def unpack(archive: Path, target: Path, limits: Limits | None = None) -> Path:
    """Unpack a zip, tar or tar.gz into a new folder, which appears whole or not at all.

    Args:
        archive: the file.
        target: a folder that does not exist yet.
        limits: what it may hold.

    Returns:
        The target.

    Raises:
        ArchiveError: the archive is damaged, hostile or too large, or the target exists.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with zipfile.ZipFile(Path(folder) / "a.zip", "w") as made:
        ...         made.writestr("../outside.txt", "x")
        ...     unpack(Path(folder) / "a.zip", Path(folder) / "a")
        Traceback (most recent call last):
        data_scripts.archives.ArchiveError: .../a.zip is not unpacked: its member '../outside.txt' leads outside of ...
    """
    if target.exists():
        raise ArchiveError(f"{target} exists already; move it away first")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        with _refusals(archive):
            _unpack_into(archive, temporary, limits or Limits())
        temporary.chmod(0o755)
        os.rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


class _Refused(Exception):
    """Why an archive is not unpacked, to go behind its name."""


@contextmanager
def _refusals(archive: Path) -> Iterator[None]:
    try:
        yield
    except _Refused as reason:
        raise ArchiveError(f"{archive} is not unpacked: {reason}") from None
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, UnicodeError) as error:
        raise ArchiveError(
            f"{archive} is damaged or of a kind that cannot be read ({error}); fetch it again"
        ) from error
    except OSError as error:
        if error.errno is not None:  # of the disk, such as a full one; gzip's own have no number
            raise
        raise ArchiveError(f"{archive} is damaged ({error}); fetch it again") from error
    except Exception as error:
        if type(error).__module__ != "zlib":
            raise
        raise ArchiveError(f"{archive} is damaged ({error}); fetch it again") from error


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
        same = unicodedata.normalize("NFC", clean).casefold()
        if same in self.names and not (folder and self.names[same] == clean):
            raise _Refused(f"'{self.names[same]}' and '{clean}' are one name on some file systems")
        self.names[same] = clean
        if len(self.names) > self.limits.count:
            raise _Refused(f"it holds more than {self.limits.count} files")
        return clean

    def grow(self, count: int) -> None:
        self.total += count
        if self.total > self.limits.total:
            raise _Refused(f"it unpacks to more than {self.limits.total} bytes")
        if self.total > _SMALL and self.total > self.limits.ratio * self.packed:
            raise _Refused(f"it unpacks to more than {self.limits.ratio:g} times its size")


def _check_name(name: str, clean: str) -> None:
    parts = clean.split("/")
    outside = clean.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", clean) is not None
    if outside or "\\" in name:
        raise _Refused(f"its member '{name}' leads outside of the folder, or may on some systems")
    if any(not part or part == "." or part != part.rstrip(" .") for part in parts):
        raise _Refused(f"its member {name!r} has a name that not all systems keep")
    if any(ord(letter) < 32 or letter in ':*?"<>|' for letter in clean):
        raise _Refused(f"its member {name!r} has a letter in its name that not all systems allow")


def _unpack_into(archive: Path, folder: Path, limits: Limits) -> None:
    account = _Account(limits, packed=max(1, archive.stat().st_size))
    with archive.open("rb") as stream:
        start = stream.read(2)  # names are no proof of anything
    if start == b"PK":
        _unpack_zip(archive, folder, account)
    else:
        _unpack_tar(archive, folder, account, packed=start == b"\x1f\x8b")


def _unpack_zip(archive: Path, folder: Path, account: _Account) -> None:
    with zipfile.ZipFile(archive) as opened:
        members = [(member, _admit_zip(member, account)) for member in opened.infolist()]
        declared = sum(member.file_size for member, _ in members)
        _Account(account.limits, account.packed).grow(declared)  # before anything is written
        for member, name in members:
            if member.is_dir():
                (folder / name).mkdir(parents=True, exist_ok=True)
            else:
                with opened.open(member) as stream:
                    _write(stream, folder / name, account)


def _admit_zip(member: zipfile.ZipInfo, account: _Account) -> str:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _Refused(f"its member '{member.filename}' is a link or a device")
    if member.flag_bits & 0x1:
        raise _Refused(f"its member '{member.filename}' is encrypted")
    # orig_filename: before zipfile cut it at a NUL or turned its separators.
    return account.admit(member.orig_filename, folder=member.orig_filename.endswith("/"))


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


def _unpack_tar(archive: Path, folder: Path, account: _Account, *, packed: bool) -> None:
    # As a stream: each member is checked before the next one is unpacked, let alone read.
    with gzip.open(archive) if packed else archive.open("rb") as stream:
        headers = _Headers(stream)
        with tarfile.open(fileobj=headers, mode="r|") as opened:  # type: ignore[call-overload]
            for member in opened:
                _unpack_member(opened, member, folder, account, headers)


def _unpack_member(
    opened: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, account: _Account, headers: _Headers
) -> None:
    if not (member.isfile() or member.isdir()) or member.issparse():
        raise _Refused(f"its member '{member.name}' is a link, a device or a sparse file")
    name = account.admit(member.name, folder=member.isdir())
    if member.isdir():
        (folder / name).mkdir(parents=True, exist_ok=True)
        return
    _Account(account.limits, account.packed, total=account.total).grow(member.size)
    stream = opened.extractfile(member)
    assert stream is not None  # a regular file
    headers.in_member = True
    _write(stream, folder / name, account)
    headers.in_member, headers.count = False, 0


def _write(stream: IO[bytes], path: Path, account: _Account) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            while block := stream.read(_BLOCK):
                account.grow(len(block))
                file.write(block)
    except (FileExistsError, NotADirectoryError):
        raise _Refused(f"'{path.name}' is there twice, or both a file and a folder") from None
