"""The beta gradient through one inner step equals double backward; without the step it is zero."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hsds_lib.search.hypergradient import alpha_correction, beta_gradient, jacobian_vector, preconditioner


def toy() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    beta = torch.randn(4, generator=generator, dtype=torch.float64)
    omega = torch.randn(3, generator=generator, dtype=torch.float64)
    centres = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    return beta, omega, centres


def losses(omega: Tensor, centres: Tensor) -> Tensor:
    return (omega - centres).pow(4).sum(dim=1) + torch.sin(omega.sum() * centres[:, 0])


def outer(omega: Tensor) -> Tensor:
    return (omega.exp() * torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)).sum()


def by_double_backward(beta: Tensor, omega: Tensor, centres: Tensor, step: Tensor | float) -> Tensor:
    beta, omega = beta.clone().requires_grad_(), omega.clone().requires_grad_()
    inner = (torch.softmax(beta, 0) * losses(omega, centres)).sum()
    (gradient,) = torch.autograd.grad(inner, omega, create_graph=True)
    return torch.autograd.grad(outer(omega - step * gradient), beta)[0]


def by_forward_mode(beta: Tensor, omega: Tensor, centres: Tensor, step: Tensor | float) -> Tensor:
    mix = torch.softmax(beta, 0)
    reached = omega - step * torch.autograd.functional.jacobian(lambda w: (mix * losses(w, centres)).sum(), omega)
    v = step * torch.autograd.functional.jacobian(outer, reached)
    jacobian = jacobian_vector(lambda w: losses(w["omega"], centres), {"omega": omega}, {"omega": v})
    return beta_gradient(mix, jacobian)


@pytest.mark.paper("Eq. 2", "Algorithm 1 line 5")
@pytest.mark.parametrize("step", [0.01, torch.tensor([0.3, 0.002, 0.04], dtype=torch.float64)])
def test_beta_hypergradient_equals_double_backward(step: Tensor | float) -> None:
    beta, omega, centres = toy()
    expected = by_double_backward(beta, omega, centres, step)
    found = by_forward_mode(beta, omega, centres, step)
    assert expected.norm() > 1e-4
    assert (found - expected).norm() / expected.norm() < 1e-12


@pytest.mark.paper("Algorithm 1 lines 4 and 5")
def test_without_the_inner_step_the_beta_gradient_is_zero() -> None:
    beta, omega, centres = toy()
    assert by_double_backward(beta, omega, centres, 0.0).abs().max() == 0


def test_beta_gradient_sums_to_zero_and_ignores_a_common_shift() -> None:
    beta, _, _ = toy()
    mix, jacobian = torch.softmax(beta, 0), torch.arange(4, dtype=torch.float64)
    gradient = beta_gradient(mix, jacobian)
    assert abs(gradient.sum()) < 1e-15
    torch.testing.assert_close(beta_gradient(mix, jacobian + 7), gradient)


@pytest.mark.paper("Eq. 2", "Algorithm 1 line 7")
@pytest.mark.parametrize("step", [0.01, torch.tensor([0.3, 0.002, 0.04], dtype=torch.float64)])
def test_second_order_alpha_hypergradient_equals_double_backward(step: Tensor | float) -> None:
    """First-order part plus correction is the derivative through the whole step, for a number and for Adam's factor."""
    alpha, omega, centres = (tensor.clone().requires_grad_() for tensor in toy())

    def train_loss(w: Tensor) -> Tensor:
        return (torch.softmax(alpha, 0) * losses(w, centres.detach())).sum()

    def val_loss(w: Tensor) -> Tensor:
        return outer(w) * (1 + alpha.sin().sum())

    (gradient,) = torch.autograd.grad(train_loss(omega), omega, create_graph=True)
    (expected,) = torch.autograd.grad(val_loss(omega - step * gradient), alpha, retain_graph=True)
    reached = (omega - step * gradient).detach().requires_grad_()
    first, slope = torch.autograd.grad(val_loss(reached), [alpha, reached])
    correction = alpha_correction(train_loss(omega), {"omega": omega}, alpha, {"omega": step * slope})
    assert correction.norm() / expected.norm() > 1e-3
    assert (first + correction - expected).norm() / expected.norm() < 1e-12


@pytest.mark.parametrize("steps", [1, 5])
def test_adam_step_is_the_momentum_part_minus_factor_times_gradient(steps: int) -> None:
    generator = torch.Generator().manual_seed(steps)
    weight = torch.nn.Parameter(torch.randn(6, generator=generator, dtype=torch.float64))
    optimiser = torch.optim.Adam([weight], lr=0.02)
    for _ in range(steps):
        before = weight.detach().clone()
        momentum = optimiser.state[weight]["exp_avg"].clone() if optimiser.state else torch.zeros(6)
        weight.grad = torch.randn(6, generator=generator, dtype=torch.float64)
        optimiser.step()
    factor = preconditioner(optimiser, weight)
    assert weight.grad is not None
    first, _ = optimiser.param_groups[0]["betas"]
    from_momentum = factor / (1 - first) * first * momentum
    torch.testing.assert_close(weight.detach(), before - from_momentum - factor * weight.grad)


def test_sgd_factor_is_the_learning_rate() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    assert preconditioner(torch.optim.SGD([weight], lr=0.25), weight) == 0.25
