"""Torchvision's ImageNet weights of VGG-16: fetched as a torch file, its convolutions kept as safetensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from data_scripts.archives import proven
from data_scripts.download import Downloader, Fetched, advice, arrived, mismatch, on_its_way, require_space
from data_scripts.registry import Entry
from hsds_lib.images.datasets import DataError
from hsds_lib.losses.features import WeightsError, load_vgg16, save_vgg16, vgg16_cache_path


def converted_file(to: Path | None = None) -> Path:
    """Where the converted weights lie: in ``to``, else in the cache of this user, where ``load_vgg16`` looks."""
    published = vgg16_cache_path()
    folder = published.parent if to is None else to
    return folder / published.with_suffix(".safetensors").name


def fetch_vgg16(
    entry: Entry, *, to: Path | None = None, given: Sequence[Path] = (), downloader: Downloader | None = None
) -> Fetched:
    """Fetch the published file, prove it, convert it once, and throw away what was downloaded.

    It is a pickle, so it is opened by torch's weights-only loader, and only when its sha256 is the published one. If it
    was fetched by hand and is ``given``, nothing is downloaded. A FetchError where no mirror gave the file, a DataError
    for lack of space or a given file that is another one.
    """
    target, file = converted_file(to), entry.files[0]
    if weights_state(target) == "ok":
        return Fetched(target, new=0, kept=1)
    if target.exists():
        raise DataError(f"{target} is not what was written here; delete it or move it away first")
    cached, downloads = vgg16_cache_path(), None
    if given:
        source = proven(given, file)
    elif cached.is_file() and mismatch(cached, file) is None:
        source = cached
    else:
        require_space(target.parent, entry.disk)
        downloads = on_its_way(target.parent, entry)
        with advice(entry):
            source = (downloader or Downloader()).fetch(file, downloads / file.name)
    save_vgg16(load_vgg16("torchvision", path=source), target)
    if downloads is not None:
        arrived(downloads)
    return Fetched(target, new=1, kept=0)


def weights_state(file: Path) -> str:
    """Compare converted weights with what they should be: "ok", "missing" or "changed"."""
    if not file.is_file():
        return "missing"
    try:
        load_vgg16("torchvision", path=file)
    except WeightsError:
        return "changed"
    return "ok"


if __name__ == "__main__":
    from data_scripts.commands import run_script

    run_script("fetch", "vgg16")
