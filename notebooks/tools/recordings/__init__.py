"""What explorers show that takes too long to compute anew: ``python -m notebooks.tools.recordings.NAME``."""

import argparse
from collections.abc import Callable
from pathlib import Path

from hsds_lib.course.recording import FOLDER


def main(record: Callable[[Path], None], name: str) -> None:
    """Record what the explorer of this name shows, and write the file that ships or the one asked for."""
    parser = argparse.ArgumentParser(description=f"Record what the explorer {name} shows.")
    parser.add_argument("--out", type=Path, default=FOLDER / f"{name}.zip")
    record(parser.parse_args().out)
