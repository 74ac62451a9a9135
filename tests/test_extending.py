"""The library grows by the lines that CONTRIBUTING names: operation, loss term, metric, data set."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[1] / "hsds_lib"
NEW = ("conv_9x9", "gray_pair")  # an operation, and a term of the extended space

# File, a line in it, and what joins it.
EDITS = [
    ("network/operations.py", '    "dil_7x7",\n', '    "conv_9x9",\n'),
    (
        "losses/pair_terms.py",
        '    "qabf_pair": PairTerm(lambda sources_y: sources_y, qabf_pair),\n',
        '    "gray_pair": PairTerm(lambda sources_y: sources_y, lambda fused_y, sources_y: fused_y.mean((1, 2, 3))),\n',
    ),
    (
        "evaluation/metrics.py",
        '        "PSNR": Metric(psnr, "ref"),\n',
        '        "lightest": Metric(lightest, "fused"),\n',
    ),
    (
        "evaluation/metrics.py",
        "    return float(peak_signal_noise_ratio(first.gray_double, second.gray_double, data_range=255))\n",
        "\n\ndef lightest(fused: Image) -> float:\n    return float(pictures('lightest', fused=fused)[0].gray.max())\n",
    ),
    ("images/datasets.py", '        DataSet("sice", "SICE"),\n', '        DataSet("mine", val=("b",)),\n'),
]

SEARCH = """
import json
from pathlib import Path
import numpy as np
import torch
import hsds_lib as hsds
from hsds_lib.network.folded import fold

config = hsds.preset("tiny").search.changed(
    width=0.0625, beta_warmup=0, crop=44, space="extended", theta=0.0, top_p=len(hsds.PRIMITIVES)
)
generator = torch.Generator().manual_seed(0)
train, val = (hsds.Batch(*torch.rand(4, 1, 3, 44, 44, generator=generator)) for _ in range(2))
search = hsds.DualSearch(config, hsds.load_vgg16("random"))
search.step(train, val)
search.genotype().save("genotype.json")
search.loss_weights().save("loss_weights.json")
genotype, weights = hsds.Genotype.load("genotype.json"), hsds.LossWeights.load("loss_weights.json")
for scene in "abc":
    for role in ("under", "over"):
        hsds.write_rgb(f"data/mine/train/{scene}/{role}.png", torch.rand(3, 24, 24, generator=generator))
gray = np.full((48, 48, 3), 7, np.uint8)
network, pair = hsds.derive(genotype).eval(), torch.rand(1, 2, 12, 16)
print(json.dumps({
    "library": str(Path(hsds.__file__).parent),
    "operations": [list(retained) for retained in genotype.nodes.values()],
    "terms": list(weights.mix),
    "moved": all(beta != 0 for beta in weights.beta),
    "scores": hsds.all_metrics(gray, gray, gray)["lightest"],
    "scenes": [[scene.name for scene in hsds.load_scenes("mine", split)] for split in ("train", "val")],
    "folds": bool((fold(network)(pair) - network(pair)).abs().max() < 1e-4),
}))
"""


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the library with one more of each."""
    copy = tmp_path_factory.mktemp("extended") / "hsds_lib"
    shutil.copytree(LIBRARY, copy, ignore=shutil.ignore_patterns("__pycache__", "models", "recordings", "vendor"))
    for name, line, joining in EDITS:
        text = (copy / name).read_text(encoding="utf-8")
        assert text.count(line) == 1, f"{name} has no line {line!r}; CONTRIBUTING names it"
        (copy / name).write_text(text.replace(line, line + joining), encoding="utf-8")
    return copy


def test_what_is_added_as_contributing_says_is_known_everywhere(extended: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(extended.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HSDS_DATA": str(extended.parent / "data"),
    }
    command = [sys.executable, "-c", SEARCH]
    done = subprocess.run(
        command, cwd=extended.parent, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    operation, term = NEW
    assert found["library"] == str(extended)
    assert all(operation in names for names in found["operations"])
    assert found["terms"][-1] == term and found["moved"] and found["folds"]
    assert found["scores"] == 7 and found["scenes"] == [["a", "c"], ["b"]]
