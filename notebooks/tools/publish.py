"""Turn a run into a model that ships: ``python -m notebooks.tools.publish RUN [NAME]`` writes ``hsds_lib/models/NAME``.

That is its files, its scores on the validation scenes, and an example; the card and ``validation.csv`` stay.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from hsds_lib.fusing.fuse import fuse
from hsds_lib.images.batches import Scene, load_scenes
from hsds_lib.images.classical import average, mertens
from hsds_lib.images.color import split_luma
from hsds_lib.images.io import write_rgb
from hsds_lib.losses.mef_ssim import mef_ssim_pair
from hsds_lib.network.fusion_net import FusionNet
from hsds_lib.network.model_file import MODELS, SHIPPED, load_model
from hsds_lib.runtime import read_json, write_json

METHODS = ("model", "mertens", "average")


def picture_score(fused: Tensor, under: Tensor, over: Tensor) -> float:
    """Three-scale MEF-SSIM (Ma, Zeng, Wang 2015) of the luma of an RGB picture ``(3, H, W)`` in [0, 1], as saved.

    At most 1; a side has at least 44 pixels.
    """
    images = [(image * 255).round() / 255 for image in (fused, under, over)]
    # On 8-bit luma, as the metric's authors and the tables compute it.
    fused_y, under_y, over_y = ((split_luma(image[None].double())[0] * 255).round() / 255 for image in images)
    return float(mef_ssim_pair(fused_y, under_y, over_y))


def compare(network: FusionNet, scenes: Sequence[Scene]) -> dict[str, dict[str, float]]:
    """Score the network, OpenCV's Mertens fusion and the plain average: scene to MEF-SSIM of each of ``METHODS``."""
    table = {}
    for scene in scenes:
        pictures = {
            "model": fuse(network, scene.under, scene.over),
            "mertens": mertens(scene.under, scene.over),
            "average": average(scene.under, scene.over),
        }
        table[scene.name] = {name: picture_score(pictures[name], scene.under, scene.over) for name in METHODS}
    return table


FILES = (
    *("model.safetensors", "genotype.json", "loss_weights.json"),
    *("training.jsonl", "training_provenance.json"),
)
SEARCH_FILES = ("history.jsonl", "provenance.json")  # not there where the genotype is another's
EXAMPLE_SCENE = "astronaut-2"  # of the embedded test scenes, which no training sees and which may be shown
EXAMPLE_SIDE = 400  # pixels


def publish(run: Path, target: Path) -> dict[str, float]:
    """Copy a finished run and measure it on the validation scenes of its data; returns the mean of each method.

    Raises FileNotFoundError for a run that lacks a file of the training.
    """
    missing = [name for name in FILES if not (run / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{run} is not a finished run: {', '.join(missing)} missing; search and train first")
    target.mkdir(parents=True, exist_ok=True)
    network = load_model(run, device="cpu")
    config = read_json(run / "training_provenance.json")["config"]
    data = "real" if config["data"] == "real+embedded" else config["data"]  # scored on real photographs only
    table = compare(network, load_scenes(data, "val", seed=config["seed"]))
    means = {name: sum(row[name] for row in table.values()) / len(table) for name in METHODS}
    rounded = {scene: {name: round(value, 4) for name, value in row.items()} for scene, row in table.items()}
    mean = {name: round(value, 4) for name, value in means.items()}
    for name in (*FILES, *SEARCH_FILES) if run.resolve() != target.resolve() else ():
        if (run / name).is_file():
            shutil.copyfile(run / name, target / name)
        else:  # of the search behind the model that was here
            (target / name).unlink(missing_ok=True)
    write_json(target / "validation.json", {"metric": "MEF-SSIM, three scales", "mean": mean, "scenes": rounded})
    _write_example(network, target / "example.png")
    return means


def _write_example(network: torch.nn.Module, path: Path) -> None:
    """Under, over and fused side by side, of a scene that may be shown."""
    scene = next(scene for scene in load_scenes("embedded", "test") if scene.name == EXAMPLE_SCENE)
    images = [scene.under, scene.over, fuse(network, scene.under, scene.over)]  # type: ignore[arg-type]
    scale = EXAMPLE_SIDE / images[0].shape[-2]
    large = [functional.interpolate(image[None], scale_factor=scale, mode="bicubic")[0] for image in images]
    gap = torch.ones(3, large[0].shape[-2], 8)
    write_rgb(path, torch.cat([large[0], gap, large[1], gap, large[2]], dim=2))


def main(arguments: Sequence[str] | None = None) -> None:
    """Publish a run and print the means."""
    parser = argparse.ArgumentParser(
        description="Make a finished run the model NAME that ships: replaces the files in hsds_lib/models/NAME, but "
        "for its card, and scores it on the validation scenes."
    )
    parser.add_argument("run", type=Path, help="a folder that `hsds train` filled")
    parser.add_argument("name", nargs="?", choices=list(SHIPPED), default="default")
    options = parser.parse_args(arguments)
    print(publish(options.run, MODELS / options.name))


if __name__ == "__main__":
    main()
