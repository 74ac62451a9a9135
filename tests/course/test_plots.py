"""The figures of the notebooks: what they show agrees with what they are given, and nothing leaks."""

from __future__ import annotations

import json
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hsds_lib.course import pictures, plots
from hsds_lib.course.figures import ablation_pictures, drawing, loss_pictures
from hsds_lib.course.tables import Table
from hsds_lib.losses.space import SPACES, term_names
from hsds_lib.losses.terms import TERM_NAMES
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.model_file import MODELS
from hsds_lib.network.operations import PRIMITIVES

RANDOM = "random VGG-16 features: not comparable with the paper"
IMAGENET = "ImageNet VGG-16 features"


def make_history(steps: int = 12, *, removing: bool = True) -> list[dict[str, Any]]:
    """Records like those of a search: from the middle on, one operation of the first nodes goes in each step."""
    rng = np.random.default_rng(0)
    alive = np.ones((len(NODES), len(PRIMITIVES)), dtype=bool)
    history = []
    for step in range(steps):
        removed = []
        if removing and step >= steps // 2:
            column = step - steps // 2
            for row in (0, 3):
                alive[row, column] = False
                removed.append((NODES[row], PRIMITIVES[column]))
        logits = np.where(alive, rng.normal(size=alive.shape) * step / steps, -np.inf)
        loss_logits = rng.normal(size=len(TERM_NAMES)) * step / steps
        history.append(
            {
                "step": step,
                "epoch": step // 4,
                "gamma": float(rng.uniform(1, 2)),
                "train_loss": 1.0 - step / steps,
                "val_loss": 1.2 - step / steps,
                "step_spread": None if step < 3 else [0.1, 1.0, 3.0],
                "removed": removed,
                "n_active": int(alive.sum()),
                "node_mix": (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).tolist(),
                "loss_mix": (np.exp(loss_logits) / np.exp(loss_logits).sum()).tolist(),
            }
        )
    return history


def make_genotype(*, retained: int = 2) -> Genotype:
    weights = [2.0 ** -(place + 1) for place in range(retained)]
    total = sum(weights)
    nodes = {
        node: {PRIMITIVES[(row + place) % len(PRIMITIVES)]: weight / total for place, weight in enumerate(weights)}
        for row, node in enumerate(NODES)
    }
    return Genotype(nodes=nodes, width=0.125)


def make_picture(seed: int = 0, *, height: int = 24, width: int = 32) -> torch.Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def term_values(start: float = 0.1) -> dict[str, float]:
    return {name: start + 0.01 * place for place, name in enumerate(TERM_NAMES)}


def texts(figure: Figure) -> str:
    """Everything written in a figure."""
    return "\n".join(item.get_text() for item in figure.findobj(matplotlib.text.Text))


FIGURES = {
    "search_curves": lambda label: plots.search_curves(make_history(), top_p=2, features=label),
    "loss_weight_curves": lambda label: plots.loss_weight_curves(make_history(), TERM_NAMES, features=label),
    "term_bars": lambda label: plots.term_bars(term_values(), term_values(), features=label),
    "training_curves": lambda label: plots.training_curves(
        [{"epoch": epoch, "loss": 0.3 - 0.1 * epoch, "val_mef_ssim": 0.5 + 0.1 * epoch} for epoch in range(3)],
        {"Mertens": 0.9},
        features=label,
    ),
    "alpha_maps": lambda label: plots.alpha_maps(make_history(), features=label),
    "pruning_timeline": lambda label: plots.pruning_timeline(make_history(), theta=0.05, features=label),
    "genotype_maps": lambda label: plots.genotype_maps(
        {"one": make_genotype(), "two": make_genotype(retained=3)}, features=label
    ),
    "genotype_drawing": lambda label: drawing.genotype_drawing(make_genotype(), features=label),
    "picture_row": lambda label: pictures.picture_row({"under": make_picture()}, title="One", features=label),
    "loss_votes": lambda label: pictures.loss_votes(
        {"under": make_picture(), "over": make_picture(1)},
        {"under": term_values(), "over": term_values(0.2)},
        features=label,
    ),
}
PICTURES = {"picture_row", "loss_votes", "genotype_drawing"}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_says_what_it_shows_and_leaves_no_trace(name: str) -> None:
    before = dict(matplotlib.rcParams)
    figure, alt = FIGURES[name](RANDOM)
    figure.canvas.draw()
    assert isinstance(figure, Figure)
    assert len(alt) > 40 and alt.endswith(".")
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("name", sorted(set(FIGURES) - PICTURES))
def test_every_axis_of_a_chart_is_labelled(name: str) -> None:
    figure, _ = FIGURES[name]("")
    grids = [axes for axes in figure.axes if axes.axison]
    assert any(axes.get_ylabel() or axes.get_yticklabels() for axes in grids)
    for axes in grids:
        bottom = axes.get_subplotspec() is not None and axes.get_subplotspec().is_last_row()
        if bottom:
            assert axes.get_xlabel(), f"an axis of {name} has no label"


