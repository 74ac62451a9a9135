"""What explorers show that takes too long to compute anew: ``python -m notebooks.tools.recordings.NAME``."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from hsds_lib.arguments import require_words
from hsds_lib.course.recording import FOLDER, read_recording
from hsds_lib.outputs import place_of


def main(record: Callable[[Path], None], name: str) -> None:
    """Record what the explorer of this name shows, and write the file that ships or the one asked for."""
    parser = argparse.ArgumentParser(description=f"Record what the explorer {name} shows.")
    parser.add_argument("--out", type=Path, default=FOLDER / f"{name}.zip")
    record(place_for(parser.parse_args().out, parser))


def place_for(out: Path, parser: argparse.ArgumentParser) -> Path:
    """Give the place of a recording back, or end with a sentence: what is there already is none."""
    try:
        require_words(sys.argv[1:])
        if place_of(out).exists():
            read_recording(place_of(out))
    except (ValueError, OSError) as error:
        parser.error(str(error))
    return place_of(out)
