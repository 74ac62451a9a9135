"""What a result takes over from its photographs: colour profiles, EXIF, resolution, depth; and what is said of it."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import ExifTags, Image, ImageCms

from hsds_lib.images.facts import SRGB, PhotoFacts
from hsds_lib.images.io import WRITTEN_SUFFIXES, read_photo, read_photos, read_rgb, shared_facts, write_rgb
from tests.command import hsds

EXIF, GPS, INTEROP, THUMBNAIL = (getattr(ExifTags.IFD, name) for name in ("Exif", "GPSInfo", "Interop", "IFD1"))
P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))  # primaries, XYZ under D50
SRGB_PRIMARIES = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
RAMP = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3) + np.uint8(60)


def profile(primaries: Any = P3, *, gamma: float = 2.2, space: bytes = b"RGB ") -> bytes:
    """Write an ICC profile of version 2: three primaries (or none, for gray) and one gamma."""
    curve = b"curv" + struct.pack(">4xIH2x", 1, round(gamma * 256))
    tags = {b"desc": b"desc" + struct.pack(">4xI", 9) + b"Invented\0" + bytes(78 + 1)}
    tags[b"wtpt"] = b"XYZ " + struct.pack(">4x3i", *(round(one * 65536) for one in (0.9642, 1, 0.8249)))
    if space == b"RGB ":
        for name, colour in zip(b"rgb", primaries, strict=True):
            tags[bytes([name]) + b"XYZ"] = b"XYZ " + struct.pack(">4x3i", *(round(one * 65536) for one in colour))
            tags[bytes([name]) + b"TRC"] = curve
    else:
        tags[b"kTRC"] = curve
    table, data = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    head = bytes(4) + bytes(4) + bytes.fromhex("02200000") + b"mntr" + space + b"XYZ " + bytes(12) + b"acsp" + bytes(28)
    head += struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    whole = head + table + data
    return struct.pack(">I", len(whole)) + whole[4:]


def srgb_of(pixels: np.ndarray, primaries: Any, gamma: float) -> np.ndarray:
    """The same colours as levels of sRGB, in float64 and without LittleCMS."""
    linear = (pixels / 255) ** gamma @ np.array(primaries)
    linear = np.clip(linear @ np.linalg.inv(np.array(SRGB_PRIMARIES)), 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def store(path: Path, pixels: np.ndarray = RAMP, **facts: Any) -> Path:
    Image.fromarray(pixels).save(path, **facts)
    return path


def levels(pixels: torch.Tensor) -> np.ndarray:
    return (pixels * 255).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("gamma", [1.8, 2.2])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_a_profile_is_converted_to_srgb_and_said(tmp_path: Path, suffix: str, gamma: float) -> None:
    options = {"lossless": True} if suffix == ".webp" else {}
    path = store(tmp_path / f"a{suffix}", icc_profile=profile(gamma=gamma), **options)
    photo = read_photo(path)
    assert np.abs(levels(photo.pixels) - srgb_of(RAMP, P3, gamma)).max() < 1.6
    assert photo.facts.profile == SRGB
    assert photo.notes == (f"{path} was converted from the colour profile Invented to sRGB",)
    assert np.array_equal(levels(read_rgb(path)).round(), RAMP)  # scores are taken of what is stored


@pytest.mark.parametrize("known", [None, SRGB, ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()])
def test_without_a_profile_and_with_one_of_srgb_every_bit_stays(tmp_path: Path, known: bytes | None) -> None:
    photo = read_photo(store(tmp_path / "a.png", icc_profile=known))
    assert np.array_equal(levels(photo.pixels).round(), RAMP)
    assert photo.facts.profile == known and photo.notes == ()


@pytest.mark.parametrize(
    "wrong", [b"no profile", profile()[:200], profile(space=b"GRAY"), SRGB[:200] + bytes(300)], ids=range(4)
)
def test_a_profile_that_cannot_be_used_is_said_and_taken_as_srgb(tmp_path: Path, wrong: bytes) -> None:
    path = store(tmp_path / "a.png", icc_profile=wrong)
    photo = read_photo(path)
    assert np.array_equal(levels(photo.pixels).round(), RAMP) and photo.facts.profile is None
    assert photo.notes == (f"{path} has a colour profile that cannot be used; its colours are taken as sRGB",)


def test_gray_is_converted_from_a_gray_profile_and_from_one_of_rgb(tmp_path: Path) -> None:
    for space in (b"GRAY", b"RGB "):
        path = store(tmp_path / "a.png", RAMP[..., 0], icc_profile=profile(SRGB_PRIMARIES, gamma=1.0, space=space))
        found = levels(read_photo(path).pixels)
        expected = srgb_of(np.repeat(RAMP[..., :1], 3, axis=2), SRGB_PRIMARIES, 1.0)
        assert np.abs(found - expected).max() < 1.6


def test_a_profile_that_all_share_is_kept_with_every_pixel(tmp_path: Path) -> None:
    paths = [store(tmp_path / f"{name}.png", icc_profile=profile()) for name in "ab"]
    photos = read_photos(paths)
    assert all(np.array_equal(levels(photo.pixels).round(), RAMP) for photo in photos)
    assert photos[0].notes == (f"{paths[0]} has the colour profile Invented, which is kept",)
    assert shared_facts(photos).profile == profile()


@pytest.mark.parametrize("others", [[profile(gamma=2.0)], [None], [SRGB]])
def test_profiles_that_differ_are_all_converted(tmp_path: Path, others: list[bytes | None]) -> None:
    paths = [store(tmp_path / f"{n}.png", icc_profile=one) for n, one in enumerate([profile(), *others])]
    photos = read_photos(paths)
    assert np.abs(levels(photos[0].pixels) - srgb_of(RAMP, P3, 2.2)).max() < 1.6
    assert shared_facts(photos).profile == SRGB


def test_a_profile_of_linear_light_is_converted_even_if_shared(tmp_path: Path) -> None:
    paths = [store(tmp_path / f"{name}.png", icc_profile=profile(gamma=1.0)) for name in "ab"]
    assert all("was converted" in photo.notes[0] for photo in read_photos(paths))


def test_16_bits_are_kept_with_a_profile_and_lost_only_in_a_conversion_that_says_so(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (6, 8, 3), dtype=np.uint16)
    for name in "ab":
        tifffile.imwrite(tmp_path / f"{name}.tif", deep, photometric="rgb", iccprofile=profile())
    photos = read_photos([tmp_path / "a.tif", tmp_path / "b.tif"])
    facts = shared_facts(photos)
    assert (facts.bits, facts.profile) == (16, profile())
    alone = read_photo(tmp_path / "a.tif")
    assert alone.facts.bits == 8 and alone.notes[0].endswith("to sRGB, with 8 bits")
    assert np.abs(levels(alone.pixels) - srgb_of(deep / 257, P3, 2.2)).max() < 3


NOTES = b"Maker\0" + bytes(range(256))


def exif_block(*, endian: str = ">", notes: bytes = NOTES) -> Image.Exif:
    exif = Image.Exif()
    exif.endian = endian
    exif[ExifTags.Base.Make], exif[ExifTags.Base.DateTime] = "Maker", "2026:05:01 10:00:00"
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.XResolution] = 6, 300.0
    exif[ExifTags.Base.YResolution], exif[ExifTags.Base.ResolutionUnit] = 300.0, 2
    exif[EXIF] = {0x829A: 0.004, 0x9003: "2026:05:01 10:00:00", 0x9204: -2.0, 0x927C: notes, 0xA001: 1, 0xA002: 8}
    exif[GPS] = {1: "N", 2: (48.0, 12.0, 3.5)}
    return exif


@pytest.mark.parametrize("source", [".png", ".jpg", ".tif", ".webp", ".avif"])
@pytest.mark.parametrize("target", WRITTEN_SUFFIXES)
def test_exif_is_copied_upright_into_every_format(tmp_path: Path, source: str, target: str) -> None:
    facts = read_photo(store(tmp_path / f"a{source}", exif=exif_block().tobytes(), dpi=(300, 300))).facts
    write_rgb(tmp_path / f"b{target}", torch.rand(3, 8, 6), facts)
    with Image.open(tmp_path / f"b{target}") as image:
        exif = image.getexif()
        assert exif[ExifTags.Base.Make] == "Maker" and exif[ExifTags.Base.DateTime] == "2026:05:01 10:00:00"
        assert exif.get(ExifTags.Base.Orientation, 1) == 1 and exif[ExifTags.Base.XResolution] == 300
        details = exif.get_ifd(EXIF)
        assert (details[0x829A], details[0x9204], details[0x927C]) == (0.004, -2.0, NOTES)
        assert 0xA002 not in details  # the size of the input
        assert exif.get_ifd(GPS)[2] == (48.0, 12.0, 3.5) and not exif.get_ifd(THUMBNAIL)
        assert image.info.get("dpi", (300, 300)) == pytest.approx((300, 300), abs=0.01)
    assert read_photo(tmp_path / f"b{target}").pixels.shape == (3, 8, 6)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("endian", ["<", ">"])
def test_a_tiff_is_in_the_byte_order_of_its_exif(tmp_path: Path, endian: str, bits: int) -> None:
    values = (torch.arange(3 * 5 * 7).reshape(3, 5, 7) * (2**bits // 128)).float() / (2**bits - 1)
    facts = PhotoFacts(bits, profile(), exif_block(endian=endian).tobytes(), (300, 200))
    write_rgb(tmp_path / "a.tif", values, facts)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.byteorder == endian and file.pages[0].tags["XResolution"].value == (300, 1)
        found = file.asarray()
    assert found.dtype == f"uint{bits}"
    assert np.array_equal(found, (values * (2**bits - 1)).round().permute(1, 2, 0).numpy())


def test_of_a_profile_that_is_gone_exif_says_nothing(tmp_path: Path) -> None:
    exif = exif_block()
    exif[EXIF] = dict(exif[EXIF]) | {0xA001: 0xFFFF, INTEROP: {1: "R03"}}
    with_profile = read_photo(store(tmp_path / "a.jpg", exif=exif, icc_profile=profile())).facts.exif
    without = read_photo(store(tmp_path / "b.jpg", exif=exif)).facts.exif
    for block, expected in ((with_profile, None), (without, 0xFFFF)):
        found = Image.Exif()
        found.load(block or b"")
        assert found.get_ifd(EXIF).get(0xA001) == expected
        assert found.get_ifd(INTEROP) == ({} if expected is None else {1: "R03"})


@pytest.mark.parametrize(
    "broken", [b"Exif\0\0nonsense", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0II*\0\xff\xff\xff\xff"]
)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_exif_that_is_broken_stops_nothing(tmp_path: Path, suffix: str, broken: bytes) -> None:
    photo = read_photo(store(tmp_path / f"a{suffix}", exif=broken))
    assert photo.pixels.shape == (3, 6, 8) and photo.facts.exif is None
    assert all(
        note.endswith("has EXIF data that cannot be read, or too many; they are left out") for note in photo.notes
    )
    write_rgb(tmp_path / "b.jpg", photo.pixels, photo.facts)


def test_maker_notes_too_large_for_a_jpeg_are_left_out_alone(tmp_path: Path) -> None:
    photo = read_photo(store(tmp_path / "a.png", exif=exif_block(notes=bytes(70000))))
    write_rgb(tmp_path / "b.jpg", photo.pixels, photo.facts)
    with Image.open(tmp_path / "b.jpg") as image:
        details = image.getexif().get_ifd(EXIF)
    assert 0x927C not in details and details[0x829A] == 0.004


@pytest.mark.parametrize("dpi", [(0, 0), (1e6, 300)])
def test_nonsense_for_a_resolution_is_left_out(tmp_path: Path, dpi: tuple[float, float]) -> None:
    facts = read_photo(store(tmp_path / "a.png", dpi=dpi)).facts
    assert facts.dpi is None
    write_rgb(tmp_path / "b.jpg", torch.rand(3, 4, 4), facts)


def test_exif_of_the_darkest_and_the_least_depth_go_on(tmp_path: Path) -> None:
    dark, light = exif_block(), exif_block()
    dark[ExifTags.Base.Model], light[ExifTags.Base.Model] = "dark", "light"
    write_rgb(tmp_path / "a.png", torch.rand(3, 4, 6), PhotoFacts(16))
    for name, exif in (("b", dark), ("c", light)):
        write_rgb(tmp_path / f"{name}.png", torch.rand(3, 4, 6), PhotoFacts(exif=exif.tobytes(), dpi=(72, 72)))
    facts = shared_facts([read_photo(tmp_path / f"{name}.png") for name in "abc"])
    assert facts.bits == 8 and facts.exif is not None and b"dark" in facts.exif
    assert facts.dpi == pytest.approx((72, 72), abs=0.02)


def test_the_command_keeps_profile_exif_and_depth_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = PhotoFacts(16, profile(), exif_block().tobytes(), (300, 300))
    for name, scale in (("under", 0.4), ("over", 1.0)):
        write_rgb(tmp_path / f"{name}.tif", scale * torch.rand(3, 32, 40), facts)
    files = [str(tmp_path / name) for name in ("under.tif", "over.tif", "out.png")]
    assert hsds("fuse", *files[:2], "-o", files[2]) == 0
    said = capsys.readouterr().err
    for path in files[:2]:
        assert f"note: {path} has the colour profile Invented, which is kept\n" in said
    fused = read_photo(files[2], keep=profile())
    assert fused.facts.bits == 16 and fused.facts.profile == profile()
    assert fused.facts.dpi == pytest.approx((300, 300), abs=0.01) and fused.facts.exif is not None
    assert len(torch.unique(fused.pixels)) > 256


def test_what_is_written_is_the_same_every_day(tmp_path: Path) -> None:
    facts = PhotoFacts(16, SRGB, exif_block().tobytes(), (300, 300))
    for suffix in WRITTEN_SUFFIXES:
        contents = []
        for name in "ab":
            write_rgb(tmp_path / f"{name}{suffix}", torch.ones(3, 4, 5) / 3, facts)
            contents.append((tmp_path / f"{name}{suffix}").read_bytes())
        assert contents[0] == contents[1]
    assert ImageCms.ImageCmsProfile(BytesIO(SRGB)).profile.profile_description == "sRGB built-in"
