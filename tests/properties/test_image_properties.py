"""Properties of the image side over many sizes, types and values: files, exposures, batches."""

from __future__ import annotations

import math
import random
import tempfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from hsds_lib.images.batches import Batch, DataError, PairBatches, Scene
from hsds_lib.images.datasets import ImageError
from hsds_lib.images.exposure import Camera, illumination, linear_to_srgb, simulate_triple, srgb_to_linear
from hsds_lib.images.facts import SRGB, PhotoFacts
from hsds_lib.images.io import WRITTEN_SUFFIXES, read_pair, read_photo, read_rgb, write_rgb
from hsds_lib.runs.scenes import halves

LOSSLESS = (".png", ".PNG", ".tif", ".tiff", ".webp")
QUIET = {"full_well": 1e30, "read_noise": 0.0}
KINDS = ("random", "black", "white", "half", "binary", "almost flat")

seeds = st.integers(0, 2**32 - 1)
sides = st.integers(1, 64) | st.sampled_from([1, 2, 3, 31, 63, 64])
small_sides = st.integers(1, 40)
dtypes = st.sampled_from([torch.float32, torch.float64])
kinds = st.sampled_from(KINDS)
odd_numbers = st.sampled_from([math.nan, math.inf, -math.inf])


def cases(count: int) -> settings:
    return settings(deadline=None, max_examples=count, derandomize=True)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def picture(kind: str, height: int, width: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """An RGB image of 8-bit levels in [0, 1]: noise, or what breaks a division or a logarithm."""
    levels = torch.randint(256, (3, height, width), generator=seeded(seed))
    chosen = {
        "random": levels,
        "black": torch.zeros_like(levels),
        "white": torch.full_like(levels, 255),
        "half": torch.full_like(levels, 128),
        "binary": (levels > 127) * 255,
        "almost flat": 128 + (levels == 7).long(),
    }
    return chosen[kind].to(dtype) / 255


pictures = st.builds(picture, kinds, small_sides, small_sides, seeds, dtypes)


def is_picture(image: Tensor, shape: tuple[int, ...]) -> bool:
    return tuple(image.shape) == tuple(shape) and bool(((image >= 0) & (image <= 1)).all())  # no NaN passes


# Files


@cases(100)
@given(kind=kinds, height=sides, width=sides, seed=seeds, dtype=dtypes, suffix=st.sampled_from(LOSSLESS))
def test_a_lossless_file_gives_back_every_pixel(
    kind: str, height: int, width: int, seed: int, dtype: torch.dtype, suffix: str
) -> None:
    image = picture(kind, height, width, seed, dtype)
    with tempfile.TemporaryDirectory() as folder:
        write_rgb(f"{folder}/image{suffix}", image)
        back = read_rgb(f"{folder}/image{suffix}")
    assert back.dtype == torch.float32 and torch.equal(back, image.float())


@cases(66)
@given(
    values=st.lists(st.floats(width=64, allow_nan=False, allow_infinity=False), min_size=3, max_size=3), dtype=dtypes
)
def test_values_out_of_range_are_clamped_and_the_others_rounded(values: list[float], dtype: torch.dtype) -> None:
    image = torch.tensor(values, dtype=torch.float64).to(dtype).reshape(3, 1, 1)
    assume(bool(torch.isfinite(image).all()))
    with tempfile.TemporaryDirectory() as folder:
        write_rgb(f"{folder}/image.png", image)
        levels = read_rgb(f"{folder}/image.png").flatten() * 255
    assert np.allclose(levels.numpy(), np.clip(image.flatten().numpy(), 0, 1) * 255, atol=0.5 + 1e-4)


@cases(13)
@given(image=pictures, place=st.integers(0, 10**6), value=odd_numbers)
def test_one_value_that_is_not_finite_is_an_error_and_no_file(image: Tensor, place: int, value: float) -> None:
    image.view(-1)[place % image.numel()] = value
    with tempfile.TemporaryDirectory() as folder:
        with pytest.raises(ImageError, match="not finite"):
            write_rgb(f"{folder}/image.png", image)
        assert list(Path(folder).iterdir()) == []


@cases(20)
@given(shape=st.lists(st.integers(0, 4), max_size=5))
def test_any_other_shape_is_refused(shape: list[int]) -> None:
    good = shape[-3:-2] == [3] and 0 not in shape and (len(shape) == 3 or (len(shape) == 4 and shape[0] == 1))
    with tempfile.TemporaryDirectory() as folder:
        if good:
            write_rgb(f"{folder}/image.png", torch.zeros(shape))
        else:
            with pytest.raises(ImageError, match=r"expected \(3, H, W\)"):
                write_rgb(f"{folder}/image.png", torch.zeros(shape))


def mutated(content: bytes, kind: str, draw: random.Random) -> bytes:
    """Change a byte, cut, put zeros at the end or in the middle, swap two pieces, or leave one out."""
    place, size = draw.randrange(len(content) - 1), draw.choice([1, 16, 200])
    if kind == "byte":
        return content[:place] + bytes([content[place] ^ draw.randrange(1, 256)]) + content[place + 1 :]
    if kind == "cut":
        return content[: place + 1]
    if kind == "zero tail":
        return content[:place] + bytes(len(content) - place)
    if kind == "zeros":
        return content[:place] + bytes(len(content[place : place + size])) + content[place + size :]
    if kind == "swap":
        piece, other = content[place : place + size], content[:size]
        return piece + content[size:place] + other + content[place + size :] if place >= size else content
    return content[:place] + content[place + size :]


EXIF = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0\x06\0\0\0\x1a\0\0\0\0\0\0\0Maker\0"


@cases(300)
@given(
    suffix=st.sampled_from([*WRITTEN_SUFFIXES, ".bmp"]),
    bits=st.sampled_from([8, 16]),
    kind=st.sampled_from(["byte", "cut", "zero tail", "zeros", "swap", "left out"]),
    seed=seeds,
)
def test_a_mutated_file_is_one_clear_error_or_a_picture_and_never_another_where_checksums_are(
    suffix: str, bits: int, kind: str, seed: int
) -> None:
    facts = PhotoFacts(bits, SRGB, EXIF, (300, 300))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"image{suffix}"
        if suffix == ".bmp":
            Image.effect_noise((9, 17), 50).convert("RGB").save(path)
        else:
            write_rgb(path, picture("random", 17, 9), facts)
        whole = read_rgb(path)
        path.write_bytes(mutated(path.read_bytes(), kind, random.Random(seed)))
        try:
            photo = read_photo(path)
        except ImageError as error:
            assert path.name in str(error) and "\n" not in str(error)
            return
        assert is_picture(photo.pixels, photo.pixels.shape) and photo.pixels.shape[0] == 3
        if suffix == ".png":
            assert torch.equal(photo.pixels, whole)
        write_rgb(Path(folder) / "again.tif", photo.pixels, photo.facts)


@cases(13)
@given(
    content=st.binary(max_size=64),
    head=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"II*\x00", b"\xff\xd8\xff", b"RIFF"]),
)
def test_arbitrary_bytes_are_one_clear_error(content: bytes, head: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.png"
        path.write_bytes(head + content)
        with pytest.raises(ImageError, match=r"image\.png"):
            read_rgb(path)


@cases(13)
@given(sizes=st.tuples(*[st.integers(1, 4)] * 4))
def test_a_pair_is_read_exactly_when_both_have_one_size(sizes: tuple[int, int, int, int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        under, over = f"{folder}/under.png", f"{folder}/over.png"
        write_rgb(under, torch.zeros(3, *sizes[:2]))
        write_rgb(over, torch.ones(3, *sizes[2:]))
        if sizes[:2] == sizes[2:]:
            assert [float(image.max()) for image in read_pair(under, over)] == [0.0, 1.0]
        else:
            with pytest.raises(ImageError, match="of the same size"):
                read_pair(under, over)


# Exposures

cameras = st.builds(
    Camera,
    stops=st.floats(0, 30),
    keep=st.floats(0, 1),
    ev_under=st.floats(-20, 20),
    ev_over=st.floats(-20, 20),
    ev_jitter=st.floats(0, 10),
    edge=st.floats(0, 1),
    full_well=st.floats(1, 1e9),
    read_noise=st.floats(0, 1),
)


@cases(100)
@given(photo=pictures, camera=cameras, seed=seeds)
def test_any_camera_gives_8_bit_pictures_of_the_photographs_size(photo: Tensor, camera: Camera, seed: int) -> None:
    for image in simulate_triple(photo, camera, seeded(seed)):
        assert is_picture(image, photo.shape) and image.dtype == torch.float32
        assert torch.equal(image, (image * 255).round() / 255)


@cases(20)
@given(photo=pictures, seed=seeds)
def test_the_under_exposure_is_nowhere_brighter_than_the_over_exposure(photo: Tensor, seed: int) -> None:
    under, over, _ = simulate_triple(photo, Camera(**QUIET), seeded(seed))
    assert bool((under <= over).all())
    noisy_under, noisy_over, _ = simulate_triple(photo, Camera(), seeded(seed))
    assert photo.mean() < 0.1 or noisy_under.mean() < noisy_over.mean()


@cases(13)
@given(photo=pictures, seed=seeds)
def test_an_exposure_follows_its_generator_and_leaves_the_global_one_alone(photo: Tensor, seed: int) -> None:
    before = torch.get_rng_state()
    first, again = (simulate_triple(photo, Camera(), seeded(seed)) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert torch.equal(torch.get_rng_state(), before)


@cases(20)
@given(height=sides, width=sides, edge=st.floats(0, 1), seed=seeds)
def test_an_illumination_stays_in_its_range(height: int, width: int, edge: float, seed: int) -> None:
    pattern = illumination(height, width, edge=edge, generator=seeded(seed))
    assert pattern.dtype == torch.float64 and is_picture(pattern + 0.5, (height, width))


@cases(20)
@given(values=st.lists(st.floats(0, 1), min_size=2, max_size=20), dtype=dtypes)
def test_the_srgb_curve_has_an_inverse_and_keeps_order_range_and_type(values: list[float], dtype: torch.dtype) -> None:
    srgb = torch.tensor(sorted(values), dtype=torch.float64).to(dtype)
    light = srgb_to_linear(srgb)
    assert light.dtype == dtype and is_picture(light, srgb.shape) and bool((light.diff() >= 0).all())
    torch.testing.assert_close(linear_to_srgb(light), srgb, rtol=0, atol=1e-6)


@cases(13)
@given(
    name=st.sampled_from([field.name for field in fields(Camera)]), value=odd_numbers | st.sampled_from([-1e4, 1e301])
)
def test_a_camera_with_an_impossible_number_is_refused_by_name(name: str, value: float) -> None:
    assume((name, value) != ("full_well", 1e301))
    with pytest.raises(ValueError, match=f"the camera's {name} is"):
        Camera(**{name: value})


@cases(10)
@given(photo=pictures, spoil=st.sampled_from(["nan", "integers", "batch", "empty"]))
def test_a_photograph_that_is_none_is_refused(photo: Tensor, spoil: str) -> None:
    spoilt = {"nan": photo * math.nan, "integers": photo.long(), "batch": photo[None], "empty": photo[:, :0]}[spoil]
    with pytest.raises(ValueError, match="the photograph is"):
        simulate_triple(spoilt, Camera(), seeded(0))


# Batches


@cases(100)
@given(
    sizes=st.lists(st.tuples(small_sides, small_sides), min_size=1, max_size=4),
    natural_sizes=st.lists(st.tuples(small_sides, small_sides), max_size=3),
    crop=st.integers(1, 12) | st.integers(1, 41),
    batch_size=st.integers(1, 5),
    augment=st.booleans(),
    dtype=dtypes,
    seed=seeds,
)
def test_batches_hold_whole_crops_or_are_refused(
    sizes: list[tuple[int, int]],
    natural_sizes: list[tuple[int, int]],
    crop: int,
    batch_size: int,
    augment: bool,
    dtype: torch.dtype,
    seed: int,
) -> None:
    refs = [picture("random", *size, number, dtype) for number, size in enumerate(sizes)]
    scenes = [Scene(str(number), ref / 4, ref / 2, ref) for number, ref in enumerate(refs)]
    naturals = [picture("random", *size, 9, dtype) for size in natural_sizes]

    def load() -> PairBatches:
        shape = {"crop": crop, "batch_size": batch_size}
        return PairBatches(scenes, naturals, **shape, augment=augment, generator=seeded(seed))

    if min(map(min, sizes)) < crop or max(map(min, natural_sizes), default=0) < crop:
        with pytest.raises(DataError, match=r"smaller than the crop|none of the .* natural images is"):
            load()
        return
    batches = list(load())
    assert len(batches) == len(load()) == max(1, len(scenes) // batch_size)
    for batch, same in zip(batches, load(), strict=True):
        assert is_picture(batch.ref, (batch_size, 3, crop, crop)) and batch.natural.shape == batch.ref.shape
        assert torch.equal(batch.under, batch.ref / 4) and torch.equal(batch.over, batch.ref / 2)  # cut alike
        assert torch.equal(batch.natural, same.natural) and torch.equal(batch.ref, same.ref)


@cases(20)
@given(role=st.sampled_from(["over", "ref"]), image=pictures)
def test_a_scene_whose_images_differ_in_size_is_refused(role: str, image: Tensor) -> None:
    images = dict.fromkeys(("under", "over", "ref"), image) | {role: torch.cat([image, image], dim=1)}
    with pytest.raises(DataError, match=r"scene 'any' has images of shape .*all must be \(3, H, W\) of one size"):
        PairBatches([Scene("any", **images)], [image], crop=1, batch_size=1, generator=seeded(0))


@cases(33)
@given(image=pictures, light=st.floats(0, 1))
def test_what_the_network_sees_of_a_batch_is_in_range(image: Tensor, light: float) -> None:
    over = image[None]
    batch = Batch(under=light * over, over=over, ref=over, natural=over)
    for seen in (batch.over_under_y, batch.chroma):
        assert seen.dtype == image.dtype and seen.shape[1] == 2
        assert is_picture(0.5 + (seen - 0.5) / (1 + 1e-6), seen.shape)  # rounding may leave [0, 1] by a hair


@cases(20)
@given(count=st.integers(2, 30), seed=seeds)
def test_halves_share_no_scene_and_lose_none(count: int, seed: int) -> None:
    scenes = [Scene(str(n), torch.zeros(3, 1, 1), torch.zeros(3, 1, 1)) for n in range(count)]
    lower, upper = halves(scenes, seeded(seed))
    assert len(lower) == count // 2
    assert sorted(int(scene.name) for scene in lower + upper) == list(range(count))
