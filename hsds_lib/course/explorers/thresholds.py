"""What theta and P buy: recorded searches to move through, and the networks that they retained, trained and scored."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from hsds_lib.course.explorers.media import data_figures, encode, svg, table
from hsds_lib.course.explorers.structure import label, map_key, network, weight_grid
from hsds_lib.course.recording import FOLDER, State, read_recording
from hsds_lib.course.style import BLUE, GRAY, INK, ORANGE
from hsds_lib.course.widgets import Control, Explorer, View
from hsds_lib.evaluation.metrics import METRICS, to_pixels
from hsds_lib.evaluation.picture import pictures as as_pictures
from hsds_lib.fusing.fuse import fuse
from hsds_lib.images.batches import Scene, load_scenes
from hsds_lib.images.classical import average, mertens
from hsds_lib.network.budget import genotype_macs, operation_macs
from hsds_lib.network.fusion_net import derive
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.model_file import MODEL, load_model
from hsds_lib.network.operations import PRIMITIVES
from hsds_lib.runtime import read_json
from hsds_lib.search.wsras import retain

SCORED = {"MEF-SSIM": "MEF-SSIM", "MS-SSIM": "the same, 3 scales", "VIF_double": "VIF", "Qabf": "Q^AB/F"}
"""The metrics of the explorer, and what they are called there."""
BASELINES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"average": average, "Mertens": mertens}
_LOOKS = 10  # states of a reader's own run

Facts = dict[str, Any]
Pictures = dict[str, bytes]


def explorer(recording: str | Path = FOLDER / "thresholds.zip", *, run: str | Path | None = None) -> Explorer:
    """Make the explorer of what ``python -m notebooks.tools.recordings.thresholds`` wrote, or of a reader's own search.

    ``run`` is the folder of a finished search; if a model was trained there, its pictures and scores are shown too.
    ``FileNotFoundError`` or ``ValueError`` say what is missing in it.
    """
    facts, pictures = read_recording(recording) if run is None else read_run(Path(run))
    thetas = sorted({state["theta"] for state in facts["states"]})
    seeds = sorted({state["seed"] for state in facts["states"]})
    steps = sorted({state["step"] for state in facts["states"]})
    states = {(state["theta"], state["seed"], state["step"]): state for state in facts["states"]}
    options = {
        "theta": ("pruning threshold θ", [named(theta) for theta in thetas], len(thetas) // 2),
        "top_p": ("P, kept per node", [str(top_p) for top_p in facts["top_ps"]], 1),
        "step": ("step of the search", [str(step) for step in steps], len(steps) - 1),
    }  # a reader's own search has one theta
    controls = [Control(name, text, tuple(all_), at) for name, (text, all_, at) in options.items() if len(all_) > 1]

    def view(theta: int = 0, top_p: int = 0, step: int = 0) -> View:
        here, kept = thetas[theta], facts["top_ps"][top_p]
        now = [states[here, seed, steps[step]] for seed in seeds]
        before = states[here, seeds[0], steps[step - 1]] if step else None
        trained = [one for one in facts["retained"] if (one["theta"], one["top_p"]) == (here, kept)]
        shown = {f"search network at step {steps[step]}": now[0], "retained network, trained": (trained or [{}])[0]}
        figures = [(name, pictures[one["picture"]]) for name, one in shown.items() if "picture" in one]
        return View(_words(facts, now, before, trained, kept, data_figures(figures, width=188)))

    fixed = data_figures([(name, pictures[file]) for name, file in facts["fixed"].items()], width=150)
    about = facts["about"]
    return Explorer("thresholds", "A search and its threshold", about, controls, view, words_width=560, above=fixed)


def read_run(folder: Path) -> tuple[Facts, Pictures]:
    """Read a finished search, and the model trained in its folder if there is one, as a recording of one search."""
    config = read_json(folder / "provenance.json")["config"]
    records = [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    places = sorted({round(look * (len(records) - 1) / _LOOKS) for look in range(_LOOKS + 1)})
    whose = {"theta": config["theta"], "seed": config["seed"]}
    states = [{**whose, **state_of(records[: place + 1], config["width"])} for place in places]
    scenes = load_scenes("embedded", "val", seed=config["seed"])
    facts: Facts = {"width": config["width"], "top_ps": sorted({1, 2, 3, config["top_p"]}), "states": states}
    facts |= {"retained": [], "baselines": {}, "fixed": {}, "scene": scenes[0].name, "scenes": len(scenes)}
    facts["about"] = f"Your own search in {folder}, {len(records)} steps: θ is the one that it was made with."
    files: Pictures = {}
    if (folder / MODEL).is_file():
        net = load_model(folder, device="cpu")
        files = {
            **fixed_pictures(scenes[0]),
            "retained": encode(fuse(net, scenes[0].under, scenes[0].over), quality=82),
        }
        found = scores(lambda under, over: fuse(net, under, over), scenes)
        facts["retained"] = [
            {**whose, "top_p": config["top_p"], **costs(folder), "scores": found, "picture": "retained"}
        ]
        facts["baselines"] = {name: scores(method, scenes) for name, method in BASELINES.items()}
        facts["fixed"] = {name: name for name in files if name != "retained"}
    return facts, files


def state_of(records: Sequence[Mapping[str, Any]], width: float) -> dict[str, Any]:
    """What the explorer keeps of a search after these records of its history: weights, what is left, work done.

    The work is counted in multiply-accumulates of the search network, as a share of those without any cut: minutes
    would tell of the machine.
    """
    gone, macs, work = set[tuple[str, str]](), operation_macs(width), 0.0
    for record in records:
        work += 1 - sum(float(macs[NODES.index(node), PRIMITIVES.index(name)]) for node, name in gone) / float(
            macs.sum()
        )
        gone |= {(node, name) for node, name in record["removed"]}
    return {
        "step": len(records),
        "mix": [[round(weight, 5) for weight in row] for row in records[-1]["node_mix"]],
        "active": [[int((node, name) not in gone) for name in PRIMITIVES] for node in NODES],
        "work": round(work / len(records), 4),
    }


def kept_of(state: State, top_p: int, width: float) -> Genotype:
    """The genotype that Algorithm 1 line 15 retains in a recorded state."""
    alpha = torch.tensor(state["mix"], dtype=torch.float64).clamp_min(1e-9).log()
    return retain(alpha, torch.tensor(state["active"], dtype=torch.bool), top_p=top_p, width=width)


def costs(run: Path | Genotype) -> dict[str, float]:
    """Operations, parameters and multiply-accumulates a pixel of the network of a genotype."""
    genotype = run if isinstance(run, Genotype) else Genotype.load(run / "genotype.json")
    return {
        "operations": sum(map(len, genotype.nodes.values())),
        "parameters": sum(weight.numel() for weight in derive(genotype).parameters()),
        "macs": genotype_macs(genotype),
    }


def scores(method: Callable[[Tensor, Tensor], Tensor], scenes: Sequence[Scene]) -> dict[str, float]:
    """Means over scenes of the metrics in ``SCORED``."""
    found: dict[str, list[float]] = {name: [] for name in SCORED}
    for scene in scenes:
        result = method(scene.under, scene.over)
        under, over, fused = map(to_pixels, (scene.under, scene.over, result))
        sources = as_pictures("scoring", under=under, over=over, fused=fused)
        for name, values in found.items():
            values.append(METRICS[name].compute(*sources, **METRICS[name].options))
    return {name: round(mean(values), 5) for name, values in found.items()}


def fixed_pictures(scene: Scene) -> Pictures:
    """The pictures that stay: exposures, classical fusions and reference of a scene."""
    made = {"under": scene.under, "over": scene.over}
    made |= {name: method(scene.under, scene.over) for name, method in BASELINES.items()}
    if scene.ref is not None:
        made["reference"] = scene.ref
    return {name: encode(image, quality=82) for name, image in made.items()}


def named(theta: float) -> str:
    """A threshold as it is written: 1/11 is the weight that every operation starts with."""
    return f"1/{len(PRIMITIVES)}" if abs(theta * len(PRIMITIVES) - 1) < 1e-6 else f"{theta:g}"


def _words(
    facts: Facts, now: Sequence[State], before: State | None, trained: Sequence[State], top_p: int, figures: str
) -> str:
    genotype = kept_of(now[0], top_p, facts["width"])
    seeds = "" if len(now) == 1 else f" Numbers are means of {len(now)} seeds ± half their range; the rest is seed 0."
    row = '<div style="display:flex;flex-wrap:wrap;gap:8px 28px;align-items:flex-start;margin:4px 0">{}</div>'
    quality = _quality(facts, now, trained) if facts["baselines"] else ""
    chart = frontier(facts, trained) if facts["baselines"] else ""
    grid = weight_grid(now[0]["mix"], now[0]["active"], genotype.nodes)
    return "".join(
        [
            f'<p style="margin:0 0 4px">{_news(now[0], before)}{seeds}</p>',
            row.format(figures + quality),
            row.format(f"<div>{_cost(facts, now, top_p)}</div>{chart}"),
            row.format(f"<div>{grid}</div><div>{network(genotype.nodes)}</div>"),
            map_key(),
        ]
    )


def _quality(facts: Facts, now: Sequence[State], trained: Sequence[State]) -> str:
    searching = [state for state in now if "scores" in state]
    groups = {"search network": searching, "retained network": trained}
    rows = [(name, *(f"{found[metric]:.3f}" for metric in SCORED)) for name, found in facts["baselines"].items()]
    rows += [
        (name, *(spread([one["scores"][metric] for one in group], 3) for metric in SCORED))
        for name, group in groups.items()
        if group
    ]
    return table(
        ("", *SCORED.values()), rows, caption=f"Means over {facts['scenes']} unseen scenes", strong=len(rows) - 1
    )


def _cost(facts: Facts, now: Sequence[State], top_p: int) -> str:
    found = [costs(kept_of(state, top_p, facts["width"])) for state in now]
    left = [sum(map(sum, state["active"])) for state in now]
    rows = [
        (f"operations left of {len(NODES) * len(PRIMITIVES)}", spread(left)),
        ("operations retained", spread([one["operations"] for one in found])),
        ("parameters", spread([one["parameters"] for one in found])),
        ("MACs a pixel", spread([one["macs"] for one in found])),
        ("work of the search network so far, %", spread([100 * state["work"] for state in now])),
    ]
    return table(("at this step", ""), rows)


def spread(values: Sequence[float], digits: int = 0) -> str:
    """A mean, and half the range where there are several: ``0.951 ± 0.004``."""
    half = (max(values) - min(values)) / 2
    return f"{mean(values):,.{digits}f}" + (f" ± {half:,.{digits}f}" if half else "")


def _news(state: State, before: State | None) -> str:
    """One sentence: which operations went since the recorded step before."""
    if before is None:
        return f"Step {state['step']}, the first that was kept: {_count(_cut(None, state['active']))}."
    cut = _cut(before["active"], state["active"])
    if not cut:
        return f"Since step {before['step']} no operation was cut."
    some = ", ".join(f"{node} {label(primitive)}" for node, primitive in cut[:4])
    more = f" and {len(cut) - 4} more" if len(cut) > 4 else ""
    return f"{_count(cut)} since step {before['step']}: {escape(some)}{more}."


def _count(cut: Sequence[Any]) -> str:
    return f"{len(cut)} operation was cut" if len(cut) == 1 else f"{len(cut) or 'no'} operations were cut"


def _cut(before: Sequence[Sequence[int]] | None, after: Sequence[Sequence[int]]) -> list[tuple[str, str]]:
    return [
        (NODES[row], PRIMITIVES[column])
        for row in range(len(NODES))
        for column in range(len(PRIMITIVES))
        if (before is None or before[row][column]) and not after[row][column]
    ]


_LEFT, _TOP, _WIDE, _HIGH = 48, 30, 330, 170  # of the chart, CSS pixels


def frontier(facts: Facts, chosen: Sequence[State], metric: str = "MEF-SSIM") -> str:
    """Draw what every trained network costs and gives; those of this state are filled, baselines are lines."""
    lines = {name: found[metric] for name, found in facts["baselines"].items()}
    points = [(one["macs"], one["scores"][metric], one in chosen) for one in facts["retained"]]
    low, high = (limit(*lines.values(), *(quality for _, quality, _ in points)) for limit in (min, max))
    most = max(cost for cost, _, _ in points)

    def across(cost: float) -> float:
        return _LEFT + 0.95 * _WIDE * cost / most

    def down(quality: float) -> float:
        return _TOP + _HIGH * (0.05 + 0.9 * (high - quality) / (high - low))

    parts = [f'<path d="M{_LEFT} {_TOP}v{_HIGH}h{_WIDE}" fill="none" stroke="{GRAY}"/>']
    parts.append(f'<text x="0" y="14">{metric} of trained networks against their cost</text>')
    for number, (name, quality) in enumerate(sorted(lines.items(), key=lambda line: line[1])):
        y = down(quality)
        parts.append(f'<path d="M{_LEFT} {y:.1f}h{_WIDE}" stroke="{BLUE}" stroke-dasharray="5 4"/>')
        at = f'x="{_LEFT + _WIDE}" y="{y + (-4 if number else 13):.1f}" text-anchor="end"'
        parts.append(f'<text {at} fill="{BLUE}">{escape(name)}</text>')
    for cost, quality, here in sorted(points, key=lambda point: point[2]):
        look = f'r="5.5" fill="{ORANGE}" stroke="{INK}"' if here else f'r="3.2" fill="none" stroke="{GRAY}"'
        parts.append(f'<circle cx="{across(cost):.1f}" cy="{down(quality):.1f}" {look}/>')
    ticks = [(f"{value:.3f}", _LEFT - 6.0, down(value) + 4, "end") for value in (low, high)]
    ticks += [(f"{value:,.0f}", across(value), _TOP + _HIGH + 16.0, "middle") for value in (0, most)]
    ticks.append(("MACs a pixel", _LEFT + _WIDE / 2, _TOP + _HIGH + 16.0, "middle"))
    parts += [f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>' for text, x, y, anchor in ticks]
    said = f"{len(points)} trained networks, MACs a pixel against {metric}; {len(chosen)} of them belong to this state."
    return svg(_LEFT + _WIDE + 24, _TOP + _HIGH + 24, said, parts, font=12)
