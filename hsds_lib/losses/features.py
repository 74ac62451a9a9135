"""VGG-16 features for the perceptual terms (Table 1) and for the contrast (Eq. 3), without torchvision."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hsds_lib.runtime import RunError, atomic_path, file_hash, fingerprint, read_tensors

WEIGHTS_URL = "https://download.pytorch.org/models/vgg16-397923af.pth"
WEIGHTS_SHA256 = "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"
BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512,))  # channels of the convolutions up to relu5_1
LAYERS = tuple(f"relu{b}_{c}" for b, block in enumerate(BLOCKS, 1) for c in range(1, len(block) + 1))
PERCEPTUAL_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")  # of Table 1 row 4
CONTRAST_LAYERS = ("relu2_2", "relu3_3", "relu5_1")  # of Eq. 3
SHIPPED_WEIGHTS = Path(__file__).with_name("vgg16.safetensors")
SHIPPED_SHA256 = "f64b0d4c816eddb2ae4476b6079143f67c2314e68751cd7855839e39f5b634ca"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Source = Literal["imagenet", "random", "torchvision"]
LABELS: dict[str, str] = {
    "imagenet": "ImageNet VGG-16 features",
    "random": "random VGG-16 features: not comparable with the paper",
    "torchvision": "torchvision's ImageNet VGG-16 features",
}
"""The weights that there are: Oxford's, which ship; drawn ones; and those that the authors used."""

Features = dict[str, Tensor]


@dataclass
class Trace:
    """What a pass through VGG-16 leaves behind for ``feature_tangents``, by layer in order.

    ``activations`` are the outputs of every convolution after its ReLU, without a graph; ``pooled`` says, for layers
    behind a pooling, which pixels it took.
    """

    activations: Features = field(default_factory=dict)
    pooled: Features = field(default_factory=dict)


class WeightsError(RunError):
    """The VGG-16 weight file is missing, could not be downloaded, or is not the published one."""


