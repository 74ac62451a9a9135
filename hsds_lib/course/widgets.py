"""Explorers: a few controls, and a prepared picture with words for each of their settings.

An explorer is shown in one of two forms over the same states: as ipywidgets while a kernel runs (JupyterLab, Voila),
and as a piece of HTML with its states inside, which moves without a kernel, a network or a file beside it (reports, the
site). The environment variable ``HSDS_WIDGETS``, ``live`` or ``static``, says which; without it the form is ``live``.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from itertools import product
from typing import Any, Literal

FORMATS = {b"\x89PN": "png", b"\xff\xd8\xff": "jpeg", b"RIF": "webp"}
"""Picture formats that every browser shows, by the first three bytes of a file."""


# In a narrow column a slider goes below its label instead of shrinking to nothing.
_NARROW = (
    "<style>.hsds-live .widget-inline-hbox{flex-wrap:wrap;height:auto}"
    ".hsds-live .slider-container{min-width:140px}</style>"
)


@dataclass(frozen=True)
class Control:
    """Something to move: a slider over ordered options, or a choice among named ones.

    ``name`` is the argument of the view that it sets, ``label`` what is written beside it; no two options are alike.
    """

    name: str
    label: str
    options: tuple[str, ...]
    start: int = 0
    kind: Literal["slider", "choice"] = "slider"

    def __post_init__(self) -> None:
        """Refuse what no slider could show."""
        if len(set(self.options)) < max(2, len(self.options)):
            raise ValueError(
                f"the control '{self.name}' has the options {self.options}; give two or more, all different"
            )
        if not 0 <= self.start < len(self.options):
            raise ValueError(f"the control '{self.name}' starts at {self.start}; give 0 to {len(self.options) - 1}")


@dataclass(frozen=True)
class View:
    """What an explorer shows in one state: words, a table or SVG as HTML, and a picture file with its ``alt`` text."""

    html: str = ""
    picture: bytes = b""
    alt: str = ""

    def __post_init__(self) -> None:
        """Refuse a picture without words or in an unknown format."""
        if self.picture and not self.alt.strip():
            raise ValueError("a view has a picture and an empty alt text; say in a sentence what the picture shows")
        if self.picture and self.picture[:3] not in FORMATS:
            raise ValueError(f"a view's picture starts with {self.picture[:3]!r}; give a PNG, JPEG or WebP file")


@dataclass(frozen=True)
class Explorer:
    """Controls and the views they lead to.

    ``about`` says what the states are: real runs, a replay, a simulation. ``view`` takes the positions of the controls
    as keyword arguments, and is called once for each state at most, so that moving back costs nothing. ``width`` is
    that of the picture; words that find less than ``words_width`` CSS pixels beside it go below it. ``above`` is HTML
    that stays the same in all states.
    """

    name: str
    title: str
    about: str
    controls: Sequence[Control]
    view: Callable[..., View]
    width: int = 480
    words_width: int = 280
    above: str = ""
    _seen: dict[tuple[int, ...], View] = field(default_factory=dict, repr=False, compare=False)

    @property
    def n_states(self) -> int:
        """How many states there are."""
        return sum(1 for _ in self.states())

    @property
    def megabytes(self) -> float:
        """Size of all different pictures and words, as they are stored; draws every state."""
        views = [self.at(**state) for state in self.states()]
        pictures, words = {view.picture for view in views}, {view.html for view in views}
        return (sum(map(len, pictures)) + sum(len(text.encode()) for text in words)) / 1e6

    def states(self) -> Iterator[dict[str, int]]:
        """Every state as positions by control, the last control fastest."""
        names = [control.name for control in self.controls]
        for places in product(*(range(len(control.options)) for control in self.controls)):
            yield dict(zip(names, places, strict=True))

    @property
    def start(self) -> dict[str, int]:
        """The state at the beginning."""
        return {control.name: control.start for control in self.controls}

    def at(self, **state: int) -> View:
        """The view of a state, given as one position per control."""
        key = tuple(state[control.name] for control in self.controls)
        if key not in self._seen:
            self._seen[key] = self.view(**state)
        return self._seen[key]

    def live(self) -> Any:
        """The explorer as ipywidgets; a kernel answers each move."""
        import ipywidgets

        controls = {
            control.name: select(control.name, control.label, control.options, control.start)
            for control in self.controls
        }
        first = self.at(**self.start)
        layout = ipywidgets.Layout(width=f"{self.width}px", max_width="100%", height="auto", object_fit="contain")
        picture = ipywidgets.Image(value=first.picture, format=_format(first.picture), layout=layout)
        words = ipywidgets.HTML(
            live_words(first.html, first.alt), layout=ipywidgets.Layout(flex=f"1 1 {self.words_width}px")
        )

        def update(_: Any = None) -> None:
            view = self.at(**{name: control.value for name, control in controls.items()})
            with picture.hold_sync():
                picture.format, picture.value = _format(view.picture), view.picture
            words.value = live_words(view.html, view.alt)

        for control in controls.values():
            control.observe(update, names="value")
        shown = [picture, words] if first.picture else [words]
        return boxed(self, list(controls.values()), shown, above=self.above)

    def page(self) -> str:
        """The explorer as HTML that moves by itself; every state is inside."""
        views = [self.at(**state) for state in self.states()]
        pictures, words = _distinct(v.picture for v in views), _distinct((v.html, v.alt) for v in views)
        content = {
            "sizes": [len(control.options) for control in self.controls],
            "pictures": [data_address(picture) for picture in pictures],
            "words": list(words),
            "states": [(pictures[view.picture], words[(view.html, view.alt)]) for view in views],
        }
        first = self.at(**self.start)
        picture = f'<img src="{data_address(first.picture)}" alt="{escape(first.alt)}" width="{self.width}">'
        parts = {
            "name": escape(self.name),
            "words_width": f"flex-basis:{self.words_width}px",
            "title": escape(self.title),
            "controls": "".join(map(_input, self.controls)),
            "above": self.above,
            "picture": picture if first.picture else "",
            "words": first.html,
            "note": escape(self.summary()),
            "content": as_script(content),
        }
        return filled("page.html", parts)

    def summary(self, *, sized: bool = True) -> str:
        """Say what the states are and how many; and how large, for which all must be drawn."""
        size = f", {self.megabytes:.1f} MB" if sized else ""
        return f"{self.about} {self.n_states} states{size}."


def explore(explorer: Any) -> None:
    """Display an explorer in the form that ``HSDS_WIDGETS`` asks for: ``live`` (the default) or ``static``.

    ``ValueError`` for any other value of the variable.
    """
    from IPython.display import display

    form = os.environ.get("HSDS_WIDGETS") or "live"
    if form not in ("live", "static"):
        raise ValueError(f"HSDS_WIDGETS is '{form}'; set it to 'live' (needs a kernel) or 'static' (moves without one)")
    if form == "live":
        display(explorer.live())
    else:
        display({"text/html": explorer.page(), "text/plain": explorer.summary()}, raw=True)


def boxed(explorer: Any, controls: Sequence[Any], shown: Sequence[Any], *, above: str = "") -> Any:
    """Put the widgets of an explorer into their frame: title, controls, what is shown, and what the states are."""
    import ipywidgets

    wrap = ipywidgets.Layout(display="flex", flex_flow="row wrap", align_items="flex-start", grid_gap="16px")
    head = ipywidgets.HTML(f"{_NARROW}<b>{escape(explorer.title)}</b>")
    look = "color:#555;line-height:1.4;display:block"
    note = ipywidgets.HTML(f'<small style="{look}">{escape(explorer.summary(sized=False))}</small>')
    fixed = [ipywidgets.HTML(above)] if above else []
    box = ipywidgets.VBox([head, *fixed, *controls, ipywidgets.Box(shown, layout=wrap), note])
    return box.add_class("hsds-live").add_class(f"hsds-{explorer.name}")


def select(name: str, label: str, options: Sequence[Any], start: Any) -> Any:
    """A widget that chooses among ``options``, texts or pairs of a text and a value; texts stand for their places."""
    import ipywidgets

    if isinstance(start, int) and isinstance(options[0], str):
        options = [(text, place) for place, text in enumerate(options)]
    # A slider for choices too: JupyterLab takes the arrow keys away from drop-down lists.
    made = ipywidgets.SelectionSlider(
        options=options,
        value=start,
        description=label,
        style={"description_width": "180px"},
        layout=ipywidgets.Layout(width="100%", max_width="620px"),
    )
    return made.add_class(f"hsds-control-{name}")


def page_text(name: str) -> str:
    """The text of a page in the folder ``explorers``."""
    return (files("hsds_lib.course") / "explorers" / name).read_text(encoding="utf-8")


def filled(name: str, parts: Mapping[str, str]) -> str:
    """A page with its ``@name@`` marks replaced."""
    return re.sub("|".join(f"@{part}@" for part in parts), lambda found: parts[found[0][1:-1]], page_text(name))


def as_script(content: Any) -> str:
    """JSON that may stand inside a script of a page."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")


