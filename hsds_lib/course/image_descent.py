"""Asking a loss what it wants: change the pixels of one picture, with no network between them and the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hsds_lib.losses.features import VGG16
from hsds_lib.losses.terms import TERM_NAMES, Targets, term_vector


@dataclass(frozen=True)
class Descent:
    """Luminance ``(B, 1, H, W)`` optimised for a loss, and the loss before every step and at the end."""

    picture: Tensor
    losses: tuple[float, ...]

    @property
    def fall(self) -> float:
        """How much lower the loss is at the end than at the start."""
        return self.losses[0] - self.losses[-1]


def descend(
    start_y: Tensor,
    targets: Targets,
    weights: Mapping[str, float],
    vgg: VGG16 | None = None,
    *,
    steps: int = 60,
    lr: float = 0.02,
) -> Descent:
    """Optimise the pixels of a picture, ``(B, 1, H, W)``, for a weighted sum of the terms of Table 1, by Adam.

    The pixels are clipped to [0, 1] after every step, and move by about ``lr`` in it. Terms with the weight 0 are not
    evaluated. Adam divides every gradient by its own size: a loss and a thousand times that loss lead to the same
    picture. ``ValueError`` without a positive weight, for a negative one, for an unknown term, or without steps.
    """
    names = tuple(name for name, weight in weights.items() if weight != 0)
    if not names or min(weights.values()) < 0:
        raise ValueError(f"the weights must not be negative, and one must be positive; given: {dict(weights)}")
    if steps < 1:
        raise ValueError(f"steps is {steps}; give at least 1")
    mix = start_y.new_tensor([weights[name] for name in names])
    picture = start_y.detach().clone().requires_grad_()
    optimiser = torch.optim.Adam([picture], lr=lr)
    losses = []
    for _ in range(steps):
        loss = mix @ term_vector(picture, targets, vgg, names=names)
        (picture.grad,) = torch.autograd.grad(loss, picture)
        losses.append(loss.item())
        optimiser.step()
        with torch.no_grad():
            picture.clamp_(0, 1)
    with torch.no_grad():
        losses.append((mix @ term_vector(picture, targets, vgg, names=names)).item())
    return Descent(picture.detach(), tuple(losses))


def pixel_gradients(
    fused_y: Tensor, targets: Targets, vgg: VGG16 | None = None, *, names: Sequence[str] = TERM_NAMES
) -> Tensor:
    """Differentiate terms of Table 1 with respect to the pixels of a picture, ``(B, 1, H, W)``.

    Gives ``(len(names), B, 1, H, W)``; each points to where its term grows fastest.
    """
    picture = fused_y.detach().clone().requires_grad_()
    terms = term_vector(picture, targets, vgg, names=names)
    slopes = [torch.autograd.grad(term, picture, retain_graph=True)[0] for term in terms]
    return torch.stack(slopes)


def cosines(vectors: Tensor) -> Tensor:
    """Give the cosines of the angles between gradients ``(T, ...)``, each flattened to one vector.

    ``(T, T)``, between -1 (they fight) and 1 (they agree). ``ValueError`` if one is zero, and so has no direction.
    """
    flat = vectors.flatten(start_dim=1)
    lengths = flat.norm(dim=1, keepdim=True)
    if not bool((lengths > 0).all()):
        zero = [place for place, length in enumerate(lengths.flatten().tolist()) if not length > 0]
        raise ValueError(f"the gradients at {zero} are zero and have no direction; leave those terms out")
    unit = flat / lengths
    return (unit @ unit.T).clamp(-1, 1)
