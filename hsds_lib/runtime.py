"""What every run needs besides mathematics: devices, seeds, atomic files, progress and provenance."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
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
    """Give a temporary path beside ``path`` and move it there when the block ends well.

    A reader therefore sees the old file or the whole new one, never half of it.

    Args:
        path: the file to be written; missing parent folders are made.

    Yields:
        A path in the same folder with the same suffix, removed again when the block raises.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     target = Path(folder) / "runs" / "result.txt"
        ...     with atomic_path(target) as temporary:
        ...         print(temporary.write_text("whole"), target.exists())
        ...     target.read_text()
        5 False
        'whole'
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
    """Write a value as indented JSON, atomically.

    Args:
        path: the file to write; missing parent folders are made.
        value: anything that JSON can hold; NaN and infinity are a ``ValueError``.

    Example:
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(Path(folder) / "settings.json", {"theta": 0.05})
        ...     read_json(Path(folder) / "settings.json")
        {'theta': 0.05}
    """
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Read one JSON file; a missing or broken one gives a sentence that names it.

    Args:
        path: the file.

    Returns:
        What it holds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON.

    Example:
        >>> read_json("no-run/genotype.json")
        Traceback (most recent call last):
        FileNotFoundError: no-run/genotype.json does not exist; give the folder or file that a run has written
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist; give the folder or file that a run has written") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); write it again with the command that made it") from None


def pick_device(name: str = "auto") -> torch.device:
    """Choose where to compute.

    Args:
        name: ``auto`` (CUDA, then Apple's MPS, then the CPU), ``cpu``, ``cuda`` or ``mps``.

    Returns:
        A device that is present.

    Raises:
        ValueError: when the device asked for is unknown or not present here.

    Example:
        >>> pick_device("cpu")
        device(type='cpu')
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
    """Seed torch's default generator inside the block, and put its state back afterwards.

    Args:
        seed: for everything that draws from the default generator, such as initial weights.

    Yields:
        Nothing.

    Example:
        >>> import torch
        >>> with seeded(3):
        ...     first = torch.nn.Linear(4, 2)
        >>> with seeded(3):
        ...     again = torch.nn.Linear(4, 2)
        >>> torch.equal(first.weight, again.weight)
        True
    """
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def release_memory() -> None:
    """Give memory that was freed back to the system, where the allocator keeps it (Linux with glibc; else nothing).

    Tensors of a megabyte leave holes that stay with the process. Between the phases of a search step they are a quarter
    of its peak; giving them back takes milliseconds.

    Example:
        >>> release_memory() is None
        True
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def file_hash(path: str | Path) -> str:
    """Give SHA-256 of the bytes of a file.

    Args:
        path: the file.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "empty"
        >>> path.touch()
        >>> file_hash(path)[:8]
        'e3b0c442'
    """
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fingerprint(tensors: Iterable[torch.Tensor]) -> str:
    """Give SHA-256 over shapes and values of some tensors, to say which pixels a result was made from.

    Args:
        tensors: of any shape and device; their order counts.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> import torch
        >>> fingerprint([torch.zeros(3, 2, 2)])[:8], fingerprint([torch.zeros(3, 4, 1)])[:8]  # the shape counts
        ('63365a7c', 'c29d3894')
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def provenance(**facts: Any) -> dict[str, Any]:
    """Say how a result came about.

    Args:
        **facts: what only the caller knows, such as settings, seeds and scenes; ready for JSON.

    Returns:
        Versions, machine, commit, time and number of threads, and the facts.

    Example:
        >>> origin = provenance(kind="lesson", seed=7)
        >>> origin["kind"], origin["seed"], "torch" in origin["packages"]
        ('lesson', 7, True)
    """
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
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
