"""Properties of fusing over many sizes, types and values: chroma, classical fusions, tiles, the model that ships."""

from __future__ import annotations

import math
import tempfile
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from hsds_lib.fusing.fuse import fuse, fuse_files, fuse_folder
from hsds_lib.fusing.tiling import fuse_luma
from hsds_lib.images.batches import Scene
from hsds_lib.images.classical import average, mertens
from hsds_lib.images.color import colourise, fuse_chroma
from hsds_lib.images.io import ImageError, read_rgb, write_rgb
from hsds_lib.network.fusion_net import FusionNet, derive
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.model_file import load_model
from hsds_lib.network.operations import BatchNorm
from hsds_lib.runs.scenes import attach_references, candidate_references
from hsds_lib.runtime import fingerprint, seeded
from notebooks.tools.publish import picture_score

KINDS = ("random", "black", "white", "half", "binary", "almost flat", "tiny")
OPERATIONS = ("conv_1x1", "conv_3x3", "conv_1x5", "conv_7x7", "dil_3x3", "dil_7x7")

seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from([torch.float32, torch.float64])
kinds = st.sampled_from(KINDS)
small_sides = st.integers(1, 40)
odd_numbers = st.sampled_from([math.nan, math.inf, -math.inf])
shapes = st.lists(st.integers(0, 3), min_size=2, max_size=4)


def cases(count: int) -> settings:
    return settings(deadline=None, max_examples=count, derandomize=True)


