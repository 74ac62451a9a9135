"""ImageNet weights of VGG-16: fetched as a torch file, kept as safetensors with the 13 convolutions alone."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from data_scripts.download import Downloader, FetchError, mismatch, require_space
from data_scripts.given import proven
from data_scripts.images import DOWNLOADS, Fetched, with_nothing_left, without_network
from data_scripts.registry import Entry
from hsds_lib.losses.features import WeightsError, load_vgg16, save_vgg16, vgg16_cache_path


def converted_file(to: Path | None = None) -> Path:
    """Say where the converted weights lie.

    Args:
        to: a folder; default: the cache of this user, where ``load_vgg16`` looks, whatever ``HSDS_DATA`` says.

    Returns:
        The file; it need not exist.

    Example:
        >>> converted_file(Path("weights")).as_posix()
        'weights/vgg16-397923af.safetensors'
    """
    published = vgg16_cache_path()
    folder = published.parent if to is None else to
    return folder / published.with_suffix(".safetensors").name


def fetch_vgg16(
    entry: Entry, *, to: Path | None = None, given: Sequence[Path] = (), downloader: Downloader | None = None
) -> Fetched:
    """Fetch the published file, prove it, convert it once, and throw away what was downloaded.

    It is a pickle, so it is opened by torch's weights-only loader, and only when its sha256 is the published one.

    Args:
        entry: ``vgg16`` of the registry.
        to: see ``converted_file``.
        given: the published file, fetched by hand; nothing is downloaded then.
        downloader: default: one that is patient and shows a meter.

    Returns:
        What was done.

    Raises:
        FetchError: no mirror gave the file.
        DataError: lack of space, or the file that was given is another one.

    Example:
        >>> from data_scripts.registry import load_entry
        >>> fetch_vgg16(load_entry("vgg16"), to=Path("weights"), given=[Path("gone.pth")])
        Traceback (most recent call last):
        hsds_lib.images.datasets.DataError: gone.pth does not exist; give the file, archive or folder fetched by hand
    """
    target, file = converted_file(to), entry.files[0]
    if weights_state(target) == "ok":
        return Fetched(target, new=0, kept=1)
    cached = vgg16_cache_path()
    downloads = target.parent / DOWNLOADS / entry.name
    if given:
        source = proven(given, file)
    elif cached.is_file() and mismatch(cached, file) is None:
        source = cached
    else:
        require_space(target.parent, entry.disk)
        try:
            source = (downloader or Downloader()).fetch(file, downloads / file.name)
        except FetchError as error:
            raise FetchError(f"{error}; {without_network(entry)}") from error
    save_vgg16(load_vgg16("imagenet", path=source), target)
    if source.parent == downloads:
        shutil.rmtree(downloads)
        with_nothing_left(downloads.parent)
    return Fetched(target, new=1, kept=0)


def weights_state(file: Path) -> str:
    """Compare converted weights with what they should be.

    Args:
        file: see ``converted_file``.

    Returns:
        "ok", "missing" or "changed".

    Example:
        >>> weights_state(Path("no-such-file.safetensors"))
        'missing'
    """
    if not file.is_file():
        return "missing"
    try:
        load_vgg16("imagenet", path=file)
    except WeightsError:
        return "changed"
    return "ok"
