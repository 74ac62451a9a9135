"""What was found in SICE's archives, as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from html import escape

from data_scripts.sice_pairs import ROLES, Judgement

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>SICE: what was found</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ border-bottom: 1px solid #ccc; padding: .3rem .6rem; text-align: left; vertical-align: top; }}
caption {{ text-align: left; font-weight: 600; padding: .5rem 0; }}
img {{ max-height: 4rem; margin-right: .2rem; }}
</style>
</head>
<body>
<h1>SICE: what was found</h1>
<p>{summary}</p>
<p>Under is the darkest and over the brightest picture of a sequence of which a tenth of the pixels is neither black nor
white; pair and reference have one size, and are shifted by less than a pixel of what is stored. {settings}</p>
<h2>Not used</h2>
{rejected}
<h2>Used</h2>
{used}
</body>
</html>
"""


def report_html(judgements: Sequence[Judgement], train: Collection[str], settings: Mapping[str, object]) -> str:
    """Write the report.

    Args:
        judgements: of all sequences.
        train: names of those for training.
        settings: name to value, of the preparation.

    Returns:
        A page with its pictures inside.

    Example:
        >>> page = report_html([Judgement("part1_007", reason="has no <reference>")], [], {"seed": 0})
        >>> "1 sequences, 0 used" in page, "has no &lt;reference&gt;" in page, "http" in page
        (True, True, False)
    """
    members = set(train)
    used = [found for found in judgements if found.usable]
    rejected = [found for found in judgements if not found.usable]
    summary = (
        f"{len(judgements)} sequences, {len(used)} used ({len(members)} for training, {len(used) - len(members)} for "
        f"testing), {len(rejected)} not used."
    )
    return _PAGE.format(
        summary=summary,
        settings=escape("; ".join(f"{name} {value}" for name, value in settings.items())),
        rejected=_table("Sequences that are not used, and why", "reason", [(it, str(it.reason)) for it in rejected]),
        used=_table(
            "Scenes",
            "part, largest shift in pixels",
            [(it, f"{'training' if it.name in members else 'test'}, {it.shift:.2f}") for it in used],
        ),
    )


def _table(caption: str, column: str, rows: Sequence[tuple[Judgement, str]]) -> str:
    if not rows:
        return "<p>None.</p>"
    body = "\n".join(
        f"<tr><th scope='row'>{escape(found.name)}</th><td>{escape(text)}</td><td>{_pictures(found)}</td></tr>"
        for found, text in rows
    )
    heads = "".join(f"<th scope='col'>{name}</th>" for name in ("sequence", column, "under, over, reference"))
    return f"<table><caption>{caption}</caption>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"


def _pictures(found: Judgement) -> str:
    names = {"under": "under-exposed picture", "over": "over-exposed picture", "ref": "reference"}
    return "".join(
        f'<img src="data:image/jpeg;base64,{found.thumbnails[role]}" alt="{names[role]} of {escape(found.name)}">'
        for role in ROLES
        if role in found.thumbnails
    )
