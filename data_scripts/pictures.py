"""Hashes of files and of pixels, and conversion to PNG that leaves the pixels as they are."""

from __future__ import annotations

import hashlib
from pathlib import Path

from PIL import Image

from hsds_lib.images.datasets import DataError
from hsds_lib.runtime import atomic_path

_FORMATS = ("PNG", "JPEG", "TIFF")


def pixel_hash(path: Path) -> str:
    """Give SHA-256 of the size and the pixels of an 8-bit RGB image, whatever its file format.

    EXIF orientation of JPEGs and colour profiles are not applied: this is about what is stored. (Pillow turns a TIFF as
    its own tag says while it decodes.)

    Args:
        path: a PNG, JPEG or TIFF file.

    Returns:
        64 hexadecimal digits.

    Raises:
        DataError: it is not such an image, or damaged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     one, other = Path(folder) / "one.png", Path(folder) / "other.tif"
        ...     Image.new("RGB", (3, 2), (1, 2, 3)).save(one)
        ...     Image.new("RGB", (3, 2), (1, 2, 3)).save(other)
        ...     pixel_hash(one) == pixel_hash(other), one.read_bytes() == other.read_bytes()
        (True, False)
    """
    image = decode(path)
    return hashlib.sha256(f"{image.width}x{image.height} RGB\n".encode() + image.tobytes()).hexdigest()


def decode(path: Path) -> Image.Image:
    """Read the stored pixels of an 8-bit RGB image.

    Args:
        path: a PNG, JPEG or TIFF file; its content decides, not its suffix.

    Returns:
        The picture, in memory, ``(H, W, 3)`` as an array.

    Raises:
        DataError: it is not such an image, or damaged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (3, 2)).save(Path(folder) / "black.png")
        ...     decode(Path(folder) / "black.png").size
        (3, 2)
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            image.load()
            if image.mode != "RGB":
                raise DataError(f"{path} has the colour mode {image.mode}; expected 8-bit RGB")
            return image.copy()
    except DataError:
        raise
    except Exception as error:  # decoders raise almost anything on a damaged file
        raise DataError(f"{path} is not a readable PNG, JPEG or TIFF image ({error}); fetch it again") from error


def store_png(source: Path, target: Path) -> None:
    """Store an image as PNG without loss, and prove it by decoding the result.

    Args:
        source: a PNG, JPEG or TIFF file, 8-bit RGB.
        target: the PNG file; it appears whole or not at all.

    Raises:
        DataError: the source is not such an image, or the copy does not have its pixels.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     source, target = Path(folder) / "a.tif", Path(folder) / "a.png"
        ...     Image.new("RGB", (3, 2), (9, 8, 7)).save(source)
        ...     store_png(source, target)
        ...     pixel_hash(source) == pixel_hash(target)
        True
    """
    with atomic_path(target) as temporary:
        picture = decode(source)
        picture.info.clear()  # neither profile nor gamma: pixels only
        picture.save(temporary, format="PNG", optimize=True)
        if pixel_hash(temporary) != pixel_hash(source):
            raise DataError(f"{source} could not be stored as PNG with the same pixels; install the locked Pillow")
