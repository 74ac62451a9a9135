"""What a photograph's file says beside its pixels, and a result takes over: colour profile, EXIF, resolution, depth."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageCms
from PIL.TiffImagePlugin import ImageFileDirectory_v2

# Of EXIF's main directory, what describes the photograph and not how its own file holds the pixels: title, camera,
# resolution, software, date, artist, rating, copyright.
_KEPT = (270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 18246, 33432, 40091, 40092, 40093, 40094, 40095)
_EXIF, _GPS, _INTEROP = ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop
_ORIENTATION, _MAKER_NOTE, _COLOUR_SPACE, _WIDTH, _HEIGHT = 0x0112, 0x927C, 0xA001, 0xA002, 0xA003
_MOST_EXIF = 65533  # bytes that a JPEG can hold
_SAME = 3  # levels of 255: sRGB profiles of different makers differ by up to 2
# ProPhoto's middle gray is 19 levels from sRGB's, that of linear light 60. Fused as they are, test scenes are then
# 0.5 and 3.2 Delta E 2000 farther from their references than converted; those in Display P3 0.03.
_NEAR = 32
_AXIS = np.linspace(0, 255, 9, dtype=np.uint8)
_CUBE = np.stack(np.meshgrid(_AXIS, _AXIS, _AXIS), axis=-1).reshape(1, -1, 3)  # colours; middle gray in the middle
_STRIP_BYTES = 2**20
# LittleCMS writes the date into it; here it is the same every day.
_BUILT_IN = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SRGB = _BUILT_IN[:24] + bytes.fromhex("07d000010001000000000000") + _BUILT_IN[36:]
"""An ICC profile of sRGB."""


@dataclass(frozen=True)
class PhotoFacts:
    """What a result takes over from a photograph beside its pixels."""

    bits: int = 8  # of a channel in the file: 8 or 16
    profile: bytes | None = None  # ICC profile that the pixels are in; None is sRGB that is not named
    exif: bytes | None = None  # EXIF block: orientation 1, no thumbnail
    dpi: tuple[float, float] | None = None


def in_known_space(
    picture: Image.Image, profile: bytes | None, keep: bytes | None = None
) -> tuple[Image.Image | None, bytes | None, str]:
    """Convert a picture (mode L or RGB) from its ICC profile to sRGB; None where its pixels stay as they are.

    With it come the profile that it then has, and what to say of it. An sRGB profile changes nothing. The profile
    ``keep``, or any if that is empty, stays with the pixels as they are, unless its tones are far from sRGB's, for
    which the network is made. Others are converted, relative colorimetric with black point compensation. A profile that
    LittleCMS cannot use counts as none.
    """
    if not profile or keep == b"":
        return None, profile if picture.mode == "RGB" else None, ""
    try:
        opened = ImageCms.ImageCmsProfile(BytesIO(profile))
        is_rgb = opened.profile.xcolor_space == "RGB "
        picture = picture.convert("RGB") if is_rgb else picture
        intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
        to_srgb = ImageCms.buildTransform(
            opened, ImageCms.createProfile("sRGB"), picture.mode, "RGB", renderingIntent=intent, flags=flags
        )
        patches = Image.fromarray(_CUBE) if is_rgb else Image.linear_gradient("L")
        changed = np.asarray(to_srgb.apply(patches), dtype=int) - np.asarray(patches.convert("RGB"))
        if abs(changed).max() <= _SAME:
            return None, profile if is_rgb else SRGB, ""
        letters = (letter for letter in ImageCms.getProfileDescription(opened) if letter.isprintable())
        name = "".join(letters).strip()[:60] or "without a name"
        if is_rgb and profile == keep and abs(changed[0, len(_CUBE[0]) // 2]).max() <= _NEAR:
            return None, profile, f"has the colour profile {name}, which is kept"
        converted = to_srgb.apply(picture)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None, None, "has a colour profile that cannot be used; its colours are taken as sRGB"
    return converted, SRGB, f"was converted from the colour profile {name} to sRGB"


def exif_of(image: Image.Image) -> tuple[bytes | None, int]:
    """Give what is kept of an opened image's EXIF, empty for none, and its orientation; (None, 1) if it is unreadable.

    The colour space goes where a profile says it, and a maker's own notes where they leave no room in a JPEG.
    """
    try:
        exif, kept = image.getexif(), Image.Exif()
        kept.endian = exif.endian  # maker notes are in the byte order of their block
        kept.update({tag: exif[tag] for tag in _KEPT if tag in exif})
        details = dict(exif.get_ifd(_EXIF))
        gone = (_WIDTH, _HEIGHT) + ((_COLOUR_SPACE, _INTEROP) if "icc_profile" in image.info else ())
        if _INTEROP in details:
            details[_INTEROP] = exif.get_ifd(_INTEROP)
        kept[_EXIF] = {tag: value for tag, value in details.items() if tag not in gone}
        kept[_GPS] = dict(exif.get_ifd(_GPS))
        for tag in (_EXIF, _GPS):
            if not kept[tag]:
                del kept[tag]
        turned = exif.get(_ORIENTATION, 1)
        if not kept:
            return b"", turned if turned in range(1, 9) else 1
        kept[_ORIENTATION] = 1
        if len(kept.tobytes()) > _MOST_EXIF:
            kept[_EXIF].pop(_MAKER_NOTE, None)
        block = kept.tobytes()
    except Exception:  # whatever stands there instead of EXIF
        return None, 1
    return block if len(block) <= _MOST_EXIF else None, turned if turned in range(1, 9) else 1


def dpi_of(image: Image.Image) -> tuple[float, float] | None:
    """Give the dots per inch that an image states, across and down; None for nothing, or for nonsense."""
    try:
        across, down = (round(float(value), 2) for value in image.info["dpi"])  # PNG counts dots per metre
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None
    return (across, down) if 1 <= across <= 65535 and 1 <= down <= 65535 else None


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn pixels ``(H, W, ...)`` as an EXIF orientation says."""
    pixels = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    pixels = pixels[::-1] if orientation in {3, 4, 7, 8} else pixels
    return pixels[:, ::-1] if orientation in {2, 3, 6, 7} else pixels


