"""One of the processes of a small data-parallel search and training; started by torchrun in the tests.

torchrun --nproc-per-node 2 processes.py FOLDER [--search-alone]
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from hsds_lib.losses.space import LossWeights
from hsds_lib.search.run import run_search, search_tensors
from hsds_lib.training.train import train_network

SMALL = runpy.run_path(str(Path(__file__).with_name("killed.py")))


def main() -> None:
    torch.set_num_threads(1)
    folder, rank = Path(sys.argv[1]), os.environ["RANK"]
    run = run_search(SMALL["SEARCH"], folder, device="cpu", show=False, resume=True)
    tensors = {f"search/{name}": value.detach().contiguous() for name, value in search_tensors(run.search).items()}
    history = {"search": run.search.history}
    if "--search-alone" not in sys.argv:
        tensors |= _trained(folder, history)
    save_file(tensors, folder / f"rank-{rank}.safetensors")
    (folder / f"rank-{rank}.json").write_text(json.dumps(history))


def _trained(folder: Path, history: dict[str, Any]) -> dict[str, torch.Tensor]:
    training = train_network(
        SMALL["GENOTYPE"], LossWeights.uniform(), SMALL["TRAIN"], out=folder, device="cpu", show=False, resume=True
    )
    history["train"] = training.history
    return {f"train/{name}": value.contiguous() for name, value in training.network.state_dict().items()}


if __name__ == "__main__":
    main()
