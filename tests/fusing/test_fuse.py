"""From files to a file: sizes kept, tiles without seams, and no model that was not trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from hsds_lib.fusing.fuse import fuse, fuse_files, fuse_folder
from hsds_lib.fusing.tiling import fuse_luma, pieces
from hsds_lib.images.batches import load_scenes
from hsds_lib.images.classical import average, mertens
from hsds_lib.images.color import colourise, split_luma
from hsds_lib.images.io import ImageError, read_rgb, write_rgb
from hsds_lib.network.folded import fold
from hsds_lib.network.fusion_net import FusionNet, derive, receptive_radius
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.model_file import ModelError, load_model, save_model
from hsds_lib.network.operations import BatchNorm
from hsds_lib.runtime import fingerprint


@pytest.fixture
def network() -> FusionNet:
    """A small network with seeded weights and the statistics of noise: enough to test the plumbing."""
    torch.manual_seed(0)
    nodes = {node: {"conv_3x3": 0.6, "conv_1x1": 0.4} for node in NODES}
    network = derive(Genotype(nodes=nodes, width=0.125))
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.momentum = 1.0
    network.train()(torch.rand(4, 2, 64, 64))
    return network.eval()


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    scene = load_scenes("embedded", "test", limit=1)[0]
    paths = tmp_path / "in" / "scene" / "under.png", tmp_path / "in" / "scene" / "over.png"
    for path, image in zip(paths, (scene.under, scene.over), strict=True):
        write_rgb(path, image[:, :61, :47])
    return paths


@pytest.mark.parametrize("size", [(200, 170), (131, 257)])
def test_tiles_give_the_same_picture_as_the_whole(network: FusionNet, size: tuple[int, int]) -> None:
    network = network.double()
    under, over = torch.rand(2, 1, 1, *size, dtype=torch.float64)
    whole = fuse_luma(network, under, over, tile=10_000)
    assert receptive_radius(network) > 8
    assert whole.std() > 0.05
    torch.testing.assert_close(fuse_luma(network, under, over, tile=50), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(90, 71), (64, 128), (1, 77)])
@pytest.mark.parametrize("tile", [2, 33, 40])
def test_tiles_give_the_same_colours_as_the_whole(network: FusionNet, size: tuple[int, int], tile: int) -> None:
    if tile == 2:
        size = (min(size[0], 5), min(size[1], 7))  # a piece for every four pixels
    under, over = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(3))
    whole = fuse(network, under, over, tile=10_000)
    assert (fuse(network, under, over, tile=tile) - whole).abs().max() < 1e-5


def test_the_model_that_ships_shows_no_seam() -> None:
    scene = load_scenes("embedded", "test", limit=1)[0]
    network = load_model("default", device="cpu")
    whole, tiled = (fuse(network, scene.under, scene.over, tile=tile) for tile in (10_000, 90))
    assert (whole - tiled).abs().max() < 1e-4


def test_pieces_are_even_and_cover_the_picture_once(network: FusionNet) -> None:
    for height, width, tile in [(1, 1, 2), (33, 64, 7), (100, 41, 40), (65, 64, 64)]:
        covered = torch.zeros(height, width)
        for piece in pieces(network, height, width, tile):
            covered[piece.inner] += 1
            for inner, seen in zip(piece.inner, piece.seen, strict=True):
                assert inner.start % 2 == seen.start % 2 == 0 and inner.stop - inner.start <= tile
        assert bool((covered == 1).all())


def test_fusing_is_the_network_on_luma_and_the_formula_on_colour(network: FusionNet) -> None:
    under, over = torch.rand(2, 1, 3, 24, 30, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        fused_y = network(torch.cat([split_luma(over)[0], split_luma(under)[0]], dim=1))
    expected = colourise(fused_y, under, over)[0]
    for given in (network, fold(network)):
        torch.testing.assert_close(fuse(given, under[0], over[0]), expected, rtol=0, atol=1e-5)


def test_the_picture_keeps_its_size_and_range(network: FusionNet) -> None:
    fused = fuse(network, torch.rand(3, 33, 20), torch.rand(3, 33, 20))
    assert fused.shape == (3, 33, 20) and fused.min() >= 0 and fused.max() <= 1


def test_gray_exposures_give_a_gray_picture(network: FusionNet) -> None:
    under, over = (torch.rand(1, 24, 24).expand(3, -1, -1) for _ in range(2))
    fused = fuse(network, under, over)
    assert (fused - fused.mean(dim=0)).abs().max() < 1 / 255


def test_different_sizes_are_refused(network: FusionNet) -> None:
    with pytest.raises(ImageError, match=r"must both be \(3, H, W\) of one size"):
        fuse(network, torch.rand(3, 8, 8), torch.rand(3, 8, 9))


def test_a_tile_too_small_to_halve_is_refused(network: FusionNet) -> None:
    for tile in (1, 0, -512):
        with pytest.raises(ValueError, match=f"a tile of {tile} pixels was given; give at least 2"):
            fuse(network, torch.rand(3, 8, 8), torch.rand(3, 8, 8), tile=tile)


def test_a_network_in_training_mode_is_refused_and_its_statistics_stay(network: FusionNet) -> None:
    network.train()
    before = fingerprint(network.state_dict().values())
    with pytest.raises(ValueError, match=r"training mode; call network\.eval\(\)"):
        fuse(network, torch.rand(3, 8, 8), torch.rand(3, 8, 8))
    assert fingerprint(network.state_dict().values()) == before


def test_swapped_files_are_put_right(network: FusionNet, pair: tuple[Path, Path], tmp_path: Path) -> None:
    under, over = pair
    assert fuse_files(network, under, over, tmp_path / "a.png") is False
    assert fuse_files(network, over, under, tmp_path / "b.png") is True
    assert torch.equal(read_rgb(tmp_path / "a.png"), read_rgb(tmp_path / "b.png"))


def test_a_bad_scene_is_reported_and_the_others_fused(
    network: FusionNet, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "in" / "broken").mkdir()
    (tmp_path / "in" / "broken" / "under.png").write_bytes(b"no picture")
    (tmp_path / "in" / "broken" / "over.png").write_bytes(b"no picture")
    (tmp_path / "in" / "empty").mkdir()
    reports = {report.name: report.problem for report in fuse_folder(network, tmp_path / "in", tmp_path / "out")}
    assert reports["scene"] is None and reports["broken"] and "under.*" in str(reports["empty"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["scene.png"]
    assert read_rgb(tmp_path / "out" / "scene.png").shape == (3, 61, 47)


def test_missing_and_damaged_models_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no trained model at"):
        load_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        load_model(tmp_path)
    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="does not say which genotype"):
        load_model(tmp_path / "other.safetensors")
    genotype = Genotype(nodes={node: {"conv_1x1": 1.0} for node in NODES}, width=0.125)
    fitting = json.dumps({"genotype": genotype.model_dump(), "separate_statistics": True})
    for text in (fitting, "{}", "[]", '{"genotype": {}, "separate_statistics": true}', "no JSON"):
        save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors", metadata={"network": text})
        with pytest.raises(ModelError, match="do not fit; copy or train it again"):
            load_model(tmp_path / "other.safetensors")


def test_model_survives_its_file(network: FusionNet, tmp_path: Path) -> None:
    save_model(network, tmp_path / "model.safetensors")
    pair = torch.rand(1, 2, 17, 19)
    assert torch.equal(load_model(tmp_path, device="cpu")(pair), network(pair))


def test_a_model_file_of_the_earlier_form_is_read(network: FusionNet, tmp_path: Path) -> None:
    save_model(network, tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        described = json.loads(file.metadata()["network"])
    entries = {name: json.dumps(value) for name, value in described.items()}
    save_file(network.state_dict(), tmp_path / "earlier.safetensors", metadata=entries)
    pair = torch.rand(1, 2, 17, 19)
    assert torch.equal(load_model(tmp_path / "earlier.safetensors", device="cpu")(pair), network(pair))


def test_equal_networks_give_equal_files(network: FusionNet, tmp_path: Path) -> None:
    for index in range(12):
        save_model(network, tmp_path / f"{index}.safetensors")
    assert len({(tmp_path / f"{index}.safetensors").read_bytes() for index in range(12)}) == 1


def test_the_model_that_ships_is_trained_and_is_neither_mertens_nor_an_average() -> None:
    scene = load_scenes("embedded", "test", limit=1)[0]
    network = load_model("default", device="cpu")
    fused = fuse(network, scene.under, scene.over)
    for other in (mertens(scene.under, scene.over), average(scene.under, scene.over), scene.under, scene.over):
        assert (fused - other).abs().mean() > 0.01
    assert scene.ref is not None
    error = (fused - scene.ref).abs().mean()
    assert error < (scene.under - scene.ref).abs().mean() and error < (scene.over - scene.ref).abs().mean()
