"""The gradient of the upper level with respect to beta, through one step of the lower level (Eq. 2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Weights = Mapping[str, Tensor]


def jacobian_vector(terms: Callable[[Weights], Tensor], omega: Weights, v: Weights) -> Tensor:
    """How fast each loss term changes when omega moves along ``v``: ``J_k = <d l_k / d omega, v>``.

    One forward-mode pass gives all terms exactly; finite differences would need two forwards and a radius.

    Args:
        terms: maps the network weights to the vector of loss terms, ``(terms,)``.
        omega: the weights at which to differentiate, by name.
        v: the direction, same names and shapes.

    Returns:
        ``J``, ``(terms,)``.
    """
    tangent = {name: v[name] for name in omega}
    return torch.func.jvp(terms, (dict(omega),), (tangent,))[1]


def beta_gradient(mix: Tensor, jacobian: Tensor) -> Tensor:
    """Gradient of Gamma_H with respect to beta through one inner step (Eq. 2, Algorithm 1 line 5).

    The step is ``omega' = omega - D sum_k mix_k dl_k/domega`` with ``mix = softmax(beta)``, so with
    ``v = D dGamma_H/domega'`` and ``J_k = <dl_k/domega, v>`` the chain rule gives
    ``dGamma_H/dbeta_k = -mix_k (J_k - sum_j mix_j J_j)``. Gamma_H does not contain beta itself: without
    the step the gradient would be exactly zero.

    Args:
        mix: loss weights, ``(terms,)``, sum 1.
        jacobian: ``J``, ``(terms,)``, already multiplied by the step (``D`` inside ``v``).

    Returns:
        ``(terms,)``; its sum is 0.
    """
    return -mix * (jacobian - (mix * jacobian).sum())


def preconditioner(optimiser: torch.optim.Optimizer, parameter: Tensor) -> Tensor | float:
    """The factor ``D`` between a gradient and the step it causes, for the step just taken.

    For SGD it is the learning rate. For Adam it is ``lr (1-b1)/(1-b1^t) / (sqrt(v_hat) + eps)``: the
    second moment ``v_hat`` is held fixed (it depends on the gradient too, which is neglected here).

    Args:
        optimiser: ``torch.optim.SGD`` without momentum, or ``torch.optim.Adam``, after its step.
        parameter: one of its parameters.

    Returns:
        A tensor of the parameter's shape (Adam) or a number (SGD).
    """
    group = next(g for g in optimiser.param_groups if any(p is parameter for p in g["params"]))
    if isinstance(optimiser, torch.optim.SGD):
        return float(group["lr"])
    first, second = group["betas"]
    state = optimiser.state[parameter]
    step = float(state["step"])
    v_hat = state["exp_avg_sq"] / (1 - second**step)
    return group["lr"] * (1 - first) / (1 - first**step) / (v_hat.sqrt() + group["eps"])