def write_deep_png(path: Path, pixels: np.ndarray, facts: PhotoFacts) -> None:
    """Write uint16 ``(H, W, 3)`` as PNG, which Pillow cannot: OpenCV's, with the facts after its header (33 bytes)."""
    content = cv2.imencode(".png", pixels[..., ::-1])[1].tobytes()
    parts = {
        b"iCCP": b"ICC profile\0\0" + zlib.compress(facts.profile) if facts.profile else b"",
        b"pHYs": b"".join(round(one / 0.0254).to_bytes(4, "big") for one in facts.dpi) + b"\1" if facts.dpi else b"",
        b"eXIf": (facts.exif or b"").removeprefix(b"Exif\0\0"),
    }
    chunks = [
        len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")
        for name, data in parts.items()
        if data
    ]
    path.write_bytes(content[:33] + b"".join(chunks) + content[33:])


def write_tiff(path: Path, pixels: np.ndarray, facts: PhotoFacts) -> None:
    """Write uint8 or uint16 ``(H, W, 3)`` as deflated TIFF; Pillow writes neither 16-bit RGB nor EXIF with it."""
    exif = Image.Exif()
    exif.load(facts.exif or b"")
    is_little = exif.endian != ">"
    height, width, _ = pixels.shape
    rows = max(1, _STRIP_BYTES // pixels[0].nbytes)
    ordered = pixels.astype(pixels.dtype.newbyteorder("<" if is_little else ">"))
    strips = [zlib.compress(ordered[top : top + rows].tobytes()) for top in range(0, height, rows)]
    lengths = [len(strip) for strip in strips]
    tags = ImageFileDirectory_v2(b"II*\0\0\0\0\0" if is_little else b"MM\0*\0\0\0\0")
    for tag in exif:
        tags[tag] = exif.get_ifd(tag) if tag in (_EXIF, _GPS) else exif[tag]
    if facts.dpi:
        tags[282], tags[283], tags[296] = *facts.dpi, 2
    if facts.profile:
        tags[34675] = facts.profile
    places = np.cumsum([0, *lengths[:-1]]).tolist()  # from the end of the directory
    described = {256: width, 257: height, 258: (8 * pixels.itemsize,) * 3, 259: 8, 262: 2, 277: 3, 278: rows, 284: 1}
    tags.update(described | {273: tuple(places), 279: tuple(lengths)})
    tags.tagtype[273] = tags.tagtype[279] = 4
    with path.open("wb") as file:
        tags.save(file)
        file.writelines(strips)