def options_html(names: Sequence[str], chosen: int) -> str:
    """The options of a list to choose from."""
    return "".join(
        f'<option value="{place}"{" selected" if place == chosen else ""}>{escape(name)}</option>'
        for place, name in enumerate(names)
    )


def _input(control: Control) -> str:
    """One control as HTML, named by its label and usable by keyboard."""
    label = f"<span>{escape(control.label)}</span>"
    if control.kind == "choice":
        options = options_html(control.options, control.start)
        return f'<label>{label}<select name="{escape(control.name)}">{options}</select></label>'
    texts, first = escape(json.dumps(control.options, ensure_ascii=False)), escape(control.options[control.start])
    return (
        f'<label>{label}<input type="range" name="{escape(control.name)}" min="0" max="{len(control.options) - 1}" '
        f'value="{control.start}" step="1" data-texts="{texts}" aria-valuetext="{first}">'
        f"<output>{first}</output></label>"
    )


def live_words(html: str, alt: str) -> str:
    """Words beside a picture that ipywidgets shows; its alternative text, which it lacks, is hidden among them."""
    hidden = "position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)"
    spoken = f'<span style="{hidden}">{escape(alt)}</span>' if alt else ""
    return f'<div aria-live="polite" style="line-height:1.45">{html}{spoken}</div>'


def _format(picture: bytes) -> str:
    return FORMATS.get(picture[:3], "png")


def data_address(picture: bytes) -> str:
    """A picture file as an address that holds it; empty for none."""
    return f"data:image/{_format(picture)};base64,{base64.b64encode(picture).decode('ascii')}" if picture else ""


def _distinct(items: Any) -> Mapping[Any, int]:
    """Give each different item its place, in order of first appearance."""
    return {item: place for place, item in enumerate(dict.fromkeys(items))}
