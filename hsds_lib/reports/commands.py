"""The commands that turn notebooks into things to read: ``hsds report``, ``sweep``, ``slides`` and ``site``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hsds_lib.arguments import UsageError, assignments
from hsds_lib.outputs import require_apart

# Imports of nbconvert and others wait until a command needs them, so that --help answers at once.

Names = Annotated[list[str] | None, typer.Argument(help="names such as 05_dual_search; default: all")]


def report(
    notebooks: Names = None,
    preset: Annotated[str | None, typer.Option(help="tiny, lesson or paper")] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME=VALUE", help="a notebook parameter; repeatable"),
    ] = None,
    out: Annotated[Path, typer.Option(help="folder for the HTML reports")] = Path("reports"),
    pdf: Annotated[bool, typer.Option("--pdf", help="each report as PDF as well, by Chromium or Chrome")] = False,
    figures: Annotated[
        bool, typer.Option("--figures", help="each figure as SVG, PDF and PNG as well, in NAME_figures")
    ] = False,
) -> None:
    """Execute the notebooks and write them as self-contained HTML reports with an index page."""
    from hsds_lib.reports.page import require_browser, write_pdf

    if pdf:
        require_browser()  # before minutes of computing, not after them
    from hsds_lib.reports.execute import run_reports

    given = assignments(parameters) | ({"preset": preset} if preset else {})
    results = run_reports(notebooks or None, parameters=given, out=out, figures=figures)
    for result in results if pdf else ():
        typer.echo(f"{write_pdf(result.html)}")
    typer.echo(f"open {out / 'index.html'}")
    if not all(result.ok for result in results):
        raise typer.Exit(1)


def sweep(
    grid: Annotated[Path, typer.Argument(metavar="GRID.json", help="notebook and values of its parameters")],
    workers: Annotated[int | None, typer.Option(min=1, help="processes on this machine; default: as suits it")] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="of a Dask scheduler instead, such as tcp://host:8786")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="folder for the results; default: sweeps/GRID")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="do finished runs again")] = False,
) -> None:
    """Execute notebooks over a grid of parameters, several at a time, and write a page that compares the runs.

    Given again, the same command does what is missing: runs that failed, were not reached, or whose notebook changed.
    """
    from hsds_lib.reports.grid import load_grid
    from hsds_lib.runs.lock import alone_in
    from hsds_lib.runs.progress import Stopped

    if workers is not None and scheduler is not None:
        raise UsageError("give either --workers or --scheduler; the scheduler has workers of its own")
    folder = out or Path("sweeps") / grid.stem
    require_apart(folder, grid)
    wanted = load_grid(grid)
    from hsds_lib.reports.sweep import run_sweep

    try:
        with alone_in(folder, "sweep"):
            outcomes = run_sweep(wanted, folder, workers=workers, scheduler=scheduler, restart=restart)
    except Stopped as stop:
        typer.echo(str(stop), err=True)
        raise typer.Exit(130) from None
    typer.echo(f"open {folder / 'index.html'}")
    failed = sum(outcome.status != "ok" for outcome in outcomes)
    if failed:
        typer.echo(f"{failed} of {len(outcomes)} runs failed; the same command tries them again", err=True)
        raise typer.Exit(1)


def slides(
    notebook: Annotated[Path, typer.Argument(help="an executed notebook, such as reports/03_wsras.ipynb")],
    out: Annotated[Path, typer.Option("-o", "--out", help="the HTML file, or a folder for it")] = Path("slides"),
) -> None:
    """Make slides of an executed notebook: one HTML file with speaker notes, which needs no network."""
    from hsds_lib.reports.slides import write_slides

    typer.echo(f"open {write_slides(notebook, out)}")


def site(
    out: Annotated[Path, typer.Option(help="folder for the website")] = Path("site"),
    executed: Annotated[Path, typer.Option(help="folder with the executed notebooks of `hsds report`")] = Path(
        "reports"
    ),
) -> None:
    """Build a website from the executed notebooks and the guides, with a search; it is read offline."""
    from hsds_lib.reports.site import build_site

    index = build_site(out, executed=executed)
    typer.echo(f"open {index}; for search results with excerpts `python -m http.server -d {out}`, port 8000")
