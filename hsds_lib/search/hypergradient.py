"""Gradients of the upper level with respect to beta and alpha, through one step of the lower level (Eq. 2).

``omega`` are the weights before the step, ``omega'`` those after it, and ``D`` the factor between a gradient and the
step it causes. Everything here is exact but ``central_difference``, which is kept to measure what it misses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]


def jacobian_vector(terms: Callable[[Weights], Tensor], omega: Weights, v: Weights) -> Tensor:
    """How fast each loss term changes when omega moves along ``v``: ``J_k = <d l_k / d omega, v>``.

    ``terms`` maps the network weights, by name, to the vector of loss terms. One forward-mode pass gives all of them
    exactly; finite differences would need two forwards and a radius.

    Example:
        >>> omega, v = {"w": torch.tensor([3.0, 1.0])}, {"w": torch.tensor([1.0, 0.0])}
        >>> jacobian_vector(lambda at: torch.stack([at["w"].sum(), at["w"].square().sum()]), omega, v)
        tensor([1., 6.])
    """
    tangent = {name: v[name] for name in omega}
    return torch.func.jvp(terms, (dict(omega),), (tangent,))[1]


def beta_gradient(mix: Tensor, jacobian: Tensor) -> Tensor:
    """Gradient of Gamma_H with respect to beta through one inner step (Eq. 2, Algorithm 1 line 5).

    The step is ``omega' = omega - D sum_k mix_k dl_k/domega`` with ``mix = softmax(beta)``, so with
    ``v = D dGamma_H/domega'`` and ``J_k = <dl_k/domega, v>`` the chain rule gives
    ``dGamma_H/dbeta_k = -mix_k (J_k - sum_j mix_j J_j)``. Gamma_H does not contain beta itself: without
    the step the gradient would be exactly zero.

    Example:
        >>> beta_gradient(torch.tensor([0.5, 0.5]), torch.tensor([2.0, 0.0]))  # more of the first lowers Gamma_H
        tensor([-0.5000,  0.5000])
    """
    return -mix * (jacobian - (mix * jacobian).sum())


def preconditioner(optimiser: torch.optim.Optimizer, parameter: Tensor) -> Tensor | float:
    """The factor ``D`` between a gradient and the step it causes, for the step just taken.

    For SGD (without momentum) it is the learning rate. For Adam it is ``lr (1-b1)/(1-b1^t) / (sqrt(v_hat) + eps)``, of
    the parameter's shape: the second moment ``v_hat`` is held fixed (it depends on the gradient too, which is
    neglected here).
    """
    group = next(g for g in optimiser.param_groups if any(p is parameter for p in g["params"]))
    if isinstance(optimiser, torch.optim.SGD):
        return float(group["lr"])
    first, second = group["betas"]
    state = optimiser.state[parameter]
    step = float(state["step"])
    v_hat = state["exp_avg_sq"] / (1 - second**step)
    return group["lr"] * (1 - first) / (1 - first**step) / (v_hat.sqrt() + group["eps"])


def alpha_correction(train_loss: Tensor, omega: Weights, alpha: Tensor, v: Weights) -> Tensor:
    """Give what a first-order alpha gradient leaves out (Eq. 2, Algorithm 1 line 7): ``-<d^2 L / dalpha domega, v>``.

    With ``v = D dL_val/domega'`` the whole derivative of ``L_val(alpha, omega'(alpha))`` is the first-order one,
    at fixed ``omega'``, plus this. One product with the mixed second derivative of ``train_loss``, the loss of the
    inner step with its graph, gives it exactly.

    Example:
        >>> alpha, omega = (torch.tensor([x], requires_grad=True) for x in (2.0, 3.0))
        >>> loss = (alpha * omega.square()).sum()  # d^2 L / dalpha domega = 2 omega = 6
        >>> alpha_correction(loss, {"w": omega}, alpha, {"w": torch.tensor([0.5])})
        tensor([-3.])
    """
    gradients = torch.autograd.grad(train_loss, list(omega.values()), create_graph=True)
    product = torch.stack([(g * v[name]).sum() for name, g in zip(omega, gradients, strict=True)]).sum()
    return -torch.autograd.grad(product, alpha)[0]


def central_difference(
    function: Callable[[Weights], Tensor], omega: Weights, v: Weights, *, radius: float = 0.01
) -> Tensor:
    """Approximate ``<d function / domega, v>`` as the released code does: from ``omega +- (radius / |v|) v``.

    With ``function`` the gradient of the training loss with respect to alpha, or beta, the result is what DARTS calls
    the second-order term. Kinks of ReLUs and absolute values between the points make it wrong by any amount, and a
    smaller radius need not help.

    Example:
        >>> v = {"w": torch.tensor([2.0])}
        >>> central_difference(lambda at: at["w"].relu(), {"w": torch.tensor([-0.005])}, v).item()  # exact: 0
        0.5
    """
    length = torch.stack([value.square().sum() for value in v.values()]).sum().sqrt()
    step = radius / length
    ends = [{name: weight + sign * step * v[name] for name, weight in omega.items()} for sign in (1, -1)]
    return (function(ends[0]) - function(ends[1])) / (2 * step)
