"""Reading what is typed behind a command: NAME=VALUE settings, and mistakes in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hsds_lib.runtime import parse_json


class UsageError(ValueError):
    """The command was called in a way that cannot work."""


def require_words(words: Sequence[str]) -> None:
    """Refuse words of a command line with nothing in them: as a path they would mean the present folder."""
    for before, word in pairwise(["", *words]):
        if not word or re.fullmatch(r"--[\w-]+=", word):
            what = word[:-1] or (before if before.startswith("-") else "an argument")
            raise UsageError(f"{what} is empty; give a value, or leave it out")


def merged(settings: list[str] | None, **options: Any) -> dict[str, Any]:
    """Join options with --set; None means not given, and a setting given both ways is refused."""
    given = {name: value for name, value in options.items() if value is not None}
    assigned = assignments(settings)
    twice = sorted(set(given) & set(assigned))
    if twice:
        raise UsageError(f"'{twice[0]}' was given as an option and with --set; give it once")
    return given | assigned


def assignments(texts: list[str] | None) -> dict[str, Any]:
    """Read NAME=VALUE options; values are JSON where they can be, else text."""
    values = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"'{text}' is not NAME=VALUE")
        try:
            values[name.strip()] = parse_json(value, "a text", "quote it")
        except ValueError:
            values[name.strip()] = value
    return values
