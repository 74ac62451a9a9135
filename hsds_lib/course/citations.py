"""The items of the paper: equations, lines of its algorithm, rows and metrics of its tables, and how a text names them.

The notation is strict, so that nothing is lost by a slip: "Eq. 3", "Eq. 1 and 2", "Algorithm 1 line 5", "Algorithm 1
lines 8-13", "Table 1 rows 1 and 5", "Table 2 SD". An algorithm or table without line, row or metric is meant as a
whole, and stands for none of its parts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

METRICS = {
    "SD": "standard deviation of the gray levels",
    "VIF": "visual information fidelity, summed over the two exposures",
    "CC": "correlation with the reference",
    "TMQI": "quality of a tone-mapped picture: structure and naturalness",
    "MS-SSIM": "structural similarity over several scales",
    "MEF-SSIM": "structural similarity for exposure fusion",
    "EN": "entropy of the gray levels",
    "Qabf": "how much of the edges of both exposures is kept",
}


@dataclass(frozen=True)
class Item:
    """Something of the paper that the index points to.

    Attributes:
        key: how docstrings, marks and cells name it.
        says: what it says, in our own words.
        served_by: key of the item that does its work, for comments and ends of blocks.
    """

    key: str
    says: str
    served_by: str = ""


class CitationError(ValueError):
    """Items of the paper that do not exist or are not written as the index reads them; one line for each place."""


_NUMBERS = r"\d+(?:[-–]\d+)?(?:(?:, and |, | and )\d+(?:[-–]\d+)?)*"
_CITATION = re.compile(
    rf"\bEq\. (?P<equations>{_NUMBERS})|\bTables (?P<tables>{_NUMBERS})"
    rf"|\b(?P<place>(?:Algorithm|Table) \d+)"
    rf"(?: (?P<unit>lines?|rows?) (?P<numbers>{_NUMBERS})"
    rf"| (?P<names>[A-Z][\w-]*(?:(?:, and |, | and )(?:{'|'.join(METRICS)})\b)*))?"
)
_OTHERWISE = re.compile(
    r"\bEq(?!\. \d)\W{0,3}\d|\bEqs\.?\W?\d|\b(?:Alg|Tab)\b\.? ?\d"
    r"|\b(?:Algorithm|Table) \d+(?:,| \() ?(?:lines?|rows?|l\.|r\.) ?\d|\b[Ll]ines? [\d–-]+ of Algorithm"
)


def items() -> dict[str, list[Item]]:
    """List the items of the paper by group, in the paper's order.

    Returns:
        Title of a group to its items.

    Example:
        >>> from hsds_lib.course.citations import items
        >>> [item.key for item in items()["Equations"]]
        ['Eq. 1', 'Eq. 2', 'Eq. 3']
    """
    equations = (
        "two levels: structure α and loss weights β are judged by the network that is trained with them",
        "the upper level: β is judged by Γ_H, α by the validation loss with the new β",
        "the contrast: per VGG-16 layer, distance to a good picture over the summed distances to the exposures",
    )
    rows = (
        "pixels: mean absolute and mean squared difference",
        "structure: one minus SSIM, one minus MEF-SSIM",
        "gradient: difference from the larger gradient of the two exposures",
        "perceptual: squared difference of deep features",
        "minus the PSNR against the reference",
        "colour: difference from the reference's colour, pixel by pixel",
        "total variation: mean squared gradient of the fused picture itself",
    )
    metrics = [Item(f"Table 2 {name}", says) for name, says in METRICS.items()]
    return {
        "Equations": [Item(f"Eq. {number}", says) for number, says in enumerate(equations, start=1)],
        "Algorithm 1: the dual search": [Item("Algorithm 1", "the search as a whole"), *_lines()],
        "Table 1: the loss search space": [
            Item("Table 1", "the candidate losses as a whole: 19 terms"),
            *(Item(f"Table 1 row {number}", says) for number, says in enumerate(rows, start=1)),
        ],
        "Table 2: comparison by eight metrics": [
            Item("Table 2", "ten methods on two data sets: the published numbers"),
            *metrics,
        ],
        "Table 3: ablations": [Item("Table 3", "seven conditions: settings and published numbers")],
    }


def _lines() -> list[Item]:
    comment = "a comment: what the next line is for"
    lines = (
        ("repeat until the search has converged", 0),
        (comment, 3),
        ("one step of the network's weights ω down the training loss", 0),
        (comment, 5),
        ("one step of the loss weights β down Γ_H", 0),
        (comment, 7),
        ("one step of the structure α down the validation loss, first order", 0),
        ("while more than P operations are left", 0),
        ("if the smallest weight is below θ", 0),
        (comment, 11),
        ("remove the operation with the smallest weight", 0),
        ("end of the condition", 9),
        ("end of the pruning loop", 8),
        ("end of the search loop", 1),
        ("return the P operations of the largest weights, and the loss weights", 0),
    )
    name = "Algorithm 1 line {}".format
    return [
        Item(name(line), says, served_by=name(server) if server else "")
        for line, (says, server) in enumerate(lines, start=1)
    ]


def known() -> list[Item]:
    """List the items of all groups."""
    return [item for group in items().values() for item in group]


def citations(text: str) -> list[str]:
    """Find the items of the paper that a text names; a range of lines or rows names each of them.

    Args:
        text: a docstring, an argument of the marker, or the source of a cell.

    Returns:
        Keys of items, each once, in the order of the text.

    Raises:
        CitationError: for an item that does not exist, or one in another notation than the index's.

    Example:
        >>> from hsds_lib.course.citations import citations
        >>> citations("Algorithm 1 lines 8-9 and 11; see Table 2 SD")
        ['Algorithm 1 line 8', 'Algorithm 1 line 9', 'Algorithm 1 line 11', 'Table 2 SD']
    """
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        words = " ".join(paragraph.split())
        if other := _OTHERWISE.search(words):
            raise CitationError(f"'{other.group()}' is not read; write as in 'Eq. 3' or 'Algorithm 1 lines 8-13'")
        for match in _CITATION.finditer(words):
            found += _keys(match)
    existing = {item.key for item in known()}
    unknown = [key for key in found if key not in existing]
    if unknown:
        raise CitationError(f"the paper has no '{unknown[0]}'; hsds_lib/course/citations.py lists what it has")
    return list(dict.fromkeys(found))


def is_citation(text: str) -> bool:
    """Whether a text is the name of one item or range of items and nothing else."""
    return _CITATION.fullmatch(text) is not None


def _keys(match: re.Match[str]) -> list[str]:
    place, unit, names = match["place"], match["unit"], match["names"]
    if match["tables"]:
        return [f"Table {number}" for number in _numbers(match["tables"])]
    if place is None:
        return [f"Eq. {number}" for number in _numbers(match["equations"])]
    if unit:
        numbers = _numbers(match["numbers"])
        if unit.endswith("s") != (len(numbers) > 1):
            raise CitationError(f"'{match.group()}': write 'line' or 'row' for one, 'lines' or 'rows' for several")
        return [f"{place} {unit.removesuffix('s')} {number}" for number in numbers]
    return [f"{place} {name}" for name in re.split(r", and |, | and ", names)] if names else [place]


def _numbers(text: str) -> list[int]:
    numbers: list[int] = []
    for part in re.split(r", and |, | and ", text):
        first, _, last = part.replace("–", "-").partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers
