"""Settings: frozen, complete, and unknown ones are refused in one sentence."""

from __future__ import annotations

import pytest

from hsds_lib.config import ABLATIONS, PRESETS, SearchConfig, TrainConfig, ablation, preset


def test_paper_preset_has_the_papers_settings() -> None:
    search, train = PRESETS["paper"].search, PRESETS["paper"].train
    assert (search.epochs, search.batch_size, search.crop, search.width) == (10, 2, 256, 1.0)
    assert (search.lr_alpha, search.lr_beta, search.lr_omega) == (2e-1, 3e-2, 2e-4)
    # What the paper leaves open, as the design decides.
    assert (search.theta, search.top_p, search.prune_from_epoch, search.beta_warmup) == (0.05, 2, 1, 10)
    assert (search.upper_decay, search.n_negatives, search.alpha_order, search.inner) == (1e-3, 1, "first", "adam")
    assert (train.epochs, train.batch_size, train.lr, train.schedule) == (60, 10, 1e-4, "constant")


def test_changed_leaves_the_original_and_ignores_none() -> None:
    config = SearchConfig()
    assert config.changed(theta=0.1, top_p=None).theta == 0.1
    assert config.theta == 0.05 and config.changed(top_p=None) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tetha": 0.1}, "unknown setting 'tetha'; known: data, seed, width"),
        ({"theta": 1.5}, "setting 'theta' = 1.5: Input should be less than or equal to 1"),
        ({"top_p": 0}, "setting 'top_p' = 0"),
        ({"lr_omega": float("inf")}, "setting 'lr_omega' = inf: Input should be a finite number"),
        ({"contrast": "both"}, "setting 'contrast' = 'both': Input should be 'hybrid'"),
        ({"seed": 2**64}, "setting 'seed' = 18446744073709551616: Input should be less than 18446744073709551616"),
        ({"seed": -1}, "setting 'seed' = -1: Input should be greater than or equal to 0"),
        ({"width": 1e300}, "setting 'width' = 1e\\+300: Input should be less than or equal to 16"),
        ({"lr_alpha": 1e308}, "setting 'lr_alpha' = 1e\\+308: Input should be less than or equal to 1000"),
        ({"batch_size": 10**11}, "setting 'batch_size' = 100000000000: Input should be less than or equal to 4096"),
        ({"epochs": 10**400}, "setting 'epochs' = 10{79}: "),
        ({"data": ["x"] * 10**5}, "setting 'data' = .{80}: Input should be a valid string"),
        ({"n_negatives": 3}, "^n_negatives is 3, but a batch of 2 has only as many; raise batch_size$"),
        ({"space": "extended", "crop": 32}, "^crop is 32, but the extended space measures MEF-SSIM at three scales"),
    ],
)
def test_bad_settings_are_refused_by_name(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchConfig().changed(**change)


def test_a_training_crop_too_small_for_the_validation_is_refused() -> None:
    assert TrainConfig().changed(crop=44).crop == 44
    for crop in (24, 43):
        with pytest.raises(ValueError, match=f"setting 'crop' = {crop}: Input should be greater than or equal to 44"):
            TrainConfig().changed(crop=crop)


@pytest.mark.parametrize("config", [SearchConfig(), TrainConfig()])
def test_every_number_has_a_limit_and_the_paper_is_far_from_it(config: SearchConfig | TrainConfig) -> None:
    for name, value in config.model_dump().items():
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            continue
        for large in (1e300, 10**19 if name != "seed" else 10**20):
            with pytest.raises(ValueError, match=f"'{name}'"):
                config.changed(**{name: large})
        if name not in ("theta", "fixed_statistics", "n_negatives"):
            assert getattr(config.changed(**{name: 10 * (value or 1)}), name) == 10 * (value or 1)


def test_settings_survive_json() -> None:
    for chosen in PRESETS.values():
        assert SearchConfig.model_validate_json(chosen.search.model_dump_json()) == chosen.search
        assert TrainConfig.model_validate_json(chosen.train.model_dump_json()) == chosen.train


def test_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="preset 'huge' is unknown; choose one of tiny, lesson, paper"):
        preset("huge")


@pytest.mark.paper("Table 3")
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("w/o Gamma_H", {"contrast": "none"}),
        ("only Gamma_R", {"contrast": "reference"}),
        ("only Gamma_N", {"contrast": "natural"}),
        ("ours", {}),
        ("only WR", {"theta": 0.0}),
        ("only PR", {"top_p": 1}),
        ("DARTS", {"theta": 0.0, "top_p": 1}),
    ],
)
def test_an_ablation_differs_from_ours_in_its_own_fields_only(name: str, changes: dict) -> None:
    ours, ablated = (ablation(PRESETS["tiny"].search, row).model_dump() for row in ("ours", name))
    assert {field: value for field, value in ablated.items() if value != ours[field]} == changes


@pytest.mark.paper("Table 3")
def test_the_seven_rows_are_seven_different_searches() -> None:
    searches = [ablation(SearchConfig(), name) for name in ABLATIONS]
    assert len({search.model_dump_json() for search in searches}) == len(ABLATIONS) == 7
    assert ablation(SearchConfig(), "ours") == SearchConfig()


def test_unknown_ablation_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"ablation 'Ours' is unknown; choose one of w/o Gamma_H, .*, ours, .*, DARTS"):
        ablation(SearchConfig(), "Ours")


@pytest.mark.parametrize("name", list(ABLATIONS))
def test_an_ablation_survives_json(name: str) -> None:
    config = ablation(PRESETS["lesson"].search, name)
    assert SearchConfig.model_validate_json(config.model_dump_json()) == config