class VGG16(nn.Module):
    """The convolutions of VGG-16 up to relu5_1, frozen; make it with ``load_vgg16``.

    ``source`` is one of ``LABELS``, which also have its ``label`` for plots and reports.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        self.label = LABELS[source]
        # Plain parameters: the constructor of a convolution would draw from the global generator. Channels last: torch
        # convolves a fifth faster so, on a CPU.
        self.weights, self.biases = nn.ParameterDict(), nn.ParameterDict()
        channels = 3
        for name, width in zip(LAYERS, (width for block in BLOCKS for width in block), strict=True):
            empty = torch.empty(width, channels, 3, 3, memory_format=torch.channels_last)
            self.weights[name] = nn.Parameter(empty)
            self.biases[name] = nn.Parameter(torch.empty(width))
            channels = width
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> VGG16:
        """Stay in evaluation mode: this network is a ruler, never trained."""
        return super().train(False)

    def forward(self, image: Tensor, layers: Sequence[str], *, trace: Trace | None = None) -> Features:
        """Encode images in [0, 1], ``(B, 1, H, W)`` (repeated to three channels) or RGB ``(B, 3, H, W)``.

        ImageNet mean and standard deviation are applied here, and gradients flow to the image. Layers are named as
        ``"relu2_2"`` (block 2, second convolution, after the ReLU): one ``(B, C, H / 2**(block - 1), W / 2**(block -
        1))``, rounded down, for each. A trace, if given, is filled with what forward mode needs. ValueError for an
        unknown layer, a wrong shape, or an image too small for the deepest layer.
        """
        wanted = set(layers)
        _check_request(image, wanted)
        deepest = max(wanted, key=LAYERS.index)
        x = (image.expand(-1, 3, -1, -1) - self.mean) / self.std
        features: Features = {}
        for name in LAYERS[: LAYERS.index(deepest) + 1]:
            if name.endswith("_1") and name != LAYERS[0]:
                x, chosen = F.max_pool2d(x, 2, return_indices=True)
                if trace is not None:
                    trace.pooled[name] = chosen
            # Not in place: earlier features must stay what they are, for the losses and for autograd.
            x = F.relu(F.conv2d(x, self.weights[name], self.biases[name], padding=1))
            if trace is not None:
                trace.activations[name] = x.detach()
            if name in wanted:
                features[name] = x
        return features


def load_vgg16(source: Source = "imagenet", *, seed: int = 0, path: str | Path | None = None) -> VGG16:
    """Make a frozen VGG-16 trunk, whose ``source`` and ``label`` say which weights it has.

    ``"imagenet"`` are Oxford's, which ship with the library: float16, every layer rescaled to a mean activation of 1.
    ``"torchvision"`` reads the weights that the authors used: from ``path``, else from the cache (first what ``hsds
    data fetch vgg16`` keeps), else downloads 528 MB into the cache. ``"random"`` draws He-normal weights from ``seed``:
    a judge that is nearly blind. WeightsError if the weights cannot be had or the file is another; ValueError for an
    unknown source.
    """
    if source not in LABELS:
        raise ValueError(f"VGG-16 source is {source!r}; choose {', '.join(map(repr, LABELS))}")
    if source == "random":
        return _random_vgg16(seed)
    if source == "imagenet":
        return _read_shipped()
    file = Path(path) if path is not None else _cached()
    if not file.is_file():
        if path is not None:
            raise WeightsError(f"{file} does not exist; give the file {Path(WEIGHTS_URL).name} or leave the path out")
        _download(file)
    return _read_converted(file) if file.suffix == ".safetensors" else _read_published(file)


def save_vgg16(network: VGG16, file: str | Path) -> None:
    """Keep the convolutions of torchvision's weights as safetensors, a tenth of the published file, atomically.

    ValueError for a network of another source.
    """
    from safetensors.torch import save_file

    if network.source != "torchvision":
        raise ValueError(f"the source is '{network.source}'; only the weights of 'torchvision' are kept in a file")
    tensors = {name: tensor.contiguous() for name, tensor in _convolutions(network).items()}
    proof = {"source_sha256": WEIGHTS_SHA256, "tensors_sha256": fingerprint(tensors.values())}
    with atomic_path(file) as temporary:
        save_file(tensors, temporary, metadata=proof)


def vgg16_cache_path() -> Path:
    """Say where the published ImageNet weights are cached for this user; the file need not exist."""
    import pooch

    return Path(pooch.os_cache("hsds-mef")) / Path(WEIGHTS_URL).name


def _cached() -> Path:
    """The converted file where there is one, else the published one, which need not be there."""
    published = vgg16_cache_path()
    converted = published.with_suffix(".safetensors")
    return converted if converted.is_file() else published


def _convolutions(network: VGG16) -> dict[str, Tensor]:
    kinds = {"weights": network.weights, "biases": network.biases}
    return {f"{kind}.{name}": values[name].data for kind, values in kinds.items() for name in LAYERS}


def _read_converted(file: Path) -> VGG16:
    network = VGG16("torchvision")
    wanted = _convolutions(network)
    try:
        proof, stored = read_tensors(file)
        for name, tensor in wanted.items():
            tensor.copy_(stored[name])
    except (ValueError, KeyError, RuntimeError) as error:  # RuntimeError: of another shape
        raise WeightsError(f"{file} is damaged ({error}); delete it and run `hsds data fetch vgg16`") from error
    if (proof.get("source_sha256"), proof.get("tensors_sha256")) != (WEIGHTS_SHA256, fingerprint(wanted.values())):
        raise WeightsError(f"{file} does not hold the published VGG-16; delete it and run `hsds data fetch vgg16`")
    return network


def _read_shipped() -> VGG16:
    """Oxford's weights, as data_scripts/oxford_vgg16.py wrote them."""
    if not SHIPPED_WEIGHTS.is_file() or file_hash(SHIPPED_WEIGHTS) != SHIPPED_SHA256:
        raise WeightsError(f"{SHIPPED_WEIGHTS} is missing or damaged; install hsds_lib again")
    network = VGG16("imagenet")
    _, stored = read_tensors(SHIPPED_WEIGHTS)
    for name, tensor in _convolutions(network).items():
        tensor.copy_(stored[name])
    return network


