"""Checkpoints of long runs: whole or absent, checked when read, and never the only one while a new one is written."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from hsds_lib.runs.sources import changed_code
from hsds_lib.runtime import RunError, atomic_path, named_hash, parse_json, read_tensors

_FACTS = "facts.json"  # a tensor of bytes: the file's own header has a limit
EVERY = 30.0  # seconds between two checkpoints


class DamagedError(ValueError):
    """A checkpoint cannot be read as it was written."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to go on as if it had never stopped."""

    step: int
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


class Checkpoints:
    """The last two checkpoints of one run in its folder, each a safetensors file that holds JSON too.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     kept = Checkpoints(folder, "search")
        ...     kept.save(Checkpoint(1, {"alpha": torch.zeros(2)}, {"loss": 0.5}))
        ...     kept.save(Checkpoint(2, {"alpha": torch.ones(2)}, {"loss": 0.25}))
        ...     last, problems = kept.load()
        ...     _ = kept.path.write_bytes(b"half")  # damaged: the one before is taken
        ...     before, problems = kept.load()
        >>> last.step, last.tensors["alpha"].tolist(), before.step, len(problems)
        (2, [1.0, 1.0], 1, 1)
    """

    def __init__(self, folder: str | Path, name: str, *, every: float = EVERY) -> None:
        """Name the files after what is running; :meth:`due` waits ``every`` seconds after each, with 0 not at all."""
        self.path = Path(folder) / f"{name}.checkpoint.safetensors"
        self.previous = Path(folder) / f"{name}.checkpoint-previous.safetensors"
        self.every = every
        self._good: tuple[Path, int] | None = None  # the newest file that is known to be whole, and its step
        self._last = time.monotonic()

    def due(self) -> bool:
        """Say whether enough time has gone by for the next checkpoint."""
        return time.monotonic() - self._last >= self.every

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; the one that was the last becomes the previous one.

        RunError if a tensor is not finite (such a state is no use), or if the file cannot be written, for want of space
        for example. The older checkpoints are then untouched.
        """
        for name, tensor in checkpoint.tensors.items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise RunError(f"step {checkpoint.step}: {name} is not finite; lower the learning rates")
        facts = json.dumps({"step": checkpoint.step, **checkpoint.facts}, allow_nan=False).encode()
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
        tensors[_FACTS] = torch.frombuffer(bytearray(facts), dtype=torch.uint8)
        try:
            with atomic_path(self.path) as temporary:
                save_file(tensors, temporary, metadata={"sha256": named_hash(tensors)})
                _flush(temporary)
                # A damaged one must not take the place of the one before it.
                if self._good is not None and self._good[0] == self.path:
                    os.replace(self.path, self.previous)
                    self._good = (self.previous, self._good[1])
        except (OSError, SafetensorError) as error:
            raise RunError(
                f"step {checkpoint.step}: the checkpoint {self.path} could not be written ({error}); "
                f"{self.last_good()}; make room and run the same command again"
            ) from error
        self._good, self._last = (self.path, checkpoint.step), time.monotonic()

    def load(self) -> tuple[Checkpoint | None, list[str]]:
        """Read the newest checkpoint that is whole, or None; and a sentence for each file that could not be used."""
        problems = []
        for path in (self.path, self.previous):
            if not path.exists():
                continue
            try:
                checkpoint = _read(path)
            except DamagedError as error:
                problems.append(str(error))
                continue
            self._good, self._last = (path, checkpoint.step), time.monotonic()
            return checkpoint, problems
        return None, problems

    def remove(self) -> None:
        """Delete the files, when the run is finished or begun anew, with what a kill left half-written."""
        # The previous one first: if this is interrupted, the newest is what is left.
        for path in (self.previous, self.path, *self.path.parent.glob(f".{self.path.stem}-*")):
            path.unlink(missing_ok=True)

    def exist(self) -> bool:
        """Say whether there is a file, whole or damaged."""
        return self.path.exists() or self.previous.exists()

    def last_good(self) -> str:
        """Name the last good checkpoint, as part of a sentence."""
        if self._good is None:
            return "there is no checkpoint yet"
        path, step = self._good
        return f"the last good checkpoint is {path}, after {step} steps"

    def find(
        self, identity: Mapping[str, Any], say: Callable[[str], None], *, accept_code_change: bool = False
    ) -> Checkpoint | None:
        """Find where to go on: the newest whole checkpoint, or None; ``say`` is told of it, and of damaged files.

        ``identity`` is what makes two runs the same one, ready for JSON. RunError if what was saved by these names
        differs: the checkpoint belongs to a run with other settings or data, and nothing is changed. So it is with
        other ``code``, a result of ``code_parts``, unless that is accepted: then ``code_changes`` of the facts has it.
        """
        checkpoint, problems = self.load()
        for problem in problems:
            say(problem)
        if checkpoint is None:
            if problems:
                say("no checkpoint is whole, so the run begins anew")
            return None
        settings = json.loads(json.dumps(identity))
        code = settings.pop("code", {})
        differences = _differences(checkpoint.facts, settings)
        if differences:
            raise RunError(
                f"{self.path.parent} holds an unfinished run with other settings ({'; '.join(differences)}); give the "
                "same ones to go on, another folder, or --restart (resume=False) to begin anew"
            )
        changed = changed_code(checkpoint.facts.get("code"), code) if code else []
        if changed and not accept_code_change:
            raise RunError(
                f"{self.path.parent} holds a run that was begun with other code ({'; '.join(changed)}); go on with "
                "--accept-code-change (accept_code_change=True), which is noted, or --restart (resume=False)"
            )
        say(f"going on after step {checkpoint.step}, from {self.path.parent}")
        noted = [{"step": checkpoint.step, "changed": changed}] if changed else []
        changes = [*checkpoint.facts.get("code_changes", []), *noted]
        return replace(checkpoint, facts={**checkpoint.facts, "code_changes": changes})


def _differences(saved: Mapping[str, Any], present: Mapping[str, Any]) -> list[str]:
    found = []
    for name, value in present.items():
        before = saved.get(name)
        if isinstance(value, dict) and isinstance(before, dict):
            found += _differences(before, value)
        elif value != before:
            found.append(f"{name} was {_short(before)}, now {_short(value)}")
    return found


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 24 else f"{text[:20]}..."


def _read(path: Path) -> Checkpoint:
    try:
        metadata, tensors = read_tensors(path)
        if metadata.get("sha256") != named_hash(tensors):
            raise ValueError("its contents do not match their checksum")
        facts = parse_json(tensors.pop(_FACTS).numpy().tobytes(), "its facts are not JSON", "it is another's file")
        return Checkpoint(facts.pop("step"), tensors, facts)
    except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{path} is damaged and was passed over ({error})") from None


def _flush(path: Path) -> None:
    """Wait until the bytes are on the disk: a rename alone survives a kill, but not a loss of power."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def optimiser_tensors(
    prefix: str, optimiser: torch.optim.Optimizer, parameters: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Take the state out of an optimiser, as tensors called ``prefix/key/parameter``; none before the first step."""
    return {
        f"{prefix}/{key}/{name}": value
        for name, parameter in parameters.items()
        for key, value in optimiser.state.get(parameter, {}).items()
        if value is not None  # SGD without momentum
    }


def restore_optimiser(
    prefix: str, optimiser: torch.optim.Optimizer, parameters: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> None:
    """Put the state back that :func:`optimiser_tensors` took out, into one of the same kind and parameters."""
    optimiser.state.clear()
    for full, value in tensors.items():
        if not full.startswith(f"{prefix}/"):
            continue
        _, key, name = full.split("/")
        parameter = parameters[name]
        # The counter stays on the CPU, as torch keeps it; the moments take the layout of their weights.
        kept = value.clone() if key == "step" else torch.empty_like(parameter).copy_(value)
        optimiser.state[parameter][key] = kept.detach()
