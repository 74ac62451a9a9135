"""SICE's sequences: which pictures of one make a pair, and whether pair and reference can be used."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from hsds_lib.images.datasets import DataError
from hsds_lib.images.io import IMAGE_SUFFIXES

ROLES = ("under", "over", "ref")
FEWEST, MOST = 3, 18  # pictures in a sequence, as published
LARGEST_SHIFT = 1.0  # pixels of the stored picture
_LOOK = 512  # pixels of the longer side at which exposures are compared
_ALIGN = 1024  # likewise, for alignment
_THUMB = 96
_GRAY_LEVELS = (16, 239)
_LEAST_SHARE = 0.10  # of pixels that are neither black nor white
_LEAST_GAP = 0.10  # of the mean luma, in [0, 1]


@dataclass(frozen=True)
class ExposureSequence:
    """The files of one sequence.

    Attributes:
        name: part and number, such as ``dataset_part1_007``.
        images: in the order of their numbers.
        ref: the reference; None where there is none.

    Example:
        >>> ExposureSequence("part1_007", (Path("7/1.JPG"), Path("7/2.JPG")), Path("Label/7.JPG")).ref.name
        '7.JPG'
    """

    name: str
    images: tuple[Path, ...]
    ref: Path | None


@dataclass
class Judgement:
    """What came of one sequence.

    Attributes:
        name: of the sequence.
        reason: why it is not used; None where it is.
        files: role to file, as far as they were chosen.
        shift: largest shift between the three, pixels of the stored picture.
        thumbnails: role to a JPEG as base64.
        hashes: of the pixels that are stored.

    Example:
        >>> Judgement("part1_007", reason="has no reference").usable
        False
    """

    name: str
    reason: str | None
    files: dict[str, Path]
    shift: float | None
    thumbnails: dict[str, str]
    hashes: dict[str, str]

    def __init__(self, name: str, reason: str | None = None) -> None:
        """Begin with nothing chosen."""
        self.name, self.reason, self.shift = name, reason, None
        self.files, self.thumbnails, self.hashes = {}, {}, {}

    @property
    def usable(self) -> bool:
        """Whether nothing speaks against it."""
        return self.reason is None


def find_sequences(folders: Iterable[Path]) -> list[ExposureSequence]:
    """Find the sequences of SICE in folders: ``PART/N/1.JPG ...`` with ``PART/Label/N.JPG``.

    Args:
        folders: each holds one part or several, at any depth.

    Returns:
        Sequences by part and number. A part is called like its folder; a second one of the same name gets a number.

    Raises:
        DataError: there is no folder ``Label`` with numbered folders beside it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("Part1/7/1.JPG", "Part1/7/2.JPG", "Part1/Label/7.JPG"):
        ...         (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
        ...         (Path(folder) / name).touch()
        ...     [(found.name, len(found.images), found.ref.name) for found in find_sequences([Path(folder)])]
        [('part1_007', 2, '7.JPG')]
    """
    folders, found, used = list(folders), list[ExposureSequence](), dict[str, int]()
    for folder in folders:
        labels = [path for path in [folder, *folder.rglob("*")] if path.is_dir() and path.name.lower() == "label"]
        for label in sorted(labels):
            numbered = [path for path in label.parent.iterdir() if path.is_dir() and path.name.isdigit()]
            slug = "".join(letter if letter.isalnum() else "_" for letter in label.parent.name.lower()) or "part"
            if numbered:
                used[slug] = used.get(slug, 0) + 1
                slug += f"-{used[slug]}" if used[slug] > 1 else ""
            refs = _by_number(label)
            for place in sorted(numbered, key=lambda path: int(path.name)):
                images = tuple(path for _, path in sorted(_by_number(place).items()))
                found.append(ExposureSequence(f"{slug}_{int(place.name):03d}", images, refs.get(int(place.name))))
    if not found:
        places = ", ".join(map(str, folders))
        raise DataError(f"{places} holds no sequences of SICE; expected PART/N/1.JPG ... with PART/Label/N.JPG")
    return found


def _by_number(folder: Path) -> dict[int, Path]:
    files = (path for path in sorted(folder.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    return {int(path.stem): path for path in files if path.stem.isdigit()}


def judge(sequence: ExposureSequence, *, long_side: int) -> Judgement:
    """Choose the pair of a sequence and check it.

    The rule: pictures are ordered by mean luma, not by number, because numbers follow the camera's exposure value and
    not what it gave. ``under`` is the darkest and ``over`` the brightest picture of which at least a tenth of the
    pixels is neither black nor white (8-bit luma 16 to 239). The extremes, because a pair has to span the range of the
    scene for a fusion to have something to do; with that bound, because a picture that is all black or all white says
    nothing about it. Their mean luma has to differ by a tenth of the range.

    Not used is a sequence without a reference, with fewer than 3 or more than 18 pictures (as published), with a file
    that cannot be read, of different sizes, or whose over-exposed picture and one of the other two are shifted by a
    pixel or more of what is stored (phase correlation of histogram-equalised gray). That measure errs on pairs of great
    difference: of 52 real pairs that are used (40 of MEFB, 12 of the SICE sample), it finds a pixel or more in three.

    Args:
        sequence: of ``find_sequences``.
        long_side: pixels of what is stored; 0 for the size of the picture.

    Returns:
        The judgement.

    Example:
        >>> judge(ExposureSequence("part1_007", (), None), long_side=600).reason
        'has 0 pictures, expected 3 to 18'
    """
    found = Judgement(sequence.name)
    if not FEWEST <= len(sequence.images) <= MOST:
        found.reason = f"has {len(sequence.images)} pictures, expected {FEWEST} to {MOST}"
    elif sequence.ref is None:
        found.reason = "has no reference"
    else:
        try:
            found.reason = _choose(sequence.images, sequence.ref, found) or _check(found, long_side)
        except DataError as error:
            found.reason = str(error)
    return found


def _choose(images: tuple[Path, ...], ref: Path, found: Judgement) -> str | None:
    lumas = []
    for path in images:
        gray = np.asarray(read_picture(path, _LOOK, exact=False).convert("L"))
        low, high = _GRAY_LEVELS
        if ((gray >= low) & (gray <= high)).mean() >= _LEAST_SHARE:
            lumas.append((float(gray.mean()) / 255, path))
    if len(lumas) < 2:
        return "has fewer than two pictures that are neither black nor white"
    (dark, under), (bright, over) = min(lumas), max(lumas)
    found.files = {"under": under, "over": over, "ref": ref}
    found.thumbnails = {role: _thumbnail(path) for role, path in found.files.items()}
    if bright - dark < _LEAST_GAP:
        return f"has pictures whose mean luma differs by {bright - dark:.2f} only, expected {_LEAST_GAP:.2f} or more"
    return None


def _check(found: Judgement, long_side: int) -> str | None:
    pictures = {role: read_picture(path, long_side) for role, path in found.files.items()}
    sizes = {role: f"{picture.width} x {picture.height}" for role, picture in pictures.items()}
    if len(set(sizes.values())) > 1:
        return "has pictures of different sizes: " + ", ".join(f"{role} {size}" for role, size in sizes.items())
    found.hashes = {
        role: hashlib.sha256(f"{sizes[role]}\n".encode() + picture.tobytes()).hexdigest()
        for role, picture in pictures.items()
    }
    found.shift = max(shift_between(pictures["over"], pictures[role]) for role in ("under", "ref"))
    if found.shift >= LARGEST_SHIFT:
        return f"is not aligned: shifted by {found.shift:.1f} pixels, expected less than {LARGEST_SHIFT:g}"
    return None


def shift_between(one: Image.Image, other: Image.Image) -> float:
    """Measure how far two pictures of a scene are shifted, whatever their exposure.

    Args:
        one: a picture.
        other: of the same size.

    Returns:
        The distance, pixels, by phase correlation of histogram-equalised gray (at most 1024 pixels on a side).

    Raises:
        DataError: they have fewer than 8 pixels on a side.

    Example:
        >>> noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 80), dtype=np.uint8))
        >>> moved = Image.fromarray(np.roll(np.asarray(noise), 3, axis=1))
        >>> round(shift_between(noise, moved)), round(shift_between(noise, noise))
        (3, 0)
    """
    import cv2

    longer = max(one.size)
    scale = max(1.0, longer / _ALIGN)
    size = (max(1, round(one.width / scale)), max(1, round(one.height / scale)))
    grays = [
        cv2.equalizeHist(np.asarray(picture.convert("L").resize(size, Image.Resampling.BOX))).astype(np.float32)
        for picture in (one, other)
    ]
    if min(size) < 8:
        raise DataError(f"has pictures of {one.width} x {one.height} pixels, too small to be aligned")
    window = cv2.createHanningWindow(size, cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(grays[0], grays[1], window)
    return float(np.hypot(x, y) * scale)


def read_picture(path: Path, long_side: int, *, exact: bool = True) -> Image.Image:
    """Read a picture as 8-bit RGB, upright, reduced to a size.

    Args:
        path: an image file.
        long_side: pixels of the longer side at most; 0 keeps the size.
        exact: False allows the decoder of JPEGs to reduce, which is quick and a little different.

    Returns:
        The picture.

    Raises:
        DataError: it cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (60, 40)).save(Path(folder) / "a.png")
        ...     read_picture(Path(folder) / "a.png", 30).size
        (30, 20)
    """
    try:
        with Image.open(path, formats=("JPEG", "PNG", "TIFF", "WEBP")) as opened:
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
    read_picture(path, _THUMB, exact=False).save(buffer, format="JPEG", quality=70)
    return base64.b64encode(buffer.getvalue()).decode()
