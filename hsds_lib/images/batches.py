"""Scenes and natural images by split, and batches of paired crops for search and training."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from hsds_lib.images.color import fuse_chroma, split_luma
from hsds_lib.images.datasets import (
    DATA_SETS,
    DATA_VARIABLE,
    NAMED_SETS,
    DataError,
    ImageError,
    Split,
    check_split,
    data_folder,
    is_in_memory,
    list_images,
    parts_of,
)
from hsds_lib.images.exposure import Camera, embedded_photographs, simulate_triple
from hsds_lib.images.folders import SceneFiles, list_scenes
from hsds_lib.images.io import read_pair, read_rgb

LEAST_SCALE = 0.4  # of the pixels' side; a crop of a scene reduced to this shows more of it
GAMMA = 0.3  # half width of the range of log gamma, for each exposure alone
GAIN_OVER = (-0.2, 0.4)  # log gain: the bright exposure is brightened and clipped more often than darkened
GAIN_UNDER = (-0.5, 0.2)
EXPOSED_ANEW = 0.6  # share of the pairs

# Split by photograph: no view of a photograph of one split is in another. Those that notebooks show, of the
# validation and the test split, are CC0 or in the public domain.
EMBEDDED_SPLIT: dict[Split, tuple[str, ...]] = {
    "train": ("motorcycle", "coffee", "rocket"),
    "val": ("chelsea",),
    "test": ("astronaut",),
}
EMBEDDED_TRIPLES = 4  # illuminations per photograph
MAX_NATURALS = 64  # eagerly loaded


@dataclass(frozen=True)
class Scene:
    """Two exposures of one scene and, where there is one, the picture that fusion should give."""

    name: str
    under: Tensor  # RGB (3, H, W) in [0, 1]
    over: Tensor  # RGB (3, H, W) in [0, 1]
    ref: Tensor | None = None  # RGB (3, H, W) in [0, 1]
    ref_origin: str | None = None  # "file", "simulated" or the classical fusion it was made by


@dataclass(frozen=True)
class Batch:
    """Crops for one step; all four are RGB ``(B, 3, crop, crop)`` in [0, 1].

    Example:
        >>> dark, bright = torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 8, 8)
        >>> batch = Batch(under=dark, over=bright, ref=(dark + bright) / 2, natural=bright)
        >>> batch.over_under_y.mean(dim=(0, 2, 3))  # the network's input: over before under
        tensor([1., 0.])
    """

    under: Tensor
    over: Tensor
    ref: Tensor
    natural: Tensor

    def to(self, device: torch.device | str) -> Batch:
        """Give the same batch on another device."""
        return Batch(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})

    def first(self, count: int) -> Batch:
        """Give the batch of the first ``count`` items."""
        return Batch(**{field.name: getattr(self, field.name)[:count] for field in fields(self)})

    @cached_property
    def over_under_y(self) -> Tensor:
        """The network's input ``(B, 2, H, W)`` in [0, 1]: channel 0 is Y of over, channel 1 Y of under."""
        return torch.cat([split_luma(self.over)[0], split_luma(self.under)[0]], dim=1)

    @cached_property
    def chroma(self) -> Tensor:
        """The fused CbCr of the two exposures ``(B, 2, H, W)`` in [0, 1]."""
        return fuse_chroma(split_luma(self.under)[1], split_luma(self.over)[1])


def load_scenes(data: str | Path, split: Split, *, seed: int = 0, limit: int | None = None) -> list[Scene]:
    """Load the scenes of one split, in a fixed order: all of them, or the first ``limit``.

    ``data`` is one of ``DATA_SETS`` or a folder in a layout of :func:`hsds_lib.images.datasets.list_scenes`, and
    ``seed`` that of simulated exposures and of splits that are drawn. DataError if the data is missing, incomplete or
    damaged, or if the split is empty.

    Example:
        >>> [scene.name for scene in load_scenes("embedded", "train", limit=3)]
        ['motorcycle-1', 'coffee-1', 'rocket-1']
    """
    check_split(split)
    if limit is not None and limit < 1:
        raise DataError(f"limit {limit} leaves no scene; give 1 or more, or None for all")
    parts = parts_of(data)
    loads: list[Callable[[], Scene]] = []
    for part in parts:
        if is_in_memory(part):
            # Photographs take turns, so that a limit still leaves different ones.
            views = [(photo, number) for number in range(EMBEDDED_TRIPLES) for photo in EMBEDDED_SPLIT[split]]
            loads += [partial(_simulated_scene, photo, number, seed) for photo, number in views]
        else:
            listed = list_scenes(data_folder(part), split, seed=seed)
            prefix = f"{part}/" if len(parts) > 1 else ""
            loads += [partial(_load_scene, f"{prefix}{scene.name}", scene) for scene in listed]
    return [load() for load in loads[:limit]]


