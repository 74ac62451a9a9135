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
    """A picture that was optimised for a loss.

    Attributes:
        picture: luminance, ``(B, 1, H, W)`` in [0, 1], without a gradient.
        losses: the loss before every step, and at the end; one more than there were steps.

    Example:
        >>> Descent(torch.zeros(1, 1, 16, 16), (0.5, 0.1)).fall
        0.4
    """

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
    """Optimise the pixels of a picture for a weighted sum of the terms of Table 1, by Adam.

    The pixels are clipped to [0, 1] after every step, so that the result is a picture. Terms with the weight 0 are
    not evaluated. Adam divides every gradient by its own size: a loss and a thousand times that loss lead to the
    same picture, but two losses of one sum are not made comparable.

    Args:
        start_y: luminance to start from, ``(B, 1, H, W)`` in [0, 1].
        targets: what the terms compare with, prepared for the same batch.
        weights: term to its weight, at least one of them positive.
        vgg: feature network; not needed without perceptual terms.
        steps: number of Adam steps, at least 1.
        lr: how far a pixel moves in one step, about.

    Returns:
        The last picture and the losses on the way.

    Raises:
        ValueError: without a positive weight, for a negative one, for an unknown term, or without steps.

    Example:
        >>> from hsds_lib.images.batches import Batch
        >>> from hsds_lib.losses.terms import prepare_targets
        >>> batch = Batch(*(torch.full((1, 3, 16, 16), level) for level in (0.2, 0.8, 0.5, 0.5)))
        >>> targets = prepare_targets(batch, None, contrast=False, names=["mse_over"])
        >>> done = descend(targets.ref_y, targets, {"mse_over": 1.0})
        >>> round(done.losses[0], 2), round(done.losses[-1], 2)  # from 0.5 towards 0.8
        (0.09, 0.0)
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


def term_gradients(
    fused_y: Tensor, targets: Targets, vgg: VGG16 | None = None, *, names: Sequence[str] = TERM_NAMES
) -> Tensor:
    """Differentiate every term of Table 1 with respect to the pixels of a picture.

    Args:
        fused_y: luminance, ``(B, 1, H, W)``.
        targets: what the terms compare with, prepared for the same batch.
        vgg: feature network; not needed without perceptual terms.
        names: the terms.

    Returns:
        ``(len(names), B, 1, H, W)`` in the order of ``names``; each points to where its term grows fastest.

    Example:
        >>> from hsds_lib.images.batches import Batch
        >>> from hsds_lib.losses.terms import prepare_targets
        >>> batch = Batch(*(torch.full((1, 3, 16, 16), level) for level in (0.2, 0.8, 0.5, 0.5)))
        >>> targets = prepare_targets(batch, None, contrast=False, names=["l1_under", "l1_over"])
        >>> slopes = term_gradients(targets.ref_y, targets, names=["l1_under", "l1_over"])
        >>> slopes.shape, slopes.sum(dim=(1, 2, 3, 4))  # brighter: further from under, nearer to over
        (torch.Size([2, 1, 1, 16, 16]), tensor([ 1., -1.]))
    """
    picture = fused_y.detach().clone().requires_grad_()
    terms = term_vector(picture, targets, vgg, names=names)
    slopes = [torch.autograd.grad(term, picture, retain_graph=True)[0] for term in terms]
    return torch.stack(slopes)


def cosines(vectors: Tensor) -> Tensor:
    """Give the cosine of the angle between each two of several gradients.

    Args:
        vectors: ``(T, ...)``, each flattened to one vector; none may be zero.

    Returns:
        ``(T, T)``, between -1 (they fight) and 1 (they agree), 1 on the diagonal.

    Raises:
        ValueError: if one of them is zero, and so has no direction.

    Example:
        >>> cosines(torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]]))
        tensor([[ 1.,  0., -1.],
                [ 0.,  1.,  0.],
                [-1.,  0.,  1.]])
    """
    flat = vectors.flatten(start_dim=1)
    lengths = flat.norm(dim=1, keepdim=True)
    if not bool((lengths > 0).all()):
        zero = [place for place, length in enumerate(lengths.flatten().tolist()) if not length > 0]
        raise ValueError(f"the gradients at {zero} are zero and have no direction; leave those terms out")
    unit = flat / lengths
    return (unit @ unit.T).clamp(-1, 1)
