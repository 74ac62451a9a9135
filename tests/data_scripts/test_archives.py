"""Archives that want to do harm, and some that do not."""

from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from data_scripts.archives import ArchiveError, Limits, is_archive, unpack


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
        (("new\nline", "stream:a", "what?"), "has a letter in its name that not all systems allow"),
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
@pytest.mark.parametrize(("one", "other"), [("a/Label.png", "A/label.png"), ("caf\u00e9", "cafe\u0301"), ("a", "a")])
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


def test_archives_of_other_kinds_are_named() -> None:
    for name in ("Dataset_Part1.rar", "a.7z", "a.tar.xz"):
        with pytest.raises(ArchiveError, match="unpack it by hand and give the folder"):
            is_archive(Path(name))
