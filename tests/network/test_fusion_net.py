"""One wiring: sizes, counts, and a supernet that equals the network derived from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from hsds_lib.network.fusion_net import FusionNet, Supernet, derive, receptive_radius
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.model_file import MODELS, load_model, save_model
from hsds_lib.network.operations import PRIMITIVES, BatchNorm, softmax_active
from hsds_lib.search.wsras import prune_step, retain

SHAPE = (len(NODES), len(PRIMITIVES))


def parameters(network: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def some_genotype(width: float = 0.125, seed: int = 0) -> Genotype:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(SHAPE, generator=generator)
    kept = scores >= scores.topk(2, dim=1).values[:, 1:]
    return Genotype.from_mix(softmax_active(scores.double(), kept), width=width)


def test_supernet_has_the_papers_parameter_count() -> None:
    assert parameters(Supernet()) == 3_819_825  # counted on the released supernet


def test_released_genotype_has_its_parameter_count() -> None:
    nodes = Genotype.load(MODELS / "released" / "genotype.json").nodes
    assert parameters(derive(Genotype(nodes=nodes))) == 1_166_353  # counted on the released network


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 5), (16, 16), (37, 51)])
def test_any_size_keeps_its_size(size: tuple[int, int]) -> None:
    network = derive(some_genotype()).eval()
    fused = network(torch.rand(1, 2, *size))
    assert fused.shape == (1, 1, *size)
    assert torch.isfinite(fused).all()


def test_supernet_with_the_rest_removed_equals_the_derived_network_bit_for_bit() -> None:
    torch.manual_seed(1)
    genotype = some_genotype()
    supernet, network = Supernet(width=0.125), derive(genotype)
    for node, retained in genotype.nodes.items():
        for primitive in set(PRIMITIVES) - set(retained):
            supernet.remove(node, primitive)
    network.load_state_dict(supernet.state_dict())
    pair = torch.rand(2, 2, 20, 20)
    for mode in (True, False):
        assert torch.equal(supernet.train(mode)(pair, genotype.mix().float()), network.train(mode)(pair))


def test_the_first_channel_is_over_and_the_second_under() -> None:
    torch.manual_seed(2)
    network = derive(some_genotype()).eval()
    seen = {}
    network.nodes["x_1"].register_forward_hook(lambda module, inputs, output: seen.update(x=inputs[0]))
    pair = torch.rand(1, 2, 8, 8)
    network(pair)
    assert torch.equal(seen["x"], pair[:, 1:2])  # the x branch reads the under-exposed image


def test_a_network_without_weights_of_its_own_asks_for_them() -> None:
    with pytest.raises(ValueError, match=r"pass mix of shape \(\d+, \d+\)"):
        Supernet(width=0.125)(torch.rand(1, 2, 8, 8))


def test_no_input_beyond_the_receptive_radius_changes_a_pixel() -> None:
    torch.manual_seed(3)
    network: FusionNet = derive(some_genotype()).eval().double()
    radius, centre = receptive_radius(network), 130
    assert radius < centre
    pair = torch.rand(1, 2, 2 * centre, 2 * centre, dtype=torch.float64, requires_grad=True)
    network(pair)[0, 0, centre, centre].backward()
    assert pair.grad is not None
    touched = pair.grad.abs().sum(dim=(0, 1)).nonzero() - centre
    assert 8 < int(touched.abs().max()) <= radius


@pytest.mark.parametrize("width", [0.0625, 0.3, 1.0])
def test_width_scales_the_channels(width: float) -> None:
    node = Supernet(width=width).nodes["x_2"].operations["conv_1x1"].conv
    assert (node.in_channels, node.out_channels) == (max(1, round(16 * width)), max(1, round(32 * width)))


def test_genotype_survives_its_file(tmp_path: Path) -> None:
    genotype = some_genotype()
    genotype.save(tmp_path / "genotype.json")
    assert Genotype.load(tmp_path / "genotype.json") == genotype
    assert torch.equal(Genotype.from_mix(genotype.mix(), width=genotype.width).mix(), genotype.mix())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_1": {}}, "node x_1 needs operations"),
        ({"x_1": {"conv_9x9": 1.0}}, "node x_1 needs operations"),
        ({"x_1": {"conv_1x1": 0.4}}, "must be positive and sum to 1"),
        ({"x_1": {"conv_1x1": float("nan")}}, "is not a finite number"),
        ({"z_1": {"conv_1x1": 1.0}}, "names exactly the nodes"),
    ],
)
def test_a_broken_genotype_file_is_refused_in_one_sentence(tmp_path: Path, change: dict, message: str) -> None:
    nodes = {node: {"conv_1x1": 1.0} for node in NODES} | change
    (tmp_path / "g.json").write_text(json.dumps({"nodes": nodes, "width": 1.0}))
    with pytest.raises(ValueError, match=message):
        Genotype.load(tmp_path / "g.json")


def test_gradients_reach_every_weight() -> None:
    torch.manual_seed(4)
    network = derive(some_genotype(width=0.25))
    network(torch.rand(2, 2, 24, 24)).square().mean().backward()
    dead = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert dead == []


def test_separate_statistics_record_each_iteration_and_evaluate_with_its_own() -> None:
    torch.manual_seed(5)
    genotype, pair = some_genotype(), torch.rand(2, 2, 24, 24)
    network = derive(genotype, separate_statistics=True)
    shared = derive(genotype)
    shared.load_state_dict(
        {k: v for k, v in network.state_dict().items() if "running" not in k and "num" not in k}, strict=False
    )
    torch.testing.assert_close(network.train()(pair), shared.train()(pair))  # training does not read them
    norm = next(iter(network.node("i_1").operations.values())).norm
    assert norm.running_mean.shape[0] == 3 and norm.num_batches_tracked.tolist() == [1, 1, 1]
    assert not torch.allclose(norm.running_mean[0], norm.running_mean[2])
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.reset_running_stats()
            module.momentum = None
    trained = network.train()(pair)
    # Statistics of exactly this batch: evaluation repeats training but for the unbiased variance.
    torch.testing.assert_close(network.eval()(pair), trained, rtol=0, atol=0.02)


@pytest.mark.paper("Algorithm 1 line 15")
@pytest.mark.parametrize("top_p", [1, 2, 3])
def test_a_pruned_supernet_equals_the_network_derived_from_its_file_bit_for_bit(top_p: int, tmp_path: Path) -> None:
    torch.manual_seed(6)
    alpha, active = torch.randn(SHAPE), torch.ones(SHAPE, dtype=torch.bool)
    supernet = Supernet(width=0.125)
    for _ in range(len(PRIMITIVES) - top_p):
        left = prune_step(alpha, active, theta=1.0, top_p=top_p)
        for row, column in (active & ~left).nonzero().tolist():
            supernet.remove(NODES[row], PRIMITIVES[column])
        active = left
    retain(alpha, active, top_p=top_p, width=0.125).save(tmp_path / "genotype.json")
    network = derive(Genotype.load(tmp_path / "genotype.json"))
    network.load_state_dict(supernet.state_dict())
    pair = torch.rand(2, 2, 20, 20)
    # The genotype is computed in float64 and the network's copy rounded; a float32 softmax differs in the last bit.
    mix = softmax_active(alpha.double(), active).float()
    for mode in (True, False):
        assert torch.equal(supernet.train(mode)(pair, mix), network.train(mode)(pair))
        nearly = supernet.eval()(pair, softmax_active(alpha, active))
        torch.testing.assert_close(nearly, network.eval()(pair), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("separate_statistics", [False, True])
def test_a_saved_network_is_loaded_bit_for_bit(separate_statistics: bool, tmp_path: Path) -> None:
    torch.manual_seed(7)
    network = derive(some_genotype(), separate_statistics=separate_statistics)
    network.train()(torch.rand(2, 2, 24, 24))  # running statistics that are not the initial ones
    save_model(network.eval(), tmp_path / "model.safetensors")
    loaded = load_model(tmp_path, device="cpu")
    before, after = network.state_dict(), loaded.state_dict()
    assert list(before) == list(after) and loaded.separate_statistics == separate_statistics
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert network.mix is not None and loaded.mix is not None and torch.equal(network.mix, loaded.mix)
    pair = torch.rand(1, 2, 17, 19)
    assert torch.equal(loaded(pair), network(pair))


def test_the_receptive_radius_of_pointwise_nodes_is_that_of_the_wiring_alone() -> None:
    pointwise = derive(Genotype(nodes={node: {"conv_1x1": 1.0} for node in NODES}, width=0.125))
    assert receptive_radius(pointwise) == 2 + 4 + 1  # guides, pooling with enlarging, reconstruction


def test_the_receptive_radius_counts_half_resolution_twice_and_the_retinex_paths_three_times() -> None:
    def radius(wide: str) -> int:
        nodes = {node: {"conv_3x3" if node == wide else "conv_1x1": 1.0} for node in NODES}
        return receptive_radius(derive(Genotype(nodes=nodes, width=0.125)))

    assert {node: radius(node) - 7 for node in NODES} == {
        **dict.fromkeys(("x_1", "y_1", "x_2", "y_2", "x_4", "y_4", "x_5", "y_5", "div"), 1),
        **dict.fromkeys(("x_3", "y_3"), 2),
        **dict.fromkeys(("i_1", "i_2", "l_1", "l_2"), 3),
    }
