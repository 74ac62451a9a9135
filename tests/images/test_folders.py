"""Which files belong to which scene and split."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from hsds_lib.images.datasets import DataError, data_folder, list_images, split_names
from hsds_lib.images.folders import list_scenes
from hsds_lib.images.io import write_rgb


def put(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_rgb(path, torch.zeros(3, 4, 4))


def put_scene(folder: Path, *names: str) -> None:
    for name in names:
        put(folder / name / "under.png", folder / name / "over.png")


def put_roles(folder: Path, *names: str, ref: bool = False) -> None:
    for role in ("under", "over", "ref") if ref else ("under", "over"):
        put(*(folder / role / f"{name}.png" for name in names))


def names(folder: Path, split: str, seed: int = 0) -> list[str]:
    return [scene.name for scene in list_scenes(folder, split, seed=seed)]  # type: ignore[arg-type]


def test_the_split_file_divides_mefb_into_28_12_and_60() -> None:
    split = split_names("mefb")
    assert [len(split[part]) for part in ("train", "val", "test")] == [28, 12, 60]
    everything = split["train"] + split["val"] + split["test"]
    assert len(set(everything)) == 100


def test_the_split_file_keeps_the_upstream_table(data_root: Path) -> None:
    with (data_root / "mefb_upstream.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    split = split_names("mefb")
    assert sorted(split["test"]) == sorted(row["scene"] for row in rows if row["split"] == "test")
    development = sorted(row["scene"] for row in rows if row["split"] == "development")
    assert sorted(split["train"] + split["val"]) == development


def test_mefb_scenes_go_where_the_split_file_says_whatever_the_seed(tmp_path: Path) -> None:
    split, folder = split_names("mefb"), tmp_path / "mefb"
    put_scene(folder, *split["train"][:3], *split["val"][:2], *split["test"][:2])
    for seed in range(3):
        assert names(folder, "train", seed) == sorted(split["train"][:3])
        assert names(folder, "val", seed) == sorted(split["val"][:2])
        assert names(folder, "test", seed) == sorted(split["test"][:2])


def test_a_link_to_mefb_under_another_name_is_still_mefb(tmp_path: Path) -> None:
    split = split_names("mefb")
    put_scene(tmp_path / "mefb", split["train"][0], split["val"][0], split["test"][0])
    (tmp_path / "mine").symlink_to(tmp_path / "mefb")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mefb").symlink_to(tmp_path / "mefb")
    for folder in (tmp_path / "mine", tmp_path / "other" / "mefb"):
        assert names(folder, "train") == [split["train"][0]]


def test_an_unknown_mefb_scene_or_missing_test_scenes_are_errors(tmp_path: Path) -> None:
    put_scene(tmp_path / "mefb", split_names("mefb")["train"][0])
    with pytest.raises(DataError, match="none of the 60 MEFB scenes"):
        list_scenes(tmp_path / "mefb", "test")
    put_scene(tmp_path / "mefb", "MyHoliday")
    with pytest.raises(DataError, match="'MyHoliday', which is no scene of MEFB's split file"):
        list_scenes(tmp_path / "mefb", "train")


@pytest.mark.parametrize("put_all", [put_scene, put_roles])
def test_a_folder_of_scenes_is_divided_into_three_parts_that_do_not_meet(tmp_path: Path, put_all: object) -> None:
    everything = [f"scene{number:02d}" for number in range(20)]
    put_all(tmp_path, *everything)  # type: ignore[operator]
    parts = {split: names(tmp_path, split) for split in ("train", "val", "test")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 13, "val": 3, "test": 4}
    assert sorted(parts["train"] + parts["val"] + parts["test"]) == everything
    assert parts["train"] == sorted(parts["train"])
    assert parts == {split: names(tmp_path, split) for split in parts}
    assert any(names(tmp_path, "test", seed) != parts["test"] for seed in range(1, 4))


def test_three_scenes_make_one_for_each_part_and_one_scene_is_for_training(tmp_path: Path) -> None:
    put_scene(tmp_path / "three", "a", "b", "c")
    assert [len(names(tmp_path / "three", split)) for split in ("train", "val", "test")] == [1, 1, 1]
    put_scene(tmp_path / "one", "a")
    assert names(tmp_path / "one", "train") == ["a"]
    for split in ("val", "test"):
        with pytest.raises(DataError, match=f"too few scenes for a {split} split"):
            names(tmp_path / "one", split)


@pytest.mark.parametrize("put_all", [put_scene, put_roles])
def test_train_and_test_folders_keep_their_scenes_and_val_comes_from_train(tmp_path: Path, put_all: object) -> None:
    train = [f"{number:03d}" for number in range(10)]
    put_all(tmp_path / "train", *train)  # type: ignore[operator]
    put_all(tmp_path / "test", "x", "y")  # type: ignore[operator]
    assert names(tmp_path, "test") == ["x", "y"]
    val = names(tmp_path, "val")
    assert len(val) == 2 and sorted(names(tmp_path, "train") + val) == train


def test_a_missing_half_of_train_and_test_is_named(tmp_path: Path) -> None:
    put_roles(tmp_path / "train", "1", "2")
    with pytest.raises(DataError, match="has no folder 'test', so there is no test split"):
        names(tmp_path, "test")


def test_each_scene_has_its_own_files_and_a_reference_if_there_is_one(tmp_path: Path) -> None:
    put_roles(tmp_path / "test", "007", ref=True)
    put_roles(tmp_path / "test", "008")
    first, second = list_scenes(tmp_path, "test")
    assert (first.under, first.over) == (tmp_path / "test/under/007.png", tmp_path / "test/over/007.png")
    assert first.ref == tmp_path / "test/ref/007.png" and second.ref is None
    put_scene(tmp_path / "test2" / "test", "s")
    put(tmp_path / "test2" / "test" / "s" / "ref.jpg")
    (scene,) = list_scenes(tmp_path / "test2", "test")
    assert scene.ref == tmp_path / "test2/test/s/ref.jpg"


def test_incomplete_and_ambiguous_scenes_are_named(tmp_path: Path) -> None:
    put(tmp_path / "a" / "s" / "under.png")
    with pytest.raises(DataError, match=r"scene 's': no image named over\.\*"):
        names(tmp_path / "a", "train")
    put_roles(tmp_path / "b", "1", "2")
    (tmp_path / "b" / "under" / "2.png").unlink()
    with pytest.raises(DataError, match=r"scene '2': no image named 2\.\* in .*under"):
        names(tmp_path / "b", "train")
    put_scene(tmp_path / "c", "s")
    put(tmp_path / "c" / "s" / "under.jpg")
    with pytest.raises(DataError, match=r"under\.jpg and under\.png"):
        names(tmp_path / "c", "train")


def test_a_folder_without_scenes_says_what_is_expected(tmp_path: Path) -> None:
    put(tmp_path / "picture.png")
    (tmp_path / ".hidden").mkdir()
    with pytest.raises(
        DataError, match=r"holds no scenes \(there lie picture.png\); expected <scene>/\{under,over\[,ref\]\}"
    ):
        names(tmp_path, "train")


def test_named_data_is_looked_for_in_hsds_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HSDS_DATA", raising=False)
    with pytest.raises(DataError, match="HSDS_DATA names, and that is not set; set it, or use data 'embedded'"):
        data_folder("sice")
    monkeypatch.setenv("HSDS_DATA", str(tmp_path))
    with pytest.raises(DataError, match="holds no folder 'sice'"):
        data_folder("sice")
    (tmp_path / "sice").mkdir()
    assert data_folder("sice") == tmp_path / "sice"
    assert data_folder(tmp_path) == tmp_path
    with pytest.raises(DataError, match="data 'nowhere' is no folder and none of embedded, real, mefb"):
        data_folder("nowhere")


def test_images_are_listed_with_those_in_sub_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no images"):
        list_images(tmp_path)
    put(tmp_path / "val2017" / "b.jpg", tmp_path / "a.png")
    (tmp_path / "README.md").touch()
    assert list_images(tmp_path) == [tmp_path / "a.png", tmp_path / "val2017" / "b.jpg"]


def test_mefb_scenes_for_final_evaluation_may_lie_apart_and_are_never_for_training(tmp_path: Path) -> None:
    split = split_names("mefb")
    put_scene(tmp_path / "mefb", split["train"][0], split["val"][0])
    put_scene(tmp_path / "mefb_test", *split["test"][:2])
    assert names(tmp_path / "mefb", "test") == sorted(split["test"][:2])
    assert names(tmp_path / "mefb_test", "test") == sorted(split["test"][:2])
    assert names(tmp_path / "mefb", "train") == [split["train"][0]]
    for part in ("train", "val"):
        with pytest.raises(DataError, match=f"too few scenes for a {part} split"):
            names(tmp_path / "mefb_test", part)
