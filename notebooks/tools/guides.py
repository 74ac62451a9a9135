"""The parts of the guides that follow from the notebooks: ``python -m notebooks.tools.guides [--check]``.

Minutes stand in the notebooks, and the mistakes that people make in the exercises. The instructor's guide shows both
between markers, written here, so that it cannot fall behind. ``--check`` compares and writes nothing.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hsds_lib.course.checks import Exercise, all_exercises
from hsds_lib.reports.notebook import find_notebooks
from hsds_lib.runtime import atomic_path
from notebooks.tools.cloud import missing_in_colab
from notebooks.tools.source import read_source

_TITLE = re.compile(r"^# (?:\d+ · )?(.+)$", re.MULTILINE)
_TIME = re.compile(r"\*\*Time\*\*\s+(.+?)\s+of computing,\s+(.+?)\s+of reading", re.DOTALL)
_EXERCISE = re.compile(r"^### Exercise (\d+\.\d+)\s*\n+(.*?)(?=\n#|\Z)", re.MULTILINE | re.DOTALL)
_NUMBERS = {"five": 5, "ten": 10, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60}


class GuideError(ValueError):
    """A guide or notebook without something that the guides need; the message says what and where."""


@dataclass(frozen=True)
class NotebookFacts:
    """What the guides say of a notebook, as its source has it.

    Attributes:
        name: such as ``03_wsras``.
        title: without the number.
        computing: in words, such as ``half a minute``.
        reading: in words.
        tasks: the text below the heading of each exercise, by its number.
    """

    name: str
    title: str
    computing: str
    reading: str
    tasks: dict[str, str]

    @property
    def minutes(self) -> int:
        """Minutes of reading, as a number."""
        if self.reading == "an hour":
            return 60
        words = [word for word in self.reading.split() if word in _NUMBERS]
        if len(words) != 1 or not self.reading.endswith(("minutes", "minute")):
            raise GuideError(f"{self.name}: '{self.reading}' of reading is no number of minutes that is known here")
        return _NUMBERS[words[0]]


def notebook_facts(notebooks: Path | None = None) -> list[NotebookFacts]:
    """Read title, times and exercises of every notebook from its source, in order.

    Args:
        notebooks: the folder with ``src``; the checkout's when None.

    Raises:
        GuideError: when a notebook has no line that starts with **Time**, or no title.
    """
    notebooks = notebooks or find_notebooks()
    return [_facts(path) for path in sorted((notebooks / "src").glob("[0-9]*.py"))]


def _facts(path: Path) -> NotebookFacts:
    cells = [cell.source for cell in read_source(path).cells if cell.cell_type == "markdown"]
    title, time = _TITLE.search(cells[0]), _TIME.search(cells[0])
    if title is None or time is None:
        raise GuideError(f"{path.name}: its first cell needs a title and '**Time** ... of computing, ... of reading'")
    tasks = {number: text.strip() for cell in cells for number, text in _EXERCISE.findall(cell)}
    computing, reading = (" ".join(part.split()) for part in time.groups())
    return NotebookFacts(path.stem, title[1], computing, reading, tasks)


def generated(notebooks: Path | None = None) -> dict[str, dict[str, str]]:
    """Make the generated parts of the guides: Markdown by name of the part, by file in the folder ``guides``."""
    facts, exercises = notebook_facts(notebooks), all_exercises()
    packages = "```text\n%pip install --quiet " + " ".join(f'"{line}"' for line in missing_in_colab()) + "\n```"
    instructor = {
        "minutes": _minutes(facts),
        "grading": _grading(facts, exercises),
        "mistakes": _mistakes(facts, exercises),
    }
    return {"instructor.md": instructor, "cloud.md": {"packages": packages}}


def _minutes(facts: Sequence[NotebookFacts]) -> str:
    rows = ["| notebook | computing | reading | exercises |", "|---|---|---|---|"]
    for notebook in facts:
        link = f"[{notebook.name}](../{notebook.name}.ipynb)"
        rows.append(f"| {link} | {notebook.computing} | {notebook.reading} | {len(notebook.tasks)} |")
    total = sum(notebook.minutes for notebook in facts)
    rows.append(f"| all {len(facts)} | | {total} minutes | {sum(len(notebook.tasks) for notebook in facts)} |")
    return "\n".join(rows)


def _grading(facts: Sequence[NotebookFacts], exercises: dict[str, Exercise]) -> str:
    rows = ["| exercise | asks for | answer | mistakes it knows |", "|---|---|---|---|"]
    for notebook in facts:
        for number, task in notebook.tasks.items():
            exercise = exercises.get(number)
            if exercise is None:
                raise GuideError(f"{notebook.name} has an exercise {number} that hsds_lib.course.exercises lacks")
            kind = "a value" if exercise.cases is None else "a function"
            link = f"[{number}](../solutions/{notebook.name}.ipynb)"
            rows.append(f"| {link} | {_cell(_first_paragraph(task))} | {kind} | {len(exercise.mistakes)} |")
    return "\n".join(rows)


def _mistakes(facts: Sequence[NotebookFacts], exercises: dict[str, Exercise]) -> str:
    blocks = []
    for notebook in facts:
        known = [exercises[number] for number in notebook.tasks if number in exercises]
        if not known:
            continue
        lines = [
            f"- **{exercise.number}** {' · '.join(_text(mistake.hint) for mistake in exercise.mistakes)}"
            for exercise in known
        ]
        summary = f"<summary>{notebook.name}: what a wrong answer is told</summary>"
        blocks.append("\n".join(["<details>", summary, "", *lines, "", "</details>"]))
    return "\n\n".join(blocks)


def _first_paragraph(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split())


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _text(text: str) -> str:
    """Plain words as Markdown: what would be read as markup is escaped; code stays."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([*_<>\[\]|])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def updated(text: str, parts: dict[str, str], *, where: str) -> str:
    """Put generated parts between their markers ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.

    Raises:
        GuideError: when a part has no markers in the text.
    """
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
        folder = find_notebooks() / "guides"
        parts = generated()
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
