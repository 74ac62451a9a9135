"""The command ``hsds evaluate``: any methods on the same scenes, with intervals, tables, figures and a page."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hsds_lib.images.datasets import SCENE_SETS, is_in_memory, parts_of
from hsds_lib.outputs import require_apart
from hsds_lib.runs.lock import alone_in

if TYPE_CHECKING:
    from hsds_lib.evaluation.methods import Selection
    from hsds_lib.reports.evaluation_figures import Crop

# Imports of torch, pandas and matplotlib wait until the command runs, so that --help answers at once.
_WITH_FILES = [name for name in SCENE_SETS if not any(is_in_memory(part) for part in parts_of(name))]
_BUILT_IN = "average,mertens,default,paper,released"  # evaluation.methods.BUILT_IN


def evaluate(
    pairs: Annotated[str, typer.Option(help=f"a folder of scenes, or {', '.join(_WITH_FILES)}", metavar="DIR")],
    out: Annotated[Path, typer.Option(help="the folder to write", metavar="RESULTS")],
    method: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=DIR", help="a folder of fused pictures, <scene>.* or <scene>_<method>.*"),
    ] = None,
    builtin: Annotated[str, typer.Option(metavar="NAMES", help=f"fused by the library: {_BUILT_IN}")] = "",
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=RUN", help="a run folder or .safetensors file to fuse with; repeatable"),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="train, val, test or all; default: val of named data, all of a folder")
    ] = None,
    scenes: Annotated[Path | None, typer.Option(metavar="FILE", help="only these scenes, a name a line")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="differences are from this method; default: mertens, or the first")
    ] = None,
    peers: Annotated[bool, typer.Option("--peers", help="recorded scores of other methods beside (MEFB only)")] = False,
    gallery: Annotated[list[str] | None, typer.Option(metavar="SCENE", help="a scene to show; repeatable")] = None,
    crop: Annotated[
        list[str] | None,
        typer.Option(metavar="SCENE=X,Y,W,H", help="a part to enlarge, pixels; at most two a scene"),
    ] = None,
    workers: Annotated[int, typer.Option(help="processes that score")] = 1,
    seed: Annotated[int, typer.Option(help="of the bootstrap's draws")] = 0,
    device: Annotated[str, typer.Option(help="for models: auto, cpu, cuda or mps")] = "auto",
) -> None:
    """Compare methods on the same scenes: all metrics, ranks, paired bootstrap intervals, figures and a page.

    Names and sizes are checked before anything is computed. Scores are kept in RESULTS/cache: the same command goes on
    where it was stopped, and computes again only what has changed.
    """
    from hsds_lib.evaluation.benchmark import Plan, result_tables, run_benchmark
    from hsds_lib.evaluation.methods import Method, built_ins, read_named, select_scenes

    given = read_named(method or [], "--method")
    require_apart(out, scenes)
    names = [name.strip() for name in builtin.split(",") if name.strip()]
    selection = select_scenes(pairs, split=split, only=None if scenes is None else _listed(scenes))
    parts = _crops(selection, crop or [], gallery or [])
    with_pictures = [Method(name, folder=Path(folder)) for name, folder in given.items()]
    plan = Plan(
        selection=selection,
        methods=(*with_pictures, *built_ins(names, read_named(model or [], "--model").items())),
        baseline=baseline,
        recorded=peers,
        seed=seed,
        workers=workers,
        device=device,
    )
    from hsds_lib.reports.evaluation_page import write_folder

    command = shlex.join(["hsds", *sys.argv[1:]])
    try:
        with alone_in(out, "evaluate"):
            found = run_benchmark(plan, out, show=True)
            page = write_folder(found, out, command=command, shown=gallery or [], crops=parts)
    except KeyboardInterrupt:
        typer.echo("stopped; scores so far are kept, and the same command goes on from here", err=True)
        raise typer.Exit(130) from None
    typer.echo(result_tables(found)["means"].markdown())
    typer.echo(f"open {page}", err=True)


def _listed(path: Path) -> list[str]:
    from hsds_lib.evaluation.methods import BenchmarkError

    if not path.is_file():
        raise BenchmarkError(f"--scenes {path} is not a file; give a text file with the name of a scene on each line")
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    names = [line for line in lines if line]
    if not names:
        raise BenchmarkError(f"--scenes {path} names no scene; write one on each line")
    return names


def _crops(selection: Selection, texts: Sequence[str], shown: Sequence[str]) -> dict[str, list[Crop]]:
    """Read and check what is to be shown, now and not after minutes of computing."""
    from hsds_lib.evaluation.methods import BenchmarkError
    from hsds_lib.images.io import read_rgb
    from hsds_lib.reports.evaluation_figures import read_crop

    files = {scene.name: scene for scene in selection.scenes}
    found: dict[str, list[Crop]] = {}
    for text in texts:
        scene, crop = read_crop(text)
        found.setdefault(scene, []).append(crop)
    unknown = next((scene for scene in [*shown, *found] if scene not in files), None)
    if unknown is not None:
        raise BenchmarkError(f"scene '{unknown}' of --gallery or --crop is none of those evaluated; name one of them")
    for scene, crops in found.items():
        _, height, width = read_rgb(files[scene].under).shape
        if len(crops) > 2 or any(one.x + one.width > width or one.y + one.height > height for one in crops):
            raise BenchmarkError(f"--crop of '{scene}': give one or two parts inside its {width} x {height} pixels")
    return found
