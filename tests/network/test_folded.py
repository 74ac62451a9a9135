"""The folded network gives the pictures of the network it was made from, and refuses what cannot be folded."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hsds_lib.network.folded import FoldedConv, FoldedNode, fold
from hsds_lib.network.fusion_net import FusionNet, Supernet, derive, receptive_radius
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.model_file import MODELS, load_model
from hsds_lib.network.operations import PRIMITIVES, BatchNorm, MixedOp
from hsds_lib.runtime import fingerprint

SHAPE = (len(NODES), len(PRIMITIVES))

SIZES = [(1, 1), (2, 3), (7, 5), (16, 16), (37, 51)]
TOLERANCES = [(torch.float32, 1e-5), (torch.float64, 1e-10)]


def randomise(network: nn.Module, seed: int = 0) -> None:
    """Draw weights and statistics that no default hides: scales of both signs, means, variances."""
    generator = torch.Generator().manual_seed(seed)

    def draw(values: torch.Tensor, low: float, high: float) -> None:
        values.copy_(low + (high - low) * torch.rand(values.shape, generator=generator))

    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, BatchNorm):
                draw(module.weight, -0.5, 1.0)
                draw(module.bias, -0.3, 0.5)
                draw(module.running_mean, -0.2, 0.2)
                draw(module.running_var, 0.3, 1.5)
            elif isinstance(module, nn.Conv2d) and module.out_channels > 1:
                fan = module.weight[0].numel()
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator) / fan**0.5)
            elif isinstance(module, nn.Conv2d):  # the reconstruction, which starts almost without structure
                module.weight.mul_(4)


def every_operation(*, separate_statistics: bool = False) -> FusionNet:
    """A small network in which every operation occurs, in node after node three of them."""
    held = [[PRIMITIVES[(3 * number + step) % len(PRIMITIVES)] for step in (0, 1, 5)] for number in range(len(NODES))]
    nodes = {node: dict(zip(names, (0.5, 0.3, 0.2), strict=True)) for node, names in zip(NODES, held, strict=True)}
    network = derive(Genotype(nodes=nodes, width=0.125), separate_statistics=separate_statistics).eval()
    randomise(network)
    return network


def released() -> FusionNet:
    """The released genotype at width 1, with random weights and statistics."""
    network = derive(Genotype(nodes=Genotype.load(MODELS / "released" / "genotype.json").nodes)).eval()
    randomise(network)
    return network


def assert_same(network: FusionNet, size: tuple[int, int], dtype: torch.dtype, tolerance: float) -> None:
    network = network.to(dtype)
    pair = torch.rand(2, 2, *size, generator=torch.Generator().manual_seed(1), dtype=dtype)
    with torch.no_grad():
        expected = network(pair)
    fused = fold(network)(pair)
    assert fused.dtype == dtype and fused.shape == expected.shape
    torch.testing.assert_close(fused, expected, rtol=0, atol=tolerance)
    # Not because everything sits in the flat ends of tanh.
    assert expected.numel() < 100 or (expected.std() > 0.01 and expected.abs().median() < 0.9)


@pytest.mark.parametrize("separate_statistics", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
@pytest.mark.parametrize("size", SIZES)
def test_folding_changes_no_picture(
    size: tuple[int, int], dtype: torch.dtype, tolerance: float, separate_statistics: bool
) -> None:
    assert_same(every_operation(separate_statistics=separate_statistics), size, dtype, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
def test_the_released_genotype_folds(dtype: torch.dtype, tolerance: float) -> None:
    assert_same(released(), (23, 30), dtype, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
def test_the_model_that_ships_folds(dtype: torch.dtype, tolerance: float) -> None:
    assert_same(load_model("default", device="cpu"), (61, 48), dtype, tolerance)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_layout_of_the_input_does_not_matter(layout: torch.memory_format) -> None:
    folded = fold(every_operation())
    pair = torch.rand(1, 2, 14, 18, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(folded(pair.contiguous(memory_format=layout)), folded(pair), rtol=0, atol=1e-6)


def test_every_node_gives_channels_last_even_from_one_channel() -> None:
    for node in fold(every_operation()).nodes.values():
        assert isinstance(node, FoldedNode)
        first = next(iter(node.operations.values()))[0]
        assert isinstance(first, FoldedConv)
        out = node(torch.rand(1, first.weight.shape[1], 6, 8))
        assert out.stride() == out.contiguous(memory_format=torch.channels_last).stride() and out.stride(1) == 1


def test_a_folded_network_is_a_copy_that_leaves_its_origin_and_its_input_alone() -> None:
    network = every_operation()
    pair = torch.rand(1, 2, 12, 12)
    before, given = fingerprint(network.state_dict().values()), pair.clone()
    folded = fold(network)
    fused = folded(pair)
    assert fingerprint(network.state_dict().values()) == before and torch.equal(pair, given)
    randomise(network, seed=5)
    assert torch.equal(folded(pair), fused)
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def test_a_folded_network_sees_as_far() -> None:
    network = every_operation()
    assert receptive_radius(fold(network)) == receptive_radius(network)


def test_a_node_weight_of_zero_and_one_operation_alone_fold() -> None:
    node = MixedOp(["conv_3x3", "conv_1x1"], 2, 3).eval()
    mix, x = torch.zeros(len(PRIMITIVES)), torch.rand(1, 2, 5, 5)
    mix[PRIMITIVES.index("conv_1x1")] = 1.0
    torch.testing.assert_close(FoldedNode(node, mix)(x), node(x, mix))


def test_a_supernet_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no node weights of its own.*give what derive\(\) returns"):
        fold(Supernet(width=0.0625).eval())


def test_training_mode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"training mode; call network\.eval\(\)"):
        fold(every_operation().train())


def test_negative_node_weights_are_refused() -> None:
    operations = dict.fromkeys(NODES, ("conv_1x1",))
    with pytest.raises(ValueError, match=r"negative node weights.*give weights from 0 up"):
        fold(FusionNet(operations, width=0.125, mix=torch.full(SHAPE, -0.5)).eval())
