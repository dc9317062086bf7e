"""Exercises that check themselves: three answers, never a traceback, and a reason with numbers.

An exercise is a function `exercise_NN_k(attempt)` of `judges`. It calls the reader's function,
judges what comes back by an independent law or oracle, raises `NotYet` with an observation, or
returns what being correct means.
"""

import importlib
import re
from collections.abc import Callable, Sequence

import numpy as np

Attempt = Callable[..., object]
Exercise = Callable[[Attempt], str]


class NotYet(Exception):  # noqa: N818 - it reads as the verdict it becomes
    """An answer that is not right yet; the message is the observation that shows it."""


class NotAttempted(Exception):  # noqa: N818 - as above
    """The stub is still a stub."""


def registry() -> dict[str, Exercise]:
    """Every exercise of the course by its name, e.g. ``"02.1"``, in order."""
    judges = vars(importlib.import_module("labkit.lab.judges"))
    found = {name: re.fullmatch(r"exercise_(\d\d)_(\d+)", name) for name in judges}
    return {f"{match[1]}.{match[2]}": judges[name] for name, match in found.items() if match}


def _watched(attempt: Attempt) -> Attempt:
    """The reader's function on copies, with its stubs and its exceptions told apart from ours."""

    def call(*arguments: object) -> object:
        copied = (a.copy() if isinstance(a, np.ndarray | list | set) else a for a in arguments)
        try:
            with np.errstate(all="ignore"):
                answer = attempt(*copied)
        except NotYet:  # the reader's function called one of ours with a wrong argument
            raise
        except NotImplementedError as error:
            raise NotAttempted from error
        except Exception as error:
            raise NotYet(f"your function raised {type(error).__name__}: {error}") from error
        if answer is None or answer is Ellipsis:
            raise NotAttempted
        return answer

    return call


def grade(name: str, attempt: object) -> str:
    """``"not attempted"``, ``"not yet: "`` and an observation, or ``"correct: "`` and its meaning.

    Raises:
        KeyError: if there is no such exercise.
    """
    exercises = registry()
    if name not in exercises:
        raise KeyError(f"no exercise {name!r}; there are {', '.join(exercises)}")
    function = attempt if callable(attempt) else lambda *_: attempt
    try:
        return f"correct: {exercises[name](_watched(function))}"
    except NotAttempted:
        return "not attempted"
    except NotYet as observation:
        return f"not yet: {observation}"


def check(name: str, attempt: object) -> None:
    """Print the verdict on an attempt; never raises for what the attempt does."""
    print(grade(name, attempt))


def require(holds: object, observation: str) -> None:
    """Raise `NotYet` with the observation unless it holds."""
    if not holds:
        raise NotYet(observation)


def compare(
    answer: object,
    expected: float | np.ndarray,
    case: str,
    *,
    near: float = 1e-9,
    hints: Sequence[tuple[float | np.ndarray, str]] = (),
) -> None:
    """Raise `NotYet` unless the answer is as expected, within a millionth or `near`.

    Args:
        expected: an int asks for a whole number, an array for its shape.
        hints: (a wrong number, what it tells about the mistake).
    """
    if isinstance(expected, int):
        answer = as_count(answer, case)
    found = as_array(answer, np.shape(expected), case)
    off = np.abs(found - expected) - np.maximum(1e-6 * np.abs(expected), near)
    worst = np.unravel_index(off.argmax(), off.shape)
    place = f" at {', '.join(map(str, worst))}" if worst else ""
    hint = "".join(f": {words}" for wrong, words in hints if np.allclose(found, wrong, 1e-6))
    words = f"expected {np.asarray(expected)[worst]:.5g}, you say {found[worst]:.5g}"
    require(off[worst] <= 0, f"{case}: {words}{place}{hint}")


def as_number(answer: object, what: str) -> float:
    """The answer as a finite float, or `NotYet`, naming `what` was expected."""
    return float(as_array(answer, (), what))


def as_count(answer: object, what: str) -> int:
    """The answer as an int (3.0 counts as 3), or `NotYet`."""
    number = as_number(answer, what)
    require(number == round(number), f"{what} must be a whole number, got {number:g}")
    return round(number)


def as_array(answer: object, shape: tuple[int, ...], what: str) -> np.ndarray:
    """The answer as a finite float array of this shape, or `NotYet`; () means one number."""
    wanted = f"an array of shape {shape}" if shape else "one finite number"
    try:
        array = np.asarray(answer)
    except (TypeError, ValueError, RuntimeError):  # ragged lists, tensors that need a gradient
        array = np.asarray(None)
    if not shape and array.size == 1:
        array = array.reshape(())
    numeric = array.dtype.kind in ("biuf" if shape else "iuf")
    require(numeric and array.shape == shape, f"{what} must be {wanted}, got {_shown(answer)}")
    broken = int((~np.isfinite(array)).sum())
    require(not broken, f"{what} holds {broken} NaN or infinite values")
    return array.astype(np.float64)


def _shown(answer: object) -> str:
    shape = getattr(answer, "shape", ())
    return f"shape {tuple(shape)}" if shape else f"{type(answer).__name__} {answer!r:.60}"
