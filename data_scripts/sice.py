"""SICE, of archives fetched by hand: ``python data_scripts/sice.py --from Part1.zip --from Part2.zip``."""

from hsds_lib.data.commands import run_script

if __name__ == "__main__":
    run_script("prepare", "sice")
