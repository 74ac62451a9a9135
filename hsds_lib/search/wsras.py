"""WSRAS: prune the weakest operations during the search, retain several of the strongest at its end."""

from __future__ import annotations

import torch
from torch import Tensor

from hsds_lib.network.genotype import Genotype
from hsds_lib.network.operations import softmax_active


def prune_step(alpha: Tensor, active: Tensor, *, theta: float, top_p: int) -> Tensor:
    """Deactivate at most one operation per node: pruning refinement, Algorithm 1 lines 8-13.

    In every row of ``alpha`` and ``active``, ``(nodes, operations)``, the active operation with the smallest mixture
    weight is removed if that weight is below ``theta`` and more than ``top_p`` operations are active. Among equal
    weights the last one goes. Gives the new mask; the input is left untouched.

    # Paper: the loop of line 8 never ends once the smallest weight is at least theta; here: one removal per
    # node and step, because the search itself is the loop.

    # Released: after every epoch two removals per node, whatever their weights, until three operations are
    # left: ``theta=1.0, top_p=3``, called twice.

    Example:
        >>> alpha = torch.tensor([[2.0, 0.0, -4.0]])
        >>> active = torch.ones(1, 3, dtype=torch.bool)
        >>> prune_step(alpha, active, theta=0.05, top_p=2).tolist()
        [[True, True, False]]
    """
    mix = softmax_active(alpha.detach(), active)
    # By logits, which are in the order of the weights, but still differ where weights are rounded to equal ones.
    logits = alpha.detach().masked_fill(~active, torch.inf)
    weakest = logits.shape[1] - 1 - logits.flip(1).argmin(dim=1)  # the last of equal ones
    rows = torch.arange(len(mix), device=mix.device)
    prunable = (mix[rows, weakest] < theta) & (active.sum(dim=1) > top_p)
    pruned = active.clone()
    pruned[rows[prunable], weakest[prunable]] = False
    return pruned


def retain(alpha: Tensor, active: Tensor, *, top_p: int, width: float, least_weight: float = 0.0) -> Genotype:
    """Keep the ``top_p`` strongest active operations of each node: weight retention, Algorithm 1 line 15.

    Retained weights are the softmax over the retained operations. Of equal weights the first is kept, so that the
    operation pruning would remove first is the one not retained. An operation of at most ``least_weight`` in the
    mixture is not retained; the strongest of a node always is.

    # Released: every operation of more than 0.1, however many: ``top_p=len(PRIMITIVES), least_weight=0.1``.

    Example:
        >>> import hsds_lib as hsds
        >>> alpha = torch.zeros(len(hsds.NODES), len(hsds.PRIMITIVES))
        >>> alpha[:, 1], alpha[:, 7] = 2.0, 4.0
        >>> genotype = retain(alpha, torch.ones_like(alpha, dtype=torch.bool), top_p=2, width=1.0)
        >>> {name: round(weight, 3) for name, weight in genotype.nodes["div"].items()}
        {'conv_3x3': 0.119, 'conv_5x1': 0.881}
    """
    alpha = alpha.detach().double()
    order = alpha.masked_fill(~active, -torch.inf).argsort(dim=1, descending=True, stable=True)
    strong = active & (softmax_active(alpha, active) > least_weight)
    kept = torch.zeros_like(active).scatter(1, order[:, :top_p], True) & strong
    kept.scatter_(1, order[:, :1], True)
    return Genotype.from_mix(softmax_active(alpha, kept), width=width)
