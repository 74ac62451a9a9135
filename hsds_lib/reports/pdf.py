"""A report as PDF, printed by Chromium or Chrome where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from hsds_lib.runtime import RunError, atomic_path

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
_FLAGS = (
    "--headless",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-pdf-header-footer",
)
_TIME_LIMIT = 180  # seconds


def find_browser() -> str | None:
    """The browser that prints: the one ``HSDS_CHROMIUM`` names, else the first Chromium or Chrome found, else None."""
    named = os.environ.get("HSDS_CHROMIUM")
    if named is not None:
        return named or None
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    return found or next((place for place in _PLACES if Path(place).is_file()), None)


def require_browser() -> str:
    """The browser that prints; without one a ``RunError`` says what to do."""
    browser = find_browser()
    if browser is None:
        raise RunError("PDF needs Chromium or Chrome, and none was found; install one, or name it in HSDS_CHROMIUM")
    return browser


def write_pdf(page: str | Path, pdf: str | Path | None = None) -> Path:
    """Print an HTML report.

    Args:
        page: the HTML file.
        pdf: the file to write; beside the page when None.

    Returns:
        The PDF's path.

    Raises:
        RunError: there is no browser, or it failed; nothing is written then.
        FileNotFoundError: there is no such page.
    """
    page = Path(page).resolve()
    if not page.is_file():
        raise FileNotFoundError(f"there is no page {page}; make it with `hsds report` first")
    browser = require_browser()
    target = Path(pdf) if pdf is not None else page.with_suffix(".pdf")
    with tempfile.TemporaryDirectory(prefix="hsds-pdf-") as folder:
        printed = Path(folder) / "page.pdf"
        command = [browser, *_FLAGS, *_sandbox(), f"--user-data-dir={folder}/profile", f"--print-to-pdf={printed}"]
        try:
            done = subprocess.run(
                [*command, page.as_uri()], capture_output=True, text=True, timeout=_TIME_LIMIT, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RunError(f"{browser} did not print {page.name}: {error}") from None
        if not printed.is_file() or printed.read_bytes()[:5] != b"%PDF-":
            raise RunError(f"{browser} did not print {page.name}: {done.stderr.strip()[-300:] or 'it wrote no PDF'}")
        with atomic_path(target) as temporary:
            shutil.copyfile(printed, temporary)
    return target


def _sandbox() -> list[str]:
    # Chromium refuses to run as root with its sandbox; as anybody else the sandbox stays.
    return ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
