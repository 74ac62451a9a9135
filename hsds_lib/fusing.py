"""From two photographs to one: load a trained model, fuse pairs and folders of pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import functional

from hsds_lib.images.color import colourise, split_luma
from hsds_lib.images.io import IMAGE_SUFFIXES, ImageError, find_image, read_pair, write_rgb
from hsds_lib.network.fusion_net import FusionNet, derive, receptive_radius
from hsds_lib.network.genotype import Genotype
from hsds_lib.runtime import pick_device

MODELS = Path(__file__).parent / "models"
"""The models that ship; each is a folder with weights, genotype, loss weights and card."""

DEFAULT_TILE = 512  # pixels; larger pictures are fused tile by tile


class ModelError(ValueError):
    """There is no usable model at the place that was named."""


def load_model(source: str | Path = "default", *, device: str = "auto") -> FusionNet:
    """Load a trained network.

    Args:
        source: ``default`` (the model that ships), a run folder, or a ``.safetensors`` file.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Returns:
        The network in evaluation mode.

    Raises:
        ModelError: no trained weights there. An untrained network is never returned.
    """
    path = MODELS / "default" if str(source) == "default" else Path(source)
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        raise ModelError(f"no trained model at {path}; give a run folder after `hsds train`, or a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ModelError(f"{path} is not a readable safetensors file ({error}); copy or train it again") from None
    if "genotype" not in metadata:
        raise ModelError(f"{path} does not say which genotype it belongs to; use a file that `hsds train` wrote")
    separate = metadata.get("separate_statistics") == "true"
    network = derive(Genotype.model_validate_json(metadata["genotype"]), separate_statistics=separate)
    network.load_state_dict(tensors)
    return network.to(pick_device(device)).eval()


@torch.no_grad()
def fuse_luma(network: FusionNet, under_y: Tensor, over_y: Tensor, *, tile: int = DEFAULT_TILE) -> Tensor:
    """Fuse luma ``(1, 1, H, W)``; pictures larger than a tile are done piece by piece with the same result.

    Every piece is computed with a margin as wide as the network can see, so no seam can arise.
    """
    rows, columns = over_y.shape[-2:]
    # Even sizes: halving and enlarging an odd one stretches the picture, by another amount in every piece.
    pair = functional.pad(torch.cat([over_y, under_y], dim=1), (0, columns % 2, 0, rows % 2), mode="replicate")
    height, width = pair.shape[-2:]
    if max(height, width) <= tile:
        return network(pair)[..., :rows, :columns]
    # Even offsets: pooling joins pixels in pairs, and a piece must form the same pairs as the whole.
    margin = receptive_radius(network) + receptive_radius(network) % 2
    step = tile - tile % 2
    fused = torch.empty_like(pair[:, :1])
    for top in range(0, height, step):
        for left in range(0, width, step):
            upper, outer = max(0, top - margin), max(0, left - margin)
            piece = network(pair[..., upper : top + step + margin, outer : left + step + margin])
            bottom, right = min(top + step, height), min(left + step, width)
            fused[..., top:bottom, left:right] = piece[..., top - upper : bottom - upper, left - outer : right - outer]
    return fused[..., :rows, :columns]


def fuse(network: FusionNet, under: Tensor, over: Tensor, *, tile: int = DEFAULT_TILE) -> Tensor:
    """Fuse two exposures into one picture.

    The network fuses the luma; the colour is the saturation-weighted mean of the two.

    Args:
        network: a trained network in evaluation mode.
        under: the darker exposure, RGB ``(3, H, W)`` in [0, 1].
        over: the brighter exposure, same shape.
        tile: side of the pieces a large picture is computed in, pixels.

    Returns:
        RGB ``(3, H, W)`` in [0, 1], on the CPU.
    """
    if under.shape != over.shape or under.ndim != 3 or under.shape[0] != 3:
        raise ImageError(f"under {tuple(under.shape)} and over {tuple(over.shape)} must both be (3, H, W) of one size")
    device = next(network.parameters()).device
    under_y, over_y = (split_luma(image[None])[0].to(device) for image in (under, over))
    fused_y = fuse_luma(network, under_y, over_y, tile=tile).cpu()
    return colourise(fused_y, under[None], over[None])[0]


def fuse_files(network: FusionNet, under: str | Path, over: str | Path, out: str | Path) -> bool:
    """Fuse two image files into a third of the same size; see :func:`hsds_lib.images.io.read_rgb` for formats.

    Returns:
        Whether the two were swapped, because the file given as ``under`` is the brighter one.
    """
    if Path(out).suffix.lower() not in IMAGE_SUFFIXES:
        raise ImageError(f"cannot write '{out}': its name must end in one of {', '.join(IMAGE_SUFFIXES)}")
    if Path(under).resolve() == Path(over).resolve():
        raise ImageError(f"'{under}' was given for both exposures; give two different photographs of one scene")
    darker, brighter = read_pair(under, over)
    swapped = bool(split_luma(darker[None])[0].mean() > split_luma(brighter[None])[0].mean())
    if swapped:
        darker, brighter = brighter, darker
    write_rgb(out, fuse(network, darker, brighter))
    return swapped


@dataclass(frozen=True)
class SceneReport:
    """What became of one scene of a folder: ``problem`` is None when it was fused."""

    name: str
    problem: str | None = None
    swapped: bool = False


def scene_folders(pairs: str | Path) -> list[Path]:
    """List the scene folders in ``pairs``, sorted; none at all is an ``ImageError``."""
    root = Path(pairs)
    scenes = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    if not scenes:
        raise ImageError(f"'{pairs}' holds no scenes; expected folders <scene>/ with under.* and over.* in each")
    return scenes


def fuse_folder(network: FusionNet, pairs: str | Path, out: str | Path) -> Iterator[SceneReport]:
    """Fuse ``pairs/<scene>/{under,over}.*`` into ``out/<scene>.png``, one report per scene.

    A scene that cannot be read is reported and the others go on.

    Raises:
        ImageError: when ``pairs`` is not a folder with scene folders in it.
    """
    for scene in scene_folders(pairs):
        try:
            under, over = _exposure(scene, "under"), _exposure(scene, "over")
            swapped = fuse_files(network, under, over, Path(out) / f"{scene.name}.png")
        except (ImageError, OSError) as error:
            yield SceneReport(scene.name, problem=str(error))
        else:
            yield SceneReport(scene.name, swapped=swapped)


def _exposure(scene: Path, role: str) -> Path:
    path = find_image(scene, role)
    if path is None:
        raise ImageError(f"no image named {role}.* in {scene}")
    return path
