"""SICE: from archives that were fetched by hand to pairs with references, a seeded division, and a report."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_scripts.archives import is_archive, unpack
from data_scripts.download import require_space
from data_scripts.given import require_given
from data_scripts.index import write_index
from data_scripts.meter import Meter
from data_scripts.sice_pairs import ROLES, Judgement, find_sequences, judge, read_picture
from data_scripts.sice_report import report_html
from hsds_lib.images.datasets import DataError
from hsds_lib.runtime import file_hash, write_json

PAPER_TRAIN, PAPER_ALL = 452, 565


@dataclass(frozen=True)
class Prepared:
    """What was made of the sequences.

    Attributes:
        folder: where it lies.
        train: names of scenes for training.
        test: names of scenes for testing.
        rejected: how many sequences are not used.

    Example:
        >>> print(Prepared(Path("data/sice"), train=["a", "b", "c", "d"], test=["e"], rejected=2))
        data/sice: 4 scenes for training, 1 for testing, 2 sequences not used; see data/sice/report.html
        not the paper's 565 scenes, so its proportion of 452 to 113 was kept
    """

    folder: Path
    train: list[str]
    test: list[str]
    rejected: int

    def __str__(self) -> str:
        """Say it in a line or two."""
        text = (
            f"{self.folder.as_posix()}: {len(self.train)} scenes for training, {len(self.test)} for testing, "
            f"{self.rejected} sequences not used; see {(self.folder / 'report.html').as_posix()}"
        )
        if len(self.train) + len(self.test) != PAPER_ALL:
            text += f"\n{other_number()}"
        return text


def other_number() -> str:
    """Say what happens when there are not as many scenes as in the paper.

    Returns:
        A sentence.

    Example:
        >>> other_number()
        "not the paper's 565 scenes, so its proportion of 452 to 113 was kept"
    """
    return (
        f"not the paper's {PAPER_ALL} scenes, so its proportion of {PAPER_TRAIN} to {PAPER_ALL - PAPER_TRAIN} was kept"
    )


def divide(names: Sequence[str], seed: int) -> tuple[list[str], list[str]]:
    """Divide scenes into training and test, 452 to 113.

    The draw orders the names by a hash, so it depends on nothing but the seed and the names.

    Args:
        names: of at least two scenes.
        seed: of the draw.

    Returns:
        Names for training and for testing, sorted.

    Raises:
        DataError: there are fewer than two.

    Example:
        >>> train, test = divide([f"part1_{number:03d}" for number in range(565)], seed=0)
        >>> len(train), len(test), set(train) & set(test)
        (452, 113, set())
    """
    if len(names) < 2:
        raise DataError(f"{len(names)} usable sequences were found; at least 2 are needed, so give more of SICE")
    drawn = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    count = min(max(round(len(names) * PAPER_TRAIN / PAPER_ALL), 1), len(names) - 1)
    return sorted(drawn[:count]), sorted(drawn[count:])


def prepare_sice(given: Sequence[Path], root: Path, *, seed: int = 0, long_side: int = 600) -> Prepared:
    """Make ``sice/{train,test}/{under,over,ref}/NAME.*`` of SICE's sequences.

    ``split.json``, ``index.csv`` and ``report.html`` say which scenes went where, where each file comes from, and what
    was not used and why. Pictures are reduced to 600 pixels, the size in which repositories of fusion methods pass SICE
    on, and stored as PNG; those of the camera have up to 24 megapixels, of which all scenes fit into no memory.

    Args:
        given: folders, zip or tar archives with SICE's parts.
        root: the data folder; ``sice`` in it must not exist yet.
        seed: of the division.
        long_side: pixels of the longer side; 0 keeps the files as they are.

    Returns:
        What was made.

    Raises:
        DataError: nothing usable was given, there is too little space, or ``sice`` exists.

    Example:
        >>> prepare_sice([Path("Dataset_Part1.zip")], Path("data"), long_side=100)
        Traceback (most recent call last):
        hsds_lib.images.datasets.DataError: the longer side is 100 pixels; give at least 256, or 0 ...
    """
    target = root / "sice"
    if long_side != 0 and long_side < 256:
        raise DataError(f"the longer side is {long_side} pixels; give at least 256, or 0 for the files as they are")
    if target.exists():
        raise DataError(f"{target} exists already; move it away, or name another folder with --to DIR")
    for path in given:
        require_given(path)
    packed = sum(path.stat().st_size for path in given if path.is_file())
    require_space(root, packed + 1_000_000_000)  # photographs hardly shrink in an archive
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".sice-") as name:
        scratch = Path(name)
        folders = [_as_folder(path, scratch / f"given-{number}") for number, path in enumerate(given)]
        stage = scratch / "stage"
        judgements = _judge_all(folders, stage, long_side)
        made = _divide(judgements, stage, target, seed)
        _write_index(stage, judgements, folders)
        settings = {"seed": seed, "long_side": long_side}
        (stage / "report.html").write_text(report_html(judgements, made.train, settings), encoding="utf-8")
        os.rename(stage, target)
    return made


def _as_folder(path: Path, scratch: Path) -> Path:
    if path.is_dir():
        return path
    if not is_archive(path):
        raise DataError(f"{path} is neither a folder nor a zip or tar archive; give SICE's archives or their folders")
    return unpack(path, scratch / path.name.partition(".")[0])


def _judge_all(folders: Sequence[Path], stage: Path, long_side: int) -> list[Judgement]:
    """Judge each sequence and store the pictures of the usable ones; the same pixels are used once only."""
    sequences, seen, judgements = find_sequences(folders), dict[str, str](), list[Judgement]()
    meter = Meter("sice", total=len(sequences), unit="sequences")
    try:
        for sequence in sequences:
            found = judge(sequence, long_side=long_side)
            judgements.append(found)
            _refuse_twins(found, seen)
            if found.usable:
                for role in ROLES:
                    _store(found, role, stage, long_side)
            meter.add(1)
    finally:
        meter.close()
    return judgements


def _refuse_twins(found: Judgement, seen: dict[str, str]) -> None:
    if not found.usable:
        return
    twin = next((seen[digest] for digest in found.hashes.values() if digest in seen), None)
    if twin is not None:
        found.reason = f"has a picture with the same pixels as {twin}"
    elif len(set(found.hashes.values())) < len(found.hashes):
        found.reason = "has the same pixels in two of under, over and reference"
    else:
        seen.update(dict.fromkeys(found.hashes.values(), found.name))


def _store(found: Judgement, role: str, stage: Path, long_side: int) -> None:
    source = found.files[role]
    target = stage / "all" / role / (found.name + (".png" if long_side else source.suffix.lower()))
    target.parent.mkdir(parents=True, exist_ok=True)
    if long_side:
        read_picture(source, long_side).save(target)
    else:
        shutil.copyfile(source, target)


def _divide(judgements: Sequence[Judgement], stage: Path, target: Path, seed: int) -> Prepared:
    names = [found.name for found in judgements if found.usable]
    try:
        train, test = divide(names, seed)
    except DataError as error:  # there will be no report to look into
        reasons = (f"; {found.name} {found.reason}" for found in judgements if not found.usable)
        raise DataError(f"{error}{next(reasons, '')}") from None
    for part, members in (("train", set(train)), ("test", set(test))):
        for role in ROLES:
            (stage / part / role).mkdir(parents=True)
            for path in sorted((stage / "all" / role).iterdir()):
                if path.stem in members:
                    os.rename(path, stage / part / role / path.name)
    shutil.rmtree(stage / "all")
    rule = f"names ordered by sha256 of 'SEED/NAME'; the first {PAPER_TRAIN} of {PAPER_ALL} parts are for training"
    write_json(stage / "split.json", {"seed": seed, "rule": rule, "train": train, "test": test})
    return Prepared(target, train, test, rejected=len(judgements) - len(names))


def _write_index(stage: Path, judgements: Sequence[Judgement], folders: Sequence[Path]) -> None:
    by_name = {found.name: found for found in judgements}
    rows: list[dict[str, object]] = []
    for path in sorted(path for part in ("train", "test") for path in (stage / part).rglob("*") if path.is_file()):
        source = by_name[path.stem].files[path.parent.name]
        inside = next(source.relative_to(folder.parent) for folder in folders if source.is_relative_to(folder))
        row = {"file": path.relative_to(stage).as_posix(), "sha256": file_hash(path), "source": inside.as_posix()}
        rows.append({**row, "source_sha256": file_hash(source)})
    write_index(stage, rows)


if __name__ == "__main__":
    from data_scripts.commands import run_script

    run_script("prepare", "sice")
