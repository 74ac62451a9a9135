"""``index.csv`` in a folder of data: what lies there, from where, and the hashes that ``hsds data verify`` compares."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from hsds_lib.images.datasets import DataError
from hsds_lib.runtime import atomic_path

INDEX = "index.csv"


def write_index(folder: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write the index of a folder, atomically.

    Args:
        folder: of data.
        rows: at least one; each with ``file`` (relative to the folder), ``sha256`` and whatever else is known.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_index(Path(folder), [{"file": "a.png", "sha256": "00", "source": "somewhere"}])
        ...     read_index(Path(folder))
        {'a.png': {'file': 'a.png', 'sha256': '00', 'source': 'somewhere'}}
    """
    with atomic_path(folder / INDEX) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_index(folder: Path) -> dict[str, dict[str, str]]:
    """Read the index of a folder.

    Args:
        folder: of data.

    Returns:
        Rows by file; nothing where there is no index, or one of another layout.

    Raises:
        DataError: it is no CSV file.

    Example:
        >>> read_index(Path("no-such-folder"))
        {}
    """
    path = folder / INDEX
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [{key: value for key, value in row.items() if key is not None} for row in csv.DictReader(file)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no CSV file ({error}); fetch the data set again") from error
    return {row["file"]: row for row in rows if row.get("file") and row.get("sha256")}
