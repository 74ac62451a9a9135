"""The file of a trained network: weights, and in its metadata the genotype they belong to."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from hsds_lib.network.fusion_net import FusionNet, derive
from hsds_lib.network.genotype import Genotype
from hsds_lib.runtime import atomic_path, file_hash, named_hash, parse_json, pick_device, read_json, read_tensors

MODELS = Path(__file__).parents[1] / "models"
"""The models that ship; each is a folder with weights, genotype, loss weights and card."""
SHIPPED = {
    "default": "searched and trained with losses of the pair; what `hsds fuse` uses",
    "paper": "searched and trained with the losses of the paper alone",
    "released": "the structure that the paper's authors published, trained like the default",
}
"""Their names, and what each of them is; sizes, data and scores are in their cards."""


MODEL, PARTIAL, PROVENANCE = "model.safetensors", "model.partial.safetensors", "training_provenance.json"
"""Files of a run: its model, the one of a training that is not finished, and what is known of the first."""


class ModelError(ValueError):
    """There is no usable model at the place that was named."""


def load_model(source: str | Path = "default", *, device: str = "auto") -> FusionNet:
    """Load a trained network in evaluation mode: one of ``SHIPPED``, a run folder, or a ``.safetensors`` file.

    ModelError if there are no trained weights, or not in a file this library wrote; an untrained network is never
    returned. ValueError if the device is not present.

    Example:
        >>> network = load_model("default", device="cpu")
        >>> network.training, network.width
        (False, 0.25)
    """
    path = model_file(source)
    try:
        metadata, tensors = read_tensors(path)
    except ValueError as error:
        raise ModelError(f"{error}; copy or train it again") from None
    if not {"network", "genotype"} & set(metadata):
        raise ModelError(f"{path} does not say which genotype it belongs to; use a file that `hsds train` wrote")
    try:
        one_by_one = ", ".join(f'"{name}": {metadata.get(name)}' for name in sorted(_EARLIER))  # in the first files
        described = parse_json(metadata.get("network", f"{{{one_by_one}}}"), f"{path} is odd", "train it again")
        if set(described) - _EARLIER and described.pop("sha256") != _checksum(described, tensors):
            raise ModelError(f"{path} is damaged: it does not match its checksum; copy or train it again")
        genotype = Genotype.model_validate(described["genotype"])
        network = derive(genotype, separate_statistics=described["separate_statistics"])
        network.load_state_dict(tensors)
        done, total = described.get("epochs") or (1, 1)
    except ModelError:
        raise
    except (ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise ModelError(f"{path} holds weights and a genotype that do not fit; copy or train it again") from error
    if done < total:
        warnings.warn(f"{path} is half-trained: {done} of {total} epochs; `hsds train` ends it", stacklevel=2)
    return network.to(pick_device(device)).eval()


_EARLIER = {"genotype", "separate_statistics"}  # what files of an earlier version say; they have no checksum


def _checksum(described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """A hash of all that the file says, but itself."""
    return hashlib.sha256(f"{json.dumps(described, sort_keys=True)} {named_hash(tensors)}".encode()).hexdigest()


def model_file(source: str | Path) -> Path:
    """Find the weights of a trained network, named as for :func:`load_model`; ModelError if there are none.

    A run folder holds the model that its ``training_provenance.json`` tells of, under its name or, where a training
    was killed in its last step, still as ``PARTIAL``. Another one is a ModelError.
    """
    path = MODELS / source if str(source) in SHIPPED else Path(source)
    if path.is_dir():
        folder, path = path, path / MODEL
        wanted, there = described_model(folder), [one for one in (path, folder / PARTIAL) if one.is_file()]
        meant = [one for one in there if wanted in (None, file_hash(one))]
        if path in there and not meant:
            raise ModelError(
                f"{path} is not the model of {PROVENANCE} beside it; train it again, or name the file itself"
            )
        path = meant[0] if meant and wanted else path
    if not path.is_file():
        half = f"; the training there is not finished, so go on with it or give {PARTIAL} to use it as it is"
        more = half if path.with_name(PARTIAL).is_file() else "; give a run folder after `hsds train`, or a file"
        raise ModelError(f"no trained model at {path}{more}")
    return path


def described_model(folder: Path) -> str | None:
    """SHA-256 of the model that a run's provenance tells of; None if it does not say, as earlier ones do not."""
    if not (folder / PROVENANCE).is_file():
        return None
    origin = read_json(folder / PROVENANCE)
    return origin.get("model_sha256") if isinstance(origin, dict) else None


def save_model(network: FusionNet, path: str | Path, *, epochs: tuple[int, int] | None = None) -> None:
    """Write weights and, in the file's metadata, the genotype they belong to, as one safetensors file, atomically.

    ``epochs`` are those done and those meant: of a half-trained network ``load_model`` warns. A checksum is in the
    metadata too. Equal networks give equal files. ValueError for a supernet, which has no genotype.
    """
    if network.mix is None:
        raise ValueError("a supernet has no genotype of its own; derive a network first")
    genotype = Genotype.from_mix(network.mix.double().cpu(), width=network.width)
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    described: dict[str, Any] = {
        "genotype": genotype.model_dump(),
        "separate_statistics": network.separate_statistics,
        "epochs": epochs,
    }
    described["sha256"] = _checksum(described, tensors)
    metadata = {"network": json.dumps(described)}  # safetensors writes several entries in random order
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)
