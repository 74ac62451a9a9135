"""SICE: from archives that were fetched by hand to pairs with references, a seeded division, and a report.

``under`` is the darkest and ``over`` the brightest picture of a sequence of which at least a tenth of the pixels is
neither black nor white (8-bit luma 16 to 239). Pictures are ordered by mean luma, not by number, because numbers follow
the camera's exposure value and not what it gave. The extremes, because a pair has to span the range of the scene for a
fusion to have something to do; with that bound, because a picture that is all black or all white says nothing about it.
Their mean luma has to differ by a tenth of the range.

Not used is a sequence without a reference, with fewer than 3 or more than 18 pictures (as published), with a file that
cannot be read, of different sizes, with pixels that were there before, or whose over-exposed picture and one of the
other two are shifted by a pixel or more of what is stored, as :func:`hsds_lib.images.align.shift_between` measures. Of
52 real pairs that are used (40 of MEFB, 12 of the SICE sample), it finds that in one, which is shifted.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import numpy as np
from PIL import Image, ImageOps

from data_scripts.archives import is_archive, require_given, unpack
from data_scripts.download import EVERY, require_space
from data_scripts.registry import below, write_index
from hsds_lib.images.align import LEAST_SIDE, shift_between
from hsds_lib.images.datasets import IMAGE_SUFFIXES, DataError
from hsds_lib.outputs import require_apart
from hsds_lib.runs.progress import Progress
from hsds_lib.runtime import file_hash, write_json

ROLES = {"under": "under-exposed picture", "over": "over-exposed picture", "ref": "reference"}
PAPER_TRAIN, PAPER_ALL = 452, 565
FEWEST, MOST = 3, 18  # pictures in a sequence, as published
LARGEST_SHIFT = 1.0  # pixels of the stored picture
_LOOK = 512  # pixels of the longer side at which exposures are compared
_THUMB = 96
_GRAY_LEVELS = (16, 239)
_LEAST_SHARE = 0.10  # of pixels that are neither black nor white
_LEAST_GAP = 0.10  # of the mean luma, in [0, 1]


@dataclass
class ExposureSequence:
    """The files of one sequence, and what came of it.

    ``name`` is part and number, such as ``dataset_part1_007``, ``ref`` the reference and ``reason`` why it is not used;
    both may be None. ``files``, ``thumbnails`` (JPEG as base64) and ``hashes`` (of the pixels that are stored) are by
    role, as far as pictures were chosen; ``shift`` is the largest between the three, pixels of the stored picture.
    """

    name: str
    images: tuple[Path, ...]
    ref: Path | None
    reason: str | None = None
    files: dict[str, Path] = field(default_factory=dict)
    shift: float = 0.0
    thumbnails: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Prepared:
    """What was made of the sequences: a folder, names of scenes, and how many sequences are not used."""

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
            text += (
                f"\nnot the paper's {PAPER_ALL} scenes, so its proportion of {PAPER_TRAIN} to "
                f"{PAPER_ALL - PAPER_TRAIN} was kept"
            )
        return text


def prepare_sice(given: Sequence[Path], root: Path, *, seed: int = 0, long_side: int = 600) -> Prepared:
    """Make ``sice/{train,test}/{under,over,ref}/NAME.*`` in the data folder of folders or archives with SICE's parts.

    ``split.json``, ``index.csv`` and ``report.html`` say which scenes went where, where each file comes from, and what
    was not used and why. Pictures are reduced to 600 pixels, the size in which repositories of fusion methods pass SICE
    on, and stored as PNG; those of the camera have up to 24 megapixels, of which all scenes fit into no memory. With
    ``long_side`` 0 the files are kept as they are. DataError where nothing usable was given, there is too little space,
    or ``sice`` exists.
    """
    target = root / "sice"
    if long_side != 0 and long_side < 256:
        raise DataError(f"the longer side is {long_side} pixels; give at least 256, or 0 for the files as they are")
    if target.exists():
        raise DataError(f"{target} exists already; move it away, or name another folder with --to DIR")
    for path in given:
        require_given(path)
    require_apart(target, *given)
    packed = sum(path.stat().st_size for path in given if path.is_file())
    require_space(root, packed + 1_000_000_000)  # photographs hardly shrink in an archive
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".sice-") as name:
        scratch, stage = Path(name), Path(name) / "stage"
        folders = [_as_folder(path, scratch / f"given-{number}") for number, path in enumerate(given)]
        sequences = _judge_all(find_sequences(folders), long_side)
        used = [found for found in sequences if found.reason is None]
        reasons = [f"; {found.name} {found.reason}" for found in sequences if found.reason is not None]
        try:
            train, test = divide([found.name for found in used], seed)
        except DataError as error:  # there will be no report to look into
            raise DataError(f"{error}{''.join(reasons[:1])}") from None
        made = Prepared(target, train, test, rejected=len(reasons))
        _store_all(used, made, stage, folders, long_side)
        rule = f"names ordered by sha256 of 'SEED/NAME'; the first {PAPER_TRAIN} of {PAPER_ALL} parts are for training"
        write_json(stage / "split.json", {"seed": seed, "rule": rule, "train": made.train, "test": made.test})
        (stage / "report.html").write_text(_report(sequences, made, seed, long_side), encoding="utf-8")
        os.rename(stage, target)
    return made


def _as_folder(path: Path, scratch: Path) -> Path:
    if path.is_dir():
        return path
    if not is_archive(path):
        raise DataError(f"{path} is neither a folder nor a zip or tar archive; give SICE's archives or their folders")
    return unpack(path, scratch / path.name.partition(".")[0])


def find_sequences(folders: Sequence[Path]) -> list[ExposureSequence]:
    """Find the sequences of SICE in folders, at any depth: ``PART/N/1.JPG ...`` with ``PART/Label/N.JPG``.

    By part and number; a part is called like its folder, and a second one of the same name gets a number. DataError if
    there is no folder ``Label`` with numbered folders beside it.
    """
    found, used = list[ExposureSequence](), dict[str, int]()
    for folder in folders:
        labels = [path for path in [folder, *below(folder)] if path.is_dir() and path.name.lower() == "label"]
        for label in sorted(labels):
            numbered = _by_number(path for path in label.parent.iterdir() if path.is_dir())
            slug = "".join(letter if letter.isalnum() else "_" for letter in label.parent.name.lower()) or "part"
            if numbered:
                used[slug] = used.get(slug, 0) + 1
                slug += f"-{used[slug]}" if used[slug] > 1 else ""
            refs = _pictures(label)
            for number, place in sorted(numbered.items()):
                images = tuple(path for _, path in sorted(_pictures(place).items()))
                found.append(ExposureSequence(f"{slug}_{number:03d}", images, refs.get(number)))
    if not found:
        places = ", ".join(map(str, folders))
        raise DataError(f"{places} holds no sequences of SICE; expected PART/N/1.JPG ... with PART/Label/N.JPG")
    return found


def _pictures(folder: Path) -> dict[int, Path]:
    return _by_number(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def _by_number(paths: Iterable[Path]) -> dict[int, Path]:
    """Those that are called by a number; DataError where two have the same, such as 7 and 07."""
    found = dict[int, Path]()
    for path in sorted(paths):
        if re.fullmatch("[0-9]+", path.stem):  # str.isdigit takes superscripts too, of which int makes nothing
            twin = found.setdefault(int(path.stem), path)
            if twin is not path:
                raise DataError(f"{path.parent} holds '{twin.name}' and '{path.name}', one number; move one away")
    return found


def _judge_all(sequences: list[ExposureSequence], long_side: int) -> list[ExposureSequence]:
    """Choose the pair of each and check it; what cannot be used gets its reason."""
    seen: dict[str, str] = {}
    with Progress(len(sequences), label="sice", unit="sequences", every=EVERY) as progress:
        for found in sequences:
            try:
                _choose(found)
                _check(found, long_side)
                _refuse_twins(found, seen)
            except DataError as error:
                found.reason = str(error)
            progress.step()
    return sequences


def _choose(found: ExposureSequence) -> None:
    if not FEWEST <= len(found.images) <= MOST:
        raise DataError(f"has {len(found.images)} pictures, expected {FEWEST} to {MOST}")
    if found.ref is None:
        raise DataError("has no reference")
    lumas = []
    for path in found.images:
        gray = np.asarray(_read(path, _LOOK, exact=False).convert("L"))
        low, high = _GRAY_LEVELS
        if ((gray >= low) & (gray <= high)).mean() >= _LEAST_SHARE:
            lumas.append((float(gray.mean()) / 255, path))
    if len(lumas) < 2:
        raise DataError("has fewer than two pictures that are neither black nor white")
    (dark, under), (bright, over) = min(lumas), max(lumas)
    found.files = {"under": under, "over": over, "ref": found.ref}
    found.thumbnails = {role: _thumbnail(path) for role, path in found.files.items()}
    if bright - dark < _LEAST_GAP:
        gap = f"{bright - dark:.2f} only, expected {_LEAST_GAP:.2f} or more"
        raise DataError(f"has pictures whose mean luma differs by {gap}")


def _check(found: ExposureSequence, long_side: int) -> None:
    pictures = {role: _read(path, long_side) for role, path in found.files.items()}
    sizes = {role: f"{picture.width} x {picture.height}" for role, picture in pictures.items()}
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{role} {size}" for role, size in sizes.items())
        raise DataError(f"has pictures of different sizes: {said}")
    found.hashes = {
        role: hashlib.sha256(f"{sizes[role]}\n".encode() + picture.tobytes()).hexdigest()
        for role, picture in pictures.items()
    }
    grays = {role: np.asarray(picture.convert("L"), dtype=np.float32) for role, picture in pictures.items()}
    if min(grays["over"].shape) < LEAST_SIDE:
        raise DataError(f"has pictures of {sizes['over']} pixels, too small to be aligned")
    found.shift = max(float(np.hypot(*shift_between(grays["over"], grays[role]))) for role in ("under", "ref"))
    if found.shift >= LARGEST_SHIFT:
        expected = f"expected less than {LARGEST_SHIFT:g}"
        raise DataError(f"is not aligned: shifted by {found.shift:.1f} pixels, {expected}")


def _refuse_twins(found: ExposureSequence, seen: dict[str, str]) -> None:
    """The same pixels are used once only."""
    twin = next((seen[digest] for digest in found.hashes.values() if digest in seen), None)
    if twin is not None:
        raise DataError(f"has a picture with the same pixels as {twin}")
    if len(set(found.hashes.values())) < len(found.hashes):
        raise DataError("has the same pixels in two of under, over and reference")
    seen.update(dict.fromkeys(found.hashes.values(), found.name))


def _read(path: Path, long_side: int, *, exact: bool = True) -> Image.Image:
    """A picture as 8-bit RGB, upright, reduced; not ``exact`` lets JPEG's decoder reduce, quick and a bit different."""
    try:
        with Image.open(path, formats=("JPEG", "PNG", "TIFF", "WEBP", "BMP", "AVIF")) as opened:
            if long_side and not exact:
                opened.draft("RGB", (long_side, long_side))
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except Exception as error:  # decoders raise almost anything on a damaged file
        raise DataError(f"has a picture that cannot be read: {path.name} ({type(error).__name__})") from error
    longer = max(picture.size)
    if not long_side or longer <= long_side:
        return picture
    size = [max(1, round(side * long_side / longer)) for side in picture.size]
    return picture.resize((size[0], size[1]), Image.Resampling.LANCZOS)


