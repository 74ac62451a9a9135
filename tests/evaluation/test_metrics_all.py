"""All metrics at once: the same numbers as one by one, whatever the images, and nothing that JSON cannot hold."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsds_lib.evaluation.metrics import (
    CORRECT_FORM,
    METRICS,
    PAPER_METRICS,
    Picture,
    UndefinedMetricError,
    all_metrics,
    sd,
    vif_sum,
)

MakeExposures = Callable[..., tuple[np.ndarray, ...]]

WITH_REFERENCE = ("CC", "TMQI", "TMQI_255", "TMQI_255_S", "VIF_ref", "MS-SSIM_wang_ref", "SSIM", "PSNR")
MINIMUM = {
    **dict.fromkeys(("VIF", "VIF_double", "VIFF", "VIF_ref"), 41),
    **dict.fromkeys(("TMQI", "TMQI_255", "TMQI_255_S"), 161),
    **dict.fromkeys(("MS-SSIM_wang", "MS-SSIM_wang_ref"), 176),
    **{"MS-SSIM": 44, "MEF-SSIM": 11, "SSIM": 11},
}
HIGHEST = {"SD": 255**0.5, "EN": 8.0, **dict.fromkeys(("SD_double", "SD_rgb"), 127.5)}
UNDEFINED_IF_FLAT = (
    "VIF",
    "VIF_double",
    "VIF_ref",
    "CC",
    "CC_sources",
    "Qabf",
    "Qabf_01",
    "TMQI",
    "TMQI_255",
    "TMQI_255_S",
)
UNBOUNDED = ("VIF", "VIF_double", "VIFF", "VIF_ref", "PSNR")

# The minimum of some metric, odd sizes, and all others.
sides = st.one_of(st.sampled_from([1, 10, 11, 40, 41, 43, 44, 160, 161, 175, 176]), st.integers(1, 100))
# One image of a scene: a flat level, noise, pure black and white, a ramp.
kinds = st.one_of(
    st.tuples(st.just("flat"), st.integers(0, 255)),
    st.tuples(st.sampled_from(["noise", "extremes", "near black", "near white"]), st.integers(0, 9)),
    st.tuples(st.just("ramp"), st.just(0)),
)


def draw_image(kind: tuple[str, int], height: int, width: int) -> np.ndarray:
    name, number = kind
    size = (height, width, 3)
    generator = np.random.default_rng(number)
    if name == "flat":
        return np.full(size, number, dtype=np.uint8)
    if name == "ramp":
        return np.broadcast_to(np.linspace(0, 255, width).astype(np.uint8)[None, :, None], size).copy()
    low, high = {"noise": (0, 256), "extremes": (0, 2), "near black": (0, 3), "near white": (253, 256)}[name]
    noise = generator.integers(low, high, size)
    return (255 * noise if name == "extremes" else noise).astype(np.uint8)


@pytest.mark.paper(
    "Table 2 SD", "Table 2 VIF", "Table 2 CC", "Table 2 TMQI",
    "Table 2 MS-SSIM", "Table 2 MEF-SSIM", "Table 2 EN", "Table 2 Qabf",
)  # fmt: skip
def test_all_at_once_are_the_same_as_one_by_one(make_exposures: MakeExposures) -> None:
    under, over, fused, ref = make_exposures(180, 191)
    images = {"fused": (fused,), "sources": (under, over, fused), "ref": (ref, fused)}
    scores = all_metrics(under, over, fused, ref)
    assert list(scores) == list(METRICS) and len(set(scores.values())) == len(METRICS)
    for name, metric in METRICS.items():
        assert scores[name] == metric.compute(*images[metric.takes], **metric.options), name
    assert all(type(value) is float for value in scores.values())


def test_metrics_that_need_a_reference_have_a_value_only_with_one(make_exposures: MakeExposures) -> None:
    under, over, fused, ref = make_exposures(180)
    without, full = all_metrics(under, over, fused), all_metrics(under, over, fused, ref)
    assert tuple(without) == tuple(full)  # the same names either way
    assert {name for name, value in without.items() if value is None} == set(WITH_REFERENCE)
    assert without == {name: None if name in WITH_REFERENCE else value for name, value in full.items()}
    assert tuple(full)[:8] == PAPER_METRICS
    assert all(full[name] != full[correct] for name, correct in CORRECT_FORM.items())


def test_pictures_and_arrays_give_the_same_and_pictures_can_be_used_again(make_exposures: MakeExposures) -> None:
    arrays = make_exposures(90)
    pictures = [Picture(image) for image in arrays]
    assert all_metrics(*pictures) == all_metrics(*arrays) == all_metrics(*pictures)


def test_images_are_not_changed(make_exposures: MakeExposures) -> None:
    arrays = make_exposures(180)
    copies = [image.copy() for image in arrays]
    all_metrics(*arrays)
    assert all(np.array_equal(image, copy) for image, copy in zip(arrays, copies, strict=True))


def test_a_view_gives_the_same_as_its_copy(make_exposures: MakeExposures) -> None:
    views = [image[::-1, 10:60:2] for image in make_exposures(70)]
    assert all_metrics(*views) == all_metrics(*(np.ascontiguousarray(view) for view in views))


def test_swapped_sources_change_nothing_but_the_tie_rule_of_viff(make_exposures: MakeExposures) -> None:
    under, over, fused, ref = make_exposures(180)
    first, second = all_metrics(under, over, fused, ref), all_metrics(over, under, fused, ref)
    for name in first.keys() - {"VIFF"}:
        assert second[name] == pytest.approx(first[name], rel=1e-9), name


def test_transposed_images_score_the_same(make_exposures: MakeExposures) -> None:
    images = make_exposures(180, 195)
    first, second = all_metrics(*images), all_metrics(*(image.transpose(1, 0, 2) for image in images))
    for name, value in first.items():
        # Qabf takes upright edges for +90 degrees, level ones for 0, and on 0..1 depends on the order of sums too.
        assert second[name] == pytest.approx(value, rel=0.05 if name.startswith("Qabf") else 1e-6), name


def test_the_reference_itself_is_perfect_where_that_has_a_meaning(make_exposures: MakeExposures) -> None:
    under, over, _, ref = make_exposures(180)
    scores = all_metrics(under, over, ref, ref)
    for name in ("CC", "VIF_ref", "MS-SSIM_wang_ref", "SSIM"):
        assert scores[name] == pytest.approx(1, abs=1e-6), name
    assert scores["PSNR"] is None


def test_sizes_that_differ_are_refused(make_exposures: MakeExposures) -> None:
    under, over, fused, ref = make_exposures(30, 20)
    with pytest.raises(ValueError, match=r"different sizes \(under 20 x 30, over 20 x 30, fused 20 x 29 pixels\)"):
        all_metrics(under, over, fused[1:])
    with pytest.raises(ValueError, match=r"different sizes \(ref 19 x 30, fused 20 x 30 pixels\)"):
        all_metrics(under, over, fused, ref[:, 1:])


@given(height=sides, width=sides, images=st.tuples(kinds, kinds, kinds, kinds))
@settings(deadline=None, max_examples=50, derandomize=True)
def test_any_images_have_finite_scores_or_none(height: int, width: int, images: tuple[tuple[str, int], ...]) -> None:
    under, over, fused, ref = (draw_image(kind, height, width) for kind in images)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = all_metrics(under, over, fused, ref)
    json.dumps(scores, allow_nan=False)
    assert list(scores) == list(METRICS)
    side, flat = min(height, width), any(Picture(image).flat for image in (under, over, fused, ref))
    for name, value in scores.items():
        if side < MINIMUM.get(name, 1):
            assert value is None, name
        elif value is None:
            expected = np.array_equal(fused, ref) if name == "PSNR" else flat and name in UNDEFINED_IF_FLAT
            assert expected, name
        else:
            low, high = (0 if name in UNBOUNDED else -1), HIGHEST.get(name, 1)
            assert math.isfinite(value) and value >= low - 1e-9, name
            assert name in UNBOUNDED or value <= high + 1e-6, name


@given(height=sides, width=sides, level=st.integers(0, 255))
@settings(deadline=None, max_examples=12, derandomize=True)
def test_flat_images_have_the_documented_values(height: int, width: int, level: int) -> None:
    flat = draw_image(("flat", level), height, width)
    scores = all_metrics(flat, flat, flat, flat)
    for name in ("VIF", "VIF_double", "VIF_ref", "CC", "CC_sources", "PSNR", "TMQI", "TMQI_255"):
        assert scores[name] is None, name
    for name in ("SD", "SD_double", "SD_rgb", "EN"):
        assert scores[name] == pytest.approx(0, abs=1e-9), name
    for name in ("MS-SSIM", "MEF-SSIM", "VIFF", "SSIM", "MS-SSIM_wang"):
        if min(height, width) >= MINIMUM[name]:
            assert scores[name] == pytest.approx(1, abs=1e-6), name


@given(height=st.integers(1, 60), width=st.integers(1, 60), kind=kinds)
@settings(deadline=None, max_examples=20, derandomize=True)
def test_below_the_minimum_there_is_one_clear_error(height: int, width: int, kind: tuple[str, int]) -> None:
    image = draw_image(kind, height, width)
    assert sd(image) >= 0
    if min(height, width) < 41:
        with pytest.raises(UndefinedMetricError, match=rf"^VIF got images of {width} x {height} pixels, but needs"):
            vif_sum(image, image, image)
