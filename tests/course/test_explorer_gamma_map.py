"""The explorer of the contrast: Eq. 3 at every place, as the library computes it."""

from __future__ import annotations

import pytest
import torch
from bs4 import BeautifulSoup

from hsds_lib.course.explorers.gamma_map import TERMS, contrast_at, explorer
from hsds_lib.course.recording import FOLDER, read_recording
from hsds_lib.images.batches import load_naturals, load_scenes
from hsds_lib.losses.contrast import gamma
from hsds_lib.losses.features import load_vgg16
from notebooks.tools.recordings.gamma_map import features, place, record
from tests.offline import loads_from_elsewhere

FACTS, PICTURES = read_recording(FOLDER / "gamma_map.zip")
LAYERS = range(3)


def _at(a: float, b: float) -> dict:
    return next(state for state in FACTS["states"] if (state["across"], state["towards"]) == (a, b))


def test_every_place_was_measured_once():
    assert len(FACTS["states"]) == len(FACTS["across"]) * len(FACTS["towards"]) == len(PICTURES)


def test_the_reference_has_no_contrast_and_the_exposures_push_each_other_alike():
    assert contrast_at(_at(0.5, 1.0), ("R",), LAYERS) == pytest.approx(0, abs=1e-3)
    assert _at(0.0, 0.0)["push"] == pytest.approx(_at(1.0, 0.0)["push"], rel=1e-4)


@pytest.mark.paper("Eq. 3")
@pytest.mark.parametrize(("a", "b"), [(0.0, 0.0), (0.75, 0.25), (0.25, -0.5)])
def test_recorded_contrast_is_the_librarys(a, b):
    from notebooks.tools.recordings.gamma_map import _reduced

    seed = FACTS["provenance"]["seed"]
    scene = load_scenes("embedded", "val", seed=seed)[1]
    vgg = load_vgg16()
    under, over, ref = (_reduced(image) for image in (scene.under, scene.over, scene.ref))
    natural = _reduced(load_naturals("embedded", "train", seed=seed)[0], like=under)
    here = features(place(under, over, ref, a, b), vgg)
    pair = [(features(under, vgg), features(over, vgg))]
    for name, good in (("R", ref), ("N", natural)):
        wanted = gamma(here, features(good, vgg), pair).item()
        assert contrast_at(_at(a, b), (name,), LAYERS) == pytest.approx(wanted, rel=0.02)
    assert contrast_at(_at(a, b), ("R", "N"), LAYERS) == pytest.approx(
        contrast_at(_at(a, b), ("R",), LAYERS) + contrast_at(_at(a, b), ("N",), LAYERS)
    )


def test_the_plane_goes_through_the_three_pictures():
    rng = torch.Generator().manual_seed(0)
    under, over, ref = (torch.rand(3, 4, 5, generator=rng) for _ in range(3))
    for wanted, spot in ((under, (0, 0)), (over, (1, 0)), (ref, (0.5, 1))):
        assert torch.allclose(place(under, over, ref, *spot), wanted, atol=1e-6)


def test_what_is_written_is_what_was_measured():
    made = explorer()
    a, b = FACTS["across"].index(0.25), FACTS["towards"].index(0.75)
    view = made.at(term=2, scope=0, a=a, b=b)
    cells = [cell.get_text() for cell in BeautifulSoup(view.html, "html.parser").select("td")]
    state = _at(0.25, 0.75)
    assert view.picture == PICTURES[state["picture"]]
    assert cells[-4:] == ["sum", "", "", f"{contrast_at(state, list(TERMS.values())[2], LAYERS):.3f}"]
    assert len(cells) == 4 * 7
    page = made.page()
    assert len(page) < 2_500_000 and loads_from_elsewhere(page) == []
    assert FACTS["features"] in page and "ImageNet" in FACTS["features"]


def test_a_small_recording_can_be_shown(tmp_path):
    record(tmp_path / "a.zip", across=(0.0, 1.0), towards=(0.0, 1.0))
    assert explorer(tmp_path / "a.zip").n_states == 48
