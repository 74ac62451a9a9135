"""Recorded scores are those that were recorded and belong to their pixels; every method of the paper has a row."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from hsds_lib.evaluation.paper import table2
from hsds_lib.evaluation.peers import (
    beside,
    is_recorded,
    peer_scores,
    peers,
    peers_table,
    published_and_measured,
    recorded_scenes,
)
from hsds_lib.evaluation.statistics import common_means
from hsds_lib.images.datasets import split_names
from hsds_lib.images.io import read_pair

# The means that were written down when the scores were recorded.
RECORDED = {
    "average": ("0.9366", "0.9270", "1.404", "0.597", "48.9", "6.906"),
    "Mertens (RGB order)": ("0.9796", "0.9764", "1.478", "0.742", "57.2", "7.079"),
    "DeepFuse": ("0.9549", "0.9618", "1.384", "0.655", "66.4", "6.985"),
    "PMGI": ("0.9536", "0.9399", "1.300", "0.619", "61.3", "7.139"),
    "U2Fusion": ("0.9422", "0.9424", "1.243", "0.606", "60.1", "6.888"),
    "U2Fusion (PyTorch)": ("0.9044", "0.9171", "1.227", "0.513", "48.3", "6.857"),
    "MEFNet": ("0.9573", "0.9183", "1.408", "0.732", "56.4", "7.377"),
    "IFCNN": ("0.9059", "0.9291", "1.279", "0.579", "49.0", "7.281"),
}
COLUMNS = ("MEF-SSIM", "MS-SSIM", "VIF_double", "Qabf", "SD_double", "EN")


def test_means_of_the_recorded_scores_equal_those_written_down_to_the_printed_digits() -> None:
    means = common_means(peer_scores()).values
    assert set(means.index) == set(RECORDED)
    for method, row in RECORDED.items():
        for metric, text in zip(COLUMNS, row, strict=True):
            unit = 10.0 ** -len(text.partition(".")[2])
            # 0.732 was rounded twice, from 0.73148.
            assert means.loc[method, metric] == pytest.approx(float(text), abs=0.53 * unit), (method, metric)


def test_shipped_scores_are_the_recorded_ones(fixtures_root: Path) -> None:
    names = {"Mertens (OpenCV)": "Mertens (RGB order)", "U2Fusion (authors, TF)": "U2Fusion", "IFCNN (MEAN)": "IFCNN"}
    names["U2Fusion (ytZhang99, PyTorch)"] = "U2Fusion (PyTorch)"
    shipped, compared = peer_scores(), []
    with (fixtures_root / "peers" / "scores.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            method, scene = row.pop("method"), row.pop("scene")
            method = names.get(method, method)
            if method in shipped:  # there are recorded methods that do not ship
                found = shipped[method][scene]
                assert found == {name: pytest.approx(float(value), rel=1e-5) for name, value in row.items()}
                compared.append((method, scene))
    assert sorted(compared) == sorted((method, scene) for method, rows in shipped.items() for scene in rows)
    assert len(compared) == len(RECORDED) * 40


def test_recorded_scenes_are_the_development_scenes_of_mefb_and_never_test_scenes() -> None:
    splits = split_names("mefb")
    assert set(recorded_scenes()) == {*splits["train"], *splits["val"]} and len(recorded_scenes()) == 40
    with pytest.raises(ValueError, match="has no recorded scores"):
        peer_scores([splits["test"][0]])


def test_scores_belong_to_their_pixels(data_root: Path) -> None:
    scene = data_root / "mefb" / "Cave"
    under, over = read_pair(scene / "under.png", scene / "over.png")
    assert is_recorded("Cave", under, over)
    assert not is_recorded("Cave", over, under) and not is_recorded("Church", under, over)


def test_scores_are_given_for_the_scenes_and_the_order_that_were_asked_for() -> None:
    assert [list(rows) for rows in peer_scores(["Tower", "Cave"]).values()] == [["Tower", "Cave"]] * 8
    recorded = beside(["mertens", "ours"], ["Cave"])
    assert all(name.endswith("(recorded)") for name in recorded)
    assert not any("Mertens" in name for name in recorded) and "average (recorded)" in recorded


def test_every_method_of_the_paper_has_a_row_with_its_printed_numbers_and_a_measurement_or_a_reason() -> None:
    for dataset in ("no reference", "SICE"):
        rows = {row.name: row for row in published_and_measured(dataset)}
        for name, printed in table2(dataset).items():
            assert rows[name].printed == printed
            assert bool(rows[name].measured) != bool(rows[name].reason)
    assert {name for name, row in rows.items() if row.measured and row.printed} == {"DeepFuse", "PMGI", "U2Fusion"}
    assert "attention" in rows["HoLoCo"].reason and "not public" in rows["AGAL"].reason


def test_the_table_of_peers_has_printed_and_measured_numbers_in_all_forms() -> None:
    table = peers_table()
    assert re.search(r"\| DeepFuse \| 9\.856 / 10\.465 .* 40 scenes of MEFB \|", table.markdown())
    assert "CF-NET" in table.latex() and "weights not public" in table.html()
    assert peers_table("SICE", ["Cave"]).texts.loc["DeepFuse", "measured on"] == "1 scene of MEFB"


def test_origins_name_a_commit_for_every_method_with_weights() -> None:
    for peer in peers().values():
        assert bool(peer.parameters) == bool(re.fullmatch(r"[0-9a-f]{8}", peer.commit))


def test_the_data_ships_with_the_package() -> None:
    import hsds_lib.evaluation

    folder = Path(str(hsds_lib.evaluation.__file__)).parent
    found = sorted(path.name for path in folder.glob("peers*.csv"))
    assert found == ["peers.csv", "peers_origin.csv", "peers_scenes.csv"]
    assert '"evaluation/*.csv"' in (folder.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
