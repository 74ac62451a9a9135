"""Other methods, as data: their scores on 40 scenes of MEFB, where they come from, and what the paper prints of them.

The pictures were fused with the authors' published code and weights at the commits that ``peers_origin.csv`` names, at
native resolution, and scored with metrics that agree with those of this package to 1e-5; six digits are kept.
``Mertens (RGB order)`` there was given RGB where OpenCV expects BGR, so its scores differ by 1e-3 to 1e-2 from those of
:func:`hsds_lib.images.classical.mertens`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from torch import Tensor

from hsds_lib.evaluation.paper import OURS, Dataset, table2
from hsds_lib.evaluation.statistics import common_means
from hsds_lib.evaluation.tables import NO_VALUE, Cell, ScoreTable
from hsds_lib.runtime import fingerprint

NOT_MEASURED = "weights not public or not obtainable"
_REASONS = {"HoLoCo": "only the weights of its attention stage are public"}
_SAME_AS_BUILT_IN = {"average": "average", "mertens": "Mertens (RGB order)"}


@dataclass(frozen=True)
class Peer:
    """A method whose scores are recorded, and where its pictures come from.

    Example:
        >>> peers()["DeepFuse"].source, peers()["DeepFuse"].commit
        ('KRamPrabhakar/DeepFuse', '31c226f8')
    """

    method: str
    paper_name: str  # its name in the paper, or an empty string
    source: str
    commit: str
    parameters: int
    remarks: str


@dataclass(frozen=True)
class PeerRow:
    """A method in the paper's terms and in ours; the two were measured on different pictures.

    Attributes:
        name: of the method.
        printed: the paper's numbers by metric; empty if the paper does not have it.
        measured: recorded means by metric; empty if it could not be measured.
        scenes: how many scenes were measured.
        reason: why it was not measured, else an empty string.

    Example:
        >>> PeerRow("AGAL", {"SD": 9.836}, reason=NOT_MEASURED).measured
        {}
    """

    name: str
    printed: Mapping[str, float] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
    scenes: int = 0
    reason: str = ""


def peers() -> dict[str, Peer]:
    """Say which methods have recorded scores, and where they come from.

    Returns:
        Origins by method.

    Example:
        >>> list(peers())[:4]
        ['average', 'Mertens (RGB order)', 'DeepFuse', 'PMGI']
    """
    rows = _rows("peers_origin.csv")
    return {row["method"]: Peer(**{**row, "parameters": int(row["parameters"])}) for row in rows}  # type: ignore[arg-type]


def recorded_scenes() -> list[str]:
    """List the scenes of MEFB that scores are recorded of.

    Returns:
        40 names, sorted.

    Example:
        >>> len(recorded_scenes()), recorded_scenes()[:2]
        (40, ['507', 'AirBellowsGap'])
    """
    return [row["scene"] for row in _rows("peers_scenes.csv")]


def is_recorded(scene: str, under: Tensor, over: Tensor) -> bool:
    """Whether two exposures are, pixel by pixel, those that the recorded scores of a scene belong to.

    Args:
        scene: its name.
        under: RGB ``(3, H, W)`` in [0, 1], as :func:`hsds_lib.images.io.read_rgb` gives it.
        over: the same.

    Returns:
        True when the scene is one of :func:`recorded_scenes` and the pixels are the same.

    Example:
        >>> import torch
        >>> is_recorded("Cave", torch.zeros(3, 4, 4), torch.ones(3, 4, 4))
        False
    """
    known = {row["scene"]: row["pixels"] for row in _rows("peers_scenes.csv")}
    return scene in known and fingerprint([under, over])[:16] == known[scene]


def peer_scores(scenes: Iterable[str] | None = None) -> dict[str, dict[str, dict[str, float | None]]]:
    """Read the recorded scores.

    Args:
        scenes: names of scenes of MEFB, in the order wanted; default: all 40.

    Returns:
        Method to scene to metric to value.

    Raises:
        ValueError: if a scene was not recorded.

    Example:
        >>> peer_scores(["Cave"])["PMGI"]["Cave"]["EN"]
        7.11828
        >>> peer_scores(["cave"])
        Traceback (most recent call last):
        ValueError: scene 'cave' has no recorded scores; recorded are 40 scenes of MEFB, such as 507
    """
    wanted = recorded_scenes() if scenes is None else list(scenes)
    missing = [scene for scene in wanted if scene not in set(recorded_scenes())]
    if missing:
        raise ValueError(
            f"scene '{missing[0]}' has no recorded scores; recorded are {len(recorded_scenes())} scenes of MEFB, "
            f"such as {recorded_scenes()[0]}"
        )
    found: dict[str, dict[str, dict[str, float | None]]] = {name: {} for name in peers()}
    for row in _rows("peers.csv"):
        values = {name: float(value) for name, value in row.items() if name not in ("method", "scene")}
        found[row["method"]][row["scene"]] = {**values}
    return {method: {scene: rows[scene] for scene in wanted} for method, rows in found.items()}


def beside(measured: Iterable[str], scenes: Iterable[str]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Recorded scores to set beside measured ones, each method labelled as recorded.

    Args:
        measured: names of the methods that are measured; the recorded ``average`` and Mertens are left out where the
            built-in ones are among them.
        scenes: names of scenes of MEFB.

    Returns:
        As :func:`peer_scores`.

    Example:
        >>> list(beside(["average", "ours"], ["Cave"]))[:2]
        ['Mertens (RGB order) (recorded)', 'DeepFuse (recorded)']
    """
    doubled = {_SAME_AS_BUILT_IN[name] for name in measured if name in _SAME_AS_BUILT_IN}
    scores = peer_scores(scenes)
    return {f"{method} (recorded)": rows for method, rows in scores.items() if method not in doubled}


