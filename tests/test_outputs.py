"""An output never lies over an input, nor over what its command did not make."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hsds_lib.outputs import MARKER, OutputError, own_folder, require_apart


def test_an_input_is_found_behind_every_kind_of_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"a photograph")
    (tmp_path / "link.png").symlink_to(photo)
    os.link(photo, tmp_path / "hard.png")
    monkeypatch.chdir(tmp_path)
    for name in (photo, "photo.png", "./photo.png", tmp_path / "x" / ".." / "photo.png", "link.png", "hard.png"):
        with pytest.raises(OutputError, match="is or holds the input"):
            require_apart(name, photo)
    with pytest.raises(OutputError):
        require_apart(tmp_path, None, photo)
    require_apart(tmp_path / "other.png", photo, None)
    require_apart(tmp_path / "fused", tmp_path)
    assert photo.read_bytes() == b"a photograph"


def test_a_folder_is_taken_when_new_empty_or_made_by_the_same_command(tmp_path: Path) -> None:
    for folder in (tmp_path / "new" / "deep", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        assert own_folder(folder, "hsds site") == folder.resolve()
        (folder / "page.html").write_text("made")
        assert own_folder(folder, "hsds site") == folder.resolve()
        with pytest.raises(OutputError, match="was made by `hsds site`"):
            own_folder(folder, "hsds report")


def test_a_folder_or_file_of_somebody_else_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "searchindex.js").write_text("of another Sphinx site")
    (tmp_path / "file").write_text("text")
    with pytest.raises(OutputError, match="did not write"):
        own_folder(tmp_path / "thesis", "hsds site")
    with pytest.raises(OutputError, match="did not write"):
        own_folder(tmp_path / "new" / ".." / "thesis", "hsds site")  # making it would make its beginning
    with pytest.raises(OutputError, match="is a file"):
        own_folder(tmp_path / "file", "hsds site")
    with pytest.raises(OutputError, match="is or holds the input"):
        own_folder(tmp_path / "thesis", "hsds site", tmp_path / "thesis" / "searchindex.js")
    assert not (tmp_path / "thesis" / MARKER).exists()


def test_a_folder_of_before_there_were_markers_is_adopted_and_one_of_another_command_is_not(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("made")
    with pytest.raises(OutputError):
        own_folder(tmp_path, "hsds site", adopt=lambda folder: (folder / "other.html").is_file())
    assert (
        own_folder(tmp_path, "hsds site", adopt=lambda folder: (folder / "page.html").is_file()) == tmp_path.resolve()
    )
    with pytest.raises(OutputError, match="was made by `hsds site`"):
        own_folder(tmp_path, "hsds report", adopt=lambda folder: True)


def test_a_name_that_is_not_utf_8_and_a_circle_of_links_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not UTF-8"):
        own_folder(tmp_path / os.fsdecode(b"\xff"), "hsds site")
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(OSError, match="a"):
        own_folder(tmp_path / "a", "hsds site", tmp_path / "b" / "c", tmp_path / "input")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
