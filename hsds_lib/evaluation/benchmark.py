"""An evaluation that can be trusted: many methods, the same scenes, all metrics, and how sure the differences are.

Everything given is checked before anything is computed; each score is kept as soon as it is known, so that an
evaluation that was stopped goes on where it was, and only what has changed is computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hsds_lib.evaluation.built_in import BuiltIn, entry_of, fuse_scenes
from hsds_lib.evaluation.entries import BenchmarkError, Entry, Selection, require_different, require_fair
from hsds_lib.evaluation.peers import beside, is_recorded, recorded_scenes
from hsds_lib.evaluation.score_cache import Job, score_job, score_key
from hsds_lib.evaluation.scoring import Scores, in_processes
from hsds_lib.evaluation.statistics import (
    DRAWS,
    Difference,
    Means,
    MethodScores,
    common_means,
    paired_differences,
    rank_table,
    ranked_metrics,
)
from hsds_lib.images.io import read_pair
from hsds_lib.runtime import atomic_path, file_hash

Progress = Callable[[Iterable[Any], int, str], Iterable[Any]]
"""Goes over things and shows how far it is: the things, how many there are, and what is done with them."""

_MARKER = "written-by-hsds-evaluate.txt"


@dataclass(frozen=True)
class Plan:
    """What to evaluate, and how.

    Attributes:
        selection: the scenes.
        given: methods whose pictures are there.
        built_in: methods that the library fuses itself.
        baseline: the method that differences are taken from; None for ``mertens``, or else the first method.
        recorded: whether to set recorded scores of other methods beside, on scenes of MEFB.
        seed: of the draws of the bootstrap.
        draws: how many there are.
        workers: processes that score.
        device: for models.

    Example:
        >>> plan = Plan(Selection("pairs", "all", (), frozenset()), given=(Entry("ours", Path("out")),))
        >>> plan.chosen_baseline
        'ours'
    """

    selection: Selection
    given: tuple[Entry, ...] = ()
    built_in: tuple[BuiltIn, ...] = ()
    baseline: str | None = None
    recorded: bool = False
    seed: int = 0
    draws: int = DRAWS
    workers: int = 1
    device: str = "auto"

    @property
    def names(self) -> list[str]:
        """Names of the methods that are measured, in the order of the tables."""
        return [*(entry.name for entry in self.given), *(method.name for method in self.built_in)]

    @property
    def chosen_baseline(self) -> str:
        """The method that differences are taken from."""
        return self.baseline or ("mertens" if "mertens" in self.names else self.names[0])


@dataclass(frozen=True)
class Outcome:
    """What an evaluation found.

    Attributes:
        plan: what was asked for.
        entries: the methods that were measured.
        fused: their pictures by method and scene.
        sources: SHA-256 of the files that were fused, by role (``under``, ``over``, ``ref``) and scene.
        hashes: SHA-256 of the fused files, by method and scene.
        scores: by method, scene and metric; recorded ones come last.
        means: over common scenes.
        ranked: the metrics that ranks were taken of.
        ranks: places by method and metric, and the mean rank.
        differences: from the baseline, in all metrics that both have.

    Example:
        >>> [name for name in Outcome.__dataclass_fields__][:3]
        ['plan', 'entries', 'fused']
    """

    plan: Plan
    entries: tuple[Entry, ...]
    fused: Mapping[str, Mapping[str, Path]]
    sources: Mapping[str, Mapping[str, str]]
    hashes: Mapping[str, Mapping[str, str]]
    scores: MethodScores
    means: Means
    ranked: list[str]
    ranks: Mapping[str, Mapping[str, float]]
    differences: list[Difference]


def silent(items: Iterable[Any], total: int, what: str) -> Iterable[Any]:
    """Show no progress.

    Args:
        items: what to go over.
        total: how many there are.
        what: is done with them.

    Returns:
        The items.

    Example:
        >>> list(silent([1, 2], 2, "scoring"))
        [1, 2]
    """
    return items


def run_benchmark(plan: Plan, out: Path, *, progress: Progress = silent) -> Outcome:
    """Check, fuse what is to be fused, score, and compare.

    Args:
        plan: what to evaluate.
        out: the folder of results; pictures go to ``out/fused`` and single scores to ``out/cache``.
        progress: shows how far it is.

    Returns:
        All scores, means, ranks and differences.

    Raises:
        BenchmarkError: what was given cannot be compared; nothing was scored then.
        RunError: if a scoring process ends early; the same command goes on.

    Example:
        >>> import tempfile, torch
        >>> from hsds_lib.evaluation.entries import select_scenes
        >>> from hsds_lib.images.io import write_rgb
        >>> place = Path(tempfile.mkdtemp())
        >>> for number, path in enumerate(("pairs/hall/under.png", "pairs/hall/over.png", "ours/hall.png")):
        ...     write_rgb(place / path, torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(number)))
        >>> plan = Plan(select_scenes(str(place / "pairs")), (Entry("ours", place / "ours"),), (BuiltIn("average"),))
        >>> outcome = run_benchmark(plan, place / "results")
        >>> outcome.ranks["average"]["MEF-SSIM"], outcome.ranks["ours"]["MEF-SSIM"]
        (1.0, 2.0)
    """
    check_plan(plan, out)
    fused = require_fair(plan.selection, plan.given)
    if plan.recorded:
        _require_recorded(plan.selection)
    claim_folder(out)
    entries = [*plan.given, *(entry_of(method, out) for method in plan.built_in)]
    for method in plan.built_in:
        folder = out / "fused" / method.name
        made = fuse_scenes(method, plan.selection.scenes, folder, out / "cache", device=plan.device)
        names = progress(made, len(plan.selection.scenes), f"fusing by {method.name}")
        fused[method.name] = {name: folder / f"{name}.png" for name in names}
    hashes = {name: {scene: file_hash(path) for scene, path in paths.items()} for name, paths in fused.items()}
    require_different(hashes)
    sources = _source_hashes(plan.selection)
    jobs = [
        Job(method, scene, paths[scene.name], _key(sources, scene.name, hashes[method]))
        for method, paths in fused.items()
        for scene in plan.selection.scenes
    ]
    scores = _score_all(jobs, out / "cache", plan.workers, progress)
    return summarise(plan, scores, entries=entries, fused=fused, sources=sources, hashes=hashes)


def summarise(plan: Plan, measured: MethodScores, **facts: Any) -> Outcome:
    """Take means, ranks and differences of scores.

    Args:
        plan: what was asked for.
        measured: scores by method, scene and metric.
        **facts: the attributes ``entries``, ``fused``, ``sources`` and ``hashes`` of the outcome; default: empty.

    Returns:
        The outcome, recorded scores included where the plan asks for them.

    Example:
        >>> plan = Plan(Selection("pairs", "all", (), frozenset()), (Entry("a", Path("a")), Entry("b", Path("b"))))
        >>> outcome = summarise(plan, {"a": {"hall": {"EN": 7.0}}, "b": {"hall": {"EN": 6.0}}})
        >>> outcome.ranked, outcome.differences[0].mean
        (['EN'], -1.0)
    """
    scores = {**measured, **(beside(measured, plan.selection.names) if plan.recorded else {})}
    means = common_means(scores)
    ranked = ranked_metrics(means)
    return Outcome(
        plan=plan,
        entries=tuple(facts.get("entries", ())),
        fused=facts.get("fused", {}),
        sources=facts.get("sources", {}),
        hashes=facts.get("hashes", {}),
        scores=scores,
        means=means,
        ranked=ranked,
        ranks=rank_table(means.values, ranked) if ranked else {},
        differences=paired_differences(
            scores, plan.chosen_baseline, list(means.scenes), draws=plan.draws, seed=plan.seed
        ),
    )


def check_plan(plan: Plan, out: Path) -> None:
    """Refuse a plan that cannot work, before any picture is read.

    Args:
        plan: what to evaluate.
        out: the folder of results, which need not exist.

    Raises:
        BenchmarkError: no method, two of one name, an unknown baseline, or a folder with other things in it.

    Example:
        >>> check_plan(Plan(Selection("pairs", "all", (), frozenset())), Path("results"))
        Traceback (most recent call last):
        hsds_lib.evaluation.entries.BenchmarkError: there is no method to evaluate; give --method NAME=DIR, ...
    """
    if not plan.names:
        raise BenchmarkError("there is no method to evaluate; give --method NAME=DIR, --builtin or --model NAME=RUN")
    twice = next((name for name in plan.names if plan.names.count(name) > 1), None)
    if twice is not None:
        raise BenchmarkError(f"two methods are called '{twice}'; give each a name of its own")
    if plan.chosen_baseline not in plan.names:
        raise BenchmarkError(f"baseline '{plan.baseline}' is none of the methods; choose among {', '.join(plan.names)}")
    if plan.workers < 1 or plan.draws < 1:
        raise BenchmarkError(f"workers is {plan.workers} and draws {plan.draws}; give 1 or more of each")
    if out.exists() and not out.is_dir():
        raise BenchmarkError(f"--out {out} is a file; name a folder for the results")
    if out.is_dir() and any(out.iterdir()) and not (out / _MARKER).is_file():
        raise BenchmarkError(f"--out {out} holds other files; name a new folder, or one of an earlier evaluation")


def claim_folder(out: Path) -> None:
    """Mark a folder as one of results, so that later evaluations may write into it.

    Args:
        out: the folder; it is made if need be.

    Example:
        >>> import tempfile
        >>> out = Path(tempfile.mkdtemp()) / "results"
        >>> claim_folder(out)
        >>> [path.name for path in out.iterdir()]
        ['written-by-hsds-evaluate.txt']
    """
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


def _source_hashes(selection: Selection) -> dict[str, dict[str, str]]:
    return {
        "under": {scene.name: file_hash(scene.under) for scene in selection.scenes},
        "over": {scene.name: file_hash(scene.over) for scene in selection.scenes},
        "ref": {scene.name: file_hash(scene.ref) for scene in selection.scenes if scene.ref is not None},
    }


def _key(sources: Mapping[str, Mapping[str, str]], scene: str, fused: Mapping[str, str]) -> str:
    return score_key(sources["under"][scene], sources["over"][scene], sources["ref"].get(scene), fused[scene])


def _score_all(jobs: list[Job], cache: Path, workers: int, progress: Progress) -> dict[str, dict[str, Scores]]:
    scores: dict[str, dict[str, Scores]] = {job.method: {} for job in jobs}
    results = in_processes(partial(score_job, folder=cache), jobs, workers=workers)
    for job, found in zip(jobs, progress(results, len(jobs), "scoring"), strict=True):
        scores[job.method][job.scene.name] = found
    return scores
