"""Exercises: the answer passes, each typical mistake is caught with its own hint, an untouched stub is no error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hsds_lib.course.checks import Exercise, Mistake, all_exercises, check, find, verdict

SOURCES = Path(__file__).resolve().parents[2] / "notebooks" / "src"
EXERCISES = all_exercises()
MISTAKES = [(exercise, mistake) for exercise in EXERCISES.values() for mistake in exercise.mistakes]

every_exercise = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=list(EXERCISES))


@every_exercise
def test_solution_is_correct(exercise: Exercise) -> None:
    assert verdict(exercise, exercise.solution) == "correct"


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES, ids=[exercise.number for exercise, _ in MISTAKES])
def test_mistake_is_caught_and_gets_its_own_hint(exercise: Exercise, mistake: Mistake) -> None:
    assert verdict(exercise, mistake.answer) == f"not yet. {mistake.hint}"


@every_exercise
def test_exercise_knows_several_mistakes(exercise: Exercise) -> None:
    assert len(exercise.mistakes) >= 2
    assert len({mistake.hint for mistake in exercise.mistakes}) == len(exercise.mistakes)


@every_exercise
def test_untouched_stub_is_not_attempted(exercise: Exercise, capsys: pytest.CaptureFixture[str]) -> None:
    for stub in (..., None, lambda *inputs: ...):
        check(exercise.number, stub)
        assert capsys.readouterr().out == f"{exercise.number} not attempted yet. Hint: {exercise.hint}\n"


def test_function_without_a_return_is_told_so() -> None:
    assert "is a `return` missing?" in verdict(EXERCISES["8.1"], lambda ours, other: None)


@every_exercise
def test_exercise_stands_in_its_notebook_with_a_solution(exercise: Exercise) -> None:
    number = exercise.number
    (source,) = SOURCES.glob(f"{int(number.partition('.')[0]):02d}_*.py")
    text = source.read_text(encoding="utf-8")
    assert len(re.findall(rf'check\("{re.escape(number)}", ', text)) == 1
    assert 'tags=["solution"]' in text


def test_every_check_of_a_notebook_is_an_exercise() -> None:
    asked = [n for path in SOURCES.glob("*.py") for n in re.findall(r'check\("(\d+\.\d+)"', path.read_text("utf-8"))]
    assert sorted(asked) == sorted(EXERCISES)


def doubling(x: float) -> float:
    return 2 * x


DOUBLE = Exercise(
    "0.0",
    doubling,
    "think of x + x",
    cases=lambda rng: [(1.0,), (3.0,)],
    mistakes=[Mistake(lambda x: x + 2, "That adds 2."), Mistake(lambda x: 1 / 0, "That divides by 0.")],
)


def test_verdicts_say_what_is_wrong() -> None:
    assert verdict(DOUBLE, lambda x: x + x) == "correct"
    assert verdict(DOUBLE, lambda x: x + 2) == "not yet. That adds 2."
    assert verdict(DOUBLE, lambda x: [][0]) == "not yet. Your answer raised IndexError: list index out of range"
    assert verdict(DOUBLE, lambda x: 3 * x) == "not yet. Got 3, expected 2 for 1."
    assert verdict(DOUBLE, lambda x: "two").startswith("not yet. A number is expected, got two")


def test_an_answer_cannot_spoil_the_inputs_of_the_check() -> None:
    import torch

    exercise = Exercise("0.0", lambda x: x + 1, "", cases=lambda rng: [(torch.zeros(2),)])
    assert verdict(exercise, lambda x: x.add_(1)) == "correct"
    assert verdict(exercise, lambda x: x.add_(1)) == "correct"


def test_unknown_exercise_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"there is no exercise '9\.99'; choose one of"):
        find("9.99")
