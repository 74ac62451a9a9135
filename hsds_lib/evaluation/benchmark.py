"""An evaluation that can be trusted: many methods, the same scenes, all metrics, and how sure the differences are.

Everything given is checked before anything is computed; each score is kept as soon as it is known, so that an
evaluation that was stopped goes on where it was, and only what has changed is computed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import pandas as pd

from hsds_lib.evaluation.methods import (
    BenchmarkError,
    Method,
    Selection,
    fuse_scenes,
    require_different,
    require_fair,
)
from hsds_lib.evaluation.metrics import PAPER_METRICS
from hsds_lib.evaluation.peers import beside, is_recorded, peers_table, recorded_scenes
from hsds_lib.evaluation.scoring import Scores, in_processes, metric_version, score_or_say
from hsds_lib.evaluation.statistics import (
    DRAWS,
    MEAN_RANK,
    RANKED,
    Difference,
    Means,
    MethodScores,
    common_means,
    paired_differences,
    rank_table,
    ranked_metrics,
    score_frame,
)
from hsds_lib.evaluation.tables import ScoreTable, differences_table, number_table, write_csv
from hsds_lib.images.datasets import repeated
from hsds_lib.images.io import read_pair
from hsds_lib.network.model_file import SHIPPED
from hsds_lib.outputs import LOCK_FILES, place_of, require_apart
from hsds_lib.runs.progress import Progress
from hsds_lib.runs.sources import joined_hash
from hsds_lib.runtime import RunError, atomic_path, file_hash

_MARKER = "written-by-hsds-evaluate.txt"
_HIGHER = "Higher is better in all of these metrics (for SD and EN by convention: noise raises both)."
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Plan:
    """What to evaluate, and how: with the baseline None for ``mertens``, or else the first method.

    ``recorded`` sets recorded scores of other methods beside, on scenes of MEFB; ``seed`` and ``draws`` are those of
    the bootstrap, ``workers`` the processes that score, and ``device`` is for models.
    """

    selection: Selection
    methods: tuple[Method, ...] = ()
    baseline: str | None = None
    recorded: bool = False
    seed: int = 0
    draws: int = DRAWS
    workers: int = 1
    device: str = "auto"

    @property
    def names(self) -> list[str]:
        """Names of the methods that are measured, in the order of the tables: those with pictures come first."""
        return [method.name for method in sorted(self.methods, key=lambda method: method.folder is None)]

    @property
    def chosen_baseline(self) -> str:
        """The method that differences are taken from."""
        return self.baseline or ("mertens" if "mertens" in self.names else self.names[0])

    @property
    def scene_count(self) -> str:
        """How many scenes there are, in words."""
        count = len(self.selection.scenes)
        return f"{count} {'scene' if count == 1 else 'scenes'}"


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found: scores by method, scene and metric, recorded ones last, and what follows from them.

    ``origins`` says where the pictures of a method are and how they came about, ``fused`` gives them by method and
    scene, ``hashes`` their SHA-256, and ``sources`` that of the files by role (``under``, ``over``, ``ref``) and scene.
    """

    plan: Plan
    scores: MethodScores
    origins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    fused: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    sources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    hashes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @cached_property
    def means(self) -> Means:
        """Means over common scenes."""
        return common_means(self.scores)

    @cached_property
    def ranked(self) -> list[str]:
        """The metrics that ranks are taken of."""
        return ranked_metrics(self.means)

    @cached_property
    def ranks(self) -> pd.DataFrame:
        """Places by method and metric, and the mean rank; without a metric to rank by it is empty."""
        return rank_table(self.means.values, self.ranked) if self.ranked else pd.DataFrame()

    @cached_property
    def differences(self) -> list[Difference]:
        """From the baseline, in all metrics that both have."""
        plan = self.plan
        metrics = list(self.means.scenes)
        return paired_differences(self.scores, plan.chosen_baseline, metrics, draws=plan.draws, seed=plan.seed)

    @property
    def ranked_differences(self) -> list[Difference]:
        """Those in the metrics of ``RANKED``, in their order."""
        kept = [one for one in self.differences if one.metric in RANKED]
        methods = list(self.scores)
        return sorted(kept, key=lambda one: (methods.index(one.method), RANKED.index(one.metric)))

    @property
    def leader(self) -> str:
        """A sentence on the best mean rank; empty where fewer than two methods are ranked."""
        if len(self.ranks) < 2:
            return ""
        best = self.ranks[MEAN_RANK].idxmin()
        return f"Best mean rank: {best}, {self.ranks[MEAN_RANK].min():.2f}, over {', '.join(self.ranked)}."


