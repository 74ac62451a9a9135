"""Sets of single images (MEFB, the SICE sample): fetched file by file, each proven before it is stored.

What is converted is stored as PNG with its pixels as they are: EXIF orientation of JPEGs and colour profiles are not
applied. (Pillow turns a TIFF as its own tag says while it decodes.)
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from PIL import Image

from data_scripts.archives import read_given, require_given
from data_scripts.download import EVERY, Downloader, Fetched, advice, arrived, on_its_way, require_space
from data_scripts.registry import Entry, RemoteFile, StoredImage, read_index, write_index
from hsds_lib.images.datasets import DataError
from hsds_lib.outputs import require_apart
from hsds_lib.runs.progress import Progress
from hsds_lib.runtime import atomic_path, file_hash


def decode(path: Path) -> Image.Image:
    """Read the stored pixels of an 8-bit RGB image, (H, W, 3) as an array; DataError if it is none, or damaged.

    PNG, JPEG or TIFF: the content decides, not the suffix.
    """
    try:
        with Image.open(path, formats=("PNG", "JPEG", "TIFF")) as image:
            image.load()
            if image.mode != "RGB":
                raise DataError(f"{path} has the colour mode {image.mode}; expected 8-bit RGB")
            return image.copy()
    except DataError:
        raise
    except Exception as error:  # decoders raise almost anything on a damaged file
        raise DataError(f"{path} is not a readable PNG, JPEG or TIFF image ({error}); fetch it again") from error


def pixel_hash(path: Path) -> str:
    """SHA-256 of size and pixels of an 8-bit RGB image, whatever its file format."""
    image = decode(path)
    return hashlib.sha256(f"{image.width}x{image.height} RGB\n".encode() + image.tobytes()).hexdigest()


def store_png(source: Path, target: Path) -> None:
    """Store an image as PNG without loss, whole or not at all; DataError if the copy does not decode to its pixels."""
    with atomic_path(target) as temporary:
        picture = decode(source)
        picture.info.clear()  # neither profile nor gamma: pixels only
        picture.save(temporary, format="PNG", optimize=True)
        if pixel_hash(temporary) != pixel_hash(source):
            raise DataError(f"{source} could not be stored as PNG with the same pixels; install the locked Pillow")


def store_image(image: StoredImage, source: Path, root: Path) -> None:
    """Put a source whose hash was checked in its place, byte for byte, or as PNG where the registry says so.

    DataError if it decodes to other pixels than those that were recorded, or would lie over a file that is not named in
    the index. (One that would be converted to the same pixels was left by an interrupted fetch, and stays.)
    """
    target = root / image.path
    require_apart(target, source)
    if target.exists() and _indexed(image, root) is None:
        if not image.converted or _pixels(target) != pixel_hash(source):
            raise DataError(f"{target} was not fetched from here; move it away first")
        return
    if not image.converted:
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
        return
    if image.pixels_sha256 is not None and pixel_hash(source) != image.pixels_sha256:
        raise DataError(
            f"{image.source.name} is right but decodes to other pixels than recorded; install the locked Pillow"
        )
    store_png(source, target)


def image_state(image: StoredImage, root: Path) -> str:
    """Compare one stored image with what it should be: "ok", "missing" or "changed".

    Or "unproven", when a converted image has neither recorded pixels nor a row in the index that was written when its
    source was proven.
    """
    path = root / image.path
    if not path.is_file():
        return "missing"
    if not image.converted:
        return "ok" if file_hash(path) == image.source.sha256 else "changed"
    if image.pixels_sha256 is not None:
        return "ok" if _pixels(path) == image.pixels_sha256 else "changed"
    row = _indexed(image, root)
    if row is None or row.get("source_sha256") != image.source.sha256:
        return "unproven"
    return "ok" if file_hash(path) == row["sha256"] else "changed"


def _indexed(image: StoredImage, root: Path) -> dict[str, str] | None:
    folder, _, file = image.path.partition("/")
    return read_index(root / folder).get(file)


def _pixels(path: Path) -> str | None:
    with suppress(DataError):
        return pixel_hash(path)
    return None


def chosen_images(entry: Entry, split: str) -> list[StoredImage]:
    """Images of a split, "development", "test" or "all" (else DataError); a set that is not divided is taken whole."""
    if split not in ("development", "test", "all"):
        raise DataError(f"split '{split}' is not known; choose development, test or all")
    return [image for image in entry.images if "all" in (split, image.split) or image.split == split]


def fetch_images(
    entry: Entry,
    root: Path,
    *,
    split: str = "development",
    given: Sequence[Path] = (),
    downloader: Downloader | None = None,
) -> Fetched:
    """Fetch a set of images into the data folder; those that are there and right are kept.

    If files, folders or archives fetched by hand are ``given``, nothing is downloaded. A FetchError where a file could
    not be had from any mirror, a DataError for lack of space or a given file that is missing or another one.
    """
    images = chosen_images(entry, split)
    wanted = [image for image in images if image_state(image, root) != "ok"]
    if wanted:
        for path in given:
            require_given(path)  # before a folder is made
        require_space(root, entry.disk * len(wanted) // len(entry.images))
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".given-") as scratch:
            names = {PurePosixPath(image.source.name).name for image in wanted}
            found = read_given(given, names, Path(scratch)) if given else None
            _store_all(entry, wanted, root, found, downloader or Downloader())
        for folder in sorted({image.path.partition("/")[0] for image in images}):
            write_index(root / folder, [_row(image, root) for image in images if image.path.startswith(f"{folder}/")])
    return Fetched(root, new=len(wanted), kept=len(images) - len(wanted))


def _store_all(
    entry: Entry, wanted: list[StoredImage], root: Path, found: dict[str, Path] | None, downloader: Downloader
) -> None:
    if found is not None:
        _require_all(entry, [image.source for image in wanted], found)
    downloads = on_its_way(root, entry) if found is None else root
    with advice(entry), Progress(len(wanted), label=entry.name, unit="files", every=EVERY) as progress:
        for image in wanted:
            digest = image.source.sha256
            source = found[digest] if found is not None else downloader.fetch(image.source, downloads / digest)
            store_image(image, source, root)
            progress.step()
    if found is None:  # kept when something went wrong: the next call goes on from there
        arrived(downloads)


def _require_all(entry: Entry, wanted: list[RemoteFile], found: dict[str, Path]) -> None:
    """Name the first file that was not given, with both hashes when another one was that is called like it."""
    missing = [file for file in wanted if file.sha256 not in found]
    if not missing:
        return
    name, expected = missing[0].name, missing[0].sha256
    called = PurePosixPath(name).name.lower()
    other = next((digest for digest, path in found.items() if path.name.lower() == called), None)
    why = f"(sha256 {expected}) was not given" if other is None else f"has sha256 {other}, expected {expected}"
    others = f" and {len(missing) - 1} more files are missing" if len(missing) > 1 else ""
    raise DataError(f"{name} {why}{others}; give all with --from: {', '.join(entry.by_hand)}")


def _row(image: StoredImage, root: Path) -> dict[str, object]:
    """How an image came about, for the index of its folder."""
    path = root / image.path
    width, height = decode(path).size
    return {
        "file": image.path.partition("/")[2],
        "width": width,
        "height": height,
        "sha256": file_hash(path),
        "source": image.source.name,
        "source_format": image.source_format,
        "source_sha256": image.source.sha256,
        "conversion": "decoded and stored as PNG, pixels unchanged" if image.converted else "none, byte for byte",
    }
