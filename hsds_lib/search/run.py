"""A whole search, from a data set's name to the files it leaves behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hsds_lib.config import SearchConfig
from hsds_lib.images.batches import Batch, PairBatches, Scene, load_naturals
from hsds_lib.losses.features import load_vgg16
from hsds_lib.losses.space import LossWeights
from hsds_lib.losses.terms import prepare_targets, term_gradient_norms
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.operations import PRIMITIVES, batch_statistics
from hsds_lib.runs.checkpoints import EVERY, Checkpoint, optimiser_tensors, restore_optimiser
from hsds_lib.runs.lock import alone_in
from hsds_lib.runs.log import RunLog
from hsds_lib.runs.parallel import Group, process_group
from hsds_lib.runs.progress import memory_advice
from hsds_lib.runs.scenes import Endless, halves, referenced_scenes
from hsds_lib.runs.sources import code_parts
from hsds_lib.runtime import fingerprint, pick_device, provenance, write_json
from hsds_lib.search.dual import CONTRAST_NAMES, DualSearch


def search_tensors(search: DualSearch) -> dict[str, Tensor]:
    """Collect weights, logits, active sets and optimiser states of a search between two steps: its own, not copies."""
    tensors = {f"network/{name}": value for name, value in search.network.state_dict().items()}
    tensors |= {"alpha": search.alpha, "beta": search.beta, "active": search.active}
    tensors |= optimiser_tensors("omega", search.omega_optimiser, dict(search.network.named_parameters()))
    tensors |= optimiser_tensors("alpha_optimiser", search.alpha_optimiser, {"alpha": search.alpha})
    return tensors | optimiser_tensors("beta_optimiser", search.beta_optimiser, {"beta": search.beta})


@torch.no_grad()
def _restore(search: DualSearch, tensors: Mapping[str, Tensor], history: list[dict[str, Any]]) -> None:
    """Make a fresh search of the same settings the one that :func:`search_tensors` was taken of."""
    search.active = tensors["active"].to(search.device)
    for row, column in (~search.active).nonzero().tolist():
        search.network.remove(NODES[row], PRIMITIVES[column])
    weights = {key.removeprefix("network/"): value for key, value in tensors.items() if key.startswith("network/")}
    search.network.load_state_dict(weights)
    search.alpha.copy_(tensors["alpha"])
    search.beta.copy_(tensors["beta"])
    search.omega_optimiser.param_groups[0]["params"] = list(search.network.parameters())
    restore_optimiser("omega", search.omega_optimiser, dict(search.network.named_parameters()), tensors)
    restore_optimiser("alpha_optimiser", search.alpha_optimiser, {"alpha": search.alpha}, tensors)
    restore_optimiser("beta_optimiser", search.beta_optimiser, {"beta": search.beta}, tensors)
    # JSON knows no tuples.
    search.history = [{**record, "removed": [tuple(gone) for gone in record["removed"]]} for record in history]


@dataclass(frozen=True)
class SearchRun:
    """What a finished search hands on, with the scenes that omega was trained on and those the rest was searched on."""

    search: DualSearch
    genotype: Genotype
    loss_weights: LossWeights
    train_scenes: list[Scene]
    val_scenes: list[Scene]


@dataclass
class _Job:
    """A search in progress with its data: all that a checkpoint must hold."""

    search: DualSearch
    generator: torch.Generator
    train: Endless
    val: Endless
    halves: tuple[list[Scene], list[Scene]]
    probe: Batch
    steps: int  # in an epoch
    identity: dict[str, Any]
    gradients: dict[str, Any] = field(default_factory=dict)
    code_changes: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0  # before this process

    def __post_init__(self) -> None:
        self._began = time.perf_counter()

    def elapsed(self) -> float:
        return round(self.seconds + time.perf_counter() - self._began, 1)

    def checkpoint(self) -> Checkpoint:
        facts = {
            **self.identity,
            "train_left": self.train.left,
            "val_left": self.val.left,
            "gradients": self.gradients,
            "code_changes": self.code_changes,
            "seconds": self.elapsed(),
            "history": self.search.history,
        }
        tensors = {**search_tensors(self.search), "generator": self.generator.get_state()}
        return Checkpoint(len(self.search.history), tensors, facts)

    def restore(self, checkpoint: Checkpoint) -> None:
        facts = checkpoint.facts
        _restore(self.search, checkpoint.tensors, facts["history"])
        self.generator.set_state(checkpoint.tensors["generator"])
        self.train.left, self.val.left = facts["train_left"], facts["val_left"]
        self.gradients, self.seconds = facts["gradients"], facts["seconds"]
        self.code_changes = facts["code_changes"]


def run_search(
    config: SearchConfig,
    out: Path | None = None,
    *,
    device: str = "auto",
    show: bool = True,
    on_epoch: Callable[[DualSearch, int], None] | None = None,
    resume: bool = False,
    accept_code_change: bool = False,
    checkpoint_every: float = EVERY,
) -> SearchRun:
    """Search network and loss (Algorithm 1) and write what was found.

    Started by ``torchrun`` in several processes, each takes batches of its own and the gradients are averaged.

    ``out`` is the folder for ``genotype.json``, ``loss_weights.json``, ``history.jsonl`` and ``provenance.json``, and
    for checkpoints until the search is finished, one every ``checkpoint_every`` seconds (0: after every step); without
    it nothing is written. With ``resume`` the search goes on from the last checkpoint there, to the same bits; where
    the code has changed since, only with ``accept_code_change``, and the provenance tells of it.
    ``on_epoch`` is called with the search and the epoch before the first epoch (-1) and after each that is run, but not
    for one whose last step was stopped at, or done before a resume.

    FileExistsError: ``out`` holds a finished search. DataError: the data cannot be read. ValueError: the device is not
    present, a setting cannot be met, or there are fewer than two training scenes. RunError: a loss or a gradient is not
    finite, memory or disk are full, another process is at work in ``out``, or the checkpoint belongs to other settings
    or code. Stopped: Ctrl-C or SIGTERM; the step was ended and a checkpoint written.

    Example:
        >>> import hsds_lib as hsds, tempfile
        >>> tiny = hsds.preset("tiny").search
        >>> tiny = tiny.changed(width=0.0625, epochs=1, steps_per_epoch=1, crop=24, features="random")
        >>> with tempfile.TemporaryDirectory() as out:
        ...     run = run_search(tiny, Path(out), device="cpu", show=False)
        ...     sorted(file.name for file in Path(out).iterdir())
        ['genotype.json', 'history.jsonl', 'loss_weights.json', 'provenance.json']
        >>> {scene.name for scene in run.train_scenes} & {scene.name for scene in run.val_scenes}
        set()
    """
    where = pick_device(device)
    lower = f"batch_size ({config.batch_size}), crop ({config.crop}) or width ({config.width:g}), or set recompute=true"
    with process_group(where.type) as group, alone_in(None if group.rank else out, "search"), memory_advice(lower):
        if out is not None and (Path(out) / "genotype.json").exists():
            raise FileExistsError(f"{out} already holds a finished search; name another folder, or remove this one")
        job = _prepare(config, where, group)
        log = RunLog(out, "search", show=show, every=checkpoint_every, group=group)
        found = log.find(job.identity, accept_code_change=accept_code_change) if resume else None
        if found is not None:
            job.restore(found)
        elif out is not None:
            job.gradients["start"] = term_gradients(job.search, job.probe)
        _run_epochs(job, log, on_epoch or (lambda search, epoch: None))
        search = job.search
        run = SearchRun(search, search.genotype(), search.loss_weights(), *job.halves)
        if log.writes:
            job.gradients["end"] = term_gradients(search, job.probe)
            _write(run, job, log.folder)
            log.finish()
    return run


def _prepare(config: SearchConfig, device: torch.device, group: Group) -> _Job:
    generator = torch.Generator().manual_seed(config.seed)
    scenes = referenced_scenes(config.data, "train", seed=config.seed)
    naturals = load_naturals(config.data, "train", seed=config.seed)
    train_scenes, val_scenes = halves(scenes, generator)
    shape: dict[str, Any] = {"crop": config.crop, "batch_size": config.batch_size, "generator": generator}
    train, val = (PairBatches(half, naturals, **shape) for half in (train_scenes, val_scenes))
    vgg = load_vgg16(config.features, seed=config.seed)
    images = [image for scene in (*train_scenes, *val_scenes) for image in (scene.under, scene.over)]
    identity = {
        "config": config.model_dump(mode="json"),
        "data_sha256": fingerprint(images),
        "naturals_sha256": fingerprint(naturals),
        "vgg": vgg.source,
        "processes": group.size,
        "code": code_parts(__name__),
    }
    turns = {"rank": group.rank, "size": group.size}
    return _Job(
        DualSearch(config, vgg, device=device, group=group),
        generator,
        Endless(train, **turns),
        Endless(val, **turns),
        (train_scenes, val_scenes),
        next(iter(train)),
        config.steps_per_epoch or max(1, len(train) // group.size),
        identity,
    )


def _run_epochs(job: _Job, log: RunLog, tell: Callable[[DualSearch, int], None]) -> None:
    search, config = job.search, job.search.config
    done, total = len(search.history), config.epochs * job.steps
    if not done:
        tell(search, -1)
    with log.running(total, search.history):
        for step in range(done, total):
            epoch = step // job.steps
            log.step(search.step(next(job.train), next(job.val), epoch=epoch), job.checkpoint)
            if (step + 1) % job.steps == 0:
                log.progress.line(_epoch_line(search, epoch, search.history[-job.steps :]))
                search.group.require_equal([search.alpha, search.beta, search.active], "alpha, beta or what is pruned")
                tell(search, epoch)


def term_gradients(search: DualSearch, batch: Batch) -> dict[str, float]:
    """Give the gradient norm of every loss term by name, at the fused luma of ``batch``: a dead term would show as 0.

    Nothing of the search is changed.
    """
    batch = batch.to(search.device)
    with torch.no_grad(), batch_statistics(search.network):
        fused = search.network(batch.over_under_y, search.node_mix())
    targets = prepare_targets(batch, search.vgg, contrast=False, names=search.names)
    return term_gradient_norms(fused, targets, search.vgg, search.names)


def _epoch_line(search: DualSearch, epoch: int, records: list[dict[str, Any]]) -> str:
    config, operations = search.config, search.active.numel()
    mean = {key: sum(record[key] for record in records) / len(records) for key in ("train_loss", "val_loss", "gamma")}
    return (
        f"epoch {epoch + 1}/{config.epochs}, train {mean['train_loss']:.3f}, val {mean['val_loss']:.3f}, "
        f"{CONTRAST_NAMES[config.contrast]} {mean['gamma']:.3f}, {records[-1]['n_active']} of {operations} operations"
    )


def _write(run: SearchRun, job: _Job, out: Path) -> None:
    """Write the results; the genotype comes last, because it marks the run as finished."""
    identity = dict(job.identity)
    config = identity.pop("config")
    origin = provenance(
        kind="search",
        config=config,
        loss_terms=job.search.names,
        train_scenes=[scene.name for scene in run.train_scenes],
        val_scenes=[scene.name for scene in run.val_scenes],
        **identity,
        code_changes=job.code_changes,
        term_gradient_norms=job.gradients,
        seconds=job.elapsed(),
    )
    write_json(out / "provenance.json", origin)
    run.loss_weights.save(out / "loss_weights.json")
    run.genotype.save(out / "genotype.json")
