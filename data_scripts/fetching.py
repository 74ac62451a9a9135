"""One entry by its name, whatever kind it is of: fetched or verified."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_scripts.coco import fetch_coco
from data_scripts.download import Downloader
from data_scripts.images import Fetched, fetch_images
from data_scripts.registry import data_root, entry_names, load_entry
from data_scripts.verify import Verdict, present_folders, verify
from data_scripts.vgg import fetch_vgg16
from hsds_lib.arguments import UsageError


def fetch_entry(
    name: str,
    *,
    to: Path | None = None,
    given: Sequence[Path] = (),
    split: str = "development",
    images: int | None = None,
    downloader: Downloader | None = None,
) -> Fetched:
    """Fetch one entry of the registry.

    Args:
        name: of the entry.
        to: the data folder, default ``HSDS_DATA``; for weights their folder, default the cache of this user.
        given: what was fetched by hand.
        split: of MEFB.
        images: of COCO.
        downloader: default: one that is patient and shows meters.

    Returns:
        What was done.

    Raises:
        UsageError: the options do not go with the entry, or it cannot be fetched at all.

    Example:
        >>> fetch_entry("sice", to=Path("data"))
        Traceback (most recent call last):
        hsds_lib.arguments.UsageError: sice is behind a form: fetch its archives by hand (https://...), then run ...
    """
    entry = load_entry(name)
    if images is not None and name != "coco":
        raise UsageError(f"--images goes with coco, not with {name}; leave it out")
    if split != "development" and name != "mefb":
        raise UsageError(f"--split goes with mefb, not with {name}; leave it out")
    if name == "sice":
        raise UsageError(
            f"sice is behind a form: fetch its archives by hand ({', '.join(entry.by_hand)}), "
            "then run `hsds data prepare sice --from ARCHIVE_OR_FOLDER`"
        )
    if name == "vgg16":
        return fetch_vgg16(entry, to=to, given=given, downloader=downloader)
    root = data_root(to)
    if name == "coco":
        return fetch_coco(entry, root, images=images, given=given, downloader=downloader)
    return fetch_images(entry, root, split=split, given=given, downloader=downloader)


def verdicts(names: Sequence[str], to: Path | None = None) -> list[Verdict]:
    """Verify entries.

    Args:
        names: of entries; none means all of which something is there.
        to: as for ``fetch_entry``.

    Returns:
        A verdict for each.

    Raises:
        UsageError: nothing was named and nothing is there.

    Example:
        >>> [verdict.troubles for verdict in verdicts(["coco"], Path("no-such-folder"))]
        [{'coco': 'missing'}]
    """
    if names:
        return [verify(load_entry(name), None if name == "vgg16" else data_root(to), weights=to) for name in names]
    root = data_root(to)
    found = [entry for entry in map(load_entry, entry_names()) if present_folders(entry, root)]
    if not found:
        raise UsageError(
            f"{root} holds none of {', '.join(entry_names())}; fetch one, or name another folder with --to"
        )
    return [verify(entry, root) for entry in found]
