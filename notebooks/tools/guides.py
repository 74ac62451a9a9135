"""The parts of the guides that follow from the notebooks: ``python -m notebooks.tools.guides [--check]``.

Each stands between markers in its guide and is written here, so that it cannot fall behind. ``--check`` only compares.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hsds_lib.course.checks import all_exercises
from hsds_lib.reports.notebook import find_notebooks
from hsds_lib.runtime import atomic_path
from notebooks.tools.cloud import missing_in_colab
from notebooks.tools.source import read_source

_TITLE = re.compile(r"\A# (?:\d+ · )?(.+)$", re.MULTILINE)
_TIME = re.compile(r"\*\*Time\*\*\s+(.+?)\s+of computing,\s+(.+?)\s+of reading", re.DOTALL)
_EXERCISE = re.compile(r"^### Exercise (\d+\.\d+)\s*\n+(.*?)(?=\n\n|\n#|\Z)", re.MULTILINE | re.DOTALL)
MINUTES = {"ten minutes": 10, "thirty minutes": 30, "forty minutes": 40, "an hour": 60}
"""How long notebooks say that reading takes, as they write it."""


class GuideError(ValueError):
    """A guide or notebook without something that the guides need; the message says what and where."""


class NotebookFacts(NamedTuple):
    """What the guides say of a notebook, as its source has it; ``tasks`` are first paragraphs by exercise."""

    name: str
    computing: str
    reading: str
    tasks: dict[str, str]


def notebook_facts(notebooks: Path | None = None) -> list[NotebookFacts]:
    """Read times and exercises of every numbered notebook from its source, in order; GuideError where they lack."""
    found = []
    for path in sorted(((notebooks or find_notebooks()) / "src").glob("[0-9]*.py")):
        cells = [cell.source for cell in read_source(path).cells if cell.cell_type == "markdown"]
        time = _TIME.search(cells[0])
        if not _TITLE.search(cells[0]) or time is None or " ".join(time[2].split()) not in MINUTES:
            raise GuideError(
                f"{path.name}: its first cell needs a title and '**Time** ... of computing, ... of reading', "
                f"the latter {', '.join(MINUTES)}"
            )
        tasks = {number: " ".join(task.split()) for cell in cells for number, task in _EXERCISE.findall(cell)}
        computing, reading = (" ".join(part.split()) for part in time.groups())
        found.append(NotebookFacts(path.stem, computing, reading, tasks))
    return found


def generated(notebooks: Path | None = None) -> dict[str, dict[str, str]]:
    """Make the generated parts: Markdown by name of the part, by file in the folder ``guides``."""
    facts, exercises = notebook_facts(notebooks), all_exercises()
    if unknown := {number for notebook in facts for number in notebook.tasks} - exercises.keys():
        raise GuideError(f"notebooks have exercises that hsds_lib.course.exercises lacks: {', '.join(sorted(unknown))}")
    minutes = ["| notebook | computing | reading | exercises |", "|---|---|---|---|"]
    grading = ["| exercise | asks for | answer | mistakes it knows |", "|---|---|---|---|"]
    mistakes = []
    for name, computing, reading, tasks in facts:
        minutes.append(f"| [{name}](../{name}.ipynb) | {computing} | {reading} | {len(tasks)} |")
        hints = []
        for number, task in tasks.items():
            known = exercises[number]
            row = [f"[{number}](../solutions/{name}.ipynb)", task.replace("|", r"\|")]
            row += ["a value" if known.cases is None else "a function", str(len(known.mistakes))]
            grading.append(f"| {' | '.join(row)} |")
            hints.append(f"- **{number}** {' · '.join(_escaped(mistake.hint) for mistake in known.mistakes)}")
        if hints:
            summary = f"<summary>{name}: what a wrong answer is told</summary>"
            mistakes.append("\n".join(["<details>", summary, "", *hints, "", "</details>"]))
    total = sum(MINUTES[notebook.reading] for notebook in facts)
    minutes.append(f"| all {len(facts)} | | {total} minutes | {sum(len(notebook.tasks) for notebook in facts)} |")
    packages = "```text\n%pip install --quiet " + " ".join(f'"{line}"' for line in missing_in_colab()) + "\n```"
    instructor = {"minutes": "\n".join(minutes), "grading": "\n".join(grading), "mistakes": "\n\n".join(mistakes)}
    return {"instructor.md": instructor, "cloud.md": {"packages": packages}}


def _escaped(text: str) -> str:
    """Plain words as Markdown: what would be read as markup is escaped; code stays."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([*_<>\[\]|])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def updated(text: str, parts: dict[str, str], *, where: str) -> str:
    """Put parts between their markers ``<!-- begin NAME -->`` and ``<!-- end NAME -->``; GuideError without them."""
    for name, part in parts.items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise GuideError(f"{where}: the markers 'begin {name}' and 'end {name}' are missing")
        text = f"{before}{begin}{part}\n{end}{after}"
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m notebooks.tools.guides", description="Update the guides.")
    parser.add_argument("--check", action="store_true", help="only say whether they are up to date")
    options = parser.parse_args(arguments)
    try:
        folder, parts = find_notebooks() / "guides", generated()
        old = {name: (folder / name).read_text(encoding="utf-8") for name in parts}
        new = {name: updated(old[name], parts[name], where=name) for name in old}
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    changed = [name for name in old if new[name] != old[name]]
    for name in changed:
        if options.check:
            print(f"guides/{name} is older than its sources; run python -m notebooks.tools.guides", file=sys.stderr)
            continue
        with atomic_path(folder / name) as temporary:
            temporary.write_text(new[name], encoding="utf-8")
        print(f"wrote guides/{name}")
    return 1 if changed and options.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
