"""Exercises that check themselves: three answers, never a traceback, and a reason with numbers.

An exercise is a function `exercise_NN_k(attempt)` in one of `MODULES`. It calls the reader's
function, judges what comes back by an independent law or oracle, raises `NotYet` with an
observation, or returns what being correct means.
"""

import importlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Attempt = Callable[..., object]
Exercise = Callable[[Attempt], str]
MODULES = ("exercises_00_02", "exercises_03_05", "exercises_06_08")


class NotYet(Exception):  # noqa: N818 - it reads as the verdict it becomes
    """An answer that is not right yet; the message is the observation that shows it."""


class NotAttempted(Exception):  # noqa: N818 - as above
    """The stub is still a stub."""


@dataclass(frozen=True)
class Verdict:
    """The result of a check: ``"not attempted"``, ``"not yet"`` or ``"correct"``, and why."""

    state: str
    message: str = ""

    def __str__(self) -> str:
        return f"{self.state}: {self.message}" if self.message else self.state


def registry() -> dict[str, Exercise]:
    """Every exercise of the course by its name, e.g. ``"02.1"``, in order."""
    found: dict[str, Exercise] = {}
    for module in MODULES:
        loaded = importlib.import_module(f"labkit.lab.{module}")
        for name in dir(loaded):
            if match := re.fullmatch(r"exercise_(\d\d)_(\d+)", name):
                found[f"{match[1]}.{match[2]}"] = getattr(loaded, name)
    return dict(sorted(found.items()))


def _watched(attempt: Attempt) -> Attempt:
    """The reader's function, with its stubs and its exceptions told apart from ours."""

    def call(*arguments: object, **named: object) -> object:
        try:
            with np.errstate(all="ignore"):
                answer = attempt(*arguments, **named)
        except NotImplementedError as error:
            raise NotAttempted from error
        except Exception as error:
            raise NotYet(f"your function raised {type(error).__name__}: {error}") from error
        if answer is None or answer is Ellipsis:
            raise NotAttempted
        return answer

    return call


def grade(name: str, attempt: object) -> Verdict:
    """Judge an attempt (a function, or a plain value where the exercise asks for one).

    Raises:
        KeyError: if there is no such exercise.
    """
    exercises = registry()
    if name not in exercises:
        raise KeyError(f"no exercise {name!r}; there are {', '.join(exercises)}")
    function = attempt if callable(attempt) else lambda *_, **__: attempt
    try:
        return Verdict("correct", exercises[name](_watched(function)))
    except NotAttempted:
        return Verdict("not attempted")
    except NotYet as observation:
        return Verdict("not yet", str(observation))


def check(name: str, attempt: object) -> None:
    """Print the verdict on an attempt; never raises for what the attempt does."""
    print(grade(name, attempt))


def require(holds: object, observation: str) -> None:
    """Raise `NotYet` with the observation unless it holds."""
    if not holds:
        raise NotYet(observation)


def judge(case: str, *checks: tuple[object, str]) -> None:
    """`require` each (holds, observation) in turn, with the case before the observation."""
    for holds, observation in checks:
        require(holds, f"{case}: {observation}")


def agree(found: float, expected: float, case: str, *, near: float = 1e-9) -> None:
    """Raise `NotYet` unless two numbers are equal within a millionth, or `near`."""
    if not math.isclose(found, expected, rel_tol=1e-6, abs_tol=near):
        raise NotYet(f"{case}: expected {expected:.5g}, you say {found:.5g}")


def as_number(answer: object, what: str) -> float:
    """The answer as a finite float, or `NotYet`, naming `what` was expected."""
    scalar = _array(answer)
    scalar = scalar.reshape(()) if scalar.size == 1 else scalar
    if scalar.ndim or scalar.dtype.kind not in "iuf" or not np.isfinite(scalar):
        raise NotYet(f"{what} must be one finite number, got {_shown(answer)}")
    return float(scalar)


def as_count(answer: object, what: str) -> int:
    """The answer as an int (3.0 counts as 3), or `NotYet`."""
    number = as_number(answer, what)
    require(number == round(number), f"{what} must be a whole number, got {number:g}")
    return round(number)


def as_array(answer: object, shape: tuple[int, ...], what: str) -> np.ndarray:
    """The answer as a finite float array of this shape, or `NotYet`."""
    array = _array(answer)
    if array.dtype.kind not in "biuf" or array.shape != shape:
        raise NotYet(f"{what} must be an array of shape {shape}, got {_shown(answer)}")
    broken = int((~np.isfinite(array)).sum())
    require(not broken, f"{what} holds {broken} NaN or infinite values")
    return array.astype(np.float64)


def _array(answer: object) -> np.ndarray:
    try:
        return np.asarray(answer)
    except (TypeError, ValueError, RuntimeError):  # ragged lists, tensors that need a gradient
        return np.asarray(None)


def _shown(answer: object) -> str:
    shape = getattr(answer, "shape", None)
    if shape is None or shape == ():
        return f"{type(answer).__name__} {answer!r:.60}"
    return f"shape {tuple(shape)}"
