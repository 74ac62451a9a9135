"""The command line: files in, files out. ``hsds --help`` lists the commands."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from data_scripts.commands import data_app
from hsds_lib import __version__
from hsds_lib.arguments import UsageError, merged, require_words
from hsds_lib.fusing.commands import fuse
from hsds_lib.images.datasets import SCENE_SETS
from hsds_lib.outputs import own_folder
from hsds_lib.reports import commands
from hsds_lib.reports.evaluate import evaluate
from hsds_lib.runs.progress import Progress, Stopped
from hsds_lib.runtime import RunError

# Imports of torch wait until a command needs them, so that --help answers at once.

app = typer.Typer(
    help="Hybrid-supervised dual search for multi-exposure image fusion.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps")]
Restart = Annotated[
    bool,
    typer.Option("--restart", help="begin anew, whatever was left in RUN; a model there is replaced once it is done"),
]
Accept = Annotated[bool, typer.Option("--accept-code-change", help="go on though the code has changed; it is noted")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="any other setting of the preset; repeatable")
]


def _version(value: bool) -> None:
    if value:
        typer.echo(f"hsds {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="say the version")
    ] = False,
) -> None:
    """Hybrid-supervised dual search for multi-exposure image fusion."""


@app.command()
def check() -> None:
    """Say whether everything runs on this machine, a line for each thing."""
    from hsds_lib.check import machine_checks

    checks = machine_checks()
    for line in checks:
        typer.echo(str(line))
    if not all(line.ok for line in checks):
        raise typer.Exit(1)


app.command()(fuse)


@app.command()
def metrics(
    fused: Annotated[
        Path, typer.Option(help="the fused image, or with --pairs a folder of <scene>.* or <scene>_<method>.*")
    ],
    under: Annotated[Path | None, typer.Option(help="the darker exposure")] = None,
    over: Annotated[Path | None, typer.Option(help="the brighter exposure")] = None,
    ref: Annotated[Path | None, typer.Option(help="the reference; CC, TMQI and others need one")] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="a folder of scenes, as `hsds fuse` takes it; ref.* beside them", metavar="DIR")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="with --pairs: a row per scene, all digits", metavar="CSV")] = None,
    workers: Annotated[int, typer.Option(help="with --pairs: processes to compute in")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object instead of a table")] = False,
) -> None:
    """Score a fused image by the paper's metrics, as the paper computes them and correctly; or a folder of them.

    A metric has no value, shown as -, null or an empty cell, if it needs a reference that was not given (CC, TMQI and
    others), or if the images are too small for it or flat. With --pairs, what is printed are the means over the scenes
    in which a metric has a value.
    """
    import json

    if pairs is None and (under is None or over is None):
        raise UsageError("give --under and --over, or --pairs DIR; see `hsds metrics --help`")
    if pairs is not None and (under is not None or over is not None or ref is not None):
        raise UsageError("--pairs DIR takes under, over and ref from its scenes; give either it or the files")
    if (pairs is None) != (out is None):
        raise UsageError("--pairs DIR and --out CSV belong together; give both or neither")
    if workers != 1 and pairs is None:
        raise UsageError("--workers goes with --pairs DIR; one image is scored in one process")
    if out is not None and out.is_dir():
        raise UsageError(f"--out {out} is a folder; name the CSV file to write")
    from hsds_lib.evaluation.scoring import score_files, score_table

    bad = False
    if pairs is not None:
        assert out is not None
        scores, bad = _score_pairs(pairs, fused, out, workers)
    else:
        assert under is not None and over is not None
        scores = score_files(under, over, fused, ref)
    typer.echo(json.dumps(scores, indent=2, allow_nan=False) if as_json else score_table(scores))
    if bad:
        raise typer.Exit(1)


def _score_pairs(pairs: Path, fused: Path, out: Path, workers: int) -> tuple[dict[str, float | None], bool]:
    """Write the scores of a folder; give their means, and whether a scene was skipped."""
    from hsds_lib.evaluation.scoring import mean_scores, require_scores_file, score_folder, write_scores
    from hsds_lib.images.folders import look

    require_scores_file(out, pairs, fused)
    count, table = len(look(pairs).found), {}
    with Progress(count, unit="scenes") as progress:
        for number, result in enumerate(score_folder(pairs, fused, workers=workers), start=1):
            if result.problem is None:
                table[result.name] = result.scores
            else:
                progress.say(f"[{number}/{count}] {result.name}: skipped: {result.problem}")
            progress.step()
    if not table:
        raise ValueError(f"none of the {count} scenes could be scored, so nothing was written; see the lines above")
    write_scores(out, table)
    typer.echo(f"scenes in {out}: {len(table)}; their means:", err=True)
    if len(table) < count:
        message = f"{count - len(table)} of {count} scenes could not be scored; see the lines marked 'skipped'"
        typer.echo(message, err=True)
    return mean_scores(list(table.values())), len(table) < count


@app.command()
def search(
    out: Annotated[Path, typer.Option(help="the run folder to write", metavar="RUN")],
    preset: Annotated[str, typer.Option(help="tiny (seconds), lesson (minutes) or paper (a GPU)")] = "lesson",
    data: Annotated[str | None, typer.Option(help=f"{', '.join(SCENE_SETS)}, or a folder")] = None,
    theta: Annotated[float | None, typer.Option(help="pruning threshold; 0 prunes nothing")] = None,
    top_p: Annotated[int | None, typer.Option(help="operations retained per node")] = None,
    seed: Annotated[int | None, typer.Option(help="seed of everything random")] = None,
    epochs: Annotated[int | None, typer.Option(help="number of epochs")] = None,
    ablation: Annotated[str | None, typer.Option(help="a condition of Table 3, such as 'only WR' or DARTS")] = None,
    settings: Settings = None,
    restart: Restart = False,
    accept_code_change: Accept = False,
    device: Device = "auto",
) -> None:
    """Search the network and its loss (Algorithm 1); writes genotype.json, loss_weights.json and the history.

    A run that was stopped or killed goes on from its last checkpoint when the same command is given again. Started by
    torchrun (`torchrun --nproc-per-node 2 -m hsds_lib search ...`), the batches are divided among the processes.
    """
    from hsds_lib.config import ABLATIONS
    from hsds_lib.config import ablation as take_away
    from hsds_lib.config import preset as find_preset

    given = merged(settings, data=data, theta=theta, top_p=top_p, seed=seed, epochs=epochs)
    config = find_preset(preset).search.changed(**given)
    if ablation is not None:
        twice = sorted(set(given) & set(ABLATIONS.get(ablation, {})))
        if twice:
            raise UsageError(f"the ablation '{ablation}' sets '{twice[0]}' itself; leave that setting out")
        config = take_away(config, ablation)
    from hsds_lib.search.run import run_search

    def claim(_: Any, epoch: int) -> None:
        if epoch < 0 and _is_first_process():  # at the beginning, when nothing has been written
            own_folder(out, "hsds search", adopt=lambda folder: any(folder.glob("search.checkpoint*")))

    how: dict[str, Any] = {"resume": not restart, "accept_code_change": accept_code_change}
    with _said_when_stopped():
        run = run_search(config, out, device=device, on_epoch=claim, **how)
    if not _is_first_process():
        return
    operations = sum(len(retained) for retained in run.genotype.nodes.values())
    strongest = sorted(run.loss_weights.mix.items(), key=lambda item: -item[1])[:3]
    typer.echo(f"genotype: {operations} operations in {len(run.genotype.nodes)} nodes, in {out / 'genotype.json'}")
    typer.echo("strongest losses: " + ", ".join(f"{name} {weight:.3f}" for name, weight in strongest))
    typer.echo(f"next: hsds train --run {out}")


@app.command()
def train(
    run: Annotated[
        Path,
        typer.Option(
            help="what `hsds search` wrote, or a folder with genotype.json and loss_weights.json", metavar="RUN"
        ),
    ],
    preset: Annotated[str, typer.Option(help="tiny, lesson or paper")] = "lesson",
    data: Annotated[str | None, typer.Option(help="default: what the search took, else the preset's")] = None,
    seed: Annotated[int | None, typer.Option(help="seed of everything random")] = None,
    epochs: Annotated[int | None, typer.Option(help="number of epochs")] = None,
    settings: Settings = None,
    restart: Restart = False,
    accept_code_change: Accept = False,
    device: Device = "auto",
) -> None:
    """Train the network that a search found, with the loss it found; writes model.safetensors into RUN.

    RUN needs genotype.json and loss_weights.json only, so that a structure or a loss of another origin can be trained.
    A training that was stopped or killed goes on from its last checkpoint when the same command is given again; under
    torchrun the batches are divided among the processes. A finished model stays until one that --restart asks for is
    finished as well.
    """
    from hsds_lib.config import preset as find_preset
    from hsds_lib.losses.space import LossWeights
    from hsds_lib.network.genotype import Genotype

    genotype, weights = Genotype.load(run / "genotype.json"), LossWeights.load(run / "loss_weights.json")
    given = merged(settings, data=data, seed=seed, epochs=epochs)
    searched = None if "data" in given else _searched_data(run / "provenance.json")
    config = find_preset(preset).train.changed(**({"data": searched} | given))
    from hsds_lib.training.train import train_network

    with _said_when_stopped():
        how: dict[str, Any] = {"resume": not restart, "accept_code_change": accept_code_change}
        result = train_network(genotype, weights, config, out=run, device=device, **how)
    if not _is_first_process():
        return
    typer.echo(f"validation MEF-SSIM {result.history[-1]['val_mef_ssim']:.4f}; model in {run / 'model.safetensors'}")
    typer.echo(f"next: hsds fuse UNDER OVER -o OUT.png --model {run}")


def _searched_data(provenance: Path) -> str | None:
    """The data that a search took; None where no search was."""
    from hsds_lib.runtime import read_json

    try:
        return str(read_json(provenance)["config"]["data"]) if provenance.is_file() else None
    except (KeyError, TypeError):
        raise ValueError(f"{provenance} does not say which data the search took; give --data") from None


@contextmanager
def _said_when_stopped() -> Iterator[None]:
    """Say how to go on after Ctrl-C, of which typer makes a silent exit."""
    try:
        yield
    except Stopped as stop:
        if _is_first_process():
            typer.echo(str(stop), err=True)
        raise typer.Exit(130) from None


def _is_first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"  # set by torchrun


for _command in (evaluate, commands.report, commands.sweep, commands.slides, commands.site):
    app.command()(_command)
app.add_typer(data_app, name="data")


def main() -> None:
    """Run the command line; a mistake of the user is one sentence and SystemExit(2), never a traceback."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    try:
        require_words(sys.argv[1:])
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: typer.echo(f"warning: {message}", err=True)
            app()
    except (ValueError, OSError, RunError, RecursionError) as error:
        said = "a name or file given is nested too deeply" if isinstance(error, RecursionError) else error
        typer.echo(f"error: {said}", err=True)
        raise SystemExit(2) from None
