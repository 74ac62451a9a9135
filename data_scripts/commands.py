"""``hsds data list | fetch | verify | prepare``, and the same for the scripts in ``data_scripts/``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hsds_lib.arguments import UsageError

if TYPE_CHECKING:
    from data_scripts.download import Fetched

# Imports of torch and requests wait until a command needs them, so that --help answers at once.

data_app = typer.Typer(help="Fetch data sets and weights, each file proven by its sha256.", no_args_is_help=True)

To = Annotated[
    Path | None,
    typer.Option("--to", metavar="DIR", help="the data folder; default: HSDS_DATA (vgg16: the cache of this user)"),
]


@data_app.command("list")
def list_entries(to: To = None) -> None:
    """List what can be fetched: sizes, licences, and what is here."""
    from data_scripts.verify import listing

    typer.echo(listing(to))


@data_app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(help="mefb, sice_sample, coco or vgg16", metavar="NAME...")],
    to: To = None,
    given: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="a file, archive or folder fetched by hand; nothing is downloaded; repeatable",
        ),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            help="mefb: development (40 scenes), test (60, for final evaluation only: into a folder of their own, "
            "mefb_test, so that training never sees them) or all"
        ),
    ] = "development",
    images: Annotated[
        int | None,
        typer.Option(help="coco: so many single images out of the archive, checked by its CRC-32, without the whole"),
    ] = None,
) -> None:
    """Fetch data sets or weights; what is here and right is kept, and an interrupted download goes on."""
    with _said_when_stopped():
        for name in names:
            done = fetch_entry(name, to=to, given=given or (), split=split, images=images)
            typer.echo(f"{name}: {done}")


def fetch_entry(
    name: str,
    *,
    to: Path | None = None,
    given: Sequence[Path] = (),
    split: str = "development",
    images: int | None = None,
) -> Fetched:
    """Fetch one entry of the registry, whatever kind it is of.

    ``to`` is the data folder, default ``HSDS_DATA``, or the folder of the weights, default the cache of this user.
    UsageError where the options do not go with the entry, or it cannot be fetched at all.
    """
    from data_scripts import coco, vgg16
    from data_scripts import images as pictures
    from data_scripts.registry import data_root, load_entry

    entry = load_entry(name)
    if images is not None and name != "coco":
        raise UsageError(f"--images goes with coco, not with {name}; leave it out")
    if split != "development" and not any(image.split == "test" for image in entry.images):
        raise UsageError(f"--split goes with mefb, not with {name}; leave it out")
    if name == "sice":
        raise UsageError(
            f"sice is behind a form: fetch its archives by hand ({', '.join(entry.by_hand)}), "
            "then run `hsds data prepare sice --from ARCHIVE_OR_FOLDER`"
        )
    if name == "vgg16":
        return vgg16.fetch_vgg16(entry, to=to, given=given)
    root = data_root(to)
    if name == "coco":
        return coco.fetch_coco(entry, root, images=images, given=given)
    return pictures.fetch_images(entry, root, split=split, given=given)


@data_app.command()
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="default: all that is here", metavar="[NAME...]")] = None,
    to: To = None,
) -> None:
    """Compare every file with its recorded hash; lists what is missing, changed or extra, and exits with 1 then."""
    from data_scripts.verify import verdicts

    found = verdicts(names or [], to)
    for verdict in found:
        typer.echo(str(verdict))
    if any(verdict.troubles for verdict in found):
        raise typer.Exit(1)


@data_app.command()
def prepare(
    name: Annotated[str, typer.Argument(help="sice")],
    given: Annotated[
        list[Path], typer.Option("--from", metavar="FILE_OR_FOLDER", help="archives or folders; repeatable")
    ],
    to: To = None,
    seed: Annotated[int, typer.Option(help="of the division into training and test")] = 0,
    long_side: Annotated[
        int, typer.Option(help="pixels of the longer side of what is stored; 0 keeps every picture's size")
    ] = 600,
) -> None:
    """Make pairs with references of SICE's sequences, which are behind a form and have to be fetched by hand."""
    from data_scripts.registry import data_root
    from data_scripts.sice import prepare_sice

    if name != "sice":
        raise UsageError(f"'{name}' needs no preparing; only sice does, the others come ready by `hsds data fetch`")
    with _said_when_stopped("stopped; nothing was written, and the same command begins anew"):
        typer.echo(str(prepare_sice(given, data_root(to), seed=seed, long_side=long_side)))


def run_script(*words: str) -> None:
    """Do what ``hsds data`` does with these words, such as "fetch" and "mefb", and those behind the script's name."""
    from hsds_lib.cli import main

    sys.argv = ["hsds", "data", *words, *sys.argv[1:]]
    main()


@contextmanager
def _said_when_stopped(
    sentence: str = "stopped; what was fetched is kept, and the same command goes on from there",
) -> Iterator[None]:
    """Say how to go on after Ctrl-C, of which typer makes a silent exit."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(sentence, err=True)
        raise typer.Exit(130) from None
