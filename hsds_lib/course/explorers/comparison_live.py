"""A comparison of two pictures as ipywidgets: the kernel composes what is seen at every move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

from hsds_lib.course.explorers.comparison import EDGE_NAME, MAP_NAME, Pixels, compose, legend, magnify

if TYPE_CHECKING:
    from hsds_lib.course.explorers.compare import Comparison

# The browser blinks, not the kernel: two pictures lie on each other, and the upper one comes and goes. Nothing moves by
# itself where the reader's system asks for less motion; then the edge swaps the two.
_LOOK = """<style>
@keyframes hsds-comes{0%{opacity:0}50%{opacity:1}}
@keyframes hsds-goes{0%{opacity:1}50%{opacity:0}}
.hsds-compare .hsds-comes{animation:hsds-comes 1.2s step-end infinite}
.hsds-compare .hsds-goes{animation:hsds-goes 1.2s step-end infinite}
.hsds-compare .hsds-frame{display:grid;position:relative;overflow:hidden}
.hsds-compare .hsds-frame>*{grid-area:1/1;margin:0}
.hsds-compare .hsds-frame>.hsds-zoomed{image-rendering:pixelated}
.hsds-compare .hsds-frame>.hsds-left{place-self:start;margin:6px}
.hsds-compare .hsds-frame>.hsds-right{place-self:start end;margin:6px}
.hsds-compare .hsds-tag{padding:2px 7px;font-size:13px;color:#fff;background:rgba(0,0,0,.72);border-radius:3px}
.hsds-compare .hsds-still{display:none}
@media (prefers-reduced-motion:reduce){
.hsds-compare .hsds-comes{animation:none;opacity:0}
.hsds-compare .hsds-goes{animation:none}
.hsds-compare .hsds-still{display:inline}}
</style>"""
_STILL = "Your system asks for less motion, so nothing blinks: move the edge from 0 to 100 %."


def png(pixels: Pixels) -> bytes:
    """Write pixels as a PNG file, quickly rather than small."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def live(comparison: Comparison, *, width: int, zooms: Sequence[int]) -> Any:
    """Make the widgets."""
    import ipywidgets

    controls = _controls(comparison, zooms)
    lower, upper, words = _picture(), _picture(), ipywidgets.HTML()
    tags = [_classed(ipywidgets.HTML(), f"hsds-{side}") for side in ("left", "right")]
    _classed(upper, "hsds-comes")

    def update(change: Any = None) -> None:
        if change and change["owner"] in (controls["edge"], controls["show"]):
            controls["blink"].value = False
        state = {name: control.value for name, control in controls.items()}
        for picture, pixels in zip((lower, upper), _seen(comparison, state), strict=False):
            picture.value = png(pixels)
            _classed(picture, "hsds-zoomed", on=state["zoom"] > 1)
        upper.layout.display = "block" if state["blink"] else "none"
        _set_tags(tags, state)
        controls["x"].disabled = controls["y"].disabled = state["zoom"] == 1
        controls["edge"].disabled = controls["blink"].disabled = state["show"] == MAP_NAME
        controls["blink"].description = "Stop blinking" if state["blink"] else "Blink A and B"
        words.value = _words(comparison, state)

    for control in controls.values():
        control.observe(update, names="value")
    update()
    frame = ipywidgets.Box([lower, upper, *tags], layout=ipywidgets.Layout(width=f"{width}px", max_width="100%"))
    still = ipywidgets.HTML(f'<small class="hsds-still">{_STILL}</small>{_LOOK}')
    return _boxed(comparison, [*controls.values(), still], [_classed(frame, "hsds-frame"), words])


def _seen(comparison: Comparison, state: Mapping[str, Any]) -> list[Pixels]:
    """What lies in the frame: one picture, or the two that blink."""
    first, second = (comparison.pixels[state[name]] for name in ("first", "second"))
    zoom, x, y = state["zoom"], state["x"] / 100, state["y"] / 100
    if state["show"] == MAP_NAME:
        return [magnify(comparison.gap(state["first"], state["second"]).map, zoom=zoom, x=x, y=y)]
    if state["blink"]:
        return [magnify(pixels, zoom=zoom, x=x, y=y) for pixels in (first, second)]
    return [compose(first, second, edge=state["edge"] / 100, zoom=zoom, x=x, y=y)]


def _words(comparison: Comparison, state: Mapping[str, Any]) -> str:
    named = (state["first"], state["second"])
    if state["show"] == MAP_NAME:
        alt, scale = f"Seen: the difference of {named[0]} and {named[1]}.", legend(comparison.gap(*named).scale)
    else:
        alt, scale = f"Seen: {named[0]} left of the edge, {named[1]} right of it.", ""
    # ipywidgets' Image has no alternative text: it is given to screen readers beside it.
    hidden = f'<span style="position:absolute;clip-path:inset(50%)">{escape(alt)}</span>'
    return f'<div aria-live="polite" style="line-height:1.45">{comparison.words(*named)}{scale}{hidden}</div>'


def _boxed(comparison: Comparison, controls: list[Any], shown: list[Any]) -> Any:
    import ipywidgets

    wrap = ipywidgets.Layout(display="flex", flex_flow="row wrap", align_items="flex-start", grid_gap="16px")
    head = ipywidgets.HTML(f"<b>{escape(comparison.title)}</b>")
    note = ipywidgets.HTML(
        f'<small style="color:#555;line-height:1.4;display:block">{escape(comparison.summary(sized=False))}</small>'
    )
    box = ipywidgets.VBox([head, *controls, ipywidgets.Box(shown, layout=wrap), note])
    return _classed(_classed(box, "hsds-live"), f"hsds-{comparison.name}")


def _controls(comparison: Comparison, zooms: Sequence[int]) -> dict[str, Any]:
    import ipywidgets

    # Sliders for choices too: JupyterLab takes the arrow keys away from drop-down lists.
    choices = {
        "first": ("A, left of the edge", comparison.names, comparison.start[0]),
        "second": ("B, right of the edge", comparison.names, comparison.start[1]),
        "edge": ("place of the edge", [(f"{place} %", place) for place in range(0, 101, 2)], 50),
        "zoom": ("zoom", [(f"{zoom}×", zoom) for zoom in zooms], zooms[0]),
        "x": ("look left or right", [(f"{place} %", place) for place in range(0, 101, 5)], 50),
        "y": ("look up or down", [(f"{place} %", place) for place in range(0, 101, 5)], 50),
        "show": ("show", (EDGE_NAME, MAP_NAME), EDGE_NAME),
    }
    layout = ipywidgets.Layout(width="100%", max_width="620px")
    style = {"description_width": "180px"}
    made: dict[str, Any] = {
        name: ipywidgets.SelectionSlider(options=options, value=value, description=label, style=style, layout=layout)
        for name, (label, options, value) in choices.items()
    }
    made["blink"] = ipywidgets.ToggleButton(value=False, layout=ipywidgets.Layout(width="150px"))
    return {name: _classed(control, f"hsds-control-{name}") for name, control in made.items()}


def _picture() -> Any:
    import ipywidgets

    return ipywidgets.Image(format="png", layout=ipywidgets.Layout(width="100%", height="auto"))


def _classed(widget: Any, name: str, *, on: bool = True) -> Any:
    return widget.add_class(name) if on else widget.remove_class(name)


def _set_tags(tags: list[Any], state: Mapping[str, Any]) -> None:
    """Write the names over the pictures; of two that blink, each name shows with its own."""
    drawn, blinks, edge = state["show"] == MAP_NAME, state["blink"], state["edge"]
    texts = (f"A: {state['first']}", f"B: {state['second']}")
    texts = (f"|{state['first']} − {state['second']}|", "") if drawn else texts
    seen = (drawn or blinks or edge > 0, not drawn and (blinks or edge < 100))
    for tag, text, shown, motion in zip(tags, texts, seen, ("hsds-goes", "hsds-comes"), strict=True):
        tag.value = f'<span class="hsds-tag">{escape(text)}</span>' if shown else ""
        _classed(tag, motion, on=blinks)
