"""How strongly each loss term pulls at a picture: which terms are alive."""

from __future__ import annotations

import torch
from torch import Tensor

from hsds_lib.losses.features import VGG16
from hsds_lib.losses.terms import Targets, term_vector


def term_gradient_norms(fused: Tensor, targets: Targets, vgg: VGG16, names: tuple[str, ...]) -> dict[str, float]:
    """Norm of the gradient of every loss term with respect to the fused image: which terms are alive.

    Args:
        fused: fused luma, ``(B, 1, H, W)``.
        targets: what the terms compare with.
        vgg: the feature network.
        names: the terms, in order.

    Returns:
        Norm by name, in units of the term per unit of luma.

    Example:
        >>> from hsds_lib.images.pairs import Batch
        >>> from hsds_lib.losses.features import load_vgg16
        >>> from hsds_lib.losses.terms import prepare_targets
        >>> vgg, rng = load_vgg16("random"), torch.Generator().manual_seed(0)
        >>> batch = Batch(*(torch.rand(1, 3, 24, 24, generator=rng) for _ in range(4)))
        >>> targets = prepare_targets(batch, vgg, contrast=False)
        >>> norms = term_gradient_norms(targets.under_y, targets, vgg, ("l1_ref", "l1_under"))
        >>> norms["l1_ref"] > 0, norms["l1_under"]  # the slope of |x| at 0 is taken as 0
        (True, 0.0)
    """
    fused = fused.detach().requires_grad_()
    terms = term_vector(fused, targets, vgg, names=names)
    norms = (torch.autograd.grad(term, fused, retain_graph=True)[0].norm() for term in terms)
    return {name: float(norm) for name, norm in zip(names, norms, strict=True)}
