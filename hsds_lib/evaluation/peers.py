"""Other methods, as data: their scores on 40 scenes of MEFB, where they come from, and what the paper prints of them.

The pictures were fused with the authors' published code and weights at the commits that ``peers_origin.csv`` names, at
native resolution, and scored with metrics that agree with those of this package to 1e-5; six digits are kept.
``Mertens (RGB order)`` there was given RGB where OpenCV expects BGR, so its scores differ by 1e-3 to 1e-2 from those of
:func:`hsds_lib.images.classical.mertens`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pandas as pd
from torch import Tensor

from hsds_lib.evaluation.paper import OURS, Dataset, data_rows, table2
from hsds_lib.evaluation.statistics import common_means
from hsds_lib.evaluation.tables import NO_VALUE, ScoreTable
from hsds_lib.runtime import fingerprint

NOT_MEASURED = "weights not public or not obtainable"
_REASONS = {"HoLoCo": "only the weights of its attention stage are public"}
_SAME_AS_BUILT_IN = {"average": "average", "mertens": "Mertens (RGB order)"}


@dataclass(frozen=True)
class Peer:
    """A method whose scores are recorded, its name in the paper or "", and where its pictures come from."""

    method: str
    paper_name: str
    source: str
    commit: str
    parameters: int
    remarks: str


@dataclass(frozen=True)
class PeerRow:
    """A method in the paper's terms and in ours, by metric; the two were measured on different pictures.

    ``printed`` is empty if the paper does not have it, ``measured`` if it could not be measured, for a ``reason``.
    """

    name: str
    printed: Mapping[str, float] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
    scenes: int = 0
    reason: str = ""


def peers() -> dict[str, Peer]:
    """Say which methods have recorded scores, and where they come from.

    Example:
        >>> list(peers())[:4], peers()["DeepFuse"].commit
        (['average', 'Mertens (RGB order)', 'DeepFuse', 'PMGI'], '31c226f8')
    """
    rows = data_rows("peers_origin.csv")
    return {row["method"]: Peer(**{**row, "parameters": int(row["parameters"])}) for row in rows}  # type: ignore[arg-type]


def recorded_scenes() -> list[str]:
    """List the 40 scenes of MEFB that scores are recorded of, sorted."""
    return [row["scene"] for row in data_rows("peers_scenes.csv")]


def is_recorded(scene: str, under: Tensor, over: Tensor) -> bool:
    """Whether two exposures, RGB ``(3, H, W)`` in [0, 1], are pixel by pixel those that a scene's scores belong to."""
    known = {row["scene"]: row["pixels"] for row in data_rows("peers_scenes.csv")}
    return scene in known and fingerprint([under, over])[:16] == known[scene]


def peer_scores(scenes: Iterable[str] | None = None) -> dict[str, dict[str, dict[str, float | None]]]:
    """Read the recorded scores by method, scene and metric, of all scenes or of some in the order wanted.

    A scene that was not recorded is a ``ValueError``.

    Example:
        >>> peer_scores(["Cave"])["PMGI"]["Cave"]["EN"]
        7.11828
    """
    wanted = recorded_scenes() if scenes is None else list(scenes)
    missing = [scene for scene in wanted if scene not in set(recorded_scenes())]
    if missing:
        raise ValueError(
            f"scene '{missing[0]}' has no recorded scores; recorded are {len(recorded_scenes())} scenes of MEFB, "
            f"such as {recorded_scenes()[0]}"
        )
    found: dict[str, dict[str, dict[str, float | None]]] = {name: {} for name in peers()}
    for row in data_rows("peers.csv"):
        values = {name: float(value) for name, value in row.items() if name not in ("method", "scene")}
        found[row["method"]][row["scene"]] = {**values}
    return {method: {scene: rows[scene] for scene in wanted} for method, rows in found.items()}


def beside(measured: Iterable[str], scenes: Iterable[str]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Recorded scores to set beside those of measured methods, each labelled as recorded; see :func:`peer_scores`.

    The recorded ``average`` and Mertens are left out where the built-in ones are measured.
    """
    doubled = {_SAME_AS_BUILT_IN[name] for name in measured if name in _SAME_AS_BUILT_IN}
    scores = peer_scores(scenes)
    return {f"{method} (recorded)": rows for method, rows in scores.items() if method not in doubled}


def published_and_measured(dataset: Dataset = "no reference", scenes: Iterable[str] | None = None) -> list[PeerRow]:
    """Give every method of the paper a row: what is printed, what was measured, or why it was not.

    First the paper's ten methods in its order, then the measured ones that the paper does not have. Another data set,
    or a scene that was not recorded, is a ``ValueError``.
    """
    scores = peer_scores(scenes)
    means = common_means(scores).values
    names = {peer.paper_name or peer.method: peer.method for peer in peers().values()}
    found = {name: means.loc[method].dropna().to_dict() for name, method in names.items()}
    count = len(next(iter(scores.values())))
    printed = table2(dataset)
    rows = []
    for name in [*printed, *(name for name in found if name not in printed)]:
        reason = "" if name in found else _REASONS.get(name, NOT_MEASURED)
        size = count if name in found else 0
        rows.append(PeerRow(name, printed.get(name, {}), found.get(name, {}), scenes=size, reason=reason))
    return rows


def peers_table(dataset: Dataset = "no reference", scenes: Iterable[str] | None = None) -> ScoreTable:
    """Lay :func:`published_and_measured` out: in each cell the printed number, then the measured one."""
    rows = published_and_measured(dataset, scenes)
    texts = {
        f"{metric} ↑": [f"{_text(row.printed.get(metric))} / {_text(row.measured.get(metric))}" for row in rows]
        for metric in rows[0].printed
    }
    texts["measured on"] = [row.reason or _scenes(row.scenes) for row in rows]
    note = (
        f"In each cell: printed in the paper ({dataset}) / measured here, on other pictures. Do not subtract one from "
        f"the other. SD and VIF are in the paper's arithmetic on both sides; {OURS} is the paper's own method."
    )
    frame = pd.DataFrame(texts, index=pd.Index([row.name for row in rows], name="method"), dtype=object)
    return ScoreTable("The paper's methods: printed and measured", frame, note=note)


def _scenes(count: int) -> str:
    return f"{count} {'scene' if count == 1 else 'scenes'} of MEFB"


def _text(value: float | None) -> str:
    return NO_VALUE if value is None else f"{value:.3f}"
