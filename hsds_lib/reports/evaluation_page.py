"""The folder of an evaluation: figures as files, and one page that needs no other file and no network."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from PIL import Image

from hsds_lib.course.show import save_figure
from hsds_lib.evaluation.benchmark import Evaluation, result_tables, write_results
from hsds_lib.evaluation.peers import peers
from hsds_lib.evaluation.scoring import metric_version
from hsds_lib.evaluation.statistics import RANKED
from hsds_lib.images.datasets import DATA_SETS, set_of, split_names
from hsds_lib.network.model_file import SHIPPED
from hsds_lib.reports.evaluation_figures import (
    Crop,
    gallery,
    interval_plot,
    most_different,
    scores_by_method,
    scores_by_scene,
)
from hsds_lib.reports.page import render
from hsds_lib.runtime import atomic_path, provenance, read_json, write_json

_DPI = 110  # of the pictures inside the page; the files beside it have 300
_OURS = ("plots", "gallery", "tables")


class Drawing(NamedTuple):
    """A figure of the page: where it belongs, its file without ending, its title and alternative text."""

    part: str
    stem: str
    title: str
    figure: Figure
    alt: str


def write_folder(
    found: Evaluation,
    out: Path,
    *,
    command: str,
    shown: Sequence[str] = (),
    crops: Mapping[str, Sequence[Crop]] | None = None,
) -> Path:
    """Write everything an evaluation leaves: CSV files, tables, figures, provenance and ``index.html``; give its path.

    What an earlier evaluation wrote there, and this one does not, is removed. ``shown`` names the scenes of the
    gallery; default: the three in which methods differ most. ``crops`` are parts to enlarge; default: where methods
    disagree.
    """
    written = write_results(found, out)
    embedded = []
    for drawing in _drawings(found, shown, crops or {}):
        suffixes = ("png",) if drawing.part == "gallery" else ("png", "svg")
        embedded.append(_embedded(drawing))
        written += save_figure(drawing.figure, out / drawing.stem, formats=suffixes)
    origin = _origin(found, command, [path.relative_to(out).as_posix() for path in written])
    page = out / "index.html"
    with atomic_path(page) as temporary:
        temporary.write_text(evaluation_text(found, embedded, origin), "utf-8", "backslashreplace")  # names of files
    _remove_old(out, origin["files"])
    write_json(out / "provenance.json", origin)
    return page


def evaluation_text(found: Evaluation, figures: Iterable[Mapping[str, Any]], origin: Mapping[str, Any]) -> str:
    """Fill the page, HTML that loads nothing; ``origin`` is what ``provenance.json`` holds.

    A figure has ``part``, ``title``, ``alt``, ``data`` (an address that holds the picture) and ``width``.
    """
    plan = found.plan
    return render(
        "evaluation.html.j2",
        title=f"Evaluation on {plan.selection.data} ({plan.selection.split})",
        summary=f"{len(found.scores)} methods on {len(plan.selection.scenes)} scenes. {found.leader}".rstrip(),
        remarks=list(_remarks(found)),
        tables={name: table.html() for name, table in result_tables(found).items()},
        figures=list(figures),
        gallery_note=_gallery_note(found),
        peers=list(peers().values()),
        facts=_facts(found, origin),
    )


def _drawings(found: Evaluation, shown: Sequence[str], crops: Mapping[str, Sequence[Crop]]) -> Iterator[Drawing]:
    scores, baseline = found.scores, found.plan.chosen_baseline
    metrics = [name for name in RANKED if found.means.scenes[name]]
    yield Drawing("methods", "plots/methods", "All metrics", *scores_by_method(scores, metrics))
    for metric in sorted(metrics, key=lambda name: name != "MS-SSIM"):
        yield Drawing("scenes", f"plots/scenes-{metric}", metric, *scores_by_scene(scores, metric, order=baseline))
    if kept := found.ranked_differences:
        yield Drawing("intervals", "plots/intervals", "Differences", *interval_plot(kept, list(scores)))
    wanted = [*shown, *(scene for scene in crops if scene not in shown)]
    for scene in dict.fromkeys(wanted or most_different(scores, list(found.fused))):
        yield Drawing("gallery", f"gallery/{scene}", scene, *gallery(found, scene, crops.get(scene)))


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


def _remarks(found: Evaluation) -> Iterator[str]:
    plan = found.plan
    sets = {set_of(scene.under.parent.parent).name for scene in plan.selection.scenes}
    for one in DATA_SETS.values():
        seen = set(split_names(one.name).get("train", ())) & set(plan.selection.names)
        here = one.name in sets or (plan.recorded and one.recorded)
        if here and seen and any(method.model is not None for method in plan.methods):
            yield (
                f"{len(seen)} of these scenes are in the training split of {one.title}: the models that ship, and "
                f"whatever was trained on {one.name}, have seen them. Use the split val for a fair comparison."
            )
    if plan.recorded:
        yield (
            "Methods marked (recorded) were fused and scored before, with their authors' code and weights; their "
            "scores come with the library, their pictures do not. The recorded Mertens was given RGB where OpenCV "
            "expects BGR, which moves its scores by 1e-3 to 1e-2."
        )
    ships = [method.model for method in plan.methods if method.model in SHIPPED]
    if ships:
        yield f"Models that come with this library: {'; '.join(f'{name}, {SHIPPED[name]}' for name in ships)}."


def _gallery_note(found: Evaluation) -> str:
    hidden = " Recorded methods have no pictures here." if found.plan.recorded else ""
    return (
        "Chosen scenes, or those in which MS-SSIM differs most between methods; the framed parts are enlarged below, "
        f"and unless they were given they are where the methods' gray levels disagree most.{hidden}"
    )


def _origin(found: Evaluation, command: str, files: list[str]) -> dict[str, Any]:
    plan = found.plan
    return provenance(
        kind="evaluation",
        command=command,
        data=plan.selection.data,
        split=plan.selection.split,
        scenes=plan.selection.names,
        methods=found.origins,
        recorded=plan.recorded,
        baseline=plan.chosen_baseline,
        seed=plan.seed,
        draws=plan.draws,
        metrics=metric_version(),
        sha256={"sources": found.sources, "fused": found.hashes},
        files=files,
    )


def _facts(found: Evaluation, origin: Mapping[str, Any]) -> list[tuple[str, str]]:
    plan = found.plan
    return [
        ("Command", origin["command"]),
        ("Scenes", ", ".join(plan.selection.names)),
        *((f"Method {name}", f"{one['origin']}; in {one['folder']}") for name, one in found.origins.items()),
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
    for path in [Path(name) for name in before if isinstance(name, str) and name not in files]:
        if path.parts[:1] in [(name,) for name in _OURS] and ".." not in path.parts:
            (out / path).unlink(missing_ok=True)
