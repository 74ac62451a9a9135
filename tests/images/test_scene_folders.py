"""Which files of a folder are exposures of one scene, whatever it looks like; and what is passed over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from hsds_lib.images.batches import load_scenes
from hsds_lib.images.datasets import DataError, ImageError, list_images
from hsds_lib.images.folders import SceneFiles, look, picture_ending, scan
from hsds_lib.images.io import write_rgb

JUNK = ("@eaDir/under.png", "__MACOSX/._under.png", ".ipynb_checkpoints/under.png", ".DS_Store", "Thumbs.db")


def put(root: Path, *files: tuple[str, float]) -> None:
    """Write flat pictures of these levels."""
    for name, level in files:
        write_rgb(root / name, torch.full((3, 6, 8), level))


def roles(root: Path) -> dict[str, tuple[str, ...]]:
    """Files by scene, from dark to bright; reasons are left out."""
    found = look(root).found
    return {
        name: tuple(path.relative_to(root).as_posix() for path in scene.exposures)
        for name, scene in found.items()
        if isinstance(scene, SceneFiles)
    }


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"s/under.png": 0.2, "s/over.jpg": 0.8}, {"s": ("s/under.png", "s/over.jpg")}),
        ({"s/under.png": 0.9, "s/over.jpg": 0.1}, {"s": ("s/under.png", "s/over.jpg")}),  # as they are called
        ({"s/under.png": 0.2, "s/over.jpg": 0.8, "s/mid.png": 0.5}, {"s": ("s/under.png", "s/over.jpg")}),
        ({"under/001.png": 0.2, "over/001.tif": 0.8}, {"001": ("under/001.png", "over/001.tif")}),
        ({"s/7.png": 0.8, "s/9.png": 0.2, "s/ref.png": 0.1}, {"s": ("s/9.png", "s/7.png")}),
        ({"s/a.png": 0.5, "s/b.png": 0.9, "s/c.png": 0.1}, {"s": ("s/c.png", "s/a.png", "s/b.png")}),
        ({"x_A.png": 0.8, "x_B.jpg": 0.2}, {"x": ("x_B.jpg", "x_A.png")}),
        ({"x_a.png": 0.1, "x_b.png": 0.3, "y_A.png": 0.5, "y_B.png": 0.3},
         {"x": ("x_a.png", "x_b.png"), "y": ("y_B.png", "y_A.png")}),
        ({"x(-2.7).png": 0.2, "x(+3.3).png": 0.8}, {"x": ("x(-2.7).png", "x(+3.3).png")}),
        ({"x (-2 EV).png": 0.2, "x (0 EV).png": 0.5, "x (+2 EV).png": 0.8},
         {"x": ("x (-2 EV).png", "x (0 EV).png", "x (+2 EV).png")}),
        ({"a b_-2.png": 0.2, "a b_+2.png": 0.8}, {"a b": ("a b_-2.png", "a b_+2.png")}),
        ({"IMG_1.png": 0.8, "IMG_2.png": 0.2}, {"one": ("IMG_2.png", "IMG_1.png")}),
        ({"p (1).png": 0.8, "p (2).png": 0.2}, {"one": ("p (2).png", "p (1).png")}),  # copies, not exposures
        ({"under.png": 0.2, "over.png": 0.8, "ref.png": 0.5}, {"one": ("under.png", "over.png")}),
    ],
)  # fmt: skip
def test_every_layout_gives_its_scenes_in_spite_of_junk(
    files: dict[str, float], expected: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    put(tmp_path / "one", *files.items())
    for name in JUNK:
        (tmp_path / "one" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "one" / name).write_bytes(b"junk")
    assert roles(tmp_path / "one") == expected
    assert set(look(tmp_path / "one").found) == set(expected)
    assert sorted(list_images(tmp_path / "one")) == sorted(tmp_path / "one" / name for name in files)


def test_a_folder_of_results_is_no_scene(tmp_path: Path) -> None:
    put(tmp_path, ("s/under.png", 0.2), ("s/over.png", 0.8), ("fused/s.png", 0.5))
    (tmp_path / "fused" / ".made-by-hsds").write_text("hsds fuse --pairs\n")
    assert set(look(tmp_path).found) == {"s"}


@pytest.mark.parametrize(
    ("files", "name", "why"),
    [
        (("s/under.png",), "s", r"no image named over\.\*"),
        (("s/under.png", "s/under.jpg", "s/over.png"), "s", "ambiguous"),
        (("under/1.png", "under/2.png", "over/1.png"), "2", r"no image named 2\.\*"),
        (("x_A.png", "x_B.png", "lonely.png"), "lonely", "1 images go with .*; expected 2 to 9"),
        (tuple(f"s/{number}.png" for number in range(10)), "s", "10 images go with"),
        (("s/x_A.png", "s/x_B.png", "s/y_A.png", "s/y_B.png"), "s", r"several scenes \(x, y"),
    ],
)
def test_what_is_no_scene_is_named_beside_the_others(
    files: tuple[str, ...], name: str, why: str, tmp_path: Path
) -> None:
    put(tmp_path, *((file, 0.5) for file in files))
    problem = look(tmp_path).found[name]
    assert isinstance(problem, str)
    with pytest.raises(DataError, match=f"scene '{name}': .*{why}"):
        scan(tmp_path)


def test_a_folder_that_fits_no_layout_says_what_lies_there(tmp_path: Path) -> None:
    put(tmp_path / "d", *((f"IMG_{number}.png", 0.5) for number in range(3)))
    (tmp_path / "e").mkdir()
    for place, lies in (
        ("d", "there lie IMG_0.png, IMG_1.png, IMG_2.png"),
        ("e", "it is empty"),
        ("f", "it is no folder"),
    ):
        with pytest.raises(DataError, match=rf"holds no scenes \({lies}\); expected <scene>/"):
            look(tmp_path / place)


def test_data_folders_take_the_same_layouts_but_pairs_only(tmp_path: Path) -> None:
    put(tmp_path / "ab", *((f"{scene}_{side}.png", 0.2 + 0.5 * (side == "A")) for scene in "xyz" for side in "AB"))
    scenes = [scene for split in ("train", "val", "test") for scene in load_scenes(str(tmp_path / "ab"), split)]  # type: ignore[arg-type]
    assert sorted(scene.name for scene in scenes) == ["x", "y", "z"]
    assert all(scene.under.mean() < scene.over.mean() for scene in scenes)
    put(tmp_path / "stack", *((f"s/{number}.png", number / 9) for number in range(3)))
    with pytest.raises(DataError, match=r"more than two exposures \(0.png, 1.png, 2.png\); call two of them"):
        scan(tmp_path / "stack")


def test_a_name_that_is_not_utf_8_is_a_problem_of_that_scene(tmp_path: Path) -> None:
    put(tmp_path, ("good/under.png", 0.2), ("good/over.png", 0.8))
    try:
        os.rename(tmp_path / "good", os.fsencode(tmp_path) + b"/sc\xe8ne")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    put(tmp_path, ("good/under.png", 0.2), ("good/over.png", 0.8))
    found = look(tmp_path).found
    assert isinstance(found["good"], SceneFiles)
    [problem] = [scene for name, scene in found.items() if name != "good"]
    assert problem == r"the name 'sc\udce8ne' is not UTF-8; rename the file or folder"


def test_pictures_of_a_method_may_carry_its_name(tmp_path: Path) -> None:
    for name in ("a_GFF.png", "b_GFF.bmp", "a_x_GFF.png", "a_other.png"):
        (tmp_path / name).touch()
    scenes = ["a", "b", "a_x"]
    assert picture_ending(tmp_path, scenes, "gff") == "_GFF" == picture_ending(tmp_path, scenes)
    assert picture_ending(tmp_path, scenes, "other") == "_other"
    (tmp_path / "b_other.png").touch()
    (tmp_path / "a_x_other.png").touch()
    with pytest.raises(ImageError, match="pictures of several methods"):
        picture_ending(tmp_path, scenes, "mine")
    (tmp_path / "a.png").touch()
    assert picture_ending(tmp_path, scenes, "gff") == ""
