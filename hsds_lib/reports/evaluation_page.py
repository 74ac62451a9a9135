"""The folder of an evaluation: figures as files, and one page that needs no other file and no network."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

from hsds_lib.course.show import save_figure
from hsds_lib.evaluation.benchmark import Outcome
from hsds_lib.evaluation.crops import Crop
from hsds_lib.evaluation.peers import peers
from hsds_lib.evaluation.results import ranked_differences, tables, write_results
from hsds_lib.evaluation.score_cache import metric_version
from hsds_lib.evaluation.statistics import RANKED
from hsds_lib.fusing.fuse import SHIPPED
from hsds_lib.images.datasets import is_called, mefb_split
from hsds_lib.reports.evaluation_gallery import gallery, most_different
from hsds_lib.reports.evaluation_plots import interval_plot, scores_by_method, scores_by_scene
from hsds_lib.reports.page import render
from hsds_lib.runtime import atomic_path, provenance, read_json, write_json

_DPI = 110  # of the pictures inside the page; the files beside it have 300
_OURS = ("plots", "gallery", "tables")


@dataclass(frozen=True)
class Drawing:
    """A figure of the page: where it belongs, its file without ending, its title and alternative text.

    Example:
        >>> Drawing("scenes", "plots/scenes-EN", "EN", Figure(), "EN of every scene").part
        'scenes'
    """

    part: str
    stem: str
    title: str
    figure: Figure
    alt: str


def write_folder(
    outcome: Outcome,
    out: Path,
    *,
    command: str,
    shown: Sequence[str] = (),
    crops: Mapping[str, Sequence[Crop]] | None = None,
) -> Path:
    """Write everything an evaluation leaves: CSV files, tables, figures, provenance and ``index.html``.

    What an earlier evaluation wrote there, and this one does not, is removed.

    Args:
        outcome: of the evaluation.
        out: the folder of results.
        command: how it was asked for.
        shown: scenes of the gallery; default: the three in which methods differ most.
        crops: parts to enlarge by scene; default: where methods disagree most.

    Returns:
        The path of the page.
    """
    written = write_results(outcome, out)
    embedded = []
    for drawing in _drawings(outcome, shown, crops or {}):
        suffixes = ("png",) if drawing.part == "gallery" else ("png", "svg")
        embedded.append(_embedded(drawing))
        written += save_figure(drawing.figure, out / drawing.stem, formats=suffixes)
    origin = _origin(outcome, command, [path.relative_to(out).as_posix() for path in written])
    page = out / "index.html"
    with atomic_path(page) as temporary:
        temporary.write_text(page_text(outcome, embedded, origin), encoding="utf-8")
    _remove_old(out, origin["files"])
    write_json(out / "provenance.json", origin)
    return page


def page_text(outcome: Outcome, figures: Iterable[Mapping[str, Any]], origin: Mapping[str, Any]) -> str:
    """Fill the page.

    Args:
        outcome: of the evaluation.
        figures: with ``part``, ``title``, ``alt``, ``data`` (an address that holds the picture) and ``width``.
        origin: what ``provenance.json`` holds.

    Returns:
        HTML that loads nothing.
    """
    plan = outcome.plan
    count, methods = len(plan.selection.scenes), len(outcome.scores)
    return render(
        "evaluation.html.j2",
        title=f"Evaluation on {plan.selection.data} ({plan.selection.split})",
        summary=f"{methods} methods on {count} scenes.{_leader(outcome)}",
        remarks=list(_remarks(outcome)),
        tables={name: table.html() for name, table in tables(outcome).items()},
        figures=list(figures),
        gallery_note=_gallery_note(outcome),
        peers=list(peers().values()),
        facts=_facts(outcome, origin),
    )


def _drawings(outcome: Outcome, shown: Sequence[str], crops: Mapping[str, Sequence[Crop]]) -> Iterator[Drawing]:
    scores, baseline = outcome.scores, outcome.plan.chosen_baseline
    metrics = [name for name in RANKED if outcome.means.scenes[name]]
    yield Drawing("methods", "plots/methods", "All metrics", *scores_by_method(scores, metrics))
    for metric in sorted(metrics, key=lambda name: name != "MS-SSIM"):
        yield Drawing("scenes", f"plots/scenes-{metric}", metric, *scores_by_scene(scores, metric, order=baseline))
    kept = ranked_differences(outcome)
    if kept:
        yield Drawing("intervals", "plots/intervals", "Differences", *interval_plot(kept, list(scores)))
    wanted = [*shown, *(scene for scene in crops if scene not in shown)]
    for scene in dict.fromkeys(wanted or most_different(scores, list(outcome.fused))):
        yield Drawing("gallery", f"gallery/{scene}", scene, *gallery(outcome, scene, crops.get(scene)))


def _embedded(drawing: Drawing) -> dict[str, Any]:
    buffer = BytesIO()
    drawing.figure.savefig(buffer, format="png", dpi=_DPI, bbox_inches="tight", metadata={"Software": None})
    kind, data = "png", buffer.getvalue()
    with Image.open(BytesIO(data)) as image:
        width = image.width
        if drawing.part == "gallery":  # photographs
            smaller = BytesIO()
            image.convert("RGB").save(smaller, format="JPEG", quality=88, subsampling=0)
            kind, data = "jpeg", smaller.getvalue()
    address = f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
    return {"part": drawing.part, "title": drawing.title, "alt": drawing.alt, "data": address, "width": width}


def _leader(outcome: Outcome) -> str:
    if not outcome.ranks or len(outcome.ranks) < 2:
        return ""
    best = min(outcome.ranks, key=lambda name: outcome.ranks[name]["mean rank"])
    return f" Best mean rank: {best}, {outcome.ranks[best]['mean rank']:.2f}, over {', '.join(outcome.ranked)}."


def _remarks(outcome: Outcome) -> Iterator[str]:
    plan = outcome.plan
    seen = set(mefb_split()["train"]) & set(plan.selection.names)
    mefb = plan.recorded or any(is_called(scene.under.parent.parent, "mefb") for scene in plan.selection.scenes)
    if mefb and seen and any(method.model is not None for method in plan.built_in):
        yield (
            f"{len(seen)} of these scenes are in the training split of MEFB: the models that ship, and whatever was "
            "trained on mefb, have seen them. Use the split val for a fair comparison."
        )
    if plan.recorded:
        yield (
            "Methods marked (recorded) were fused and scored before, with their authors' code and weights; their "
            "scores come with the library, their pictures do not. The recorded Mertens was given RGB where OpenCV "
            "expects BGR, which moves its scores by 1e-3 to 1e-2."
        )
    ships = [method.model for method in plan.built_in if method.model in SHIPPED]
    if ships:
        yield f"Models that come with this library: {'; '.join(f'{name}, {SHIPPED[name]}' for name in ships)}."


def _gallery_note(outcome: Outcome) -> str:
    hidden = " Recorded methods have no pictures here." if outcome.plan.recorded else ""
    return (
        "Chosen scenes, or those in which MS-SSIM differs most between methods; the framed parts are enlarged below, "
        f"and unless they were given they are where the methods' gray levels disagree most.{hidden}"
    )


def _origin(outcome: Outcome, command: str, files: list[str]) -> dict[str, Any]:
    plan = outcome.plan
    return provenance(
        kind="evaluation",
        command=command,
        data=plan.selection.data,
        split=plan.selection.split,
        scenes=plan.selection.names,
        methods={entry.name: {"folder": str(entry.folder), "origin": entry.origin} for entry in outcome.entries},
        recorded=plan.recorded,
        baseline=plan.chosen_baseline,
        seed=plan.seed,
        draws=plan.draws,
        metrics=metric_version(),
        sha256={"sources": outcome.sources, "fused": outcome.hashes},
        files=files,
    )


def _facts(outcome: Outcome, origin: Mapping[str, Any]) -> list[tuple[str, str]]:
    plan = outcome.plan
    return [
        ("Command", origin["command"]),
        ("Scenes", ", ".join(plan.selection.names)),
        *((f"Method {entry.name}", f"{entry.origin}; in {entry.folder}") for entry in outcome.entries),
        ("Intervals", f"{plan.draws} draws of scenes, seed {plan.seed}, baseline {plan.chosen_baseline}"),
        ("Metrics", f"sha256 of their code and packages {metric_version()}"),
        ("Written", origin["written"]),
        ("hsds_lib", f"{origin['hsds_lib']}, commit {origin['commit'] or 'unknown'}"),
        ("Python", f"{origin['python']} on {origin['system']}"),
        ("Packages", ", ".join(f"{name} {version}" for name, version in origin["packages"].items())),
    ]


def _remove_old(out: Path, files: Sequence[str]) -> None:
    """Remove what an earlier evaluation drew, so that the folder tells of one evaluation only."""
    try:
        before = read_json(out / "provenance.json")["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for name in set(before) - set(files):
        if Path(name).parts[0] in _OURS and ".." not in Path(name).parts:
            (out / name).unlink(missing_ok=True)