def run_benchmark(plan: Plan, out: Path, *, show: bool = False) -> Evaluation:
    """Check, fuse what is to be fused, score, and compare; pictures go to ``out/fused``, scores to ``out/cache``.

    ``BenchmarkError``: what was given cannot be compared, and nothing was scored. ``RunError``: a scoring process ended
    early; the same command goes on. ``show`` shows how far it is.
    """
    check_plan(plan, out)
    fused = require_fair(plan.selection, [method for method in plan.methods if method.folder is not None])
    if plan.recorded:
        _require_recorded(plan.selection)
    _claim(out)
    scenes = plan.selection.scenes
    for method in plan.methods:
        if method.folder is None:
            made = fuse_scenes(method, scenes, out, device=plan.device)
            fused[method.name] = dict(_watched(made, len(scenes), f"fusing by {method.name}", show))
    hashes = {name: {scene: file_hash(path) for scene, path in paths.items()} for name, paths in fused.items()}
    require_different(hashes)
    sources = {
        role: {scene.name: file_hash(path) for scene in scenes if (path := getattr(scene, role)) is not None}
        for role in ("under", "over", "ref")
    }
    return Evaluation(
        plan,
        scores=_scores(plan, fused, sources, hashes, out / "cache", show),
        origins={
            method.name: {"folder": str(method.pictures(out)), "origin": method.origin} for method in plan.methods
        },
        fused=fused,
        sources=sources,
        hashes=hashes,
    )


def check_plan(plan: Plan, out: Path) -> None:
    """Refuse a plan that cannot work, as ``BenchmarkError``, before any picture is read; ``out`` need not exist."""
    if not plan.names:
        raise BenchmarkError("there is no method to evaluate; give --method NAME=DIR, --builtin or --model NAME=RUN")
    twice = repeated(plan.names)
    if twice is not None:
        raise BenchmarkError(f"two methods are called '{twice}'; give each a name of its own")
    if plan.chosen_baseline not in plan.names:
        raise BenchmarkError(f"baseline '{plan.baseline}' is none of the methods; choose among {', '.join(plan.names)}")
    if plan.workers < 1 or plan.draws < 1:
        raise BenchmarkError(f"workers is {plan.workers} and draws {plan.draws}; give 1 or more of each")
    given = {path.parent for one in plan.selection.scenes for path in (one.under, one.over, one.ref) if path}
    require_apart(out, *given, *(one.folder or one.model for one in plan.methods if one.model not in SHIPPED))
    out = place_of(out)
    if out.exists() and not out.is_dir():
        raise BenchmarkError(f"--out {out} is a file; name a folder for the results")
    if out.is_dir() and {path.name for path in out.iterdir()} - {*LOCK_FILES} and not (out / _MARKER).is_file():
        raise BenchmarkError(f"--out {out} holds other files; name a new folder, or one of an earlier evaluation")


def result_tables(found: Evaluation) -> dict[str, ScoreTable]:
    """Make the tables of an evaluation, by the name of their file; those without a row are left out."""
    plan, means, count = found.plan, found.means, len(found.plan.selection.scenes)
    where = f"{plan.scene_count} of {plan.selection.data} ({plan.selection.split})"
    ranked = f"The mean rank is over {', '.join(found.ranked) or 'no metric'}."
    gaps = [f"{name} ({means.scenes[name]})" for name in RANKED if 0 < means.scenes[name] < count]
    less = f" Means over fewer scenes, and not ranked: {', '.join(gaps)}." if gaps else ""
    dashes = " A dash: there is no reference, or the recorded scores lack the metric."
    correct = means.values[list(RANKED)].add_suffix(" ↑")
    if found.ranked:
        correct[f"{MEAN_RANK} ↓"] = found.ranks[MEAN_RANK]
    tables = {
        "means": number_table(
            correct,
            title=f"Means over {where}, metrics in their correct form",
            note=f"{_HIGHER} {ranked}{less}{dashes}",
        ),
        "as_printed": number_table(
            means.values[list(PAPER_METRICS)].add_suffix(" ↑"),
            title=f"Means over {where}, metrics as papers print them",
            note=f"SD, VIF and TMQI here are artefacts of old toolboxes, to compare with printed tables.{dashes}",
        ),
    }
    if found.ranked:
        places = found.ranks.add_suffix(" ↓")
        tables["ranks"] = number_table(places, title=f"Places by means over {where}", note="1 is the best.")
    kept = found.ranked_differences
    if kept:
        title = f"Differences from {plan.chosen_baseline}"
        tables["differences"] = differences_table(kept, title=title, note=_interval_note(plan))
    if plan.recorded:
        tables["peers"] = peers_table("no reference", plan.selection.names)
    return tables


