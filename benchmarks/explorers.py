"""Milliseconds from a key to the changed view, by explorer: in JupyterLab, in Voila and on a page without a kernel.

The browser test measures them; this runs it and makes a table. Needs Chromium (see tests/browser).

python benchmarks/explorers.py [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PLACES = ("page", "Voila", "JupyterLab")


def measure() -> list[dict[str, Any]]:
    """Times of every move, by place and explorer."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "latencies.json"
        command = [sys.executable, "-m", "pytest", "tests/browser", "-q", "-p", "no:cacheprovider", "--latencies"]
        done = subprocess.run([*command, str(file)], cwd=ROOT, capture_output=True, text=True)
        if done.returncode or not file.is_file():
            raise SystemExit(f"the browser tests did not pass, so nothing was measured:\n{done.stdout[-3000:]}")
        return json.loads(file.read_text(encoding="utf-8"))


def main() -> None:
    """Print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = measure()
    load = os.getloadavg()[0]
    if options.json:
        json.dump({"cpus": os.cpu_count(), "load": load, "rows": rows}, sys.stdout, indent=2)
        print()
        return
    print(f"median ms (slowest) from a key to the changed view; {os.cpu_count()} CPUs, load {load:.1f}")
    print(f"{'explorer':16}" + "".join(f"{place:>18}" for place in PLACES) + f"{'moves':>8}")
    found = {(row["explorer"], row["place"]): row["ms"] for row in rows}
    for name in sorted({row["explorer"] for row in rows}):
        times = [found[name, place] for place in PLACES]
        cells = "".join(f"{statistics.median(ms):>10.0f} ({max(ms):>4.0f})" + " " for ms in times)
        print(f"{name:16}{cells}{min(map(len, times)):>8}")


if __name__ == "__main__":
    main()
