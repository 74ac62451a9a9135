"""The operations, the mixture of them, and the softmax over those that are alive."""

from __future__ import annotations

import pytest
import torch

from hsds_lib.network.genotype import NODES
from hsds_lib.network.operations import PRIMITIVES, MixedOp, Operation, batch_statistics, kernel, softmax_active

SHAPE = (len(NODES), len(PRIMITIVES))


@pytest.mark.parametrize("primitive", PRIMITIVES)
def test_operation_keeps_the_size_and_is_not_negative(primitive: str) -> None:
    torch.manual_seed(0)
    out = Operation(primitive, 2, 3)(torch.randn(2, 2, 13, 9))
    assert out.shape == (2, 3, 13, 9)
    assert out.min() >= 0 and out.max() > 0


@pytest.mark.parametrize(("primitive", "reach"), [("conv_1x5", (0, 2)), ("conv_5x1", (2, 0)), ("dil_7x7", (6, 6))])
def test_kernel_names_are_height_by_width(primitive: str, reach: tuple[int, int]) -> None:
    conv = Operation(primitive, 1, 1).conv
    torch.nn.init.ones_(conv.weight)
    pulse = torch.zeros(1, 1, 21, 21)
    pulse[..., 10, 10] = 1
    touched = conv(pulse)[0, 0].nonzero() - 10
    assert tuple(touched.abs().amax(dim=0).tolist()) == reach


def test_unknown_operation_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="'conv_9x9' is unknown; choose one of conv_1x1"):
        kernel("conv_9x9")


def test_mixed_op_is_the_weighted_sum_of_its_operations() -> None:
    torch.manual_seed(0)
    node, x = MixedOp(PRIMITIVES, 1, 2).eval(), torch.rand(1, 1, 8, 8)
    mix = torch.rand(len(PRIMITIVES))
    expected = sum(mix[k] * node.operations[name](x) for k, name in enumerate(PRIMITIVES))
    torch.testing.assert_close(node(x, mix), expected)


def test_removed_operation_is_physically_gone() -> None:
    node = MixedOp(PRIMITIVES, 1, 2)
    before = sum(weight.numel() for weight in node.parameters())
    node.remove("conv_7x7")
    assert before - sum(weight.numel() for weight in node.parameters()) == 49 * 2 + 2 + 2
    with pytest.raises(ValueError, match="cannot remove 'conv_7x7'"):
        node.remove("conv_7x7")


def test_the_last_operation_cannot_be_removed() -> None:
    with pytest.raises(ValueError, match="cannot remove"):
        MixedOp(["conv_1x1"], 1, 1).remove("conv_1x1")


def test_batch_statistics_normalise_by_the_batch_and_record_nothing() -> None:
    torch.manual_seed(0)
    operation, x = Operation("conv_3x3", 1, 4), torch.randn(2, 1, 9, 9) * 3 + 1
    recorded = {name: value.clone() for name, value in operation.norm.named_buffers()}
    training = operation.train()(x)
    moved = operation.norm.running_mean.clone()
    assert not torch.equal(moved, recorded["running_mean"])
    with batch_statistics(operation.eval()):
        torch.testing.assert_close(operation(x), training)
    assert torch.equal(operation.norm.running_mean, moved)
    assert not operation.norm.training and operation.norm.record


def test_softmax_over_active_operations_is_uniform_at_the_start() -> None:
    mix = softmax_active(torch.zeros(SHAPE), torch.ones(SHAPE, dtype=torch.bool))
    torch.testing.assert_close(mix, torch.full(SHAPE, 1 / len(PRIMITIVES)))


def test_softmax_gives_removed_operations_exactly_zero_weight_and_gradient() -> None:
    alpha = torch.tensor([[3.0, 1.0, 50.0]], requires_grad=True)
    mix = softmax_active(alpha, torch.tensor([[True, True, False]]))
    assert mix[0, 2] == 0
    torch.testing.assert_close(mix.sum(), torch.tensor(1.0))
    mix[0, 0].backward()
    assert alpha.grad is not None and alpha.grad[0, 2] == 0 and alpha.grad[0, 0] != 0


@pytest.mark.parametrize("size", [(12, 16), (11, 16)])
@pytest.mark.parametrize("primitive", ["dil_3x3", "dil_5x5", "dil_7x7"])
def test_channels_last_gives_the_same_values_and_gradients(primitive: str, size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    operation = Operation(primitive, 4, 6).double().eval()
    values = torch.randn(2, 4, *size, dtype=torch.float64, generator=generator)
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        x = values.clone(memory_format=layout).requires_grad_()
        operation.zero_grad()
        operation(x).square().sum().backward()
        assert x.grad is not None and operation.conv.weight.grad is not None
        results.append((operation(x), x.grad, operation.conv.weight.grad.clone()))
    for plain, last in zip(*results, strict=True):
        torch.testing.assert_close(last, plain, rtol=1e-12, atol=1e-12)
