"""The loss search space: which terms there are, and the weights beta that the search gives them."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from torch import Tensor

from hsds_lib.losses.pair_terms import PAIR_TERMS
from hsds_lib.losses.terms import TERM_NAMES
from hsds_lib.runtime import read_json, write_json

# "extended" is searched in the same way; it is ours, and not the paper's (measures of the pair as a whole).
SPACES: dict[str, tuple[str, ...]] = {"paper": TERM_NAMES, "extended": (*TERM_NAMES, *PAIR_TERMS)}

SpaceName = Literal["paper", "extended"]


def term_names(space: str) -> tuple[str, ...]:
    """List the terms of a space, ``"paper"`` or ``"extended"``, in the order of every vector of terms.

    ValueError for an unknown space.
    """
    if space not in SPACES:
        raise ValueError(f"the loss space is {space!r}; choose one of {', '.join(SPACES)}")
    return SPACES[space]


def term_kind(name: str) -> str:
    """Say of which kind a term of any space is: the first word of its name; ``pair`` for those beyond the paper."""
    return "pair" if name in PAIR_TERMS else name.split("_")[0]


def initial_beta(space: str = "paper") -> Tensor:
    """Give the loss logits ``(T,)`` a search starts from: zeros, so that all terms weigh the same."""
    return torch.zeros(len(term_names(space)))


def mixture(beta: Tensor) -> Tensor:
    """Turn loss logits ``(T,)`` into loss weights: ``mix = softmax(beta)``, positive with sum 1."""
    return torch.softmax(beta, dim=0)


def weighted_loss(terms: Tensor, mix: Tensor) -> Tensor:
    """Give the fusion loss, the weighted sum of the terms: L^f of Eq. 1.

    Values and weights ``(T,)`` in one order, to a scalar in the dtype of the values; ValueError if the lengths differ.
    """
    if terms.shape != mix.shape or terms.dim() != 1:
        raise ValueError(
            f"the loss has {tuple(terms.shape)} terms and {tuple(mix.shape)} weights; "
            "both must be vectors of one length, so use the same loss space for both"
        )
    return (mix.to(terms.dtype) * terms).sum()


class LossWeights(BaseModel):
    """Searched loss weights as a file (``loss_weights.json``): finite logits, and the weights they give by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    space: SpaceName
    beta: list[float]
    mix: dict[str, float]

    @model_validator(mode="after")
    def _agrees(self) -> LossWeights:
        names = self.names
        if len(self.beta) != len(names):
            raise ValueError(f"beta has {len(self.beta)} values, but the space {self.space!r} has {len(names)} terms")
        if set(self.mix) != set(names):
            odd = sorted(set(self.mix) ^ set(names))
            raise ValueError(f"mix must name exactly the terms of the space {self.space!r}; look at {', '.join(odd)}")
        for name, weight in zip(names, _softmax(self.beta), strict=True):
            if abs(self.mix[name] - weight) > 1e-6:
                raise ValueError(f"mix gives {name} the weight {self.mix[name]}, but softmax(beta) is {weight:.6f}")
        return self

    @classmethod
    def from_beta(cls, beta: Tensor | Sequence[float], *, space: SpaceName = "paper") -> LossWeights:
        """Make weights from logits ``(T,)``; a gradient is left behind.

        ValueError if the number of logits does not fit the space, or one is not finite.
        """
        logits = beta.detach().double().tolist() if isinstance(beta, Tensor) else [float(value) for value in beta]
        names = term_names(space)
        if len(logits) != len(names):
            raise ValueError(f"beta has {len(logits)} values, but the space {space!r} has {len(names)} terms")
        if not all(math.isfinite(value) for value in logits):
            raise ValueError("beta holds a value that is not finite; the search has diverged, so lower its rate")
        return cls(space=space, beta=logits, mix=dict(zip(names, _softmax(logits), strict=True)))

    @classmethod
    def uniform(cls, space: SpaceName = "paper") -> LossWeights:
        """Make equal weights: the ablation without loss search."""
        return cls.from_beta(initial_beta(space), space=space)

    @classmethod
    def load(cls, path: str | Path) -> LossWeights:
        """Read a file written by ``save``; its ``mix`` must be the softmax of its ``beta``.

        FileNotFoundError if there is no such file; ValueError if it holds no valid loss weights, with the first
        problem.
        """
        data = read_json(path)
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "content"
            raise ValueError(f"{path} does not hold loss weights: {where}: {first['msg']}") from None

    def save(self, path: str | Path) -> None:
        """Write the weights as JSON, atomically."""
        write_json(path, self.model_dump())

    @property
    def names(self) -> tuple[str, ...]:
        """The terms in order; a file may be older than the last terms of the extended space, and then lacks them."""
        known = term_names(self.space)
        return tuple(name for name in known if name in self.mix or name not in PAIR_TERMS)

    def tensor(self, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Tensor:
        """Give ``mix`` as a vector ``(T,)`` in term order."""
        return torch.tensor([self.mix[name] for name in self.names], dtype=dtype, device=device)


def training_weights(
    loss_weights: LossWeights, skip: Collection[str] = (), *, only: Collection[str] = ()
) -> dict[str, float]:
    """Give weights by term for training: the searched ones without ``skip`` or ``only`` those named, with sum 1.

    ValueError for a term that the loss does not have, or when nothing would be left.
    """
    names = loss_weights.names
    kept = {name: loss_weights.mix[name] for name in names if name not in skip and (name in only or not only)}
    for setting, given in (("skip_terms", skip), ("only_terms", only)):
        if set(given) - set(names) or (given and not kept):
            raise ValueError(f"{setting} must leave some of {', '.join(names)}; given: {', '.join(given)}")
    total = sum(kept.values())
    return {name: weight / total for name, weight in kept.items()}


def _softmax(logits: Sequence[float]) -> list[float]:
    return torch.softmax(torch.tensor(logits, dtype=torch.float64), dim=0).tolist()