def published_and_measured(dataset: Dataset = "no reference", scenes: Iterable[str] | None = None) -> list[PeerRow]:
    """Give every method of the paper a row: what is printed, what was measured, or why it was not.

    Args:
        dataset: whose printed numbers; see :func:`hsds_lib.evaluation.paper.table2`.
        scenes: which recorded scenes the means are taken over; default: all 40.

    Returns:
        The paper's ten methods in its order, then the measured ones that the paper does not have.

    Raises:
        ValueError: for another data set, or a scene that was not recorded.

    Example:
        >>> rows = {row.name: row for row in published_and_measured()}
        >>> rows["PMGI"].printed["MS-SSIM"], round(rows["PMGI"].measured["MS-SSIM"], 4), rows["AGAL"].reason
        (0.815, 0.9399, 'weights not public or not obtainable')
    """
    scores = peer_scores(scenes)
    means = common_means(scores).values
    found = {
        peer.paper_name or peer.method: {name: value for name, value in means[peer.method].items() if value is not None}
        for peer in peers().values()
    }
    count = len(next(iter(scores.values())))
    printed = table2(dataset)
    rows = []
    for name in [*printed, *(name for name in found if name not in printed)]:
        reason = "" if name in found else _REASONS.get(name, NOT_MEASURED)
        size = count if name in found else 0
        rows.append(PeerRow(name, printed.get(name, {}), found.get(name, {}), scenes=size, reason=reason))
    return rows


def peers_table(dataset: Dataset = "no reference", scenes: Iterable[str] | None = None) -> ScoreTable:
    """Lay :func:`published_and_measured` out: in each cell the printed number, then the measured one.

    Args:
        dataset: whose printed numbers.
        scenes: which recorded scenes.

    Returns:
        A table that can be had as Markdown, LaTeX and HTML.

    Raises:
        ValueError: for another data set, or a scene that was not recorded.

    Example:
        >>> table = peers_table()
        >>> dict(table.rows)["CF-NET"][0].text, dict(table.rows)["CF-NET"][-1].text
        ('9.913 / -', 'weights not public or not obtainable')
    """
    rows = published_and_measured(dataset, scenes)
    metrics = list(rows[0].printed)
    lines = []
    for row in rows:
        cells = [f"{_text(row.printed.get(name))} / {_text(row.measured.get(name))}" for name in metrics]
        lines.append((row.name, [Cell(text) for text in (*cells, row.reason or _scenes(row.scenes))]))
    header = ("method", *(f"{name} ↑" for name in metrics), "measured on")
    note = (
        f"In each cell: printed in the paper ({dataset}) / measured here, on other pictures. Do not subtract one from "
        f"the other. SD and VIF are in the paper's arithmetic on both sides; {OURS} is the paper's own method."
    )
    return ScoreTable("The paper's methods: printed and measured", header, lines, note)


def _scenes(count: int) -> str:
    return f"{count} {'scene' if count == 1 else 'scenes'} of MEFB"


def _text(value: float | None) -> str:
    return NO_VALUE if value is None else f"{value:.3f}"


@cache
def _rows(file: str) -> tuple[dict[str, str], ...]:
    with (Path(__file__).parent / file).open(newline="", encoding="utf-8") as stream:
        return tuple(csv.DictReader(stream))
