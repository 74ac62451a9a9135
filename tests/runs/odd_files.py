"""Runs whose files and options are odd: each must be used, or refused in one sentence with nothing lost.

python odd_files.py FOLDER --count N --seed SEED prints what happened, by kind.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import random
import runpy
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from hsds_lib.cli import main as hsds_main
from hsds_lib.config import SearchConfig, TrainConfig, preset
from hsds_lib.images.io import write_rgb
from hsds_lib.losses.space import LossWeights
from hsds_lib.runs.checkpoints import Checkpoints
from hsds_lib.runtime import RunError
from hsds_lib.search import run as search_run
from hsds_lib.training import job, train

SMALL = runpy.run_path(str(Path(__file__).with_name("killed.py")))
SEARCH = {name: SMALL["SEARCH"].model_dump()[name] for name in ("width", "crop", "batch_size", "features", "lr_omega")}
SEARCH |= {"epochs": 1, "steps_per_epoch": 3}
TRAIN = {"epochs": 2, "steps_per_epoch": 1, "batch_size": 1, "crop": 44, "features": "random"}
TRAIN |= {"recalibration_batches": 1, "only_terms": ["mse_ref"]}
JSONS = ("genotype.json", "loss_weights.json", "provenance.json", "training_provenance.json")
LINES = ("history.jsonl", "training.jsonl")
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 1e300, -1e-320, 2**64, 10**30, float("nan")),
    *("", "x", "é" * 300, "\ud800", [], {}, [[]], {"a": 1}),
)
TEXTS = (
    *("", " ", "null", "[]", "{}", "true", "NaN", "-Infinity", "1e999", "-1", "0", "1e300", "1e308", "1e-320", "1e11"),
    *("18446744073709551616", "100000000000", "-0.0", "1.5", "[" * 2000, "9" * 5000, '{"a": 1, "a": 2}'),
    *("é", '"x"', "a=b", "../.."),
)


def settings(values: dict[str, Any]) -> list[str]:
    return [f"--set={name}={json.dumps(value)}" for name, value in values.items()]


def stopped(kind: str, steps: int) -> mock._patch:
    """Patch checkpoints: the run ends after so many."""
    left = [steps]

    def save(self: Checkpoints, checkpoint: Any) -> None:
        real(self, checkpoint)
        left[0] -= 1
        if not left[0]:
            raise RunError(f"{kind} cut off; see the checkpoint")

    real = Checkpoints.save
    return mock.patch.object(Checkpoints, "save", save)


def prepare(folder: Path) -> None:
    """A finished run, one cut off in its search and one cut off in a training beside a model, and two pictures."""
    quiet: dict[str, Any] = {"device": "cpu", "show": False, "checkpoint_every": 0.0}
    search, training = preset("tiny").search.changed(**SEARCH), preset("tiny").train.changed(**TRAIN)
    with stopped("search", 2), contextlib.suppress(RunError):
        search_run.run_search(search, folder / "searching", **quiet)
    found = search_run.run_search(search, folder / "finished", **quiet)
    arguments = (found.genotype, LossWeights.uniform(), training)
    found.loss_weights.save(folder / "finished" / "loss_weights.json")
    train.train_network(arguments[0], found.loss_weights, training, out=folder / "finished", **quiet)
    shutil.copytree(folder / "finished", folder / "training")
    with stopped("train", 1), contextlib.suppress(RunError):
        train.train_network(arguments[0], found.loss_weights, training, out=folder / "training", **quiet)
    for name in ("under.png", "over.png"):
        write_rgb(folder / name, torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(len(name))))


def odd_json(text: str, rng: random.Random) -> bytes:
    """Something else in place of a value, or of the text."""
    how = rng.randrange(7)
    if how == 0:
        return rng.choice([b"", b"{}", b"null", b"[]", b"3", b"[" * 100_000, b'{"a":' * 5000, b"\xff\xfe{}", b'"x"'])
    if how == 1:
        return text.encode()[: rng.randrange(len(text))]
    if how == 2:
        content = bytearray(text.encode())
        content[rng.randrange(len(content))] = rng.randrange(256)
        return bytes(content)
    value = json.loads(text)
    place, inner = None, value
    while isinstance(inner, dict | list) and inner and (place is None or rng.random() < 0.7):
        key = rng.choice(list(inner)) if isinstance(inner, dict) else rng.randrange(len(inner))
        place, inner = (inner, key), inner[key]
    if place is not None and how == 3 and isinstance(place[0], dict):
        del place[0][place[1]]
    elif place is not None and how == 4 and isinstance(place[0], dict):
        place[0][f"{place[1]}x"] = inner
    elif place is not None:
        place[0][place[1]] = rng.choice(ODD)
    return json.dumps(value).encode()


def odd_bytes(content: bytes, rng: random.Random) -> bytes:
    """A file that was damaged on its way."""
    how, at = rng.randrange(5), rng.randrange(len(content))
    changed = bytearray(content)
    if how < 2:
        changed[at] ^= 1 << rng.randrange(8)
    elif how == 2:
        changed[at : at + 4096] = bytes(len(changed[at : at + 4096]))
    elif how == 3:
        del changed[at:]
    else:
        changed[at:at] = rng.randbytes(8)
    return bytes(changed)


def contents(folder: Path) -> dict[str, str]:
    names = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in names}


def hsds(*words: object) -> tuple[int, str]:
    """Exit code and what was said on standard error."""
    said, argv = io.StringIO(), mock.patch.object(sys, "argv", ["hsds", *map(str, words)])
    with argv, contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            hsds_main()
        except SystemExit as ended:
            return int(ended.code or 0), said.getvalue()
    return 0, said.getvalue()


def command(kind: str, run: Path) -> list[object]:
    if kind == "fuse":
        return ["fuse", run.parent / "under.png", run.parent / "over.png", "-o", run / "out.png", "--model", run]
    if kind == "searching":
        return ["search", "--preset", "tiny", "--out", run, "--device=cpu", *settings(SEARCH)]
    return [
        "train",
        "--preset",
        "tiny",
        "--run",
        run,
        "--device=cpu",
        *settings(TRAIN),
        *(["--restart"] * (kind == "finished")),
    ]


def file_trial(folder: Path, rng: random.Random) -> tuple[str, int, str, list[str]]:
    """Damage one file of a run and use the run; what was said, and which other files were lost by a refusal."""
    kind = rng.choice(["finished", "finished", "fuse", "fuse", "searching", "training"])
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(folder / ("finished" if kind == "fuse" else kind), run)
    tensors = [path.name for path in run.glob("*.safetensors")]
    name = rng.choice([name for name in (*JSONS, *JSONS, *tensors, *tensors, *LINES) if (run / name).is_file()])
    content = (run / name).read_bytes()
    odd = odd_json(content.decode(), rng) if name in JSONS else odd_bytes(content, rng)
    (run / name).write_bytes(odd)
    before = contents(run)
    code, said = hsds(*command(kind, run))
    after = contents(run)
    lost = [one for one in before if after.get(one) != before[one]] if code else []
    return f"{kind}: {name.removeprefix('search.').removeprefix('train.')}", code, said, lost


def option_trial(folder: Path, rng: random.Random) -> tuple[str, int, str, list[str]]:
    """An odd setting or option; nothing is run."""
    kind = rng.choice(["searching", "finished"])
    config = SearchConfig if kind == "searching" else TrainConfig
    words = command(kind, folder / kind)
    value = rng.choice(TEXTS)
    names = [
        "--seed",
        "--epochs",
        "--data",
        "--preset",
        "--device",
        *(["--theta", "--top-p", "--ablation"] * (kind == "searching")),
    ]
    if rng.random() < 0.6:
        words.append(f"--set={rng.choice([*config.model_fields, 'x', ''])}={value}")
    else:
        words += [rng.choice([*names, "--out" if kind == "searching" else "--run", "--set"]), value]
    before = contents(folder)
    begun = RunError("begun")
    with (
        mock.patch.object(search_run, "_prepare", side_effect=begun),
        mock.patch.object(train, "TrainingJob", side_effect=begun),
    ):
        code, said = hsds(*words)
    return "option", code, said, [one for one in before if contents(folder).get(one) != before[one]]


def one_sentence(code: int, said: str) -> bool:
    """Whether a refusal is what it should be; click has a form of its own for what it refuses itself."""
    errors = [line for line in said.splitlines() if not line.startswith(("search:", "train:", "warning:"))]
    if code == 0:
        return True
    return code == 2 and ("Usage:" in said or (len(errors) == 1 and errors[0].startswith("error: ")))


def trials(folder: Path, count: int, seed: int) -> Iterator[tuple[str, int, str, list[str]]]:
    """So many odd runs, half of them odd by their files; the data is loaded once."""
    kinds: tuple[Callable[..., Any], ...] = (file_trial, option_trial)
    with contextlib.chdir(folder), contextlib.ExitStack() as stack:
        for module in (search_run, job):
            for name in ("referenced_scenes", "load_naturals", "load_vgg16"):
                stack.enter_context(mock.patch.object(module, name, cache(getattr(module, name))))
        prepare(folder)
        for number in range(count):
            yield kinds[number % 2](folder, random.Random(f"{seed} {number}"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    counts: Counter[str] = Counter()
    for kind, code, said, lost in trials(options.folder, options.count, options.seed):
        fine = one_sentence(code, said) and not lost
        counts[f"{kind}: {'used' if code == 0 else 'refused' if fine else 'WRONG'}"] += 1
        if not fine:
            print(kind, code, said[-2000:], lost, flush=True)
    print(json.dumps(counts, indent=1))


if __name__ == "__main__":
    main()
