"""Toys whose two levels are solved with pencil and paper: alternating steps with the library's gradients land there."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hsds_lib.losses.space import mixture, weighted_loss
from hsds_lib.search.hypergradient import (
    Weights,
    alpha_correction,
    beta_gradient,
    central_difference,
    jacobian_vector,
    preconditioner,
)

# Lower level: sum_k mix_k |omega - c_k|^2 / 2, so that omega* = sum_k mix_k c_k. Upper level: |omega* - goal|^2 / 2.
# The goal is a mixture of the c_k, which are corners of a triangle: one mixture alone reaches it.
CORNERS = torch.tensor([[0.0, 0.0], [2.0, 0.3], [0.4, 1.5]], dtype=torch.float64)
SHARES = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
GOAL = SHARES @ CORNERS


def corner_losses(omega: Tensor) -> Tensor:
    return (omega - CORNERS).square().sum(dim=1) / 2


def goal_distance(omega: Tensor) -> Tensor:
    return (omega - GOAL).square().sum() / 2


def decaying(optimiser: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """Rates fall linearly to 0: at a constant rate two Adams circle around the solution and never settle."""
    return torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)


def search_mixture(inner: type[torch.optim.Optimizer], *, rate: float, steps: int) -> tuple[Tensor, Tensor]:
    """Algorithm 1 lines 3 and 5 with the library's gradients, on the triangle."""
    omega = torch.nn.Parameter(torch.tensor([2.0, -1.0], dtype=torch.float64))
    beta = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    lower, upper = inner([omega], lr=rate), torch.optim.Adam([beta], lr=0.02, betas=(0.5, 0.999))
    schedules = [decaying(optimiser, steps) for optimiser in (lower, upper)]
    for _ in range(steps):
        before, mix = omega.detach().clone(), mixture(beta).detach()
        lower.zero_grad()
        weighted_loss(corner_losses(omega), mix).backward()
        lower.step()
        (slope,) = torch.autograd.grad(goal_distance(omega), omega)
        v = {"omega": preconditioner(lower, omega) * slope}
        jacobian = jacobian_vector(lambda at: corner_losses(at["omega"]), {"omega": before}, v)
        beta.grad = beta_gradient(mix, jacobian)
        upper.step()
        for schedule in schedules:
            schedule.step()
    return omega.detach(), mixture(beta).detach()


@pytest.mark.paper("Eq. 1", "Algorithm 1 lines 1 and 3", "Algorithm 1 line 5")
@pytest.mark.parametrize(("inner", "rate"), [(torch.optim.SGD, 0.1), (torch.optim.Adam, 0.02)])
def test_search_lands_on_the_closed_form_mixture(inner: type[torch.optim.Optimizer], rate: float) -> None:
    omega, mix = search_mixture(inner, rate=rate, steps=1000)
    torch.testing.assert_close(mix, SHARES, rtol=0, atol=1e-3)
    torch.testing.assert_close(omega, GOAL, rtol=0, atol=1e-3)


def test_the_start_is_far_from_the_solution() -> None:
    """Otherwise the test above could not fail."""
    _, mix = search_mixture(torch.optim.SGD, rate=0.1, steps=1)
    assert (mix - SHARES).abs().max() > 0.1


@pytest.mark.paper("Eq. 1")
def test_one_step_gradient_points_along_the_exact_hypergradient_at_the_optimum_of_the_lower_level() -> None:
    """At omega = omega*, one step of rate xi gives xi times the exact derivative, up to xi^2."""
    beta = torch.tensor([0.3, -0.4, 0.9], dtype=torch.float64, requires_grad=True)
    (exact,) = torch.autograd.grad(goal_distance(mixture(beta) @ CORNERS), beta)
    mix, rate = mixture(beta).detach(), 1e-3
    solved = mix @ CORNERS
    v = {"omega": rate * (solved - GOAL)}
    jacobian = jacobian_vector(lambda at: corner_losses(at["omega"]), {"omega": solved}, v)
    torch.testing.assert_close(beta_gradient(mix, jacobian) / rate, exact, rtol=1e-10, atol=1e-12)


# A toy for alpha: the lower level follows the structure, omega* = a with a = softmax(alpha)[0], and the upper level
# wants omega = 0.7. It does not contain alpha, so a first-order gradient is zero and finds nothing.
def search_structure(*, second_order: bool, steps: int = 600) -> float:
    omega = torch.nn.Parameter(torch.tensor([0.0], dtype=torch.float64))
    alpha = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    lower, upper = torch.optim.SGD([omega], lr=0.2), torch.optim.Adam([alpha], lr=0.02, betas=(0.5, 0.999))
    schedule = decaying(upper, steps)
    for _ in range(steps):
        before = omega.detach().clone().requires_grad_()
        train_loss = (before - alpha.softmax(0)[0]).square().sum() / 2
        omega.grad = torch.autograd.grad(train_loss, before, retain_graph=True)[0]
        lower.step()
        (slope,) = torch.autograd.grad((omega - 0.7).square().sum() / 2, omega)
        v = {"omega": preconditioner(lower, omega) * slope}
        correction = alpha_correction(train_loss, {"omega": before}, alpha, v)
        alpha.grad = correction if second_order else torch.zeros_like(alpha)
        upper.step()
        schedule.step()
    return float(alpha.detach().softmax(0)[0])


@pytest.mark.paper("Eq. 2", "Algorithm 1 line 7")
def test_second_order_alpha_lands_on_the_closed_form_structure_and_first_order_cannot() -> None:
    assert search_structure(second_order=True) == pytest.approx(0.7, abs=2e-3)
    assert search_structure(second_order=False) == 0.5


def smooth(at: Weights) -> Tensor:
    return (at["omega"].pow(3) * torch.tensor([1.0, -2.0], dtype=torch.float64)).sum()


def kinked(at: Weights) -> Tensor:
    return at["omega"].abs().sum()


@pytest.mark.parametrize("radius", [1e-1, 1e-2, 1e-3])
def test_error_of_the_finite_difference_falls_with_the_square_of_the_radius_where_all_is_smooth(radius: float) -> None:
    omega = {"omega": torch.tensor([0.7, -1.1], dtype=torch.float64)}
    v = {"omega": torch.tensor([1.0, 2.0], dtype=torch.float64)}
    exact = float(jacobian_vector(smooth, omega, v))
    error = abs(float(central_difference(smooth, omega, v, radius=radius)) - exact)
    # For a cubic the error is radius^2 / 6 times the third derivative along v, over |v|^2: exactly.
    third = 6 * (1.0 * 1.0**3 - 2.0 * 2.0**3)
    assert error == pytest.approx(radius**2 / 6 * abs(third) / 5, rel=1e-4)


@pytest.mark.parametrize("radius", [1e-2, 1e-3, 1e-4])
def test_error_of_the_finite_difference_does_not_fall_across_a_kink_until_the_kink_is_left_out(radius: float) -> None:
    omega = {"omega": torch.tensor([1e-5], dtype=torch.float64)}
    v = {"omega": torch.tensor([3.0], dtype=torch.float64)}
    exact = float(jacobian_vector(kinked, omega, v))
    relative = abs(float(central_difference(kinked, omega, v, radius=radius)) - exact) / exact
    assert exact == 3.0 and relative > 0.8
    assert float(central_difference(kinked, omega, v, radius=1e-6)) == pytest.approx(exact, rel=1e-9)
