"""Reading what is typed behind a command: NAME=VALUE settings, and mistakes in them."""

from __future__ import annotations

import json
from typing import Any


class UsageError(ValueError):
    """The command was called in a way that cannot work."""


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
            values[name.strip()] = json.loads(value)
        except json.JSONDecodeError:
            values[name.strip()] = value
    return values
