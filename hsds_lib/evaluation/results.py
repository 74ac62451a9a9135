"""The files of an evaluation: scores, means and differences as CSV, and tables for papers and pages."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from hsds_lib.evaluation.benchmark import Outcome
from hsds_lib.evaluation.metrics import METRICS, PAPER_METRICS
from hsds_lib.evaluation.peers import peers_table
from hsds_lib.evaluation.statistics import RANKED, Difference, MethodScores, write_differences
from hsds_lib.evaluation.tables import ScoreTable, differences_table, means_table, ranks_table
from hsds_lib.runtime import atomic_path

HIGHER = "Higher is better in all of these metrics (for SD and EN by convention: noise raises both)."


def write_method_scores(path: str | Path, scores: MethodScores) -> None:
    """Write one row per method and scene as CSV, atomically and with all digits; a cell is empty without a value.

    Args:
        path: the file to write.
        scores: by method, scene and metric.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "scores.csv"
        >>> write_method_scores(path, {"ours": {"hall": {"SD": 1.5, "EN": None}}})
        >>> path.read_text().splitlines()[1][:14]
        'ours,hall,1.5,'
    """
    rows = [[method, scene, row] for method, by_scene in scores.items() for scene, row in by_scene.items()]
    _write_csv(path, ["method", "scene"], rows)


def read_method_scores(path: str | Path) -> dict[str, dict[str, dict[str, float | None]]]:
    """Read what :func:`write_method_scores` wrote, such as ``scores.csv`` of an evaluation.

    Args:
        path: of the file.

    Returns:
        Method to scene to metric to value; None where there was no value.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is another table.

    Example:
        >>> from hsds_lib.fusing.fuse import MODELS
        >>> round(read_method_scores(MODELS / "validation.csv")["mertens"]["Cave"]["Qabf"], 3)
        0.877
    """
    with Path(path).open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        if list(reader.fieldnames or ())[:2] != ["method", "scene"]:
            raise ValueError(f"{path} is not a table of scores; give the scores.csv of an evaluation")
        found: dict[str, dict[str, dict[str, float | None]]] = {}
        for row in reader:
            method, scene = row.pop("method"), row.pop("scene")
            values = {name: float(value) if value else None for name, value in row.items()}
            found.setdefault(method, {})[scene] = values
    return found


def write_means(path: str | Path, outcome: Outcome) -> None:
    """Write one row of means per method as CSV, atomically and with all digits.

    Args:
        path: the file to write.
        outcome: of the evaluation.

    Example:
        >>> from hsds_lib.evaluation.benchmark import Plan, summarise
        >>> from hsds_lib.evaluation.entries import Entry, Selection
        >>> import tempfile
        >>> plan = Plan(Selection("pairs", "all", (), frozenset()), (Entry("a", Path("a")),))
        >>> path = Path(tempfile.mkdtemp()) / "means.csv"
        >>> write_means(path, summarise(plan, {"a": {"hall": {"SD": 7.5}, "roof": {"SD": 6.5}}}))
        >>> [line[:17] for line in path.read_text().splitlines()]
        ['method,scenes,SD,', 'a,2,7.0,,,,,,,,,,']
    """
    rows = [[method, len(outcome.scores[method]), row] for method, row in outcome.means.values.items()]
    _write_csv(path, ["method", "scenes"], rows)


def tables(outcome: Outcome) -> dict[str, ScoreTable]:
    """Make the tables of an evaluation.

    Args:
        outcome: of the evaluation.

    Returns:
        Tables by the name of their file; those without a row are left out.

    Example:
        >>> from hsds_lib.evaluation.benchmark import Plan, summarise
        >>> from hsds_lib.evaluation.entries import Entry, Selection
        >>> plan = Plan(Selection("pairs", "all", (), frozenset()), (Entry("a", Path("a")),))
        >>> list(tables(summarise(plan, {"a": {"hall": {"EN": 7.0}}})))
        ['means', 'as_printed', 'ranks']
    """
    plan, means = outcome.plan, outcome.means
    count = len(plan.selection.scenes)
    where = f"{count} {'scene' if count == 1 else 'scenes'} of {plan.selection.data} ({plan.selection.split})"
    ranked = f"The mean rank is over {', '.join(outcome.ranked) or 'no metric'}."
    gaps = [f"{name} ({means.scenes[name]})" for name in RANKED if 0 < means.scenes[name] < count]
    less = f" Means over fewer scenes, and not ranked: {', '.join(gaps)}." if gaps else ""
    dashes = " A dash: there is no reference, or the recorded scores lack the metric."
    found = {
        "means": means_table(
            means.values,
            RANKED,
            title=f"Means over {where}, metrics in their correct form",
            note=f"{HIGHER} {ranked}{less}{dashes}",
            ranks=outcome.ranks or None,
        ),
        "as_printed": means_table(
            means.values,
            PAPER_METRICS,
            title=f"Means over {where}, metrics as papers print them",
            note=f"SD, VIF and TMQI here are artefacts of old toolboxes, to compare with printed tables.{dashes}",
        ),
    }
    if outcome.ranks:
        found["ranks"] = ranks_table(outcome.ranks, title=f"Places by means over {where}", note="1 is the best.")
    kept = ranked_differences(outcome)
    if kept:
        title = f"Differences from {plan.chosen_baseline}"
        found["differences"] = differences_table(kept, title=title, note=interval_note(outcome))
    if plan.recorded:
        found["peers"] = peers_table("no reference", plan.selection.names)
    return found


def ranked_differences(outcome: Outcome) -> list[Difference]:
    """Keep the differences in the metrics of ``RANKED``, in their order.

    Args:
        outcome: of the evaluation.

    Returns:
        Some of its differences.

    Example:
        >>> from hsds_lib.evaluation.benchmark import Plan, summarise
        >>> from hsds_lib.evaluation.entries import Entry, Selection
        >>> plan = Plan(Selection("pairs", "all", (), frozenset()), (Entry("a", Path("a")),))
        >>> row = {"hall": {"EN": 7.0, "SD": 9.0, "SD_double": 40.0}}
        >>> [one.metric for one in ranked_differences(summarise(plan, {"a": row, "b": row}))]
        ['SD_double', 'EN']
    """
    kept = [one for one in outcome.differences if one.metric in RANKED]
    methods = list(outcome.scores)
    return sorted(kept, key=lambda one: (methods.index(one.method), RANKED.index(one.metric)))


def interval_note(outcome: Outcome) -> str:
    """Say how the intervals were made.

    Args:
        outcome: of the evaluation.

    Returns:
        Two or three sentences.

    Example:
        >>> from hsds_lib.evaluation.benchmark import Plan, summarise
        >>> from hsds_lib.evaluation.entries import Entry, Selection
        >>> plan = Plan(Selection("pairs", "all", (), frozenset()), (Entry("a", Path("a")),))
        >>> print(interval_note(summarise(plan, {"a": {"hall": {"EN": 7.0}}}))[:67])
        Mean of (method - a) over 0 scenes, and its 95 % bootstrap interval
    """
    plan = outcome.plan
    count = len(plan.selection.scenes)
    few = " With so few scenes the intervals are too narrow: 95 % is about 91 % at 12 scenes." if count < 20 else ""
    return (
        f"Mean of (method - {plan.chosen_baseline}) over {count} scenes, and its 95 % bootstrap interval "
        f"(percentiles, pairs of scenes drawn {plan.draws} times, seed {plan.seed}); then the scenes won.{few}"
    )


def write_results(outcome: Outcome, out: Path) -> list[Path]:
    """Write the CSV files, and each table as LaTeX, Markdown and HTML; each file whole or not at all.

    Args:
        outcome: of the evaluation.
        out: the folder of results.

    Returns:
        The files written.

    Example:
        >>> from hsds_lib.evaluation.benchmark import Plan, summarise
        >>> from hsds_lib.evaluation.entries import Entry, Selection
        >>> import tempfile
        >>> plan = Plan(Selection("pairs", "all", (), frozenset()), (Entry("a", Path("a")),))
        >>> outcome = summarise(plan, {"a": {"hall": {"EN": 7.0}}})
        >>> written = write_results(outcome, Path(tempfile.mkdtemp()))
        >>> [path.name for path in written][:4]
        ['scores.csv', 'means.csv', 'differences.csv', 'means.tex']
    """
    paths = [out / "scores.csv", out / "means.csv", out / "differences.csv"]
    write_method_scores(paths[0], outcome.scores)
    write_means(paths[1], outcome)
    write_differences(paths[2], outcome.differences)
    for name, table in tables(outcome).items():
        for suffix, text in (("tex", table.latex()), ("md", table.markdown()), ("html", table.html())):
            path = out / "tables" / f"{name}.{suffix}"
            with atomic_path(path) as temporary:
                temporary.write_text(text + "\n", encoding="utf-8")
            paths.append(path)
    return paths


def _write_csv(path: str | Path, first: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*first, *METRICS])
        for *names, values in rows:
            assert isinstance(values, Mapping)
            writer.writerow([*names, *(values.get(name) for name in METRICS)])
