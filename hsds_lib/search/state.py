"""The state of a search as named tensors, and back: what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hsds_lib.checkpoints import optimiser_tensors, restore_optimiser
from hsds_lib.network.genotype import NODES
from hsds_lib.network.operations import PRIMITIVES
from hsds_lib.search.dual import DualSearch

_LOGITS = ("alpha", "beta")


def search_tensors(search: DualSearch) -> dict[str, Tensor]:
    """Collect weights, logits, active sets and the states of the three optimisers.

    Args:
        search: between two steps; the tensors are its own, not copies.

    Returns:
        Tensors by name, without the operations that were removed.

    Example:
        >>> from hsds_lib.config import SearchConfig
        >>> from hsds_lib.losses.features import load_vgg16
        >>> search = DualSearch(SearchConfig(width=0.0625), load_vgg16("random"))
        >>> tensors = search_tensors(search)
        >>> tensors["active"].shape, "network/nodes.x_1.operations.conv_1x1.conv.weight" in tensors
        (torch.Size([15, 11]), True)
    """
    tensors = {f"network/{name}": value for name, value in search.network.state_dict().items()}
    tensors |= {"alpha": search.alpha, "beta": search.beta, "active": search.active}
    tensors |= optimiser_tensors("omega", search.omega_optimiser, dict(search.network.named_parameters()))
    tensors |= optimiser_tensors("alpha_optimiser", search.alpha_optimiser, {"alpha": search.alpha})
    return tensors | optimiser_tensors("beta_optimiser", search.beta_optimiser, {"beta": search.beta})


@torch.no_grad()
def restore_search(search: DualSearch, tensors: Mapping[str, Tensor], history: list[dict[str, Any]]) -> None:
    """Make a fresh search the one that :func:`search_tensors` was taken of.

    Args:
        search: of the same settings, before its first step.
        tensors: what was collected.
        history: one record per step that was done, as read from JSON.

    Example:
        >>> from hsds_lib.config import SearchConfig
        >>> from hsds_lib.losses.features import load_vgg16
        >>> vgg = load_vgg16("random")
        >>> one, other = (DualSearch(SearchConfig(width=0.0625, seed=seed), vgg) for seed in (1, 2))
        >>> restore_search(other, search_tensors(one), [])
        >>> weights = zip(one.network.parameters(), other.network.parameters(), strict=True)
        >>> all(torch.equal(a, b) for a, b in weights)
        True
    """
    search.active = tensors["active"].to(search.device)
    for row, column in (~search.active).nonzero().tolist():
        search.network.remove(NODES[row], PRIMITIVES[column])
    weights = {key.removeprefix("network/"): value for key, value in tensors.items() if key.startswith("network/")}
    search.network.load_state_dict(weights)
    for name in _LOGITS:
        getattr(search, name).copy_(tensors[name])
    search.omega_optimiser.param_groups[0]["params"] = list(search.network.parameters())
    restore_optimiser("omega", search.omega_optimiser, dict(search.network.named_parameters()), tensors)
    restore_optimiser("alpha_optimiser", search.alpha_optimiser, {"alpha": search.alpha}, tensors)
    restore_optimiser("beta_optimiser", search.beta_optimiser, {"beta": search.beta}, tensors)
    # JSON knows no tuples.
    search.history = [{**record, "removed": [tuple(gone) for gone in record["removed"]]} for record in history]
