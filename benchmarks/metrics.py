"""CPU seconds of every metric on one image with a reference, on one thread.

python benchmarks/metrics.py [--side 1000] [--repeats 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable

for library in ("OMP", "MKL", "OPENBLAS"):  # read when numpy and torch are imported, hence before
    os.environ[f"{library}_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from scipy.ndimage import gaussian_filter  # noqa: E402

from hsds_lib.evaluation.metrics import METRICS, all_metrics  # noqa: E402


def exposures(side: int) -> list[np.ndarray]:
    """Under, over, fused and reference: one synthetic scene at four exposures, partly clipped, with texture."""
    generator = np.random.default_rng(0)
    blobs = np.stack([gaussian_filter(generator.normal(size=(side, side)), side / 60) for _ in range(3)], axis=-1)
    scene = 110 + 60 * blobs / blobs.std() + 6 * generator.normal(size=blobs.shape)
    return [np.clip(factor * scene, 0, 255).round().astype(np.uint8) for factor in (0.4, 1.7, 0.9, 1.0)]


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median CPU time of this process, user and system."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def measure(side: int, repeats: int) -> dict[str, float]:
    """Seconds of each metric computed alone, and of all at once, which share what they need."""
    under, over, fused, ref = exposures(side)
    images = {"fused": (fused,), "sources": (under, over, fused), "ref": (ref, fused)}
    all_metrics(*(image[:200, :200] for image in (under, over, fused, ref)))  # warm up
    results = {}
    for name, metric in METRICS.items():
        # Arrays and not pictures: nothing is remembered from one call to the next.
        results[name] = seconds(lambda m=metric: m.compute(*images[m.takes], **m.options), repeats)
    results["all at once"] = seconds(lambda: all_metrics(under, over, fused, ref), repeats)
    results["all at once, no reference"] = seconds(lambda: all_metrics(under, over, fused), repeats)
    return results


def main() -> None:
    """Print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1000, help="pixels; 1000 is one megapixel")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = measure(options.side, options.repeats)
    if options.json:
        facts = {"side": options.side, "repeats": options.repeats, "threads": 1, "cpu_seconds": results}
        json.dump(facts, sys.stdout, indent=2)
        print()
        return
    print(f"CPU seconds, {options.side} x {options.side} pixels, median of {options.repeats}, one thread")
    for name, value in results.items():
        print(f"{name:28}{value:8.3f}")


if __name__ == "__main__":
    main()
