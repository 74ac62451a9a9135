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

# "extended" is searched in the same way; it is ours, and not the paper's (four measures of the pair as a whole).
SPACES: dict[str, tuple[str, ...]] = {"paper": TERM_NAMES, "extended": (*TERM_NAMES, *PAIR_TERMS)}

SpaceName = Literal["paper", "extended"]


def term_names(space: str) -> tuple[str, ...]:
    """List the terms of a space in order.

    Args:
        space: ``"paper"`` (the 19 of Table 1) or ``"extended"`` (four more, measures of the pair).

    Returns:
        Their names, in the order of every vector of terms.

    Raises:
        ValueError: for an unknown space.

    Example:
        >>> len(term_names("paper")), term_names("extended")[19:]
        (19, ('mefssim_pair', 'mefssim_fine', 'vif_pair', 'qabf_pair'))
    """
    if space not in SPACES:
        raise ValueError(f"the loss space is {space!r}; choose one of {', '.join(SPACES)}")
    return SPACES[space]


def initial_beta(space: str = "paper") -> Tensor:
    """Give the loss logits a search starts from: zeros, so that all terms weigh the same.

    Args:
        space: name of the loss space.

    Returns:
        float32 ``(T,)`` for T terms.

    Example:
        >>> mixture(initial_beta())[:3]  # 1/19 each
        tensor([0.0526, 0.0526, 0.0526])
    """
    return torch.zeros(len(term_names(space)))


def mixture(beta: Tensor) -> Tensor:
    """Turn loss logits into loss weights: ``mix = softmax(beta)``, positive with sum 1.

    Args:
        beta: logits ``(T,)``.

    Returns:
        Weights ``(T,)``, differentiable in beta.

    Example:
        >>> mixture(torch.tensor([0.0, 0.0, math.log(2.0)]))
        tensor([0.2500, 0.2500, 0.5000])
    """
    return torch.softmax(beta, dim=0)


def weighted_loss(terms: Tensor, mix: Tensor) -> Tensor:
    """Give the fusion loss, the weighted sum of the terms: L^f of Eq. 1.

    Args:
        terms: values ``(T,)`` from ``term_vector``.
        mix: weights ``(T,)`` in the same order.

    Returns:
        A scalar in the dtype of ``terms``.

    Raises:
        ValueError: if the lengths differ.

    Example:
        >>> weighted_loss(torch.tensor([0.2, 0.4]), torch.tensor([0.75, 0.25]))
        tensor(0.2500)
    """
    if terms.shape != mix.shape or terms.dim() != 1:
        raise ValueError(
            f"the loss has {tuple(terms.shape)} terms and {tuple(mix.shape)} weights; "
            "both must be vectors of one length, so use the same loss space for both"
        )
    return (mix.to(terms.dtype) * terms).sum()


class LossWeights(BaseModel):
    """Searched loss weights as a file (``loss_weights.json``): logits, and the weights they give by name.

    Attributes:
        space: name of the loss space.
        beta: logits, one per term, finite.
        mix: weight of each term by name, ``softmax(beta)``.

    Example:
        >>> import tempfile
        >>> beta = initial_beta()
        >>> beta[0] = 2.0  # a search that came to prefer the first term
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     LossWeights.from_beta(beta).save(Path(folder) / "loss_weights.json")
        ...     weights = LossWeights.load(Path(folder) / "loss_weights.json")
        >>> max(weights.mix, key=weights.mix.get), round(sum(weights.mix.values()), 6)
        ('l1_ref', 1.0)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    space: SpaceName
    beta: list[float]
    mix: dict[str, float]

    @model_validator(mode="after")
    def _agrees(self) -> LossWeights:
        names = term_names(self.space)
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
        """Make weights from logits.

        Args:
            beta: ``(T,)`` logits; a tensor may carry a gradient, which is left behind.
            space: name of the loss space.

        Returns:
            The weights ``softmax(beta)``, by name.

        Raises:
            ValueError: if the number of logits does not fit the space, or one is not finite.
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
        """Make equal weights: the ablation without loss search.

        Args:
            space: name of the loss space.

        Returns:
            Weights of ``1 / T`` for each of the T terms.
        """
        return cls.from_beta(initial_beta(space), space=space)

    @classmethod
    def load(cls, path: str | Path) -> LossWeights:
        """Read a file written by ``save``.

        Args:
            path: the file.

        Returns:
            The weights, checked: the file's ``mix`` is the softmax of its ``beta``.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is not JSON, or not valid loss weights; the first problem is named.
        """
        data = read_json(path)
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "content"
            raise ValueError(f"{path} does not hold loss weights: {where}: {first['msg']}") from None

    def save(self, path: str | Path) -> None:
        """Write the weights as JSON, atomically.

        Args:
            path: the file to write.
        """
        write_json(path, self.model_dump())

    @property
    def names(self) -> tuple[str, ...]:
        """The terms in order."""
        return term_names(self.space)

    def tensor(self, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Tensor:
        """Give ``mix`` as a vector.

        Args:
            dtype: of the vector.
            device: where it lies.

        Returns:
            ``(T,)`` in term order.
        """
        return torch.tensor([self.mix[name] for name in self.names], dtype=dtype, device=device)


def training_weights(
    loss_weights: LossWeights, skip: Collection[str] = (), *, only: Collection[str] = ()
) -> dict[str, float]:
    """Give weights by term for training: the searched ones without ``skip``, rescaled to sum 1.

    Args:
        loss_weights: the searched loss.
        skip: names of terms to leave out.
        only: names of the terms to keep; none keeps all.

    Returns:
        Name to weight, in the order of the terms.

    Raises:
        ValueError: for a term that the loss does not have, or when nothing would be left.

    Example:
        >>> weights = training_weights(LossWeights.uniform(), skip=("tv", "psnr_ref", "grad"))
        >>> len(weights), round(weights["l1_ref"], 4)  # 16 of 19 left
        (16, 0.0625)
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
