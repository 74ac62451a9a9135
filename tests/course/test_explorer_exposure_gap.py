"""The explorer of the exposure gap: real simulations, and bands that say what an exposure holds."""

from __future__ import annotations

import pytest
import torch
from bs4 import BeautifulSoup

from hsds_lib.course.explorers.exposure_gap import explorer, held
from hsds_lib.course.pictures import BLOWN, CRUSHED
from hsds_lib.course.recording import FOLDER, read_recording
from hsds_lib.images.exposure import embedded_photographs, linear_to_srgb
from notebooks.tools.recordings.exposure_gap import GAPS, MIDDLES, light, pair, record, reduced, state
from tests.offline import loads_from_elsewhere


@pytest.mark.parametrize("ev", [-5.0, 0.0, 2.5])
def test_an_exposure_holds_just_the_light_between_its_black_and_its_white(ev):
    low, high = held(ev)
    edges = linear_to_srgb(torch.exp2(torch.tensor([low, high], dtype=torch.float64) + ev))
    assert edges.tolist() == pytest.approx([CRUSHED, BLOWN], abs=1e-9)


def test_recorded_states_are_what_the_camera_gives():
    facts, pictures = read_recording(FOLDER / "exposure_gap.zip")
    assert len(facts["states"]) == len(GAPS) * len(MIDDLES) == len(pictures)
    picture, seed = reduced(embedded_photographs()[facts["photo"]]), facts["provenance"]["seed"]
    assert facts["light"] == pytest.approx(light(picture, seed), abs=20)
    for recorded in facts["states"][5::24]:
        found, _ = state(picture, recorded["gap"], recorded["middle"], seed)
        assert {name: recorded[name] for name in found} == pytest.approx(found, abs=2e-3)


def test_the_table_says_what_was_recorded():
    facts, _ = read_recording(FOLDER / "exposure_gap.zip")
    place = {"gap": GAPS.index(4.0), "middle": MIDDLES.index(0.0)}
    [wanted] = [s for s in facts["states"] if (s["gap"], s["middle"]) == (4.0, 0.0)]
    cells = [cell.get_text() for cell in BeautifulSoup(explorer().at(**place).html, "html.parser").select("td")]
    assert cells[::2] == ["lost in under", "lost in over", "lost in both", "MEF-SSIM of average", "MEF-SSIM of Mertens"]
    assert cells[5] == f"{100 * wanted['both']:.1f} %" and cells[9] == f"{wanted['Mertens']:.3f}"


def test_without_a_gap_the_two_exposures_differ_by_noise_only():
    photo = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0)) * 0.6 + 0.2
    under, over = pair(photo, 0.0, -1.0, seed=0)
    assert float((under - over).abs().mean()) < 0.02
    under, over = pair(photo, 6.0, -1.0, seed=0)
    assert float((over - under).mean()) > 0.2


def test_a_wider_gap_holds_more_until_a_hole_opens_between_the_two():
    ends = [(held(-gap / 2), held(gap / 2)) for gap in GAPS]
    widths = [under[1] - over[0] for under, over in ends]
    assert widths == sorted(widths)
    whole = [under[0] < over[1] for under, over in ends]
    assert whole[0] and not whole[-1], "between luma 0.02 and 0.98 lie about nine stops"


def test_page_is_small_and_loads_nothing():
    page = explorer().page()
    assert len(page) < 2_500_000
    assert loads_from_elsewhere(page) == []


def test_unknown_photograph_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no photograph 'cat'; choose one of"):
        record(tmp_path / "cat.zip", photo="cat")
