"""Every setting of a search and of a training: one frozen schema for notebooks, command line and reports."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

Judge = Literal["hybrid", "reference", "natural", "none", "hybrid_own", "mef_ssim"]

LEAST_SCALED_CROP = 44  # pixels; 11 at the third scale of MEF-SSIM
WIDEST = 16.0  # times the channels of the paper
# What is beyond the limits is a slip of the keyboard: it would fail for want of memory, or never end.
Seed = Annotated[int, Field(ge=0, lt=2**64)]  # what torch's generators take
Count = Annotated[int, Field(ge=1, le=10_000_000)]
Index = Annotated[int, Field(ge=0, le=10_000_000)]
BatchSize = Annotated[int, Field(ge=1, le=4096)]
Rate = Annotated[float, Field(gt=0, le=1000)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Limit = Annotated[float, Field(gt=0, le=1e12)]


def _earlier(features: Any) -> Any:
    """Runs of earlier versions say "auto", and were recorded with drawn weights."""
    return "random" if features == "auto" else features


Features = Annotated[Literal["imagenet", "random", "torchvision"], BeforeValidator(_earlier)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def changed(self, **values: Any) -> Any:
        """A copy with some fields replaced; unknown names and bad values are one clear ``ValueError``.

        Values of ``None`` are ignored, so that an option that was not given keeps the preset's value.
        """
        given = {name: value for name, value in values.items() if value is not None}
        try:
            return type(self)(**{**self.model_dump(), **given})
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            if not name:  # settings that do not fit together
                raise ValueError(first["msg"].removeprefix("Value error, ")) from None
            if first["type"] == "extra_forbidden":
                raise ValueError(f"unknown setting '{name}'; known: {', '.join(type(self).model_fields)}") from None
            raise ValueError(f"setting '{name}' = {repr(first['input'])[:80]}: {first['msg']}") from None


class SearchConfig(_Settings):
    """Settings of a dual search (Algorithm 1). The defaults are the paper's, or design decisions where it is silent."""

    data: str = "embedded"  # a data set's name, or a folder of scenes
    seed: Seed = 0
    width: float = Field(1.0, gt=0, le=WIDEST)  # scale of the channel counts; 1.0 = paper
    epochs: Count = 10  # paper, Implementation Details
    steps_per_epoch: Count | None = None  # None: each training pair once
    batch_size: BatchSize = 2  # paper
    crop: int = Field(256, ge=24, le=4096)  # pixels; paper
    lr_omega: Rate = 2e-4  # paper
    lr_alpha: Rate = 2e-1  # paper
    lr_beta: Rate = 3e-2  # paper
    upper_decay: Weight = 1e-3  # weight decay of alpha and beta, as released
    theta: float = Field(0.05, ge=0, le=1)  # pruning threshold; not in the paper. 0 prunes nothing
    top_p: Count = 2  # operations retained per node, at most all; not in the paper
    prune_from_epoch: Index = 1  # counted from 0: the second epoch
    beta_warmup: Index = 10  # steps before anything goes through omega's step: Adam needs them
    inner: Literal["adam", "sgd"] = "adam"  # the optimiser of omega that is unrolled
    alpha_order: Literal["first", "second"] = "first"  # paper: first; second goes exactly through the omega step
    mac_budget: Limit | None = None  # beyond the paper: multiply-accumulates per pixel; None: no budget
    budget_weight: Limit = 0.1  # what exceeding it by 100 % adds to the loss that alpha descends
    n_negatives: Count = 1  # M of Eq. 3, at most the batch size; not in the paper
    # Gamma_H judges the loss; "none" searches no loss (ablations of Table 3). "hybrid_own" repels both halves from the
    # scene's own exposures (losses/contrast.py); beyond the paper: 1 - MEF-SSIM.
    contrast: Judge = "hybrid"
    space: Literal["paper", "extended"] = "paper"  # loss search space
    features: Features = "imagenet"  # weights of VGG-16, see losses/features.py
    recompute: bool = False  # compute outputs of convolutions again instead of keeping them: half the memory

    @model_validator(mode="after")
    def _fits_together(self) -> SearchConfig:
        if self.n_negatives > self.batch_size:
            raise ValueError(
                f"n_negatives is {self.n_negatives}, but a batch of {self.batch_size} has only as many; "
                "raise batch_size"
            )
        scaled = "the extended space" if self.space == "extended" else f"contrast '{self.contrast}'"
        if (self.space == "extended" or self.contrast == "mef_ssim") and self.crop < LEAST_SCALED_CROP:
            raise ValueError(
                f"crop is {self.crop}, but {scaled} measures MEF-SSIM at three scales, which takes "
                f"{LEAST_SCALED_CROP} pixels; raise crop or use space 'paper' and another contrast"
            )
        return self


