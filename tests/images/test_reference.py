"""References for pairs that have none: the best candidate by the score given, and nothing else changed."""

from __future__ import annotations

import torch
from torch import Tensor

from hsds_lib.images.batches import Scene
from hsds_lib.images.color import split_luma
from hsds_lib.runs.scenes import attach_references, candidate_references


def scene(seed: int = 0) -> Scene:
    generator = torch.Generator().manual_seed(seed)
    base = torch.rand(3, 8, 8, generator=generator).repeat_interleave(6, 1).repeat_interleave(6, 2)
    return Scene(f"scene-{seed}", 0.3 * base, 0.5 + 0.5 * base)


def darkness(fused_y: Tensor, under_y: Tensor, over_y: Tensor) -> float:
    assert fused_y.shape == under_y.shape == over_y.shape == (1, 1, 48, 48)
    assert under_y.mean() < over_y.mean()
    return -fused_y.mean().item()


def test_the_candidate_with_the_best_score_becomes_the_reference() -> None:
    for seed in range(3):
        candidates = candidate_references(scene(seed))
        means = {name: split_luma(rgb[None])[0].mean().item() for name, rgb in candidates.items()}
        darkest = min(means, key=lambda name: means[name])
        (done,) = attach_references([scene(seed)], darkness)
        assert done.ref is not None and done.ref_origin == darkest
        assert torch.equal(done.ref, candidates[darkest])


def test_candidates_differ_from_each_other_and_are_pictures_in_range() -> None:
    candidates = candidate_references(scene())
    assert len(candidates) == 6 and "average" in candidates and "mertens(1, 1, 0)" in candidates
    images = list(candidates.values())
    for number, image in enumerate(images):
        assert image.shape == (3, 48, 48) and image.min() >= 0 and image.max() <= 1
        assert all((image - other).abs().max() > 1e-3 for other in images[:number])


def test_given_references_are_kept_and_the_order_too() -> None:
    own = Scene("own", torch.zeros(3, 48, 48), torch.ones(3, 48, 48), torch.full((3, 48, 48), 0.5), "file")
    done = attach_references([scene(1), own, scene(2)], darkness)
    assert [item.name for item in done] == ["scene-1", "own", "scene-2"]
    assert done[1] is own
    assert done[0].ref is not None and torch.equal(done[0].under, scene(1).under)


def test_references_are_the_same_every_time_and_ties_go_to_the_first() -> None:
    first, again = (attach_references([scene()], lambda *images: 0.0)[0] for _ in range(2))
    assert first.ref is not None and again.ref is not None and torch.equal(first.ref, again.ref)
    assert first.ref_origin == next(iter(candidate_references(scene())))
