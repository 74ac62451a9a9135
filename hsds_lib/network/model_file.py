"""The file of a trained network: weights, and in its metadata the genotype they belong to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from hsds_lib.network.fusion_net import FusionNet, derive
from hsds_lib.network.genotype import Genotype
from hsds_lib.runtime import atomic_path, pick_device

MODELS = Path(__file__).parents[1] / "models"
"""The models that ship; each is a folder with weights, genotype, loss weights and card."""
SHIPPED = {
    "default": "searched and trained with losses of the pair; what `hsds fuse` uses",
    "paper": "searched and trained with the losses of the paper alone",
    "released": "the structure that the paper's authors published, trained like the default",
}
"""Their names, and what each of them is; sizes, data and scores are in their cards."""


class ModelError(ValueError):
    """There is no usable model at the place that was named."""


def load_model(source: str | Path = "default", *, device: str = "auto") -> FusionNet:
    """Load a trained network in evaluation mode: one of ``SHIPPED``, a run folder, or a ``.safetensors`` file.

    ModelError if there are no trained weights, or not in a file this library wrote; an untrained network is never
    returned. ValueError if the device is not present.

    Example:
        >>> network = load_model("default", device="cpu")
        >>> network.training, network(torch.rand(1, 2, 5, 7)).shape
        (False, torch.Size([1, 1, 5, 7]))
    """
    path = model_file(source)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ModelError(f"{path} is not a readable safetensors file ({error}); copy or train it again") from None
    if not {"network", "genotype"} & set(metadata):
        raise ModelError(f"{path} does not say which genotype it belongs to; use a file that `hsds train` wrote")
    try:
        described = _described(metadata)
        genotype = Genotype.model_validate(described["genotype"])
        network = derive(genotype, separate_statistics=described["separate_statistics"])
        network.load_state_dict(tensors)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ModelError(f"{path} holds weights and a genotype that do not fit; copy or train it again") from error
    return network.to(pick_device(device)).eval()


def _described(metadata: dict[str, str]) -> dict[str, Any]:
    """Genotype and kind of statistics: one entry now, one for each in files of an earlier version."""
    if "network" in metadata:
        return json.loads(metadata["network"])
    return {name: json.loads(metadata[name]) for name in ("genotype", "separate_statistics")}


def model_file(source: str | Path) -> Path:
    """Find the weights of a trained network, named as for :func:`load_model`; ModelError if there are none."""
    path = MODELS / source if str(source) in SHIPPED else Path(source)
    if path.is_dir():
        path = path / "model.safetensors"
    if not path.is_file():
        raise ModelError(f"no trained model at {path}; give a run folder after `hsds train`, or a .safetensors file")
    return path


def save_model(network: FusionNet, path: str | Path) -> None:
    """Write weights and, in the file's metadata, the genotype they belong to, as one safetensors file, atomically.

    Equal networks give equal files, which ``load_model`` reads. ValueError for a supernet, which has no genotype.
    """
    if network.mix is None:
        raise ValueError("a supernet has no genotype of its own; derive a network first")
    genotype = Genotype.from_mix(network.mix.double().cpu(), width=network.width)
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    described = {"genotype": genotype.model_dump(), "separate_statistics": network.separate_statistics}
    metadata = {"network": json.dumps(described)}  # safetensors writes several entries in random order
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)