def _simulated_scene(photo: str, number: int, seed: int) -> Scene:
    # One generator a scene: a scene does not depend on which others are loaded.
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}/{photo}/{number}".encode()))
    under, over, ref = simulate_triple(embedded_photographs()[photo], Camera(), generator)
    return Scene(f"{photo}-{number + 1}", under, over, ref, "simulated")


def _load_scene(name: str, paths: SceneFiles) -> Scene:
    try:
        under, over = read_pair(paths.under, paths.over)
        ref = None if paths.ref is None else read_rgb(paths.ref)
    except ImageError as error:
        raise DataError(f"scene '{name}': {error}") from error
    if ref is not None and ref.shape != under.shape:
        size, wanted = (f"{image.shape[2]} x {image.shape[1]}" for image in (ref, under))
        raise DataError(f"scene '{name}': {paths.ref} is {size} and its exposures are {wanted} pixels")
    return Scene(name, under, over, ref, None if ref is None else "file")


def load_naturals(
    data: str | Path, split: Split = "train", *, seed: int = 0, limit: int = MAX_NATURALS
) -> list[Tensor]:
    """Load natural images: ordinary, well-exposed photographs, unpaired, for the contrast Gamma_N.

    With data "embedded" they are the unmodified photographs of the split. Otherwise they are ``coco`` or ``natural``
    in ``HSDS_DATA``, the same for every split, and where neither is there, those photographs. These two names ask for
    one of them, and a missing one is a DataError. At most ``limit`` are chosen by ``seed``: RGB ``(3, H, W)`` in
    [0, 1] of various sizes.
    """
    check_split(split)
    if limit < 1:
        raise DataError(f"limit {limit} leaves no natural image; give 1 or more")
    folder = _natural_folder(str(data))
    if folder is None:
        photographs = embedded_photographs()
        return [photographs[name] for name in EMBEDDED_SPLIT[split]][:limit]
    paths = list_images(folder)
    if len(paths) > limit:
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(paths), generator=generator)[:limit].tolist()
        paths = [paths[index] for index in sorted(chosen)]
    try:
        return [read_rgb(path) for path in paths]
    except ImageError as error:
        raise DataError(str(error)) from error


def _natural_folder(data: str) -> Path | None:
    natural = [name for name in reversed(NAMED_SETS) if DATA_SETS[name].naturals]  # the largest first
    if data in natural:
        return data_folder(data)
    root = os.environ.get(DATA_VARIABLE)
    if is_in_memory(data) or not root:
        return None
    return next((Path(root) / name for name in natural if (Path(root) / name).is_dir()), None)


