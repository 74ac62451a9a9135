"""On what a report was computed: the processor by its name, its cores, the GPU if there is one."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

_CPU_FACTS = Path("/proc/cpuinfo")


@cache
def machine_facts() -> dict[str, Any]:
    """Name of the processor, number of its cores, and name of the GPU or None."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": cpu_name(), "cores": os.cpu_count(), "gpu": gpu}


def cpu_name() -> str:
    """The processor's name as its maker writes it; where the system does not tell, its architecture."""
    if platform.system() == "Linux":
        found = _linux()
    elif platform.system() == "Darwin":
        found = _mac()
    else:
        found = platform.processor()
    return " ".join(found.split()) or platform.machine()


def _linux() -> str:
    if not _CPU_FACTS.is_file():
        return ""
    facts = (line.partition(":") for line in _CPU_FACTS.read_text(encoding="utf-8", errors="replace").splitlines())
    return next((value for name, _, value in facts if name.strip() == "model name"), "")  # ARM has no such line


def _mac() -> str:
    command = ["sysctl", "-n", "machdep.cpu.brand_string"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
