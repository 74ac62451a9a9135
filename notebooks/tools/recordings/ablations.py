"""Run the conditions of Table 3 with seeds: ``python -m notebooks.tools.recordings.ablations [tiny | photographs]``.

What these runs can show is the mechanism of each condition and how far seeds scatter. They cannot reproduce Table 3.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from hsds_lib.config import ABLATIONS, SearchConfig, TrainConfig, ablation
from hsds_lib.course.explorers.media import encode
from hsds_lib.course.recording import FOLDER, RECORDED_STUDIES, SEEDS, RecordedStudy, write_recording
from hsds_lib.evaluation.metrics import all_metrics, to_pixels
from hsds_lib.fusing.fuse import fuse
from hsds_lib.images.batches import Scene, load_scenes
from hsds_lib.losses.features import load_vgg16
from hsds_lib.network.budget import genotype_macs
from hsds_lib.network.folded import fold
from hsds_lib.network.fusion_net import FusionNet
from hsds_lib.outputs import own_folder
from hsds_lib.runtime import atomic_path, provenance, read_json, write_json
from hsds_lib.search.run import run_search
from hsds_lib.training.train import train_network
from notebooks.tools.recordings import place_for

COMMAND = "notebooks.tools.recordings.ablations"


def record(
    path: Path,
    study: RecordedStudy,
    *,
    seeds: Sequence[int] = SEEDS,
    conditions: Sequence[str] = tuple(ABLATIONS),
    work: Path | None = None,
    processes: int = 1,
) -> None:
    """Search, train and score every condition with every seed, and write what notebook 8 shows.

    Seeds are those of search, training and data order; the validation scenes are the same for all. Runs that are
    finished in ``work``, a folder of its own, are not run again; without it they are not kept. Each of several
    processes computes with one thread.
    """
    wanted = [(condition, seed) for condition in conditions for seed in seeds]
    if work is not None:
        names = {run_folder(Path(), *key).name for key in wanted}
        own_folder(work, COMMAND, adopt=lambda folder: {each.name for each in folder.iterdir()} <= names)
    with tempfile.TemporaryDirectory() as temporary:
        folder = work or Path(temporary)
        task = partial(finish, study, folder)
        if processes == 1:
            runs = [task(each) for each in wanted]
        else:
            fresh = get_context("spawn")
            with ProcessPoolExecutor(processes, fresh, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                runs = list(pool.map(task, wanted))
        files = [run_folder(folder, *key) / "picture.webp" for key in wanted]
        images = {f"{number:04d}.webp": file.read_bytes() for number, file in enumerate(files)}
    runs = [{**run, "picture": name} for run, name in zip(runs, images, strict=True)]
    label = load_vgg16(study.search.features, seed=0).label
    origin = provenance(search=study.search.model_dump(), training=study.training.model_dump(), features=label)
    facts = {"scene": _shown(study).name, "features": label, "runs": runs, "provenance": origin}
    write_recording(path, facts, images)


def run_folder(work: Path, condition: str, seed: int) -> Path:
    """Say where a run lies."""
    return work / f"{condition.replace('/', '-').replace(' ', '-')}-{seed}"


def finish(study: RecordedStudy, work: Path, key: tuple[str, int]) -> dict[str, Any]:
    """Do one run unless it is there already, made with the same settings: its facts."""
    condition, seed = key
    folder = run_folder(work, condition, seed)
    search = ablation(study.search.changed(seed=seed), condition)
    training = study.training.changed(seed=seed)
    settings = json.loads(json.dumps({"search": search.model_dump(), "training": training.model_dump()}))
    done = folder / "run.json"
    if done.is_file():
        facts: dict[str, Any] = read_json(done)
        if facts.pop("settings") == settings:
            return facts
    shutil.rmtree(folder, ignore_errors=True)  # interrupted, or of other settings
    found, network = run(search, training, folder)
    shown = _shown(study)
    with atomic_path(folder / "picture.webp") as temporary:
        temporary.write_bytes(encode(fuse(network, shown.under, shown.over), quality=82))
    scores = {scene.name: score(network, scene, study.metrics) for scene in load_scenes(search.data, "val", seed=0)}
    facts = {"condition": condition, "seed": seed, **found, "scores": scores}
    write_json(done, {"settings": settings, **facts})
    mean = sum(each["MS-SSIM"] for each in scores.values()) / len(scores)
    print(f"{condition}, seed {seed}: mean MS-SSIM {mean:.3f}", flush=True)
    return facts


def run(search: SearchConfig, training: TrainConfig, out: Path) -> tuple[dict[str, Any], FusionNet]:
    """One search and one training: what was found and on which way, and the trained network."""
    done = run_search(search, out, device="cpu", show=False)
    trained = train_network(done.genotype, done.loss_weights, training, out=out, device="cpu", show=False)
    steps = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    facts = {
        "genotype": {node: {n: round(w, 6) for n, w in kept.items()} for node, kept in done.genotype.nodes.items()},
        "loss_mix": {name: round(weight, 6) for name, weight in done.loss_weights.mix.items()},
        "operations_left": int(done.search.active.sum()),
        "operations": sum(len(kept) for kept in done.genotype.nodes.values()),
        "parameters": sum(weight.numel() for weight in trained.network.parameters()),
        "macs": genotype_macs(done.genotype),
        "search_log": {name: [_short(step[name]) for step in steps] for name in ("gamma", "val_loss", "n_active")},
        "training_log": [{name: _short(row[name]) for name in ("loss", "val_mef_ssim")} for row in trained.history],
    }
    return facts, trained.network


def score(network: FusionNet, scene: Scene, metrics: Sequence[str]) -> dict[str, float]:
    """The metrics of one scene."""
    fused = fuse(fold(network), scene.under, scene.over)
    under, over, result = (to_pixels(image) for image in (scene.under, scene.over, fused))
    found = all_metrics(under, over, result, ref=None if scene.ref is None else to_pixels(scene.ref))
    return {name: round(found[name] or 0.0, 5) for name in metrics}


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 5)


def _shown(study: RecordedStudy) -> Scene:
    return load_scenes("embedded", study.shown, seed=0)[0]


def main() -> None:
    """Record and write a file that ships."""
    parser = argparse.ArgumentParser(description="Run the seven conditions of Table 3 with three seeds.")
    parser.add_argument("study", nargs="?", choices=list(RECORDED_STUDIES), default="tiny")
    parser.add_argument("--out", type=Path, help="the zip file to write; by default the one that ships")
    parser.add_argument("--work", type=Path, help="folder that keeps the runs, so that the study can go on later")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    study = RECORDED_STUDIES[options.study]
    out = options.out or FOLDER / study.file
    record(place_for(out, parser), study, work=options.work, processes=options.processes)


if __name__ == "__main__":
    main()
