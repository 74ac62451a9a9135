"""The explorer of radii: true slopes, and errors where a kink lies between the two points."""

from __future__ import annotations

import pytest
from bs4 import BeautifulSoup

from hsds_lib.course.explorers.radius import RADII, explorer, functions, slopes


def test_smooth_functions_get_better_as_the_radius_falls():
    smooth = functions()["smooth: sin(3w)"]
    errors = [abs(found - exact) for found, exact in (slopes(smooth, float(radius)) for radius in RADII[:5])]
    assert slopes(smooth, 0.01)[1] == pytest.approx(3)
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize(
    ("name", "place"), [("one ReLU, kink at 0.005", 0.005), ("absolute value, kink at -0.0002", 0.0002)]
)
def test_two_points_are_exact_just_when_the_kink_is_outside(name, place):
    for radius in map(float, RADII):
        found, exact = slopes(functions()[name], radius)
        assert (abs(found - exact) < 1e-6) == (radius < place)


def test_no_kink_of_many_is_left_at_the_smallest_radius():
    found, exact = slopes(functions()["30 ReLUs, random kinks"], float(RADII[-1]))
    wrong, _ = slopes(functions()["30 ReLUs, random kinks"], 0.01)
    assert found == pytest.approx(exact, rel=1e-6)
    assert abs(wrong - exact) > 0.01 * abs(exact)


def test_what_is_written_is_what_was_computed():
    made = explorer()
    state = made.start | {"function": 1}
    cells = [cell.get_text() for cell in BeautifulSoup(made.at(**state).html, "html.parser").select("td")]
    assert cells == ["two points", "0.25", "exact", "0", "relative error", "infinite"]
    assert made.n_states == 36
