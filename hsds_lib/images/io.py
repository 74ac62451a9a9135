"""Read and write the 8-bit colour photographs that everything else works on.

Two photographs go in and one comes out, so every odd file is met here: it is either converted in a way that
this module's functions document, or refused in one sentence that says what to do. Nothing is guessed.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from hsds_lib.images.datasets import IMAGE_SUFFIXES, ImageError
from hsds_lib.runtime import atomic_path

_SAVE_OPTIONS: dict[str, tuple[str, dict[str, object]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".tif": ("TIFF", {"compression": "tiff_deflate"}),
    ".tiff": ("TIFF", {"compression": "tiff_deflate"}),
    ".webp": ("WEBP", {"lossless": True}),
}

_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP")
_SUFFIX_LIST = ", ".join(IMAGE_SUFFIXES)
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TIFF_BITS_PER_SAMPLE = 258


def read_rgb(path: str | Path) -> Tensor:
    """Read one photograph (PNG, JPEG, TIFF or WebP by its content): float32 ``(3, H, W)``, multiples of 1/255.

    The EXIF orientation is applied; gray and black-and-white images become three equal channels; a palette is looked
    up; an alpha channel that is opaque everywhere is dropped. Colour profiles are ignored (pixels are taken as sRGB).
    Of a camera's multi-picture JPEG the main picture is read. ImageError if the file is missing, empty, damaged, not an
    image, more than 8 bits deep, transparent, CMYK or another mode without a plain RGB meaning, animated, or too large
    for Pillow.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "gray.png"
        ...     Image.new("L", (5, 2), 51).save(path)  # 5 wide, 2 high, one channel
        ...     image = read_rgb(path)
        >>> image.shape, image.unique()
        (torch.Size([3, 2, 5]), tensor([0.2000]))
    """
    path = Path(path)
    _require_file(path)
    try:
        # Pillow warns about broken EXIF and large pictures; what matters of that is raised below.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as image:
                _require_eight_bits(path, image)
                _require_single(path, image)
                image.load()
                rgb = _to_rgb(path, ImageOps.exif_transpose(image))
    except (ImageError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise ImageError(f"{path} is not a readable image; give a PNG, JPEG, TIFF or WebP file") from None
    except PermissionError:
        raise ImageError(f"{path} may not be read; change its permissions or copy it") from None
    except Image.DecompressionBombError:
        raise ImageError(
            f"{path} has more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels, which is unsafe; reduce it"
        ) from None
    except Exception as error:  # decoders raise almost anything on a damaged file
        raise ImageError(f"{path} is damaged or cut short ({error}); export or copy it again") from error
    pixels = torch.from_numpy(np.array(rgb, dtype=np.uint8))  # (H, W, 3)
    # One new array, not three: photographs of 24 megapixels take 288 MB each in float32.
    return pixels.permute(2, 0, 1).to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def read_pair(under_path: str | Path, over_path: str | Path) -> tuple[Tensor, Tensor]:
    """Read an under- and an over-exposed photograph; ImageError if one cannot be read or their sizes differ."""
    under, over = read_rgb(under_path), read_rgb(over_path)
    if under.shape != over.shape:
        raise ImageError(
            f"{under_path} is {_size(under)} and {over_path} is {_size(over)} pixels (width x height); "
            "give two aligned photographs of the same size"
        )
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


def write_rgb(path: str | Path, image: Tensor) -> None:
    """Write an image as an 8-bit file: clamped to [0, 1] and rounded to the nearest of 256 levels.

    It is ``(3, H, W)`` or ``(1, 3, H, W)``, of any floating-point type and device. The suffix decides on the format:
    PNG, TIFF and WebP are without loss, JPEG has quality 95. The file appears whole or not at all. ImageError for any
    other suffix, shape or value, an image too large for the format, or a folder that cannot be written to.
    """
    path = Path(path)
    if path.suffix.lower() not in _SAVE_OPTIONS:
        raise ImageError(f"{path} has no suffix of an image format written here; use one of {_SUFFIX_LIST}")
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
    pixels = torch.empty(*single.shape[1:], 3, dtype=torch.uint8)
    for number, channel in enumerate(single):  # one at a time, as each step makes an array of the size of its input
        pixels[..., number] = channel.clamp(0, 1).float().mul_(255).round_()
    file_format, options = _SAVE_OPTIONS[path.suffix.lower()]
    try:
        with atomic_path(path) as temporary:
            Image.fromarray(pixels.numpy()).save(temporary, format=file_format, **options)
    except (OSError, ValueError) as error:  # ValueError: WebP's limit on sizes, and names that no file can have
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{path} cannot be written ({reason}); choose another place or format") from error


def _require_file(path: Path) -> None:
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:  # such as a name that is too long
        raise ImageError(f"{path} cannot be looked up ({error.strerror}); give another name") from error
    if is_folder:
        raise ImageError(f"{path} is a folder; give an image file ({_SUFFIX_LIST})")
    if not is_file:
        raise ImageError(f"{path} does not exist; give an image file ({_SUFFIX_LIST})")
    if path.stat().st_size == 0:
        raise ImageError(f"{path} is empty (0 bytes); export or copy it again")


def _require_eight_bits(path: Path, image: Image.Image) -> None:
    bits = 8
    if image.format == "PNG":
        # Pillow gives 16-bit RGB as 8-bit without a word, so the header (IHDR, byte 24) is asked.
        with path.open("rb") as file:
            head = file.read(25)
        bits = head[24] if head.startswith(_PNG_SIGNATURE) else 8
    elif image.format == "TIFF":
        samples = image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, (8,))  # type: ignore[attr-defined]
        bits = max(samples) if isinstance(samples, tuple) else int(samples)
    if bits > 8 or image.mode in {"F", "I"} or image.mode.startswith("I;16"):
        raise ImageError(f"{path} has more than 8 bits per channel; export it with 8 bits")


def _require_single(path: Path, image: Image.Image) -> None:
    frames = getattr(image, "n_frames", 1)
    # MPO is what many cameras and telephones write into a .jpg: a JPEG followed by further views.
    if frames > 1 and image.format != "MPO":
        raise ImageError(f"{path} holds {frames} pictures; save the one to be used as a file of its own")


def _to_rgb(path: Path, image: Image.Image) -> Image.Image:
    if image.width == 0 or image.height == 0:
        raise ImageError(f"{path} has no pixels ({image.width} x {image.height}); export it again")
    if image.mode in {"LA", "PA", "RGBA", "La", "RGBa"} or "transparency" in image.info:
        rgba = image.convert("RGBA")
        if rgba.getchannel("A").getextrema() != (255, 255):
            raise ImageError(f"{path} is transparent in places; flatten it onto a background first")
        return rgba.convert("RGB")
    if image.mode in {"1", "L", "P", "RGB"}:
        return image.convert("RGB")
    raise ImageError(f"{path} has the colour mode {image.mode}; export it as 8-bit RGB")


def _is_finite(image: Tensor) -> bool:
    """Whether all values are; the extremes say so without an array of its size, since NaN is passed on."""
    return bool(torch.stack(image.aminmax()).isfinite().all())


def _size(image: Tensor) -> str:
    return f"{image.shape[-1]} x {image.shape[-2]}"
