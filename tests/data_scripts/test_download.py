"""Downloads over a connection that fails in every way, from a server on this machine."""

from __future__ import annotations

import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_scripts import download
from data_scripts.download import FetchError, require_space
from hsds_lib.images.datasets import DataError

CONTENT = np.random.default_rng(0).bytes(300_001)
HALF = len(CONTENT) // 2
REST = f"bytes={HALF}-"


@pytest.fixture
def good(site: Any) -> Any:
    site.content["/a.bin"] = site.content["/b.bin"] = CONTENT
    return site


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_whole_and_leaves_nothing_beside_it(good: Any, downloader: Any, tmp_path: Path) -> None:
    target = downloader.fetch(good.file("/a.bin"), tmp_path / "deep" / "a.bin")
    assert target.read_bytes() == CONTENT and left(tmp_path / "deep") == ["a.bin"]
    assert len(good.agents) == 1 and good.agents.pop().startswith("hsds-mef/")
    downloader.fetch(good.file("/a.bin"), target)
    assert len(good.asked) == 1  # what is there and right is not asked for


@pytest.mark.parametrize(
    ("behaviour", "size", "asked", "waited"),
    [
        (["truncate"], True, [None, REST], [0.5]),
        (["truncate", "ignore range"], True, [None, REST], [0.5]),
        (["truncate", "wrong range"], True, [None, REST, None], [0.5, 1.0]),
        ([503, 429], True, [None] * 3, [0.5, 1.0]),  # growing pauses
        (["to /b.bin"], True, [None], []),
        (["announce more"], False, [None], [0.5]),  # what came counts if its hash is right, whatever was announced
    ],
)
def test_what_breaks_is_asked_for_again_from_where_it_broke(
    good: Any,
    downloader: Any,
    pauses: list[float],
    tmp_path: Path,
    behaviour: list[int | str],
    size: bool,
    asked: list[str | None],
    waited: list[float],
) -> None:
    good.behaviour["/a.bin"] = behaviour
    assert downloader.fetch(good.file("/a.bin", size=size), tmp_path / "a.bin").read_bytes() == CONTENT
    assert good.ranges("/a.bin") == asked and left(tmp_path) == ["a.bin"]
    assert pauses == waited


@pytest.mark.parametrize("how", ["stall", "drip"])
def test_a_server_that_comes_to_a_halt_is_left(
    good: Any, downloader: Any, pauses: list[float], how: str, tmp_path: Path
) -> None:
    good.behaviour["/a.bin"] = [how]
    good.content["/a.bin"] = CONTENT[:HALF] + b"x" * (len(CONTENT) - HALF)  # what drips is right, and slow
    target = downloader.fetch(good.file("/a.bin"), tmp_path / "a.bin")
    assert target.read_bytes() == good.content["/a.bin"]
    first, second = good.ranges("/a.bin")
    assert first is None and int(second.removeprefix("bytes=").removesuffix("-")) >= HALF
    assert pauses == [0.5]


