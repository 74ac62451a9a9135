"""Read and write the colour photographs that everything else works on.

Two photographs go in and one comes out, so every odd file is met here: it is either converted in a way that
this module's functions document, or refused in one sentence that says what to do. Nothing is guessed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import kornia_rs
import numpy as np
import torch
from PIL import Image, ImageFile, UnidentifiedImageError
from torch import Tensor

from hsds_lib.images.datasets import ImageError
from hsds_lib.images.facts import PhotoFacts, dpi_of, exif_of, in_known_space, upright, write_deep_png, write_tiff
from hsds_lib.images.formats import damage, read_file, refusal, require_no_raw, zero_tail
from hsds_lib.runtime import atomic_path

_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "AVIF")
_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "I;16", "I;16B")
_SAVE_OPTIONS: dict[str, tuple[str, dict[str, object]]] = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), ("JPEG", {"quality": 95, "subsampling": 0})),
    ".png": ("PNG", {}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {}),
    ".webp": ("WEBP", {"lossless": True}),
}
WRITTEN_SUFFIXES = tuple(_SAVE_OPTIONS)
"""Of the formats that are written. BMP is not among them, since it holds neither profile nor EXIF."""
_PNG_DEPTH = 24  # the byte of the header that says it
_TIFF_BITS, _TIFF_PHOTOMETRIC, _TIFF_PLANES = 258, 262, 284


@dataclass(frozen=True)
class Photo:
    """A photograph as read."""

    pixels: Tensor  # float32 RGB (3, H, W) in [0, 1]
    facts: PhotoFacts  # what its file says of it
    notes: tuple[str, ...] = ()  # what the reader should know, a sentence each


def read_rgb(path: str | Path) -> Tensor:
    """Read the pixels of one photograph as stored: float32 ``(3, H, W)`` in [0, 1]; refused as :func:`read_photo` does.

    A colour profile is not applied: published scores are computed so, although some of MEFB is in Display P3.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "gray.png"
        ...     Image.new("L", (5, 2), 51).save(path)  # 5 wide, 2 high, one channel
        ...     image = read_rgb(path)
        >>> image.shape, image.unique()
        (torch.Size([3, 2, 5]), tensor([0.2000]))
    """
    return read_photo(path, keep=b"").pixels


def read_photo(path: str | Path, *, keep: bytes | None = None) -> Photo:
    """Read one photograph, PNG, JPEG, TIFF, WebP, BMP, AVIF or HEIC by its content, with what its file says of it.

    Pixels are multiples of 1/255, or of 1/65535 from a PNG or TIFF with 16 bits. The EXIF orientation is applied; gray
    and black-and-white images become three equal channels; a palette is looked up; an alpha channel that is opaque
    everywhere is dropped. Of a camera's multi-picture JPEG the main picture is read. Pixels with an ICC profile are
    converted to sRGB, with 8 bits, unless it is sRGB already or the profile ``keep`` (empty: any); one that cannot be
    used counts as sRGB. EXIF that cannot be read is left out. Notes say so.

    ImageError if the file is missing, empty, damaged, no image, with another depth, transparent, CMYK or another mode
    without a plain RGB meaning, animated, a RAW file, or too large for Pillow.
    """
    path = Path(path)
    content = read_file(path)
    try:
        with _opened(content) as image:
            bits = _require_plain(path, image, content)
            # As much as the rest takes: a MemoryError now, where some decoders would end the whole process.
            np.empty(16 * image.width * image.height, dtype=np.uint8)
            exif, orientation = exif_of(image)
            if wrong := damage(image, content):
                raise ImageError(f"{path} is damaged or cut short ({wrong}); export or copy it again")
            image.load()
            picture = _eight_bits(path, image)
            converted, profile, said = in_known_space(picture, image.info.get("icc_profile"), keep)
            pixels = np.array((converted or picture).convert("RGB"))
            if image.format != "TIFF":  # which Pillow has turned by itself
                pixels = upright(pixels, orientation)
            if bits == 16 and converted is None:
                pixels = _sixteen_bits(path, image, content, pixels, orientation)
            facts = PhotoFacts(8 * pixels.itemsize, profile, exif or None, dpi_of(image))
            said += ", with 8 bits" if bits > facts.bits else ""
            broken = "has EXIF data that cannot be read, or too many; they are left out" if exif is None else ""
            zeros = zero_tail(image, content)
            tail = f"ends in {zeros} zeros; if it was not copied to its end, copy it again" if zeros else ""
            notes = tuple(f"{path} {note}" for note in (said, broken, tail) if note)
    except (ImageError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise ImageError(refusal(path, content)) from None
    except Image.DecompressionBombError:
        raise ImageError(
            f"{path} has more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels, which is unsafe; reduce it"
        ) from None
    except Exception as error:  # decoders raise almost anything on a damaged file
        raise ImageError(f"{path} is damaged or cut short ({error}); export or copy it again") from error
    rgb = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)
    # One new array, not three: photographs of 24 megapixels take 288 MB each in float32.
    floats = rgb.to(torch.float32, memory_format=torch.contiguous_format).div_(2**facts.bits - 1)
    return Photo(floats, facts, notes)


def read_photos(paths: Sequence[str | Path]) -> list[Photo]:
    """Read photographs of one scene, of one size and in one colour space; ImageError as for :func:`read_photo`.

    A profile that all share is kept with the pixels as they are, so that no colour is cut off at the borders of sRGB
    and none is rounded again. Otherwise each is converted to sRGB.
    """
    keep = shared_profile(paths)
    photos = [read_photo(path, keep=keep) for path in paths]
    for path, photo in zip(paths, photos, strict=True):
        _require_one_size(paths[0], photos[0].pixels, path, photo.pixels)
    return photos


def shared_profile(paths: Sequence[str | Path]) -> bytes | None:
    """Give the ICC profile that all these files carry, to be kept by :func:`read_photo`; None if they differ."""
    found = set()
    for path in paths:
        with suppress(Exception), _opened(read_file(Path(path))) as image:  # reading it says what is wrong
            found.add(image.info.get("icc_profile"))
    return found.pop() if len(found) == 1 else None


def shared_facts(photos: Sequence[Photo]) -> PhotoFacts:
    """Say what a result of these photographs takes over, the darkest of which comes first.

    EXIF and resolution are those of the first that has them; it has 16 bits if all have.
    """
    facts = [photo.facts for photo in photos]
    return PhotoFacts(
        min(one.bits for one in facts),
        next((one.profile for one in facts if one.profile), None),
        next((one.exif for one in facts if one.exif), None),
        next((one.dpi for one in facts if one.dpi), None),
    )


def read_pair(under_path: str | Path, over_path: str | Path) -> tuple[Tensor, Tensor]:
    """Read two exposures by :func:`read_rgb`; ImageError if one is unreadable or their sizes differ."""
    under, over = read_rgb(under_path), read_rgb(over_path)
    _require_one_size(under_path, under, over_path, over)
    return under, over


def check_exposures(under: Tensor, over: Tensor) -> None:
    """Refuse two images that cannot be exposures of one scene by an ImageError; called by all that fuses pictures.

    Expected are two RGB ``(3, H, W)`` of one size, floating point, finite.
    """
    if under.shape != over.shape or under.ndim != 3 or under.shape[0] != 3 or 0 in under.shape:
        raise ImageError(f"under {tuple(under.shape)} and over {tuple(over.shape)} must both be (3, H, W) of one size")
    if not (under.is_floating_point() and over.is_floating_point()):
        raise ImageError(
            f"under is {under.dtype} and over is {over.dtype}; give floating point in [0, 1] (8-bit values / 255)"
        )
    if not (_is_finite(under) and _is_finite(over)):
        raise ImageError("under or over holds values that are not finite; give values in [0, 1]")


def write_rgb(path: str | Path, image: Tensor, facts: PhotoFacts | None = None) -> None:
    """Write an image as a file of 8 bits: clamped to [0, 1] and rounded to the nearest of 256 levels.

    It is ``(3, H, W)`` or ``(1, 3, H, W)``, of any floating-point type and device. The suffix decides on the format:
    PNG, TIFF and WebP are without loss, JPEG has quality 95. Of ``facts``, profile, EXIF and resolution go with it, and
    where they say 16 bits, PNG and TIFF have 65536 levels. The file appears whole or not at all. ImageError for any
    other suffix, shape or value, an image too large for the format, or a folder that cannot be written to.
    """
    path = Path(path)
    if path.suffix.lower() not in WRITTEN_SUFFIXES:
        raise ImageError(
            f"{path} has no suffix of an image format written here; use one of {', '.join(WRITTEN_SUFFIXES)}"
        )
    single = image[0] if image.ndim == 4 and image.shape[0] == 1 else image
    if single.ndim != 3 or single.shape[0] != 3 or 0 in single.shape:
        raise ImageError(
            f"{path}: an image of shape {tuple(image.shape)} was given; expected (3, H, W) or (1, 3, H, W)"
        )
    if not single.is_floating_point():
        raise ImageError(f"{path}: an image of {image.dtype} was given; expected floating point in [0, 1]")
    single = single.detach().cpu()
    # Half types have few operations; float64 is clamped first, because it holds more than float32 can.
    single = single if single.dtype == torch.float64 else single.float()
    if not _is_finite(single):
        raise ImageError(f"{path}: the image holds values that are not finite; look for a diverged model or input")
    facts = facts or PhotoFacts()
    file_format, options = _SAVE_OPTIONS[path.suffix.lower()]
    deep = facts.bits == 16 and file_format in {"PNG", "TIFF"}
    pixels = np.empty((*single.shape[1:], 3), dtype=np.uint16 if deep else np.uint8)
    for number, channel in enumerate(single):  # one at a time, as each step makes an array of the size of its input
        pixels[..., number] = channel.clamp(0, 1).float().mul_(65535 if deep else 255).round_().numpy()
    try:
        with atomic_path(path) as temporary:
            if file_format == "TIFF":
                write_tiff(temporary, pixels, facts)
            elif deep:
                write_deep_png(temporary, pixels, facts)
            else:
                carried = {"icc_profile": facts.profile, "exif": facts.exif, "dpi": facts.dpi}
                options = options | {name: value for name, value in carried.items() if value}
                Image.fromarray(pixels).save(temporary, format=file_format, **options)
    except (OSError, ValueError) as error:  # ValueError: WebP's limit on sizes, and names that no file can have
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{path} cannot be written ({reason}); choose another place or format") from error


@contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    """Open an image in memory; no other library can have told Pillow to be content with half of it."""
    formats: tuple[str, ...] = _FORMATS
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
        formats += ("HEIF",)
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        # Pillow warns about broken EXIF and large pictures; what matters of that is raised or noted.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(content), formats=formats) as image:
                yield image
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _require_plain(path: Path, image: Image.Image, content: bytes) -> int:
    """Refuse all but one gray or RGB picture with 8 or 16 bits per channel; give these bits."""
    require_no_raw(path, image, content)
    frames = getattr(image, "n_frames", 1)
    # MPO is what many cameras and telephones write into a .jpg: a JPEG followed by further views.
    if frames > 1 and image.format != "MPO":
        raise ImageError(f"{path} holds {frames} pictures; save the one to be used as a file of its own")
    if image.width == 0 or image.height == 0:
        raise ImageError(f"{path} has no pixels ({image.width} x {image.height}); export it again")
    bits, tags = 8, getattr(image, "tag_v2", {})
    if image.format == "PNG":
        bits = content[_PNG_DEPTH]  # Pillow gives 16-bit RGB as 8-bit without a word
    elif image.format == "TIFF":
        bits = max(np.atleast_1d(tags.get(_TIFF_BITS, 8)))
    if image.mode == "F":
        raise ImageError(f"{path} holds floating-point numbers; export it with 8 or 16 bits per channel")
    if (bits > 8 and bits != 16) or image.mode == "I":
        raise ImageError(f"{path} has {bits} bits per channel of an unusual kind; export it with 8 or 16")
    if image.mode not in _MODES:
        raise ImageError(f"{path} has the colour mode {image.mode}; export it as 8-bit RGB")
    is_odd = tags.get(_TIFF_PLANES, 1) != 1 or tags.get(_TIFF_PHOTOMETRIC, 2) not in {1, 2}
    is_odd |= "transparency" in image.info or (image.format == "TIFF" and image.mode == "RGBA")
    if bits == 16 and is_odd:
        raise ImageError(f"{path} keeps its 16 bits in an unusual way; export it as plain RGB or gray")
    return max(bits, 8)


def _eight_bits(path: Path, image: Image.Image) -> Image.Image:
    """The picture in mode L or RGB; of one with 16 bits the upper half."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    mode = "L" if image.mode[0] in "1L" else "RGB"
    if image.mode in {"LA", "PA", "RGBA", "La", "RGBa"} or "transparency" in image.info:
        rgba = image.convert("RGBA")
        if rgba.getchannel("A").getextrema() != (255, 255):
            raise ImageError(f"{path} is transparent in places; flatten it onto a background first")
        return rgba.convert(mode)
    return image.convert(mode)


