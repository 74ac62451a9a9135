"""Does it run here? One line per thing a notebook or a search needs."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hsds_lib.images.batches import DataError, load_scenes
from hsds_lib.images.datasets import DATA_VARIABLE, NAMED_SETS
from hsds_lib.losses.features import WeightsError, load_vgg16
from hsds_lib.network.model_file import MODELS
from hsds_lib.runtime import pick_device


@dataclass(frozen=True)
class Check:
    """One line: ``ok`` is False for what must be mended; ``detail`` says what was found or what to do."""

    name: str
    ok: bool
    detail: str

    def __str__(self) -> str:
        """The line as ``hsds check`` prints it."""
        return f"[{'OK' if self.ok else 'FAIL'}] {self.name}: {self.detail}"


def machine_checks() -> list[Check]:
    """Look at this machine: Python, packages, device, memory, disk, data, features and the model that ships."""
    return [_python(), *_packages(), _device(), _memory(), _writable(), _embedded(), _data(), _features(), _model()]


def _python() -> Check:
    ok = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Check("Python", ok, f"{platform.python_version()}" + ("" if ok else "; 3.11 to 3.13 is needed"))


def _packages() -> list[Check]:
    checks = []
    for name in ("torch", "kornia", "jupyterlab", "jupyterlab_widgets", "ipywidgets", "papermill"):
        try:
            checks.append(Check(name, True, version(name)))
        except PackageNotFoundError:
            checks.append(Check(name, False, "not installed here; run `make setup` and use .venv/bin/python"))
    return checks


def _device() -> Check:
    import torch

    kind = pick_device("auto").type
    name = torch.cuda.get_device_name() if kind == "cuda" else f"{torch.get_num_threads()} threads"
    note = "; results differ slightly from the CPU's" if kind == "mps" else ""
    return Check("device", True, f"{kind} ({name}){note}")


def _memory() -> Check:
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (AttributeError, ValueError, OSError):
        return Check("memory", True, "free memory is not known on this system")
    ok = free > 1.5
    return Check("memory", ok, f"{free:.1f} GiB free" + ("" if ok else "; 1.5 GiB is needed, close something"))


def _writable() -> Check:
    try:
        with tempfile.NamedTemporaryFile(dir=Path.cwd()):
            pass
    except OSError as error:
        return Check("write access", False, f"cannot write in {Path.cwd()} ({error.strerror})")
    return Check("write access", True, f"{shutil.disk_usage(Path.cwd()).free / 2**30:.0f} GiB free in this folder")


def _embedded() -> Check:
    try:
        return Check("embedded scenes", True, f"{len(load_scenes('embedded', 'train'))} for training, no download")
    except DataError as error:
        return Check("embedded scenes", False, str(error))


def _data() -> Check:
    root = os.environ.get(DATA_VARIABLE)
    if not root:
        return Check("real data", True, f"{DATA_VARIABLE} is not set; everything runs on the embedded scenes")
    present = [name for name in NAMED_SETS if (Path(root) / name).is_dir()]
    return Check(
        "real data", bool(present), ", ".join(present) or f"{DATA_VARIABLE} names a folder with no known data set"
    )


def _features() -> Check:
    try:
        return Check("VGG-16 features", True, load_vgg16().label)
    except WeightsError as error:
        return Check("VGG-16 features", False, str(error))


def _model() -> Check:
    path = MODELS / "default" / "model.safetensors"
    if not path.is_file():
        return Check("model that ships", False, f"{path} is missing; `hsds fuse` needs --model")
    return Check("model that ships", True, f"{path.stat().st_size / 1e6:.1f} MB; its card is beside it")
