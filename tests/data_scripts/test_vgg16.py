"""VGG-16: a torch file becomes safetensors once, and the features find it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from data_scripts.registry import Entry, load_entry
from data_scripts.verify import verify
from data_scripts.vgg16 import converted_file, fetch_vgg16, weights_state
from hsds_lib.images.datasets import DataError
from hsds_lib.losses import features
from hsds_lib.losses.features import LAYERS, VGG16, WeightsError, load_vgg16

PTH = "/models/vgg16-397923af.pth"
BLOCKS = ((1, 1), (1, 1), (1, 1, 1), (1, 1, 1), (1,))  # as deep as VGG-16, one channel wide


@pytest.fixture
def entry(site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """A small file of the published layout, on the server, taken for the published one; and an empty cache."""
    monkeypatch.setattr(features, "BLOCKS", BLOCKS)
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache")
    drawn = load_vgg16("random", seed=7)
    state = {"classifier.0.weight": torch.zeros(3)}
    for name, number in zip(LAYERS, (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24), strict=True):
        state[f"features.{number}.weight"] = drawn.weights[name].data
        state[f"features.{number}.bias"] = torch.full_like(drawn.biases[name].data, number)
    torch.save(state, tmp_path / "published.pth")
    content = (tmp_path / "published.pth").read_bytes()
    site.content[PTH] = content
    monkeypatch.setattr(features, "WEIGHTS_SHA256", hashlib.sha256(content).hexdigest())
    file = replace(site.file(PTH), name=Path(PTH).name)
    return replace(load_entry("vgg16"), files=(file,), disk=1000)


def values(network: VGG16) -> list[torch.Tensor]:
    return [tensor for name in LAYERS for tensor in (network.weights[name].data, network.biases[name].data)]


def test_the_registered_file_is_the_one_that_the_features_expect() -> None:
    (file,) = load_entry("vgg16").files
    assert (file.sha256, file.urls) == (features.WEIGHTS_SHA256, [features.WEIGHTS_URL])


def test_fetched_weights_are_found_by_the_features_and_not_fetched_twice(
    entry: Entry, site: Any, downloader: Any, tmp_path: Path
) -> None:
    fetched = fetch_vgg16(entry, downloader=downloader)
    assert fetched.place == tmp_path / "cache" / "vgg16-397923af.safetensors"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["vgg16-397923af.safetensors"]
    network = load_vgg16("torchvision")
    assert (network.source, network.label) == ("torchvision", "torchvision's ImageNet VGG-16 features")
    published = load_vgg16("torchvision", path=tmp_path / "published.pth")
    assert all(torch.equal(one, other) for one, other in zip(values(published), values(network), strict=True))
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert fetch_vgg16(entry, downloader=downloader).kept == 1
    assert len(site.asked) == 1


def test_a_published_file_in_the_cache_is_converted_without_a_download(entry: Entry, site: Any, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "vgg16-397923af.pth").write_bytes(site.content[PTH])
    assert fetch_vgg16(entry).new == 1
    assert site.asked == [] and (tmp_path / "cache" / "vgg16-397923af.pth").is_file()


def test_another_folder_can_be_named(entry: Entry, downloader: Any, tmp_path: Path) -> None:
    place = fetch_vgg16(entry, to=tmp_path / "elsewhere", downloader=downloader).place
    assert place.parent == tmp_path / "elsewhere"
    assert load_vgg16("torchvision", path=place).source == "torchvision"


def test_a_file_given_by_hand_is_proven(entry: Entry, tmp_path: Path, site: Any) -> None:
    (tmp_path / "wrong.pth").write_bytes(site.content[PTH][:-1] + b"?")
    with pytest.raises(DataError, match=r"wrong\.pth is not vgg16-397923af\.pth: its sha256 is"):
        fetch_vgg16(entry, given=[tmp_path / "wrong.pth"])
    assert not converted_file().exists()
    assert fetch_vgg16(entry, given=[tmp_path / "published.pth"]).new == 1
    assert site.asked == [] and (tmp_path / "published.pth").is_file()


def test_a_file_that_was_not_written_here_is_not_replaced(entry: Entry, tmp_path: Path) -> None:
    converted_file().parent.mkdir()
    converted_file().write_bytes(b"mine")
    with pytest.raises(DataError, match="is not what was written here; delete it or move it away first"):
        fetch_vgg16(entry, given=[tmp_path / "published.pth"])
    assert converted_file().read_bytes() == b"mine"


class Harmful:
    """What a pickle may do when it is loaded without care."""

    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["HARM"],)


def test_a_pickle_with_code_is_not_run_even_if_its_hash_were_right(
    entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARM", str(tmp_path / "harm"))
    torch.save({"features.0.weight": Harmful()}, tmp_path / "evil.pth")
    digest = hashlib.sha256((tmp_path / "evil.pth").read_bytes()).hexdigest()
    monkeypatch.setattr(features, "WEIGHTS_SHA256", digest)
    file = replace(entry.files[0], sha256=digest, size=None)
    with pytest.raises(Exception, match=r"[Ww]eights.only"):
        fetch_vgg16(replace(entry, files=(file,)), given=[tmp_path / "evil.pth"])
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("spoil", ["flip", "cut", "other source"])
def test_converted_weights_that_were_changed_are_refused(
    entry: Entry, downloader: Any, spoil: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = fetch_vgg16(entry, downloader=downloader).place
    content = bytearray(file.read_bytes())
    if spoil == "flip":
        content[-3] ^= 1
    elif spoil == "cut":
        content = content[:-8]
    else:
        monkeypatch.setattr(features, "WEIGHTS_SHA256", "0" * 64)
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=r"delete it and run `hsds data fetch vgg16`"):
        load_vgg16("torchvision")
    assert weights_state(file) == "changed"
    assert verify(entry, None).troubles == {str(file): "changed"}
