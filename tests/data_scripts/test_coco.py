"""Natural photographs: the whole archive, or single images out of it by HTTP Range."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_scripts.coco import fetch_coco
from data_scripts.download import FetchError
from data_scripts.index import read_index
from data_scripts.registry import Entry, RemoteFile, load_entry
from data_scripts.verify import verify
from hsds_lib.images.datasets import DataError, list_images

COUNT, ZIP = 12, "/zips/val2017.zip"
IMAGES = {
    f"val2017/{139 + 7 * number:012d}.jpg": np.random.default_rng(number).bytes(150_000) for number in range(COUNT)
}


@pytest.fixture
def entry(site: Any) -> Entry:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("val2017/", b"")
        for name, content in sorted(IMAGES.items(), reverse=True):
            archive.writestr(name, content)
    content = buffer.getvalue()
    site.content[ZIP] = content
    digest = hashlib.sha256(content).hexdigest()
    file = RemoteFile("val2017.zip", (site.url + ZIP,), digest, len(content), largest=len(content))
    return replace(load_entry("coco"), files=(file,), disk=10_000_000)


def stored(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root / "coco").as_posix(): path.read_bytes() for path in list_images(root / "coco")}


def test_the_facts_of_the_archive_are_registered() -> None:
    (file,) = load_entry("coco").files
    assert file.size == 815_585_330
    assert file.sha256 == "4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05"
    assert file.urls == ("http://images.cocodataset.org/zips/val2017.zip",)


def test_single_images_come_without_the_whole_archive(entry: Entry, site: Any, downloader: Any, tmp_path: Path) -> None:
    fetched = fetch_coco(entry, tmp_path, images=2, downloader=downloader)
    first_two = sorted(IMAGES)[:2]
    assert (fetched.new, fetched.kept) == (2, 0)
    assert stored(tmp_path) == {name: IMAGES[name] for name in first_two}
    wanted = [part.removeprefix("bytes=").split("-") for part in site.ranges(ZIP)]
    assert sum(int(end) - int(start) + 1 for start, end in wanted) < len(site.content[ZIP]) / 1.5
    assert {row["checked_by"] for row in read_index(tmp_path / "coco").values()} == {"crc32 in the archive's directory"}
    assert verify(entry, tmp_path).troubles == {}


def test_more_images_later_fetch_only_those_that_are_missing(entry: Entry, downloader: Any, tmp_path: Path) -> None:
    fetch_coco(entry, tmp_path, images=2, downloader=downloader)
    fetched = fetch_coco(entry, tmp_path, images=3, downloader=downloader)
    assert (fetched.new, fetched.kept) == (1, 2)
    (tmp_path / "coco" / sorted(IMAGES)[0]).write_bytes(b"changed")
    assert list(verify(entry, tmp_path).troubles.values()) == ["changed"]
    fetched = fetch_coco(entry, tmp_path, images=3, downloader=downloader)
    assert (fetched.new, fetched.kept) == (1, 2) and verify(entry, tmp_path).troubles == {}


def test_a_damaged_image_is_found_by_its_checksum(entry: Entry, site: Any, downloader: Any, tmp_path: Path) -> None:
    content = bytearray(site.content[ZIP])
    name = sorted(IMAGES)[1]
    content[content.index(IMAGES[name]) + 1000] ^= 1
    site.content[ZIP] = bytes(content)
    with pytest.raises(FetchError, match="damaged image or directory"):
        fetch_coco(entry, tmp_path, images=3, downloader=downloader)
    assert list(stored(tmp_path)) == sorted(IMAGES)[:1]
    assert verify(entry, tmp_path).troubles == {}


def test_a_server_without_ranges_is_said(entry: Entry, site: Any, downloader: Any, tmp_path: Path) -> None:
    site.behaviour[ZIP] = ["ignore range"] * 9
    with pytest.raises(FetchError, match=r"gives no parts of a file \(HTTP Range\).*fetch the whole"):
        fetch_coco(entry, tmp_path, images=1, downloader=downloader)


def test_another_archive_on_the_server_is_refused(entry: Entry, site: Any, downloader: Any, tmp_path: Path) -> None:
    site.content[ZIP] += b"more"
    with pytest.raises(FetchError, match=r"has a file of \d+ bytes, expected"):
        fetch_coco(entry, tmp_path, images=1, downloader=downloader)


def test_broken_answers_are_asked_for_again(entry: Entry, site: Any, downloader: Any, tmp_path: Path) -> None:
    downloader.patience = replace(downloader.patience, wait=0.0)
    site.behaviour[ZIP] = ["truncate", 503]
    assert fetch_coco(entry, tmp_path, images=1, downloader=downloader).new == 1


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
def test_an_archive_fetched_by_hand_needs_no_network(
    entry: Entry, site: Any, tmp_path: Path, images: int | None
) -> None:
    (tmp_path / "downloaded").write_bytes(site.content[ZIP])
    fetched = fetch_coco(entry, tmp_path / "data", images=images, given=[tmp_path / "downloaded"])
    assert fetched.new == (images or COUNT) and site.asked == []
    assert (tmp_path / "downloaded").is_file()
    assert verify(entry, tmp_path / "data").troubles == {}


def test_another_archive_given_by_hand_is_refused(entry: Entry, site: Any, tmp_path: Path) -> None:
    (tmp_path / "val2017.zip").write_bytes(site.content[ZIP][:-1] + b"?")
    with pytest.raises(DataError, match=f"its sha256 is .*, expected {entry.files[0].sha256}"):
        fetch_coco(entry, tmp_path / "data", given=[tmp_path / "val2017.zip"])
    assert not (tmp_path / "data" / "coco").exists()
