"""What every run needs besides mathematics: devices, seeds, atomic files, progress and provenance."""

from __future__ import annotations

import ctypes
import hashlib
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsds_lib import __version__

if TYPE_CHECKING:
    import torch


class RunError(RuntimeError):
    """A search or a training cannot go on; the message says at which step, why, and what to change."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``, with its suffix, and move it there when the block ends well.

    A reader therefore sees the old file or the whole new one, never half of it. Missing parent folders are made; when
    the block raises, the temporary file is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; a result is an ordinary file.
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_json(path: str | Path, value: Any) -> None:
    """Write a value as indented JSON, atomically; NaN and infinity are a ValueError."""
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read one JSON file; a sentence names one that is missing (FileNotFoundError) or broken (ValueError)."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise FileNotFoundError(f"{path} does not exist; give the folder or file that a run has written") from None
    return parse_json(
        content, f"{path} is not valid JSON", "correct it, or write it again with the command that made it"
    )


def parse_json(text: str | bytes, problem: str, remedy: str) -> Any:
    """Read JSON that may be anybody's: UTF-8, finite numbers, each key once, at most 100 levels deep.

    Else a ValueError: ``problem``, what is wrong with it, and ``remedy``.
    """
    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_once, parse_float=_finite, parse_constant=_finite)
        _require_sound(value)
    except (ValueError, RecursionError) as error:  # of text, of its encoding, or nested by the thousand
        raise ValueError(f"{problem} ({error}); {remedy}") from None
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"a key is there twice among {', '.join(name for name, _ in pairs)[:80]}")
    return dict(pairs)


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"{text[:20]} is not a finite number")
    return float(text)


def _require_sound(value: Any, levels: int = 100) -> None:
    """What can be read but not be written again is a ValueError: too deep, or half of a surrogate pair."""
    if not levels:
        raise ValueError("it is nested deeper than 100 levels")
    if isinstance(value, str):
        value.encode()
    for inner in (*value, *value.values()) if isinstance(value, dict) else value if isinstance(value, list) else ():
        _require_sound(inner, levels - 1)


def pick_device(name: str = "auto") -> torch.device:
    """Choose where to compute: ``cpu``, ``cuda``, ``mps``, or ``auto``, the best that is present.

    ValueError if the device asked for is unknown or not present here.
    """
    import torch

    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if present[kind])
    if name not in present:
        raise ValueError(f"device '{name}' is unknown; choose auto, cpu, cuda or mps")
    if not present[name]:
        raise ValueError(f"device '{name}' is not present on this machine; use auto or cpu")
    return torch.device(name)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's default generator inside the block, and put its state back afterwards."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def release_memory() -> None:
    """Give memory that was freed back to the system, where the allocator keeps it (Linux with glibc; else nothing).

    Tensors of a megabyte leave holes that stay with the process. Between the phases of a search step they are a quarter
    of its peak; giving them back takes milliseconds.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def file_hash(path: str | Path) -> str:
    """Give SHA-256 of the bytes of a file, in hexadecimal digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def named_hash(tensors: Mapping[str, torch.Tensor]) -> str:
    """Give SHA-256 over names, types, shapes and bytes of tensors on the CPU, in the order of their names."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def read_tensors(path: str | Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    """Read a safetensors file into memory: its metadata, and its tensors by name; ValueError if it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            # Copies: a tensor read is a window on the file, which may be replaced.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return file.metadata() or {}, tensors
    except (SafetensorError, ValueError, RuntimeError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a readable safetensors file ({error})") from None


def fingerprint(tensors: Iterable[torch.Tensor]) -> str:
    """Give SHA-256 over shapes and values of some tensors in order: which pixels a result was made from."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def provenance(**facts: Any) -> dict[str, Any]:
    """Say how a result came about: versions, machine, commit, time, number of threads, and the facts of the caller."""
    import torch

    packages = ("torch", "numpy", "kornia", "scikit-image", "opencv-python-headless", "pydantic")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    return {
        "hsds_lib": __version__,
        "commit": _commit(),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "system": platform.system(),
        "device": device,
        "threads": torch.get_num_threads(),
        **facts,
    }


def _commit() -> str | None:
    """The commit of the checkout this library runs from, with ``-dirty`` when files differ; None outside one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        # Without its optional locks git refreshes no file of a checkout that is only looked at.
        environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