def _thumbnail(path: Path) -> str:
    buffer = io.BytesIO()
    _read(path, _THUMB, exact=False).save(buffer, format="JPEG", quality=70)
    return base64.b64encode(buffer.getvalue()).decode()


def divide(names: Sequence[str], seed: int) -> tuple[list[str], list[str]]:
    """Divide scenes into training and test, 452 to 113; DataError where there are fewer than two.

    The draw orders the names by a hash, so it depends on nothing but the seed and the names.
    """
    if len(names) < 2:
        raise DataError(f"{len(names)} usable sequences were found; at least 2 are needed, so give more of SICE")
    drawn = sorted(names, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    count = min(max(round(len(names) * PAPER_TRAIN / PAPER_ALL), 1), len(names) - 1)
    return sorted(drawn[:count]), sorted(drawn[count:])


def _store_all(
    used: Sequence[ExposureSequence], made: Prepared, stage: Path, folders: Sequence[Path], long_side: int
) -> None:
    """Store the pictures of the usable sequences, and the index."""
    rows: list[dict[str, str]] = []
    with Progress(len(used), label="sice", unit="scenes", every=EVERY) as progress:
        for found in used:
            for role, source in found.files.items():
                suffix = ".png" if long_side else source.suffix.lower()
                name = f"{'train' if found.name in made.train else 'test'}/{role}/{found.name}{suffix}"
                (stage / name).parent.mkdir(parents=True, exist_ok=True)
                if long_side:
                    _read(source, long_side).save(stage / name)
                else:
                    shutil.copyfile(source, stage / name)
                inside = next(source.relative_to(folder.parent) for folder in folders if source.is_relative_to(folder))
                said = inside.as_posix().encode(errors="backslashreplace").decode()  # a name need not be UTF-8
                row = {"file": name, "sha256": file_hash(stage / name), "source": said}
                rows.append({**row, "source_sha256": file_hash(source)})
            progress.step()
    rows.sort(key=lambda row: row["file"])
    write_index(stage, rows)


def _report(sequences: Sequence[ExposureSequence], made: Prepared, seed: int, long_side: int) -> str:
    """What was found, as one HTML file that needs nothing else."""
    page = jinja2.Environment(
        loader=jinja2.PackageLoader("data_scripts", ""), autoescape=True, trim_blocks=True, keep_trailing_newline=True
    )
    return page.get_template("sice_report.html.j2").render(
        roles=ROLES,
        train=len(made.train),
        test=len(made.test),
        rejected=[(found, found.reason) for found in sequences if found.reason is not None],
        used=[
            (found, f"{'training' if found.name in made.train else 'test'}, {found.shift:.2f}")
            for found in sequences
            if found.reason is None
        ],
        seed=seed,
        long_side=long_side,
    )


if __name__ == "__main__":
    from data_scripts.commands import run_script

    run_script("prepare", "sice")
