"""What the processes of a sweep must have in common: one library and one folder. Quick to import."""

from __future__ import annotations

import hashlib
import secrets
from functools import cache
from pathlib import Path

import hsds_lib
from hsds_lib.runtime import RunError, atomic_path

_TOKEN = ".sweep"


class SweepError(RunError):
    """A sweep cannot go on; the message says why and what to do."""


@cache
def library_hash() -> str:
    """Hash the Python files of this library, to tell whether two processes run the same code.

    Returns:
        16 hexadecimal digits.

    Example:
        >>> len(library_hash())
        16
    """
    root = Path(hsds_lib.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def share_folder(out: Path) -> str:
    """Mark a sweep's folder, so that workers can tell whether they see it.

    Args:
        out: the folder, which is made when it is missing.

    Returns:
        What the mark says.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     token = share_folder(Path(folder))
        ...     token == share_folder(Path(folder)), sees_folder(folder, token), sees_folder("elsewhere", token)
        (True, True, False)
    """
    path = out / _TOKEN
    if not path.is_file():
        with atomic_path(path) as temporary:
            temporary.write_text(secrets.token_hex(16), encoding="utf-8")
    return path.read_text(encoding="utf-8")


def sees_folder(out: str, token: str) -> bool:
    """Say whether the folder that this process finds at a path is the sweep's.

    Args:
        out: the path.
        token: as ``share_folder`` gave it.

    Returns:
        True when the mark is there and the same.

    Example:
        >>> sees_folder("elsewhere", "0")
        False
    """
    path = Path(out) / _TOKEN
    return path.is_file() and path.read_text(encoding="utf-8") == token
