"""Archives that want to do harm, and some that do not."""

from __future__ import annotations

import io
import os
import random
import shutil
import stat
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from data_scripts.archives import ArchiveError, Limits, is_archive, read_given, unpack
from hsds_lib.images.datasets import DataError


def make(path: Path, *members: Any) -> Path:
    """A zip, tar or tar.gz of names (or ZipInfo) with contents, and of TarInfo."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
            for name, content in members:
                made.writestr(name, content, zipfile.ZIP_DEFLATED)
        return path
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return path


def refused(archive: Path, reason: str, limits: Limits | None = None) -> None:
    """The archive is refused for this reason, and nothing of it is left anywhere."""
    before = {path for path in archive.parent.rglob("*")}
    with pytest.raises(ArchiveError, match=reason):
        unpack(archive, archive.parent / "out", limits)
    assert {path for path in archive.parent.rglob("*")} == before


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_an_honest_archive_comes_out_as_it_is(tmp_path: Path, suffix: str) -> None:
    members = (("part/1/a.png", b"one"), ("part/Label/a.png", os.urandom(1_200_000)), ("b.txt", b""))
    folder = unpack(make(tmp_path / f"a{suffix}", *members), tmp_path / "out")
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == dict(members)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"a{suffix}", "out"])


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ArchiveError, match="exists already"):
        unpack(make(tmp_path / "a.zip", ("a", b"")), tmp_path / "out")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("../a", "x/../../a", "/etc/a", "C:/a", "C:a", "x\\..\\a", "..\\a"), "leads outside of the folder"),
        (("x//a", "x/./a", "dot.", "blank "), "has a name that not all systems keep"),
        (("new\nline", "stream:a", "what?", "\x1b[31m"), "has a letter in its name that not all systems allow"),
        (
            ("a/" * 33 + "a", "a/" * 1700 + "a", "a" * 256, "\u00e9" * 128, "abc/" * 30 + "a" * 900),
            "in more than 32 folders, or",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_names_that_lead_outside_or_that_not_all_systems_keep_are_refused(
    tmp_path: Path, kind: str, names: tuple[str, ...], reason: str
) -> None:
    for name in names:
        refused(make(tmp_path / f"a.{kind}", ("good", b"g"), (name, b"evil")), reason)
    assert not (tmp_path.parent / "a").exists()


@pytest.mark.parametrize("kind", [None, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes | None) -> None:
    if kind is None:
        link = zipfile.ZipInfo("trap")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive = make(tmp_path / "a.zip", (link, b"/etc/passwd"))
    else:
        info = tarfile.TarInfo("trap")
        info.type, info.linkname = kind, "/etc/passwd"
        archive = make(tmp_path / "a.tar.gz", ("good", b"g"), info)
    refused(archive, "'trap' is a link(, a device or a sparse file| or a device)")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_is_not_unpacked(tmp_path: Path, kind: str) -> None:
    refused(make(tmp_path / f"a.{kind}", ("zeros", bytes(2_000_000))), "unpacks to more than 200 times its size")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_more_bytes_or_files_than_allowed_are_refused(tmp_path: Path, kind: str) -> None:
    archive = make(tmp_path / f"a.{kind}", *((f"{number}", b"0123456789") for number in range(10)))
    refused(archive, "unpacks to more than 99 bytes", Limits(total=99))
    refused(archive, "holds more than 9 files", Limits(count=9))
    assert unpack(archive, tmp_path / "out", Limits(total=100, count=10)).is_dir()


def test_a_zip_that_lies_about_its_sizes_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "a.zip", ("zeros", os.urandom(5000)))
    content = bytearray(path.read_bytes())
    where = content.rindex(b"PK\x01\x02")  # the size in the directory: ten bytes, of 5000
    content[where + 24 : where + 28] = struct.pack("<I", 10)
    path.write_bytes(content)
    refused(path, "is damaged")


def test_headers_of_a_tar_are_bounded_too(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a")
    info.pax_headers = {"comment": "x" * 6_000_000}
    refused(make(tmp_path / "a.tar.gz", info), "bytes of headers for one member")


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    ("one", "other"), [("a/Label.png", "A/label.png"), ("a/B/c", "a/b/d"), ("caf\u00e9", "cafe\u0301"), ("a", "a")]
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_meet_on_some_file_systems_are_refused(tmp_path: Path, kind: str, one: str, other: str) -> None:
    refused(make(tmp_path / f"a.{kind}", (one, b"1"), (other, b"2")), "are one name on some file systems")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_is_not_a_file_and_a_folder(tmp_path: Path, kind: str) -> None:
    refused(make(tmp_path / f"a.{kind}", ("a", b"1"), ("a/b", b"2")), "both a file and a folder")


@pytest.mark.parametrize(
    ("offset", "value", "reason"),
    [(0, 1, "'secret' is encrypted"), (2, 99, "of a kind that cannot be read .*compression method")],
)
def test_encrypted_members_and_odd_compression_are_refused(
    tmp_path: Path, offset: int, value: int, reason: str
) -> None:
    path = make(tmp_path / "a.zip", ("secret", b"content"))
    content = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + flags + offset] = value
    path.write_bytes(content)
    refused(path, reason)


@pytest.mark.parametrize("method", [9, 93, 98, 1])
def test_a_compression_that_is_not_known_here_is_said(tmp_path: Path, method: int) -> None:
    refused(patched(make(tmp_path / "a.zip", ("a", b"content")), 8, 10, method), "of a kind that cannot be read")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("at", [0.1, 0.5, 0.9])
def test_what_a_decoder_trips_over_is_a_sentence(tmp_path: Path, method: int, at: float) -> None:
    path, content = tmp_path / "a.zip", b"some text, " * 3000
    with zipfile.ZipFile(path, "w", method) as made:
        made.writestr("a", content)
    whole = path.read_bytes()
    end = whole.index(b"PK\x01\x02")
    where = 31 + int(at * (end - 31))
    path.write_bytes(whole[:where] + bytes(255 - letter for letter in whole[where : where + 9]) + whole[where + 9 :])
    refused(path, "is damaged")
    for other in {zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA} - {method}:
        path.write_bytes(whole)
        refused(patched(path, 8, 10, other), "is damaged")


def patched(path: Path, local: int, central: int, value: int) -> Path:
    """Put a 16-bit value into both headers of the first member."""
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        struct.pack_into("<H", content, content.index(signature) + offset, value)
    path.write_bytes(content)
    return path


def test_names_that_are_no_utf8_and_endless_long_names_are_refused(tmp_path: Path) -> None:
    refused(make(tmp_path / "a.tar", ("\udcff", b"")), "has a letter in its name that not all systems allow")
    name = tarfile.TarInfo("x")
    name.type = tarfile.GNUTYPE_LONGNAME
    (tmp_path / "a.tar").write_bytes(name.tobuf(tarfile.GNU_FORMAT) * 3000)
    refused(tmp_path / "a.tar", "RecursionError")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_sixty_mutations_leave_nothing_and_say_it_in_a_line(tmp_path: Path, kind: str) -> None:
    rng = random.Random(kind)
    path = make(tmp_path / f"a.{kind}", *((f"Part/{number}/1.png", rng.randbytes(700)) for number in range(4)))
    whole = path.read_bytes()
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(rng.choice((1, 3, 20))):
            at = rng.randrange(len(content) - 8)
            content[at : at + rng.choice((0, 1, 8))] = rng.randbytes(rng.choice((1, 1, 4, 8)))
        path.write_bytes(content)
        try:
            shutil.rmtree(unpack(path, tmp_path / "out"))
        except ArchiveError as error:
            assert str(error).isprintable() and len(str(error)) < 500
        assert [left.name for left in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_a_damaged_archive_is_refused_in_a_sentence(tmp_path: Path, kind: str) -> None:
    path = make(tmp_path / f"a.{kind}", ("a", os.urandom(100_000)))
    whole = path.read_bytes()
    path.write_bytes(whole[:50_000])
    refused(path, "is damaged")
    path.write_bytes(b"<html>not found</html>" * 50)
    refused(path, "is damaged")
    if kind != "tar":  # which has no checksum of contents
        path.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
        refused(path, "is damaged")


def test_what_is_neither_file_nor_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "device.zip").symlink_to("/dev/zero")
    for name in ("pipe", "loop", "device.zip", "gone"):
        with pytest.raises(DataError, match="does not exist or is no file"):
            read_given([tmp_path / name], ["a.png"], tmp_path)


def test_folders_too_deep_to_be_read_are_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_deep(self: Path, pattern: str) -> Any:
        raise RecursionError

    monkeypatch.setattr(Path, "rglob", too_deep)
    with pytest.raises(DataError, match="folders too deep within each other"):
        read_given([tmp_path], ["a.png"], tmp_path)


def test_archives_of_other_kinds_are_named() -> None:
    for name in ("Dataset_Part1.rar", "a.7z", "a.tar.xz", "a.tar.zst"):
        with pytest.raises(ArchiveError, match="unpack it by hand and give the folder"):
            is_archive(Path(name))
