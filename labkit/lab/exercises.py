"""Exercises that check themselves: three answers, never a traceback, and always a reason with numbers in it.

An exercise is a function `exercise_NN_k(attempt)` in `labkit/lab/exercises_NN.py`. It calls the reader's function,
judges what comes back by an independent law or oracle, raises `NotYet` with an observation, or returns what being
correct means. Its first docstring line is its title.
"""

import importlib
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import labkit.lab

Attempt = Callable[..., object]
Exercise = Callable[[Attempt], str]


class NotYet(Exception):  # noqa: N818 - it reads as the verdict it becomes
    """An answer that is not right yet; the message is the observation that shows it."""


class NotAttempted(Exception):  # noqa: N818 - as above
    """The stub is still a stub."""


@dataclass(frozen=True)
class Verdict:
    """What a check says: `state` is ``"not attempted"``, ``"not yet"`` or ``"correct"``."""

    state: str
    message: str = ""

    def __str__(self) -> str:
        return f"{self.state}: {self.message}" if self.message else self.state


def registry() -> dict[str, Exercise]:
    """Every exercise of the course by its name, e.g. ``"02.1"``, in order."""
    found: dict[str, Exercise] = {}
    for module in pkgutil.iter_modules(labkit.lab.__path__):
        if re.fullmatch(r"exercises_\d\d", module.name):
            loaded = importlib.import_module(f"labkit.lab.{module.name}")
            found |= {
                f"{match[1]}.{match[2]}": getattr(loaded, name)
                for name in dir(loaded)
                if (match := re.fullmatch(r"exercise_(\d\d)_(\d+)", name))
            }
    return dict(sorted(found.items()))


def _watched(attempt: Attempt) -> Attempt:
    """The reader's function, with its stubs and its exceptions told apart from ours."""

    def call(*arguments: object, **named: object) -> object:
        try:
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
    """Judge an attempt without printing.

    Args:
        name: of the exercise, e.g. ``"02.1"``.
        attempt: the reader's function, or a plain value where the exercise asks for one.

    Returns:
        ``not attempted`` if the function returns None or `...` or raises NotImplementedError; ``not yet`` with an
        observation; or ``correct`` with what it means.

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
    """Print the verdict on an attempt; never raises for what the attempt does. Args and errors as `grade`."""
    print(grade(name, attempt))


def as_number(answer: object, what: str) -> float:
    """The answer as a finite float.

    Raises:
        NotYet: if it is anything else, naming `what` was expected.
    """
    scalar = _array(answer)
    scalar = scalar.reshape(()) if scalar.size == 1 else scalar
    if scalar.ndim or scalar.dtype.kind not in "iuf" or not np.isfinite(scalar):
        raise NotYet(f"{what} must be one finite number, got {_shown(answer)}")
    return float(scalar)


def as_count(answer: object, what: str) -> int:
    """The answer as an int; 3.0 counts as 3.

    Raises:
        NotYet: if it is not a whole number.
    """
    number = as_number(answer, what)
    if number != round(number):
        raise NotYet(f"{what} must be a whole number, got {number:g}")
    return round(number)


def as_array(answer: object, shape: tuple[int, ...], what: str) -> np.ndarray:
    """The answer as a finite float array of the shape expected.

    Raises:
        NotYet: if the shape differs, or it holds NaN, infinity or no numbers.
    """
    array = _array(answer)
    if array.dtype.kind not in "biuf" or array.shape != shape:
        raise NotYet(f"{what} must be an array of shape {shape}, got {_shown(answer)}")
    broken = int((~np.isfinite(array)).sum())
    if broken:
        raise NotYet(f"{what} holds {broken} NaN or infinite values")
    return array.astype(np.float64)


def _array(answer: object) -> np.ndarray:
    try:
        return np.asarray(answer)
    except (
        TypeError,
        ValueError,
        RuntimeError,
    ):  # ragged lists, tensors that need a gradient, and the like
        return np.asarray(None)


def _shown(answer: object) -> str:
    shape = getattr(answer, "shape", None)
    return (
        f"{type(answer).__name__} {answer!r:.60}"
        if shape is None or shape == ()
        else f"shape {tuple(shape)}"
    )
