"""The result of an architecture search: which operations each node retains, and with which weights."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from hsds_lib.config import WIDEST
from hsds_lib.network.operations import PRIMITIVES
from hsds_lib.runtime import read_json, write_json

NODES: tuple[str, ...] = (
    *(f"{branch}_{level}" for level in range(1, 6) for branch in ("x", "y")),
    *("div", "i_1", "i_2", "l_1", "l_2"),
)
"""The searchable nodes in the order of the rows of alpha: attention (x: under, y: over), then Retinex."""


class Genotype(BaseModel):
    """What a search found, and all that is needed to build the derived network.

    ``nodes`` maps each of ``NODES`` to its retained operations and their weights, which are positive and sum to 1;
    ``width`` scales the channel counts (1.0 is the paper's network).

    Example:
        >>> genotype = Genotype(nodes={node: {"conv_3x3": 0.75, "dil_5x5": 0.25} for node in NODES})
        >>> Genotype.from_mix(genotype.mix(), width=1.0) == genotype
        True
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    nodes: dict[str, dict[str, float]]
    width: float = Field(default=1.0, gt=0, le=WIDEST)

    @model_validator(mode="after")
    def _check(self) -> Genotype:
        if set(self.nodes) != set(NODES):
            raise ValueError(f"a genotype names exactly the nodes {', '.join(NODES)}; given: {', '.join(self.nodes)}")
        for node, operations in self.nodes.items():
            unknown = [name for name in operations if name not in PRIMITIVES]
            if unknown or not operations:
                raise ValueError(
                    f"node {node} needs operations out of {', '.join(PRIMITIVES)}; given: {list(operations)}"
                )
            if min(operations.values()) <= 0 or abs(sum(operations.values()) - 1) > 1e-4:
                raise ValueError(f"the weights of node {node} must be positive and sum to 1; given: {operations}")
        return self

    def mix(self) -> Tensor:
        """The node weights as a table, ``(nodes, operations)`` float64, 0 where an operation is not retained."""
        table = torch.zeros(len(NODES), len(PRIMITIVES), dtype=torch.float64)
        for row, node in enumerate(NODES):
            for name, weight in self.nodes[node].items():
                table[row, PRIMITIVES.index(name)] = weight
        return table

    @classmethod
    def from_mix(cls, mix: Tensor, *, width: float) -> Genotype:
        """Build a genotype from a table of weights, ``(nodes, operations)``; zero entries are not retained."""
        rows = zip(NODES, mix.tolist(), strict=True)
        nodes = {
            node: {name: weight for name, weight in zip(PRIMITIVES, row, strict=True) if weight > 0}
            for node, row in rows
        }
        return cls(nodes=nodes, width=width)

    def save(self, path: str | Path) -> None:
        """Write the genotype as JSON, atomically."""
        write_json(path, self.model_dump())

    @classmethod
    def load(cls, path: str | Path) -> Genotype:
        """Read a file written by :meth:`save`; FileNotFoundError, or ValueError naming what is wrong with it."""
        data = read_json(path)
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ValueError(f"{path} does not hold a genotype: {error.errors()[0]['msg']}") from None