class PairBatches:
    """Batches of paired crops: each iteration is one shuffled pass over the scenes.

    Under, over and reference of an item are cut at the same place and flipped alike; natural images are
    drawn at random. The last, incomplete batch of a pass is left out, unless it is the only one: then it
    is filled up by going through the scenes again.

    Example:
        >>> scenes, naturals = load_scenes("embedded", "val", limit=3), load_naturals("embedded", "val")
        >>> batches = PairBatches(scenes, naturals, crop=32, batch_size=2, generator=torch.Generator().manual_seed(0))
        >>> [tuple(batch.ref.shape) for batch in batches]  # the third scene makes no batch of two
        [(2, 3, 32, 32)]
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        naturals: Sequence[Tensor],
        *,
        crop: int,
        batch_size: int,
        generator: torch.Generator,
        augment: bool = True,
        jitter: bool = False,
    ) -> None:
        """Check the scenes and keep them: at least one, each with a reference and ``crop`` pixels high and wide.

        Naturals that are smaller than the crop are not used. ``generator``, on the CPU, is the only source of
        randomness. ``augment`` draws place and flips, else the central crop is taken; ``jitter`` adds random scale,
        transposition and other exposures of the pair. DataError says what cannot be used.
        """
        if crop < 1 or batch_size < 1:
            raise DataError(f"crop is {crop} and batch_size {batch_size}; both must be 1 or more")
        if not scenes:
            raise DataError("there are no scenes to make batches of; load at least one")
        for scene in scenes:
            _require_usable(scene, crop)
        large = [natural for natural in naturals if min(natural.shape[-2:]) >= crop]
        if not large:
            raise DataError(
                f"none of the {len(naturals)} natural images is {crop} pixels high and wide; reduce the crop"
            )
        self._scenes, self._naturals = list(scenes), large
        self.crop, self.batch_size = crop, batch_size
        self._generator, self._augment, self._jitter = generator, augment, augment and jitter

    def __len__(self) -> int:
        """Count the batches of one pass: at least 1."""
        return max(1, len(self._scenes) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        """Give the batches of one pass."""
        order = self.order()
        for start in range(0, len(order), self.batch_size):
            yield self.batch(order[start : start + self.batch_size])

    def order(self) -> list[int]:
        """Shuffle the scenes for one pass: numbers of scenes, as many as its batches hold."""
        needed = len(self) * self.batch_size
        order: list[int] = []
        while len(order) < needed:
            order += torch.randperm(len(self._scenes), generator=self._generator).tolist()
        return order[:needed]

    def batch(self, indices: Sequence[int]) -> Batch:
        """Cut a batch out of the scenes of these numbers."""
        items = []
        for index in indices:
            scene = self._scenes[index]
            assert scene.ref is not None  # checked at construction
            under, over, ref = self._cut(scene.under, scene.over, scene.ref)
            if self._jitter:
                under, over = expose_anew(under, over, self._generator)
            drawn = int(torch.randint(len(self._naturals), (), generator=self._generator))
            items.append((under, over, ref, *self._cut(self._naturals[drawn])))
        under, over, ref, natural = (torch.stack(images) for images in zip(*items, strict=True))
        return Batch(under=under, over=over, ref=ref, natural=natural)

    def _cut(self, *images: Tensor) -> list[Tensor]:
        """Cut images of one size at one place, and flip them alike."""
        height, width = images[0].shape[-2:]
        side = draw_side(height, width, self.crop, self._generator) if self._jitter else self.crop
        room_y, room_x = height - side, width - side
        top, left, axes = room_y // 2, room_x // 2, list[int]()
        if self._augment:
            top = int(torch.randint(room_y + 1, (), generator=self._generator))
            left = int(torch.randint(room_x + 1, (), generator=self._generator))
            flips = torch.rand(2, generator=self._generator) < 0.5
            axes = [axis for axis, flip in zip((-2, -1), flips.tolist(), strict=True) if flip]
        cuts = [image[..., top : top + side, left : left + side] for image in images]
        if self._jitter and bool(torch.rand((), generator=self._generator) < 0.5):
            cuts = [cut.transpose(-2, -1) for cut in cuts]
        return [cut.flip(axes) for cut in resized(cuts, self.crop)]


def draw_side(height: int, width: int, crop: int, generator: torch.Generator) -> int:
    """Draw the side of a square of a scene that is to be reduced to ``crop`` pixels; log-uniform."""
    longest = min(min(height, width), crop / LEAST_SCALE)
    return min(height, width, round(crop * math.exp(_between(0, math.log(longest / crop), generator))))


def resized(images: list[Tensor], crop: int) -> list[Tensor]:
    """Reduce square images ``(C, S, S)`` to ``crop`` pixels by means of areas."""
    if images[0].shape[-1] == crop:
        return images
    return [functional.interpolate(image[None], size=(crop, crop), mode="area")[0] for image in images]


def expose_anew(under: Tensor, over: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Give both exposures another gamma and gain, in 60 % of the cases; the generator advances alike in all.

    They stay in [0, 1], and a reference made for the old exposures stays a natural picture of the scene.
    """
    chosen = _between(0, 1, generator) < EXPOSED_ANEW
    exposures = []
    for image, gains in ((under, GAIN_UNDER), (over, GAIN_OVER)):
        gamma, gain = math.exp(_between(-GAMMA, GAMMA, generator)), math.exp(_between(*gains, generator))
        exposures.append((gain * image**gamma).clamp(0, 1) if chosen else image)
    return exposures[0], exposures[1]


def _between(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _require_usable(scene: Scene, crop: int) -> None:
    shapes = [tuple(image.shape) for image in (scene.under, scene.over, scene.ref) if image is not None]
    if len(set(shapes)) > 1 or len(shapes[0]) != 3 or shapes[0][0] != 3:
        raise DataError(f"scene '{scene.name}' has images of shape {shapes}; all must be (3, H, W) of one size")
    height, width = scene.under.shape[-2:]
    if min(height, width) < crop:
        raise DataError(f"scene '{scene.name}' is {width} x {height} pixels, smaller than the crop of {crop}")
    if scene.ref is None:
        raise DataError(f"scene '{scene.name}' has no reference; make references first (attach_references)")
