"""The code of a run: every module that computes is in its hash, and a difference is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from hsds_lib.runs import sources
from hsds_lib.runs.checkpoints import Checkpoint, Checkpoints
from hsds_lib.runs.sources import changed_code, code_parts
from hsds_lib.runtime import RunError


def test_words_about_the_code_do_not_count_and_the_code_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "hsds_lib_like.py"
    monkeypatch.setattr(sources, "sources_of", lambda modules: {"hsds_lib.like": module})

    def parts(text: str) -> dict[str, str]:
        module.write_text(text)
        code_parts.cache_clear()
        return code_parts("hsds_lib.like")

    one = parts('"""A module."""\ndef f(x):\n    """Doc."""\n    return x + 1\n')
    assert parts("def f(x):\n    # of x\n    return (x + 1)\n") == one
    other = parts("def f(x):\n    return x + 2\n")
    assert changed_code(one, other) == ["hsds_lib.like"]
    assert changed_code({**one, "torch": "1.0"}, one) == [f"torch 1.0 -> {one['torch']}"]
    assert changed_code(None, one) == ["it was not noted then"]
    code_parts.cache_clear()


def test_all_that_computes_is_in_it() -> None:
    search, train = (set(code_parts(name)) for name in ("hsds_lib.search.run", "hsds_lib.training.train"))
    both = {"torch", "hsds_lib.losses.terms", "hsds_lib.network.operations", "hsds_lib.images.batches"}
    assert both | {"hsds_lib.search.hypergradient"} <= search and both | {"hsds_lib.training.job"} <= train
    assert not {"hsds_lib.cli", "hsds_lib.reports.page"} & (search | train)


def test_a_run_goes_on_under_other_code_only_when_that_is_accepted_and_notes_it(tmp_path: Path) -> None:
    begun, now = ({"seed": 1, "code": {"hsds_lib.a": number, "torch": number}} for number in ("1", "2"))
    Checkpoints(tmp_path, "search").save(Checkpoint(3, {}, begun))
    said: list[str] = []
    with pytest.raises(RunError, match=r"other code \(hsds_lib\.a; torch 1 -> 2\); go on with --accept-code"):
        Checkpoints(tmp_path, "search").find(now, said.append)
    found = Checkpoints(tmp_path, "search").find(now, said.append, accept_code_change=True)
    assert found is not None
    assert found.facts["code_changes"] == [{"step": 3, "changed": ["hsds_lib.a", "torch 1 -> 2"]}]
    again = Checkpoint(5, {}, {**now, "code_changes": found.facts["code_changes"]})
    Checkpoints(tmp_path, "search").save(again)
    last = Checkpoints(tmp_path, "search").find(now, said.append)  # nothing new, and nothing forgotten
    assert last is not None and last.facts["code_changes"] == found.facts["code_changes"]
    with pytest.raises(RunError, match="other settings"):
        Checkpoints(tmp_path, "search").find({**now, "seed": 2}, said.append, accept_code_change=True)
