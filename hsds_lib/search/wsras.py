"""WSRAS: prune the weakest operations during the search, retain several of the strongest at its end."""

from __future__ import annotations

import torch
from torch import Tensor

from hsds_lib.network.genotype import Genotype
from hsds_lib.network.operations import softmax_active


def prune_step(alpha: Tensor, active: Tensor, *, theta: float, top_p: int) -> Tensor:
    """Deactivate at most one operation per node: pruning refinement, Algorithm 1 lines 8-13.

    In every node the active operation with the smallest mixture weight is removed if that weight is below
    ``theta`` and more than ``top_p`` operations are active. Among equal weights the last one goes.

    # Paper: the loop of line 8 never ends once the smallest weight is at least theta; here: one removal per
    # node and step, because the search itself is the loop.

    Args:
        alpha: architecture logits, ``(nodes, operations)``.
        active: operations still in play, bool, same shape.
        theta: pruning threshold on the mixture weight, in [0, 1]; 0 never prunes.
        top_p: operations that survive in each node, at least 1.

    Returns:
        The new mask, bool, same shape; the input is left untouched.

    Example:
        >>> alpha = torch.tensor([[2.0, 0.0, -4.0]])
        >>> active = torch.ones(1, 3, dtype=torch.bool)
        >>> prune_step(alpha, active, theta=0.05, top_p=2).tolist()
        [[True, True, False]]
    """
    mix = softmax_active(alpha.detach(), active).masked_fill(~active, torch.inf)
    weakest = mix.shape[1] - 1 - mix.flip(1).argmin(dim=1)  # the last of equal ones
    rows = torch.arange(len(mix), device=mix.device)
    prunable = (mix[rows, weakest] < theta) & (active.sum(dim=1) > top_p)
    pruned = active.clone()
    pruned[rows[prunable], weakest[prunable]] = False
    return pruned


def retain(alpha: Tensor, active: Tensor, *, top_p: int, width: float) -> Genotype:
    """Keep the ``top_p`` strongest active operations of each node: weight retention, Algorithm 1 line 15.

    Args:
        alpha: architecture logits, ``(15, 11)``.
        active: operations still in play, bool, same shape.
        top_p: operations to retain per node; fewer where fewer are active.
        width: width of the network that was searched.

    Returns:
        The genotype; retained weights are the softmax over the retained operations. Of equal weights the
        first is kept, so that the operation pruning would remove first is the one not retained.
    """
    mix = softmax_active(alpha.detach().double(), active)
    order = mix.argsort(dim=1, descending=True, stable=True)[:, :top_p]
    kept = torch.zeros_like(active).scatter(1, order, True) & active
    return Genotype.from_mix(softmax_active(alpha.detach().double(), kept), width=width)
