"""The SICE sample: 4 triples with a reference and 8 pairs into ``sice_sample/``."""

from data_scripts.commands import run_script

if __name__ == "__main__":
    run_script("fetch", "sice_sample")
