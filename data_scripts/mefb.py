"""MEFB: 40 pairs for training and validation into ``mefb/``; with ``--split test`` 60 for final evaluation, apart."""

from data_scripts.commands import run_script

if __name__ == "__main__":
    run_script("fetch", "mefb")
