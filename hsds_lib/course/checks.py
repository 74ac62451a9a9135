"""Checking a learner's answer: compared with the library on random inputs, and told what is wrong with it.

An exercise knows its answer and the mistakes people make. An answer that behaves like one of the mistakes gets
the hint written for it; any other wrong answer is shown the first input where it differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np
import torch
from torch import Tensor

Cases = Callable[[torch.Generator], Iterable[tuple[Any, ...]]]


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that people give, and the hint that helps them on."""

    answer: Any
    hint: str


@dataclass(frozen=True)
class Exercise:
    """A question of a notebook, with the answer and the mistakes.

    ``number`` is such as ``"3.2"``, ``solution`` a function, or a value where none is asked for; ``cases`` makes the
    inputs of a function, as tuples of arguments. ``hint`` says where to begin while nothing has been tried; mistakes
    must differ from the solution on some input. ``rtol`` and ``atol`` are the tolerances of numbers.
    """

    number: str
    solution: Any
    hint: str
    cases: Cases | None = None
    mistakes: Sequence[Mistake] = ()
    rtol: float = 1e-4
    atol: float = 1e-6


class _NotAttempted(Exception):
    """The stub is still there."""


def check(number: str, answer: Any) -> None:
    """Print whether an answer is right, what is wrong with it, or that nothing has been tried.

    ``...``, None, or a function that returns ``...`` or raises ``NotImplementedError`` means not attempted, which is no
    error. An exercise that does not exist is a ``ValueError`` that lists those that do.
    """
    exercise = find(number)
    print(f"{number} {verdict(exercise, answer)}")


def find(number: str) -> Exercise:
    """Look an exercise up by its number; an unknown one is a ``ValueError`` that lists the known ones."""
    known = all_exercises()
    if number not in known:
        raise ValueError(f"there is no exercise '{number}'; choose one of {', '.join(known)}")
    return known[number]


def all_exercises() -> dict[str, Exercise]:
    """Every exercise of the course by its number, in order."""
    package = import_module("hsds_lib.course.exercises")
    modules = sorted(module.name for module in iter_modules(package.__path__))
    found = [exercise for name in modules for exercise in import_module(f"{package.__name__}.{name}").EXERCISES]
    return {exercise.number: exercise for exercise in found}


def verdict(exercise: Exercise, answer: Any) -> str:
    """Say in one or two sentences what an answer is worth; see :func:`check`."""
    try:
        wrong = _first_difference(exercise, answer)
    except _NotAttempted:
        return f"not attempted yet. Hint: {exercise.hint}"
    if wrong is None:
        return "correct"
    for mistake in exercise.mistakes:
        if _behaves_like(exercise, answer, mistake.answer):
            return f"not yet. {mistake.hint}"
    return f"not yet. {wrong}"


def _first_difference(exercise: Exercise, answer: Any) -> str | None:
    """What is wrong at the first input where the answer differs from the solution; None if it never does."""
    for inputs in _inputs(exercise):
        try:
            given = _evaluate(answer, inputs)
        except (_NotAttempted, KeyboardInterrupt):
            raise
        except Exception as error:  # a learner's code may raise anything
            return f"Your answer raised {type(error).__name__}: {error}"
        wanted = _evaluate(exercise.solution, inputs)
        problem = _compare(given, wanted, exercise)
        if problem:
            where = f" for {', '.join(map(_show, inputs))}" if inputs else ""
            return f"{problem}{where}."
    return None


def _behaves_like(exercise: Exercise, answer: Any, mistake: Any) -> bool:
    def outcome(candidate: Any, inputs: tuple[Any, ...]) -> Any:
        try:
            return _evaluate(candidate, inputs)
        except Exception as error:  # as above
            return type(error)

    pairs = ((outcome(answer, inputs), outcome(mistake, inputs)) for inputs in _inputs(exercise))
    return all(not _compare(given, wanted, exercise) for given, wanted in pairs)


def _inputs(exercise: Exercise) -> list[tuple[Any, ...]]:
    """The same inputs every time: an answer that was right stays right."""
    return [()] if exercise.cases is None else list(exercise.cases(torch.Generator().manual_seed(0)))


def _evaluate(answer: Any, inputs: tuple[Any, ...]) -> Any:
    given = answer
    if callable(answer):
        # Copies: an answer that changes its input must not change the next one's.
        copies = [value.clone() if isinstance(value, Tensor) else value for value in inputs]
        try:
            given = answer(*copies)
        except NotImplementedError:
            raise _NotAttempted from None
    if given is ... or answer is None:
        raise _NotAttempted
    return given


def _compare(given: Any, wanted: Any, exercise: Exercise) -> str:
    """Empty when the two agree, else what differs."""
    if given is None and wanted is not None:
        return "Your function returned None (is a `return` missing?)"
    if isinstance(wanted, set) and not isinstance(given, set):
        return f"A set such as {{'a', 'e'}} is expected, got {_show(given)}"
    if isinstance(wanted, Mapping):
        if not isinstance(given, Mapping) or set(given) != set(wanted):
            return f"A dictionary with the keys {', '.join(map(str, wanted))} is expected, got {_show(given)}"
        problems = (_compare(given[key], wanted[key], exercise) for key in wanted)
        return next((f"At '{key}': {p}" for key, p in zip(wanted, problems, strict=True) if p), "")
    numeric = isinstance(wanted, Tensor | np.ndarray | int | float) and not isinstance(wanted, bool)
    if not numeric:
        same = type(given) is type(wanted) and given == wanted
        return "" if same else f"Got {_show(given)}, expected {_show(wanted)}"
    try:
        found, right = (torch.as_tensor(value).detach().double() for value in (given, wanted))
    except (TypeError, ValueError, RuntimeError):
        return f"A {'tensor' if isinstance(wanted, Tensor) else 'number'} is expected, got {_show(given)}"
    if found.shape != right.shape:
        return f"The shape {tuple(right.shape)} is expected, got {tuple(found.shape)}"
    if torch.allclose(found, right, rtol=exercise.rtol, atol=exercise.atol, equal_nan=True):
        return ""
    return f"Got {_show(given)}, expected {_show(wanted)}"


def _show(value: Any) -> str:
    """A short form of any value."""
    if isinstance(value, Tensor) and value.numel() > 12:
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, Tensor):
        return str([float(_short(x)) for x in value.detach().flatten()] if value.ndim else _short(value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:80]


def _short(value: Tensor) -> str:
    return f"{float(value):.4g}"
