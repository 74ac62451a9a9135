"""The command ``hsds fuse``: what goes with what is said first, then each picture as soon as it is there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hsds_lib.arguments import UsageError
from hsds_lib.outputs import own_folder, require_apart
from hsds_lib.runs.progress import Progress

if TYPE_CHECKING:
    from hsds_lib.images.folders import SceneFiles

# Imports of torch wait until the command runs, so that --help answers at once.


def fuse(
    out: Annotated[Path, typer.Option("-o", "--out", help="the picture to write, or a folder with --pairs")],
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PICTURE", help="under and over, or up to nine exposures, in any order"),
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="a folder of scenes, such as DIR/<scene>/under.* and over.*", metavar="DIR")
    ] = None,
    align: Annotated[
        bool, typer.Option("--align", help="mend shifts and small turns first, and crop to match")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be fused, and write nothing")] = False,
    model: Annotated[str, typer.Option(help="default, paper, released, a run folder or a file")] = "default",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
) -> None:
    """Fuse exposures of one scene into one picture of the same size, or a whole folder of scenes.

    A folder holds <scene>/ with under.* and over.*, or with 2 to 9 exposures of any name; or under/<scene>.* and
    over/<scene>.*; or <scene>_A.* with <scene>_B.*, or <scene>(-2).* with <scene>(+2).*. Where no name says which
    exposure is darker, mean luma does.
    """
    if (pairs is None) == (not images) or (images and len(images) < 2):
        raise UsageError("give either UNDER and OVER, or --pairs DIR; see `hsds fuse --help`")
    if pairs is not None:
        _fuse_pairs(pairs, out, align=align, dry_run=dry_run, model=model, device=device)
        return
    assert images
    from hsds_lib.fusing.fuse import fuse_photos, require_fusable
    from hsds_lib.images.folders import dark_to_bright
    from hsds_lib.network.model_file import load_model

    require_fusable(images, out)
    if dry_run:
        typer.echo(f"{' < '.join(map(str, dark_to_bright(images)))} -> {out}")
        return
    network = load_model(model, device=device)
    order = fuse_photos(network, images, out, align=align, say=lambda note: typer.echo(f"note: {note}", err=True))
    if len(images) == 2 and order[0] != images[0]:
        typer.echo(f"note: {images[0]} is the brighter of the two, so it was taken as the over-exposed image", err=True)
    typer.echo(f"{out}")


def _fuse_pairs(pairs: Path, out: Path, *, align: bool, dry_run: bool, model: str, device: str) -> None:
    from hsds_lib.fusing.fuse import fuse_folder
    from hsds_lib.images.folders import look
    from hsds_lib.network.model_file import load_model

    require_apart(out, pairs)
    folder = look(pairs)
    count, bad = len(folder.found), 0
    typer.echo(f"{pairs} holds {count} {'scene' if count == 1 else 'scenes'}: {folder.layout}", err=True)
    for name, scene in folder.found.items():
        if dry_run:
            typer.echo(f"{name}: skipped: {scene}" if isinstance(scene, str) else f"{_said(scene)} -> {out / name}.png")
        elif not isinstance(scene, str) and scene.by_luma:
            typer.echo(_said(scene), err=True)
    if dry_run:
        raise typer.Exit(int(any(isinstance(scene, str) for scene in folder.found.values())))
    network = load_model(model, device=device)
    own_folder(out, "hsds fuse --pairs", pairs)
    with Progress(count, unit="scenes") as progress:
        for number, report in enumerate(fuse_folder(network, pairs, out, align=align), start=1):
            outcome = f"skipped: {report.problem}" if report.problem else f"{out / report.name}.png"
            swapped = " (under and over were swapped)" if report.swapped else ""
            stream = sys.stderr if report.problem else sys.stdout
            progress.say(f"[{number}/{count}] {report.name}: {outcome}{swapped}", file=stream)
            for note in report.notes:
                progress.say(f"[{number}/{count}] {report.name}: note: {note}")
            progress.step()
            bad += bool(report.problem)
    if bad:
        typer.echo(f"{bad} of {count} scenes could not be fused; see the lines marked 'skipped'", err=True)
        raise typer.Exit(1)


def _said(scene: SceneFiles) -> str:
    """What was taken for what."""
    return f"{scene.name}: {' < '.join(map(str, scene.exposures))}"
