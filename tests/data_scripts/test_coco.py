"""Natural photographs: the whole archive, or single images out of it by HTTP Range."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_scripts.coco import fetch_coco
from data_scripts.download import FetchError
from data_scripts.registry import Entry, load_entry, read_index
from data_scripts.verify import verify
from hsds_lib.images.datasets import DataError, list_images
from hsds_lib.outputs import OutputError

COUNT, ZIP = 12, "/zips/val2017.zip"
IMAGES = {
    f"val2017/{139 + 7 * number:012d}.jpg": np.random.default_rng(number).bytes(150_000) for number in range(COUNT)
}
NAMES = sorted(IMAGES)


@pytest.fixture
def entry(site: Any) -> Entry:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("val2017/", b"")
        for name in reversed(NAMES):
            archive.writestr(name, IMAGES[name])
    site.content[ZIP] = buffer.getvalue()
    return replace(load_entry("coco"), files=(site.file(ZIP),), disk=10_000_000)


def stored(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root / "coco").as_posix(): path.read_bytes() for path in list_images(root / "coco")}


def test_the_facts_of_the_archive_are_registered() -> None:
    (file,) = load_entry("coco").files
    assert file.size == file.largest == 815_585_330
    assert file.sha256 == "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05"
    assert file.urls == ["http://images.cocodataset.org/zips/val2017.zip"]


def test_single_images_come_without_the_whole_archive_and_later_ones_are_added(
    entry: Entry, site: Any, downloader: Any, tmp_path: Path
) -> None:
    site.behaviour[ZIP] = ["truncate", 503]  # broken answers are asked for again
    fetched = fetch_coco(entry, tmp_path, images=2, downloader=downloader)
    assert (fetched.new, fetched.kept) == (2, 0)
    assert stored(tmp_path) == {name: IMAGES[name] for name in NAMES[:2]}
    wanted = [part.removeprefix("bytes=").split("-") for part in site.ranges(ZIP)]
    assert sum(int(end) - int(start) + 1 for start, end in wanted) < len(site.content[ZIP]) / 3
    assert {row["checked_by"] for row in read_index(tmp_path / "coco").values()} == {"crc32 in the archive's directory"}
    assert verify(entry, tmp_path).troubles == {}
    (tmp_path / "coco" / NAMES[0]).write_bytes(b"changed")
    assert list(verify(entry, tmp_path).troubles.values()) == ["changed"]
    fetched = fetch_coco(entry, tmp_path, images=3, downloader=downloader)
    assert (fetched.new, fetched.kept) == (2, 1) and verify(entry, tmp_path).troubles == {}


def test_a_damaged_image_is_found_by_its_checksum(entry: Entry, site: Any, downloader: Any, tmp_path: Path) -> None:
    content = bytearray(site.content[ZIP])
    content[content.index(IMAGES[NAMES[1]]) + 1000] ^= 1
    site.content[ZIP] = bytes(content)
    with pytest.raises(FetchError, match=r"damaged image or directory.*everything runs on data embedded"):
        fetch_coco(entry, tmp_path, images=3, downloader=downloader)
    assert list(stored(tmp_path)) == NAMES[:1] and verify(entry, tmp_path).troubles == {}


def damaged(content: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """The content with other bytes behind the first place of a signature."""
    at = content.index(signature) + offset
    return content[:at] + value + content[at + len(value) :]


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("ignore range", r"gives no parts of a file \(HTTP Range\).*fetch the whole"),
        ("wrong range", "gave the range 'bytes .*', asked for"),
        ("truncate", "failed 3 times, last: "),
        ("longer", r"has a file of \d+ bytes, expected"),
        ("no directory", "damaged image or directory"),
        ("member outside", "damaged image or directory"),
        ("odd compression", "damaged image or directory"),
        ("encrypted", "damaged image or directory"),
        ("huge directory", "of which more would have to be read than single images need"),
    ],
)
def test_a_server_or_archive_that_lies_is_said(
    entry: Entry, site: Any, downloader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, sentence: str
) -> None:
    content, directory = site.content[ZIP], b"PK\x01\x02"
    first = content.rindex(directory)  # of the image with the first name, which is the last one
    site.content[ZIP] = {
        "longer": content + b"more",
        "no directory": content[:-200] + bytes(200),
        "member outside": content[:first] + damaged(content[first:], directory, 42, b"\xf0\xff\xff\x7f"),
        "odd compression": content[:first] + damaged(content[first:], directory, 10, b"\x63"),
        "encrypted": content[:first] + damaged(content[first:], directory, 8, b"\x01"),
    }.get(how, content)
    if how == "huge directory":
        monkeypatch.setattr("data_scripts.coco._DIRECTORY", -3_990_000)
    site.behaviour[ZIP] = [how] * 9
    with pytest.raises(FetchError, match=sentence):
        fetch_coco(entry, tmp_path, images=1, downloader=downloader)
    assert not (tmp_path / "coco").exists()


def test_the_whole_archive_is_proven_unpacked_and_thrown_away(entry: Entry, downloader: Any, tmp_path: Path) -> None:
    fetch_coco(entry, tmp_path, images=2, downloader=downloader)
    fetched = fetch_coco(entry, tmp_path, downloader=downloader)
    assert fetched.new == COUNT and stored(tmp_path) == IMAGES
    assert [path.name for path in tmp_path.iterdir()] == ["coco"]
    assert verify(entry, tmp_path).checked == COUNT and verify(entry, tmp_path).troubles == {}
    assert fetch_coco(entry, tmp_path, downloader=downloader).kept == COUNT


def test_what_somebody_else_has_put_there_is_not_replaced(entry: Entry, downloader: Any, tmp_path: Path) -> None:
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco" / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"holds 'mine\.jpg', which was not fetched from here; move it away"):
        fetch_coco(entry, tmp_path, downloader=downloader)
    assert (tmp_path / "coco" / "mine.jpg").read_bytes() == b"mine"


@pytest.mark.parametrize("images", [None, 2])
@pytest.mark.parametrize("name", [NAMES[0], "val2017/mine", "link.jpg", "index.csv"])
def test_no_file_of_somebody_else_is_replaced(
    entry: Entry, downloader: Any, tmp_path: Path, images: int | None, name: str
) -> None:
    mine = tmp_path / "coco" / name
    mine.parent.mkdir(parents=True)
    mine.symlink_to("nowhere") if name == "link.jpg" else mine.write_bytes(b"mine;x\n")
    if images is None or name in (NAMES[0], "index.csv"):
        with pytest.raises(DataError, match=r"was not (fetched|written) from here; move it away first"):
            fetch_coco(entry, tmp_path, images=images, downloader=downloader)
    else:
        fetch_coco(entry, tmp_path, images=images, downloader=downloader)
    assert mine.is_symlink() or mine.read_bytes() == b"mine;x\n"


def test_the_same_image_of_another_origin_is_kept(entry: Entry, downloader: Any, tmp_path: Path) -> None:
    (tmp_path / "coco" / "val2017").mkdir(parents=True)
    (tmp_path / "coco" / NAMES[0]).write_bytes(IMAGES[NAMES[0]])
    fetch_coco(entry, tmp_path, images=1, downloader=downloader)
    assert verify(entry, tmp_path).troubles == {}


def test_what_lies_where_downloads_go_is_not_cleared(entry: Entry, downloader: Any, tmp_path: Path) -> None:
    (tmp_path / ".downloads" / "coco").mkdir(parents=True)
    (tmp_path / ".downloads" / "coco" / "film").write_bytes(b"mine")
    with pytest.raises(OutputError, match="did not write"):
        fetch_coco(entry, tmp_path, downloader=downloader)
    assert (tmp_path / ".downloads" / "coco" / "film").read_bytes() == b"mine"


@pytest.mark.parametrize("images", [None, 2])
def test_an_archive_fetched_by_hand_needs_no_network_and_is_proven(
    entry: Entry, site: Any, tmp_path: Path, images: int | None
) -> None:
    by_hand = tmp_path / "downloaded"
    by_hand.write_bytes(site.content[ZIP][:-1] + b"?")
    with pytest.raises(DataError, match=f"its sha256 is .*, expected {entry.files[0].sha256}"):
        fetch_coco(entry, tmp_path / "data", images=images, given=[by_hand])
    assert not (tmp_path / "data" / "coco").exists()
    by_hand.write_bytes(site.content[ZIP])
    fetched = fetch_coco(entry, tmp_path / "data", images=images, given=[by_hand])
    assert fetched.new == (images or COUNT) and site.asked == [] and by_hand.is_file()
    assert verify(entry, tmp_path / "data").troubles == {}
