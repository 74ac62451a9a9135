"""Figures of cost, statistics and margins, and what the exercises of notebook 6 say about real layers."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hsds_lib.course.checks import find
from hsds_lib.course.figures import training_pictures
from hsds_lib.network.operations import PRIMITIVES, BatchNorm, MixedOp, kernel

COSTS = {"x_1": {"conv_1x3": (30, 24.0), "dil_7x7": (900, 800.0)}, "guides": {"dense": (70, 10.5)}}
CURVES = {"moving average": {1: 0.25, 8: 0.5}, "plain mean": {1: 0.875, 8: 0.9375}}
ERRORS = {0: (0.2, 0.01), 8: (0.01, 1e-4), 24: (0.0, 0.0)}


def draw(seed: int, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def iterations() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    means = {node: draw(seed, 3, 4) - 0.5 for seed, node in enumerate(("i_1", "l_2"))}
    spreads = {node: 0.5 + draw(seed, 3, 4) for seed, node in enumerate(("i_1", "l_2"), start=2)}
    return means, spreads


FIGURES: dict[str, Callable[[], tuple[Figure, str]]] = {
    "cost_bars": lambda: training_pictures.cost_bars(COSTS, {"x_1": "3 times"}),
    "statistics_curves": lambda: training_pictures.statistics_curves(CURVES, {"stored": 0.75}, title="Statistics"),
    "iteration_statistics": lambda: training_pictures.iteration_statistics(*iterations()),
    "margin_figure": lambda: training_pictures.margin_figure(draw(0, 20, 32), ERRORS, radius=23),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_says_what_it_shows_and_leaves_no_trace(name: str) -> None:
    before = dict(matplotlib.rcParams)
    figure, alt = FIGURES[name]()
    figure.canvas.draw()
    assert len(alt) > 40 and alt.endswith(".")
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []
    for axes in figure.axes:
        assert axes.get_xlabel() or axes.get_ylabel() or axes.images, axes.get_title()


def test_bars_are_as_long_as_the_costs_and_titles_tell_the_sums() -> None:
    figure, alt = FIGURES["cost_bars"]()
    for kind, axes in enumerate(figure.axes):
        lengths = [bar.get_width() for bar in axes.patches]  # type: ignore[attr-defined]
        assert lengths == [cost[kind] for parts in COSTS.values() for cost in parts.values()]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["parameters: 1,000", "work: 834 MACs a pixel"]
    assert "most of them in x_1" in alt


def test_curves_tell_the_score_after_the_fewest_and_the_most_batches() -> None:
    _, alt = FIGURES["statistics_curves"]()
    assert "moving average: 0.250 after 1, 0.500 after 8 batches" in alt
    assert "stored: 0.750" in alt


def test_every_channel_of_every_iteration_is_a_dot() -> None:
    figure, alt = FIGURES["iteration_statistics"]()
    means, spreads = iterations()
    for axes, table in zip(figure.axes, (means, spreads), strict=True):
        dots = torch.cat([torch.as_tensor(line.get_ydata()).flatten() for line in axes.lines])
        wanted = torch.cat([values.flatten() for values in table.values()])
        assert set(wanted.tolist()) <= set(dots.tolist())
    farthest = max(float(values.abs().max()) for values in means.values())
    assert f"up to {farthest:.1f} standard deviations" in alt


def test_errors_of_tiles_are_told_in_levels_of_8_bits() -> None:
    figure, alt = FIGURES["margin_figure"]()
    assert "51.0 8-bit levels at a margin of 0, 0 at 24" in alt
    largest = next(line for line in figure.axes[1].lines if line.get_label() == "largest")
    assert np.asarray(largest.get_ydata()).tolist() == pytest.approx([51.0, 2.55, 0.0])


@pytest.mark.parametrize(("scale", "times"), [(1, 1), (2, 1), (1, 3)])
def test_work_of_exercise_6_1_is_half_of_what_torch_counts(scale: int, times: int) -> None:
    names, side = ("conv_1x5", "dil_3x3"), 16
    node = MixedOp(names, 3, 5).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        for _ in range(times):
            node(torch.zeros(1, 3, side // scale, side // scale), torch.full((len(PRIMITIVES),), 0.5))
    by_hand = find("6.1").solution([kernel(name) for name in names], 3, 5, scale, times)
    assert by_hand == counter.get_total_flops() / 2 / side**2


def test_statistics_of_exercise_6_2_are_those_that_the_normalisation_stores() -> None:
    batches = [draw(seed, 2 + seed, 3, 4, 5) for seed in range(3)]
    norm = BatchNorm(3)
    norm.momentum = None
    for batch in batches:
        norm(batch)
    torch.testing.assert_close(find("6.2").solution(batches), torch.stack([norm.running_mean, norm.running_var]))


@pytest.mark.parametrize("layers", [[(3, 1, 2), (5, 1, 1)], [(3, 2, 1), (3, 2, 2), (5, 1, 1)], [(1, 1, 1), (7, 2, 1)]])
def test_radius_of_exercise_6_4_is_where_the_gradient_ends(layers: list[tuple[int, int, int]]) -> None:
    stack = nn.Sequential(
        *(nn.Conv1d(1, 1, k, stride=s, dilation=d, padding=k // 2 * d, bias=False) for k, s, d in layers)
    )
    for weight in stack.parameters():
        nn.init.constant_(weight, 0.1)  # positive, so that nothing cancels
    x = torch.zeros(1, 1, 129, requires_grad=True)
    y = stack(x)
    step = 1
    for _, stride, _ in layers:
        step *= stride
    centre = y.shape[-1] // 2
    (gradient,) = torch.autograd.grad(y[0, 0, centre], x)
    reached = gradient[0, 0].nonzero().flatten() - centre * step
    assert int(reached.abs().max()) == find("6.4").solution(layers)
