"""Time and memory of fusing: the folded network against the unfolded one, chroma, and a photograph of 24 megapixels.

python benchmarks/inference.py [--size 512] [--width 1.0] [--threads 1] [--rounds 5] [--megapixels 24]
                               [--json]

Networks are timed in one process, in turns, because other load on the machine hits all alike; the ratios are medians
over the rounds. The large pair is two JPEG files that ``fuse_files`` turns into a third with the model that ships, in a
process of its own, whose peak is reported in full and above what the interpreter takes with libraries and model.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from turns import take_turns

from hsds_lib.fusing.fuse import fuse_files
from hsds_lib.fusing.tiling import DEFAULT_TILE
from hsds_lib.images.color import fuse_chroma
from hsds_lib.network.folded import fold
from hsds_lib.network.fusion_net import FusionNet, derive, receptive_radius
from hsds_lib.network.genotype import Genotype
from hsds_lib.network.model_file import MODELS, load_model
from hsds_lib.runtime import seeded


def released(width: float) -> FusionNet:
    """The released genotype with fresh weights, which take as long as trained ones."""
    nodes = Genotype.load(MODELS / "released" / "genotype.json").nodes
    with seeded(0):
        return derive(Genotype(nodes=nodes, width=width)).eval()


def write_exposures(folder: str, megapixels: float) -> None:
    """Two JPEG files of waves and noise, three pixels wide for every two high."""
    height, width = (2 * round((megapixels * 1e6 * ratio) ** 0.5 / 2) for ratio in (2 / 3, 3 / 2))
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    scene = 0.5 + 0.25 * np.sin(columns / 170) + 0.25 * np.cos(rows / 130)
    scene += np.random.default_rng(0).normal(0, 0.01, scene.shape).astype(np.float32)
    for name, gains in (("under", (0.5, 0.4, 0.3)), ("over", (1.4, 1.2, 1.1))):
        levels = [np.clip(scene * gain * 255, 0, 255).astype(np.uint8) for gain in gains]
        Image.fromarray(np.stack(levels, axis=-1)).save(f"{folder}/{name}.jpg", quality=92)


def resident(kind: str) -> int:
    """Resident bytes of this process: ``VmRSS`` now, ``VmHWM`` at their peak (Linux)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(kind))
    return 1024 * int(line.split()[1])


def fuse_large(folder: str) -> dict[str, float]:
    """Fuse the two files of a folder; this process does nothing else."""
    network = load_model("default", device="cpu")
    before, start, cpu = resident("VmRSS"), time.perf_counter(), time.process_time()
    fuse_files(network, f"{folder}/under.jpg", f"{folder}/over.jpg", f"{folder}/fused.jpg")
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "peak_bytes": resident("VmHWM"),
        "peak_bytes_above_interpreter": resident("VmHWM") - before,
    }


def large(options: argparse.Namespace) -> dict[str, float]:
    """Fuse a large pair in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        write_exposures(folder, options.megapixels)
        command = [sys.executable, __file__, "--threads", str(options.threads), "--large", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        height, width = np.asarray(Image.open(f"{folder}/fused.jpg")).shape[:2]
    return {"megapixels": height * width / 1e6, "tile": DEFAULT_TILE, **json.loads(done.stdout)}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Ratios, seconds and bytes."""
    generator = torch.Generator().manual_seed(0)
    pair = torch.rand(1, 2, options.size, options.size, generator=generator)
    under, over = torch.rand(2, 1, 2, options.size, options.size, generator=generator)
    networks = {"shipped": load_model("default", device="cpu"), "released": released(options.width)}

    def run(network: nn.Module) -> Callable[[], Any]:
        return lambda: network(pair)

    parts: dict[str, Callable[[], Any]] = {"chroma": lambda: fuse_chroma(under, over)}
    for name, network in networks.items():
        parts |= {f"{name}_unfolded": run(network), f"{name}_folded": run(fold(network))}
    with torch.no_grad():
        seconds = take_turns(parts, options.rounds)
    rounds = {name: zip(seconds[f"{name}_unfolded"], seconds[f"{name}_folded"], strict=True) for name in networks}
    ratios = {name: statistics.median(a / b for a, b in pairs) for name, pairs in rounds.items()}
    return {
        "unfolded_over_folded": ratios,
        "chroma_seconds_per_megapixel": statistics.median(seconds["chroma"]) / (options.size**2 / 1e6),
        "large": large(options),
        "seconds": {name: statistics.median(found) for name, found in seconds.items()},
        "receptive_radius": {name: receptive_radius(network) for name, network in networks.items()},
        "settings": {k: v for k, v in vars(options).items() if k not in ("json", "large")},
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="side of the picture that the networks are timed on")
    parser.add_argument("--width", type=float, default=1.0, help="of the released genotype")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megapixels", type=float, default=24)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--large", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.large:
        print(json.dumps(fuse_large(options.large)))
        return
    result = measure(options)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for name, ratio in result["unfolded_over_folded"].items():
        print(f"{'unfolded over folded, ' + name:40} {ratio:8.2f}")
    print(f"{'chroma, a megapixel':40} {result['chroma_seconds_per_megapixel']:8.3f} s")
    for name, value in result["seconds"].items():
        print(f"{name:40} {value:8.3f} s")
    for name, value in result["large"].items():
        shown = f"{value / 2**20:8.0f} MiB" if "bytes" in name else f"{value:8.1f}"
        print(f"{'large pair, ' + name:40} {shown}")


if __name__ == "__main__":
    main()
