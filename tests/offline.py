"""Whether a page stands alone: what the tests of pages, slides, sites and explorers share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from bs4 import BeautifulSoup

_LOADING = ("@import", "url(http", 'url("http', "url('http", "url(//", "import(", "fetch(")


def loads_from_elsewhere(page: str) -> list[str]:
    """Whatever a page would load when opened: addresses in ``src``, style sheets, imports. Links do not count.

    The states of an explorer, which its script puts into the page one after the other, are looked through as well.
    """
    soup = BeautifulSoup(page, features="html.parser")
    found = [str(tag[name]) for name in ("src", "srcset", "poster", "data") for tag in soup.select(f"[{name}]")]
    for tag in soup.find_all(["link", "image", "use"]):
        found += [str(tag[name]) for name in ("href", "xlink:href") if tag.has_attr(name)]
    found = [address for address in found if address and not address.startswith(("data:", "#"))]
    texts = [tag.get_text() for tag in soup.find_all(["style", "script"]) if tag.get("type") != "application/json"]
    texts += [str(tag["style"]) for tag in soup.select("[style]")]
    found += [mark for text in texts for mark in _LOADING if mark in text]
    for tag in soup.find_all("script", type="application/json"):
        for text in _strings(json.loads(tag.get_text())):
            found += loads_from_elsewhere(text) if "<" in text else []
    return found


def _strings(value: Any) -> Iterator[str]:
    """All strings within data read from JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)
