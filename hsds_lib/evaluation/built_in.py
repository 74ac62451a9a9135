"""Methods that need no folder of pictures: the library fuses them itself, once, and keeps what it made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from hsds_lib.evaluation.entries import BenchmarkError, Entry
from hsds_lib.evaluation.score_cache import code_hash, joined_hash
from hsds_lib.fusing.fuse import SHIPPED, fuse_files, load_model, model_file
from hsds_lib.images.classical import mertens
from hsds_lib.images.datasets import SceneFiles
from hsds_lib.images.io import check_exposures, read_pair, write_rgb
from hsds_lib.network.folded import FoldedNet, fold
from hsds_lib.runtime import file_hash, pick_device, read_json, write_json

_MODULES = (
    *("hsds_lib.evaluation.built_in", "hsds_lib.fusing.fuse", "hsds_lib.fusing.tiling", "hsds_lib.network.folded"),
    *("hsds_lib.network.fusion_net", "hsds_lib.network.operations", "hsds_lib.network.genotype"),
    *("hsds_lib.images.io", "hsds_lib.images.color", "hsds_lib.images.classical"),
)
_PACKAGES = ("torch", "numpy", "opencv-python-headless", "pillow")

Fuse = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class BuiltIn:
    """A method that the library fuses itself.

    Attributes:
        name: what it is called in the tables.
        model: a run folder, a ``.safetensors`` file or one of ``SHIPPED``; None for a classical method.

    Example:
        >>> BuiltIn("ours", model="runs/first").name
        'ours'
    """

    name: str
    model: str | None = None


def rounded_average(under: Tensor, over: Tensor) -> Tensor:
    """Average two exposures in whole 8-bit levels, halves rounded up: (under + over + 1) // 2.

    Args:
        under: RGB ``(3, H, W)`` in [0, 1], multiples of 1/255.
        over: the same shape.

    Returns:
        RGB ``(3, H, W)`` in [0, 1], multiples of 1/255.

    Raises:
        ImageError: the two are not exposures of one size, or not finite.

    Example:
        >>> import torch
        >>> levels = rounded_average(torch.full((3, 1, 1), 2 / 255), torch.full((3, 1, 1), 5 / 255)) * 255
        >>> levels.round().flatten()
        tensor([4., 4., 4.])
    """
    check_exposures(under, over)
    levels = [(image * 255).round().int() for image in (under, over)]
    return ((levels[0] + levels[1] + 1) // 2).to(under.dtype) / 255


CLASSICAL: dict[str, Fuse] = {"average": rounded_average, "mertens": mertens}
"""Fusions that need no training."""
NAMES = (*CLASSICAL, *SHIPPED)
"""What may be asked for by name: the classical fusions and the models that ship."""


def built_ins(names: Iterable[str], models: Iterable[tuple[str, str]] = ()) -> list[BuiltIn]:
    """Make methods of the names and models that were asked for.

    Args:
        names: some of ``NAMES``.
        models: names and run folders or files.

    Returns:
        The methods, in that order.

    Raises:
        BenchmarkError: for an unknown name, or one given twice.
        ModelError: there is no trained model at a place that was named.

    Example:
        >>> [method.model for method in built_ins(["mertens", "default"])]
        [None, 'default']
        >>> built_ins(["Mertens"])
        Traceback (most recent call last):
        hsds_lib.evaluation.entries.BenchmarkError: --builtin 'Mertens' is unknown; choose among average,
        mertens, default, paper, released
    """
    found = []
    for name in names:
        if name not in NAMES:
            raise BenchmarkError(f"--builtin '{name}' is unknown; choose among {', '.join(NAMES)}")
        found.append(BuiltIn(name, None if name in CLASSICAL else name))
    for name, source in models:
        model_file(source)  # asked for now, not after minutes
        found.append(BuiltIn(name, source))
    twice = next((method.name for method in found if [other.name for other in found].count(method.name) > 1), None)
    if twice is not None:
        raise BenchmarkError(f"'{twice}' was asked for twice; give each method a name of its own")
    return found


def entry_of(method: BuiltIn, out: Path) -> Entry:
    """Say where the pictures of a method go, and how they come about.

    Args:
        method: what the library fuses itself.
        out: the folder of results.

    Returns:
        The method as an entry, with its folder in ``out``.

    Example:
        >>> entry_of(BuiltIn("mertens"), Path("results")).origin
        'fused by this library (OpenCV MergeMertens, weights 1, 1, 0, BGR order)'
    """
    how = {"average": "(under + over + 1) // 2", "mertens": "OpenCV MergeMertens, weights 1, 1, 0, BGR order"}
    if method.model is None:
        detail = how[method.name]
    else:
        detail = f"model {method.model}, sha256 {file_hash(model_file(method.model))}"
    return Entry(method.name, out / "fused" / method.name, f"fused by this library ({detail})")


def fuse_scenes(
    method: BuiltIn, scenes: Iterable[SceneFiles], folder: Path, cache: Path, *, device: str = "auto"
) -> Iterator[str]:
    """Fuse scenes into ``folder/<scene>.png``; what is there already and made from the same is left as it is.

    Args:
        method: what to fuse with.
        scenes: the exposures.
        folder: for the pictures.
        cache: folder that remembers from what each picture was made.
        device: for models: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Yields:
        The name of each scene, as soon as its picture is there.

    Raises:
        ModelError: there is no trained model, or it cannot be used.
        ImageError: exposures cannot be read or do not fit together.

    Example:
        >>> import tempfile, torch
        >>> place = Path(tempfile.mkdtemp())
        >>> for role, level in (("under", 0.2), ("over", 0.8)):
        ...     write_rgb(place / f"{role}.png", torch.full((3, 8, 8), level))
        >>> scene = SceneFiles("hall", place / "under.png", place / "over.png", ref=None)
        >>> list(fuse_scenes(BuiltIn("average"), [scene], place / "fused", place / "cache"))
        ['hall']
        >>> [path.name for path in place.glob("fused/*")]
        ['hall.png']
    """
    weights = None if method.model is None else file_hash(model_file(method.model))
    kind = None if method.model is None else pick_device(device).type
    maker = joined_hash([code_hash(_MODULES, _PACKAGES), method.name if weights is None else weights, kind])
    write = _writer(method, device)
    for scene in scenes:
        target = folder / f"{scene.name}.png"
        note = cache / f"fused-{joined_hash([maker, file_hash(scene.under), file_hash(scene.over)])}.json"
        if not _is_made(target, note):
            write(scene, target)
            write_json(note, {"method": method.name, "scene": scene.name, "sha256": file_hash(target)})
        yield scene.name


def _writer(method: BuiltIn, device: str) -> Callable[[SceneFiles, Path], object]:
    """Give what fuses one scene; a network is loaded only when the first picture is wanted."""
    if method.model is None:
        fuse = CLASSICAL[method.name]
        return lambda scene, target: write_rgb(target, fuse(*read_pair(scene.under, scene.over)))
    source = method.model
    networks: list[FoldedNet] = []

    def write(scene: SceneFiles, target: Path) -> None:
        if not networks:
            networks.append(fold(load_model(source, device=device)))
        fuse_files(networks[0], scene.under, scene.over, target)

    return write


def _is_made(target: Path, note: Path) -> bool:
    try:
        return file_hash(target) == read_json(note)["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
