"""Downloads over a connection that fails in every way, from a server on this machine."""

from __future__ import annotations

import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_scripts import download
from data_scripts.download import FetchError, require_space
from hsds_lib.images.datasets import DataError

CONTENT = np.random.default_rng(0).bytes(300_001)
HALF = len(CONTENT) // 2


@pytest.fixture
def good(site: Any) -> Any:
    site.content["/a.bin"] = CONTENT
    return site


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_whole_and_leaves_nothing_beside_it(good: Any, downloader: Any, tmp_path: Path) -> None:
    target = downloader.fetch(good.file("/a.bin"), tmp_path / "deep" / "a.bin")
    assert target.read_bytes() == CONTENT
    assert left(tmp_path / "deep") == ["a.bin"]
    assert len(good.agents) == 1 and good.agents.pop().startswith("hsds-mef/")


def test_a_file_that_is_there_and_right_is_not_asked_for(good: Any, downloader: Any, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(CONTENT)
    downloader.fetch(good.file("/a.bin"), tmp_path / "a.bin")
    assert good.asked == []


@pytest.mark.parametrize("how", ["truncate", "stall", "drip"])
def test_after_a_break_only_the_rest_is_asked_for(
    good: Any, downloader: Any, pauses: list[float], how: str, tmp_path: Path
) -> None:
    good.behaviour["/a.bin"] = [how]
    if how == "drip":
        content = CONTENT[:HALF] + b"x" * (len(CONTENT) - HALF)  # what drips is right, and slow
        good.content["/a.bin"] = content
    target = downloader.fetch(good.file("/a.bin"), tmp_path / "a.bin")
    assert target.read_bytes() == good.content["/a.bin"]
    first, second = good.ranges("/a.bin")
    assert first is None and int(second.removeprefix("bytes=").removesuffix("-")) >= HALF
    assert pauses == [0.5]


def test_a_part_of_an_earlier_run_is_continued_if_the_file_is_still_the_same(
    good: Any, downloader: Any, tmp_path: Path
) -> None:
    good.etags["/a.bin"] = '"one"'
    good.behaviour["/a.bin"] = ["truncate", 404]
    with pytest.raises(FetchError):
        downloader.fetch(good.file("/a.bin"), tmp_path / "a.bin")
    assert left(tmp_path) == ["a.bin.part", "a.bin.part.json"]
    downloader.fetch(good.file("/a.bin"), tmp_path / "a.bin")
    assert good.asked[-1] == ("/a.bin", f"bytes={HALF}-", '"one"')
    assert left(tmp_path) == ["a.bin"]


def test_a_file_that_changed_on_the_server_is_fetched_from_zero(good: Any, downloader: Any, tmp_path: Path) -> None:
    good.content["/a.bin"], good.etags["/a.bin"] = b"y" * len(CONTENT), '"old"'
    good.behaviour["/a.bin"] = ["truncate", 404]
    with pytest.raises(FetchError):
        downloader.fetch(good.file("/a.bin"), tmp_path / "a.bin")
    good.content["/a.bin"], good.etags["/a.bin"] = CONTENT, '"new"'
    downloader.fetch(good.file("/a.bin"), tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert good.asked[-1][1:] == (f"bytes={HALF}-", '"old"')


def test_weak_tags_are_not_sent_back(good: Any, downloader: Any, tmp_path: Path) -> None:
    good.etags["/a.bin"] = 'W/"weak"'
    good.behaviour["/a.bin"] = ["truncate"]
    downloader.fetch(good.file("/a.bin"), tmp_path / "a.bin")
    assert good.asked[-1] == ("/a.bin", f"bytes={HALF}-", None)


def test_a_server_without_ranges_is_read_from_zero(good: Any, downloader: Any, tmp_path: Path) -> None:
    good.behaviour["/a.bin"] = ["truncate", "ignore range"]
    assert downloader.fetch(good.file("/a.bin"), tmp_path / "a.bin").read_bytes() == CONTENT
    assert good.ranges("/a.bin") == [None, f"bytes={HALF}-"]


def test_a_range_that_was_not_asked_for_is_not_appended(good: Any, downloader: Any, tmp_path: Path) -> None:
    good.behaviour["/a.bin"] = ["truncate", "wrong range"]
    assert downloader.fetch(good.file("/a.bin"), tmp_path / "a.bin").read_bytes() == CONTENT
    assert good.ranges("/a.bin") == [None, f"bytes={HALF}-", None]


@pytest.mark.parametrize("size", [True, False])
def test_a_part_that_is_already_whole_is_proven_and_put_in_place(
    good: Any, downloader: Any, size: bool, tmp_path: Path
) -> None:
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    downloader.fetch(good.file("/a.bin", size=size), tmp_path / "a.bin")
    assert left(tmp_path) == ["a.bin"]
    assert len(good.asked) == (0 if size else 1)  # of unknown size: the server says that nothing is left


@pytest.mark.parametrize("rubbish", [b"z" * 1000, b"z" * len(CONTENT), b"z" * (len(CONTENT) + 5)])
def test_a_part_with_other_content_is_thrown_away_and_fetched_again(
    good: Any, downloader: Any, rubbish: bytes, tmp_path: Path
) -> None:
    (tmp_path / "a.bin.part").write_bytes(rubbish)
    assert downloader.fetch(good.file("/a.bin"), tmp_path / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("size", [True, False])
def test_a_wrong_file_is_never_put_in_place_and_both_hashes_are_said(
    good: Any, downloader: Any, size: bool, tmp_path: Path
) -> None:
    good.behaviour["/a.bin"] = ["wrong"] * 5
    file = good.file("/a.bin", size=size)
    with pytest.raises(FetchError, match=f"its sha256 is [0-9a-f]{{64}}, expected {file.sha256}"):
        downloader.fetch(file, tmp_path / "a.bin")
    assert left(tmp_path) == []


def test_the_next_mirror_is_tried_after_a_wrong_file(good: Any, downloader: Any, tmp_path: Path) -> None:
    good.content["/b.bin"] = CONTENT
    good.behaviour["/a.bin"] = ["wrong"]
    assert downloader.fetch(good.file("/a.bin", "/b.bin"), tmp_path / "a.bin").read_bytes() == CONTENT
    assert [path for path, *_ in good.asked] == ["/a.bin", "/b.bin"]


@pytest.mark.parametrize(("how", "size"), [("announce more", True), ("announce less", True), ("announce less", False)])
def test_a_false_length_never_makes_a_file(good: Any, downloader: Any, size: bool, how: str, tmp_path: Path) -> None:
    good.behaviour["/a.bin"] = [how] * 10
    with pytest.raises(FetchError):
        downloader.fetch(good.file("/a.bin", size=size), tmp_path / "a.bin")
    assert not (tmp_path / "a.bin").exists()


def test_a_file_shorter_than_announced_counts_if_its_hash_is_right(good: Any, downloader: Any, tmp_path: Path) -> None:
    good.behaviour["/a.bin"] = ["announce more"]
    downloader.fetch(good.file("/a.bin", size=False), tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert good.ranges("/a.bin") == [None, f"bytes={len(CONTENT)}-"]  # after which the server says: nothing left


def test_a_file_without_an_end_is_given_up(good: Any, downloader: Any, tmp_path: Path) -> None:
    good.behaviour["/a.bin"] = ["endless"] * 3
    with pytest.raises(FetchError, match=f"sends more than {len(CONTENT)} bytes"):
        downloader.fetch(good.file("/a.bin"), tmp_path / "a.bin")
    assert left(tmp_path) == []


def test_busy_servers_are_asked_again_after_growing_pauses(
    good: Any, downloader: Any, pauses: list[float], tmp_path: Path
) -> None:
    good.behaviour["/a.bin"] = [503, 429]
    downloader.fetch(good.file("/a.bin"), tmp_path / "a.bin")
    assert pauses == [0.5, 1.0] and len(good.asked) == 3


def test_a_missing_file_is_not_asked_for_twice(good: Any, downloader: Any, pauses: list[float], tmp_path: Path) -> None:
    good.content["/b.bin"] = CONTENT
    good.behaviour["/a.bin"] = [404]
    downloader.fetch(good.file("/a.bin", "/b.bin"), tmp_path / "a.bin")
    assert [path for path, *_ in good.asked] == ["/a.bin", "/b.bin"] and pauses == []


def test_a_second_mirror_goes_on_where_the_first_one_broke_off(good: Any, downloader: Any, tmp_path: Path) -> None:
    good.content["/b.bin"] = CONTENT
    good.behaviour["/a.bin"] = ["truncate", 404]
    downloader.fetch(good.file("/a.bin", "/b.bin"), tmp_path / "a.bin")
    assert good.ranges("/b.bin") == [f"bytes={HALF}-"]


def test_a_host_that_cannot_be_reached_is_asked_last_from_then_on(good: Any, downloader: Any, tmp_path: Path) -> None:
    file = good.file("/a.bin")
    nowhere = "http://127.0.0.1:9/a.bin"  # nothing listens on the discard port
    file = type(file)(file.name, (nowhere, *file.urls), file.sha256, file.size)
    downloader.fetch(file, tmp_path / "one")
    with pytest.MonkeyPatch.context() as patch:
        tried: list[str] = []
        known = downloader._from_mirror
        patch.setattr(downloader, "_from_mirror", lambda url, *rest: (tried.append(url), known(url, *rest))[1])
        downloader.fetch(file, tmp_path / "two")
    assert tried == list(file.urls[1:])


def test_redirects_lead_to_http_only(good: Any, downloader: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    good.behaviour["/a.bin"] = [f"to file://{secret}"]
    with pytest.raises(FetchError, match="neither http nor https"):
        downloader.fetch(good.file("/a.bin"), tmp_path / "a.bin")
    assert not (tmp_path / "a.bin").exists()
    good.content["/b.bin"] = CONTENT
    good.behaviour["/a.bin"] = ["to /b.bin"]
    assert downloader.fetch(good.file("/a.bin"), tmp_path / "a.bin").read_bytes() == CONTENT


def test_redirects_in_a_circle_end(good: Any, downloader: Any, tmp_path: Path) -> None:
    good.behaviour["/a.bin"] = ["to /a.bin"] * 20
    with pytest.raises(FetchError, match="redirects more than 5 times"):
        downloader.fetch(good.file("/a.bin"), tmp_path / "a.bin")


def test_ctrl_c_keeps_the_part(good: Any, downloader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steady = download._steady

    def pressed(*args: Any) -> Any:
        blocks = steady(*args)
        yield next(blocks)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, "_steady", pressed)
        with pytest.raises(KeyboardInterrupt):
            downloader.fetch(good.file("/a.bin"), tmp_path / "a.bin")
    kept = (tmp_path / "a.bin.part").stat().st_size
    assert 0 < kept < len(CONTENT)
    downloader.fetch(good.file("/a.bin"), tmp_path / "a.bin")
    assert good.ranges("/a.bin") == [None, f"bytes={kept}-"]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_full_disk_is_said_before_anything_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 5, 2_000_000_000))
    require_space(tmp_path / "not" / "yet", 1_900_000_000)
    with pytest.raises(DataError, match=r"has 2\.0 GB free and 2\.1 GB are needed"):
        require_space(tmp_path / "not" / "yet", 2_100_000_000)


def test_a_disk_that_fills_up_is_not_taken_for_a_bad_mirror(
    good: Any, downloader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any) -> Any:
        raise OSError(28, "No space left on device")
        yield

    monkeypatch.setattr(download, "_steady", full)
    with pytest.raises(OSError, match="No space left"):
        downloader.fetch(good.file("/a.bin"), tmp_path / "a.bin")
    assert len(good.asked) == 1
