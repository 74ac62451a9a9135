"""MEFB and the SICE sample: what is registered, fetched, converted, given by hand and verified."""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from data_scripts.download import FetchError
from data_scripts.images import chosen_images, fetch_images, image_state, pixel_hash, store_image, store_png
from data_scripts.registry import Entry, RemoteFile, StoredImage, load_entry, read_index
from data_scripts.verify import verify
from hsds_lib.images.datasets import DataError, split_names
from hsds_lib.images.folders import all_scenes, list_scenes
from hsds_lib.outputs import OutputError


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_registry_keeps_the_facts_of_the_upstream_table(data_root: Path) -> None:
    registered = {image.path: image for image in load_entry("mefb").images}
    upstream = rows(data_root / "mefb_upstream.csv")
    assert len(upstream) == 100 and len(registered) == 200
    for row, role in ((row, role) for row in upstream for role in ("under", "over")):
        source_format = row[f"{role}_source"].partition("/")[0]
        suffix = ".jpg" if source_format == "JPEG" else ".png"
        folder = "mefb" if row["split"] == "development" else "mefb_test"
        image = registered[f"{folder}/{row['scene']}/{role}{suffix}"]
        assert (image.source.name, image.source.sha256) == (row[f"{role}_file"], row[f"{role}_sha256"])
        assert image.converted == (source_format == "TIFF") and image.split == row["split"]
        assert len(image.source.urls) == 3
        assert all("9e185bf88de280b12a2d9a2ff12d66e40bc1ff91" in url for url in image.source.urls)


def test_the_split_of_the_registry_is_that_of_the_library() -> None:
    split, entry = split_names("mefb"), load_entry("mefb")
    for part, names in (("development", split["train"] + split["val"]), ("test", split["test"])):
        assert {image.path.split("/")[1] for image in chosen_images(entry, part)} == set(names)


def test_the_sample_has_the_sources_of_its_index(data_root: Path) -> None:
    registered = {image.path.partition("/")[2]: image for image in load_entry("sice_sample").images}
    index = rows(data_root / "sice_sample" / "index.csv")
    assert sorted(registered) == sorted(row["file"] for row in index)
    for row in index:
        assert registered[row["file"]].source.sha256 == row["source_sha256"]
        assert registered[row["file"]].source.urls[0].split("/")[3:5] == row["source"].split()[0].split("/")


@pytest.mark.parametrize(("name", "count"), [("mefb", 80), ("sice_sample", 28)])
def test_the_data_at_hand_is_as_it_should_be(data_root: Path, name: str, count: int) -> None:
    verdict = verify(load_entry(name), data_root)
    assert (verdict.checked, verdict.troubles) == (count, {})


def test_a_tiff_of_the_stored_pixels_would_be_stored_as_they_are(data_root: Path, tmp_path: Path) -> None:
    known = [image for image in load_entry("mefb").images if image.converted and image.pixels_sha256]
    image = min(known, key=lambda image: (data_root / image.path).stat().st_size)
    with Image.open(data_root / image.path) as stored:
        stored.save(tmp_path / "source.tif")
    store_image(image, tmp_path / "source.tif", tmp_path)
    assert image_state(image, tmp_path) == "ok"
    assert pixel_hash(tmp_path / image.path) == pixel_hash(data_root / image.path)


def test_a_source_with_other_pixels_than_recorded_is_not_stored(save_picture: Any, tmp_path: Path) -> None:
    save_picture(tmp_path / "source.tif")
    image = StoredImage("set/a.png", "all", RemoteFile("a.tif", (), "0" * 64), "TIFF", True, "0" * 64)
    with pytest.raises(DataError, match="decodes to other pixels than recorded"):
        store_image(image, tmp_path / "source.tif", tmp_path)
    assert not (tmp_path / "set" / "a.png").exists()


