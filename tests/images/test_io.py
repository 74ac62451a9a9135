"""Reading and writing image files: what is converted, what is refused, and that nothing else happens."""

from __future__ import annotations

import importlib.util
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch import Tensor

from hsds_lib.images.datasets import IMAGE_SUFFIXES, ImageError, find_image, require_image
from hsds_lib.images.facts import PhotoFacts
from hsds_lib.images.io import WRITTEN_SUFFIXES, read_pair, read_photo, read_rgb, write_rgb

EXIF_ORIENTATION = 0x0112


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def as_tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def write_png(path: Path, *, colour_type: int, bit_depth: int, rows: bytes, width: int, height: int) -> Path:
    """Write a PNG that Pillow cannot write (16-bit RGB), chunk by chunk."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".webp", ".PNG"])
def test_lossless_formats_give_back_every_level(tmp_path: Path, suffix: str) -> None:
    levels = torch.arange(256).repeat(3).reshape(3, 16, 16).float() / 255
    write_rgb(tmp_path / f"a{suffix}", levels)
    assert torch.equal(read_rgb(tmp_path / f"a{suffix}"), levels)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_jpeg_stays_close_to_a_smooth_image(tmp_path: Path, suffix: str) -> None:
    ramp = torch.linspace(0, 1, 64).expand(3, 64, 64)
    write_rgb(tmp_path / f"a{suffix}", ramp)
    back = read_rgb(tmp_path / f"a{suffix}")
    assert back.shape == (3, 64, 64)
    assert (back - ramp).abs().max() < 3 / 255
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert image.format == "JPEG"


def test_values_are_float32_in_the_unit_interval_with_colours_in_order(tmp_path: Path) -> None:
    Image.new("RGB", (4, 2), (255, 51, 0)).save(tmp_path / "a.png")
    image = read_rgb(tmp_path / "a.png")
    assert image.dtype == torch.float32 and image.shape == (3, 2, 4) and image.is_contiguous()
    assert image[:, 0, 0].tolist() == pytest.approx([1.0, 0.2, 0.0])


def test_writing_clamps_and_rounds_to_the_nearest_level(tmp_path: Path) -> None:
    values = torch.tensor([-0.5, 1.7, 100.4 / 255, 100.6 / 255]).reshape(1, 1, 4).expand(3, 1, 4)
    write_rgb(tmp_path / "a.png", values[None].double())
    assert (read_rgb(tmp_path / "a.png")[0, 0] * 255).tolist() == pytest.approx([0, 255, 100, 101])


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.png"
    write_rgb(target, torch.zeros(3, 4, 4))

    def fail(self: Image.Image, path: Path, **options: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(ImageError, match=r"a\.png cannot be written \(No space left on device\)"):
        write_rgb(target, torch.ones(3, 4, 4))
    assert torch.equal(read_rgb(target), torch.zeros(3, 4, 4))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        ("a.gif", torch.zeros(3, 2, 2), "no suffix of an image format"),
        ("a", torch.zeros(3, 2, 2), "no suffix of an image format"),
        ("a.png", torch.zeros(1, 2, 2), r"shape \(1, 2, 2\)"),
        ("a.png", torch.zeros(2, 3, 2, 2), r"shape \(2, 3, 2, 2\)"),
        ("a.png", torch.zeros(3, 0, 2), r"shape \(3, 0, 2\)"),
        ("a.png", torch.full((3, 2, 2), float("nan")), "not finite"),
        ("a.png", torch.full((3, 2, 2), 200, dtype=torch.uint8), r"torch\.uint8"),
        ("a.webp", torch.zeros(3, 1, 16384), r"a\.webp cannot be written .*16383.*choose another place or format"),
        ("a\0b.png", torch.zeros(3, 2, 2), "cannot be written"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, name: str, image: Tensor, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        write_rgb(tmp_path / name, image)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, pixels: np.ndarray, orientation: int) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    upright = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.swapaxes(0, 1),
        6: np.rot90(pixels, -1),
        7: np.rot90(pixels, 2).swapaxes(0, 1),
        8: np.rot90(pixels, 1),
    }[orientation]
    assert torch.equal(read_rgb(tmp_path / "a.png"), as_tensor(upright.copy()))


def test_gray_becomes_three_equal_channels(tmp_path: Path, pixels: np.ndarray) -> None:
    gray = pixels[..., 0]
    Image.fromarray(gray).save(tmp_path / "a.png")
    assert torch.equal(read_rgb(tmp_path / "a.png"), as_tensor(gray[..., None].repeat(3, axis=2)))


def test_black_and_white_becomes_zero_and_one(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    assert read_rgb(tmp_path / "a.png").tolist() == [[[1.0, 0.0]]] * 3


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([1, 0])
    image.save(tmp_path / "a.png")
    assert (read_rgb(tmp_path / "a.png") * 255).round().int()[:, 0].T.tolist() == [[40, 50, 60], [10, 20, 30]]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_an_opaque_alpha_channel_is_dropped(tmp_path: Path, pixels: np.ndarray, mode: str) -> None:
    plain = Image.fromarray(pixels).convert(mode[:-1])
    image = plain.convert(mode)
    image.save(tmp_path / "a.png")
    assert torch.equal(read_rgb(tmp_path / "a.png"), as_tensor(np.array(plain.convert("RGB"))))


def _transparent_pixel(mode: str) -> Image.Image:
    image = Image.new(mode, (3, 2), 255 if mode == "L" else (255,) * len(mode))
    image.putpixel((1, 1), (9,) * (len(mode) - 1) + (254,))
    return image


def test_a_single_transparent_pixel_is_refused(tmp_path: Path) -> None:
    for mode in ("RGBA", "LA"):
        _transparent_pixel(mode).save(tmp_path / "a.png")
        with pytest.raises(ImageError, match=r"a\.png is transparent in places; flatten it"):
            read_rgb(tmp_path / "a.png")


@pytest.mark.parametrize(("mode", "key"), [("P", 0), ("L", 0), ("RGB", (0, 0, 0))])
def test_a_transparent_colour_is_refused_only_where_it_is_used(tmp_path: Path, mode: str, key: object) -> None:
    Image.new(mode, (3, 2)).save(tmp_path / "used.png", transparency=key)
    with pytest.raises(ImageError, match="transparent"):
        read_rgb(tmp_path / "used.png")
    Image.new(mode, (3, 2), 1 if mode != "RGB" else (1, 1, 1)).save(tmp_path / "unused.png", transparency=key)
    assert read_rgb(tmp_path / "unused.png").shape == (3, 2, 3)


DEEP = np.random.default_rng(1).integers(0, 65536, (5, 7, 3), dtype=np.uint16)


def deep_tensor(pixels: np.ndarray) -> Tensor:
    """The same in [0, 1], by way of float64."""
    return torch.from_numpy(pixels.transpose(2, 0, 1) / 65535).float()


@pytest.mark.parametrize("colour_type", [0, 2, 4, 6])
def test_a_16_bit_png_is_read_to_the_last_bit_whatever_its_channels(tmp_path: Path, colour_type: int) -> None:
    colours, opaque = DEEP[..., : 1 if colour_type in {0, 4} else 3], np.full((5, 7, 1), 65535, np.uint16)
    stored = np.concatenate([colours, opaque], axis=2) if colour_type >= 4 else colours
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in stored)
    path = write_png(tmp_path / "a.png", colour_type=colour_type, bit_depth=16, rows=rows, width=7, height=5)
    photo = read_photo(path)
    assert photo.facts.bits == 16
    assert torch.equal(photo.pixels, deep_tensor(np.broadcast_to(colours, DEEP.shape)))


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("how", [{}, {"byteorder": ">"}, {"compression": "zlib", "predictor": 2}, {"tile": (16, 16)}])
def test_a_16_bit_tiff_is_read_to_the_last_bit_in_either_byte_order(
    tmp_path: Path, gray: bool, how: dict[str, Any]
) -> None:
    stored = DEEP[..., 0] if gray else DEEP
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack" if gray else "rgb", **how)
    expected = np.repeat(DEEP[..., :1], 3, axis=2) if gray else DEEP
    assert torch.equal(read_rgb(tmp_path / "a.tif"), deep_tensor(expected))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF"])
def test_16_bits_are_written_as_other_libraries_read_them(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_rgb(path, deep_tensor(DEEP), PhotoFacts(bits=16))
    assert torch.equal(read_photo(path).pixels, deep_tensor(DEEP))
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1] if suffix == ".png" else tifffile.imread(path)
    assert np.array_equal(found, DEEP)
    write_rgb(path, deep_tensor(DEEP))  # 8 bits without being told
    assert read_photo(path).facts.bits == 8


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_to_16_bits_as_to_8(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    Image.fromarray((DEEP >> 8).astype(np.uint8)).save(tmp_path / "a.png", exif=exif)
    write_rgb(tmp_path / f"b{suffix}", deep_tensor(DEEP), PhotoFacts(bits=16, exif=exif.tobytes()))
    high = (read_rgb(tmp_path / "a.png") * 255).round()
    assert torch.equal(((read_rgb(tmp_path / f"b{suffix}") * 65535).round() / 256).floor(), high)


@pytest.mark.parametrize(
    ("name", "values", "how", "message"),
    [
        (
            "float.tif",
            DEEP.astype(np.float32),
            {},
            "a TIFF file, .* floating point.; export it as RGB",
        ),
        ("gray.tif", DEEP[..., 0].astype(np.float32), {}, "floating-point numbers; export it with 8 or 16 bits"),
        ("signed.tif", DEEP[..., 0].astype(np.int16), {}, "16 bits per channel of an unusual kind"),
        ("long.tif", DEEP[..., 0].astype(np.uint32), {}, "32 bits per channel|floating-point|not a readable"),
        ("planes.tif", DEEP.transpose(2, 0, 1), {"planarconfig": "separate"}, "16 bits in an unusual way"),
        ("white.tif", DEEP[..., 0], {"photometric": "miniswhite"}, "16 bits in an unusual way"),
    ],
)
def test_other_depths_are_refused(
    tmp_path: Path, name: str, values: np.ndarray, how: dict[str, Any], message: str
) -> None:
    tifffile.imwrite(tmp_path / name, values, **({"photometric": "rgb"} if values.ndim == 3 else {}) | how)
    with pytest.raises(ImageError, match=message):
        read_rgb(tmp_path / name)


def test_a_16_bit_alpha_channel_must_be_opaque_to_the_last_bit(tmp_path: Path) -> None:
    rows = (b"\0" + b"\x10\x20" * 3 + b"\xff\xfe") * 2
    path = write_png(tmp_path / "a.png", colour_type=6, bit_depth=16, rows=rows, width=1, height=2)
    with pytest.raises(ImageError, match="transparent in places"):
        read_rgb(path)


def test_the_hand_written_png_is_valid_with_8_bits(tmp_path: Path) -> None:
    rows = (b"\x00" + b"\x01\x02\x03" * 2) * 3
    path = write_png(tmp_path / "a.png", colour_type=2, bit_depth=8, rows=rows, width=2, height=3)
    assert (read_rgb(path) * 255).round()[:, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", ".jpg"), ("CMYK", ".tif"), ("LAB", ".tif")])
def test_other_colour_modes_are_refused_by_name(tmp_path: Path, mode: str, suffix: str) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / f"a{suffix}")
    with pytest.raises(ImageError, match=f"colour mode {mode}; export it as 8-bit RGB"):
        read_rgb(tmp_path / f"a{suffix}")


def test_several_pictures_in_one_file_are_refused(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (4, 4), (level, 0, 0)) for level in (0, 200)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ImageError, match="holds 2 pictures"):
        read_rgb(tmp_path / "a.tif")


def test_of_a_camera_multi_picture_file_the_main_picture_is_read(tmp_path: Path) -> None:
    pages = [Image.new("RGB", (8, 8), (level, level, level)) for level in (50, 200)]
    pages[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=pages[1:])
    assert read_rgb(tmp_path / "a.jpg").mean().item() == pytest.approx(50 / 255, abs=0.01)


def test_a_picture_without_pixels_is_refused(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", colour_type=2, bit_depth=8, rows=b"", width=0, height=3)
    with pytest.raises(ImageError, match=r"a\.png"):
        read_rgb(path)


def test_a_decompression_bomb_is_refused_and_large_pictures_give_no_warning(
    tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.png")  # 35 pixels
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_rgb(tmp_path / "a.png").shape == (3, 5, 7)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 17)
    with pytest.raises(ImageError, match="more than 34 pixels"):
        read_rgb(tmp_path / "a.png")


def test_a_pair_of_two_sizes_is_refused_with_both(tmp_path: Path) -> None:
    write_rgb(tmp_path / "under.png", torch.zeros(3, 4, 6))
    write_rgb(tmp_path / "over.png", torch.ones(3, 4, 5))
    with pytest.raises(ImageError, match=r"under\.png is 6 x 4 and .*over\.png is 5 x 4 pixels"):
        read_pair(tmp_path / "under.png", tmp_path / "over.png")


def test_a_pair_is_given_in_the_order_asked(tmp_path: Path) -> None:
    write_rgb(tmp_path / "u.png", torch.zeros(3, 4, 6))
    write_rgb(tmp_path / "o.png", torch.ones(3, 4, 6))
    under, over = read_pair(tmp_path / "u.png", tmp_path / "o.png")
    assert under.max() == 0 and over.min() == 1


def test_an_image_is_found_by_its_stem_alone(tmp_path: Path) -> None:
    assert find_image(tmp_path, "under") is None
    for name in ("under.txt", "under-2.png", "over.png"):
        (tmp_path / name).touch()
    (tmp_path / "under.png").mkdir()
    assert find_image(tmp_path, "under") is None
    (tmp_path / "under.JPG").touch()
    assert find_image(tmp_path, "under") == tmp_path / "under.JPG"
    (tmp_path / "under.tif").touch()
    with pytest.raises(ImageError, match=r"under\.JPG and under\.tif, so 'under' is ambiguous"):
        find_image(tmp_path, "under")


def test_case_matters_only_where_a_name_is_exact(tmp_path: Path) -> None:
    (tmp_path / "Under.HEIC").touch()
    assert find_image(tmp_path, "under") == tmp_path / "Under.HEIC"
    (tmp_path / "under.jfif").touch()
    assert find_image(tmp_path, "under") == tmp_path / "under.jfif"


def test_a_missing_image_is_named_with_what_lies_there(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"no image named under\.\* in .*, which holds nothing; images end in \.png"):
        require_image(tmp_path, "under")
    for name in (*"abcdef", "over.png", "Under.CR2"):
        (tmp_path / name).touch()
    with pytest.raises(ImageError, match=r"which holds Under\.CR2, a, b, c, d and 3 more; images end in"):
        require_image(tmp_path, "under")


@pytest.mark.parametrize("suffix", WRITTEN_SUFFIXES)
def test_every_suffix_that_is_written_is_read(tmp_path: Path, suffix: str) -> None:
    assert suffix in IMAGE_SUFFIXES
    write_rgb(tmp_path / f"under{suffix.upper()}", torch.full((3, 16, 16), 0.5))
    assert read_rgb(require_image(tmp_path, "under")).mean().item() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("suffix", [".bmp", ".jfif", ".avif"])
def test_other_formats_are_read(tmp_path: Path, pixels: np.ndarray, suffix: str) -> None:
    flat = Image.fromarray(np.full((16, 24, 3), (50, 100, 200), np.uint8))
    flat.save(tmp_path / f"under{suffix}", format="JPEG" if suffix == ".jfif" else None)
    image = read_rgb(require_image(tmp_path, "under"))
    assert image.shape == (3, 16, 24)
    assert (image.mean(dim=(1, 2)) * 255).tolist() == pytest.approx([50, 100, 200], abs=3)


@pytest.mark.skipif(importlib.util.find_spec("pillow_heif") is None, reason="the extra heic is not installed")
def test_heic_is_read_where_its_package_is_installed(tmp_path: Path) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    Image.new("RGB", (64, 32), (50, 100, 200)).save(tmp_path / "under.heic", quality=95)
    image = read_rgb(require_image(tmp_path, "under"))
    assert image.shape == (3, 32, 64)
    assert (image.mean(dim=(1, 2)) * 255).tolist() == pytest.approx([50, 100, 200], abs=3)
