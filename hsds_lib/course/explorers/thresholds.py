"""What theta and P do to a search: recorded searches to move through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hsds_lib.course.explorers.drawings import label, map_key, network, weight_map
from hsds_lib.course.explorers.media import table
from hsds_lib.course.recording import FOLDER, read_recording
from hsds_lib.course.widgets import Control, Explorer, View
from hsds_lib.network.genotype import NODES
from hsds_lib.network.operations import PRIMITIVES

State = Mapping[str, Any]
_SHOWN = {"MS-SSIM": "MEF-SSIM, 3 scales", "VIF_double": "VIF", "Qabf": "Q^AB/F", "EN": "entropy (bits)"}


def explorer(recording: str | Path = FOLDER / "thresholds.zip") -> Explorer:
    """Make the explorer of thresholds from what ``python -m notebooks.tools.recordings.thresholds`` wrote."""
    facts, pictures = read_recording(recording)
    states: dict[tuple[float, int, int], State] = {
        (state["theta"], state["top_p"], state["step"]): state for state in facts["states"]
    }
    thetas, top_ps = sorted({key[0] for key in states}), sorted({key[1] for key in states})
    steps = sorted({key[2] for key in states})
    controls = [
        Control("theta", "pruning threshold θ", tuple(f"{theta:g}" for theta in thetas), start=len(thetas) // 2),
        Control("top_p", "P, kept per node", tuple(map(str, top_ps)), start=min(1, len(top_ps) - 1)),
        Control("step", "step of the search", tuple(map(str, steps)), start=len(steps) - 1),
    ]

    def view(theta: int, top_p: int, step: int) -> View:
        state = states[thetas[theta], top_ps[top_p], steps[step]]
        before = states[thetas[theta], top_ps[top_p], steps[step - 1]] if step else None
        scores = [state["metrics"][kind]["MS-SSIM"] for kind in ("search", "trained")]
        alt = (
            f"Scene {facts['scene']} fused by the search network, MEF-SSIM {scores[0]:.3f}, and by the network that is "
            f"retained at this step and trained for {facts['training_steps']} steps, {scores[1]:.3f}."
        )
        return View(_words(state, before), pictures[state["picture"]], alt)

    n_searches = len(facts["provenance"]["searches"])
    about = (
        f"{n_searches} real searches, recorded (embedded scenes, width {facts['width']:g}, {facts['features']}): "
        "every θ is a search of its own on the same batches, and so is every P that changes one. Left the picture of "
        f"the search network; right that of the retained network, trained anew for {facts['training_steps']} steps."
    )
    return Explorer("thresholds", "A search and its threshold", about, controls, view, width=420, words_width=620)


def _words(state: State, before: State | None) -> str:
    alive = sum(map(sum, state["active"]))
    rows = [
        ("operations", f"{alive} of 165", str(sum(map(len, state["genotype"].values())))),
        ("parameters", "", f"{state['parameters']:,}"),
        ("MACs per pixel", "", f"{state['macs']:,.0f}"),
    ]
    both = state["metrics"]
    rows += [(text, f"{both['search'][n]:.3f}", f"{both['trained'][n]:.3f}") for n, text in _SHOWN.items()]
    left = weight_map(state["mix"], state["active"], state["genotype"])
    right = table(("at this step", "search network", "retained"), rows) + network(state["genotype"])
    row = "display:flex;flex-wrap:wrap;gap:8px 24px;align-items:flex-start"
    drawn = f'<div style="{row}"><div>{left}</div><div>{right}</div></div>'
    return f'<p style="margin:0 0 4px">{_news(state, before)}</p>{drawn}{map_key()}'


def _news(state: State, before: State | None) -> str:
    """One sentence: which operations went since the recorded step before."""
    if before is None:
        return "Step 0: every operation has the weight 1/11, and nothing has been learned."
    cut = _cut(before["active"], state["active"])
    if not cut:
        return f"Since step {before['step']} no operation was cut."
    named = ", ".join(f"{node} {label(primitive)}" for node, primitive in cut[:4])
    more = f" and {len(cut) - 4} more" if len(cut) > 4 else ""
    noun = "operation was" if len(cut) == 1 else "operations were"
    return f"Since step {before['step']} {len(cut)} {noun} cut: {named}{more}."


def _cut(before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> list[tuple[str, str]]:
    return [
        (NODES[row], PRIMITIVES[column])
        for row in range(len(NODES))
        for column in range(len(PRIMITIVES))
        if before[row][column] and not after[row][column]
    ]