@pytest.mark.parametrize("changed", [False, True])
def test_a_part_of_an_earlier_run_is_continued_and_never_mixed_with_another_file(
    good: Any, downloader: Any, tmp_path: Path, changed: bool
) -> None:
    good.content["/a.bin"] = b"y" * len(CONTENT) if changed else CONTENT
    good.behaviour["/a.bin"] = ["truncate", 404]
    with pytest.raises(FetchError):
        downloader.fetch(good.file("/b.bin", "/a.bin", mirrors=1), tmp_path / "a.bin")
    assert left(tmp_path) == ["a.bin.part"]
    good.content["/a.bin"] = CONTENT
    downloader.fetch(good.file("/a.bin"), tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT and left(tmp_path) == ["a.bin"]
    assert good.ranges("/a.bin")[2:] == ([REST, None] if changed else [REST])


@pytest.mark.parametrize("size", [True, False])
def test_a_part_that_is_already_whole_is_proven_and_put_in_place(
    good: Any, downloader: Any, size: bool, tmp_path: Path
) -> None:
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    downloader.fetch(good.file("/a.bin", size=size), tmp_path / "a.bin")
    assert left(tmp_path) == ["a.bin"] and good.asked == []


@pytest.mark.parametrize("length", [1000, len(CONTENT), len(CONTENT) + 5])
@pytest.mark.parametrize("size", [True, False])
def test_a_part_with_other_content_is_thrown_away_and_fetched_again(
    good: Any, downloader: Any, length: int, size: bool, tmp_path: Path
) -> None:
    (tmp_path / "a.bin.part").write_bytes(b"z" * length)
    assert downloader.fetch(good.file("/a.bin", size=size), tmp_path / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("how", "size", "sentence"),
    [
        ("wrong", True, "its sha256 is [0-9a-f]{64}, expected [0-9a-f]{64}"),
        ("wrong", False, "its sha256 is [0-9a-f]{64}, expected [0-9a-f]{64}"),
        ("announce more", True, r"has a file of \d+ bytes, expected 300001"),
        ("announce less", True, r"has a file of \d+ bytes, expected 300001"),
        ("announce less", False, "its sha256 is"),
        ("endless", True, "sends more than 300001 bytes"),
        ("to file:///etc/passwd", True, "leads to file:///etc/passwd, which is neither http nor https"),
        ("to /a.bin", True, "redirects more than 5 times"),
        ("compressed", True, "sends the file compressed, though asked not to"),
    ],
)
def test_a_wrong_file_is_never_put_in_place_and_the_next_mirror_is_tried(
    good: Any, downloader: Any, size: bool, how: str, sentence: str, tmp_path: Path
) -> None:
    good.behaviour["/a.bin"] = [how] * 20
    with pytest.raises(FetchError, match=sentence):
        downloader.fetch(good.file("/a.bin", size=size), tmp_path / "a.bin")
    assert left(tmp_path) == []
    good.behaviour["/a.bin"] = [how] * 20
    assert downloader.fetch(good.file("/a.bin", "/b.bin"), tmp_path / "a.bin").read_bytes() == CONTENT
    assert good.asked[-1][0] == "/b.bin"


def test_a_missing_file_is_not_asked_for_twice_and_the_next_mirror_goes_on(
    good: Any, downloader: Any, pauses: list[float], tmp_path: Path
) -> None:
    good.behaviour["/a.bin"] = [404, "truncate", 404]
    downloader.fetch(good.file("/a.bin", "/b.bin"), tmp_path / "one")
    assert good.asked == [("/a.bin", None), ("/b.bin", None)] and pauses == []
    downloader.fetch(good.file("/a.bin", "/b.bin"), tmp_path / "two")
    assert good.asked[2:] == [("/a.bin", None), ("/a.bin", REST), ("/b.bin", REST)]  # where the first one broke off


def test_a_host_that_cannot_be_reached_is_asked_last_from_then_on(
    good: Any, downloader: Any, pauses: list[float], tmp_path: Path
) -> None:
    nowhere = "http://127.0.0.1:9/a.bin"  # nothing listens on the discard port
    file = good.file("/a.bin")
    file = replace(file, urls=(nowhere, *file.urls))
    downloader.fetch(file, tmp_path / "one")
    assert pauses == [0.5, 1.0]
    downloader.fetch(file, tmp_path / "two")
    assert pauses == [0.5, 1.0] and len(good.asked) == 2


def test_ctrl_c_keeps_the_part(good: Any, downloader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steady = download._InTime.blocks

    def pressed(*args: Any) -> Any:
        blocks = steady(*args)
        yield next(blocks)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download._InTime, "blocks", pressed)
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

    monkeypatch.setattr(download._InTime, "blocks", full)
    with pytest.raises(OSError, match="No space left"):
        downloader.fetch(good.file("/a.bin"), tmp_path / "a.bin")
    assert len(good.asked) == 1
