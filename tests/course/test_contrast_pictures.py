"""The contrast's figures, its map in feature space, and what the notebook's last exercise says about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure
from torch import Tensor

from hsds_lib.course.exercises.notebook_04 import EXERCISES
from hsds_lib.course.figures import contrast_pictures
from hsds_lib.course.figures.contrast_pictures import Plane, plane_through
from hsds_lib.losses.contrast import CONTRAST_LAYERS, gamma
from hsds_lib.losses.features import Features, load_vgg16

RANDOM = "random VGG-16 features: not comparable with the paper"
IMAGENET = "ImageNet VGG-16 features"
NAMES = ("under", "over", "ref")
PARTS = ("fused", "positive", "under", "over")


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_picture(seed: int, side: int = 24) -> Tensor:
    return torch.rand(3, side, side, generator=torch.Generator().manual_seed(seed))


def make_encoded() -> dict[str, Features]:
    sizes = dict(zip(CONTRAST_LAYERS, (8, 4, 1), strict=True))
    return {n: {k: draw(i, 1, 5, s, s).relu() for k, s in sizes.items()} for i, n in enumerate(NAMES)}


BARS = {"Γ_R": {"average": [0.1, 0.2, 0.3], "ref": [0.0, 0.0, 0.0]}, "Γ_N": {"average": [1.0] * 3, "ref": [1.5] * 3}}
PLANES = {"Γ_R: one": Plane(1.0, (0.3, 0.4)), "Γ_N: other": Plane(2.0, (0.0, 0.5))}
Drawn = Callable[[str], tuple[Figure, str]]
FIGURES: dict[str, Drawn] = {
    "feature_maps": lambda label: contrast_pictures.feature_maps(
        {name: make_picture(place) for place, name in enumerate(NAMES)}, make_encoded(), features=label
    ),
    "layer_bars": lambda label: contrast_pictures.layer_bars(BARS, features=label),
    "contrast_planes": lambda label: contrast_pictures.contrast_planes(PLANES, layer="relu3_3", features=label),
    "brightness_walk": lambda label: contrast_pictures.brightness_walk(
        {"under, at 50 %": make_picture(0), "ref": make_picture(1)},
        [0.2, 0.5, 1.0],
        [2.0, 5.0, 0.0],
        [0.3, 0.2, 0.0],
        negatives=(0.5, 0.6),
        features=label,
    ),
    "pull_pictures": lambda label: contrast_pictures.pull_pictures(
        {"Γ_R": draw(0, 8, 8), "Γ_N": draw(1, 8, 8)}, torch.tensor([[1.0, -0.25], [-0.25, 1.0]]), features=label
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_says_what_it_shows_and_leaves_no_trace(name: str) -> None:
    before = dict(matplotlib.rcParams)
    figure, alt = FIGURES[name](RANDOM)
    figure.canvas.draw()
    assert len(alt) > 40 and alt.endswith(".")
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("name", FIGURES)
def test_random_features_are_named_aloud_in_figure_and_alt(name: str) -> None:
    figure, alt = FIGURES[name](RANDOM)
    [note] = [text for text in figure.findobj(matplotlib.text.Text) if RANDOM in text.get_text()]
    assert note.get_weight() == "bold" and RANDOM in alt
    assert "random" not in FIGURES[name](IMAGENET)[1]


@pytest.mark.parametrize("name", ["layer_bars", "contrast_planes", "brightness_walk"])
def test_every_chart_has_a_label_below(name: str) -> None:
    figure, _ = FIGURES[name]("")
    charts = [axes for axes in figure.axes if axes.get_xticks().size and axes.get_label() != "<colorbar>"]
    assert charts and all(axes.get_xlabel() for axes in charts)


def test_layer_bars_give_the_sum_over_the_layers() -> None:
    figure, alt = FIGURES["layer_bars"]("")
    assert "average 0.60" in alt and "ref 4.50" in alt
    written = [text.get_text().strip() for text in figure.axes[0].texts]
    assert written == ["0.60", "0.00"]


def test_brightness_walk_names_the_peak() -> None:
    assert "from 2.0 to 5.0 at brightness 0.50" in FIGURES["brightness_walk"]("")[1]


def test_pulls_are_shown_in_units_of_their_own_size() -> None:
    figure, alt = FIGURES["pull_pictures"]("")
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert np.sqrt((shown**2).mean()) == pytest.approx(1)
    assert "Γ_N -0.25" in alt


def test_a_thumbnail_is_of_the_central_square() -> None:
    picture = torch.zeros(3, 20, 40)
    picture[:, :, 10:30] = 1
    assert torch.allclose(contrast_pictures.thumbnail(picture, 10), torch.ones(3, 10, 10))


@pytest.mark.paper("Eq. 3")
@pytest.mark.parametrize("seed", range(5))
def test_the_map_is_eq_3_at_every_point_of_the_plane(seed: int) -> None:
    positive, under, over = (draw(3 * seed + k, 1, 4, 2, 2) for k in range(3))
    plane, middle = plane_through(positive, under, over), (under + over) / 2
    along = (positive - middle) / plane.reach  # unit vectors in the root mean square
    across = (under - middle - plane.under[0] * along) / plane.under[1]
    for x, y in draw(seed, 6, 2).tolist():
        fused = {"relu": middle + x * along + y * across}
        value = gamma(fused, {"relu": positive}, [({"relu": under}, {"relu": over})], layers=["relu"])
        assert value.item() == pytest.approx(float(plane.gamma(np.array(x), np.array(y))), rel=1e-9)


@pytest.mark.paper("Eq. 3")
@pytest.mark.parametrize("plane", PLANES.values(), ids=list(PLANES))
def test_the_top_is_where_it_is_said_and_far_away_is_one_half(plane: Plane) -> None:
    x, y = np.meshgrid(np.linspace(-4, 4, 801), np.linspace(-4, 4, 801))
    values = plane.gamma(x, y)
    row, column = np.unravel_index(values.argmax(), values.shape)
    assert (x[row, column], y[row, column]) == pytest.approx((plane.turning, 0), abs=0.011)
    assert values.max() == pytest.approx(plane.highest, rel=1e-3)
    for corner in ((1e5, 0), (-1e5, 0), (0, 1e5)):
        assert float(plane.gamma(*map(np.array, corner))) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.paper("Eq. 3")
@pytest.mark.parametrize("plane", PLANES.values(), ids=list(PLANES))
def test_a_step_to_the_positive_lowers_gamma_right_of_the_turning_line_only(plane: Plane) -> None:
    for x, y in draw(0, 40, 2).tolist():
        step = (x + 1e-4 * (plane.reach - x), y - 1e-4 * y)
        before, after = (float(plane.gamma(*map(np.array, point))) for point in ((x, y), step))
        if abs(x - plane.turning) > 0.01:
            assert (after < before) == (x > plane.turning)


def test_a_positive_in_the_middle_of_the_negatives_is_refused() -> None:
    with pytest.raises(ValueError, match="middle of the two negatives"):
        plane_through(torch.zeros(2), torch.ones(2), -torch.ones(2))


@pytest.mark.paper("Eq. 3")
@pytest.mark.parametrize("letter", "abcdef")
def test_the_answer_to_exercise_4_4_is_true(letter: str) -> None:
    vgg = load_vgg16("random", seed=0)
    pixels = {n: torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(k)) for k, n in enumerate(PARTS)}
    parts = {name: vgg(image, CONTRAST_LAYERS) for name, image in pixels.items()}

    def value(of: Mapping[str, Features], *, times: int = 1) -> float:
        return gamma(of["fused"], of["positive"], [(of["under"], of["over"])] * times).item()

    def each(change: Callable[[Tensor], Tensor]) -> dict[str, Features]:
        return {name: {k: change(x) for k, x in features.items()} for name, features in parts.items()}

    changed = {
        "a": lambda: value(each(lambda x: 3 * x)),
        "b": lambda: value(each(lambda x: x + torch.linspace(-1, 1, x.numel()).view_as(x))),
        "c": lambda: value({name: vgg(0.5 * image, CONTRAST_LAYERS) for name, image in pixels.items()}),
        "d": lambda: value({**parts, "under": parts["over"], "over": parts["under"]}),
        "e": lambda: value(parts, times=2),
        "f": lambda: value(each(lambda x: x.flip(1))),
    }[letter]()
    [exercise] = [exercise for exercise in EXERCISES if exercise.number == "4.4"]
    assert (letter in exercise.solution) == (abs(changed / value(parts) - 1) < 1e-4)
