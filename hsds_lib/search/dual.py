"""Algorithm 1: one loop that searches the network (alpha), its loss (beta), and trains the weights (omega)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from hsds_lib.config import SearchConfig
from hsds_lib.images.batches import Batch
from hsds_lib.losses.contrast import gamma_h, gamma_n, gamma_r
from hsds_lib.losses.features import VGG16, Features, Trace, feature_tangents
from hsds_lib.losses.mef_ssim import mef_ssim_pair
from hsds_lib.losses.space import SPACES, LossWeights, initial_beta, mixture, weighted_loss
from hsds_lib.losses.terms import PERCEPTUAL_LAYERS, Targets, encode_fused, prepare_targets, term_vector
from hsds_lib.network.budget import check_budget, expected_macs, over_budget
from hsds_lib.network.fusion_net import Supernet
from hsds_lib.network.genotype import NODES, Genotype
from hsds_lib.network.operations import PRIMITIVES, batch_statistics, softmax_active
from hsds_lib.network.tape import Tape, recording, replaying
from hsds_lib.runs.parallel import Group
from hsds_lib.runtime import RunError, release_memory, seeded
from hsds_lib.search.hypergradient import Weights, alpha_correction, beta_gradient, preconditioner
from hsds_lib.search.wsras import prune_step, retain

_CONTRASTS: dict[str, Callable[..., Tensor]] = {
    "hybrid": gamma_h,
    "hybrid_own": partial(gamma_h, own=True),
    "reference": gamma_r,
    "natural": gamma_n,
    "none": gamma_h,  # logged, but nothing is searched by it
}
CONTRAST_NAMES = {
    "hybrid": "Gamma_H",
    "hybrid_own": "Gamma_H, own negatives",
    "reference": "Gamma_R",
    "natural": "Gamma_N",
    "none": "Gamma_H",
    "mef_ssim": "1 - MEF-SSIM",
}
"""What the contrast of each setting is called in logs and figures."""


@dataclass(frozen=True)
class _Descent:
    """What the omega step leaves for the beta step: the point it started from, its batch, and its own passes."""

    omega: Weights
    pair: Tensor
    mix: Tensor
    tape: Tape
    trace: Trace
    targets: Targets
    terms: Tensor
    loss_mix: Tensor


class DualSearch:
    """The state of a search and its step; no copy of the network is ever made.

    ``network`` is the supernet with omega; ``alpha`` are architecture logits and ``active`` says which operations are
    alive, both ``(nodes, operations)``; ``beta`` are loss logits, one per term of ``names``. Both start at 0, where
    all operations and all terms are equal. ``history`` has one record per step, ready for JSON.

    Example:
        >>> import hsds_lib as hsds
        >>> rng = torch.Generator().manual_seed(0)
        >>> train, val = (Batch(*(torch.rand(1, 3, 24, 24, generator=rng) for _ in range(4))) for _ in range(2))
        >>> search = DualSearch(hsds.preset("tiny").search.changed(width=0.0625), hsds.load_vgg16("random"))
        >>> record = search.step(train, val)
        >>> record["n_active"] == search.active.numel(), bool((search.alpha != 0).all())
        (True, True)
    """

    def __init__(
        self, config: SearchConfig, vgg: VGG16, *, device: torch.device | str = "cpu", group: Group | None = None
    ) -> None:
        """Start a search; the seed of ``config`` fixes the initial weights. ValueError: a setting that cannot be met.

        In a ``group`` of processes each has its own batches; all gradients, v and J of line 5 are means over them, so
        that omega, alpha, beta and what is pruned stay the same in all of them.
        """
        self.config, self.device = config, torch.device(device)
        self.group = group or Group()
        if config.top_p > len(PRIMITIVES):
            raise ValueError(
                f"setting 'top_p' = {config.top_p}: Input should be less than or equal to {len(PRIMITIVES)}"
            )
        self._cost: dict[str, Any] = {"width": config.width, "top_p": config.top_p}
        if config.mac_budget is not None:
            check_budget(config.mac_budget, **self._cost)
        self.vgg = vgg.to(self.device)
        with seeded(config.seed):
            self.network = Supernet(width=config.width).to(self.device)
        self.names = SPACES[config.space]
        self.alpha = torch.zeros(len(NODES), len(PRIMITIVES), device=self.device, requires_grad=True)
        self.active = torch.ones_like(self.alpha, dtype=torch.bool)
        self.beta = initial_beta(config.space).to(self.device).requires_grad_()
        inner = torch.optim.Adam if config.inner == "adam" else torch.optim.SGD
        self.omega_optimiser = inner(self.network.parameters(), lr=config.lr_omega)
        # Separate optimisers: alpha and beta have rates of their own (paper) and the released betas and decay.
        upper: dict[str, Any] = {"betas": (0.5, 0.999), "weight_decay": config.upper_decay}
        self.alpha_optimiser = torch.optim.Adam([self.alpha], lr=config.lr_alpha, **upper)
        self.beta_optimiser = torch.optim.Adam([self.beta], lr=config.lr_beta, **upper)
        self.history: list[dict[str, Any]] = []

    def node_mix(self) -> Tensor:
        """Mixture weights of the operations, ``(nodes, operations)``; removed ones are exactly 0."""
        # In float64 and then rounded, as the genotype keeps them: a pruned supernet and the network derived from it
        # have the same weights to the last bit. Apple's MPS has no float64.
        exact = self.alpha if self.device.type == "mps" else self.alpha.double()
        return softmax_active(exact, self.active).to(self.alpha.dtype)

    def loss_mix(self) -> Tensor:
        """Weights of the loss terms, one per name."""
        return mixture(self.beta)

    def step(self, train: Batch, val: Batch, *, epoch: int = 0) -> dict[str, Any]:
        """One pass through the loop of Algorithm 1 lines 1-14, on a batch of each half of the training set (Eq. 2)."""
        start = time.perf_counter()
        descent = self._descend_omega(train.to(self.device))
        release_memory()
        record = self._upper_level(val.to(self.device), descent)
        removed = self._prune() if epoch >= self.config.prune_from_epoch else []
        record = {
            "step": len(self.history),
            "epoch": epoch,
            **record,
            "train_terms": _rounded(descent.terms),
            "train_loss": float(weighted_loss(descent.terms, descent.loss_mix)),
            "removed": removed,
            "n_active": int(self.active.sum()),
            "node_mix": _rounded(self.node_mix()),
            "loss_mix": _rounded(self.loss_mix()),
            "seconds": round(time.perf_counter() - start, 3),
        }
        if self.config.mac_budget is not None:
            record["expected_macs"] = round(float(expected_macs(self.node_mix().detach(), **self._cost)))
        self.history.append(record)
        return record

    def _descend_omega(self, batch: Batch) -> _Descent:
        """Algorithm 1 lines 2 and 3: one optimiser step on omega; this is the one-step unrolled point itself."""
        self.network.train()
        targets = prepare_targets(batch, self.vgg, contrast=False, names=self.names)
        pair, mix, trace = batch.over_under_y, self.node_mix().detach(), Trace()
        with recording(self.network, Tape(keep=not self.config.recompute)) as tape:
            fused = self.network(pair, mix)
        features = encode_fused(fused, self.vgg, contrast=False, trace=trace)
        terms = term_vector(fused, targets, features=features, names=self.names)
        seen = terms.detach().clone()
        self.group.average([seen])
        self._check_finite(seen, "loss")
        omega = {name: weight.detach().clone() for name, weight in self.network.named_parameters()}
        loss_mix = self.loss_mix().detach()
        self.omega_optimiser.zero_grad(set_to_none=True)
        weighted_loss(terms, loss_mix).backward()
        self.group.average([weight.grad for weight in self.network.parameters() if weight.grad is not None])
        self.omega_optimiser.step()
        return _Descent(omega, pair, mix, tape, trace, targets, seen, loss_mix)

    def _upper_level(self, batch: Batch, descent: _Descent) -> dict[str, Any]:
        """Algorithm 1 lines 4-7: beta, then alpha, from one forward pass on the validation batch."""
        with batch_statistics(self.network):
            contrast = self.config.contrast in _CONTRASTS
            targets = prepare_targets(batch, self.vgg, contrast=contrast, names=self.names)
            with recording(self.network, Tape(keep=not self.config.recompute)) as tape:
                fused = self.network(batch.over_under_y, self.node_mix())
            features = encode_fused(fused, self.vgg, contrast=contrast)
            gamma = self._judged(fused, features, targets)
            spread = self._beta_step(gamma, descent)
            terms = term_vector(fused, targets, features=features, names=self.names)
            loss = weighted_loss(terms, self.loss_mix().detach())
            seen = torch.cat([terms.detach(), loss.detach()[None], gamma.detach()[None]])
            self.group.average([seen])
            self._check_finite(seen[:-2], "validation loss")
            self.alpha.grad = self._alpha_gradient(loss, descent, tape)
            self.group.average([self.alpha.grad])
            if self.config.mac_budget is not None:  # beyond the paper; without omega, so the same in both orders
                excess = over_budget(self.node_mix(), budget=self.config.mac_budget, **self._cost)
                self.alpha.grad += torch.autograd.grad(self.config.budget_weight * excess, self.alpha)[0]
            self._check_finite(self.alpha.grad.sum(dim=1), "gradient of alpha", NODES)
        # Pruned entries must not move, and Adam's momentum and decay would move them even without a gradient.
        held = self.alpha.detach().clone()
        self.alpha_optimiser.step()
        with torch.no_grad():
            self.alpha.copy_(torch.where(self.active, self.alpha, held))
        return {"gamma": float(seen[-1]), "val_loss": float(seen[-2]), "step_spread": spread}

    def _judged(self, fused: Tensor, features: Features, targets: Targets) -> Tensor:
        """What beta descends: a contrast of Eq. 3 or, beyond the paper, what is missing to an MEF-SSIM of 1."""
        if self.config.contrast == "mef_ssim":
            return 1 - mef_ssim_pair(fused, targets.under_y, targets.over_y).mean()
        return _CONTRASTS[self.config.contrast](features, targets, n_negatives=self.config.n_negatives)

    def _beta_step(self, gamma: Tensor, descent: _Descent) -> list[float] | None:
        """Algorithm 1 line 5 by one forward-mode pass; returns the 5 %, 50 % and 95 % points of the step factor."""
        if self.config.contrast == "none" or self._warming_up:
            return None
        release_memory()
        v, factors = self._direction(gamma)
        jacobian = self._jacobian(v, descent)
        self.group.average([jacobian])
        descent.tape.calls.clear()  # the largest part of the memory, and not needed any more
        release_memory()
        self.beta.grad = beta_gradient(self.loss_mix().detach(), jacobian)
        self._check_finite(self.beta.grad, "hypergradient")
        self.beta_optimiser.step()
        values = torch.cat([torch.as_tensor(factor, device=self.device).flatten() for factor in factors])
        some = values[:: max(1, len(values) // 10_000)]  # a sample; sorting millions of them would take long
        return [float(value) for value in torch.quantile(some, some.new_tensor([0.05, 0.5, 0.95]))]

    @torch.no_grad()
    def _jacobian(self, v: Weights, descent: _Descent) -> Tensor:
        """The value of ``jacobian_vector`` for the omega step, by the recorded passes: only tangents are computed."""
        with forward_ad.dual_level(), replaying(self.network, descent.tape, descent.omega, v):
            rest = {
                name: forward_ad.make_dual(weight, v[name])
                for name, weight in descent.omega.items()
                if not name.startswith("nodes.")
            }
            fused = torch.func.functional_call(self.network, rest, (descent.pair, descent.mix))
            moved = feature_tangents(self.vgg, descent.trace, forward_ad.unpack_dual(fused).tangent, PERCEPTUAL_LAYERS)
            features = {
                name: forward_ad.make_dual(descent.trace.activations[name], tangent) for name, tangent in moved.items()
            }
            terms = term_vector(fused, descent.targets, features=features, names=self.names)
            return forward_ad.unpack_dual(terms).tangent

    def _alpha_gradient(self, loss: Tensor, descent: _Descent, tape: Tape) -> Tensor:
        """Algorithm 1 line 7: first order, as in the paper (omega is taken as it is), or exact through the step."""
        second = self.config.alpha_order == "second" and not self._warming_up
        tape.weights_wanted = second
        first = torch.autograd.grad(loss, self.alpha, retain_graph=second)[0]
        if not second:
            return first
        v, _ = self._direction(loss)
        omega = {name: weight.requires_grad_() for name, weight in descent.omega.items()}
        fused = torch.func.functional_call(self.network, omega, (descent.pair, self.node_mix()))
        terms = term_vector(fused, descent.targets, self.vgg, names=self.names)
        train_loss = weighted_loss(terms, descent.loss_mix)
        return first + alpha_correction(train_loss, omega, self.alpha, v)

    @property
    def _warming_up(self) -> bool:
        """Whether Adam's second moments are still too young for its factor D, which they make huge at first."""
        return len(self.history) < self.config.beta_warmup

    def _direction(self, objective: Tensor) -> tuple[dict[str, Tensor], list[Tensor | float]]:
        """The gradient of an objective in the new omega times the factor D of the step just taken, and D itself."""
        weights = dict(self.network.named_parameters())
        gradients = torch.autograd.grad(objective, list(weights.values()), retain_graph=True)
        self.group.average(gradients)
        factors = [preconditioner(self.omega_optimiser, weight) for weight in weights.values()]
        return {name: factor * g for name, factor, g in zip(weights, factors, gradients, strict=True)}, factors

    def _prune(self) -> list[tuple[str, str]]:
        """Algorithm 1 lines 8-13; removed operations lose their weights and their optimiser state too."""
        pruned = prune_step(self.alpha, self.active, theta=self.config.theta, top_p=self.config.top_p)
        removed = [(NODES[row], PRIMITIVES[column]) for row, column in (self.active & ~pruned).nonzero().tolist()]
        self.active = pruned
        for node, primitive in removed:
            self.network.remove(node, primitive)
        if removed:
            alive = list(self.network.parameters())
            self.omega_optimiser.param_groups[0]["params"] = alive
            for gone in set(self.omega_optimiser.state) - set(alive):
                del self.omega_optimiser.state[gone]
        return removed

    def genotype(self) -> Genotype:
        """Algorithm 1 line 15: the ``top_p`` strongest operations of every node."""
        return retain(self.alpha, self.active, top_p=self.config.top_p, width=self.config.width)

    def loss_weights(self) -> LossWeights:
        """The searched loss, as a file the training reads."""
        return LossWeights.from_beta(self.beta.detach().cpu(), space=self.config.space)

    def _check_finite(self, values: Tensor, what: str, names: Sequence[str] | None = None) -> None:
        if not bool(torch.isfinite(values).all()):
            known = zip(names or self.names, values.tolist(), strict=True)
            bad = [name for name, value in known if value - value != 0]
            raise RunError(
                f"step {len(self.history)}: the {what} is not finite in {', '.join(bad)}; lower lr_omega or lr_alpha"
            )


def _rounded(values: Tensor) -> list[Any]:
    return (values.detach().double().cpu() * 1e6).round().div(1e6).tolist()