@pytest.mark.parametrize("name", FIGURES)
def test_random_features_are_named_aloud_in_figure_and_alt(name: str) -> None:
    figure, alt = FIGURES[name](RANDOM)
    [note] = [text for text in figure.findobj(matplotlib.text.Text) if RANDOM in text.get_text()]
    assert note.get_weight() == "bold"
    assert RANDOM in alt
    quiet, quiet_alt = FIGURES[name](IMAGENET)
    [note] = [text for text in quiet.findobj(matplotlib.text.Text) if IMAGENET in text.get_text()]
    assert note.get_weight() == "normal"
    assert "random" not in quiet_alt


def test_alpha_maps_hatches_exactly_the_removed_operations() -> None:
    history = make_history()
    figure, alt = plots.alpha_maps(history, panels=2)
    last = next(axes for axes in figure.axes if axes.get_title("left").startswith(f"after step {len(history)}"))
    hatched = [patch for patch in last.patches if isinstance(patch, Rectangle) and patch.get_hatch()]
    assert len(hatched) == 12
    assert "153 operations are left" in alt


def test_alpha_maps_of_one_step_works() -> None:
    figure, _ = plots.alpha_maps(make_history(1))
    assert "after step 1" in texts(figure)


def test_active_masks_agree_with_the_recorded_weights() -> None:
    history = make_history()
    mixes = np.array([record["node_mix"] for record in history])
    assert np.array_equal(plots.active_masks(history), mixes > 0)


def test_pruning_timeline_says_when_nothing_was_removed() -> None:
    _, alt = plots.pruning_timeline(make_history(removing=False), theta=0.0)
    assert "0 operations were removed" in alt and "all of its operations" in alt


def test_search_curves_mark_the_step_from_which_beta_moves() -> None:
    with_beta, _ = plots.search_curves(make_history(), top_p=2)
    frozen = [{**record, "step_spread": None} for record in make_history()]
    without_beta, _ = plots.search_curves(frozen, top_p=2)
    assert "β moves" in texts(with_beta)
    assert "β moves" not in texts(without_beta)


def test_loss_weight_curves_name_the_winner() -> None:
    history = make_history()
    winner = TERM_NAMES[int(np.argmax(history[-1]["loss_mix"]))]
    _, alt = plots.loss_weight_curves(history, TERM_NAMES)
    assert f"Highest at the end: {winner}" in alt


def test_term_bars_point_at_a_dead_term() -> None:
    figure, alt = plots.term_bars(term_values(), {**term_values(), "tv": 0.0})
    assert "The term tv has no gradient." in alt
    assert texts(figure).count("no gradient") == 1


def test_genotype_drawing_shows_every_retained_operation_and_weight() -> None:
    genotype = make_genotype()
    figure, alt = drawing.genotype_drawing(genotype, {"under": make_picture()})
    written = texts(figure)
    assert written.count("0.67") == written.count("0.33") == len(NODES)
    for node, operations in genotype.nodes.items():
        assert f"{node}: {plots.operation_label(next(iter(operations)))}" in alt


def test_genotype_drawing_counts_what_it_has_no_room_for() -> None:
    figure, _ = drawing.genotype_drawing(make_genotype(retained=5))
    assert texts(figure).count("and 2 more") == len(NODES)


@pytest.mark.parametrize("primitive", PRIMITIVES)
def test_a_footprint_has_as_many_pixels_as_the_kernel_has_weights(primitive: str) -> None:
    figure = Figure()
    axes = figure.add_subplot()
    drawing._footprint(axes, (0.0, 0.0), primitive, 1.0)
    [taps] = axes.collections
    height, width, _ = plots.kernel(primitive)
    assert len(taps.get_paths()) == height * width
    corners = np.concatenate([path.vertices for path in taps.get_paths()])
    assert corners.min() >= -1e-9 and corners.max() <= 1 + 1e-9


def test_genotype_maps_frame_what_is_not_common() -> None:
    figure, alt = plots.genotype_maps({"one": make_genotype(), "two": make_genotype(retained=3)})
    frames = [
        patch
        for axes in figure.axes
        for patch in axes.patches
        if isinstance(patch, Rectangle) and not patch.get_fill() and not patch.get_hatch()
    ]
    assert len(frames) == len(NODES)  # the third operation of each node, in one of the tables
    assert "30 of 30 are the same" in alt


def test_lost_marks_black_and_white_only() -> None:
    picture = torch.tensor([0.0, 0.5, 1.0]).repeat(3, 1, 1)
    crushed, blown = pictures.lost(picture)
    assert crushed.tolist() == [[True, False, False]]
    assert blown.tolist() == [[False, False, True]]


