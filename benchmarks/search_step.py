"""Time and memory of one dual-search step, as ratios to one forward and backward pass of the same supernet.

python benchmarks/search_step.py [--size 64] [--batch 2] [--width 1.0] [--threads 1] [--rounds 5] [--channels-last]
                                 [--recompute] [--genotype FILE] [--json]

Everything is measured in one process, in turns, because other load on the machine hits all parts alike; the ratios are
medians over the rounds. Memory is the peak of a process of its own, above what it had before it built the search.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from turns import take_turns

from hsds_lib.config import SearchConfig
from hsds_lib.images.batches import Batch
from hsds_lib.losses.contrast import gamma_h
from hsds_lib.losses.features import Trace, feature_tangents, load_vgg16
from hsds_lib.losses.space import weighted_loss
from hsds_lib.losses.terms import PERCEPTUAL_LAYERS, encode_fused, prepare_targets, term_vector
from hsds_lib.network.genotype import NODES
from hsds_lib.network.operations import PRIMITIVES
from hsds_lib.search.dual import DualSearch


def make_search(options: argparse.Namespace, alive: dict[str, list[str]] | None = None) -> DualSearch:
    """A search at random weights, past its warm-up; ``alive`` names the operations that are left in each node."""
    config = SearchConfig(width=options.width, crop=options.size, batch_size=options.batch, beta_warmup=0, theta=0.0)
    search = DualSearch(config.changed(recompute=options.recompute), load_vgg16("random", seed=0))
    for node, kept in (alive or {}).items():
        for primitive in set(PRIMITIVES) - set(kept):
            search.network.remove(node, primitive)
            search.active[NODES.index(node), PRIMITIVES.index(primitive)] = False
    search.omega_optimiser.param_groups[0]["params"] = list(search.network.parameters())
    if options.channels_last:
        search.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return search


def make_batches(options: argparse.Namespace) -> list[Batch]:
    """Two batches of noise: the arithmetic does not depend on what they show."""
    generator, shape = torch.Generator().manual_seed(0), (4, options.batch, 3, options.size, options.size)
    return [Batch(*torch.rand(shape, generator=generator)) for _ in range(2)]


def forward_backward(search: DualSearch, batch: Batch) -> None:
    """One training pass of the supernet by plain autograd, without losses: the unit."""
    search.network.train()
    search.network(batch.over_under_y, search.node_mix().detach()).square().mean().backward()
    search.network.zero_grad()


def losses_alone(search: DualSearch, train: Batch, val: Batch) -> None:
    """All that a step spends on VGG-16, losses and contrast, with pictures in place of the network."""
    vgg, names, mix = search.vgg, search.names, search.loss_mix().detach()
    picture, trace = train.ref[:, :1].clone().requires_grad_(), Trace()
    targets = prepare_targets(train, vgg, contrast=False, names=names)
    features = encode_fused(picture, vgg, contrast=False, trace=trace)
    weighted_loss(term_vector(picture, targets, features=features, names=names), mix).backward()
    targets = prepare_targets(val, vgg, contrast=True, names=names)
    features = encode_fused(picture, vgg, contrast=True)
    torch.autograd.grad(gamma_h(features, targets), picture, retain_graph=True)
    loss = weighted_loss(term_vector(picture, targets, features=features, names=names), mix)
    torch.autograd.grad(loss, picture)
    with torch.no_grad():
        feature_tangents(vgg, trace, torch.ones_like(picture), PERCEPTUAL_LAYERS)


def survivors(path: str) -> dict[str, list[str]] | None:
    """The three operations left in each node of the recorded search (43 % of the supernet's MACs); None without it."""
    if not Path(path).is_file():
        return None
    recorded = json.loads(Path(path).read_text(encoding="utf-8"))
    rows = recorded["attention"] + recorded["retinex"]
    return {row["node"]: [entry["op"] for entry in row["survivors"]] for row in rows}


def peak_bytes(arguments: list[str]) -> int:
    """Run this script for memory alone, in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, *arguments, "--memory"], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def memory(options: argparse.Namespace, alive: dict[str, list[str]] | None) -> int:
    """Peak of the resident memory of two steps, above that of the interpreter with its libraries."""
    batches = make_batches(options)
    torch.optim.Adam([torch.zeros(1)])  # the first one imports much of torch; that is the interpreter's own
    before = resident("VmRSS")
    search = make_search(options, alive)
    for _ in range(2):
        search.step(*batches)
    return resident("VmHWM") - before


def resident(kind: str) -> int:
    """Resident bytes of this process: ``VmRSS`` now, ``VmHWM`` at their peak (Linux)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(kind))
    return 1024 * int(line.split()[1])


def measure(options: argparse.Namespace, arguments: list[str]) -> dict[str, Any]:
    """Seconds, bytes, and the ratios between them."""
    batches, alive = make_batches(options), survivors(options.genotype)
    search = make_search(options)
    parts: dict[str, Callable[[], Any]] = {
        "forward_backward": lambda: forward_backward(search, batches[0]),
        "step": lambda: search.step(*batches),
        "losses_and_vgg": lambda: losses_alone(search, *batches),
    }
    if alive is not None:
        pruned = make_search(options, alive)
        parts["pruned_step"] = lambda: pruned.step(*batches)
    seconds = take_turns(parts, options.rounds)

    def ratio(part: str, unit: str) -> float | None:
        if part not in seconds:
            return None
        return statistics.median(a / b for a, b in zip(seconds[part], seconds[unit], strict=True))

    sizes = {"step": peak_bytes(arguments)}
    if alive is not None:
        sizes["pruned_step"] = peak_bytes([*arguments, "--pruned"])
    return {
        "step_over_forward_backward": ratio("step", "forward_backward"),
        "pruned_over_full": ratio("pruned_step", "step"),
        "losses_and_vgg_over_forward_backward": ratio("losses_and_vgg", "forward_backward"),
        "seconds": {name: statistics.median(found) for name, found in seconds.items()},
        "peak_bytes": sizes,
        "settings": {k: v for k, v in vars(options).items() if k not in ("json", "memory", "pruned", "genotype")},
        "torch": torch.__version__,
        "load": os.getloadavg()[0],
    }


def main() -> None:
    """Print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64, help="side of the crops, pixels")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--recompute", action="store_true", help="keep no outputs of convolutions")
    recorded = Path(os.environ.get("HSDS_FIXTURES", "")) / "parity" / "released_genotype.json"
    parser.add_argument("--genotype", default=str(recorded), help="survivors of the pruned step")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--pruned", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory:
        print(memory(options, survivors(options.genotype) if options.pruned else None))
        return
    result = measure(options, [argument for argument in sys.argv[1:] if argument != "--json"])
    if options.json:
        print(json.dumps(result, indent=2))
        return
    for name in ("step_over_forward_backward", "pruned_over_full", "losses_and_vgg_over_forward_backward"):
        print(f"{name:40} {result[name] if result[name] is None else round(result[name], 2)}")
    for kind, unit, scale in (("seconds", "s", 1), ("peak_bytes", "MiB", 2**20)):
        for name, value in result[kind].items():
            print(f"{name:40} {value / scale:8.3f} {unit}")


if __name__ == "__main__":
    main()
