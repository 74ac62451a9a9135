"""The paper's run in one call: data, search, training, and where the time of a step goes.

python benchmarks/paper_run.py --out RUN [--preset paper] [--scenes 565] [--size 256] [--device auto]
                               [--set NAME=VALUE] [--set-train NAME=VALUE] [--json]

No file of the paper's dataset is needed: triples of under, over and reference are made by the exposure model of
hsds_lib.images.exposure from natural photographs (HSDS_DATA/natural or coco if there, and those that scikit-image
bundles). A fifth of the scenes is for validation: 565 make 226 + 226 pairs for the two levels of the search. The same
command goes on after an interruption. Small, on a CPU: --preset tiny --scenes 10 --size 64.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
from roofline import floor_of, measure_machine

from hsds_lib.arguments import assignments
from hsds_lib.config import Preset, preset
from hsds_lib.images.batches import Batch, load_naturals
from hsds_lib.images.datasets import DataError
from hsds_lib.images.exposure import Camera, embedded_photographs, simulate_triple
from hsds_lib.images.io import write_rgb
from hsds_lib.losses.features import load_vgg16
from hsds_lib.losses.space import LossWeights
from hsds_lib.network.genotype import Genotype
from hsds_lib.runtime import pick_device, read_json, write_json
from hsds_lib.search.dual import DualSearch
from hsds_lib.search.run import run_search
from hsds_lib.training.train import train_network


def make_data(folder: Path, *, scenes: int, size: int, seed: int = 0) -> Path:
    """Write triples of square crops, ``train/{under,over,ref}/NNN.png``; those that are there are kept."""
    try:
        photographs = load_naturals("natural")
    except DataError:
        photographs = []
    photographs = [photo for photo in (*photographs, *embedded_photographs().values()) if min(photo.shape[1:]) >= size]
    if not photographs:
        raise DataError(f"no photograph is {size} pixels high and wide; give a smaller --size")
    for number in range(scenes):
        paths = [folder / "train" / role / f"{number:03}.png" for role in ("under", "over", "ref")]
        if all(path.exists() for path in paths):
            continue
        generator = torch.Generator().manual_seed(seed * 100_000 + number)  # a scene does not depend on the others
        photo = photographs[number % len(photographs)]
        top, left = (int(torch.randint(room - size + 1, (), generator=generator)) for room in photo.shape[1:])
        triple = simulate_triple(photo[:, top : top + size, left : left + size], Camera(), generator)
        for path, image in zip(paths, triple, strict=True):
            write_rgb(path, image)
    return folder


def search_and_train(settings: Preset, out: Path, device: str) -> dict[str, Any]:
    """Both runs, or what is left of them; minutes are those of all attempts together."""
    if not (out / "genotype.json").exists():
        run_search(settings.search, out, device=device, resume=True)
    if not (out / "training_provenance.json").exists():
        genotype, weights = Genotype.load(out / "genotype.json"), LossWeights.load(out / "loss_weights.json")
        train_network(genotype, weights, settings.train, out=out, device=device, resume=True)
    history = [json.loads(line) for line in (out / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    trained = read_json(out / "training_provenance.json")
    epochs = sorted({record["epoch"] for record in history})
    return {
        "search_minutes": read_json(out / "provenance.json")["seconds"] / 60,
        "training_minutes": trained["seconds"] / 60,
        "steps": len(history),
        "step_ms_by_epoch": [
            1000 * statistics.median(record["seconds"] for record in history if record["epoch"] == epoch)
            for epoch in epochs
        ],
        "operations_left": history[-1]["n_active"],
        "val_mef_ssim": trained["history"][-1]["val_mef_ssim"],
    }


def step_floor(settings: Preset, device: torch.device) -> dict[str, Any]:
    """A step with all operations alive: measured, and what arithmetic and memory traffic alone would take."""
    config = settings.search.changed(beta_warmup=0, theta=0.0)
    search = DualSearch(config, load_vgg16(config.features, seed=0), device=device)
    generator, shape = torch.Generator().manual_seed(0), (4, config.batch_size, 3, config.crop, config.crop)
    batches = [Batch(*torch.rand(shape, generator=generator)).to(device) for _ in range(2)]
    found = [search.step(*batches)["seconds"] for _ in range(6)][1:]
    machine = measure_machine(device)
    floor = floor_of(lambda: search.step(*batches), machine)
    measured = statistics.median(found)
    return {
        "step_ms": 1000 * measured,
        "floor_ms": 1000 * floor.seconds,
        "step_over_floor": measured / floor.seconds,
        "step_gflops": floor.flops / 1e9,
        "step_gigabytes_touched": floor.bytes / 1e9,
        "operations_called": floor.kernels,
        "machine_tflops": machine.flops / 1e12,
        "machine_gigabytes_per_second": machine.bytes / 1e9,
    }


def main() -> None:
    """Run what is asked for, and print a table or JSON; ``RUN/measured.json`` keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="RUN")
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--scenes", type=int, default=565)
    parser.add_argument("--size", type=int, default=256, help="side of the pictures, pixels, at least the crop")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", metavar="NAME=VALUE", help="of the search")
    parser.add_argument("--set-train", action="append", metavar="NAME=VALUE")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    device, start = pick_device(options.device), time.perf_counter()
    data = make_data(options.out / "data", scenes=options.scenes, size=options.size)
    chosen = preset(options.preset)
    settings = Preset(
        search=chosen.search.changed(data=str(data), **assignments(options.set)),
        train=chosen.train.changed(data=str(data), **assignments(options.set_train)),
    )
    result: dict[str, Any] = {"device": torch.cuda.get_device_name() if device.type == "cuda" else device.type}
    result |= {"data_minutes": (time.perf_counter() - start) / 60}
    result |= search_and_train(settings, options.out, options.device)
    if device.type == "cuda":
        result["peak_gigabytes"] = torch.cuda.max_memory_allocated() / 1e9
    result |= step_floor(settings, device)
    result |= {"settings": settings.model_dump(mode="json"), "torch": torch.__version__}
    write_json(options.out / "measured.json", result)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for name, value in result.items():
        if isinstance(value, (int, float, str)):
            print(f"{name:32} {value if isinstance(value, str) else round(value, 3)}", file=sys.stdout)


if __name__ == "__main__":
    main()
