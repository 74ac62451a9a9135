"""A whole search, from a data set's name to the files it leaves behind."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch

from hsds_lib.config import SearchConfig
from hsds_lib.images.pairs import Batch, PairBatches, Scene, load_naturals
from hsds_lib.losses.features import load_vgg16
from hsds_lib.losses.space import SPACES, LossWeights
from hsds_lib.losses.terms import prepare_targets
from hsds_lib.network.genotype import Genotype
from hsds_lib.network.operations import batch_statistics
from hsds_lib.runtime import Progress, fingerprint, pick_device, provenance, write_json
from hsds_lib.scenes import endless, halves, referenced_scenes
from hsds_lib.search.dual import CONTRAST_NAMES, DualSearch, term_gradient_norms


@dataclass(frozen=True)
class SearchRun:
    """What a finished search hands on.

    Attributes:
        search: its last state, with supernet, logits and history.
        genotype: the operations found.
        loss_weights: the loss found.
        train_scenes: those omega was trained on.
        val_scenes: those alpha and beta were searched on.

    Example:
        >>> from hsds_lib.config import preset
        >>> tiny = preset("tiny").search.changed(width=0.0625, epochs=1, steps_per_epoch=1, crop=24, features="random")
        >>> run = run_search(tiny, device="cpu", show=False)
        >>> len(run.genotype.nodes), len(run.loss_weights.mix), len(run.search.history)
        (15, 19, 1)
        >>> {scene.name for scene in run.train_scenes} & {scene.name for scene in run.val_scenes}
        set()
    """

    search: DualSearch
    genotype: Genotype
    loss_weights: LossWeights
    train_scenes: list[Scene]
    val_scenes: list[Scene]


def run_search(
    config: SearchConfig,
    out: Path | None = None,
    *,
    device: str = "auto",
    show: bool = True,
    on_epoch: Callable[[DualSearch, int], None] | None = None,
) -> SearchRun:
    """Search network and loss (Algorithm 1) and write what was found.

    Args:
        config: the settings; their seed fixes everything that is random.
        out: run folder for ``genotype.json``, ``loss_weights.json``, ``history.jsonl`` and
            ``provenance.json``; nothing is written without it.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        show: report progress on standard error.
        on_epoch: called with the search and the epoch number before the first epoch (-1) and after each.

    Returns:
        What was found, and the scenes of the two halves of the training set.

    Raises:
        FileExistsError: when ``out`` already holds a finished search.
        DataError: when the data cannot be read.
        RunError: when a loss or a gradient is not finite; the message says at which step.
        ValueError: when the device is not present, or there are fewer than two training scenes.

    Example:
        >>> import tempfile
        >>> from hsds_lib.config import preset
        >>> tiny = preset("tiny").search.changed(width=0.0625, epochs=1, steps_per_epoch=1, crop=24, features="random")
        >>> with tempfile.TemporaryDirectory() as out:
        ...     run = run_search(tiny, Path(out), device="cpu", show=False)
        ...     sorted(file.name for file in Path(out).iterdir())
        ['genotype.json', 'history.jsonl', 'loss_weights.json', 'provenance.json']
    """
    _refuse_finished(out)
    began = time.perf_counter()
    generator = torch.Generator().manual_seed(config.seed)
    scenes = referenced_scenes(config.data, "train", seed=config.seed)
    naturals = load_naturals(config.data, "train", seed=config.seed)
    train_scenes, val_scenes = halves(scenes, generator)
    shape: dict[str, Any] = {"crop": config.crop, "batch_size": config.batch_size, "generator": generator}
    train = PairBatches(train_scenes, naturals, **shape)
    train_batches, val_batches = endless(train), endless(PairBatches(val_scenes, naturals, **shape))
    vgg = load_vgg16(config.features, seed=config.seed)
    search = DualSearch(config, vgg, device=pick_device(device))
    steps = config.steps_per_epoch or len(train)
    progress = Progress(config.epochs * steps, label="search", show=show)
    probe = next(iter(train))
    gradients = {} if out is None else {"start": term_gradients(search, probe)}
    tell = on_epoch or (lambda search, epoch: None)
    tell(search, -1)
    with _history_file(out) as history, closing(progress):
        for epoch in range(config.epochs):
            for _ in range(steps):
                record = search.step(next(train_batches), next(val_batches), epoch=epoch)
                print(json.dumps(record, allow_nan=False), file=history, flush=True)
                progress.step()
            progress.line(_epoch_line(epoch, config, search.history[-steps:]))
            tell(search, epoch)
    run = SearchRun(search, search.genotype(), search.loss_weights(), train_scenes, val_scenes)
    if out is not None:
        gradients["end"] = term_gradients(search, probe)
        facts = {"vgg": vgg.source, "term_gradient_norms": gradients, "seconds": round(time.perf_counter() - began, 1)}
        _write(run, config, out, facts)
    return run


def term_gradients(search: DualSearch, batch: Batch) -> dict[str, float]:
    """Give the gradient norm of every loss term at the present fused image: a dead term would show as 0.

    Args:
        search: a search, at any step; nothing of it is changed.
        batch: crops to fuse.

    Returns:
        Name of the term to the norm of its gradient with respect to the fused luma.

    Example:
        >>> search = DualSearch(SearchConfig(width=0.0625), load_vgg16("random", seed=0))
        >>> crops = torch.rand(4, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> norms = term_gradients(search, Batch(*crops))
        >>> len(norms), min(norms.values()) > 0
        (19, True)
    """
    batch = batch.to(search.device)
    with torch.no_grad(), batch_statistics(search.network):
        fused = search.network(batch.over_under_y, search.node_mix())
    targets = prepare_targets(batch, search.vgg, contrast=False, names=search.names)
    return term_gradient_norms(fused, targets, search.vgg, search.names)


def _refuse_finished(out: Path | None) -> None:
    if out is not None and (Path(out) / "genotype.json").exists():
        raise FileExistsError(f"{out} already holds a finished search; name another folder, or remove this one")


def _history_file(out: Path | None) -> TextIO:
    """A line a step, flushed, so that a run can be watched and what it did survives an interruption."""
    if out is None:
        return open(os.devnull, "w", encoding="utf-8")
    Path(out).mkdir(parents=True, exist_ok=True)
    return (Path(out) / "history.jsonl").open("w", encoding="utf-8")


def _epoch_line(epoch: int, config: SearchConfig, records: list[dict[str, Any]]) -> str:
    mean = {key: sum(record[key] for record in records) / len(records) for key in ("train_loss", "val_loss", "gamma")}
    return (
        f"epoch {epoch + 1}/{config.epochs}, train {mean['train_loss']:.3f}, val {mean['val_loss']:.3f}, "
        f"{CONTRAST_NAMES[config.contrast]} {mean['gamma']:.3f}, {records[-1]['n_active']} of 165 operations"
    )


def _write(run: SearchRun, config: SearchConfig, out: Path, facts: dict[str, Any]) -> None:
    """Write the results; the genotype comes last, because it marks the run as finished."""
    images = [image for scene in (*run.train_scenes, *run.val_scenes) for image in (scene.under, scene.over)]
    origin = provenance(
        kind="search",
        config=config.model_dump(),
        loss_terms=SPACES[config.space],
        train_scenes=[scene.name for scene in run.train_scenes],
        val_scenes=[scene.name for scene in run.val_scenes],
        data_sha256=fingerprint(images),
        **facts,
    )
    write_json(Path(out) / "provenance.json", origin)
    run.loss_weights.save(Path(out) / "loss_weights.json")
    run.genotype.save(Path(out) / "genotype.json")
