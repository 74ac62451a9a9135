"""Searches and trainings that studies share: each is done once, kept in a work folder, and gone on with after a kill.

A run's folder is named after all of its settings, so two studies that ask for the same run get the same one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hsds_lib.config import SearchConfig, TrainConfig
from hsds_lib.losses.space import LossWeights
from hsds_lib.network.genotype import Genotype
from hsds_lib.outputs import own_folder
from hsds_lib.runs.checkpoints import Checkpoints
from hsds_lib.runtime import atomic_path, read_json, write_json
from hsds_lib.search.dual import DualSearch
from hsds_lib.search.run import run_search
from hsds_lib.search.wsras import retain
from hsds_lib.training.train import train_network

KEPT_EVERY = 5  # epochs between the states of a search that are kept


def searched(work: Path, config: SearchConfig) -> Path:
    """Do a search, or find it done: its folder, with the states of its supernet by step in ``states``."""
    folder = _search_folder(work, config)
    if (folder / "genotype.json").is_file() or _is_another(work, config, folder):
        return folder
    states = folder / "states"
    states.mkdir(parents=True, exist_ok=True)

    def keep(search: DualSearch, epoch: int) -> None:
        if (epoch + 1) % KEPT_EVERY:
            return
        tensors = {f"network/{name}": value.contiguous() for name, value in search.network.state_dict().items()}
        tensors |= {"alpha": search.alpha.detach(), "active": search.active, "beta": search.beta.detach()}
        with atomic_path(states / f"{len(search.history):04d}.safetensors") as temporary:
            save_file(tensors, temporary)

    run_search(config, folder, device="cpu", show=False, on_epoch=keep, resume=True, accept_code_change=True)
    return folder


def _is_another(work: Path, config: SearchConfig, folder: Path) -> bool:
    """Say whether a search with a smaller P is this one: it is where no node came down to fewer than P operations.

    P forbids only to go below it. The files are then those of the other, but for what is retained.
    """
    for top_p in range(1, config.top_p):
        other = _search_folder(work, config.changed(top_p=top_p))
        if (other / "genotype.json").is_file():
            end = kept_states(other)[config.epochs * (config.steps_per_epoch or 0)]
            if int(end["active"].sum(dim=1).min()) >= config.top_p:
                shutil.copytree(other, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("genotype.json"))
                origin = read_json(folder / "provenance.json")
                origin["config"]["top_p"], origin["same_search_as"] = config.top_p, other.name
                write_json(folder / "provenance.json", origin)
                retain(end["alpha"], end["active"], top_p=config.top_p, width=config.width).save(
                    folder / "genotype.json"
                )
                return True
    return False


def kept_states(run: Path) -> dict[int, dict[str, Tensor]]:
    """The kept states of a search by step."""
    files = sorted((run / "states").glob("*.safetensors"))
    return {int(file.stem): load_file(file) for file in files if int(file.stem)}


def trained(work: Path, genotype: Genotype, loss: LossWeights, config: TrainConfig) -> Path:
    """Train a network, or find it trained: its folder."""
    settings = {"genotype": genotype.model_dump(), "loss": loss.mix, "config": config.model_dump(mode="json")}
    folder = work / _name("train", settings)
    if not (folder / "model.safetensors").is_file() or Checkpoints(folder, "train").exist():
        folder.mkdir(parents=True, exist_ok=True)
        genotype.save(folder / "genotype.json")
        loss.save(folder / "loss_weights.json")
        train_network(
            genotype, loss, config, out=folder, device="cpu", show=False, resume=True, accept_code_change=True
        )
    return folder


def side_by_side(tasks: Sequence[Callable[[], Any]], processes: int) -> list[Any]:
    """Do tasks in several processes of one thread each, in order; their results."""
    if processes == 1:
        return [task() for task in tasks]
    fresh = get_context("spawn")
    with ProcessPoolExecutor(processes, fresh, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]


def add_options(parser: argparse.ArgumentParser, out: Path | None) -> None:
    """The options of every study that takes hours."""
    parser.add_argument("--out", type=Path, default=out, help="zip file to write; by default the one that ships")
    parser.add_argument("--work", type=Path, default=Path("runs/studies"), help="folder that keeps the runs")
    parser.add_argument("--processes", type=int, default=1, help="runs side by side, one thread each")


def work_folder(folder: Path) -> Path:
    """The folder of the runs, made by studies alone."""
    return own_folder(folder, "notebooks.tools.recordings")


def _search_folder(work: Path, config: SearchConfig) -> Path:
    return work / _name("search", config.model_dump(mode="json"))


def _name(kind: str, settings: dict[str, Any]) -> str:
    text = json.dumps(settings, sort_keys=True)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
