"""Fuse pictures of any size in little memory: cut into pieces, each with as much around it as the network can see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from hsds_lib.network.folded import FoldedNet, fold
from hsds_lib.network.fusion_net import FusionNet, receptive_radius

DEFAULT_TILE = 1024
"""Pixels; larger pictures are fused tile by tile. Margins are computed twice: with the model that ships 41 % more
pixels than there are at 512, 20 % at 1024. Larger tiles take more memory, and were no faster."""

Area = tuple[slice, slice]
"""Rows and columns, pixels."""


@dataclass(frozen=True)
class Piece:
    """A part of a picture (``inner``), and what the network must see to compute it: the same with a margin (``seen``).

    The parts of all pieces cover the picture once; margins are cut off at its edges.
    """

    inner: Area
    seen: Area

    @property
    def within(self) -> Area:
        """Where the part lies in what is seen."""
        (rows, columns), (upper, left) = self.inner, (area.start for area in self.seen)
        return slice(rows.start - upper, rows.stop - upper), slice(columns.start - left, columns.stop - left)


def pieces(network: FusionNet | FoldedNet, height: int, width: int, tile: int) -> Iterator[Piece]:
    """Cut a picture into pieces of about equal size, row by row, none longer than ``tile`` without its margin.

    The network decides on the margin. ValueError if the tile is smaller than 2 pixels.

    Example:
        >>> from hsds_lib.network.model_file import load_model
        >>> network = load_model("default", device="cpu")
        >>> [piece.inner[1] for piece in pieces(network, 20, 1000, tile=400)]
        [slice(0, 334, None), slice(334, 668, None), slice(668, 1000, None)]
    """
    if tile < 2:
        raise ValueError(f"a tile of {tile} pixels was given; give at least 2, since the network halves its pictures")
    # Even offsets: pooling joins pixels in pairs, and a piece must form the same pairs as the whole.
    margin = receptive_radius(network) + receptive_radius(network) % 2
    for (rows, seen_rows), (columns, seen_columns) in product(_cut(height, tile, margin), _cut(width, tile, margin)):
        yield Piece(inner=(rows, columns), seen=(seen_rows, seen_columns))


def fuse_piece(network: FoldedNet, over_under: Tensor, piece: Piece) -> Tensor:
    """Fuse the luma ``(B, 2, H, W)`` that a piece sees (over before under), and cut away its margin."""
    rows, columns = over_under.shape[-2:]
    # Even sizes: halving and enlarging an odd one stretches the picture, by another amount in every piece. Only at
    # the lower and right edge of a picture is anything odd.
    even = functional.pad(over_under, (0, columns % 2, 0, rows % 2), mode="replicate")
    return network(even)[..., *piece.within]


@torch.no_grad()
def fuse_luma(network: FusionNet | FoldedNet, under_y: Tensor, over_y: Tensor, *, tile: int = DEFAULT_TILE) -> Tensor:
    """Fuse luma ``(B, 1, H, W)`` in [0, 1] to ``(B, 1, H, W)`` in (-1, 1), not yet clamped.

    Pictures larger than a tile are done piece by piece with the same result: each with a margin as wide as the network
    can see, so that no seam can arise; memory grows with the square of the tile. The network is in evaluation mode, on
    the device and in the precision of the images; it is folded here unless it is already. ValueError for other shapes,
    no pixels, a tile below 2 pixels, or a network in training mode (its statistics would differ from tile to tile).
    """
    if under_y.shape != over_y.shape or under_y.ndim != 4 or under_y.shape[1] != 1 or 0 in under_y.shape:
        raise ValueError(
            f"under_y {tuple(under_y.shape)} and over_y {tuple(over_y.shape)} must both be (B, 1, H, W) of one size"
        )
    folded = network if isinstance(network, FoldedNet) else fold(network)
    fused = torch.empty_like(over_y, memory_format=torch.contiguous_format)
    height, width = over_y.shape[-2:]
    for piece in pieces(folded, height, width, tile):
        pair = torch.cat([over_y[..., *piece.seen], under_y[..., *piece.seen]], dim=1)
        fused[..., *piece.inner] = fuse_piece(folded, pair, piece)
    return fused


def _cut(length: int, tile: int, margin: int) -> Iterator[tuple[slice, slice]]:
    """Cut one axis into parts of equal, even lengths; yields each without and with its margin."""
    longest = tile - tile % 2
    count = -(-length // longest)
    step = -(-length // count)
    step += step % 2
    for start in range(0, length, step):
        stop = min(start + step, length)
        yield slice(start, stop), slice(max(0, start - margin), min(stop + margin, length))
