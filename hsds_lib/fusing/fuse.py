"""From two photographs to one: load a trained model, fuse pairs and folders of pairs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hsds_lib.fusing.tiling import DEFAULT_TILE, fuse_luma, fuse_piece, pieces
from hsds_lib.images.color import colourise, split_luma
from hsds_lib.images.io import IMAGE_SUFFIXES, ImageError, check_exposures, find_image, read_pair, write_rgb
from hsds_lib.network.folded import FoldedNet, fold
from hsds_lib.network.fusion_net import FusionNet, derive
from hsds_lib.network.genotype import Genotype
from hsds_lib.runtime import pick_device

MODELS = Path(__file__).parents[1] / "models"
"""The models that ship; each is a folder with weights, genotype, loss weights and card."""
SHIPPED = {
    "default": "searched and trained with losses of the pair; what `hsds fuse` uses",
    "paper": "searched and trained with the losses of the paper alone",
    "released": "the structure that the paper's authors published, trained like the default",
}
"""Their names, and what each of them is; sizes, data and scores are in their cards."""

__all__ = [
    "DEFAULT_TILE",
    "MODELS",
    "SHIPPED",
    "ModelError",
    "SceneReport",
    "fuse",
    "fuse_files",
    "fuse_folder",
    "fuse_luma",
    "load_model",
    "model_file",
    "scene_folders",
]


class ModelError(ValueError):
    """There is no usable model at the place that was named."""


def load_model(source: str | Path = "default", *, device: str = "auto") -> FusionNet:
    """Load a trained network.

    Args:
        source: one of ``SHIPPED``, a run folder, or a ``.safetensors`` file.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Returns:
        The network in evaluation mode.

    Raises:
        ModelError: no trained weights there, or not a file this library wrote. An untrained network is never
            returned.
        ValueError: the device is not present.

    Example:
        >>> network = load_model("default", device="cpu")
        >>> network.training, network(torch.rand(1, 2, 5, 7)).shape
        (False, torch.Size([1, 1, 5, 7]))
        >>> load_model("no-run")
        Traceback (most recent call last):
        hsds_lib.fusing.fuse.ModelError: no trained model at no-run; give a run folder after `hsds train`, ...
    """
    path = model_file(source)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ModelError(f"{path} is not a readable safetensors file ({error}); copy or train it again") from None
    if not {"network", "genotype"} & set(metadata):
        raise ModelError(f"{path} does not say which genotype it belongs to; use a file that `hsds train` wrote")
    try:
        described = _described(metadata)
        genotype = Genotype.model_validate(described["genotype"])
        network = derive(genotype, separate_statistics=described["separate_statistics"])
        network.load_state_dict(tensors)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ModelError(f"{path} holds weights and a genotype that do not fit; copy or train it again") from error
    return network.to(pick_device(device)).eval()


def _described(metadata: dict[str, str]) -> dict[str, Any]:
    """Genotype and kind of statistics: one entry now, one for each in files of an earlier version."""
    if "network" in metadata:
        return json.loads(metadata["network"])
    return {name: json.loads(metadata[name]) for name in ("genotype", "separate_statistics")}


def model_file(source: str | Path) -> Path:
    """Find the weights of a trained network.

    Args:
        source: one of ``SHIPPED``, a run folder, or a ``.safetensors`` file.

    Returns:
        An existing file.

    Raises:
        ModelError: there is none.

    Example:
        >>> model_file("default").name
        'model.safetensors'
    """
    path = MODELS / source if str(source) in SHIPPED else Path(source)
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        raise ModelError(f"no trained model at {path}; give a run folder after `hsds train`, or a .safetensors file")
    return path


@torch.no_grad()
def fuse(network: FusionNet | FoldedNet, under: Tensor, over: Tensor, *, tile: int = DEFAULT_TILE) -> Tensor:
    """Fuse two exposures into one picture.

    The network fuses the luma; the colour is the saturation-weighted mean of the two. Everything is done piece by
    piece, so that beside the three pictures only one piece is in memory.

    Args:
        network: a trained network in evaluation mode; it is folded here unless it is already, which takes some
            milliseconds.
        under: the darker exposure, RGB ``(3, H, W)`` in [0, 1].
        over: the brighter exposure, same shape.
        tile: longest side of the pieces a large picture is computed in, pixels.

    Returns:
        RGB ``(3, H, W)`` in [0, 1], on the CPU, in the type of the exposures. (The network computes in its own.)

    Raises:
        ImageError: the two are not exposures of one size, or not finite.
        ValueError: the tile is smaller than 2 pixels, or the network is in training mode.

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