@pytest.fixture
def entry(site: Any, save_picture: Any, tmp_path: Path) -> Entry:
    """Two scenes for development and one for tests, on the server; PNG, JPEG and TIFF."""
    images = []
    scenes = (("Arno", "development", "PNG"), ("Cave", "development", "TIFF"), ("building", "test", "TIFF"))
    for number, (scene, split, kind) in enumerate(scenes):
        for role in ("under", "over"):
            name = f"input/{scene}/{scene}_{role}.{kind.lower()}"
            seed = 2 * number + (role == "over")
            site.content[f"/{name}"] = save_picture(tmp_path / "made" / name, seed=seed)
            pixels = pixel_hash(tmp_path / "made" / name) if kind == "TIFF" and split == "development" else None
            source = replace(site.file(f"/{name}"), name=name, size=None)
            folder = "mefb_test" if split == "test" else "mefb"
            images.append(StoredImage(f"{folder}/{scene}/{role}.png", split, source, kind, kind == "TIFF", pixels))
    return replace(load_entry("mefb"), images=tuple(images), disk=1_000_000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_development_scenes_come_alone_and_the_index_says_what_was_converted(
    entry: Entry, root: Path, downloader: Any
) -> None:
    fetched = fetch_images(entry, root, downloader=downloader)
    assert (fetched.new, fetched.kept, str(fetched)) == (4, 0, f"{root}: 4 files, 4 of them new")
    assert sorted(path.name for path in root.iterdir()) == ["mefb"]
    assert [scene.name for scene in all_scenes(root / "mefb")] == ["Arno", "Cave"]
    assert verify(entry, root).troubles == {}
    index = read_index(root / "mefb")
    assert index["Arno/under.png"]["conversion"] == "none, byte for byte"
    assert index["Cave/under.png"]["conversion"] == "decoded and stored as PNG, pixels unchanged"
    for name, row in index.items():
        assert hashlib.sha256((root / "mefb" / name).read_bytes()).hexdigest() == row["sha256"]


def test_test_scenes_lie_apart_where_no_training_sees_them(entry: Entry, root: Path, downloader: Any) -> None:
    fetch_images(entry, root, split="all", downloader=downloader)
    assert sorted(path.name for path in root.iterdir()) == ["mefb", "mefb_test"]
    assert [scene.name for scene in list_scenes(root / "mefb", "test")] == ["building"]
    assert [scene.name for scene in list_scenes(root / "mefb_test", "test")] == ["building"]
    for split in ("train", "val"):
        with pytest.raises(DataError, match="too few scenes"):
            list_scenes(root / "mefb_test", split)  # type: ignore[arg-type]
    assert verify(entry, root).checked == 6 and verify(entry, root).troubles == {}


def test_what_is_there_and_right_is_kept_and_the_rest_mended(
    entry: Entry, root: Path, site: Any, downloader: Any
) -> None:
    fetch_images(entry, root, downloader=downloader)
    (root / "mefb/Arno/under.png").unlink()
    (root / "mefb/Cave/over.png").write_bytes((root / "mefb/Arno/over.png").read_bytes())
    site.asked.clear()
    fetched = fetch_images(entry, root, downloader=downloader)
    assert (fetched.new, fetched.kept) == (2, 2)
    assert {path for path, *_ in site.asked} == {"/input/Arno/Arno_under.png", "/input/Cave/Cave_over.tiff"}
    assert verify(entry, root).troubles == {}


def test_an_interrupted_fetch_goes_on(entry: Entry, root: Path, site: Any, downloader: Any) -> None:
    site.behaviour["/input/Cave/Cave_under.tiff"] = [404]
    with pytest.raises(FetchError, match=r"everything runs on data embedded.*9e185bf.*\.zip by hand .* --from"):
        fetch_images(entry, root, downloader=downloader)
    assert (root / "mefb/Arno/over.png").is_file()
    fetch_images(entry, root, downloader=downloader)
    assert site.ranges("/input/Arno/Arno_under.png") == [None]  # asked for once in both
    assert sorted(path.name for path in root.iterdir()) == ["mefb"]


@pytest.mark.parametrize("name", ["mefb/Arno/under.png", "mefb/Cave/under.png", "mefb_test/building/over.png"])
@pytest.mark.parametrize("content", ["a picture", "text", "same pixels"])
def test_a_file_that_was_not_fetched_from_here_is_not_replaced(
    entry: Entry, root: Path, downloader: Any, save_picture: Any, name: str, content: str
) -> None:
    if content == "same pixels":  # but not the same bytes
        (image,) = (image for image in entry.images if image.path == name)
        source = root.parent / "made" / image.source.name
        (root / name).parent.mkdir(parents=True)
        Image.open(source).save(root / name, compress_level=1)
    else:
        save_picture(root / name, seed=99)
        (root / name).write_bytes(b"mine") if content == "text" else None
    mine, kept = (root / name).read_bytes(), content == "same pixels" and "Arno" not in name
    for _ in range(2):
        if kept:
            fetch_images(entry, root, split="all", downloader=downloader)
            assert verify(entry, root).troubles == {}
        else:
            with pytest.raises(DataError, match=f"{name} was not fetched from here; move it away first"):
                fetch_images(entry, root, split="all", downloader=downloader)
        assert (root / name).read_bytes() == mine


def test_an_index_of_somebody_else_is_not_replaced(entry: Entry, root: Path, downloader: Any) -> None:
    (root / "mefb").mkdir(parents=True)
    (root / "mefb" / "index.csv").write_text("scene;score\nArno;3\n")
    with pytest.raises(DataError, match=r"index\.csv was not written from here; move it away first"):
        fetch_images(entry, root, downloader=downloader)
    assert (root / "mefb" / "index.csv").read_text() == "scene;score\nArno;3\n"


def test_a_source_is_never_its_own_target(save_picture: Any, tmp_path: Path) -> None:
    content = save_picture(tmp_path / "set" / "a.png", format="TIFF")
    file = RemoteFile("a.png", (), hashlib.sha256(content).hexdigest())
    with pytest.raises(OutputError, match="is or holds the input"):
        store_image(StoredImage("set/a.png", "all", file, "TIFF", True, None), tmp_path / "set" / "a.png", tmp_path)
    assert (tmp_path / "set" / "a.png").read_bytes() == content


def test_verify_names_what_is_missing_changed_extra_or_unproven(entry: Entry, root: Path, downloader: Any) -> None:
    fetch_images(entry, root, split="all", downloader=downloader)
    (root / "mefb/Arno/under.png").unlink()
    (root / "mefb/Arno/over.png").write_bytes(b"changed")
    (root / "mefb/Cave/over.png").write_bytes((root / "mefb/Cave/under.png").read_bytes())
    (root / "mefb/Cave/third.png").write_bytes(b"extra")
    (root / "mefb/README.md").write_text("tolerated")
    (root / "mefb_test/index.csv").unlink()
    assert verify(entry, root).troubles == {
        "mefb/Arno/under.png": "missing",
        "mefb/Arno/over.png": "changed",
        "mefb/Cave/over.png": "changed",
        "mefb/Cave/third.png": "extra",
        "mefb_test/building/under.png": "unproven",
        "mefb_test/building/over.png": "unproven",
    }


def test_files_fetched_by_hand_need_no_network(entry: Entry, root: Path, site: Any, tmp_path: Path) -> None:
    archive = tmp_path / "MEFB.zip"
    with zipfile.ZipFile(archive, "w") as made:
        for path in sorted((tmp_path / "made").rglob("*.*")):
            made.write(path, f"MEFB-9e185bf/{path.relative_to(tmp_path / 'made').as_posix()}")
    for given in ([archive], [tmp_path / "made"], sorted(path for path in (tmp_path / "made").rglob("*.*"))):
        fetch_images(entry, root, split="all", given=given)
        assert verify(entry, root).troubles == {}
        shutil.rmtree(root)
    assert site.asked == []


def test_what_was_not_given_or_is_another_file_is_named(entry: Entry, root: Path, tmp_path: Path) -> None:
    made, source = tmp_path / "made", entry.images[0].source
    with pytest.raises(DataError, match=r"Arno_under.png \(sha256 .*\) was not given and 3 more files are missing"):
        fetch_images(entry, root, given=[made / "input" / "building"])
    (made / source.name).write_bytes(b"something else")
    found = hashlib.sha256(b"something else").hexdigest()
    with pytest.raises(DataError, match=f"Arno_under.png has sha256 {found}, expected {source.sha256}; give all"):
        fetch_images(entry, root, given=[made])
    assert not (root / "mefb").exists()


def test_pixels_are_stored_without_profile_or_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated
    buffer = io.BytesIO()
    Image.effect_noise((12, 8), 90).convert("RGB").save(buffer, format="JPEG", exif=exif, icc_profile=b"profile")
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    store_png(tmp_path / "a.jpg", tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as stored:
        assert stored.size == (12, 8) and not stored.getexif() and "icc_profile" not in stored.info
    assert pixel_hash(tmp_path / "a.jpg") == pixel_hash(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_other_kinds_of_pixels_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="expected 8-bit RGB"):
        pixel_hash(tmp_path / "a.png")
