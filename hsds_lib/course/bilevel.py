"""Two levels small enough to be solved exactly, and the hypergradients that approximate them (notebook 01).

The lower level trains weights ``omega`` by ``sum_k mix_k l_k(omega)`` with ``mix = softmax(beta)``; the upper level
judges the trained weights. Both are plain functions of a vector ``(d,)``, in double precision.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hsds_lib.losses.space import mixture, weighted_loss
from hsds_lib.search.hypergradient import beta_gradient, jacobian_vector

Function = Callable[[Tensor], Tensor]

CORNERS = torch.tensor([[0.0, 0.0], [2.0, 0.3], [0.4, 1.5]], dtype=torch.float64)
"""Where each of the three losses of the triangle would lead alone."""
SHARES = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
"""The mixture that the upper level of the triangle should find."""
GOAL = SHARES @ CORNERS


def bowls(centres: Tensor, curvature: Tensor) -> Function:
    """Make quadratic losses ``l_k(omega) = (omega - c_k)' A_k (omega - c_k) / 2``.

    ``centres`` holds the ``c_k``, ``(K, d)``; ``curvature`` the ``A_k``, symmetric and positive definite,
    ``(K, d, d)`` or ``(d, d)`` for all alike. The function made takes ``omega``, ``(d,)``, and gives the K losses.
    """
    shapes = curvature.expand(len(centres), *curvature.shape[-2:])

    def losses(omega: Tensor) -> Tensor:
        apart = omega - centres
        return torch.einsum("ki,kij,kj->k", apart, shapes, apart) / 2

    return losses


def hypergradient_unrolled(
    losses: Function, judge: Function, beta: Tensor, omega: Tensor, *, rate: float, steps: int
) -> Tensor:
    """Differentiate the judge by beta, ``(K,)``, through some steps of gradient descent from ``omega``, ``(d,)``.

    Exact for those steps of size ``rate``, an approximation of the hypergradient of Eq. 1; with one step it is the
    gradient that a search of DARTS' kind uses. ``omega`` is taken as independent of beta. ``ValueError`` for less than
    one step.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; without a step beta does not act on omega, so give at least 1")
    beta, omega = (value.detach().clone().requires_grad_() for value in (beta, omega))
    mix, after = mixture(beta), omega
    for _ in range(steps):
        (slope,) = torch.autograd.grad(weighted_loss(losses(after), mix), after, create_graph=True)
        after = after - rate * slope
    return torch.autograd.grad(judge(after), beta)[0]


def hypergradient_exact(losses: Function, judge: Function, beta: Tensor, solved: Tensor) -> Tensor:
    """Differentiate the judge at the solution of the lower level, by the implicit function theorem (Eq. 1).

    At ``omega*`` the mixed gradient is zero whatever beta is, so ``H domega* = -d^2 L / domega dbeta`` with the Hessian
    ``H`` of the mixed loss. The result, ``(K,)``, is ``beta_gradient`` with ``v = H^-1 dGamma/domega``: the inverse
    Hessian stands where a single step has its step size. ``ValueError`` if ``solved``, ``(d,)``, does not solve the
    lower level.
    """
    mix, solved = mixture(beta.detach()), solved.detach().clone().requires_grad_()

    def mixed(omega: Tensor) -> Tensor:
        return weighted_loss(losses(omega), mix)

    rest = torch.autograd.grad(mixed(solved), solved)[0].norm()
    if rest > 1e-6:
        raise ValueError(f"the mixed gradient at the given omega is {float(rest):.2g} long; train until it is 0")
    (slope,) = torch.autograd.grad(judge(solved), solved)
    hessian = torch.autograd.functional.hessian(mixed, solved.detach())
    v = torch.linalg.solve(hessian, slope)
    jacobian = jacobian_vector(lambda at: losses(at["omega"]), {"omega": solved.detach()}, {"omega": v})
    return beta_gradient(mix, jacobian)
