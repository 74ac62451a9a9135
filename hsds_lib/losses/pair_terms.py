"""The terms that the extended loss space adds to Table 1: measures of the pair as a whole. They are ours.

Table 1 compares the fused image with one image at a time; the evaluation asks what became of both exposures.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from torch import Tensor

from hsds_lib.losses.fidelity import Level, prepare_vif, qabf_pair, vif_pair
from hsds_lib.losses.mef_ssim import PairScale, prepare_pair, score_pair

PAIR_TERMS = ("mefssim_pair", "mefssim_fine", "vif_pair", "qabf_pair")
"""1 - MEF-SSIM of the pair at three scales and at full resolution alone, 1 - half of VIF, 1 - Q^AB/F."""


@dataclass(frozen=True)
class PairTargets:
    """What the terms of the pair need that does not depend on the fused image.

    Attributes:
        sources: luminance of under and over, ``(B, 2, H, W)``.
        scales: desired structure, for MEF-SSIM; empty where it is not used.
        levels: moments of the sources, for VIF; empty where it is not used.

    Example:
        >>> import torch
        >>> pair = PairTargets.of(torch.rand(1, 2, 48, 48), {"vif_pair"})
        >>> len(pair.scales), len(pair.levels)
        (0, 4)
    """

    sources: Tensor
    scales: tuple[PairScale, ...] = ()
    levels: tuple[Level, ...] = ()

    @classmethod
    def of(cls, sources: Tensor, names: Collection[str]) -> PairTargets | None:
        """Prepare the pair for those of ``names`` that are terms of it; None if none is."""
        wanted = set(names).intersection(PAIR_TERMS)
        if not wanted:
            return None
        count = 3 if "mefssim_pair" in wanted else int("mefssim_fine" in wanted)
        scales = prepare_pair(sources[:, 0:1], sources[:, 1:2], scales=count) if count else ()
        return cls(sources, scales, prepare_vif(sources) if "vif_pair" in wanted else ())


def pair_values(fused_y: Tensor, pair: PairTargets, names: Collection[str]) -> dict[str, Tensor]:
    """Evaluate the terms of the pair that are among ``names``.

    Args:
        fused_y: luminance of the fused image, ``(B, 1, H, W)``.
        pair: prepared for these names.
        names: any names; those of other terms are passed over.

    Returns:
        ``(B,)`` values by name, smaller for a better image.

    Example:
        >>> import torch
        >>> image = torch.rand(1, 1, 48, 48, generator=torch.Generator().manual_seed(0))
        >>> pair = PairTargets.of(torch.cat([image, image], dim=1), PAIR_TERMS)
        >>> {name: abs(round(float(value), 2)) for name, value in pair_values(image, pair, PAIR_TERMS).items()}
        {'mefssim_pair': 0.0, 'mefssim_fine': 0.0, 'vif_pair': 0.0, 'qabf_pair': 0.03}
    """
    measures = {
        "mefssim_pair": lambda: score_pair(fused_y, pair.scales),
        "mefssim_fine": lambda: score_pair(fused_y, pair.scales[:1]),
        "vif_pair": lambda: vif_pair(fused_y, pair.levels),
        "qabf_pair": lambda: qabf_pair(fused_y, pair.sources),
    }
    return {name: 1 - measure() for name, measure in measures.items() if name in names}
