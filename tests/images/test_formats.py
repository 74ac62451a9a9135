"""What an image file is by its bytes: damage is seen where decoders look away, and what is not read is named."""

from __future__ import annotations

import os
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile

from hsds_lib.images.datasets import ImageError
from hsds_lib.images.io import read_photo, read_rgb


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


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


def stored(pixels: np.ndarray, file_format: str, **options: Any) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels.repeat(9, axis=0).repeat(9, axis=1)).save(buffer, format=file_format, **options)
    return buffer.getvalue()


def _hole(content: bytes) -> bytes:
    return content[: len(content) // 2] + bytes(40) + content[len(content) // 2 + 40 :]


DAMAGES = {
    "zeros at the end": lambda content: content[: len(content) * 3 // 4] + bytes(len(content) - len(content) * 3 // 4),
    "zeros in the middle": _hole,
    "a bit": lambda content: content[:-60] + bytes([content[-60] ^ 1]) + content[-59:],
    "cut": lambda content: content[:-2],
}


@pytest.mark.parametrize("told_to_tolerate", [False, True])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "TIFF"])
def test_damage_that_decoders_pass_over_is_refused(
    tmp_path: Path,
    pixels: np.ndarray,
    file_format: str,
    damage: str,
    told_to_tolerate: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", told_to_tolerate)
    options = {"TIFF": {"compression": "tiff_deflate"}, "JPEG": {"quality": 95}}.get(file_format, {})
    path = tmp_path / "a.img"
    path.write_bytes(stored(pixels, file_format, **options))
    read_rgb(path)
    if (file_format, damage) == ("JPEG", "a bit"):
        return  # no checksum protects it: another picture, as whole as this one
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(ImageError, match=r"a\.img is (a TIFF file, )?(damaged|not a readable image)"):
        read_rgb(path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is told_to_tolerate


@pytest.mark.parametrize("file_format", ["BMP", "TIFF"])
def test_zeros_from_the_end_of_a_block_are_noted_where_nothing_else_tells(tmp_path: Path, file_format: str) -> None:
    content = stored(np.full((5, 7, 3), 77, np.uint8), file_format)
    path = tmp_path / "a.img"
    path.write_bytes(content[:1024] + bytes(len(content) - 1024))
    (note,) = read_photo(path).notes
    assert note == f"{path} ends in {len(content) - 1024} zeros; if it was not copied to its end, copy it again"


def test_what_is_no_image_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not an image, although its name says so", encoding="utf-8")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "lost.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    expected = {
        "text.png": "is not a readable image",
        "empty.png": "is empty",
        "folder.png": "is a folder",
        "missing.png": "does not exist",
        "text.png/a.png": "does not exist",
        "lost.png": "does not exist",
        "loop.png": r"cannot be looked up \(Too many levels",
        "pipe.png": "is a pipe, a device or a socket",
        "a" * 300 + ".png": "cannot be looked up",
        "a\0b.png": "cannot be looked up",
        "/dev/null": "is a pipe, a device or a socket",
    }
    for name, message in expected.items():
        with pytest.raises(ImageError, match=f"{re.escape(str(tmp_path / name))} {message}"):
            read_rgb(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0\0\0\x18ftypheic", "a HEIC photograph, .* of the package pillow-heif; install that or export"),
        (b"\0\0\0\x18ftypcrx ", "a camera's RAW file; develop it and export a TIFF with 16 bits"),
        (b"FUJIFILMCCD-RAW 0201", "a camera's RAW file"),
        (b"IIU\0\x18\0\0\0", "a camera's RAW file"),
        (b"GIF89a", "a GIF picture; export it as PNG"),
        (b"8BPS\0\1", "a Photoshop document"),
        (b"\0\0\0\x0cJXL \r\n", "a JPEG XL picture"),
    ],
)
def test_formats_that_are_not_read_are_named_with_the_way_out(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content + bytes(100))
    with pytest.raises(ImageError, match=f"a\\.jpg is {message}"):
        read_rgb(path)


@pytest.mark.parametrize(("name", "tags"), [("a.tif", [254]), ("a.tif", [50706]), ("a.NEF", [])])
def test_the_preview_in_a_raw_file_is_not_taken_for_the_photograph(
    tmp_path: Path, pixels: np.ndarray, name: str, tags: list[int]
) -> None:
    extra = [(tag, 4, 1, 1, True) for tag in tags if tag != 254]
    tifffile.imwrite(tmp_path / name, pixels, photometric="rgb", extratags=extra, subfiletype=int(254 in tags))
    with pytest.raises(ImageError, match="is a camera's RAW file; develop it"):
        read_rgb(tmp_path / name)
