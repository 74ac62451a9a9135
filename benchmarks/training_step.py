"""Time of one forward and backward pass of a derived network: channels last against torch's usual layout, on a CPU.

python benchmarks/training_step.py [--model default] [--size 128] [--batch 4] [--threads 1] [--rounds 5] [--json]

Both layouts are timed in one process, in turns, because other load on the machine hits both alike; the ratio is the
median over the rounds. Losses are not part of it: they take the same time either way.
"""

from __future__ import annotations

import argparse
import json
import statistics

import torch
from turns import take_turns

from hsds_lib.network.fusion_net import FusionNet
from hsds_lib.network.model_file import load_model


def make(source: str, layout: torch.memory_format) -> FusionNet:
    """A model in training as the second half of a training sees it: gradients, and fixed statistics."""
    network = load_model(source, device="cpu")
    network.to(memory_format=layout)  # type: ignore[call-overload]
    return network


def step(network: FusionNet, pair: torch.Tensor) -> None:
    """One pass there and back."""
    network(pair).square().mean().backward()
    network.zero_grad()


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="default", help="a model that ships, a run folder or a .safetensors file")
    for name, value in (("size", 128), ("batch", 4), ("threads", 1), ("rounds", 5)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pair = torch.rand(options.batch, 2, options.size, options.size, generator=torch.Generator().manual_seed(0))
    layouts = {"usual": torch.contiguous_format, "channels_last": torch.channels_last}
    networks = {name: make(options.model, layout) for name, layout in layouts.items()}
    parts = {name: lambda network=network: step(network, pair) for name, network in networks.items()}
    seconds = take_turns(parts, options.rounds)
    ratios = [usual / last for usual, last in zip(*seconds.values(), strict=True)]
    result = {
        "settings": vars(options),
        "seconds": {name: statistics.median(found) for name, found in seconds.items()},
        "usual_over_channels_last": statistics.median(ratios),
        "ratios": ratios,
    }
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        spread = f"{min(ratios):.2f} to {max(ratios):.2f} in {options.rounds} rounds"
        print(f"usual layout / channels last: {result['usual_over_channels_last']:.2f} ({spread})")


if __name__ == "__main__":
    main()
