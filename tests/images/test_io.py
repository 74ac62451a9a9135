"""Reading and writing image files: what is converted, what is refused, and that nothing else happens."""

from __future__ import annotations

import re
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from hsds_lib.images.datasets import IMAGE_SUFFIXES, ImageError, find_image
from hsds_lib.images.io import read_pair, read_rgb, write_rgb

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


def write_tiff16(path: Path) -> Path:
    """Write a 1 x 1 RGB TIFF with 16 bits per channel."""
    entries = [(256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 3, 134), (259, 3, 1, 1), (262, 3, 1, 2)]
    entries += [(273, 4, 1, 140), (277, 3, 1, 3), (278, 3, 1, 1), (279, 4, 1, 6), (284, 3, 1, 1)]
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", 0)
    head = struct.pack("<2sHI", b"II", 42, 8) + directory
    head += bytes(134 - len(head))
    path.write_bytes(head + struct.pack("<3H", 16, 16, 16) + struct.pack("<3H", 1000, 2000, 3000))
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


@pytest.mark.parametrize("colour_type", [0, 2, 4, 6])
def test_a_16_bit_png_is_refused_whatever_its_channels(tmp_path: Path, colour_type: int) -> None:
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    rows = (b"\x00" + b"\xff\xff" * 2 * channels) * 3
    path = write_png(tmp_path / "a.png", colour_type=colour_type, bit_depth=16, rows=rows, width=2, height=3)
    with pytest.raises(ImageError, match="more than 8 bits per channel; export it with 8 bits"):
        read_rgb(path)


def test_the_hand_written_png_is_valid_with_8_bits(tmp_path: Path) -> None:
    rows = (b"\x00" + b"\x01\x02\x03" * 2) * 3
    path = write_png(tmp_path / "a.png", colour_type=2, bit_depth=8, rows=rows, width=2, height=3)
    assert (read_rgb(path) * 255).round()[:, 0, 0].tolist() == [1, 2, 3]


def test_16_bit_and_floating_point_tiffs_are_refused(tmp_path: Path) -> None:
    paths = [write_tiff16(tmp_path / "rgb.tif"), tmp_path / "gray.tif", tmp_path / "float.tif"]
    Image.fromarray(np.zeros((2, 2), np.uint16)).save(paths[1])
    Image.fromarray(np.zeros((2, 2), np.float32)).save(paths[2])
    for path in paths:
        with pytest.raises(ImageError, match="more than 8 bits per channel"):
            read_rgb(path)


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


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_file_cut_at_any_place_is_one_clear_error(tmp_path: Path, pixels: np.ndarray, file_format: str) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    Image.fromarray(pixels.repeat(8, axis=0).repeat(8, axis=1)).save(whole, format=file_format)
    content = whole.read_bytes()
    assert read_rgb(whole).shape == (3, 40, 56)
    for share in (0.001, 0.1, 0.5, 0.9):
        cut.write_bytes(content[: max(1, int(share * len(content)))])
        with pytest.raises(ImageError, match=f"{re.escape(str(cut))} is ") as caught:
            read_rgb(cut)
        assert "\n" not in str(caught.value)


def test_a_broken_chunk_in_a_png_is_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[content.index(b"IDAT") + 8] ^= 0xFF
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError, match="damaged"):
        read_rgb(tmp_path / "a.png")


def test_what_is_no_image_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not an image, although its name says so", encoding="utf-8")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    expected = {
        "text.png": "not a readable image",
        "empty.png": "is empty",
        "folder.png": "is a folder",
        "missing.png": "does not exist",
        "a" * 300 + ".png": "cannot be looked up",
    }
    for name, message in expected.items():
        with pytest.raises(ImageError, match=f"{re.escape(str(tmp_path / name))} .*{message}|{message}"):
            read_rgb(tmp_path / name)


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


def test_every_known_suffix_can_be_written_and_read(tmp_path: Path) -> None:
    for suffix in IMAGE_SUFFIXES:
        write_rgb(tmp_path / f"a{suffix}", torch.full((3, 16, 16), 0.5))
        assert read_rgb(tmp_path / f"a{suffix}").mean().item() == pytest.approx(0.5, abs=0.01)
