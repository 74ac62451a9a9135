"""Tables: the best is marked, ranks are right, and no name breaks LaTeX, Markdown or HTML."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from hsds_lib.evaluation.metrics import METRICS
from hsds_lib.evaluation.statistics import (
    RANKED,
    Difference,
    common_means,
    rank_table,
    ranked_metrics,
    score_frame,
)
from hsds_lib.evaluation.tables import (
    differences_table,
    number_table,
    read_method_scores,
    write_csv,
)

ODD = r"50%_of $A & <b>B</b> | {c}~^#\d*"


def test_best_and_second_best_are_marked_in_all_three_forms() -> None:
    means = {"a": {"EN": 7.12}, "b": {"EN": 7.9}, "c": {"EN": 7.5}, "d": {"EN": None}}
    table = number_table(pd.DataFrame(means).T.add_suffix(" ↑"), title="Means")
    markdown, latex, page = table.markdown(), table.latex(), table.html()
    assert "| b | **7.9000** |" in markdown and "| c | *7.5000* |" in markdown and "| d | - |" in markdown
    assert r"b & \textbf{7.9000} \\" in latex and r"c & \underline{7.5000} \\" in latex and r"\toprule" in latex
    soup = BeautifulSoup(page, "html.parser")
    assert [tag.text for tag in soup.find_all(["strong", "u"])] == ["7.9000", "7.5000"]
    assert "Best in bold, second best underlined." in page and "second best in italics" in markdown
    assert "EN ↑" in markdown and r"EN $\uparrow$" in latex


def test_scores_survive_their_file(tmp_path: Path) -> None:
    none = dict.fromkeys(METRICS)
    scores = {ODD: {"s": none | {"SD": 0.1 + 0.2, "CC": None}, "t": none | {"SD": 1e-17}}, "b": {"s": none}}
    write_csv(tmp_path / "scores.csv", score_frame(scores))
    assert read_method_scores(tmp_path / "scores.csv") == scores
    (tmp_path / "means.csv").write_text("method,scenes,SD\na,2,7.0\n")
    with pytest.raises(ValueError, match="not a table of scores"):
        read_method_scores(tmp_path / "means.csv")


def test_marks_go_by_all_digits_and_not_by_the_printed_ones() -> None:
    values = {"EN ↑": [0.50001, 0.50002, 0.50002, 0.4], "places ↓": [3.0, 1.0, 2.0, np.nan], "CC ↑": [np.nan] * 4}
    table = number_table(pd.DataFrame(values), title="Numbers")
    assert table.marks is not None and table.marks.to_dict("list") == {
        "EN ↑": ["second", "best", "best", ""],
        "places ↓": ["", "best", "second", ""],
        "CC ↑": [""] * 4,
    }
    assert list(table.texts["EN ↑"]) == ["0.5000"] * 3 + ["0.4000"] and set(table.texts["CC ↑"]) == {"-"}


def test_the_mean_rank_is_over_the_metrics_that_all_methods_have() -> None:
    a: dict[str, float | None] = {"SD": 9.0, "SD_double": 40.0, "EN": 7.0, "CC": 0.9, "MS-SSIM": 0.5, "Qabf": 0.5}
    b: dict[str, float | None] = {"SD": 8.0, "SD_double": 50.0, "EN": 6.0, "CC": None, "MS-SSIM": 0.4, "Qabf": 0.6}
    scores = {"a": {"s": a, "t": a | {"Qabf": None}}, "b": {"s": b, "t": b}}
    means = common_means(scores)
    assert means.scenes["Qabf"] == 1 and means.values.loc["b", "Qabf"] == 0.6  # not in all scenes, so not ranked
    assert ranked_metrics(means) == ["SD_double", "MS-SSIM", "EN"]
    ranks = rank_table(means.values, ranked_metrics(means))
    assert list(ranks["mean rank"]) == pytest.approx([4 / 3, 5 / 3])
    assert RANKED == ("SD_double", "VIF_double", "CC", "TMQI_255", "MS-SSIM", "MEF-SSIM", "EN", "Qabf")
    table = number_table(ranks.add_suffix(" ↓"), title="Ranks")
    assert list(table.texts["mean rank ↓"]) == ["1.33", "1.67"]
    assert "| b | **1** | *2* | *2* | *1.67* |" in table.markdown()


def test_means_are_over_the_same_scenes_for_all_methods() -> None:
    scores = {
        "a": {"s": {"EN": 1.0, "CC": None}, "t": {"EN": 3.0, "CC": None}},
        "b": {"s": {"EN": None, "CC": 0.5}, "t": {"EN": 5.0, "CC": 0.7}},
    }
    means = common_means(scores, ["EN", "CC"])
    assert list(means.values["EN"]) == [3.0, 5.0]
    assert list(means.values["CC"]) == [pytest.approx(np.nan, nan_ok=True), pytest.approx(0.6)]
    assert means.scenes == {"EN": 1, "CC": 2}


def test_latex_escapes_names() -> None:
    latex = number_table(pd.DataFrame({"SD_double": {ODD: 1.0}}), title=ODD).latex()
    body = "\n".join(line for line in latex.splitlines() if not line.startswith("%"))
    (row,) = (line for line in body.splitlines() if line.startswith("50"))
    assert row.startswith(r"50\%\_of \$A \& \textless{}b\textgreater{}B") and row.endswith(r" & \textbf{1.0000} \\")
    assert r"\{c\}\textasciitilde{}\textasciicircum{}\#\textbackslash{}d*" in row
    assert len(re.findall(r"(?<!\\)&", row)) == 1 and "SD\\_double" in body


def test_markdown_escapes_names() -> None:
    table = number_table(pd.DataFrame({"EN": {ODD: 1.0}}), title="Means").markdown()
    (row,) = (line for line in table.splitlines() if line.startswith("| 50"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 3 and "\\<b\\>" in row and r"\_of" in row


def test_html_escapes_names() -> None:
    soup = BeautifulSoup(number_table(pd.DataFrame({"EN": {ODD: 1.0}}), title=ODD).html(), "html.parser")
    assert soup.find("b") is None
    assert soup.find("th", scope="row").text == soup.find("caption").text == ODD


def test_signs_of_differences_say_whether_zero_is_inside() -> None:
    def one(method: str, low: float | None, high: float | None) -> Difference:
        mean = 0.25 if low is None or high is None else (low + high) / 2
        return Difference(method, "base", "EN", mean, low, high, scenes=9, won=5, lost=4)

    found = [one("up", 0.1, 0.4), one("down", -0.4, -0.1), one("none", -0.1, 0.4), one("single", None, None)]
    texts = differences_table(found, title="Differences").texts["EN ↑"]
    assert texts["up"].startswith("▲ +0.2500\n[+0.1000, +0.4000]") and texts["down"].startswith("▼ -0.2500")
    assert texts["none"].startswith("+0.1500") and texts["single"] == "+0.2500\n5/9 won"
    assert "<br>" in differences_table(found, title="Differences").markdown()
