"""Degradations: nothing at strength 0, more with more strength, and each does what it says."""

from __future__ import annotations

import pytest
import torch

from hsds_lib.course.explorers.degrade import DEGRADATIONS, degrade
from hsds_lib.images.batches import load_scenes

every = pytest.mark.parametrize("name", DEGRADATIONS)


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    """A photograph, so that all kinds of damage show."""
    ref = load_scenes("embedded", "val", limit=1)[0].ref
    assert ref is not None
    return ref[None, :, 40:140, 40:160]


@every
def test_strength_0_changes_nothing(name, picture):
    assert torch.equal(degrade(name, picture, 0.0), picture)


@every
def test_more_strength_is_more_damage_and_stays_a_picture(name, picture):
    damage = []
    for strength in (0.2, 0.4, 0.6, 0.8, 1.0):
        spoiled = degrade(name, picture, strength)
        assert spoiled.shape == picture.shape and float(spoiled.min()) >= 0 and float(spoiled.max()) <= 1
        damage.append(float((spoiled - picture).square().mean()))
    assert damage == sorted(damage) and damage[0] > 0


@every
def test_the_same_seed_gives_the_same_picture(name, picture):
    assert torch.equal(degrade(name, picture, 0.5, seed=1), degrade(name, picture, 0.5, seed=1))


def test_each_does_what_it_says(picture):
    def detail(image: torch.Tensor) -> float:
        return float((image[..., 1:] - image[..., :-1]).square().mean())

    spoiled = {name: degrade(name, picture, 0.5) for name in DEGRADATIONS}
    assert detail(spoiled["blur"]) < detail(picture) < min(detail(spoiled["noise"]), detail(spoiled["sharpen"]))
    assert float(spoiled["darken"].mean()) < float(picture.mean())
    assert float(picture.mean()) < min(float(spoiled[name].mean()) for name in ("lift shadows", "haze"))
    assert float(spoiled["stretch contrast"].std()) > float(picture.std()) > float(spoiled["haze"].std())


def test_mistakes_are_refused(picture):
    with pytest.raises(ValueError, match="there is no degradation 'rain'; choose one of blur"):
        degrade("rain", picture, 0.5)
    with pytest.raises(ValueError, match=r"the strength is 1.5; give a number from 0 to 1"):
        degrade("blur", picture, 1.5)
