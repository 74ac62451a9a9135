"""Loading scenes and naturals by split, and batches of paired crops."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from hsds_lib.images.batches import DataError, PairBatches, Scene, expose_anew, load_naturals, load_scenes, resized
from hsds_lib.images.color import fuse_chroma, split_luma
from hsds_lib.images.datasets import split_names
from hsds_lib.images.exposure import embedded_photographs
from hsds_lib.images.io import write_rgb


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def coded_scene(number: int, height: int = 12, width: int = 17) -> Scene:
    """A scene whose pixels tell scene, row and column, and whose images differ by an offset."""
    rows = torch.arange(height).float()[:, None].expand(height, width)
    columns = torch.arange(width).float()[None, :].expand(height, width)
    base = torch.stack([torch.full((height, width), float(number)), rows, columns]) / 100
    return Scene(str(number), base, base + 0.2, base + 0.4, "file")


def batches(n_scenes: int = 5, seed: int = 0, **options: int | bool) -> PairBatches:
    settings: dict[str, int | bool] = {"crop": 8, "batch_size": 2} | options
    naturals = [torch.full((3, 8 + k, 9), k / 10) for k in range(3)]
    scenes = [coded_scene(number) for number in range(n_scenes)]
    return PairBatches(scenes, naturals, generator=seeded(seed), **settings)  # type: ignore[arg-type]


def scene_numbers(loader: PairBatches) -> list[int]:
    return [round(item[0, 0, 0].item() * 100) for batch in loader for item in batch.under]


def put_triples(folder: Path, *names: str, size: tuple[int, int] = (6, 5)) -> None:
    for level, role in enumerate(("under", "over", "ref")):
        for name in names:
            write_rgb(folder / role / f"{name}.png", torch.full((3, *size), level / 2))


# Loading


def test_embedded_photographs_of_one_split_are_in_no_other() -> None:
    photos = {
        split: {scene.name.rsplit("-", 1)[0] for scene in load_scenes("embedded", split)}
        for split in ("train", "val", "test")
    }
    assert sum(len(names) for names in photos.values()) == len(set().union(*photos.values())) == 5
    pictures = embedded_photographs()
    for split, names in photos.items():
        naturals = load_naturals("embedded", split)  # type: ignore[arg-type]
        assert len(naturals) == len(names)
        assert all(any(torch.equal(natural, pictures[name]) for name in names) for natural in naturals)


def test_embedded_scenes_have_several_illuminations_and_a_reference() -> None:
    scenes = load_scenes("embedded", "val")
    assert [scene.name for scene in scenes] == [f"chelsea-{number}" for number in (1, 2, 3, 4)]
    for scene in scenes:
        assert scene.ref is not None and scene.ref_origin == "simulated"
        assert scene.under.shape == scene.over.shape == scene.ref.shape
    assert (scenes[0].under - scenes[1].under).abs().mean() > 0.01


def test_a_limit_gives_the_first_scenes_of_different_photographs_unchanged() -> None:
    few, all_scenes = load_scenes("embedded", "train", limit=3), load_scenes("embedded", "train")
    assert [scene.name for scene in few] == ["motorcycle-1", "coffee-1", "rocket-1"]
    for scene, same in zip(few, all_scenes, strict=False):
        assert scene.name == same.name and torch.equal(scene.under, same.under)


def test_embedded_scenes_follow_the_seed() -> None:
    first, again, other = (load_scenes("embedded", "test", seed=seed, limit=1)[0] for seed in (0, 0, 1))
    assert torch.equal(first.over, again.over) and not torch.equal(first.over, other.over)


def test_a_folder_of_triples_is_read_with_every_image_in_its_role(tmp_path: Path) -> None:
    put_triples(tmp_path / "test", "b", "a")
    scenes = load_scenes(tmp_path, "test")
    assert [scene.name for scene in scenes] == ["a", "b"]
    for scene in scenes:
        assert scene.ref is not None and scene.ref_origin == "file"
        means = [round(image.mean().item(), 1) for image in (scene.under, scene.over, scene.ref)]
        assert means == [0.0, 0.5, 1.0]
    assert [scene.name for scene in load_scenes(str(tmp_path), "test", limit=1)] == ["a"]


def test_a_damaged_image_and_sizes_that_differ_name_scene_and_file(tmp_path: Path) -> None:
    put_triples(tmp_path / "test", "a")
    write_rgb(tmp_path / "test" / "ref" / "a.png", torch.zeros(3, 6, 4))
    with pytest.raises(DataError, match=r"scene 'a': .*ref/a\.png is 4 x 6 .* 5 x 6"):
        load_scenes(tmp_path, "test")
    write_rgb(tmp_path / "test" / "over" / "a.png", torch.zeros(3, 6, 4))
    with pytest.raises(DataError, match=r"scene 'a': .*under/a\.png is 5 x 6 and .*over/a\.png is 4 x 6"):
        load_scenes(tmp_path, "test")
    (tmp_path / "test" / "under" / "a.png").write_bytes(b"\x89PNG nothing more")
    with pytest.raises(DataError, match=r"scene 'a': .*under/a\.png is"):
        load_scenes(tmp_path, "test")


def test_splits_and_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(DataError, match="split 'dev' is not known; use one of train, val, test"):
        load_scenes("embedded", "dev")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="split 'dev' is not known"):
        load_naturals("embedded", "dev")  # type: ignore[arg-type]
    for load in (load_scenes, load_naturals):
        with pytest.raises(DataError, match="limit 0"):
            load("embedded", "train", limit=0)


def test_named_data_without_hsds_data_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HSDS_DATA", raising=False)
    for data in ("mefb", "real", "sice"):
        with pytest.raises(DataError, match=r"HSDS_DATA names, and that is not set.*'embedded'"):
            load_scenes(data, "train")
    with pytest.raises(DataError, match="HSDS_DATA"):
        load_naturals("coco")


def test_naturals_are_files_where_there_are_some_and_embedded_photographs_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HSDS_DATA", str(tmp_path))
    embedded = load_naturals("embedded")
    assert all(torch.equal(a, b) for a, b in zip(load_naturals("real"), embedded, strict=True))
    for number in range(6):
        write_rgb(tmp_path / "natural" / f"{number}.png", torch.full((3, 4, 4), number / 255))
    assert [natural.shape for natural in load_naturals("real")] == [(3, 4, 4)] * 6
    assert len(load_naturals("embedded")) == len(embedded)
    write_rgb(tmp_path / "coco" / "val2017" / "x.jpg", torch.zeros(3, 5, 5))
    assert [natural.shape for natural in load_naturals("real")] == [(3, 5, 5)]
    assert len(load_naturals("natural")) == 6
    few = [[round(n.mean().item() * 255) for n in load_naturals("natural", limit=3, seed=s)] for s in (0, 0, 1, 2)]
    assert len(set(few[0])) == 3 and few[0] == few[1] and (few[0] != few[2] or few[0] != few[3])


# Batches


def test_a_pass_shows_every_scene_once_and_in_another_order_the_next_time() -> None:
    loader = batches(n_scenes=6)
    passes = [scene_numbers(loader) for _ in range(4)]
    assert all(sorted(numbers) == list(range(6)) for numbers in passes)
    assert len(loader) == 3 and len(set(map(tuple, passes))) > 1


def test_an_incomplete_batch_is_left_out_and_a_single_one_filled_up() -> None:
    loader = batches(n_scenes=5)
    assert len(loader) == len(list(loader)) == 2
    small = batches(n_scenes=2, batch_size=5)
    assert len(small) == 1
    assert sorted(Counter(scene_numbers(small)).values()) == [2, 3]


def test_all_images_of_an_item_are_cut_at_the_same_place_and_flipped_alike() -> None:
    for batch in batches(n_scenes=6):
        assert batch.under.shape == batch.natural.shape == (2, 3, 8, 8)
        assert torch.allclose(batch.over - batch.under, torch.tensor(0.2), atol=1e-6)
        assert torch.allclose(batch.ref - batch.under, torch.tensor(0.4), atol=1e-6)


def test_crops_reach_every_place_and_all_four_flips() -> None:
    corners, flips = set(), set()
    loader = batches(n_scenes=4)
    for _ in range(150):
        for batch in loader:
            for item in batch.under:
                rows, columns = (item[1, :, 0] * 100).round(), (item[2, 0] * 100).round()
                assert set(rows.diff().abs().tolist()) == {1.0} == set(columns.diff().abs().tolist())
                corners.add((int(rows.min()), int(columns.min())))
                flips.add((bool(rows[0] > rows[1]), bool(columns[0] > columns[1])))
    assert corners == {(top, left) for top in range(5) for left in range(10)}
    assert len(flips) == 4


def test_without_augmentation_the_middle_is_cut_unflipped() -> None:
    scene = coded_scene(0)
    for batch in batches(n_scenes=1, batch_size=1, augment=False):
        assert torch.equal(batch.under[0], scene.under[:, 2:10, 4:12])


def test_naturals_are_drawn_from_all_of_those_large_enough() -> None:
    loader = batches(n_scenes=4)
    seen = {round(item.mean().item(), 1) for _ in range(20) for batch in loader for item in batch.natural}
    assert seen == {0.0, 0.1, 0.2}
    nine = PairBatches(
        [coded_scene(0)],
        [torch.zeros(3, 8, 9), torch.ones(3, 9, 9)],
        crop=9,
        batch_size=4,
        generator=seeded(),
    )
    assert next(iter(nine)).natural.min() == 1


def test_the_generator_is_the_only_source_of_randomness() -> None:
    torch.manual_seed(1)
    first = [batch.under for batch in batches(seed=7)]
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again = [batch.under for batch in batches(seed=7)]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b.under) for a, b in zip(first, batches(seed=8), strict=True))


def test_changing_a_batch_leaves_the_scenes_alone() -> None:
    scene = coded_scene(0)
    loader = PairBatches([scene], [torch.zeros(3, 12, 17)], crop=8, batch_size=1, generator=seeded())
    for batch in loader:
        batch.under.fill_(9)
    assert torch.equal(scene.under, coded_scene(0).under)


def test_a_batch_gives_the_networks_input_over_before_under_and_the_fused_chroma() -> None:
    batch = next(iter(batches()))
    assert batch.over_under_y.shape == (2, 2, 8, 8) == batch.chroma.shape
    assert torch.equal(batch.over_under_y[:, :1], split_luma(batch.over)[0])
    assert torch.equal(batch.over_under_y[:, 1:], split_luma(batch.under)[0])
    assert torch.equal(batch.chroma, fuse_chroma(split_luma(batch.under)[1], split_luma(batch.over)[1]))
    moved = batch.to("meta")
    assert {image.device.type for image in (moved.under, moved.over, moved.ref, moved.natural)} == {"meta"}


def test_unusable_scenes_and_settings_are_refused_with_names_and_numbers() -> None:
    natural, generator = [torch.zeros(3, 20, 20)], seeded()
    options = {"batch_size": 1, "generator": generator}
    with pytest.raises(DataError, match="scene '0' is 17 x 12 pixels, smaller than the crop of 13"):
        PairBatches([coded_scene(0)], natural, crop=13, **options)  # type: ignore[arg-type]
    plain = Scene("plain", torch.zeros(3, 20, 20), torch.zeros(3, 20, 20))
    with pytest.raises(DataError, match="scene 'plain' has no reference; make references first"):
        PairBatches([plain], natural, crop=8, **options)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="there are no scenes"):
        PairBatches([], natural, crop=8, **options)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="none of the 1 natural images is 9 pixels high and wide"):
        PairBatches([coded_scene(0)], [torch.zeros(3, 8, 20)], crop=9, **options)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="crop is 0 and batch_size 1"):
        PairBatches([coded_scene(0)], natural, crop=0, **options)  # type: ignore[arg-type]


# Real data


def test_the_real_scenes_are_there_by_split_and_no_test_scene_among_them(data_root: Path) -> None:
    assert data_root.is_dir()
    train, val = load_scenes("real", "train"), load_scenes("real", "val")
    assert (len(train), len(val)) == (31, 13)
    names = {scene.name for scene in train + val}
    assert len(names) == 44
    assert not names & {f"mefb/{name}" for name in split_names("mefb")["test"]}
    for scene in train + val:
        assert split_luma(scene.under[None])[0].mean() < split_luma(scene.over[None])[0].mean()
        assert (scene.ref is None) == scene.name.startswith("mefb/")


def test_the_sice_sample_has_a_fixed_validation_scene_whatever_the_seed(data_root: Path) -> None:
    assert data_root.is_dir()
    for seed in range(3):
        split = {s: [x.name for x in load_scenes("sice_sample", s, seed=seed)] for s in ("train", "val", "test")}
        assert split["train"] == ["001", "002", "004"] and split["val"] == ["003"]
        assert split["test"] == [f"00{number}" for number in range(1, 9)]


def test_real_scenes_and_naturals_make_batches(data_root: Path) -> None:
    assert data_root.is_dir()
    loader = PairBatches(
        load_scenes("sice_sample", "train"),
        load_naturals("sice_sample"),
        crop=96,
        batch_size=2,
        generator=seeded(),
    )
    batch = next(iter(loader))
    assert batch.natural.shape == batch.ref.shape == (2, 3, 96, 96)
    assert batch.natural.std() > 0.02


def test_squares_are_reduced_by_means_of_areas_and_pairs_exposed_anew_in_60_percent() -> None:
    assert resized([torch.arange(16.0).reshape(1, 4, 4)], 2)[0].flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    generator, gray = torch.Generator().manual_seed(1), torch.full((3, 1, 1), 0.5)
    kept = sum(bool((expose_anew(gray, gray, generator)[0] == gray).all()) for _ in range(200))
    assert kept / 200 == pytest.approx(0.4, abs=0.05)
