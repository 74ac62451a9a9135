"""The commands that turn notebooks into things to read: ``hsds report``, ``hsds slides`` and ``hsds site``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hsds_lib.arguments import assignments

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
    from hsds_lib.reports.pdf import require_browser, write_pdf

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
