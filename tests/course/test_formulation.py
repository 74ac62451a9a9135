"""The toy of notebook 01 against closed forms, and its figures: what they say is what they were given."""

from __future__ import annotations

from typing import Any

import matplotlib
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure
from torch import Tensor

from hsds_lib.course.bilevel import CORNERS, GOAL, SHARES, bowls, hypergradient_exact, hypergradient_unrolled
from hsds_lib.course.figures import formulation
from hsds_lib.images.exposure import Camera
from hsds_lib.losses.space import mixture

LOSSES = bowls(CORNERS, torch.eye(2).double())
BETA = torch.tensor([0.3, -0.4, 0.9], dtype=torch.float64)
CURVATURES = torch.tensor([[[1.0, 0.2], [0.2, 0.5]], [[0.6, -0.3], [-0.3, 0.9]], [[0.3, 0.0], [0.0, 1.2]]]).double()


def judge(omega: Tensor) -> Tensor:
    return (omega - GOAL).square().sum() / 2


def solution(beta: Tensor) -> Tensor:
    """Where the lower level with three different curvatures ends, differentiable in beta."""
    mix = mixture(beta)
    hessian = torch.einsum("k,kij->ij", mix, CURVATURES)
    return torch.linalg.solve(hessian, torch.einsum("k,kij,kj->i", mix, CURVATURES, CORNERS))


@pytest.mark.paper("Eq. 1")
def test_exact_hypergradient_is_the_derivative_of_the_closed_form_solution() -> None:
    beta = BETA.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(judge(solution(beta)), beta)
    found = hypergradient_exact(bowls(CORNERS, CURVATURES), judge, BETA, solution(BETA))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


def test_exact_hypergradient_refuses_a_lower_level_that_is_not_solved() -> None:
    with pytest.raises(ValueError, match="train until it is 0"):
        hypergradient_exact(LOSSES, judge, BETA, GOAL + 1)


def test_many_unrolled_steps_reach_the_exact_hypergradient_from_anywhere() -> None:
    losses = bowls(CORNERS, CURVATURES)
    exact = hypergradient_exact(losses, judge, BETA, solution(BETA))
    found = hypergradient_unrolled(losses, judge, BETA, GOAL + 3, rate=0.5, steps=300)
    torch.testing.assert_close(found, exact, rtol=1e-8, atol=1e-10)
    one = hypergradient_unrolled(losses, judge, BETA, GOAL + 3, rate=0.5, steps=1)
    assert (one - exact).norm() > 0.1 * exact.norm()


def test_unrolling_needs_a_step() -> None:
    with pytest.raises(ValueError, match="give at least 1"):
        hypergradient_unrolled(LOSSES, judge, BETA, GOAL, rate=0.1, steps=0)


def test_hypergradient_is_zero_at_the_shares_and_nowhere_near() -> None:
    at_solution = hypergradient_exact(LOSSES, judge, SHARES.log(), GOAL)
    assert at_solution.abs().max() < 1e-12
    assert hypergradient_exact(LOSSES, judge, BETA, mixture(BETA) @ CORNERS).abs().max() > 0.05


def picture(level: float) -> Tensor:
    return torch.full((3, 12, 16), level)


def make(name: str) -> tuple[Figure, str]:
    path = GOAL + torch.linspace(1, 0, 50, dtype=torch.float64)[:, None]
    exact = torch.tensor([1.0, -1.0, 0.0])
    arguments: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
        "exposure_sweep": (
            ({-2: picture(0.1), 1: picture(0.8)}, {-2: (0.5, 0.0), 0: (0.1, 0.1), 1: (0.0, 0.6)}),
            {"pair": 0.01},
        ),
        "camera_response": ((Camera(),), {}),
        "two_levels": ((CORNERS, GOAL, mixture(BETA), LOSSES, judge, path), {}),
        "unrolling_errors": ((exact, {0.1: {1: 0.5 * exact, 4: exact + 0.01}, 2.0: {1: exact, 4: -9 * exact}}), {}),
        "radius_errors": (([0.1, 0.01], {"smooth": [0.2, 0.002], "kink": [0.0, 0.7]}), {"used": 0.01, "kink": 0.02}),
        "search_paths": ((CORNERS, GOAL, {"one": path, "two": path + 1}), {}),
    }
    positional, named = arguments[name]
    return getattr(formulation, name)(*positional, **named)


NAMES = ("exposure_sweep", "camera_response", "two_levels", "unrolling_errors", "radius_errors", "search_paths")


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_says_what_it_shows_and_leaves_no_trace(name: str) -> None:
    before = dict(matplotlib.rcParams)
    figure, alt = make(name)
    figure.canvas.draw()
    assert len(alt) > 40 and alt.endswith(".")
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("name", NAMES)
def test_every_chart_has_labelled_axes(name: str) -> None:
    charts = [axes for axes in make(name)[0].axes if not axes.images]
    assert charts and all(axes.get_xlabel() for axes in charts)
    assert any(axes.get_ylabel() for axes in charts)


def test_exposure_sweep_names_the_best_single_exposure() -> None:
    _, alt = make("exposure_sweep")
    assert "The best single exposure, +0 stops, loses 20 %; a pair loses 1 % in both." in alt


def test_unrolling_errors_reports_first_and_last_error() -> None:
    _, alt = make("unrolling_errors")
    assert "ξ = 0.1: 0.5 after 1 step, 0.012 after 4" in alt and "ξ = 2: 0 after 1 step, 10 after 4" in alt


def test_search_paths_reports_how_far_the_late_steps_are() -> None:
    _, alt = make("search_paths")
    assert "one: at most 0.3 away" in alt and "two: at most 2 away" in alt
