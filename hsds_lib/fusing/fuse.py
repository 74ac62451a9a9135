"""From two photographs to one: fuse pairs and folders of pairs with a trained model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hsds_lib.fusing.tiling import DEFAULT_TILE, fuse_piece, pieces
from hsds_lib.images.color import colourise, split_luma
from hsds_lib.images.datasets import ImageError, require_image
from hsds_lib.images.io import WRITTEN_SUFFIXES, check_exposures, read_photos, shared_facts, write_rgb
from hsds_lib.network.folded import FoldedNet, fold
from hsds_lib.network.fusion_net import FusionNet
from hsds_lib.network.model_file import MODELS as MODELS
from hsds_lib.network.model_file import SHIPPED as SHIPPED
from hsds_lib.network.model_file import ModelError as ModelError
from hsds_lib.network.model_file import load_model as load_model
from hsds_lib.network.model_file import model_file as model_file


@torch.no_grad()
def fuse(network: FusionNet | FoldedNet, under: Tensor, over: Tensor, *, tile: int = DEFAULT_TILE) -> Tensor:
    """Fuse two exposures, RGB ``(3, H, W)`` in [0, 1], into one picture of their type, on the CPU.

    The network, in evaluation mode, fuses the luma, in its own type; it is folded here unless it is already, which
    takes milliseconds. The colour is the saturation-weighted mean of the two. All is done in pieces of at most ``tile``
    pixels, so that beside the three pictures only one piece is in memory. ImageError if the two are not exposures of
    one size, or not finite; ValueError for a tile below 2 pixels or a network in training mode.

    Example:
        >>> from hsds_lib.images.batches import load_scenes
        >>> scene = load_scenes("embedded", "test", limit=1)[0]
        >>> fused = fuse(load_model("default", device="cpu"), scene.under, scene.over)
        >>> errors = [(image - scene.ref).abs().mean() for image in (fused, scene.under, scene.over)]
        >>> fused.shape, bool(errors[0] < min(errors[1:]))  # nearer to the reference than either exposure
        (torch.Size([3, 256, 256]), True)
    """
    check_exposures(under, over)
    under, over = under.cpu(), over.cpu()
    folded = network if isinstance(network, FoldedNet) else fold(network)
    weight = next(folded.parameters())
    fused = torch.empty(under.shape, dtype=torch.promote_types(under.dtype, over.dtype))
    for piece in pieces(folded, under.shape[1], under.shape[2], tile):
        seen = (image[None, :, *piece.seen] for image in (over, under))
        pair = torch.cat([split_luma(image)[0].to(weight) for image in seen], dim=1)
        fused_y = fuse_piece(folded, pair, piece).cpu().to(under.dtype)
        inner = (image[None, :, *piece.inner] for image in (under, over))
        fused[:, *piece.inner] = colourise(fused_y, *inner)[0]
    return fused


def fuse_files(
    network: FusionNet | FoldedNet,
    under: str | Path,
    over: str | Path,
    out: str | Path,
    *,
    say: Callable[[str], object] = lambda note: None,
) -> bool:
    """Fuse two image files into a third of the same size, whose suffix decides on its format; see ``read_photos``.

    What is given back is whether the two were swapped, because the file given as ``under`` is the brighter one. The
    result takes over EXIF (of the darker one), resolution, colour profile and 16 bits; ``say`` is called with what the
    reader should know of the files. ImageError if a file cannot be read or written, the sizes differ, or one file was
    given twice.
    """
    if Path(out).suffix.lower() not in WRITTEN_SUFFIXES:
        raise ImageError(f"cannot write '{out}': its name must end in one of {', '.join(WRITTEN_SUFFIXES)}")
    if os.path.realpath(under) == os.path.realpath(over):
        raise ImageError(f"'{under}' was given for both exposures; give two different photographs of one scene")
    photos = read_photos((under, over))
    for note in (note for photo in photos for note in photo.notes):
        say(note)
    # Luma is linear, so its mean is the luma of the mean colour, which needs no second picture in memory.
    means = [split_luma(photo.pixels.mean(dim=(1, 2), keepdim=True)[None])[0] for photo in photos]
    swapped = bool(means[0] > means[1])
    darker, brighter = reversed(photos) if swapped else photos
    write_rgb(out, fuse(network, darker.pixels, brighter.pixels), shared_facts((darker, brighter)))
    return swapped


@dataclass(frozen=True)
class SceneReport:
    """What became of one scene of a folder: ``problem`` is None when it was fused."""

    name: str
    problem: str | None = None
    swapped: bool = False
    notes: tuple[str, ...] = ()


def scene_folders(pairs: str | Path) -> list[Path]:
    """List the scene folders of a folder, sorted; ImageError if there are none."""
    root = Path(pairs)
    scenes = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    if not scenes:
        raise ImageError(f"'{pairs}' holds no scenes; expected folders <scene>/ with under.* and over.* in each")
    return scenes


def fuse_folder(network: FusionNet | FoldedNet, pairs: str | Path, out: str | Path) -> Iterator[SceneReport]:
    """Fuse ``pairs/<scene>/{under,over}.*`` into ``out/<scene>.png``, one report per scene as soon as it is known.

    A scene that cannot be read is reported and the others go on.
    """
    for scene in scene_folders(pairs):
        notes: list[str] = []
        try:
            under, over = require_image(scene, "under"), require_image(scene, "over")
            swapped = fuse_files(network, under, over, Path(out) / f"{scene.name}.png", say=notes.append)
        except (ImageError, OSError) as error:
            yield SceneReport(scene.name, problem=str(error))
        else:
            yield SceneReport(scene.name, swapped=swapped, notes=tuple(notes))
