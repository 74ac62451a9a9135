"""What an image file is by its bytes: named where it cannot be read here, and tested where decoders look away."""

from __future__ import annotations

import stat
import zlib
from contextlib import suppress
from pathlib import Path

import kornia_rs
from PIL import Image

from hsds_lib.images.datasets import IMAGE_SUFFIXES, ImageError

READABLE = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "AVIF", "HEIF")
"""Pillow's names of the formats that are read here; HEIF needs the package pillow-heif."""
SUFFIX_LIST = ", ".join(IMAGE_SUFFIXES)
_RAW = ("CR2", "CR3", "CRW", "NEF", "NRW", "ARW", "SR2", "DNG", "RAF", "ORF", "RW2", "PEF", "SRW", "3FR", "IIQ", "X3F")
_RAW_STARTS = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"II\x1a\0\0\0HEAPCCDR", b"FOVb")
_OTHERS = {
    b"GIF8": "GIF picture",
    b"8BPS": "Photoshop document",
    b"gimp xcf": "GIMP document",
    b"\x76\x2f\x31\x01": "OpenEXR picture",
    b"#?RADIANCE": "Radiance HDR picture",
    b"\xff\x0a": "JPEG XL picture",
    b"\0\0\0\x0cJXL ": "JPEG XL picture",
    b"\0\0\0\x0cjP  ": "JPEG 2000 picture",
    b"%PDF": "PDF document",
}
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_MOST_BYTES = 2**31  # the largest picture that Pillow opens has less, also with 16 bits


def read_file(path: Path) -> bytes:
    """Read a file that may be an image; ImageError if there is none, or something else that bears its name."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise ImageError(f"{path} does not exist; give an image file ({SUFFIX_LIST})") from None
    except (OSError, ValueError) as error:  # such as a name that is too long, or a link to itself
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{path} cannot be looked up ({reason}); give another name") from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{path} is a folder; give an image file ({SUFFIX_LIST})")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{path} is a pipe, a device or a socket; give an image file ({SUFFIX_LIST})")
    if status.st_size == 0:
        raise ImageError(f"{path} is empty (0 bytes); export or copy it again")
    if status.st_size > _MOST_BYTES:
        raise ImageError(f"{path} has {status.st_size} bytes, too many for a picture; reduce it")
    try:
        return path.read_bytes()
    except PermissionError:
        raise ImageError(f"{path} may not be read; change its permissions or copy it") from None
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror}); copy it again") from error


def use_heif() -> None:
    """Let Pillow read HEIC where the package pillow-heif is installed."""
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()


def refusal(path: Path, content: bytes) -> str:
    """Say what a file is that Pillow does not take for an image, and the way out."""
    brand = content[8:12] if content[4:8] == b"ftyp" else b""
    if content.startswith(_RAW_STARTS) or brand == b"crx " or _has_raw_suffix(path):
        return raw_refusal(path)
    if brand in _HEIF_BRANDS:
        return f"{path} is a HEIC photograph; install the package pillow-heif, or export it as JPEG, PNG or TIFF"
    if brand in {b"avif", b"avis"}:
        return f"{path} is an AVIF picture that this Pillow cannot read; export it as JPEG, PNG or TIFF"
    for start, kind in _OTHERS.items():
        if content.startswith(start):
            return f"{path} is a {kind}; export it as PNG, JPEG or TIFF"
    return f"{path} is not a readable image; give a PNG, JPEG, TIFF, WebP, BMP, AVIF or HEIC file"


def raw_refusal(path: Path) -> str:
    """Say that a file holds what a camera's sensor saw, and the way out."""
    return f"{path} is a camera's RAW file; develop it and export a TIFF with 16 bits, or a JPEG"


def is_raw(path: Path, image: Image.Image, content: bytes) -> bool:
    """Whether what Pillow opened is but the preview in a RAW file, most of which are TIFF files by their bytes."""
    tags = getattr(image, "tag_v2", {})
    # DNGVersion; the reduced picture comes first; Canon's mark
    return _has_raw_suffix(path) or 50706 in tags or bool(tags.get(254, 0) & 1) or content[8:10] == b"CR"


def _has_raw_suffix(path: Path) -> bool:
    return path.suffix[1:].upper() in _RAW


def damage(image: Image.Image, content: bytes) -> str:
    """Say what is wrong with the bytes of an opened image that its decoder may pass over; "" for nothing.

    PNG: the checksum of every chunk, up to the last. JPEG: all that libjpeg warns about, such as data that end early
    or do not fill the picture. TIFF: the place of every strip or tile, and the checksums of those that are deflated.
    WebP: its length. What has no checksum (BMP, AVIF, HEIC, TIFF otherwise, WebP's pixels) cannot be tested.
    """
    view = memoryview(content)
    if image.format == "PNG":
        return _png_damage(view)
    if image.format in {"JPEG", "MPO"}:
        return _jpeg_damage(content)
    if image.format == "TIFF":
        return _tiff_damage(image, view)
    short = image.format == "WEBP" and len(content) < 8 + int.from_bytes(content[4:8], "little")
    return "it is shorter than it says" if short else ""


def _png_damage(view: memoryview) -> str:
    place, name = 8, b""
    while name != b"IEND":
        end = place + 12 + int.from_bytes(view[place : place + 4], "big")
        name = bytes(view[place + 4 : place + 8])
        if end > len(view):
            return "it breaks off"
        if zlib.crc32(view[place + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            return f"the checksum of its part {name!r} at byte {place} is wrong"
        place = end
    return ""


def _jpeg_damage(content: bytes) -> str:
    """Pillow hides the warnings of libjpeg; this decoder, which comes with kornia, makes errors of them."""
    try:
        kornia_rs.io.ImageDecoder().decode(content)
    except Exception:
        return "its JPEG data do not fit together"
    return ""


def _tiff_damage(image: Image.Image, view: memoryview) -> str:
    tags = image.tag_v2  # type: ignore[attr-defined]
    deflated = tags.get(259) in {8, 32946}
    most = 16 * image.width * image.height + 2**20  # of what one strip or tile can hold
    for places, lengths in ((273, 279), (324, 325)):  # strips, tiles
        for place, length in zip(tags.get(places, ()), tags.get(lengths, ()), strict=False):
            if length == 0 or place + length > len(view):
                return "it breaks off"
            if deflated and not _inflates(view[place : place + length], most):
                return "a checksum of its compressed data is wrong"
    return ""


def _inflates(data: bytes | memoryview, most: int) -> bool:
    stream = zlib.decompressobj()
    with suppress(zlib.error):
        while not stream.eof and most > 0 and data:
            most -= len(stream.decompress(data, 2**24))
            data = stream.unconsumed_tail
    return stream.eof


def zero_tail(image: Image.Image, content: bytes) -> int:
    """Count the zeros at the end of a file without checksums if they begin where a disk's block does, else 0.

    A copy that broke off looks so, and once in 512 times a picture that ends in black.
    """
    end = len(content.rstrip(b"\0"))
    return len(content) - end if image.format in {"BMP", "TIFF", "WEBP"} and end % 512 == 0 else 0
