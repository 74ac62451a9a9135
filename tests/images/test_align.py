"""Shifts and turns that are known are found and mended, whatever the exposures; nothing is said of pairs that fit."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from hsds_lib.images.align import aligned, disagreements, gray_of, shift_between
from hsds_lib.images.batches import load_scenes
from hsds_lib.images.datasets import ImageError
from hsds_lib.images.folders import all_scenes
from hsds_lib.images.io import read_pair


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    scene = load_scenes("embedded", "test", limit=1)[0]
    return scene.under, scene.over


def moved(image: Tensor, right: float, down: float, degrees: float) -> Tensor:
    """The picture turned about its middle and moved, by the mirrored picture at its edges."""
    height, width = image.shape[1:]
    place = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    place[:, 2] += (right, down)
    planes = [cv2.warpAffine(plane.numpy(), place, (width, height), flags=2, borderMode=4) for plane in image]
    return torch.from_numpy(np.stack(planes)).clamp(0, 1)


@pytest.mark.parametrize(("right", "down"), [(0, 0), (4, -3), (-11, 6), (2.5, 0.25)])
def test_known_shifts_are_found_to_a_fraction_of_a_pixel(
    pair: tuple[Tensor, Tensor], right: float, down: float
) -> None:
    found = shift_between(gray_of(pair[0]), gray_of(moved(pair[1], right, down, 0)))
    assert found == pytest.approx((right, down), abs=0.3)


def test_pictures_of_two_scenes_give_no_shift_and_are_not_aligned() -> None:
    one, other = (torch.rand(3, 96, 128, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert np.isnan(shift_between(gray_of(one), gray_of(other))).all()
    with pytest.raises(ImageError, match="too little in common"):
        aligned([one, other])


@pytest.mark.parametrize(
    ("right", "down", "degrees", "said"),
    [(0, 0, 0, ""), (1.5, 0, 0, ""), (4, -3, 0, "shifted by 5.0 pixels"), (0, 0, 0.8, "turned by 0.8 degrees")],
)
def test_what_does_not_lie_on_each_other_is_said_in_numbers(
    pair: tuple[Tensor, Tensor], right: float, down: float, degrees: float, said: str
) -> None:
    notes = disagreements([pair[0], moved(pair[1], right, down, degrees)])
    assert (said in notes[0] and "--align" in notes[0]) if said else notes == []


@pytest.mark.parametrize(("right", "down", "degrees"), [(5, -3, 0), (-8.3, 2.6, 0.7), (0, 0, -1)])
def test_shifts_and_turns_are_mended_to_less_than_a_pixel(
    pair: tuple[Tensor, Tensor], right: float, down: float, degrees: float
) -> None:
    images, said = aligned([pair[0], moved(pair[1], right, down, degrees)])
    assert images[0].shape == images[1].shape and min(images[0].shape[1:]) > 230 and "moved by up to" in said
    assert np.hypot(*shift_between(gray_of(images[0]), gray_of(images[1]))) < 0.8 and disagreements(images) == []
    # The darker one is the middle that the other is laid on; the brighter one is where it would be if never moved.
    height, width = images[0].shape[1:]
    places = [(top, left) for top in range(257 - height) for left in range(257 - width)]
    cut = min(places, key=lambda at: float((images[1] - pair[1][:, at[0] :, at[1] :][:, :height, :width]).abs().mean()))
    unmoved = pair[0][:, cut[0] :, cut[1] :][:, :height, :width]
    assert float((images[0] - unmoved).abs().mean()) < 0.02


def test_whole_pixels_are_mended_without_loss(pair: tuple[Tensor, Tensor]) -> None:
    under, over = pair[0][:, 3:, :-5].contiguous(), pair[1][:, :-3, 5:].contiguous()
    images, said = aligned([under, over])
    assert torch.equal(images[0], pair[0][:, 3:-3, 5:-5]) and torch.equal(images[1], pair[1][:, 3:-3, 5:-5])
    assert "moved by up to 5.8 pixels and turned by 0.00 degrees; 246 x 250 pixels of 251 x 253 are left" in said


def test_pictures_that_fit_stay_as_they_are(pair: tuple[Tensor, Tensor]) -> None:
    images, said = aligned(list(pair))
    assert all(map(torch.equal, images, pair)) and "nothing was moved" in said


def test_several_exposures_are_laid_on_the_middle_one(pair: tuple[Tensor, Tensor]) -> None:
    middle = (pair[0] + pair[1]) / 2
    images, _ = aligned([moved(pair[0], -6, 0, 0), middle, moved(pair[1], 0, 7, 0)])
    assert len({image.shape for image in images}) == 1 and disagreements(images) == []


def test_what_cannot_be_aligned_is_refused() -> None:
    with pytest.raises(ImageError, match="8 x 8 pixels are too small to be aligned"):
        aligned([torch.rand(3, 8, 8), torch.rand(3, 8, 8)])
    assert disagreements([torch.rand(3, 8, 8), torch.rand(3, 8, 8)]) == []


def test_something_that_moved_is_noticed() -> None:
    texture = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0)).repeat_interleave(5, 1)
    under = 0.1 + 0.3 * texture.repeat_interleave(5, 2)
    over = 2 * under + 0.1
    assert disagreements([under, over]) == []
    over[:, 60:110, 60:110] = over[:, 140:190, 90:140].clone()
    assert "something moved" in disagreements([under, over])[0]


def test_real_static_pairs_raise_no_alarm_but_two(data_root: Path) -> None:
    said = {}
    for scene in all_scenes(data_root / "mefb"):
        notes = disagreements(read_pair(scene.under, scene.over))
        said |= {scene.name: notes} if notes else {}
    assert set(said) == {"ICCV_12", "Sky"} and all("something moved" in note for [note] in said.values())
