"""Checkpoints are whole or passed over, and never the only copy while a new one is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from hsds_lib.runs.checkpoints import Checkpoint, Checkpoints, optimiser_tensors, restore_optimiser
from hsds_lib.runtime import RunError


def saved(folder: Path, steps: int) -> Checkpoints:
    kept = Checkpoints(folder, "search")
    for step in range(1, steps + 1):
        kept.save(
            Checkpoint(step, {"w": torch.full((64,), float(step))}, {"seed": 0, "history": [{"loss": 0.1}] * step})
        )
    return kept


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    found, problems = saved(tmp_path, 3).load()
    assert found is not None and not problems
    assert found.step == 3 and torch.equal(found.tensors["w"], torch.full((64,), 3.0)) and set(found.tensors) == {"w"}
    assert found.facts == {"seed": 0, "history": [{"loss": 0.1}] * 3}


@pytest.mark.parametrize("place", range(0, 1400, 97))
def test_every_flipped_bit_is_noticed(place: int, tmp_path: Path) -> None:
    kept = saved(tmp_path, 2)
    content = bytearray(kept.path.read_bytes())
    content[place % len(content)] ^= 1 << place % 8
    kept.path.write_bytes(content)
    found, problems = kept.load()
    assert found is not None
    # A bit of the header that means nothing, such as in a space, may change; the contents may not.
    expected = 1 if problems else 2
    assert found.step == expected and torch.equal(found.tensors["w"], torch.full((64,), float(expected)))


@pytest.mark.parametrize("length", [0, 1, 8, 200, -1])
def test_a_cut_file_is_passed_over_and_named(length: int, tmp_path: Path) -> None:
    kept = saved(tmp_path, 2)
    kept.path.write_bytes(kept.path.read_bytes()[:length])
    said: list[str] = []
    found = kept.find({"seed": 0}, said.append)
    assert found is not None and found.step == 1
    assert "search.checkpoint.safetensors is damaged and was passed over" in said[0] and "after step 1" in said[1]


def test_killed_between_the_two_renames_the_previous_one_is_left(tmp_path: Path) -> None:
    kept = saved(tmp_path, 2)
    kept.path.replace(kept.previous)
    found, problems = kept.load()
    assert found is not None and found.step == 2 and not problems


def test_a_damaged_checkpoint_never_takes_the_place_of_the_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = saved(tmp_path, 2)
    kept.path.write_bytes(b"half")
    assert kept.load()[0] is not None
    assert kept.last_good() == f"the last good checkpoint is {kept.previous}, after 1 steps"
    real = os.replace

    def killed(source: Path, target: Path) -> None:  # before the new one is in place
        if Path(target) == kept.path:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        kept.save(Checkpoint(2, {"w": torch.ones(2)}, {}))
    found, _ = Checkpoints(tmp_path, "search").load()
    assert found is not None and found.step == 1
    assert kept.last_good().startswith(f"the last good checkpoint is {kept.previous},")


def test_when_nothing_is_whole_that_is_said(tmp_path: Path) -> None:
    kept = saved(tmp_path, 2)
    for path in (kept.path, kept.previous):
        path.write_bytes(b"noise")
    said: list[str] = []
    assert kept.find({"seed": 0}, said.append) is None
    assert len(said) == 3 and said[2] == "no checkpoint is whole, so the run begins anew"


def test_a_state_that_is_not_finite_is_never_kept(tmp_path: Path) -> None:
    kept = saved(tmp_path, 1)
    with pytest.raises(RunError, match="step 2: w is not finite"):
        kept.save(Checkpoint(2, {"w": torch.tensor([1.0, float("nan")])}, {}))
    found, problems = kept.load()
    assert found is not None and found.step == 1 and not problems
    assert not list(tmp_path.glob(".*"))


def test_another_run_is_refused_by_what_differs(tmp_path: Path) -> None:
    kept = saved(tmp_path, 1)
    with pytest.raises(
        RunError, match=r"other settings \(seed was 0, now 1; data was null, now \"a\"\); give the same"
    ):
        kept.find({"seed": 1, "data": "a"}, print)


def test_removal_leaves_nothing(tmp_path: Path) -> None:
    kept = saved(tmp_path, 2)
    (tmp_path / ".search.checkpoint-abc.safetensors").write_bytes(b"left by a kill")
    kept.remove()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["adam", "sgd", "momentum"])
def test_an_optimiser_goes_on_to_the_same_bits(kind: str) -> None:
    def make() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        layer = torch.nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
        parameters = layer.parameters()
        if kind == "adam":
            return layer, torch.optim.Adam(parameters, lr=0.1)
        return layer, torch.optim.SGD(parameters, lr=0.1, momentum=0.9 if kind == "momentum" else 0.0)

    def steps(layer: torch.nn.Module, optimiser: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            optimiser.zero_grad()
            layer(torch.ones(1, 2, 4, 4)).square().sum().backward()
            optimiser.step()

    one, other = make(), make()
    steps(*one, 3)
    state = optimiser_tensors("omega", one[1], dict(one[0].named_parameters()))
    state = {name: value.clone() for name, value in state.items()}
    other[0].load_state_dict(one[0].state_dict())
    restore_optimiser("omega", other[1], dict(other[0].named_parameters()), state)
    for trained in (one, other):
        steps(*trained, 3)
    assert all(torch.equal(a, b) for a, b in zip(one[0].parameters(), other[0].parameters(), strict=True))
