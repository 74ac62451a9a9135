"""The recorded passes of the search: same values, same gradients, exact tangents, less memory."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from hsds_lib.network.fusion_net import Supernet
from hsds_lib.network.genotype import NODES
from hsds_lib.network.operations import PRIMITIVES, BatchNorm, batch_statistics
from hsds_lib.network.tape import Tape, recording, replaying
from hsds_lib.runtime import seeded

SHAPE = (len(NODES), len(PRIMITIVES))

every_tape = pytest.mark.parametrize("keep", [True, False], ids=["kept", "computed again"])


@pytest.fixture
def network() -> Supernet:
    with seeded(0):
        network = Supernet(width=0.0625).double()
        for module in network.modules():
            if isinstance(module, BatchNorm):  # not the trivial 1 and 0 of the start
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.bias, std=0.3)
        network.remove("x_3", "conv_7x7")  # nodes of different sizes
    return network


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, Tensor]:
    """A pair of odd size, logits, and a slope of the output."""
    rng = torch.Generator().manual_seed(1)
    pair = torch.rand(2, 2, 18, 21, generator=rng, dtype=torch.float64)
    alpha = torch.randn(SHAPE, generator=rng, dtype=torch.float64, requires_grad=True)
    return pair, alpha, torch.randn(2, 1, 18, 21, generator=rng, dtype=torch.float64)


@every_tape
def test_recorded_pass_has_the_values_and_gradients_of_autograd(network: Supernet, inputs, keep: bool) -> None:
    pair, alpha, slope = inputs
    weights = list(network.parameters())
    with batch_statistics(network):
        plain = network(pair, alpha.softmax(1))
        expected = torch.autograd.grad((plain * slope).sum(), [alpha, *weights])
        with recording(network, Tape(keep=keep)) as tape:
            fused = network(pair, alpha.softmax(1))
    assert torch.equal(fused, plain)
    found = list(torch.autograd.grad((fused * slope).sum(), weights, retain_graph=True))
    tape.weights_wanted = False
    found.insert(0, torch.autograd.grad((fused * slope).sum(), alpha)[0])
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= 1e-10 * other.norm() + 1e-12


def test_recorded_training_pass_updates_running_statistics_alike(network: Supernet, inputs) -> None:
    pair, alpha, _ = inputs
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network(pair, alpha.softmax(1))
    expected = {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(before)
    with recording(network, Tape()):
        network(pair, alpha.softmax(1))
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())
    assert any(not torch.equal(before[name], expected[name]) for name in before)


@every_tape
def test_replayed_tangent_is_that_of_forward_mode_at_the_recorded_weights(
    network: Supernet, inputs, keep: bool
) -> None:
    pair, alpha, _ = inputs
    mix, rng = alpha.softmax(1).detach(), torch.Generator().manual_seed(2)
    omega = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    v = {name: torch.randn(weight.shape, generator=rng, dtype=torch.float64) for name, weight in omega.items()}
    with torch.no_grad(), batch_statistics(network):
        expected = torch.func.jvp(lambda w: torch.func.functional_call(network, w, (pair, mix)), (omega,), (v,))[1]
        with recording(network, Tape(keep=keep)) as tape:
            fused = network(pair, mix)
        for weight in network.parameters():  # as an optimiser would, in place
            weight.mul_(1.1)
        with forward_ad.dual_level(), replaying(network, tape, omega, v):
            rest = {n: forward_ad.make_dual(w, v[n]) for n, w in omega.items() if not n.startswith("nodes.")}
            again, tangent = forward_ad.unpack_dual(torch.func.functional_call(network, rest, (pair, mix)))
    assert torch.allclose(again, fused, rtol=1e-12)
    assert (tangent - expected).norm() < 1e-12 * expected.norm()


def test_second_derivative_through_a_recorded_pass_is_refused(network: Supernet, inputs) -> None:
    pair, alpha, slope = inputs
    with batch_statistics(network), recording(network, Tape()):
        fused = network(pair, alpha.softmax(1))
    (first,) = torch.autograd.grad((fused * slope).sum(), alpha, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.square().sum().backward()


def test_nodes_are_as_before_after_the_block_even_when_it_fails(network: Supernet, inputs) -> None:
    pair, alpha, _ = inputs
    with pytest.raises(RuntimeError), recording(network, Tape()):
        network(pair[:, :, :, :0], alpha.softmax(1))
    assert all(network.node(name).compute is None for name in network.nodes)


def test_tape_holds_no_graph(network: Supernet, inputs) -> None:
    pair, alpha, _ = inputs
    with batch_statistics(network), recording(network, Tape()) as tape:
        network(pair, alpha.softmax(1))
    held = [
        tensor
        for call in tape.calls
        for tensor in (call.x, call.mix, call.out, *sum((part.weights for part in call.parts), ()))
    ]
    assert len(tape.calls) == 23 and all(tensor.grad_fn is None and not tensor.requires_grad for tensor in held)
