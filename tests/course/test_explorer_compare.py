"""The explorer that compares: the frame shows what it says, and its numbers are those of the pictures it was given."""

from __future__ import annotations

import base64
import json
from io import BytesIO

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from PIL import Image

from hsds_lib.course.explorers.compare import (
    EDGE_NAME,
    LONGEST,
    MAP_NAME,
    SCALES,
    compose,
    explorer,
    gap,
    legend,
    magnify,
)
from hsds_lib.evaluation.metrics import psnr, to_pixels
from hsds_lib.images.color import split_luma
from hsds_lib.losses.mef_ssim import mef_ssim_pair
from tests.offline import loads_from_elsewhere


@pytest.fixture
def pictures() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ref = torch.rand(3, 48, 64, generator=generator)
    return {"under": ref * 0.4, "over": (ref * 1.8).clamp(0, 1), "mine": (ref * 0.9) + 0.02, "ref": ref}


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 200, (20, 30, 3), np.uint8), random.integers(0, 200, (20, 30, 3), np.uint8)


def test_left_of_the_edge_is_the_first_and_right_of_it_the_second(pair):
    first, second = pair
    for edge in (0.0, 0.3, 1.0):
        column = round(30 * edge)
        frame = compose(first, second, edge=edge)
        assert np.array_equal(frame[:, : max(0, column - 1)], first[:, : max(0, column - 1)])
        assert np.array_equal(frame[:, column + 1 :], second[:, column + 1 :])
    assert np.array_equal(compose(first, second, edge=0.0), second)
    assert np.array_equal(compose(first, second, edge=1.0), first)


@pytest.mark.parametrize("zoom", [2, 4])
def test_zoom_repeats_pixels_and_reaches_every_corner(pair, zoom):
    picture = pair[0]
    rows, columns = 20 // zoom, -(-30 // zoom)
    for x, y in ((0, 0), (1, 0), (0, 1), (1, 1)):
        shown = magnify(picture, zoom=zoom, x=x, y=y)
        top, left = y * (20 - rows), x * (30 - columns)
        assert shown.shape == picture.shape
        assert np.array_equal(shown[::zoom, ::zoom], picture[top : top + rows, left : left + columns])
        assert np.array_equal(shown[1::zoom], shown[::zoom])


def test_zoomed_pictures_are_compared_at_the_same_place(pair):
    first, _ = pair
    frame = compose(first, first, edge=0.5, zoom=2, x=0.2, y=0.7)
    assert (frame != magnify(first, zoom=2, x=0.2, y=0.7)).any(axis=(0, 2)).sum() == 2  # the line of the edge


def test_difference_has_the_smallest_scale_that_holds_almost_all_of_it(pair):
    first, second = pair
    apart = np.abs(first.astype(float) - second).mean(axis=2)
    found = gap(first, second)
    assert found.mean == pytest.approx(apart.mean(), rel=1e-5) and found.most == pytest.approx(apart.max(), rel=1e-5)
    assert (apart <= found.scale).mean() >= 0.98
    assert (apart <= SCALES[SCALES.index(found.scale) - 1]).mean() < 0.99
    assert np.array_equal(gap(second, first).map, found.map)
    bright = found.map.astype(int).sum(axis=2)
    assert np.corrcoef(bright.ravel(), apart.ravel())[0, 1] > 0.95, "more difference is brighter"


def test_equal_pictures_differ_nowhere(pair):
    found = gap(pair[0], pair[0])
    assert (found.mean, found.most, found.scale) == (0, 0, SCALES[0])
    assert len(np.unique(found.map.reshape(-1, 3), axis=0)) == 1


def test_words_hold_the_scores_of_the_library(pictures):
    made = explorer(pictures)
    lumas = {name: split_luma(picture[None])[0] for name, picture in pictures.items()}
    soup = BeautifulSoup(made.words("mine", "ref"), "html.parser")
    rows = [[cell.get_text() for cell in row.select("td")] for row in soup.select("tbody tr")]
    scores = [f"{float(mef_ssim_pair(lumas[n], lumas['under'], lumas['over'])):.3f}" for n in ("mine", "ref")]
    ratio = psnr(to_pixels(pictures["ref"]), to_pixels(pictures["mine"]))
    assert [row[2] for row in rows] == [f"{ratio:.1f} dB", "∞"]
    assert [row[:2] for row in rows] == [["A: mine", scores[0]], ["B: ref", scores[1]]]