def _sixteen_bits(path: Path, image: Image.Image, content: bytes, upper: np.ndarray, orientation: int) -> np.ndarray:
    """The same as uint16 ``(H, W, 3)``; ``upper`` is what Pillow made of it."""
    if image.mode.startswith("I;16"):
        gray = upright(np.asarray(image), 1 if image.format == "TIFF" else orientation)
        return np.repeat(gray[..., None].astype(np.uint16), 3, axis=2)
    if image.format == "TIFF":  # of which OpenCV cannot turn all
        found = np.asarray(kornia_rs.io.read_image_tiff_u16(str(path), "rgb"))
    else:
        found = np.asarray(cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_UNCHANGED))
        if found.shape[2] == 4 and found[..., 3].min() < 65535:
            raise ImageError(f"{path} is transparent in places; flatten it onto a background first")
        found = found[..., 2::-1]
    pixels = upright(found, orientation)
    if not np.array_equal(pixels >> 8, upper):
        raise ImageError(f"{path} is not read alike by two decoders; export it as PNG")
    return pixels


def _require_one_size(first_path: str | Path, first: Tensor, path: str | Path, image: Tensor) -> None:
    if first.shape != image.shape:
        raise ImageError(
            f"{first_path} is {_size(first)} and {path} is {_size(image)} pixels (width x height); "
            "give two aligned photographs of the same size"
        )


def _is_finite(image: Tensor) -> bool:
    """Whether all values are; the extremes say so without an array of its size, since NaN is passed on."""
    return bool(torch.stack(image.aminmax()).isfinite().all())


def _size(image: Tensor) -> str:
    return f"{image.shape[-1]} x {image.shape[-2]}"
