"""Natural photographs: COCO val2017 into ``coco/``; with ``--images 64`` so many of them, without the whole archive."""

from hsds_lib.data.commands import run_script

if __name__ == "__main__":
    run_script("fetch", "coco")