def test_exposure_loss_gives_the_shares_it_measured() -> None:
    under = torch.cat([torch.zeros(3, 8, 4), torch.full((3, 8, 12), 0.4)], dim=2)
    over = torch.cat([torch.full((3, 8, 8), 0.6), torch.ones(3, 8, 8)], dim=2)
    figure, alt = pictures.exposure_loss(under, over)
    assert "under-exposed picture has 25 % black, 0 % white" in alt
    assert "over-exposed picture has 0 % black, 50 % white" in alt
    assert "lost: 25 % black, 0 % white" in texts(figure)


def test_loss_votes_go_to_the_smallest_value() -> None:
    values = {"one": term_values(0.1), "two": {**term_values(0.2), "tv": 0.0}}
    _, alt = pictures.loss_votes({"one": make_picture(), "two": make_picture(1)}, values)
    assert alt.endswith("two: tv.")


def test_picture_row_refuses_pictures_of_different_sizes() -> None:
    with pytest.raises(ValueError, match="one size"):
        pictures.picture_row({"a": make_picture(), "b": make_picture(height=20)}, title="Two")
    with pytest.raises(ValueError, match="none"):
        pictures.picture_row({}, title="None")


def test_picture_row_shows_every_picture_once_and_hides_the_rest_of_the_grid() -> None:
    album = {f"number {place}": make_picture(place) for place in range(5)}
    figure, _ = pictures.picture_row(album, {name: "0.5" for name in album}, title="Five", columns=3)
    assert sum(bool(axes.images) for axes in figure.axes) == 5
    assert sum(not axes.axison for axes in figure.axes) == 1


@pytest.mark.parametrize(("height", "width", "wanted"), [(400, 200, (100, 50)), (30, 60, (30, 60))])
def test_preview_reduces_large_pictures_only(height: int, width: int, wanted: tuple[int, int]) -> None:
    small = pictures.preview(make_picture(height=height, width=width), longest=100)
    assert small.shape == (3, *wanted)
    assert float(small.min()) >= 0 and float(small.max()) <= 1


def test_table_refuses_a_row_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="2 columns got a row of 3"):
        Table(("a", "b"), [(1, 2, 3)])


def test_table_escapes_html_and_folds_under_a_title() -> None:
    shown = Table(("a",), [("<b>",)], title="More & more")._repr_html_()
    assert "<b>" not in shown and "&lt;b&gt;" in shown
    assert shown.startswith("<details><summary>More &amp; more</summary>")


def test_table_aligns_plain_text() -> None:
    assert repr(Table(("name", "score"), [("a", 0.5), ("long name", 1)])) == "\n".join(
        ["name       score", "a          0.5000", "long name  1"]
    )


SHIPPED = [json.loads(line) for line in (MODELS / "default" / "history.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("space", SPACES)
def test_terms_of_every_loss_space_are_drawn(space: str) -> None:
    names = term_names(space)
    values = {name: 0.1 + 0.01 * place for place, name in enumerate(names)}
    figure, alt = plots.term_bars(values, values, features=RANDOM)
    assert f"{len(names)} loss terms" in alt and set(names) <= set(texts(figure).split("\n"))
    slopes = torch.eye(len(names))
    for figure, alt in (
        loss_pictures.cosine_map(slopes, names),
        loss_pictures.pull_bars(values, features=RANDOM),
        pictures.loss_votes({"under": make_picture(), "over": make_picture(1)}, {"under": values, "over": values}),
        ablation_pictures.loss_mixes({"ours": {name: 1 / len(names) for name in names}}),
    ):
        figure.canvas.draw()
        assert str(len(names)) in alt or names[-1] in alt


def test_the_history_of_the_model_that_ships_is_drawn() -> None:
    """It was searched in the extended space."""
    names = term_names("extended")
    assert len(SHIPPED[0]["loss_mix"]) == len(names) > len(TERM_NAMES)
    last = dict(zip(names, SHIPPED[-1]["loss_mix"], strict=True))
    figure, alt = plots.loss_weight_curves(SHIPPED, names)
    assert set(names) <= set(texts(figure).split("\n"))
    assert f"Highest at the end: {max(last, key=last.__getitem__)}" in alt
    train = dict(zip(names, SHIPPED[0]["train_terms"], strict=True))
    for figure, alt in (
        plots.term_bars(train, {name: abs(value) for name, value in train.items()}),
        plots.search_curves(SHIPPED, top_p=2),
        plots.alpha_maps(SHIPPED, panels=2),
        plots.pruning_timeline(SHIPPED, theta=0.05),
    ):
        figure.canvas.draw()
        assert alt.endswith(".")
