"""Pictures optimised for a loss, and the figures of notebook 02: what they show is what they are given."""

from __future__ import annotations

import matplotlib
import pytest
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from hsds_lib.course.figures import loss_pictures
from hsds_lib.course.image_descent import Descent, cosines, descend, pixel_gradients
from hsds_lib.images.batches import Batch
from hsds_lib.losses.features import load_vgg16
from hsds_lib.losses.terms import TERM_NAMES, Targets, prepare_targets, term_vector

RANDOM = "random VGG-16 features: not comparable with the paper"
IMAGENET = "ImageNet VGG-16 features"
CHEAP = tuple(name for name in TERM_NAMES if not name.startswith("perceptual"))


def make_batch(*, size: int = 20, items: int = 1) -> Batch:
    """A seeded scene of colour blobs, and two exposures of it."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.rand(items, 3, 5, 5, generator=rng)
    ref = 0.1 + 0.7 * torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    noise = 0.02 * torch.rand(2, items, 3, size, size, generator=rng)
    under, over = (0.4 * ref + noise[0]).clamp(0, 1), (1.5 * ref + noise[1]).clamp(0, 1)
    return Batch(under=under, over=over, ref=ref, natural=ref)


@pytest.fixture(scope="module")
def targets() -> Targets:
    return prepare_targets(make_batch(), None, contrast=False, names=CHEAP)


@pytest.fixture(scope="module")
def average(targets: Targets) -> Tensor:
    return (targets.under_y + targets.over_y) / 2


def gray(level: float) -> Tensor:
    return torch.full((1, 1, 12, 12), level)


def sheet(label: str) -> tuple[Figure, str]:
    descents = {name: Descent(gray(0.5), (0.3, 0.2, 0.1)) for name in TERM_NAMES}
    inputs = {"under": gray(0.1), "over": gray(0.9), "ref": gray(0.5), "average": gray(0.5)}
    return loss_pictures.loss_sheet(descents, inputs, features=label)


def triangle(label: str) -> tuple[Figure, str]:
    places = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.25, 0.25))
    return loss_pictures.beta_simplex({place: gray(place[0]) for place in places}, ("a", "b", "c"), features=label)


def bars(label: str) -> tuple[Figure, str]:
    return loss_pictures.pull_bars({"perceptual_ref": 3.0, "mse_ref": 1.0}, features=label)


def curves(label: str) -> tuple[Figure, str]:
    values = {"one": [1.0, 0.0, 1.0], "two": [0.0, 0.0, 0.0]}
    return loss_pictures.response_curves([-1.0, 0.0, 1.0], values, change="offset", title="Offset", features=label)


FIGURES = {
    "loss_sheet": sheet,
    "cosine_map": lambda label: loss_pictures.cosine_map(
        torch.tensor([[1.0, -0.8, 0.3], [-0.8, 1.0, 0.0], [0.3, 0.0, 1.0]]), ("a_x", "a_y", "b"), features=label
    ),
    "pull_bars": bars,
    "beta_simplex": triangle,
    "response_curves": curves,
}


def texts(figure: Figure) -> str:
    return "\n".join(item.get_text() for item in figure.findobj(matplotlib.text.Text))


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
    assert note.get_weight() == "bold"
    assert RANDOM in alt
    assert "random" not in FIGURES[name](IMAGENET)[1]


@pytest.mark.parametrize("name", ["cosine_map", "pull_bars", "response_curves"])
def test_both_axes_of_a_chart_are_labelled(name: str) -> None:
    axes = FIGURES[name]("")[0].axes[0]
    assert axes.get_xlabel() and axes.get_ylabel()


def test_sheet_shows_every_term_with_its_fall_and_every_input() -> None:
    figure, alt = sheet("")
    assert sum(bool(axes.images) for axes in figure.axes) == len(TERM_NAMES) + 4
    titles = {axes.get_title("left").partition("\n")[0] for axes in figure.axes}
    assert {*TERM_NAMES, "under", "over", "ref", "average"} <= titles
    assert texts(figure).count("0.300 → 0.100") == len(TERM_NAMES)
    assert "2 steps" in alt


def test_cosine_map_names_the_extreme_pairs() -> None:
    _, alt = FIGURES["cosine_map"]("")
    assert "Most opposed: a_x and a_y (-0.80); most alike: a_x and b (0.30)." in alt


def test_pull_bars_are_shares_of_the_sum_and_hatch_what_is_random() -> None:
    figure, alt = bars(RANDOM)
    widths = [patch.get_width() for patch in figure.axes[0].patches if isinstance(patch, Rectangle)]
    assert widths == pytest.approx([75.0, 25.0])
    assert [bool(patch.get_hatch()) for patch in figure.axes[0].patches] == [True, False]
    assert not any(patch.get_hatch() for patch in bars(IMAGENET)[0].axes[0].patches)
    assert "Strongest: perceptual_ref" in alt


def test_simplex_puts_a_picture_where_its_weights_are() -> None:
    figure, _ = triangle("")
    centres = []
    for image in figure.axes[0].images:
        left, right, bottom, top = image.get_extent()
        centres.append(((left + right) / 2, (bottom + top) / 2))
    corners, inner = centres[:3], centres[3]
    for axis in (0, 1):
        wanted = 0.5 * corners[0][axis] + 0.25 * corners[1][axis] + 0.25 * corners[2][axis]
        assert inner[axis] == pytest.approx(wanted)
    assert "50 : 25 : 25" in texts(figure)


def test_simplex_needs_three_losses() -> None:
    with pytest.raises(ValueError, match="three corners"):
        loss_pictures.beta_simplex({(1.0, 0.0, 0.0): gray(0.5)}, ("a", "b"))


def test_curves_that_cannot_be_told_apart_share_a_line() -> None:
    values = {"one": [0.0, 1.0], "two": [0.0, 0.0], "three": [-1e-5, 1e-5]}
    figure, _ = loss_pictures.response_curves([0.0, 1.0], values, change="offset", title="Offset")
    assert [line.get_label() for line in figure.axes[0].lines] == ["one", "two,\nthree"]


@pytest.mark.parametrize("name", CHEAP)
def test_every_loss_falls_when_a_picture_is_optimised_for_it(name: str, targets: Targets, average: Tensor) -> None:
    done = descend(average, targets, {name: 1.0}, steps=15, lr=0.002)
    assert done.fall > 0
    assert len(done.losses) == 16
    assert float(done.picture.min()) >= 0 and float(done.picture.max()) <= 1
    assert not done.picture.requires_grad


def test_losses_of_a_descent_are_the_losses_of_its_pictures(targets: Targets, average: Tensor) -> None:
    weights = {"l1_ref": 0.25, "tv": 0.75}
    done = descend(average, targets, weights, steps=3)
    for picture, loss in ((average, done.losses[0]), (done.picture, done.losses[-1])):
        terms = term_vector(picture, targets, names=tuple(weights))
        assert loss == pytest.approx(float(terms @ torch.tensor([0.25, 0.75])), rel=1e-5)


def test_descent_leaves_its_start_alone_and_repeats_itself(targets: Targets, average: Tensor) -> None:
    before = average.clone()
    first, second = (descend(average, targets, {"ssim_over": 1.0}, steps=3) for _ in range(2))
    assert torch.equal(average, before)
    assert torch.equal(first.picture, second.picture)


def test_two_squared_differences_lead_to_the_blend(targets: Targets, average: Tensor) -> None:
    done = descend(average, targets, {"mse_under": 0.75, "mse_over": 0.25}, steps=150)
    assert torch.allclose(done.picture, 0.75 * targets.under_y + 0.25 * targets.over_y, atol=0.01)


def test_of_two_absolute_differences_the_heavier_wins(targets: Targets, average: Tensor) -> None:
    done = descend(average, targets, {"l1_under": 0.6, "l1_over": 0.4}, steps=100)
    assert float((done.picture - targets.under_y).abs().mean()) < 0.02


@pytest.mark.parametrize("weights", [{}, {"tv": 0.0}, {"tv": 1.0, "l1_ref": -0.5}])
def test_weights_must_make_a_loss(weights: dict[str, float], targets: Targets, average: Tensor) -> None:
    with pytest.raises(ValueError, match="one must be positive"):
        descend(average, targets, weights)


def test_steps_and_names_are_checked(targets: Targets, average: Tensor) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        descend(average, targets, {"tv": 1.0}, steps=0)
    with pytest.raises(ValueError, match="'l3'"):
        descend(average, targets, {"l3": 1.0})


def test_gradients_of_the_terms_are_finite_differences() -> None:
    vgg, batch = load_vgg16("random").double(), make_batch()
    exact = Batch(*(getattr(batch, role).double() for role in ("under", "over", "ref", "natural")))
    targets = prepare_targets(exact, vgg, contrast=False)
    picture = (targets.under_y + 2 * targets.over_y) / 3
    direction = torch.randn(picture.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    slopes = pixel_gradients(picture, targets, vgg)
    step = 1e-8 * direction
    difference = term_vector(picture + step, targets, vgg) - term_vector(picture - step, targets, vgg)
    assert slopes.shape == (len(TERM_NAMES), 1, 1, 20, 20)
    assert torch.allclose((slopes * direction).sum(dim=(1, 2, 3, 4)), difference / 2e-8, rtol=1e-3, atol=1e-5)


def test_cosines_do_not_depend_on_size() -> None:
    vectors = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scale = torch.tensor([1.0, 5.0, 0.1, 20.0], dtype=torch.float64).view(4, 1, 1)
    table = cosines(vectors)
    assert torch.allclose(table, cosines(scale * vectors))
    assert torch.allclose(table.diagonal(), torch.ones(4, dtype=torch.float64))
    assert torch.equal(table, table.T)


def test_a_vanished_gradient_has_no_cosine() -> None:
    with pytest.raises(ValueError, match=r"\[1\] are zero"):
        cosines(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
