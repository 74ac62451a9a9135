"""Gradients of alpha and beta through one inner step of the supernet: exact, first-order, and by finite differences."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hsds_lib.images.batches import Batch
from hsds_lib.losses.features import VGG16
from hsds_lib.losses.space import mixture, weighted_loss
from hsds_lib.losses.terms import Targets, prepare_targets
from hsds_lib.network.fusion_net import Supernet
from hsds_lib.network.operations import batch_statistics, softmax_active
from hsds_lib.released.network import load_released_state, released_names
from hsds_lib.released.terms import ContrastDraw, PerceptualVGG, released_contrast, released_terms
from hsds_lib.search.hypergradient import (
    Weights,
    alpha_correction,
    beta_gradient,
    central_difference,
    jacobian_vector,
)

pytestmark = pytest.mark.slow  # the whole supernet in double precision

FILE = "hypergradient.npz"
_IMAGES = tuple(f"{half}_{image}" for half in ("train", "val") for image in ("target", "u", "o"))
_DRAWS = ("naturals", "neg_under", "neg_over")
INPUTS = ("alphas_att", "alphas_ret", "hypers", *_IMAGES, *_DRAWS)
EXCUSED: dict[str, str] = {}
ETA, DECAY, SEED = 1e-3, 3e-4, 4100
# The released order of the logits.
RELEASED_ORDER = (
    *(f"{kind}_{image}" for kind in ("l1", "mse") for image in ("ref", "under", "over")), "grad",
    *(f"{kind}_{image}" for kind in ("perceptual", "ssim", "mefssim") for image in ("ref", "under", "over")),
    "colour_ref", "tv", "psnr_ref",
)  # fmt: skip


@dataclass
class Example:
    """The recorded situation in one precision, and the functions that a hypergradient is made of."""

    network: Supernet
    alpha: Tensor
    beta: Tensor
    halves: dict[str, tuple[Tensor, Targets]]
    naturals: list[ContrastDraw]
    perceptual: PerceptualVGG
    contrast_vgg: VGG16

    def fuse(self, omega: Weights, alpha: Tensor, half: str) -> Tensor:
        mix = softmax_active(alpha, torch.ones_like(alpha, dtype=torch.bool))
        return torch.func.functional_call(self.network, dict(omega), (self.halves[half][0], mix))

    def terms(self, omega: Weights, alpha: Tensor, half: str, *, batch_norm_trains: bool) -> Tensor:
        vgg, images = self.perceptual.train(batch_norm_trains), self.halves[half][1].images
        found = released_terms(self.fuse(omega, alpha, half), images, vgg)
        return torch.stack([found[name] for name in RELEASED_ORDER])

    def constraint(self, omega: Weights, alpha: Tensor) -> Tensor:
        targets = self.halves["val"][1]
        fused = self.fuse(omega, alpha, "val")
        return released_contrast(
            fused, targets.ref_y, targets.under_y, targets.over_y, self.naturals, self.contrast_vgg
        )


@dataclass
class Found:
    """All quantities of one consistency (``consistent`` or ``asreleased``) in one precision; exact ones in float64."""

    losses: Tensor
    norms: Tensor
    direct: Tensor
    exact_alpha: Tensor | None
    exact_beta: Tensor | None
    fd_alpha: dict[float, Tensor]
    fd_beta: dict[float, Tensor]


@pytest.fixture(scope="module")
def found(example: Callable[[torch.dtype], Example]) -> Callable[[str, torch.dtype], Found]:
    """Measure each consistency once in each precision."""
    radii = {"consistent": (1e-2, 1e-4, 1e-6), "asreleased": (1e-2, 1e-4)}

    @cache
    def measured(state: str, dtype: torch.dtype) -> Found:
        several = radii[state] if dtype == torch.float64 else (1e-2,)
        return measure(example(dtype), as_released=state == "asreleased", radii=several)

    return measured


@pytest.fixture(scope="module")
def example(
    recorded: Any,
    seeded_state: Callable[..., dict[str, np.ndarray]],
    released_perceptual_vgg: PerceptualVGG,
    released_contrast_vgg: VGG16,
) -> Callable[[torch.dtype], Example]:
    def make(dtype: torch.dtype) -> Example:
        network = Supernet()
        state = network.state_dict()
        shapes = {theirs: list(state[ours].shape) for theirs, ours in released_names(network).items()}
        names = sorted(shapes)
        load_released_state(network, seeded_state(names, [json.dumps(shapes[name]) for name in names], SEED))
        halves = {half: prepared(recorded, half, dtype) for half in ("train", "val")}
        naturals = [
            ContrastDraw(*images) for images in zip(*(recorded.input(key, dtype) for key in _DRAWS), strict=True)
        ]
        alpha = torch.cat([recorded.input(f"alphas_{part}", dtype) for part in ("att", "ret")])
        vggs = (copy.deepcopy(vgg).to(dtype) for vgg in (released_perceptual_vgg, released_contrast_vgg))
        return Example(network.to(dtype), alpha, recorded.input("hypers", dtype), halves, naturals, *vggs)

    return make


def prepared(recorded: Any, half: str, dtype: torch.dtype) -> tuple[Tensor, Targets]:
    ref, under, over = (recorded.input(f"{half}_{image}", dtype) for image in ("target", "u", "o"))
    rgb = [image.expand(-1, 3, -1, -1) for image in (under, over, ref, ref)]
    targets = prepare_targets(Batch(*rgb), None, contrast=False, names=("l1_ref",))
    return torch.cat([over, under], dim=1), targets


def channels_last(weights: Weights) -> Weights:
    """In the layout of training, in which gradients of dilated kernels are several times as fast."""
    return {
        name: weight.contiguous(memory_format=torch.channels_last) if weight.dim() == 4 else weight
        for name, weight in weights.items()
    }


def measure(example: Example, *, as_released: bool, radii: tuple[float, ...]) -> Found:
    """Compute every quantity once; as released, the copies for alpha and beta lose the other's logits."""
    with batch_statistics(example.network):
        alpha, beta = example.alpha.clone().requires_grad_(), example.beta
        omega = {name: w.detach().clone().requires_grad_() for name, w in example.network.named_parameters()}
        mix, equal = mixture(beta), torch.full_like(beta, 1 / len(beta))
        options = {"batch_norm_trains": as_released}

        def train_loss(at: Weights, logits: Tensor) -> Tensor:
            return weighted_loss(example.terms(at, logits, "train", **options), mix)

        def alpha_slope(at: Weights) -> Tensor:
            return torch.autograd.grad(train_loss(at, alpha), alpha)[0]

        loss = train_loss(omega, alpha)
        slopes = torch.autograd.grad(loss, list(omega.values()), retain_graph=True)
        after = {
            name: (weight - ETA * (slope + DECAY * weight)).detach().requires_grad_()
            for (name, weight), slope in zip(omega.items(), slopes, strict=True)
        }
        val_terms = example.terms(after, alpha, "val", batch_norm_trains=False)
        val_loss = weighted_loss(val_terms, equal if as_released else mix)
        direct, *val_slopes = torch.autograd.grad(val_loss, [alpha, *after.values()])
        copy = torch.zeros_like(alpha) if as_released else alpha.detach()
        gamma = example.constraint(after, copy)
        gamma_slopes = torch.autograd.grad(gamma, list(after.values()))
        v_alpha, v_beta = (
            {name: ETA * slope for name, slope in zip(omega, found, strict=True)}
            for found in (val_slopes, gamma_slopes)
        )
        exact = alpha.dtype == torch.float64
        exact_alpha = direct + alpha_correction(loss, omega, alpha, v_alpha) if exact else None

        def terms(at: Weights) -> Tensor:
            return example.terms(at, alpha.detach(), "train", **options)

        start = {name: weight.detach() for name, weight in omega.items()}
        with torch.no_grad():
            exact_beta = beta_gradient(mix, jacobian_vector(terms, start, v_beta)) if exact else None
            jacobians = {r: central_difference(terms, start, v_beta, radius=r) for r in radii}
        around, along = channels_last(start), channels_last(v_alpha)
        fd_alpha = {r: direct - central_difference(alpha_slope, around, along, radius=r) for r in radii}
        fd_beta = {r: beta_gradient(mix, jacobian) for r, jacobian in jacobians.items()}
        norms = torch.stack([torch.cat([s.flatten() for s in found]).norm() for found in (val_slopes, gamma_slopes)])
        return Found(torch.stack([loss, val_loss, gamma]), norms, direct, exact_alpha, exact_beta, fd_alpha, fd_beta)


