"""The gradients that the search takes on the real network: exact through its own step, or absent without one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hsds_lib.config import SearchConfig, preset
from hsds_lib.images.batches import Batch
from hsds_lib.losses.contrast import CONTRAST_LAYERS, gamma_h
from hsds_lib.losses.features import load_vgg16
from hsds_lib.losses.terms import TERM_NAMES, prepare_targets, term_vector
from hsds_lib.network.genotype import NODES
from hsds_lib.network.operations import PRIMITIVES, batch_statistics
from hsds_lib.search.dual import DualSearch

SHAPE = (len(NODES), len(PRIMITIVES))

EXACT = preset("tiny").search.changed(
    width=0.0625, crop=24, batch_size=1, beta_warmup=0, theta=0.0, lr_beta=1e-9, lr_omega=1e-4
)


Unrolled = tuple[DualSearch, Callable[[dict[str, Tensor], Batch], Tensor], dict[str, Tensor], Tensor, Tensor]


def unrolled(config: SearchConfig, batches: list[Batch]) -> Unrolled:
    """One step in float64, and the same step once more with a graph: search, network, omega', alpha and beta."""
    vgg = load_vgg16("random", seed=0).double()
    search = DualSearch(config, vgg)
    search.network.double()
    search.alpha.data = torch.linspace(-1, 1, SHAPE[0] * SHAPE[1], dtype=torch.float64).view(SHAPE).sin()
    search.beta.data = torch.linspace(-1, 1, len(TERM_NAMES), dtype=torch.float64)
    start = {name: weight.detach().clone().requires_grad_() for name, weight in search.network.named_parameters()}
    alpha, beta = (logits.detach().clone().requires_grad_() for logits in (search.alpha, search.beta))
    train, val = batches
    search.step(train, val)

    def forward(weights: dict[str, Tensor], batch: Batch) -> Tensor:
        return torch.func.functional_call(search.network, weights, (batch.over_under_y, torch.softmax(alpha, 1)))

    with batch_statistics(search.network):
        terms = term_vector(forward(start, train), prepare_targets(train, vgg, contrast=False), vgg)
        inner_loss = (torch.softmax(beta, 0) * terms).sum()
        gradients = torch.autograd.grad(inner_loss, list(start.values()), create_graph=True)
    # The fixed factor D of the step that was taken; the first Adam step has no earlier momentum.
    factor = {n: _factor(config.inner, g.detach(), config) for n, g in zip(start, gradients, strict=True)}
    after = {n: start[n] - factor[n] * g for n, g in zip(start, gradients, strict=True)}
    for name, weight in search.network.named_parameters():
        torch.testing.assert_close(after[name], weight, rtol=1e-9, atol=1e-12)
    return search, forward, after, alpha, beta


@pytest.fixture(scope="module")
def exact_batches(batches: list[Batch]) -> list[Batch]:
    return [Batch(**{k: getattr(b, k).double() for k in ("under", "over", "ref", "natural")}) for b in batches[:2]]


@pytest.fixture(scope="module", params=["sgd", "adam"])
def second_order(request: pytest.FixtureRequest, exact_batches: list[Batch]) -> Unrolled:
    # A long step of beta: the inner step was taken with the old one, the validation loss is weighed with the new.
    return unrolled(EXACT.changed(inner=request.param, alpha_order="second", lr_beta=0.5), exact_batches)


@pytest.mark.paper("Eq. 2", "Algorithm 1 line 5")
def test_beta_hypergradient_of_the_network_equals_double_backward(
    second_order: Unrolled, exact_batches: list[Batch]
) -> None:
    """The real network, the real losses and Gamma_H in float64, against autograd through the inner step."""
    search, forward, after, _, beta = second_order
    val = exact_batches[1]
    with batch_statistics(search.network):
        features = search.vgg(forward(after, val), CONTRAST_LAYERS)
        gamma = gamma_h(features, prepare_targets(val, search.vgg, contrast=True))
        expected = torch.autograd.grad(gamma, beta, retain_graph=True)[0]
    assert search.beta.grad is not None and expected.norm() > 0
    assert (search.beta.grad - expected).norm() / expected.norm() < 1e-10


@pytest.mark.paper("Eq. 2", "Algorithm 1 line 7")
def test_second_order_alpha_hypergradient_of_the_network_equals_double_backward(
    second_order: Unrolled, exact_batches: list[Batch]
) -> None:
    search, forward, after, alpha, old = second_order
    assert (search.beta.detach() - old).abs().min() > 0.1
    val = exact_batches[1]
    with batch_statistics(search.network):
        terms = term_vector(forward(after, val), prepare_targets(val, search.vgg, contrast=False), search.vgg)
        loss = (search.loss_mix().detach() * terms).sum()
        expected = torch.autograd.grad(loss, alpha, retain_graph=True)[0]
        detached = {name: weight.detach() for name, weight in after.items()}
        terms = term_vector(forward(detached, val), prepare_targets(val, search.vgg, contrast=False), search.vgg)
        first = torch.autograd.grad((search.loss_mix().detach() * terms).sum(), alpha)[0]
    assert search.alpha.grad is not None
    assert (search.alpha.grad - expected).norm() / expected.norm() < 1e-10
    # What the first order leaves out is there to be seen.
    assert (first - expected).norm() / expected.norm() > 1e-6


@pytest.mark.paper("Algorithm 1 line 7")
def test_first_order_alpha_gradient_is_the_default_and_ignores_the_step(exact_batches: list[Batch]) -> None:
    search, forward, after, alpha, _ = unrolled(EXACT, exact_batches)
    val = exact_batches[1]
    with batch_statistics(search.network):
        detached = {name: weight.detach() for name, weight in after.items()}
        terms = term_vector(forward(detached, val), prepare_targets(val, search.vgg, contrast=False), search.vgg)
        expected = torch.autograd.grad((search.loss_mix().detach() * terms).sum(), alpha)[0]
    assert search.alpha.grad is not None
    assert (search.alpha.grad - expected).norm() / expected.norm() < 1e-10


@pytest.mark.paper("Algorithm 1 line 5")
def test_without_a_step_of_omega_the_beta_gradient_of_the_network_is_exactly_zero(exact_batches: list[Batch]) -> None:
    """First order means omega does not answer to beta: with a step of length 0 nothing is left of the gradient."""
    search = DualSearch(EXACT.changed(inner="sgd"), load_vgg16("random", seed=0).double())
    search.network.double()
    search.alpha.data, search.beta.data = (
        search.alpha.data.double(),
        torch.linspace(-1, 1, len(TERM_NAMES), dtype=torch.float64),
    )
    search.omega_optimiser.param_groups[0]["lr"] = 0.0
    search.step(*exact_batches)
    assert search.beta.grad is not None and search.beta.grad.abs().max() == 0
    assert search.alpha.grad is not None and search.alpha.grad.norm() > 0  # alpha has a first-order gradient


def _factor(inner: str, gradient: Tensor, config: SearchConfig) -> Tensor | float:
    return config.lr_omega if inner == "sgd" else config.lr_omega / (gradient.abs() + 1e-8)
