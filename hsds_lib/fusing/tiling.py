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
    """A part of a picture, and what the network must see to compute it.

    Attributes:
        inner: the part itself; those of all pieces cover the picture once.
        seen: the same with a margin, cut off at the edges of the picture.
        within: the part, counted from the corner of ``seen``.

    Example:
        >>> piece = Piece(inner=(slice(4, 8), slice(0, 4)), seen=(slice(2, 10), slice(0, 6)))
        >>> piece.within
        (slice(2, 6, None), slice(0, 4, None))
    """

    inner: Area
    seen: Area

    @property
    def within(self) -> Area:
        """Where the part lies in what is seen."""
        (rows, columns), (upper, left) = self.inner, (area.start for area in self.seen)
        return slice(rows.start - upper, rows.stop - upper), slice(columns.start - left, columns.stop - left)


def pieces(network: FusionNet | FoldedNet, height: int, width: int, tile: int) -> Iterator[Piece]:
    """Cut a picture into pieces of about equal size.

    Args:
        network: the network that is to fuse them; it decides on the margin.
        height: of the picture, pixels.
        width: of the picture, pixels.
        tile: longest side of a piece without its margin, pixels, at least 2.

    Yields:
        The pieces, row by row; a picture no larger than a tile is one piece.

    Raises:
        ValueError: the tile is too small.

    Example:
        >>> from hsds_lib.fusing.fuse import load_model
        >>> network = load_model("default", device="cpu")
        >>> [piece.inner[1] for piece in pieces(network, 20, 1000, tile=400)]
        [slice(0, 334, None), slice(334, 668, None), slice(668, 1000, None)]
        >>> margin = next(pieces(network, 20, 1000, tile=400)).seen[1].stop - 334
        >>> margin - receptive_radius(network) in {0, 1}  # an even number of pixels
        True
    """
    if tile < 2:
        raise ValueError(f"a tile of {tile} pixels was given; give at least 2, since the network halves its pictures")
    # Even offsets: pooling joins pixels in pairs, and a piece must form the same pairs as the whole.
    margin = receptive_radius(network) + receptive_radius(network) % 2
    for (rows, seen_rows), (columns, seen_columns) in product(_cut(height, tile, margin), _cut(width, tile, margin)):
        yield Piece(inner=(rows, columns), seen=(seen_rows, seen_columns))


def fuse_piece(network: FoldedNet, over_under: Tensor, piece: Piece) -> Tensor:
    """Fuse what a piece sees, and cut away its margin.

    Args:
        network: a folded network.
        over_under: luma of what is seen, ``(B, 2, H, W)``; channel 0 over-, channel 1 under-exposed.
        piece: the piece.

    Returns:
        Fused luma of the piece itself, ``(B, 1, h, w)`` in (-1, 1).

    Example:
        >>> from hsds_lib.fusing.fuse import load_model
        >>> network = fold(load_model("default", device="cpu"))
        >>> piece = Piece(inner=(slice(0, 20), slice(0, 7)), seen=(slice(0, 30), slice(0, 7)))
        >>> fuse_piece(network, torch.rand(1, 2, 30, 7), piece).shape
        torch.Size([1, 1, 20, 7])
    """
    rows, columns = over_under.shape[-2:]
    # Even sizes: halving and enlarging an odd one stretches the picture, by another amount in every piece. Only at
    # the lower and right edge of a picture is anything odd.
    even = functional.pad(over_under, (0, columns % 2, 0, rows % 2), mode="replicate")
    return network(even)[..., *piece.within]


@torch.no_grad()
def fuse_luma(network: FusionNet | FoldedNet, under_y: Tensor, over_y: Tensor, *, tile: int = DEFAULT_TILE) -> Tensor:
    """Fuse luma; pictures larger than a tile are done piece by piece with the same result.

    Every piece is computed with a margin as wide as the network can see, so no seam can arise.

    Args:
        network: a trained network in evaluation mode, on the device and in the precision of the images; it is
            folded here unless it is already.
        under_y: luma of the darker exposure, ``(B, 1, H, W)`` in [0, 1].
        over_y: luma of the brighter exposure, same shape.
        tile: longest side of the pieces, pixels, at least 2; memory grows with its square.

    Returns:
        Fused luma, ``(B, 1, H, W)`` in (-1, 1), not yet clamped.

    Raises:
        ValueError: the shapes differ or are not luma, there are no pixels, the tile is too small, or the
            network is in training mode (its statistics would follow the picture, and differ from tile to tile).

    Example:
        >>> from hsds_lib.fusing.fuse import load_model
        >>> network = load_model("default", device="cpu")
        >>> under_y, over_y = torch.rand(2, 1, 1, 61, 47, generator=torch.Generator().manual_seed(0))
        >>> whole, tiled = (fuse_luma(network, under_y, over_y, tile=tile) for tile in (512, 32))
        >>> whole.shape, bool((whole - tiled).abs().max() < 1e-4)
        (torch.Size([1, 1, 61, 47]), True)
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
