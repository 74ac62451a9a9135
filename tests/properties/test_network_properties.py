"""The network for any size, architecture, precision and picture; and its identities, bit for bit."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from hsds_lib.fusing.tiling import fuse_luma
from hsds_lib.network.fusion_net import FusionNet, Supernet, derive, receptive_radius
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.model_file import load_model, save_model
from hsds_lib.network.operations import PRIMITIVES, softmax_active
from hsds_lib.released.network import load_released_state, released_names

SHAPE = (len(NODES), len(PRIMITIVES))

some = settings(deadline=None, max_examples=20, derandomize=True)
few = settings(deadline=None, max_examples=10, derandomize=True)

WIDTH = 0.0625  # 1, 2 and 4 channels
NEAR = ("conv_1x1", "conv_3x3", "conv_1x3", "conv_3x1", "conv_1x5", "conv_5x1", "dil_3x3")
CONSTANTS = {"black": 0.0, "white": 1.0, "gray": 0.5, "tiny": 1e-40, "of 8 bits": 255.0}

sides = st.integers(1, 100)
seeds = st.integers(0, 10_000)
dtypes = st.sampled_from([torch.float32, torch.float64])
kinds = st.sampled_from([*CONSTANTS, "noise", "black and white", "opposite"])


@st.composite
def genotypes(draw: st.DrawFn, primitives: tuple[str, ...] = PRIMITIVES, most: int = 3) -> Genotype:
    """Any operations in any node, with weights from 0.02 to 1."""
    nodes = {}
    for node in NODES:
        names = draw(st.lists(st.sampled_from(primitives), min_size=1, max_size=most, unique=True))
        weights = [draw(st.integers(1, 50)) for _ in names]
        nodes[node] = {name: weight / sum(weights) for name, weight in zip(names, weights, strict=True)}
    return Genotype(nodes=nodes, width=WIDTH)


def every_node(primitive: str) -> Genotype:
    return Genotype(nodes={node: {primitive: 1.0} for node in NODES}, width=WIDTH)


def network_of(genotype: Genotype, seed: int, dtype: torch.dtype = torch.float32) -> FusionNet:
    """The network with seeded weights, larger ones in the last layer so that its output is not flat."""
    network, generator = derive(genotype), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator))
    return network.to(dtype)


def picture(kind: str, shape: tuple[int, int, int], seed: int, dtype: torch.dtype) -> Tensor:
    """A batch of pairs ``(B, 2, H, W)``."""
    batch, height, width = shape
    if kind in CONSTANTS:
        return torch.full((batch, 2, height, width), CONSTANTS[kind], dtype=dtype)
    noise = torch.rand(batch, 2, height, width, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    if kind == "opposite":  # black and white
        noise[:, 0], noise[:, 1] = 1.0, 0.0
    return noise.round() if kind == "black and white" else noise


@some
@given(genotypes(), seeds, kinds, st.integers(1, 2), sides, sides, dtypes)
@example(every_node("dil_7x7"), 0, "noise", 1, 1, 1, torch.float32)
@example(every_node("dil_7x7"), 0, "white", 1, 1, 199, torch.float64)
def test_any_picture_is_fused_to_finite_luma_of_its_size(
    genotype: Genotype, seed: int, kind: str, batch: int, height: int, width: int, dtype: torch.dtype
) -> None:
    network = network_of(genotype, seed, dtype).eval()
    with torch.no_grad():
        fused = network(picture(kind, (batch, height, width), seed, dtype))
    assert fused.shape == (batch, 1, height, width) and fused.dtype == dtype
    assert torch.isfinite(fused).all() and fused.abs().max() <= 1


@some
@given(genotypes(most=2), seeds, kinds, st.integers(1, 2), st.integers(1, 40), st.integers(1, 40), dtypes)
@example(every_node("conv_3x3"), 0, "noise", 1, 2, 2, torch.float32)
@example(every_node("conv_3x3"), 0, "noise", 2, 2, 1, torch.float32)
def test_training_on_any_picture_has_finite_slopes_or_one_clear_error(
    genotype: Genotype, seed: int, kind: str, batch: int, height: int, width: int, dtype: torch.dtype
) -> None:
    network = network_of(genotype, seed, dtype).train()
    pair = picture(kind, (batch, height, width), seed, dtype)
    # One value at half resolution has no variance to normalise by.
    if batch * ((height + 1) // 2) * ((width + 1) // 2) == 1:
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            network(pair)
        return
    fused = network(pair)
    fused.square().mean().backward()
    assert torch.isfinite(fused).all()
    assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in network.parameters())
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


@some
@given(genotypes(), seeds, st.integers(1, 80), st.integers(1, 80))
def test_items_of_a_batch_do_not_see_each_other(genotype: Genotype, seed: int, height: int, width: int) -> None:
    network = network_of(genotype, seed, torch.float64).eval()
    pair = picture("noise", (2, height, width), seed, torch.float64)
    with torch.no_grad():
        together, alone = network(pair), [network(item[None]) for item in pair]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-9, atol=1e-12)


@some
@given(genotypes(NEAR, most=2), seeds)
def test_nothing_beyond_the_receptive_radius_is_seen(genotype: Genotype, seed: int) -> None:
    network = network_of(genotype, seed, torch.float64).eval()
    radius = receptive_radius(network)
    side = 2 * (radius + 3)
    pair = picture("noise", (1, side, side), seed, torch.float64).requires_grad_()
    network(pair)[0, 0, side // 2, side // 2].backward()
    assert pair.grad is not None
    touched = pair.grad.abs().sum(dim=(0, 1)).nonzero() - side // 2
    assert len(touched) == 0 or int(touched.abs().max()) <= radius


@few
@given(genotypes(NEAR, most=2), seeds, st.integers(1, 120), st.integers(1, 120), st.integers(20, 60))
def test_tiles_of_any_size_give_the_whole_picture(
    genotype: Genotype, seed: int, height: int, width: int, tile: int
) -> None:
    network = network_of(genotype, seed, torch.float64).eval()
    pair = picture("noise", (1, height, width), seed, torch.float64)
    over, under = pair[:, :1], pair[:, 1:]
    whole = fuse_luma(network, under, over, tile=10_000)
    assert whole.shape == over.shape
    torch.testing.assert_close(fuse_luma(network, under, over, tile=tile), whole, rtol=0, atol=1e-9)


@few
@given(seeds, st.integers(1, 4), st.floats(0.1, 10), st.booleans())
def test_a_supernet_that_lost_the_rest_is_the_derived_network(
    seed: int, top_p: int, spread: float, train: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    alpha = spread * torch.randn(SHAPE, generator=generator)
    kept = alpha >= alpha.topk(top_p, dim=1).values[:, -1:]
    mix = softmax_active(alpha.double(), kept)
    assume(bool((mix[kept] > 0).all()))
    genotype, supernet = Genotype.from_mix(mix, width=WIDTH), Supernet(width=WIDTH)
    for row, column in (~kept).nonzero().tolist():
        supernet.remove(NODES[row], PRIMITIVES[column])
    network = derive(genotype)
    network.load_state_dict(supernet.state_dict())
    pair = picture("noise", (2, 14, 11), seed, torch.float32)
    with torch.no_grad():
        assert torch.equal(supernet.train(train)(pair, mix.float()), network.train(train)(pair))
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in supernet.state_dict().items())


@few
@given(genotypes(), seeds, st.booleans(), st.integers(1, 40), st.integers(1, 40))
def test_a_saved_network_comes_back_bit_for_bit(
    genotype: Genotype, seed: int, separate_statistics: bool, height: int, width: int
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = derive(genotype, separate_statistics=separate_statistics).eval()
    with tempfile.TemporaryDirectory() as folder:
        save_model(network, Path(folder) / "model.safetensors")
        loaded = load_model(folder, device="cpu")
    pair = picture("noise", (1, height, width), seed, torch.float32)
    with torch.no_grad():
        assert torch.equal(network(pair), loaded(pair))
    assert loaded.mix is not None and network.mix is not None and torch.equal(loaded.mix, network.mix)


@few
@given(genotypes(), seeds, dtypes)
def test_released_names_lead_a_state_back_to_its_place(genotype: Genotype, seed: int, dtype: torch.dtype) -> None:
    network, fresh = network_of(genotype, seed, dtype), derive(genotype).to(dtype)
    state = network.state_dict()
    load_released_state(fresh, {theirs: state[ours] for theirs, ours in released_names(network).items()})
    assert all(torch.equal(value, state[name]) for name, value in fresh.state_dict().items())
