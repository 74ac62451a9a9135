"""The printed numbers of the paper's Tables 2 and 3, as data.

SD, VIF and TMQI are in the paper's own arithmetic: compare them with the entries of the same name of
:func:`hsds_lib.evaluation.metrics.all_metrics`, never with the correct forms beside them.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Literal, get_args

OURS = "HSDS-MEF"
"""The name of the paper's method; among the ablations it is ``ours``."""

Dataset = Literal["SICE", "no reference"]
Study = Literal["loss search", "architecture search"]

STUDIES: dict[Study, tuple[str, ...]] = {
    "loss search": ("w/o Gamma_H", "only Gamma_R", "only Gamma_N", "ours"),
    "architecture search": ("only WR", "only PR", "DARTS", "ours"),
}
"""The two halves of the table of ablations: their conditions in the printed order. ``ours`` stands in both."""


def table2(dataset: Dataset = "SICE") -> dict[str, dict[str, float]]:
    """Table 2: ten methods on the 113 test pairs of SICE (with CC and TMQI), or on 31 pairs without a reference.

    By method and metric, both in the printed order; higher is better in all. Any other data set is a ``ValueError``.

    Example:
        >>> table2()["HSDS-MEF"]["VIF"], table2("no reference")["CF-NET"]["Qabf"]
        (1.585, 0.694)
    """
    _check(dataset, Dataset)
    table: dict[str, dict[str, float]] = {}
    for row in data_rows("paper_table2.csv"):
        if row["dataset"] == dataset:
            table.setdefault(row["method"], {})[row["metric"]] = float(row["value"])
    return table


def table2_sources() -> dict[str, str]:
    """Where the methods of Table 2 were published, as printed there: venue and year by method."""
    return {row["method"]: row["source"] for row in data_rows("paper_table2.csv")}


def table3(study: Study | None = None) -> dict[str, dict[str, float]]:
    """Table 3: ablations on SICE, of the loss search and of the architecture search, or of one of the two.

    By condition and metric, both in the printed order. Any other study is a ``ValueError``.

    Example:
        >>> list(table3("architecture search")), table3()["only WR"]["MEF-SSIM"]
        (['only WR', 'only PR', 'DARTS', 'ours'], 0.908)
    """
    table: dict[str, dict[str, float]] = {}
    for row in data_rows("paper_table3.csv"):
        table.setdefault(row["condition"], {})[row["metric"]] = float(row["value"])
    if study is None:
        return table
    _check(study, Study)
    return {condition: table[condition] for condition in STUDIES[study]}


def improvements(part: Dataset | Study) -> dict[str, float]:
    """The printed gains of the paper's method over the best other one, in Table 2 and Table 3, by metric.

    They are negative where another one is better; Qabf, where CF-NET is as good, has a dash and is left out. Any other
    part is a ``ValueError``.
    """
    _check(part, Dataset, Study)
    return {row["metric"]: float(row["value"]) for row in data_rows("paper_improvements.csv") if row["part"] == part}


def _check(name: str, *kinds: object) -> None:
    known = [value for kind in kinds for value in get_args(kind)]
    if name not in known:
        raise ValueError(f"the paper's tables have no part '{name}'; choose {' or '.join(map(repr, known))}")


@cache
def data_rows(file: str) -> tuple[dict[str, str], ...]:
    """Read one of the CSV files beside this module."""
    with (Path(__file__).parent / file).open(newline="", encoding="utf-8") as stream:
        return tuple(csv.DictReader(stream))
