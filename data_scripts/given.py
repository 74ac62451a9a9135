"""Files that somebody fetched by hand: single ones, folders and archives, found by hash whatever their names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data_scripts.archives import Limits, is_archive, unpack
from data_scripts.download import mismatch
from data_scripts.registry import RemoteFile
from hsds_lib.images.datasets import DataError
from hsds_lib.runtime import file_hash


@dataclass
class GivenFiles:
    """What was given, by hash and by name.

    Attributes:
        by_hash: sha256 to path.
        by_name: lower-case file name to sha256 of all files called so.

    Example:
        >>> given = GivenFiles()
        >>> given.find(RemoteFile("input/Arno/Arno_A.png", (), "0" * 64)) is None
        True
    """

    by_hash: dict[str, Path] = field(default_factory=dict)
    by_name: dict[str, list[str]] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        """Note one file.

        Args:
            path: the file.
        """
        digest = file_hash(path)
        self.by_hash.setdefault(digest, path)
        self.by_name.setdefault(path.name.lower(), []).append(digest)

    def find(self, file: RemoteFile) -> Path | None:
        """Find a file by its hash.

        Args:
            file: what is wanted.

        Returns:
            Where it is; None when it was not given.
        """
        return self.by_hash.get(file.sha256)

    def why_not(self, file: RemoteFile) -> str:
        """Say why a file was not found.

        Args:
            file: what is wanted.

        Returns:
            Its name, and both hashes when another file of this name was given.
        """
        others = self.by_name.get(Path(file.name).name.lower(), [])
        if not others:
            return f"{file.name} (sha256 {file.sha256}) was not given"
        return f"{file.name} has sha256 {others[0]}, expected {file.sha256}"


def read_given(paths: Sequence[Path], wanted: Collection[str], scratch: Path) -> GivenFiles:
    """Look through what was given.

    Args:
        paths: files, folders and archives (zip, tar, tar.gz).
        wanted: file names; others in folders and archives are not looked at.
        scratch: an empty folder for unpacked archives.

    Returns:
        What was found.

    Raises:
        DataError: one of the paths does not exist, or is an archive that is damaged or hostile.

    Example:
        >>> read_given([Path("nowhere.zip")], ["a.png"], Path("."))
        Traceback (most recent call last):
        hsds_lib.images.datasets.DataError: nowhere.zip does not exist; give the file, archive or folder ...
    """
    names, given = {name.lower() for name in wanted}, GivenFiles()
    for number, path in enumerate(paths):
        require_given(path)
        if path.is_file() and not is_archive(path):
            given.add(path)
            continue
        folder = path if path.is_dir() else unpack(path, scratch / str(number), Limits(total=8_000_000_000))
        for file in sorted(folder.rglob("*")):
            if file.name.lower() in names and file.is_file():
                given.add(file)
    return given


def require_given(path: Path) -> None:
    """Refuse a path that leads nowhere.

    Args:
        path: what was given.

    Raises:
        DataError: there is nothing.

    Example:
        >>> require_given(Path("gone.zip"))
        Traceback (most recent call last):
        hsds_lib.images.datasets.DataError: gone.zip does not exist; give the file, archive or folder fetched by hand
    """
    if not path.exists():
        raise DataError(f"{path} does not exist; give the file, archive or folder fetched by hand")


def proven(paths: Sequence[Path], file: RemoteFile) -> Path:
    """Check the one file that an entry consists of.

    Args:
        paths: what was given; one file.
        file: what it should be.

    Returns:
        The file.

    Raises:
        DataError: it is more than one, no file, or another one.

    Example:
        >>> proven([], RemoteFile("val2017.zip", (), "0" * 64))
        Traceback (most recent call last):
        hsds_lib.images.datasets.DataError: 0 files were given; give one with --from, val2017.zip
    """
    if len(paths) != 1:
        raise DataError(f"{len(paths)} files were given; give one with --from, {file.name}")
    require_given(paths[0])
    if paths[0].is_dir():
        raise DataError(f"{paths[0]} is a folder; give the file {file.name}")
    problem = mismatch(paths[0], file)
    if problem is not None:
        raise DataError(f"{paths[0]} is not {file.name}: {problem}; fetch {file.urls[0]} again")
    return paths[0]
