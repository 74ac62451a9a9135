"""Settings: frozen, complete, and unknown ones are refused in one sentence."""

from __future__ import annotations

import pytest

from hsds_lib.config import PRESETS, SearchConfig, TrainConfig, preset


def test_paper_preset_has_the_papers_settings() -> None:
    search, train = PRESETS["paper"].search, PRESETS["paper"].train
    assert (search.epochs, search.batch_size, search.crop, search.width) == (10, 2, 256, 1.0)
    assert (search.lr_alpha, search.lr_beta, search.lr_omega) == (2e-1, 3e-2, 2e-4)
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
        ({"contrast": "both"}, "setting 'contrast' = 'both': Input should be 'hybrid'"),
    ],
)
def test_bad_settings_are_refused_by_name(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchConfig().changed(**change)


def test_settings_survive_json() -> None:
    for chosen in PRESETS.values():
        assert SearchConfig.model_validate_json(chosen.search.model_dump_json()) == chosen.search
        assert TrainConfig.model_validate_json(chosen.train.model_dump_json()) == chosen.train


def test_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="preset 'huge' is unknown; choose one of tiny, lesson, paper"):
        preset("huge")