def check(recorded: Any, key: str, found: Tensor | None, *, slack: float = 2e-6) -> None:
    """Compare to 1e-5 of each element, and a share of the largest: logits and images are stored in float32."""
    assert found is not None
    recorded.check(key, found, rtol=1e-5, atol=slack * float(abs(recorded.arrays[key]).max()))


def check_alpha(recorded: Any, key: str, found: Tensor | None, suffix: str = "", *, slack: float = 2e-6) -> None:
    assert found is not None
    check(recorded, f"{key}_att{suffix}", found[:10], slack=slack)
    check(recorded, f"{key}_ret{suffix}", found[10:], slack=slack)


def relative(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


@pytest.mark.paper("Eq. 2", "Algorithm 1 lines 5 and 7")
@pytest.mark.parametrize("state", ["consistent", "asreleased"])
def test_parity_hypergradient_exact_and_by_finite_differences(
    recorded: Any, found: Callable[[str, torch.dtype], Found], state: str
) -> None:
    ours = found(state, torch.float64)
    recorded.check(f"{state}_losses_train_val_cl", ours.losses)
    recorded.check(f"{state}_vector_norms_alpha_beta", ours.norms)
    check_alpha(recorded, f"{state}_direct_dalpha", ours.direct)
    check_alpha(recorded, f"{state}_exact_dalpha", ours.exact_alpha)
    check(recorded, f"{state}_exact_dbeta", ours.exact_beta)
    check_alpha(recorded, f"{state}_fd_dalpha", ours.fd_alpha[1e-2], "_f64")
    check(recorded, f"{state}_fd_dbeta_f64", ours.fd_beta[1e-2])
    check_alpha(recorded, f"{state}_fd_r1e-4_dalpha", ours.fd_alpha[1e-4], "_f64")
    check(recorded, f"{state}_fd_r1e-4_dbeta_f64", ours.fd_beta[1e-4])


@pytest.mark.parametrize("state", ["consistent", "asreleased"])
def test_parity_hypergradient_by_finite_differences_in_single_precision(
    recorded: Any, found: Callable[[str, torch.dtype], Found], state: str
) -> None:
    ours = found(state, torch.float32)
    # Twice 1e-4 of the largest here. More is allowed, because on another processor rounding may move a point across a
    # kink; float32 and float64 were recorded 1e-4 apart as well.
    check_alpha(recorded, f"{state}_fd_dalpha", ours.fd_alpha[1e-2], "_f32", slack=1e-3)
    check(recorded, f"{state}_fd_dbeta_f32", ours.fd_beta[1e-2], slack=1e-3)


def test_parity_hypergradient_error_of_the_finite_difference_by_radius(
    found: Callable[[str, torch.dtype], Found],
) -> None:
    """At the released radius both are wrong, a hundredth of it is no better, and kinks end below 1e-6."""
    ours = found("consistent", torch.float64)
    assert ours.exact_alpha is not None and ours.exact_beta is not None
    alpha = {radius: relative(value, ours.exact_alpha) for radius, value in ours.fd_alpha.items()}
    beta = {radius: relative(value, ours.exact_beta) for radius, value in ours.fd_beta.items()}
    assert 0.45 < alpha[1e-2] < 0.55 and 2.8 < beta[1e-2] < 3.0
    assert alpha[1e-4] > 0.5 and beta[1e-4] > 2.5
    assert alpha[1e-6] < 1e-6 and beta[1e-6] < 1e-6


def test_parity_hypergradient_forgets_no_key(forgotten: set[str]) -> None:
    assert forgotten == set()