def fuse_files(network: FusionNet | FoldedNet, under: str | Path, over: str | Path, out: str | Path) -> bool:
    """Fuse two image files into a third of the same size; see :func:`hsds_lib.images.io.read_rgb` for formats.

    Args:
        network: a trained network in evaluation mode.
        under: file of the darker exposure.
        over: file of the brighter exposure.
        out: file to write; the suffix decides on the format.

    Returns:
        Whether the two were swapped, because the file given as ``under`` is the brighter one.

    Raises:
        ImageError: a file cannot be read or written, the sizes differ, or one file was given twice.

    Example:
        >>> import tempfile
        >>> from hsds_lib.images.batches import load_scenes
        >>> scene = load_scenes("embedded", "test", limit=1)[0]
        >>> network = load_model("default", device="cpu")
        >>> with tempfile.TemporaryDirectory() as name:
        ...     under, over, out = (Path(name) / file for file in ("dark.png", "bright.png", "fused.png"))
        ...     write_rgb(under, scene.under[:, :64, :64])
        ...     write_rgb(over, scene.over[:, :64, :64])
        ...     fuse_files(network, under, over, out), out.is_file()
        (False, True)
    """
    if Path(out).suffix.lower() not in IMAGE_SUFFIXES:
        raise ImageError(f"cannot write '{out}': its name must end in one of {', '.join(IMAGE_SUFFIXES)}")
    if Path(under).resolve() == Path(over).resolve():
        raise ImageError(f"'{under}' was given for both exposures; give two different photographs of one scene")
    darker, brighter = read_pair(under, over)
    # Luma is linear, so its mean is the luma of the mean colour, which needs no second picture in memory.
    darker_y, brighter_y = (split_luma(image.mean(dim=(1, 2), keepdim=True)[None])[0] for image in (darker, brighter))
    swapped = bool(darker_y > brighter_y)
    if swapped:
        darker, brighter = brighter, darker
    write_rgb(out, fuse(network, darker, brighter))
    return swapped


@dataclass(frozen=True)
class SceneReport:
    """What became of one scene of a folder: ``problem`` is None when it was fused.

    Example:
        >>> reports = [SceneReport("hall"), SceneReport("roof", problem="no image named over.* in roof")]
        >>> [report.name for report in reports if report.problem]
        ['roof']
    """

    name: str
    problem: str | None = None
    swapped: bool = False


def scene_folders(pairs: str | Path) -> list[Path]:
    """List the scene folders of a folder.

    Args:
        pairs: a folder with one folder for each scene.

    Returns:
        At least one folder, sorted.

    Raises:
        ImageError: there is none, or ``pairs`` is no folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as pairs:
        ...     for scene in ("roof", "hall"):
        ...         (Path(pairs) / scene).mkdir()
        ...     [scene.name for scene in scene_folders(pairs)]
        ['hall', 'roof']
    """
    root = Path(pairs)
    scenes = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    if not scenes:
        raise ImageError(f"'{pairs}' holds no scenes; expected folders <scene>/ with under.* and over.* in each")
    return scenes


def fuse_folder(network: FusionNet | FoldedNet, pairs: str | Path, out: str | Path) -> Iterator[SceneReport]:
    """Fuse ``pairs/<scene>/{under,over}.*`` into ``out/<scene>.png``, one report per scene.

    A scene that cannot be read is reported and the others go on.

    Args:
        network: a trained network in evaluation mode.
        pairs: a folder with one folder for each scene.
        out: folder for the pictures.

    Yields:
        What became of a scene, as soon as it is known.

    Raises:
        ImageError: when ``pairs`` is not a folder with scene folders in it.

    Example:
        >>> import tempfile
        >>> from hsds_lib.images.batches import load_scenes
        >>> scene = load_scenes("embedded", "test", limit=1)[0]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_rgb(f"{folder}/pairs/hall/under.png", scene.under[:, :64, :64])
        ...     write_rgb(f"{folder}/pairs/hall/over.png", scene.over[:, :64, :64])
        ...     write_rgb(f"{folder}/pairs/roof/under.png", scene.under[:, :64, :64])  # and no over.*
        ...     reports = list(fuse_folder(load_model("default", device="cpu"), f"{folder}/pairs", f"{folder}/fused"))
        ...     [file.name for file in Path(folder, "fused").iterdir()]
        ['hall.png']
        >>> [(report.name, report.problem is None) for report in reports]
        [('hall', True), ('roof', False)]
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
