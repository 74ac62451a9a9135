"""SICE, of archives fetched by hand: ``python data_scripts/sice.py --from Dataset_Part1.zip --from Dataset_Part2.zip``."""

from hsds_lib.data.commands import run_script

if __name__ == "__main__":
    run_script("prepare", "sice")
