"""``python -m hsds_lib`` is the same as ``hsds``."""

from __future__ import annotations

from hsds_lib.cli import main

if __name__ == "__main__":
    main()