def _random_vgg16(seed: int) -> VGG16:
    network = VGG16("random")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name in LAYERS:
            weight = network.weights[name]
            # In the usual layout: drawing follows it, and a seed must mean the same weights for ever.
            drawn = torch.empty(weight.shape).normal_(0.0, math.sqrt(2.0 / weight[0].numel()), generator=generator)
            weight.copy_(drawn)
            network.biases[name].zero_()
    return network


def _read_published(file: Path) -> VGG16:
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != WEIGHTS_SHA256:
        raise WeightsError(
            f"{file} is not the published VGG-16 (sha256 {digest[:12]}..., not {WEIGHTS_SHA256[:12]}...); "
            f"delete it and fetch {WEIGHTS_URL} again, or use source='random'"
        )
    published = torch.load(file, map_location="cpu", weights_only=True)
    network = VGG16("torchvision")
    with torch.no_grad():
        for index, name in enumerate(LAYERS):
            position = 2 * index + int(name[4]) - 1  # the file counts ReLUs and pools too: 0, 2, 5, 7, ...
            network.weights[name].copy_(published[f"features.{position}.weight"])
            network.biases[name].copy_(published[f"features.{position}.bias"])
    return network


def _download(file: Path) -> None:
    import pooch

    # No redirects, and an auth that does nothing: else requests sends what ~/.netrc has for a host.
    show = sys.stderr.isatty()
    ask = pooch.HTTPDownloader(progressbar=show, allow_redirects=False, auth=lambda asked: asked)
    try:
        pooch.retrieve(
            WEIGHTS_URL,
            known_hash=f"sha256:{WEIGHTS_SHA256}",
            fname=file.name,
            path=file.parent,
            downloader=ask,
        )
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"the VGG-16 weights could not be downloaded from {WEIGHTS_URL} ({type(error).__name__}); "
            f"copy that file to {file} by hand, or use source='random'"
        ) from error


def _check_request(image: Tensor, wanted: set[str]) -> None:
    unknown = sorted(wanted - set(LAYERS))
    if unknown or not wanted:
        raise ValueError(f"VGG-16 layers {unknown} are not known; choose one or more of {', '.join(LAYERS)}")
    if image.dim() != 4 or image.shape[1] not in (1, 3):
        raise ValueError(f"VGG-16 got an image of shape {tuple(image.shape)}; give (B, 1, H, W) or (B, 3, H, W)")
    minimum = 2 ** (max(int(name[4]) for name in wanted) - 1)
    if min(image.shape[2:]) < minimum:
        raise ValueError(
            f"VGG-16 got an image of {image.shape[2]} x {image.shape[3]} pixels, "
            f"but {max(wanted, key=LAYERS.index)} needs at least {minimum} on each side; give a larger crop"
        )


def feature_tangents(vgg: VGG16, trace: Trace, moved: Tensor, layers: Sequence[str]) -> Features:
    """Tell how features move when the image does: forward mode through the recorded pass.

    ``moved`` is the tangent of the luminance ``(B, 1, H, W)``; one tangent in the shape of the feature for each layer,
    all of them recorded in the trace.
    """
    tangents: Features = {}
    x = moved.expand(-1, 3, -1, -1) / vgg.std
    for name, activation in trace.activations.items():
        if name in trace.pooled:
            chosen = trace.pooled[name]
            x = x.flatten(2).gather(2, chosen.flatten(2)).view(chosen.shape)
        x = F.conv2d(x, vgg.weights[name], padding=1)
        x = torch.ops.aten.threshold_backward(x, activation, 0)
        if name in layers:
            tangents[name] = x
    return tangents