def test_scores_need_what_they_compare_with(pictures):
    text = explorer({"a": pictures["mine"], "b": pictures["under"]}).words("a", "b")
    assert "MEF-SSIM" not in text and "PSNR" not in text and "on average" in text
    assert "MEF-SSIM" not in explorer({n: p[:, :30, :30] for n, p in pictures.items()}).words("mine", "ref")


def test_page_stores_every_picture_once_and_every_difference_once(pictures):
    page = explorer(pictures, start=("mine", "over")).page()
    soup = BeautifulSoup(page, "html.parser")
    content = json.loads(soup.select_one("script[type='application/json']").get_text())
    assert content["names"] == list(pictures) and len(content["pictures"]) == 4
    assert len(content["maps"]) == 4 * 3 // 2 + 1  # and that of a picture with itself
    assert content["map"][0][2] == content["map"][2][0]
    assert content["words"][2][1] == explorer(pictures).words("mine", "over")
    assert [tag["value"] for tag in soup.select("option[selected]")] == ["2", "1"]
    assert loads_from_elsewhere(page) == []
    assert "@" not in page.split("<script")[0].replace("@media", "")


def test_pictures_of_the_page_are_those_that_were_given(pictures):
    smooth = {name: torch.nn.functional.avg_pool2d(p, 9, stride=1, padding=4) for name, p in pictures.items()}
    soup = BeautifulSoup(explorer(smooth).page(), "html.parser")
    content = json.loads(soup.select_one("script[type='application/json']").get_text())
    for address, picture in zip(content["pictures"], smooth.values(), strict=True):
        stored = np.asarray(Image.open(BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB"))
        given = picture.permute(1, 2, 0).numpy() * 255
        assert np.abs(stored - given).mean() < 4  # WebP


def test_every_field_of_the_page_has_a_label(pictures):
    soup = BeautifulSoup(explorer(pictures).page(), "html.parser")
    assert len(soup.select("input, select")) == 7
    assert all(field.find_parent("label") for field in soup.select("input, select"))
    assert soup.select_one("button")["aria-pressed"] == "false"


def test_live_widgets_show_the_composition(pictures):
    box = explorer(pictures).live()
    controls = {child.description: child for child in box.children if hasattr(child, "description")}
    lower, upper = box.children[-2].children[0].children[:2]

    def seen(picture: object) -> np.ndarray:
        return np.asarray(Image.open(BytesIO(bytes(picture.value))))

    first, second = (np.rint(pictures[name].permute(1, 2, 0).numpy() * 255) for name in ("under", "over"))
    controls["place of the edge"].value = 0
    assert np.array_equal(seen(lower), second)
    controls["place of the edge"].value = 100
    assert np.array_equal(seen(lower), first)
    controls["B, right of the edge"].value = "ref"
    controls["Blink A and B"].value = True
    assert np.array_equal(seen(upper), np.rint(pictures["ref"].permute(1, 2, 0).numpy() * 255))
    assert upper.layout.display == "block"
    controls["place of the edge"].value = 50
    assert upper.layout.display == "none", "moving the edge stops the blinking"
    controls["show"].value = MAP_NAME
    assert np.array_equal(seen(lower), explorer(pictures).gap("under", "ref").map)
    controls["show"].value = EDGE_NAME
    assert controls["look left or right"].disabled
    controls["zoom"].value = 4
    assert not controls["look left or right"].disabled


def test_large_pictures_are_reduced():
    made = explorer({"a": torch.rand(3, 300, 2 * LONGEST), "b": torch.zeros(3, 300, 2 * LONGEST)})
    assert made.size == (150, LONGEST) and f"{LONGEST} × 150" in made.summary()


def test_legend_names_its_ends():
    texts = [tag.get_text() for tag in BeautifulSoup(legend(64), "html.parser").select("text")]
    assert texts[1:] == ["0", "32", "≥ 64"] and "levels of 255" in texts[0]


def test_what_cannot_be_compared_is_refused(pictures):
    with pytest.raises(ValueError, match="two pictures or more; given: mine"):
        explorer({"mine": pictures["mine"]})
    with pytest.raises(ValueError, match="of one size; given"):
        explorer({"a": pictures["mine"], "b": pictures["ref"][:, 1:]})
    with pytest.raises(ValueError, match="not among the pictures; choose two of under, over, mine, ref"):
        explorer(pictures, start=("mine", "theirs"))


def test_the_shipped_network_and_classical_fusions_are_compared_by_default():
    made = explorer()
    assert made.names == ("under", "over", "fused", "average", "Mertens", "ref")
    assert made.gap("fused", "Mertens").mean > 1 and made.gap("fused", "average").mean > 1
    assert len(made.page()) < 1_000_000
