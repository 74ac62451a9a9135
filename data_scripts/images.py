"""Sets of single images (MEFB, the SICE sample): fetched file by file, each proven before it is stored."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from data_scripts.download import Downloader, FetchError, require_space
from data_scripts.given import GivenFiles, read_given
from data_scripts.index import read_index, write_index
from data_scripts.meter import Meter
from data_scripts.pictures import decode, pixel_hash, store_png
from data_scripts.registry import Entry, StoredImage
from hsds_lib.images.datasets import DataError
from hsds_lib.runtime import atomic_path, file_hash

DOWNLOADS = ".downloads"  # in the data folder: what is on its way


@dataclass(frozen=True)
class Fetched:
    """What a fetch did.

    Attributes:
        place: the folder or file.
        new: files that were stored.
        kept: files that were there before, and right.

    Example:
        >>> str(Fetched(Path("data"), new=2, kept=78))
        'data: 80 files, 2 of them new'
    """

    place: Path
    new: int
    kept: int

    def __str__(self) -> str:
        """Say it in a line."""
        return f"{self.place}: {self.new + self.kept} files, {self.new} of them new"


def chosen_images(entry: Entry, split: str) -> list[StoredImage]:
    """Choose the images of a split.

    Args:
        entry: a set of images.
        split: "development", "test" or "all"; a set that is not divided is taken whole.

    Returns:
        Its images.

    Raises:
        DataError: for another split.

    Example:
        >>> from data_scripts.registry import load_entry
        >>> [len(chosen_images(load_entry("mefb"), split)) for split in ("development", "test", "all")]
        [80, 120, 200]
    """
    if split not in ("development", "test", "all"):
        raise DataError(f"split '{split}' is not known; choose development, test or all")
    return [image for image in entry.images if "all" in (split, image.split) or image.split == split]


def image_state(image: StoredImage, root: Path) -> str:
    """Compare one stored image with what it should be.

    Args:
        image: of the registry.
        root: the data folder.

    Returns:
        "ok", "missing", "changed", or "unproven" when a converted image has neither recorded pixels nor a row in the
        index that was written when its source was proven.

    Example:
        >>> from data_scripts.registry import load_entry
        >>> image_state(load_entry("mefb").images[0], Path("no-such-folder"))
        'missing'
    """
    path = root / image.path
    if not path.is_file():
        return "missing"
    if not image.converted:
        return "ok" if file_hash(path) == image.source.sha256 else "changed"
    if image.pixels_sha256 is not None:
        try:
            return "ok" if pixel_hash(path) == image.pixels_sha256 else "changed"
        except DataError:
            return "changed"
    folder, _, file = image.path.partition("/")
    row = read_index(root / folder).get(file)
    if row is None or row.get("source_sha256") != image.source.sha256:
        return "unproven"
    return "ok" if file_hash(path) == row["sha256"] else "changed"


def fetch_images(
    entry: Entry,
    root: Path,
    *,
    split: str = "development",
    given: Sequence[Path] = (),
    downloader: Downloader | None = None,
) -> Fetched:
    """Fetch a set of images; those that are there and right are kept.

    Args:
        entry: a set of images.
        root: the data folder.
        split: see ``chosen_images``.
        given: files, folders or archives fetched by hand; nothing is downloaded then.
        downloader: default: one that is patient and shows meters.

    Returns:
        What was done.

    Raises:
        FetchError: a file could not be had from any mirror.
        DataError: lack of space, or a file that was given is missing or another one.

    Example:
        >>> from data_scripts.registry import load_entry
        >>> fetch_images(load_entry("mefb"), Path("data"), split="train")
        Traceback (most recent call last):
        hsds_lib.images.datasets.DataError: split 'train' is not known; choose development, test or all
    """
    images = chosen_images(entry, split)
    wanted = [image for image in images if image_state(image, root) != "ok"]
    if wanted:
        require_space(root, entry.disk * len(wanted) // len(entry.images))
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".given-") as scratch:
            names = {PurePosixPath(image.source.name).name for image in wanted}
            found = read_given(given, names, Path(scratch)) if given else None
            _store_all(entry, wanted, root, found, downloader or Downloader())
        _write_indices(images, root)
    return Fetched(root, new=len(wanted), kept=len(images) - len(wanted))


def _store_all(
    entry: Entry, wanted: list[StoredImage], root: Path, found: GivenFiles | None, downloader: Downloader
) -> None:
    missing = [image for image in wanted if found is not None and found.find(image.source) is None]
    if found is not None and missing:
        others = f" and {len(missing) - 1} more files are missing" if len(missing) > 1 else ""
        raise DataError(f"{found.why_not(missing[0].source)}{others}; give all with --from: {', '.join(entry.by_hand)}")
    downloads = root / DOWNLOADS / entry.name
    meter = Meter(entry.name, total=len(wanted), unit="files")
    try:
        for image in wanted:
            if found is not None:
                source = found.find(image.source)
                assert source is not None  # looked for above
            else:
                source = downloader.fetch(image.source, downloads / image.source.sha256)
            store_image(image, source, root)
            meter.add(1)
    except FetchError as error:
        raise FetchError(f"{error}; {without_network(entry)}") from error
    finally:
        meter.close()
    if found is None:  # kept when something went wrong: the next call goes on from there
        shutil.rmtree(downloads, ignore_errors=True)
        with_nothing_left(root / DOWNLOADS)


def store_image(image: StoredImage, source: Path, root: Path) -> None:
    """Put one proven source in its place: byte for byte, or as PNG where the registry says so.

    Args:
        image: of the registry.
        source: a file whose hash was checked.
        root: the data folder.

    Raises:
        DataError: it decodes to other pixels than those that were recorded.

    Example:
        >>> from data_scripts.registry import RemoteFile
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     source = Path(folder) / "download"
        ...     _ = source.write_bytes(b"bytes of a JPEG")
        ...     image = StoredImage("set/a.jpg", "all", RemoteFile("a.jpg", (), ""), "JPEG", False, None)
        ...     store_image(image, source, Path(folder))
        ...     (Path(folder) / "set" / "a.jpg").read_bytes()
        b'bytes of a JPEG'
    """
    target = root / image.path
    if not image.converted:
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
        return
    if image.pixels_sha256 is not None and pixel_hash(source) != image.pixels_sha256:
        raise DataError(
            f"{image.source.name} is right but decodes to other pixels than recorded; install the locked Pillow"
        )
    store_png(source, target)


def without_network(entry: Entry) -> str:
    """Say what works when nothing can be downloaded.

    Args:
        entry: that was wanted.

    Returns:
        The end of a sentence.

    Example:
        >>> from data_scripts.registry import load_entry
        >>> without_network(load_entry("vgg16"))
        'without it everything runs on data embedded and random features; or fetch https://... and give it with --from'
    """
    return (
        "without it everything runs on data embedded and random features; or fetch "
        f"{' and '.join(entry.by_hand)} by hand and give it with --from"
    )


def with_nothing_left(folder: Path) -> None:
    """Remove a folder if it is empty.

    Args:
        folder: it need not exist.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "empty").mkdir()
        ...     with_nothing_left(Path(folder) / "empty")
        ...     (Path(folder) / "empty").exists()
        False
    """
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _write_indices(images: list[StoredImage], root: Path) -> None:
    """Say in each folder what lies there and how it came about; rows of other splits live in other folders."""
    for name in sorted({image.path.partition("/")[0] for image in images}):
        rows = [_row(image, root) for image in images if image.path.startswith(f"{name}/")]
        write_index(root / name, rows)


def _row(image: StoredImage, root: Path) -> dict[str, object]:
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
