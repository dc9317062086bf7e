"""Exercises that check themselves: three answers, never a traceback, and a reason with numbers.

Exercise `NN.k` is the function `exercise_NN_k(attempt)` of `notebooks/exercises/NN.py`; its title,
time and hints stand in `NN.toml` beside it. It calls the reader's function, judges what comes back
by an independent law or oracle, raises `NotYet` with an observation, or returns what being correct
means.
"""

import contextlib
import dis
import importlib.util
import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np

from labkit.lab.results import Table
from labkit.signal.paths import data_dir, replace_text

Attempt = Callable[..., object]
Exercise = Callable[[Attempt], str]
_SOLVED = Path("output") / "exercises.json"  # name -> the day on which it was first correct
_FOLDER = data_dir().with_name("notebooks") / "exercises"
_asked: Counter[str] = Counter()  # how many hints of each exercise have been given


class NotYet(Exception):  # noqa: N818 - it reads as the verdict it becomes
    """An answer that is not right yet; the message is the observation that shows it."""


class NotAttempted(Exception):  # noqa: N818 - as above
    """The stub is still a stub."""


def registry() -> dict[str, Exercise]:
    """Every exercise of the course by its name, e.g. ``"02.1"``, in order."""
    return {
        name: one for file in sorted(_FOLDER.glob("*.py")) for name, one in _judges(file).items()
    }


@cache
def _judges(file: Path) -> dict[str, Exercise]:
    """The exercises of one notebook by their names."""
    spec = importlib.util.spec_from_file_location(f"exercises_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = {name: re.fullmatch(r"exercise_(\d\d)_(\d+)", name) for name in vars(module)}
    return {f"{m[1]}.{m[2]}": vars(module)[name] for name, m in found.items() if m}


def _watched(attempt: Attempt) -> Attempt:
    """The reader's function on copies, with its stubs and its exceptions told apart from ours."""

    def call(*arguments: object) -> object:
        try:
            with np.errstate(all="ignore"):
                answer = attempt(*map(_copied, arguments))
        except NotYet:  # the reader's function called one of ours with a wrong argument
            raise
        except NotImplementedError as error:
            raise NotAttempted from error
        except Exception as error:
            ours = type(error).__module__.startswith("labkit.")  # a name that says nothing to them
            name = "an error" if ours else type(error).__name__
            raise NotYet(f"your function raised {name}: {error}") from error
        if answer is Ellipsis or (answer is None and _is_stub(attempt)):
            raise NotAttempted
        require(answer is not None, "your function gives back nothing (None): `return` is missing")
        return answer

    return call


def _copied(argument: object) -> object:
    """A copy of what an attempt could change in place; a tensor with a gradient stays itself."""
    if isinstance(argument, np.ndarray | list | set):
        return argument.copy()
    plain = hasattr(argument, "clone") and not argument.requires_grad
    return argument.clone() if plain else argument


def _is_stub(function: Attempt) -> bool:
    """Whether nothing is written in a function but a docstring, `...` or `pass`."""
    code = getattr(function, "__code__", None)
    nothing = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}
    return code is not None and {step.opname for step in dis.get_instructions(code)} <= nothing


def grade(name: str, attempt: object) -> str:
    """``"not attempted"``, ``"not yet: "`` and an observation, or ``"correct: "`` and its meaning.

    Raises KeyError if there is no such exercise.
    """
    file = _FOLDER / f"{name[:2]}.py"
    exercises = _judges(file) if file.is_file() else {}
    if name not in exercises:
        raise KeyError(f"no exercise {name!r}; there are {', '.join(registry())}")
    function = attempt if callable(attempt) else lambda *_: ... if attempt is None else attempt
    try:
        return f"correct: {exercises[name](_watched(function))}"
    except NotAttempted:
        return "not attempted"
    except NotYet as observation:
        return f"not yet: {observation}"


def check(name: str, attempt: object) -> None:
    """Print the verdict on an attempt, and remember a correct one in `output/exercises.json`.

    Never raises for what the attempt does.
    """
    verdict = grade(name, attempt)
    print(verdict)
    solved = _solved()
    if verdict.startswith("correct") and name not in solved:
        solved[name] = date.today().isoformat()
        with contextlib.suppress(OSError):  # a folder that cannot be written
            replace_text(_SOLVED, json.dumps(solved, indent=1, sort_keys=True) + "\n")


@cache
def solutions(number: str) -> dict[str, Attempt]:
    """Exercise -> answer: what a solutions notebook, e.g. ``"03"``, hands to `check`."""
    page = _FOLDER.with_name("solutions") / f"{number}_solutions.ipynb"
    cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    found: dict[str, Attempt] = {}
    with patch(f"{__name__}.check", found.__setitem__):
        exec("\n".join(code), {})
    return found


def or_solution(name: str, attempt: Attempt) -> Attempt:
    """The attempt if it is correct, else the solution: so a notebook runs on with a stub."""
    solved = grade(name, attempt).startswith("correct")
    print(f"{name}: {'yours' if solved else 'not solved yet, so ours'} is used from here on")
    return attempt if solved else solutions(name[:2])[name]


@dataclass(frozen=True)
class Facts:
    """What an exercise is: its title, 1 to 3 stars, minutes that it takes, and three hints."""

    title: str
    stars: int
    minutes: int
    hints: tuple[str, str, str]


