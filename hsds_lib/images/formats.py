"""What an image file is by its bytes: named where it cannot be read here, and tested where decoders look away."""

from __future__ import annotations

import stat
import zlib
from contextlib import suppress
from pathlib import Path

import kornia_rs
from PIL import Image

from hsds_lib.images.datasets import IMAGE_SUFFIXES, ImageError

_WANTED = f"give an image file ({', '.join(IMAGE_SUFFIXES)})"
_MOST_BYTES = 2**31  # the largest picture that Pillow opens has less
_RAW = "a camera's RAW file; develop it and export a TIFF with 16 bits, or a JPEG"
_RAW_SUFFIXES = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".iiq", ".nef", ".nrw"),
    *(".orf", ".pef", ".raf", ".rw2", ".sr2", ".srw", ".x3f"),
)
_HEIC = "a HEIC photograph, damaged or unread for lack of the package pillow-heif; install that or export it as JPEG"
_TIFF = "a TIFF file, damaged or of a kind not read (as floating point); export it as RGB with 8 or 16 bits"
_OTHER = "; export it as PNG, JPEG or TIFF"
# What a file may begin with, or have at byte 4.
_REFUSED = {
    **dict.fromkeys((b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"ftypcrx "), _RAW),
    **dict.fromkeys((b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1"), _HEIC),
    **dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _TIFF),
    b"ftypavi": "an AVIF picture, damaged or not read by the installed Pillow" + _OTHER,
    b"GIF8": "a GIF picture" + _OTHER,
    b"8BPS": "a Photoshop document" + _OTHER,
    b"v/1\x01": "an OpenEXR picture" + _OTHER,
    **dict.fromkeys((b"\xff\x0a", b"JXL "), "a JPEG XL picture" + _OTHER),
}


def read_file(path: Path) -> bytes:
    """Read a file that may be an image; ImageError if there is none, or something else that bears its name."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise ImageError(f"{path} does not exist; {_WANTED}") from None
    except (OSError, ValueError) as error:  # such as a name that is too long, or a link to itself
        raise ImageError(f"{path} cannot be looked up ({_reason(error)}); give another name") from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, a device or a socket"
        raise ImageError(f"{path} is {kind}; {_WANTED}")
    if not 0 < status.st_size <= _MOST_BYTES:
        kind = "too large for a picture" if status.st_size else "empty"
        raise ImageError(f"{path} is {kind} ({status.st_size} bytes); export or copy it again")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} may not be read ({_reason(error)}); change its permissions or copy it") from error


def _reason(error: Exception) -> object:
    return getattr(error, "strerror", None) or error


def refusal(path: Path, content: bytes) -> str:
    """Say what a file is that Pillow does not take for an image, and the way out."""
    found = (kind for start, kind in _REFUSED.items() if content.startswith(start) or content.startswith(start, 4))
    kind = _RAW if path.suffix.lower() in _RAW_SUFFIXES else next(found, None)
    if kind is None:
        return f"{path} is not a readable image; give a PNG, JPEG, TIFF, WebP, BMP, AVIF or HEIC file"
    return f"{path} is {kind}"


def require_no_raw(path: Path, image: Image.Image, content: bytes) -> None:
    """Refuse, by an ImageError, a RAW file of which Pillow opened the preview; most are TIFF files by their bytes."""
    tags = getattr(image, "tag_v2", {})
    is_dng, is_preview, is_canon = 50706 in tags, tags.get(254) == 1, content[8:10] == b"CR"
    if is_dng or (image.format == "TIFF" and (is_preview or is_canon)) or path.suffix.lower() in _RAW_SUFFIXES:
        raise ImageError(f"{path} is {_RAW}")


def damage(image: Image.Image, content: bytes) -> str:
    """Say what is wrong with the bytes of an opened image that its decoder passes over; "" for nothing.

    PNG: the checksum of every chunk. JPEG: all that libjpeg warns about, such as data that end early or do not fill the
    picture. TIFF: where its strips or tiles end, and the checksums of deflated ones. WebP: its length. The rest has no
    checksum (BMP, AVIF, HEIC, other TIFF, the pixels of WebP).
    """
    if image.format == "PNG":
        return _png_damage(memoryview(content))
    if image.format == "TIFF":
        return _tiff_damage(image, memoryview(content))
    if image.format in {"JPEG", "MPO"}:
        with suppress(Exception):  # Pillow hides the warnings of libjpeg, of which this decoder makes errors
            kornia_rs.io.ImageDecoder().decode_gray8(content)
            return ""
        return "its JPEG data do not fit together"
    is_short = image.format == "WEBP" and len(content) < 8 + int.from_bytes(content[4:8], "little")
    return "it is shorter than it says" if is_short else ""


def _png_damage(view: memoryview) -> str:
    end, name = 8, b""
    while name != b"IEND":
        start, name = end, bytes(view[end + 4 : end + 8])
        end += 12 + int.from_bytes(view[start : start + 4], "big")
        if end > len(view):
            return "it breaks off"
        if zlib.crc32(view[start + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            return f"the checksum of its part {name.decode('latin-1')!r} at byte {start} is wrong"
    return ""


def _tiff_damage(image: Image.Image, view: memoryview) -> str:
    tags = image.tag_v2  # type: ignore[attr-defined]
    is_deflated = tags.get(259) in {8, 32946}
    for places, lengths in ((273, 279), (324, 325)):  # of strips, of tiles
        for place, length in zip(tags.get(places, ()), tags.get(lengths, ()), strict=False):
            if length == 0 or place + length > len(view):
                return "it breaks off"
            if is_deflated and not _inflates(view[place : place + length], 16 * image.width * image.height + 2**20):
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

    A copy that broke off looks so, and of 512 pictures that end in black one.
    """
    end = len(content.rstrip(b"\0"))
    return len(content) - end if image.format in {"BMP", "TIFF", "WEBP"} and end % 512 == 0 else 0