class TrainConfig(_Settings):
    """Settings of training the derived network. The defaults are the paper's."""

    data: str = "embedded"
    seed: Seed = 0
    epochs: Count = 60  # paper
    steps_per_epoch: Count | None = None
    batch_size: BatchSize = 10  # paper
    crop: int = Field(256, ge=LEAST_SCALED_CROP, le=4096)  # pixels; paper. The validation measures at scales
    lr: Rate = 1e-4  # paper
    schedule: Literal["constant", "cosine"] = "constant"
    separate_statistics: bool = False  # running statistics for each Retinex iteration; released: one for all three
    skip_terms: tuple[str, ...] = ()  # loss terms left out; the weights of the others are rescaled
    only_terms: tuple[str, ...] = ()  # the only ones kept, rescaled as well; none: all
    recalibration_batches: Count = 16  # training batches that set the running statistics at the end
    perceptual_items: Count | None = None  # items of a batch that the perceptual terms see; None: all, as in the paper
    # Beyond the paper, off by default: what the models that ship were trained with.
    start: str = ""  # a run folder or model file whose weights and statistics training goes on from; empty: fresh ones
    jitter: bool = False  # other scales and exposures of the training pairs
    fixed_statistics: float = Field(0.0, ge=0, le=1)  # share of the steps, the last, with the statistics of evaluation
    range_weight: Weight = 0.0  # of the mean distance of luma from [0, 1]; terms then see it clamped
    clip_norm: Limit | None = None  # longest gradient; longer ones are shortened
    features: Features = "imagenet"


class Preset(_Settings):
    """A search and the training of what it finds."""

    search: SearchConfig
    train: TrainConfig


PRESETS: dict[str, Preset] = {
    # Seconds: for notebooks and tests. Few steps need large ones.
    "tiny": Preset(
        search=SearchConfig(
            width=0.25, epochs=3, steps_per_epoch=3, crop=32, lr_omega=5e-3, lr_alpha=0.3, lr_beta=0.1,
            theta=0.06, beta_warmup=2,
        ),
        train=TrainConfig(
            epochs=3, steps_per_epoch=20, batch_size=2, crop=64, lr=5e-3, schedule="cosine", separate_statistics=True,
            recalibration_batches=8,
        ),
    ),
    # Minutes on a laptop.
    "lesson": Preset(
        search=SearchConfig(width=0.25, epochs=6, steps_per_epoch=20, crop=64, lr_omega=2e-3),
        train=TrainConfig(
            epochs=10, steps_per_epoch=50, batch_size=8, crop=96, lr=3e-3, schedule="cosine", separate_statistics=True,
        ),
    ),
    # The paper's run, meant for a GPU.
    "paper": Preset(search=SearchConfig(), train=TrainConfig()),
}  # fmt: skip
"""``tiny`` runs in seconds, ``lesson`` in minutes on a CPU, ``paper`` is the paper's setting."""


def preset(name: str) -> Preset:
    """Look a preset up by name; a ValueError lists the known ones."""
    if name not in PRESETS:
        raise ValueError(f"preset '{name}' is unknown; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


ABLATIONS: dict[str, dict[str, Any]] = {
    "w/o Gamma_H": {"contrast": "none"},  # beta stays uniform
    "only Gamma_R": {"contrast": "reference"},
    "only Gamma_N": {"contrast": "natural"},
    "ours": {},
    "only WR": {"theta": 0.0},  # nothing is pruned, P operations are retained
    "only PR": {"top_p": 1},  # pruning, and the strongest operation alone is retained
    "DARTS": {"theta": 0.0, "top_p": 1},
}
"""The seven rows of Table 3: what each of them changes in a search, in the paper's order."""


def ablation(config: SearchConfig, name: str) -> SearchConfig:
    """Take a part of the method away: the search of one row of Table 3, written as there.

    The copy differs from ``config``, the row "ours", in the fields that ``ABLATIONS`` names, and in no other.
    ValueError for an unknown name, and for a config that lacks a part already, because two rows would then be the same
    search.
    """
    if name not in ABLATIONS:
        raise ValueError(f"ablation '{name}' is unknown; choose one of {', '.join(ABLATIONS)}")
    if config.contrast != "hybrid" or config.theta == 0 or config.top_p == 1:
        raise ValueError(
            f"an ablation starts from the whole method, but contrast is '{config.contrast}', theta {config.theta:g} "
            f"and top_p {config.top_p}; give contrast 'hybrid', theta above 0 and top_p above 1"
        )
    return config.changed(**ABLATIONS[name])
