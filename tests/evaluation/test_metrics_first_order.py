"""Gray conversion, SD, entropy, correlation and PSNR: values worked out by hand, and what they ignore."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch

from hsds_lib.evaluation.metrics import (
    Picture,
    UndefinedMetricError,
    cc,
    cc_sources,
    en,
    psnr,
    rgb2gray,
    sd,
    sd_rgb,
    to_pixels,
)
from hsds_lib.images.io import read_rgb, write_rgb

MakePixels = Callable[..., np.ndarray]


def test_gray_is_the_rounded_sum_with_halves_up() -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    pixels[0, 0] = (206, 28, 48)  # 0.298936 * 206 + 0.587043 * 28 + 0.114021 * 48 = 83.49103
    pixels[0, 1] = (0, 0, 0)
    gray = rgb2gray(pixels)
    for row, column in [(0, 0), (0, 1), *generator.integers(0, 40, (50, 2)).tolist()]:
        weighted = zip((298936, 587043, 114021), pixels[row, column].tolist(), strict=True)
        exact = sum(Fraction(weight, 10**6) * level for weight, level in weighted)
        assert gray[row, column] == int(exact + Fraction(1, 2)), pixels[row, column]


def test_a_gray_image_is_its_own_gray(gray: MakePixels) -> None:
    levels = np.arange(256).reshape(16, 16)
    assert np.array_equal(rgb2gray(gray(levels)), levels)


def test_pixels_of_a_file_are_converted_exactly(
    make_pixels: MakePixels, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pixels = make_pixels(16)
    pixels.reshape(-1)[:256] = np.arange(256)
    path = tmp_path_factory.mktemp("pixels") / "image.png"
    write_rgb(path, torch.from_numpy(pixels).permute(2, 0, 1) / 255)
    assert np.array_equal(to_pixels(read_rgb(path)), pixels)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)],
    ids=["gray", "float", "alpha", "empty"],
)
def test_anything_but_8_bit_rgb_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"metrics take 8-bit RGB: convert it to uint8 of shape \(H, W, 3\)"):
        sd(image)


def test_a_picture_works_things_out_once_and_can_forget(make_pixels: MakePixels) -> None:
    calls = []

    def work(picture: Picture, detail: int) -> int:
        calls.append(detail)
        return detail + picture.gray.size

    picture = Picture(make_pixels(8))
    gray = picture.gray
    assert [picture.once(work, 1), picture.once(work, 1), picture.once(work, 2)] == [65, 65, 66] and calls == [1, 2]
    picture.forget()
    assert picture.once(work, 1) == 65 and calls == [1, 2, 1]
    assert picture.gray is gray


@pytest.mark.paper("Table 2 SD")
def test_sd_in_uint8_arithmetic_by_hand(gray: MakePixels) -> None:
    # Mean 50.25; rounded distances -50.25 -> 0, 0.75 -> 1, 9.75 -> 10, 39.75 -> 40, and 40 * 40 saturates at 255.
    image = gray([[0, 51], [60, 90]])
    assert image.mean() == 50.25
    assert sd(image, arithmetic="uint8") == pytest.approx(((0 + 1 + 100 + 255) / 4) ** 0.5, rel=1e-15)
    assert sd(image) == pytest.approx((sum((v - 50.25) ** 2 for v in (0, 51, 60, 90)) / 4) ** 0.5, rel=1e-15)


def test_sd_in_uint8_arithmetic_rounds_halves_up(gray: MakePixels) -> None:
    assert sd(gray([[0, 5]]), arithmetic="uint8") == pytest.approx((9 / 2) ** 0.5, rel=1e-15)  # 2.5 -> 3


def test_sd_in_uint8_arithmetic_only_counts_what_is_bright(gray: MakePixels) -> None:
    image = gray(np.repeat([0, 255], [900, 100]).reshape(20, 50))
    assert sd(image, arithmetic="uint8") == pytest.approx((0.1 * 255) ** 0.5, rel=1e-12)
    assert sd(255 - image, arithmetic="uint8") == pytest.approx((0.9 * 255) ** 0.5, rel=1e-12)
    assert sd(image) == pytest.approx(sd(255 - image), rel=1e-12)


def test_sd_ignores_brightness_and_scales_with_contrast(gray: MakePixels) -> None:
    levels = np.random.default_rng(0).integers(0, 100, (20, 30))
    assert sd(gray(levels + 50)) == pytest.approx(sd(gray(levels)), rel=1e-12)
    assert sd(gray(levels * 2)) == pytest.approx(2 * sd(gray(levels)), rel=1e-12)
    assert sd_rgb(gray(levels)) == pytest.approx(sd(gray(levels)), rel=1e-12)


def test_sd_rgb_is_the_mean_over_the_colours(make_pixels: MakePixels) -> None:
    image = make_pixels(20)
    deviations = [image[..., colour].astype(float).std() for colour in range(3)]
    assert sd_rgb(image) == pytest.approx(sum(deviations) / 3, rel=1e-12)


@pytest.mark.paper("Table 2 EN")
def test_entropy_is_that_of_the_gray_levels(gray: MakePixels) -> None:
    assert en(gray(np.arange(256).reshape(16, 16))) == pytest.approx(8)
    assert en(gray([[3, 3], [3, 9]])) == pytest.approx(2 - 0.75 * np.log2(3))
    assert str(en(gray([[7, 7]]))) == "0.0"


@pytest.mark.paper("Table 2 CC")
def test_correlation_of_known_levels(gray: MakePixels) -> None:
    assert cc(gray([[0, 1, 2, 3]]), gray([[1, 0, 3, 2]])) == pytest.approx(0.6)
    levels = np.random.default_rng(0).integers(0, 100, (9, 11))
    assert cc(gray(levels), gray(2 * levels + 30)) == pytest.approx(1)
    assert cc(gray(levels), gray(255 - levels)) == pytest.approx(-1)


def test_correlation_with_sources_is_the_mean_of_two(make_exposures: Callable[..., tuple[np.ndarray, ...]]) -> None:
    under, over, fused, _ = make_exposures(24)
    assert cc(under, fused) == cc(fused, under)
    assert cc_sources(under, over, fused) == pytest.approx((cc(under, fused) + cc(over, fused)) / 2)
    assert cc(under, fused) != pytest.approx(cc(over, fused), abs=1e-3)


@pytest.mark.parametrize("level", [0, 77, 255])
def test_correlation_of_a_flat_image_is_undefined(gray: MakePixels, make_pixels: MakePixels, level: int) -> None:
    flat, image = gray(np.full((8, 8), level)), make_pixels(8)
    for first, second in ((flat, image), (image, flat), (flat, flat)):
        with pytest.raises(UndefinedMetricError, match="one single gray level"):
            cc(first, second)


def test_psnr_of_known_errors(gray: MakePixels) -> None:
    levels = np.random.default_rng(0).integers(0, 200, (12, 12))
    assert psnr(gray(levels), gray(levels + 5)) == pytest.approx(20 * np.log10(255 / 5))
    assert psnr(gray(levels + 5), gray(levels)) == pytest.approx(20 * np.log10(255 / 5))
    with pytest.raises(UndefinedMetricError, match="infinite"):
        psnr(gray(levels), gray(levels))


def test_different_sizes_are_named(gray: MakePixels) -> None:
    with pytest.raises(ValueError, match=r"different sizes \(under 3 x 2, over 3 x 2, fused 2 x 3 pixels\)"):
        cc_sources(gray(np.zeros((2, 3))), gray(np.zeros((2, 3))), gray(np.zeros((3, 2))))


def test_unknown_arithmetic_is_refused(make_pixels: MakePixels) -> None:
    with pytest.raises(ValueError, match="arithmetic is 'int8'; choose 'double' or 'uint8'"):
        sd(make_pixels(4), arithmetic="int8")  # type: ignore[arg-type]
