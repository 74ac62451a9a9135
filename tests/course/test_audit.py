"""The figures and measurements of the audit: what they say agrees with what they are given, and nothing leaks."""

from __future__ import annotations

import math
from pydoc import locate

import matplotlib
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure

from hsds_lib.course.figures import audit
from hsds_lib.course.figures.audit import DEVIATIONS
from hsds_lib.losses.terms import TERM_NAMES
from hsds_lib.released.terms import released_terms

RANDOM = "random VGG-16 features: not comparable with the paper"
RADII = [0.1, 0.01, 0.001]
SCORES = {"SD": {"one": (2.0, 30.0), "two": (1.0, 40.0)}, "VIF": {"one": (2.0, 1.5), "two": (1.0, 1.0)}}


def make_norms() -> dict[str, float]:
    return {name: 0.01 * place for place, name in enumerate(TERM_NAMES, start=1)}


def compared(label: str = "") -> tuple[Figure, str]:
    picture = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    released = {**make_norms(), "tv": 1e-17, "colour_ref": 0.0}
    return audit.gradient_comparison(picture, torch.full_like(picture, 0.577), make_norms(), released, features=label)


def differing(label: str = "") -> tuple[Figure, str]:
    panels = {"toys": {"smooth": [1e-2, 1e-4, 0.0], "kinked": [0.5, 0.2, 0.3]}, "network": {"it": [0.9, 0.4, 0.1]}}
    return audit.kink_errors(panels, RADII, released=0.01, features=label)


FIGURES = {
    "gradient_comparison": compared,
    "kink_errors": differing,
    "chroma_bias": lambda label="": audit.chroma_bias(),
    "rank_changes": lambda label="": audit.rank_changes(SCORES, title="Two pictures, ranked twice"),
}


def texts(figure: Figure) -> str:
    return "\n".join(item.get_text() for item in figure.findobj(matplotlib.text.Text))


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_says_what_it_shows_and_leaves_no_trace(name: str) -> None:
    before = dict(matplotlib.rcParams)
    figure, alt = FIGURES[name]()
    figure.canvas.draw()
    assert isinstance(figure, Figure)
    assert len(alt) > 40 and alt.endswith(".")
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("name", FIGURES)
def test_every_axis_with_ticks_is_labelled(name: str) -> None:
    figure, _ = FIGURES[name]()
    for axes in figure.axes:
        if len(axes.get_xticks()):
            assert axes.get_xlabel(), f"an axis of {name} has no label"


@pytest.mark.parametrize("draw", [compared, differing])
def test_random_features_are_named_aloud_in_figure_and_alt(draw: object) -> None:
    figure, alt = draw(RANDOM)  # type: ignore[operator]
    [note] = [text for text in figure.findobj(matplotlib.text.Text) if RANDOM in text.get_text()]
    assert note.get_weight() == "bold" and RANDOM in alt


def test_gradient_comparison_counts_and_names_the_dead() -> None:
    figure, alt = compared()
    assert "In the released code 2 are dead: colour_ref, tv." in alt and "Here none are" in alt
    assert f"2 of {len(TERM_NAMES)}" in texts(figure)


def test_radius_errors_quote_the_error_at_the_released_radius() -> None:
    _, alt = differing()
    assert "toys, kinked: 20% at 0.01" in alt and "network, it: 40% at 0.01" in alt


def test_rank_changes_gives_both_orders() -> None:
    _, alt = audit.rank_changes(SCORES, title="Two")
    assert "SD: one > two as published, two > one correctly" in alt
    assert "VIF: one > two as published, one > two correctly" in alt


def test_gray_and_a_random_network_leave_the_perceptual_and_colour_losses_dead() -> None:
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(1, 3, 32, 32, generator=rng, dtype=torch.float64) + 0.1
    fused = (torch.rand(1, 1, 32, 32, generator=rng, dtype=torch.float64) + 0.1).requires_grad_()
    norms = audit.gradient_norms(released_terms(fused, images, audit.random_perceptual_vgg(3).double()), fused)
    wanted = {"perceptual_ref", "perceptual_under", "perceptual_over", "colour_ref"}
    assert set(audit.dead_terms(norms)) == wanted


def test_random_perceptual_vgg_does_not_touch_the_global_generator() -> None:
    before = torch.random.get_rng_state()
    network = audit.random_perceptual_vgg(0)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(bool(torch.isfinite(value).all()) for value in network.state_dict().values())


def test_random_perceptual_vgg_keeps_the_size_of_what_passes_through() -> None:
    rgb = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    sizes = [float(feature.square().mean()) for feature in audit.random_perceptual_vgg(0)(rgb)]
    assert all(0.01 < size < 100 for size in sizes)


def test_truncation_never_adds_and_costs_a_quarter_of_a_level() -> None:
    errors = audit.truncation_errors()
    assert errors.min() > -1 and errors.max() <= 0
    assert math.isclose(errors.mean().item(), -0.24, abs_tol=0.01)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_neutral_gray_stays_neutral_here_only(level: int) -> None:
    casts = audit.neutral_casts(level)
    assert max(map(abs, casts["here"])) < 1e-6 < 0.5 < min(map(abs, casts["released"]))


def test_every_deviation_names_a_place_that_exists() -> None:
    assert [place for *_, place in DEVIATIONS if locate(f"hsds_lib.{place}") is None] == []