def write_results(found: Evaluation, out: Path) -> list[Path]:
    """Write three CSV files with all digits, and each table as LaTeX, Markdown and HTML; each whole or not at all."""
    paths = [out / "scores.csv", out / "means.csv", out / "differences.csv"]
    write_csv(paths[0], score_frame(found.scores))
    means = found.means.values.rename_axis("method")
    means.insert(0, "scenes", [len(found.scores[method]) for method in means.index])
    write_csv(paths[1], means)
    names = [part.name for part in fields(Difference)]
    write_csv(paths[2], pd.DataFrame(found.differences, columns=names), index=False)
    for name, table in result_tables(found).items():
        for suffix, text in (("tex", table.latex()), ("md", table.markdown()), ("html", table.html())):
            path = out / "tables" / f"{name}.{suffix}"
            with atomic_path(path) as temporary:
                temporary.write_text(text + "\n", encoding="utf-8")
            paths.append(path)
    return paths


def _interval_note(plan: Plan) -> str:
    count = len(plan.selection.scenes)
    few = " With so few scenes the intervals are too narrow: 95 % is about 91 % at 12 scenes." if count < 20 else ""
    return (
        f"Mean of (method - {plan.chosen_baseline}) over {count} scenes, and its 95 % bootstrap interval "
        f"(percentiles, pairs of scenes drawn {plan.draws} times, seed {plan.seed}); then the scenes won.{few}"
    )


def _claim(out: Path) -> None:
    """Mark a folder as one of results, so that later evaluations may write into it."""
    with atomic_path(out / _MARKER) as temporary:
        temporary.write_text("`hsds evaluate` writes into this folder and replaces what it wrote before.\n")


def _require_recorded(selection: Selection) -> None:
    known = set(recorded_scenes())
    for scene in selection.scenes:
        if scene.name not in known or not is_recorded(scene.name, *read_pair(scene.under, scene.over)):
            raise BenchmarkError(
                f"--peers was given, but scene '{scene.name}' is not one of the {len(known)} scenes of MEFB with "
                "recorded scores, pixel by pixel; leave --peers out, or select scenes of MEFB (train and val)"
            )


def _scores(
    plan: Plan,
    fused: Mapping[str, Mapping[str, Path]],
    sources: Mapping[str, Mapping[str, str]],
    hashes: Mapping[str, Mapping[str, str]],
    cache: Path,
    show: bool,
) -> MethodScores:
    """Score every picture, and set recorded scores beside where the plan asks for them."""
    places = [(method, scene) for method in fused for scene in plan.selection.scenes]
    jobs = []
    for method, scene in places:
        files = [*(sources[role].get(scene.name) for role in ("under", "over", "ref")), hashes[method][scene.name]]
        jobs.append((scene, fused[method][scene.name], joined_hash([*files, metric_version()])))
    scores: dict[str, dict[str, Scores]] = {method: {} for method in fused}
    results = in_processes(partial(score_or_say, folder=cache), jobs, workers=plan.workers)
    failed = []
    for (method, scene), found in zip(places, _watched(results, len(jobs), "scoring", show), strict=True):
        if isinstance(found, str):
            failed.append(found)
        else:
            scores[method][scene.name] = found
    if failed:
        raise RunError(
            f"{len(failed)} pictures could not be scored: {', '.join(failed[:4])}; scores of others are kept"
        )
    return {**scores, **(beside(scores, plan.selection.names) if plan.recorded else {})}


def _watched(items: Iterable[_Item], total: int, what: str, show: bool) -> Iterator[_Item]:
    with Progress(total, label=what, unit="pictures", show=show, every=30) as progress:
        for item in items:
            progress.step()
            yield item
