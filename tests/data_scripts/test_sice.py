"""SICE made of archives: which pictures are taken, which sequences are not, and what is written about it."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_scripts.registry import data_root, load_entry, read_index
from data_scripts.sice import Prepared, divide, prepare_sice
from data_scripts.verify import verify
from hsds_lib.images.align import shift_between
from hsds_lib.images.datasets import DataError
from hsds_lib.images.folders import list_scenes

SIDE = (90, 60)


def scenery(seed: int) -> np.ndarray:
    """A random scene of blocks of two pixels, linear light from 0.1 to 1."""
    rng = np.random.default_rng(seed)
    return np.kron(rng.uniform(0.1, 1.0, (SIDE[1] // 2, SIDE[0] // 2)), np.ones((2, 2)))


def put(path: Path, light: np.ndarray, exposure: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    gray = (255 * np.clip(light * exposure, 0, 1) ** (1 / 2.2)).round().astype(np.uint8)
    Image.fromarray(np.stack([gray, gray, gray], axis=-1)).save(path, format="PNG")


def put_sequence(
    part: Path, number: int, seed: int | None = None, exposures: tuple[float, ...] = (1.6, 0.7, 0.2)
) -> None:
    """Pictures from bright to dark, so that their numbers are not in the order of luma."""
    light = scenery(number if seed is None else seed)
    for index, exposure in enumerate(exposures, start=1):
        put(part / str(number) / f"{index}.PNG", light, exposure)
    put(part / "Label" / f"{number}.PNG", light, 0.8)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two parts of SICE with six and four sequences; not to be changed."""
    folder = tmp_path_factory.mktemp("given")
    for number in range(1, 7):
        put_sequence(folder / "Dataset_Part1", number)
    for number in range(1, 5):
        put_sequence(folder / "Dataset_Part2", number, seed=100 + number)
    return [folder / "Dataset_Part1", folder / "Dataset_Part2"]