def picture(kind: str, height: int, width: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """An RGB image in [0, 1]: noise, or what breaks a division, a logarithm or a normalisation."""
    levels = torch.randint(256, (3, height, width), generator=torch.Generator().manual_seed(seed)).to(dtype) / 255
    chosen = {
        "random": levels,
        "black": torch.zeros_like(levels),
        "white": torch.ones_like(levels),
        "half": torch.full_like(levels, 0.5),
        "binary": levels.round(),
        "almost flat": 0.5 + (levels > 0.99) / 255,
        "tiny": levels * 1e-30,
    }
    return chosen[kind].to(dtype)


@st.composite
def pairs(draw: st.DrawFn, side: st.SearchStrategy[int] = small_sides) -> tuple[Tensor, Tensor]:
    """Two exposures of one size; contents and types may differ."""
    height, width = draw(side), draw(side)
    under, over = (picture(draw(kinds), height, width, draw(seeds), draw(dtypes)) for _ in range(2))
    return under, over


def is_picture(image: Tensor, shape: tuple[int, ...]) -> bool:
    return tuple(image.shape) == tuple(shape) and bool(((image >= 0) & (image <= 1)).all())  # no NaN passes


@cache
def small_network(operation: str, separate: bool) -> FusionNet:
    """A small derived network in float64, with seeded weights and the statistics of noise."""
    nodes = {node: {operation: 0.6, "conv_1x3": 0.4} for node in NODES}
    with seeded(0):
        network = derive(Genotype(nodes=nodes, width=0.0625), separate_statistics=separate).double()
        for module in network.modules():
            if isinstance(module, BatchNorm):
                module.momentum = 1.0
        network.train()(torch.rand(4, 2, 48, 48, dtype=torch.float64))
    return network.eval()


@cache
def shipped() -> FusionNet:
    return load_model("default", device="cpu")


# Chroma and classical fusions


@cases(33)
@given(pair=pairs())
def test_fused_chroma_lies_between_and_the_coloured_picture_in_range(pair: tuple[Tensor, Tensor]) -> None:
    under, over = (image[None].double() for image in pair)
    fused = fuse_chroma(under, over)
    lower, upper = torch.minimum(under, over), torch.maximum(under, over)
    assert bool(((fused >= lower - 1e-12) & (fused <= upper + 1e-12)).all())
    for y in (torch.zeros_like(under[:, :1]), torch.ones_like(under[:, :1]), over[:, :1]):
        assert is_picture(colourise(y, under, over), under.shape)


@cases(100)
@given(pair=pairs(st.integers(1, 80)), weights=st.tuples(*[st.floats(0, 4)] * 3))
def test_classical_fusions_are_pictures_whatever_the_exposures(
    pair: tuple[Tensor, Tensor], weights: tuple[float, float, float]
) -> None:
    contrast, saturation, exposedness = weights
    fused = mertens(*pair, contrast=contrast, saturation=saturation, exposedness=exposedness)
    assert is_picture(fused, pair[0].shape)
    assert is_picture(average(*pair), pair[0].shape)


@cases(33)
@given(pair=pairs())
def test_the_order_of_the_exposures_does_not_matter_to_classical_fusions(pair: tuple[Tensor, Tensor]) -> None:
    for fusion in (mertens, average):
        torch.testing.assert_close(fusion(*pair), fusion(*reversed(pair)), rtol=0, atol=1e-4)


@cases(13)
@given(exponents=st.permutations([1.0, 1.0, -0.5]) | st.permutations([1.0, 1.0, math.nan]))
def test_an_impossible_exponent_is_refused(exponents: list[float]) -> None:
    names = ("contrast", "saturation", "exposedness")
    with pytest.raises(ValueError, match="give numbers from 0 up"):
        mertens(torch.zeros(3, 4, 4), torch.ones(3, 4, 4), **dict(zip(names, exponents, strict=True)))


@cases(33)
@given(pair=pairs(), scores=st.lists(st.floats(-1e9, 1e9), min_size=6, max_size=6))
def test_the_reference_is_the_candidate_with_the_best_score(pair: tuple[Tensor, Tensor], scores: list[float]) -> None:
    scene, left = Scene("any", *pair), list(scores)
    (done,) = attach_references([scene], lambda *luma: left.pop(0))
    candidates = candidate_references(scene)
    best = list(candidates)[scores.index(max(scores))]
    assert done.ref is not None and done.ref_origin == best and torch.equal(done.ref, candidates[best])
    assert is_picture(done.ref, pair[0].shape)
    assert attach_references([done], lambda *luma: math.nan)[0] is done  # not scored again


@cases(10)
@given(pair=pairs(), value=odd_numbers)
def test_a_score_that_is_not_finite_is_refused_by_scene(pair: tuple[Tensor, Tensor], value: float) -> None:
    with pytest.raises(ValueError, match="scene 'any' has scores that are not finite"):
        attach_references([Scene("any", *pair)], lambda *luma: value)


# Tiles


@st.composite
def tiled(draw: st.DrawFn) -> tuple[int, int, int]:
    """Height, width and a tile that makes at most some dozens of pieces."""
    height, width = draw(st.integers(1, 200)), draw(st.integers(1, 200))
    return height, width, draw(st.integers(max(2, max(height, width) // 5), max(height, width) + 2))


@cases(20)
@given(size=tiled(), operation=st.sampled_from(OPERATIONS), separate=st.booleans(), seed=seeds)
def test_tiles_give_the_same_luma_as_the_whole(
    size: tuple[int, int, int], operation: str, separate: bool, seed: int
) -> None:
    height, width, tile = size
    generator = torch.Generator().manual_seed(seed)
    under, over = torch.rand(2, 1, 1, height, width, generator=generator, dtype=torch.float64)
    network = small_network(operation, separate)
    whole = fuse_luma(network, under, over, tile=10_000)
    assert whole.shape == under.shape and (whole.numel() < 100 or whole.std() > 0.01)
    torch.testing.assert_close(fuse_luma(network, under, over, tile=tile), whole, rtol=0, atol=1e-12)


@cases(13)
@given(height=st.integers(1, 9), width=st.integers(1, 9), tile=st.integers(2, 9), count=st.integers(1, 3))
def test_even_the_smallest_tiles_and_several_pictures_at_once_give_the_same(
    height: int, width: int, tile: int, count: int
) -> None:
    generator = torch.Generator().manual_seed(height * width)
    under, over = torch.rand(2, count, 1, height, width, generator=generator, dtype=torch.float64)
    network = small_network("conv_3x3", False)
    singly = [fuse_luma(network, under[n : n + 1], over[n : n + 1]) for n in range(count)]
    torch.testing.assert_close(fuse_luma(network, under, over, tile=tile), torch.cat(singly), rtol=0, atol=1e-12)


@cases(10)
@given(under=shapes, over=shapes)
def test_what_is_no_luma_is_refused(under: list[int], over: list[int]) -> None:
    assume(under != over or len(under) != 4 or under[1] != 1 or 0 in under)
    with pytest.raises(ValueError, match=r"must both be \(B, 1, H, W\) of one size"):
        fuse_luma(shipped(), torch.zeros(under), torch.zeros(over))


# The model that ships


@cases(40)
@given(pair=pairs(st.integers(1, 70)), tile=st.sampled_from([32, 512]))
def test_the_model_gives_a_picture_whatever_the_exposures(pair: tuple[Tensor, Tensor], tile: int) -> None:
    before = fingerprint(shipped().state_dict().values())
    fused = fuse(shipped(), *pair, tile=tile)
    assert is_picture(fused, pair[0].shape)
    assert fused.dtype == torch.promote_types(pair[0].dtype, pair[1].dtype)
    assert fingerprint(shipped().state_dict().values()) == before


@cases(10)
@given(under=kinds, over=kinds, height=small_sides, width=small_sides, seed=seeds)
def test_float64_exposures_give_the_picture_of_float32_ones(
    under: str, over: str, height: int, width: int, seed: int
) -> None:
    exact = [picture(kind, height, width, seed, torch.float64) for kind in (under, over)]
    rounded = [picture(kind, height, width, seed, torch.float32) for kind in (under, over)]
    torch.testing.assert_close(fuse(shipped(), *exact).float(), fuse(shipped(), *rounded), rtol=0, atol=1e-3)


@cases(20)
@given(under=shapes, over=shapes, fusion=st.sampled_from(["model", "mertens", "average"]))
def test_two_images_that_are_no_exposures_are_refused(under: list[int], over: list[int], fusion: str) -> None:
    assume(under != over or len(under) != 3 or under[0] != 3 or 0 in under)
    with pytest.raises(ImageError, match=r"must both be \(3, H, W\) of one size"):
        fuse_with(fusion, torch.zeros(under), torch.zeros(over))


@cases(20)
@given(
    pair=pairs(),
    value=odd_numbers,
    place=st.integers(0, 10**6),
    fusion=st.sampled_from(["model", "mertens", "average"]),
)
def test_one_value_that_is_not_finite_is_refused(
    pair: tuple[Tensor, Tensor], value: float, place: int, fusion: str
) -> None:
    spoilt = pair[place % 2]
    spoilt.view(-1)[place % spoilt.numel()] = value
    with pytest.raises(ImageError, match="not finite"):
        fuse_with(fusion, *pair)


@pytest.mark.parametrize("fusion", ["model", "mertens", "average"])
def test_integers_are_refused_before_they_saturate(fusion: str) -> None:
    levels = torch.full((3, 4, 4), 128, dtype=torch.uint8)
    with pytest.raises(ImageError, match=r"under is torch\.uint8 .* give floating point in \[0, 1\]"):
        fuse_with(fusion, levels, levels)


def fuse_with(fusion: str, under: Tensor, over: Tensor) -> Tensor:
    return (
        fuse(shipped(), under, over)
        if fusion == "model"
        else {"mertens": mertens, "average": average}[fusion](under, over)
    )


# Files and scores


@cases(10)
@given(pair=pairs())
def test_swapped_files_give_the_same_picture(pair: tuple[Tensor, Tensor]) -> None:
    assume(abs(float(pair[0].mean() - pair[1].mean())) > 0.05)
    with tempfile.TemporaryDirectory() as folder:
        for name, image in zip("ab", pair, strict=True):
            write_rgb(f"{folder}/{name}.png", image)
        swapped = fuse_files(shipped(), f"{folder}/a.png", f"{folder}/b.png", f"{folder}/first.png")
        assert fuse_files(shipped(), f"{folder}/b.png", f"{folder}/a.png", f"{folder}/second.png") is not swapped
        assert torch.equal(read_rgb(f"{folder}/first.png"), read_rgb(f"{folder}/second.png"))


@cases(10)
@given(
    states=st.lists(st.sampled_from(["good", "broken", "missing", "two sizes", "ambiguous"]), min_size=1, max_size=5)
)
def test_a_folder_gives_a_report_for_every_scene_and_a_file_for_every_good_one(states: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for number, state in enumerate(states):
            scene = root / "in" / str(number)
            write_rgb(scene / "under.png", torch.zeros(3, 4, 4))
            if state != "missing":
                write_rgb(scene / "over.png", torch.ones(3, 4, 5 if state == "two sizes" else 4))
            if state == "broken":
                (scene / "over.png").write_bytes(b"no picture")
            if state == "ambiguous":
                write_rgb(scene / "over.tif", torch.ones(3, 4, 4))
        reports = list(fuse_folder(shipped(), root / "in", root / "out"))
        written = {path.stem for path in (root / "out").glob("*")}
    good = [str(number) for number, state in enumerate(states) if state == "good"]
    assert [report.name for report in reports] == [str(number) for number in range(len(states))]
    assert [report.name for report in reports if report.problem is None] == good and written == set(good)


@cases(26)
@given(pair=pairs(st.integers(30, 90)), fusion=st.sampled_from(["model", "mertens", "average"]))
def test_a_score_is_a_number_of_at_most_one_or_the_picture_too_small(pair: tuple[Tensor, Tensor], fusion: str) -> None:
    fused = fuse_with(fusion, *pair)
    if min(fused.shape[1:]) < 44:
        with pytest.raises(ValueError, match="needs at least 44"):
            picture_score(fused, *pair)
    else:
        assert 0 <= picture_score(fused, *pair) <= 1 + 1e-9