@cache
def facts() -> dict[str, Facts]:
    """The facts of every exercise by its name, from `NN.toml`."""
    found = {}
    for file in sorted(_FOLDER.glob("*.toml")):
        for name, row in tomllib.loads(file.read_text(encoding="utf-8")).items():
            found[name] = Facts(**{**row, "hints": tuple(row["hints"])})
    return found


def hint(name: str) -> None:
    """Print the next of an exercise's three hints; after the third, the third again."""
    if name not in facts():
        raise KeyError(f"no exercise {name!r}; there are {', '.join(facts())}")
    step = min(_asked[name], 2)
    _asked[name] += 1
    print(f"hint {step + 1} of 3: {facts()[name].hints[step]}")


def progress() -> Table:
    """All exercises: which are solved here, how hard each is, how long it takes.

    Once all are solved, a certificate is written beside their record.
    """
    solved = _solved()
    rows = tuple(
        (name, one.title, "★" * one.stars, f"{one.minutes} min", solved.get(name, ""))
        for name, one in facts().items()
    )
    table, n = Table(("No.", "Exercise", "Level", "Time", "Solved"), rows), len(rows)
    n_solved = sum(bool(row[-1]) for row in rows)
    print(f"{n_solved} of {n} exercises solved")
    if n_solved == n:
        page = _SOLVED.with_name("certificate.html")
        words = f"Every exercise of the course solved, {max(row[-1] for row in rows)}."
        head = f"<!doctype html><meta charset=utf-8><h1>Neural audio effects</h1><p>{words}</p>"
        replace_text(page, f"{head}{table._repr_html_()}\n")
        print(f"all solved: {page} is your certificate")
    return table


def _solved() -> dict[str, str]:
    """Name -> the day on which it was solved; empty where nothing can be read."""
    try:
        found = json.loads(_SOLVED.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def require(holds: object, observation: str) -> None:
    """Raise `NotYet` with the observation unless it holds."""
    if not holds:
        raise NotYet(observation)


def compare(
    answer: object,
    expected: complex | np.ndarray,
    case: str,
    *,
    near: float = 1e-9,
    hints: Sequence[tuple[complex | np.ndarray, str]] = (),
    of: type = object,
) -> None:
    """Raise `NotYet` unless the answer is as expected, within a millionth of the largest or `near`.

    An expected int asks for a whole number, an array for its shape; complex is allowed. `hints` are
    pairs of a wrong number and what it tells about the mistake; `of` is as in `as_array`.
    """
    if isinstance(expected, int):
        answer = as_count(answer, case)
    kinds = "c" * np.iscomplexobj(expected)
    found = as_array(answer, np.shape(expected), case, kinds=kinds, of=of)
    off = np.abs(found - expected)
    worst = np.unravel_index(off.argmax(), off.shape)
    place = f" at {', '.join(map(str, worst))}" if worst else ""
    hint = "".join(f": {words}" for wrong, words in hints if np.allclose(found, wrong, 1e-6, near))
    wanted, given = np.round([np.asarray(expected)[worst], found[worst]], 12) + 0  # + 0: no -0
    digits = next((n for n in range(5, 13) if f"{wanted:.{n}g}" != f"{given:.{n}g}"), 5)
    words = f"expected {wanted:.{digits}g}, you say {given:.{digits}g}"
    allowed = max(1e-6 * np.abs(expected).max(), near)  # single precision is exact enough
    require(off[worst] <= allowed, f"{case}: {words}{place}{hint}")


def as_number(answer: object, what: str) -> float:
    """The answer as a finite float, or `NotYet`, naming `what` was expected."""
    return float(as_array(answer, (), what))


def as_count(answer: object, what: str) -> int:
    """The answer as an int (3.0 counts as 3), or `NotYet`."""
    number = as_number(answer, what)
    require(number == round(number), f"{what} must be a whole number, got {number:g}")
    return round(number)


def as_array(
    answer: object, shape: tuple[int, ...], what: str, *, kinds: str = "", of: type = object
) -> np.ndarray:
    """The answer as a finite array of this shape, or `NotYet`; () means one number.

    Its numbers are floats, or with "c" among the `kinds` of NumPy complex. Where the cells that
    follow in the notebook need a type `of` answer (np.ndarray or torch.Tensor), it must be that.
    """
    words = f"{what} must be a {of.__module__}.{of.__name__}, got {type(answer).__name__}"
    require(isinstance(answer, of), words)
    wanted = f"an array of shape {shape}" if shape else "one finite number"
    try:
        array = np.asarray(answer.detach() if hasattr(answer, "detach") else answer)
    except (TypeError, ValueError, RuntimeError):  # ragged lists, lists of tensors with a gradient
        array = np.asarray(None)
    if not shape and array.size == 1:
        array = array.reshape(())
    numeric = array.dtype.kind in ("biuf" if shape else "iuf") + kinds
    require(numeric and array.shape == shape, f"{what} must be {wanted}, got {_shown(answer)}")
    broken = int((~np.isfinite(array)).sum())
    require(not broken, f"{what} holds {broken} NaN or infinite values")
    return array.astype(np.complex128 if kinds else np.float64)


def _shown(answer: object) -> str:
    shape = getattr(answer, "shape", ())
    return f"shape {tuple(shape)}" if shape else f"{type(answer).__name__} {answer!r:.60}"