@pytest.fixture(scope="module")
def made(given: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """What is made of them; not to be changed."""
    return prepare_sice(given, tmp_path_factory.mktemp("data"), seed=3)


@pytest.fixture
def parts(given: list[Path], tmp_path: Path) -> list[Path]:
    """A copy of them, to be spoilt."""
    return [Path(shutil.copytree(part, tmp_path / "given" / part.name)) for part in given]


def test_sequences_become_scenes_that_the_library_lists(made: Prepared) -> None:
    assert (len(made.train), len(made.test), made.rejected) == (8, 2, 0)
    listed = {split: list_scenes(made.folder, split) for split in ("train", "val", "test")}  # type: ignore[arg-type]
    assert [len(listed[split]) for split in ("train", "val", "test")] == [6, 2, 2]
    for scene in listed["train"]:
        lumas = [np.asarray(Image.open(path)).mean() for path in (scene.under, scene.ref, scene.over) if path]
        assert lumas == sorted(lumas) and len(lumas) == 3
    assert [path.name for path in made.folder.parent.iterdir()] == ["sice"]
    assert "8 scenes for training, 2 for testing, 0 sequences not used" in str(made)
    assert "not the paper's 565 scenes, so its proportion of 452 to 113 was kept" in str(made)
    split = json.loads((made.folder / "split.json").read_text(encoding="utf-8"))
    assert (split["seed"], split["train"], split["test"]) == (3, made.train, made.test)
    assert [scene.name for scene in listed["test"]] == made.test


def test_the_pair_is_the_darkest_and_the_brightest_that_show_something(tmp_path: Path) -> None:
    part = tmp_path / "Part1"
    put_sequence(part, 1, exposures=(1000, 1.6, 0.7, 0.2, 1e-5))  # the first is white, the last black
    put_sequence(part, 2)
    prepare_sice([part], tmp_path / "data")
    sources = {row["file"].split("/", 1)[1]: row["source"] for row in read_index(tmp_path / "data" / "sice").values()}
    assert sources["under/part1_001.png"] == "Part1/1/4.PNG"
    assert sources["over/part1_001.png"] == "Part1/1/2.PNG"
    assert sources["ref/part1_001.png"] == "Part1/Label/1.PNG"


def test_what_cannot_be_used_is_rejected_with_its_reason(parts: list[Path], tmp_path: Path) -> None:
    first, second = parts
    (first / "Label" / "1.PNG").unlink()
    (first / "2" / "3.PNG").write_bytes(b"no image")
    put(first / "Label" / "3.PNG", scenery(3)[:-2], 0.8)
    put(first / "Label" / "4.PNG", np.roll(scenery(4), 3, axis=1), 0.8)
    shutil.rmtree(second / "1")
    shutil.copytree(first / "5", second / "1")
    shutil.copyfile(first / "Label" / "5.PNG", second / "Label" / "1.PNG")
    (second / "2" / "3.PNG").unlink()
    for index, exposure in enumerate((1.0, 1.01, 1.02), start=1):
        put(second / "3" / f"{index}.PNG", scenery(103), exposure)
    made = prepare_sice(parts, tmp_path / "data")
    page = (made.folder / "report.html").read_text(encoding="utf-8")
    table = page.partition("<h2>Not used</h2>")[2].partition("<h2>Used</h2>")[0]
    reasons = dict(re.findall(r"<th scope='row'>(.*?)</th><td>(.*?)</td>", table))
    expected = {
        "dataset_part1_001": "has no reference",
        "dataset_part1_002": "cannot be read: 3.PNG",
        "dataset_part1_003": "different sizes: under 90 x 60, over 90 x 60, ref 90 x 58",
        "dataset_part1_004": "is not aligned: shifted by 3.1 pixels",
        "dataset_part2_001": "same pixels as dataset_part1_005",
        "dataset_part2_002": "has 2 pictures, expected 3 to 18",
        "dataset_part2_003": "mean luma differs by 0.0",
    }
    assert sorted(reasons) == sorted(expected)
    for name, reason in expected.items():
        assert reason in reasons[name], name
    assert made.rejected == 7 and sorted(made.train + made.test) == [
        "dataset_part1_005",
        "dataset_part1_006",
        "dataset_part2_004",
    ]
    # The report needs nothing else, and describes every picture.
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|<script|https?://", page)
    assert page.count("<img ") == page.count('alt="') == 21 and 'alt=""' not in page
    assert "10 sequences, 3 used (2 for training, 1 for testing), 7 not used." in page


def test_a_part_that_was_given_twice_counts_once(given: list[Path], parts: list[Path], tmp_path: Path) -> None:
    made = prepare_sice([given[1], parts[1]], tmp_path / "data")
    assert len(made.train) + len(made.test) == 4 and made.rejected == 4


def test_archives_give_the_same_as_their_folders(parts: list[Path], made: Prepared, tmp_path: Path) -> None:
    archives = [Path(shutil.make_archive(str(part), "zip", part.parent, part.name)) for part in parts]
    unpacked = prepare_sice(archives, tmp_path / "data", seed=3)
    one, two = (read_index(prepared.folder) for prepared in (made, unpacked))
    assert {name: row["sha256"] for name, row in one.items()} == {name: row["sha256"] for name, row in two.items()}
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["sice"]


def test_the_division_is_452_to_113_and_depends_on_the_seed_alone() -> None:
    names = [f"part_{number:03d}" for number in range(565)]
    train, test = divide(names, 0)
    assert (len(train), len(test)) == (452, 113) and sorted(train + test) == names
    assert divide(list(reversed(names)), 0) == (train, test)
    assert divide(names, 1) != (train, test)
    assert [len(part) for part in divide(names[:5], 0)] == [4, 1]
    assert [len(part) for part in divide(names[:2], 0)] == [1, 1]


def test_verify_finds_what_was_changed_afterwards(made: Prepared, tmp_path: Path) -> None:
    shutil.copytree(made.folder, tmp_path / "sice")
    entry, folder, scene = load_entry("sice"), tmp_path / "sice" / "train" / "under", made.train[0]
    assert verify(entry, tmp_path).checked == 30 and verify(entry, tmp_path).troubles == {}
    (folder / f"{scene}.png").unlink()
    (folder / "new.png").write_bytes(b"new")
    assert verify(entry, tmp_path).troubles == {
        f"sice/train/under/{scene}.png": "missing",
        "sice/train/under/new.png": "extra",
    }


@pytest.mark.parametrize("long_side", [256, 0])
def test_pictures_are_reduced_or_kept_byte_for_byte(tmp_path: Path, long_side: int) -> None:
    for number in (1, 2):
        put_sequence(tmp_path / "Part1", number)
    for path in (tmp_path / "Part1").rglob("*.PNG"):
        Image.open(path).resize((360, 240), Image.Resampling.NEAREST).save(path)
    folder = prepare_sice([tmp_path / "Part1"], tmp_path / "data", long_side=long_side).folder
    rows = read_index(folder)
    assert {Image.open(folder / name).size for name in rows} == {(256, 171) if long_side else (360, 240)}
    assert len(rows) == 6 and all((row["sha256"] == row["source_sha256"]) == (not long_side) for row in rows.values())


def test_nothing_usable_says_why(tmp_path: Path) -> None:
    for number in (1, 2):
        put_sequence(tmp_path / "Part1", number)
        (tmp_path / "Part1" / "Label" / f"{number}.PNG").unlink()
    with pytest.raises(DataError, match=r"0 usable sequences .*; part1_001 has no reference"):
        prepare_sice([tmp_path / "Part1"], tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_mistake_leaves_nothing_behind(parts: list[Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for given, sentence in (
        ([tmp_path / "empty"], "holds no sequences of SICE; expected PART/N/1.JPG"),
        ([tmp_path / "gone.zip"], "does not exist"),
        ([parts[0] / "1" / "1.PNG"], "is neither a folder nor a zip or tar archive"),
    ):
        with pytest.raises(DataError, match=sentence):
            prepare_sice(given, tmp_path / "data")
    assert not (tmp_path / "data").exists() or list((tmp_path / "data").iterdir()) == []


def test_numbers_are_digits_and_stand_once(parts: list[Path], made: Prepared, tmp_path: Path) -> None:
    for name in ("\u00b2", "\u0663", "1b", "-1"):
        (parts[0] / name).mkdir()
        shutil.copyfile(parts[0] / "1" / "1.PNG", parts[0] / "1" / f"{name}.PNG")
    again = prepare_sice(parts, tmp_path / "data", seed=3)
    assert (again.train, again.test) == (made.train, made.test)
    (parts[0] / "01").mkdir()
    with pytest.raises(DataError, match="holds '01' and '1', one number"):
        prepare_sice(parts, tmp_path / "more")


def test_folders_that_are_not_called_in_utf8_are_prepared(parts: list[Path], tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    parts[1].rename(odd)
    rows = read_index(prepare_sice([odd], tmp_path / "data").folder)
    assert all(row["source"].startswith(r"caf\udce9/") for row in rows.values())


def test_an_output_is_not_an_input(parts: list[Path], tmp_path: Path) -> None:
    parts[0].rename(tmp_path / "sice")
    with pytest.raises(DataError, match="exists already"):
        prepare_sice([tmp_path / "sice"], tmp_path)
    assert len(list((tmp_path / "sice").iterdir())) == 7
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(DataError, match="file is a file; data go into a folder"):
        data_root(tmp_path / "file")


def test_an_existing_folder_is_not_touched(parts: list[Path], tmp_path: Path) -> None:
    (tmp_path / "data" / "sice").mkdir(parents=True)
    with pytest.raises(DataError, match="exists already; move it away"):
        prepare_sice(parts, tmp_path / "data")
    assert list((tmp_path / "data" / "sice").iterdir()) == []


def shift(one: Image.Image, other: Image.Image) -> float:
    grays = (np.asarray(picture.convert("L"), dtype=np.float32) for picture in (one, other))
    return float(np.hypot(*shift_between(*grays)))


def test_real_pairs_are_aligned_by_the_measure_and_moved_ones_are_not(data_root: Path) -> None:
    for number in ("001", "002", "003"):
        folder = data_root / "sice_sample" / "train"
        under, over, ref = (Image.open(folder / role / f"{number}.png") for role in ("under", "over", "ref"))
        assert shift(over, under) < 0.2 and shift(over, ref) < 0.2
        moved = Image.fromarray(np.roll(np.asarray(under), (2, 3), axis=(0, 1)))
        assert shift(over, moved) == pytest.approx(13**0.5, abs=0.3)
