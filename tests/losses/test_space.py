"""Loss weights: a softmax over named terms, and a file that says what it holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from hsds_lib.losses.pair_terms import PAIR_TERMS
from hsds_lib.losses.space import (
    SPACES,
    LossWeights,
    initial_beta,
    mixture,
    term_kind,
    term_names,
    training_weights,
    weighted_loss,
)
from hsds_lib.losses.terms import TERM_NAMES


def draw_beta(length: int = len(TERM_NAMES)) -> torch.Tensor:
    return torch.randn(length, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_the_paper_has_nineteen_terms_and_the_extension_says_so() -> None:
    assert SPACES["paper"] == TERM_NAMES
    assert len(TERM_NAMES) == len(set(TERM_NAMES)) == 19
    assert term_names("extended") == (*TERM_NAMES, *PAIR_TERMS)
    with pytest.raises(ValueError, match="paper, extended"):
        term_names("released")


def test_every_term_of_any_space_has_a_kind() -> None:
    kinds = list(dict.fromkeys(map(term_kind, term_names("extended"))))
    assert kinds == ["l1", "mse", "ssim", "mefssim", "grad", "perceptual", "psnr", "colour", "tv", "pair"]


@pytest.mark.parametrize("space", ["paper", "extended"])
def test_a_search_starts_with_equal_weights(space: str) -> None:
    mix = mixture(initial_beta(space))
    assert torch.allclose(mix, torch.full_like(mix, 1 / len(SPACES[space])))


def test_weights_are_positive_and_sum_to_one() -> None:
    mix = mixture(20 * draw_beta())
    assert (mix > 0).all()
    assert mix.sum().item() == pytest.approx(1.0, abs=1e-12)


def test_the_loss_is_the_weighted_sum_and_its_beta_slope_is_the_softmax_one() -> None:
    beta, terms = draw_beta().requires_grad_(), torch.arange(len(TERM_NAMES), dtype=torch.float64)
    mix = mixture(beta)
    loss = weighted_loss(terms, mix)
    (gradient,) = torch.autograd.grad(loss, beta)
    assert loss.item() == pytest.approx(sum(k * weight for k, weight in enumerate(mix.tolist())), rel=1e-12)
    assert torch.allclose(gradient, mix * (terms - loss))


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="same loss space"):
        weighted_loss(torch.ones(len(TERM_NAMES) + 1), torch.ones(len(TERM_NAMES)))


@pytest.mark.parametrize("space", ["paper", "extended"])
def test_weights_survive_a_file_exactly(tmp_path: Path, space: str) -> None:
    beta = draw_beta(len(SPACES[space])).requires_grad_()
    weights = LossWeights.from_beta(beta, space=space)
    weights.save(tmp_path / "loss_weights.json")
    again = LossWeights.load(tmp_path / "loss_weights.json")
    assert again == weights
    assert torch.equal(torch.tensor(again.beta, dtype=torch.float64), beta.detach())
    assert torch.allclose(again.tensor(dtype=torch.float64), mixture(beta.detach()), atol=1e-15)
    assert tuple(again.mix) == again.names == SPACES[space]


def test_uniform_weights_are_the_ablation_without_search() -> None:
    weights = LossWeights.uniform()
    assert list(weights.mix.values()) == pytest.approx([1 / len(TERM_NAMES)] * len(TERM_NAMES))
    assert weights.tensor().dtype == torch.float32


def edited(change: str) -> dict[str, object]:
    data = LossWeights.uniform().model_dump()
    if change == "short":
        data["beta"] = data["beta"][1:]
    elif change == "renamed":
        data["mix"]["l2_ref"] = data["mix"].pop("l1_ref")
    elif change == "disagreeing":
        data["mix"]["tv"] = 0.5
    elif change == "space":
        data["space"] = "released"
    elif change == "unknown key":
        data["gamma"] = 1
    elif change == "text":
        data["beta"][3] = "much"
    return data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("short", f"beta has {len(TERM_NAMES) - 1} values, but the space 'paper' has {len(TERM_NAMES)} terms"),
        ("renamed", "look at l1_ref, l2_ref"),
        ("disagreeing", "tv the weight 0.5, but softmax"),
        ("space", "space: Input should be 'paper' or 'extended'"),
        ("unknown key", "gamma: Extra inputs are not permitted"),
        ("text", r"beta\.3: Input should be a valid number"),
    ],
)
def test_a_wrong_file_is_refused_with_its_path_and_reason(tmp_path: Path, change: str, message: str) -> None:
    file = tmp_path / "loss_weights.json"
    file.write_text(json.dumps(edited(change)))
    with pytest.raises(ValueError, match=rf"(?s)loss_weights\.json does not hold loss weights: .*{message}") as error:
        LossWeights.load(file)
    assert "\n" not in str(error.value)


def test_a_file_from_before_the_extended_space_had_its_last_term_is_read(tmp_path: Path) -> None:
    older, file = SPACES["extended"][:-1], tmp_path / "loss_weights.json"
    mix = dict.fromkeys(older, 1 / len(older))
    file.write_text(json.dumps({"space": "extended", "beta": [0.0] * len(older), "mix": mix}))
    weights = LossWeights.load(file)
    assert weights.names == older and weights.tensor().sum() == pytest.approx(1)
    file.write_text(json.dumps({"space": "extended", "beta": [0.0], "mix": {older[-1]: 1.0}}))
    with pytest.raises(ValueError, match=f"has {len(TERM_NAMES) + 1} terms"):  # those of the paper are never missing
        LossWeights.load(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.json"):
        LossWeights.load(tmp_path / "nothing.json")


def test_logits_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=f"{len(TERM_NAMES)} terms"):
        LossWeights.from_beta(draw_beta(len(TERM_NAMES) + 1))
    with pytest.raises(ValueError, match="not finite"):
        LossWeights.from_beta([float("nan")] * len(TERM_NAMES))


def test_skipped_terms_leave_the_others_in_proportion() -> None:
    weights = LossWeights.from_beta(torch.linspace(-1, 1, len(TERM_NAMES)))
    skipped = ("perceptual_ref", "perceptual_under", "perceptual_over")
    kept = training_weights(weights, skipped)
    assert sum(kept.values()) == pytest.approx(1)
    assert kept["tv"] / kept["l1_ref"] == pytest.approx(weights.mix["tv"] / weights.mix["l1_ref"])


def test_an_unknown_term_to_skip_is_refused() -> None:
    with pytest.raises(ValueError, match="skip_terms must leave some of l1_ref"):
        training_weights(LossWeights.uniform(), ("l1",))
