"""Tables 2 and 3 as data: equal to the recorded copies, and consistent with themselves."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from hsds_lib.evaluation import paper
from hsds_lib.evaluation.metrics import PAPER_METRICS
from hsds_lib.evaluation.paper import OURS, STUDIES, improvements, table2, table2_sources, table3


def gains(table: dict[str, dict[str, float]], ours: str) -> dict[str, float]:
    """Best minus second best, where ours is the one."""
    others = {metric: max(row[metric] for name, row in table.items() if name != ours) for metric in table[ours]}
    return {metric: round(value - others[metric], 3) for metric, value in table[ours].items()}


@pytest.mark.paper("Table 2")
def test_table2_equals_the_recorded_copy(fixtures_root: Path) -> None:
    with (fixtures_root / "paper" / "table2.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 120
    for row in rows:
        assert table2(row["dataset"])[row["method"]][row["metric"]] == float(row["value"])  # type: ignore[arg-type]
        assert table2_sources()[row["method"]] == row["source"]
    assert sum(len(scores) for part in ("SICE", "no reference") for scores in table2(part).values()) == 120  # type: ignore[arg-type]


@pytest.mark.paper("Table 3")
def test_table3_equals_the_recorded_copy(fixtures_root: Path) -> None:
    with (fixtures_root / "paper" / "table3.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 42 == sum(map(len, table3().values()))
    for row in rows:
        assert table3()[row["condition"]][row["metric"]] == float(row["value"])


@pytest.mark.paper("Table 2")
@pytest.mark.parametrize("dataset", ["SICE", "no reference"])
def test_table2_improvements_are_best_minus_second_best(dataset: str) -> None:
    found, printed = gains(table2(dataset), OURS), improvements(dataset)  # type: ignore[arg-type]
    assert {metric: value for metric, value in found.items() if value} == printed
    assert set(found) - set(printed) == ({"Qabf"} if dataset == "no reference" else set())


@pytest.mark.paper("Table 3")
@pytest.mark.parametrize("study", list(STUDIES))
def test_table3_improvements_are_ours_minus_the_best_variant(study: str) -> None:
    assert gains(table3(study), "ours") == improvements(study)  # type: ignore[arg-type]


@pytest.mark.paper("Table 3")
def test_the_full_method_has_the_same_numbers_in_both_tables() -> None:
    assert table3()["ours"] == table2("SICE")[OURS]


def test_the_tables_have_their_printed_order_and_metrics_of_all_metrics() -> None:
    assert list(table2()) == list(table2("no reference")) == list(table2_sources())
    assert next(iter(table2())) == "DeepFuse" and list(table2())[-1] == OURS
    assert list(table2()[OURS]) == ["SD", "VIF", "CC", "TMQI", "MS-SSIM", "MEF-SSIM"]
    assert list(table2("no reference")[OURS]) == ["SD", "VIF", "EN", "Qabf", "MS-SSIM", "MEF-SSIM"]
    assert {metric for part in (table2(), table2("no reference")) for metric in part[OURS]} == set(PAPER_METRICS)


def test_the_oddities_of_the_tables_are_in_the_data() -> None:
    assert table2("no reference")["CF-NET"]["Qabf"] == table2("no reference")[OURS]["Qabf"]
    assert table3()["only WR"]["MEF-SSIM"] > table3()["ours"]["MEF-SSIM"]


def test_a_table_may_be_changed_without_changing_the_next_one() -> None:
    table2()[OURS]["SD"] = 0
    table3()["ours"]["SD"] = 0
    assert table2()[OURS]["SD"] == table3()["ours"]["SD"] == 10.451


def test_unknown_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="no part 'COCO'; choose 'SICE' or 'no reference'"):
        table2("COCO")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no part 'SICE'; choose 'loss search' or"):
        table3("SICE")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no part ''"):
        improvements("")  # type: ignore[arg-type]


def test_the_data_ships_with_the_package() -> None:
    files = sorted(path.name for path in Path(paper.__file__).parent.glob("paper_*.csv"))
    assert files == ["paper_improvements.csv", "paper_table2.csv", "paper_table3.csv"]
    project = Path(paper.__file__).parents[2] / "pyproject.toml"
    assert '"evaluation/*.csv"' in project.read_text(encoding="utf-8")
