"""Model files: what was changed is not loaded, half-trained ones say so, and no model passes under another's name."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hsds_lib.network.fusion_net import FusionNet, derive
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.model_file import (
    MODEL,
    PARTIAL,
    PROVENANCE,
    SHIPPED,
    ModelError,
    load_model,
    model_file,
    save_model,
)
from hsds_lib.runtime import file_hash, read_tensors, write_json


@pytest.fixture(scope="module")
def network() -> FusionNet:
    return derive(Genotype(nodes={node: {"conv_1x1": 1.0} for node in NODES}, width=0.0625)).eval()


def test_a_file_that_was_changed_anywhere_gives_the_same_network_or_none(network: FusionNet, tmp_path: Path) -> None:
    path, rng = tmp_path / MODEL, random.Random(5)
    save_model(network, path, epochs=(2, 2))
    good, expected = path.read_bytes(), network.state_dict()
    refused = 0
    for number in range(150):
        content = bytearray(good)
        start = 8 + int.from_bytes(content[:8], "little") if number % 2 else 0  # half of them in the weights
        content[rng.randrange(start, len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        try:
            found = load_model(path, device="cpu").state_dict()
        except ModelError as error:
            assert str(error).startswith(f"{path} ")
            refused += 1
            continue
        assert all(torch.equal(found[name], expected[name]) for name in expected), number
    assert refused >= 140


@pytest.mark.parametrize(
    "text", ["null", "[]", "1", '{"genotype": null}', "[" * 100_000, '{"sha256": "0"}', "NaN", "é"], ids=len
)
def test_odd_metadata_is_a_sentence(text: str, network: FusionNet, tmp_path: Path) -> None:
    save_file(dict(network.state_dict()), tmp_path / MODEL, metadata={"network": text})
    with pytest.raises(ModelError, match=r"(do not fit|does not match its checksum); copy or train it again"):
        load_model(tmp_path, device="cpu")


def test_a_half_trained_model_warns_and_others_do_not(network: FusionNet, tmp_path: Path) -> None:
    save_model(network, tmp_path / PARTIAL, epochs=(3, 10))
    with pytest.warns(UserWarning, match=r"partial\.safetensors is half-trained: 3 of 10 epochs; `hsds train` ends it"):
        load_model(tmp_path / PARTIAL, device="cpu")
    with pytest.raises(ModelError, match=r"the training there is not finished.* give model\.partial\.safetensors"):
        load_model(tmp_path, device="cpu")
    described = {"genotype": Genotype.from_mix(network.mix.double(), width=network.width).model_dump()}  # type: ignore[union-attr]
    earlier = {"network": json.dumps({**described, "separate_statistics": False})}
    save_file(dict(network.state_dict()), tmp_path / "earlier.safetensors", metadata=earlier)
    save_model(network, tmp_path / "whole.safetensors", epochs=(10, 10))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for source in (tmp_path / "earlier.safetensors", tmp_path / "whole.safetensors", *SHIPPED):
            load_model(source, device="cpu")


def test_the_models_that_ship_have_a_checksum() -> None:
    for name in SHIPPED:
        metadata, _ = read_tensors(model_file(name))
        assert {"sha256", "epochs"} <= set(json.loads(metadata["network"]))


def test_a_model_beside_the_provenance_of_another_is_refused(network: FusionNet, tmp_path: Path) -> None:
    save_model(network, tmp_path / MODEL)
    write_json(tmp_path / PROVENANCE, {"model_sha256": file_hash(tmp_path / MODEL)})
    assert model_file(tmp_path) == tmp_path / MODEL
    save_model(network, tmp_path / PARTIAL, epochs=(4, 4))
    write_json(tmp_path / PROVENANCE, {"model_sha256": file_hash(tmp_path / PARTIAL)})  # killed in the last step
    assert model_file(tmp_path) == tmp_path / PARTIAL
    content = (tmp_path / MODEL).read_bytes()
    (tmp_path / MODEL).unlink()  # the first training in this folder
    assert model_file(tmp_path) == tmp_path / PARTIAL
    (tmp_path / MODEL).write_bytes(content)
    (tmp_path / PARTIAL).unlink()
    with pytest.raises(ModelError, match=r"is not the model of training_provenance\.json beside it"):
        load_model(tmp_path, device="cpu")
    assert load_model(tmp_path / MODEL, device="cpu").width == network.width
