"""Every check is itself checked: its solution passes, and wrong answers fail with the message meant for them.

A bank is `banks/bank_NN.py` with `BANK = {exercise: (solution, [(wrong answer, fragment of its message), ...])}`.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from labkit.lab import exercises
from labkit.lab.exercises import NotYet, check, grade
from labkit.lab.exercises_00_02 import count_sounds


def _banks() -> dict:
    banks: dict = {}
    for path in sorted((Path(__file__).parent / "banks").glob("bank_*.py")):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        banks |= module.BANK
    return banks


BANKS = _banks()
WRONG = [
    pytest.param(name, answer, words, id=f"{name}-{k}")
    for name, (_, wrong) in BANKS.items()
    for k, (answer, words) in enumerate(wrong)
]


def test_every_exercise_has_a_bank_with_two_wrong_answers() -> None:
    assert set(exercises.registry()) == set(BANKS)
    assert {name for name, (_, wrong) in BANKS.items() if len(wrong) < 2} == set()
    assert {f"{n}.{k}" for n in ("01", "02", "03", "04", "05") for k in (1, 2, 3)} <= set(BANKS)


@pytest.mark.parametrize("name", BANKS)
def test_the_solution_is_correct(name: str) -> None:
    verdict = grade(name, BANKS[name][0])
    assert verdict.state == "correct", verdict
    assert len(verdict.message) > 20


@pytest.mark.parametrize(("name", "answer", "words"), WRONG)
def test_a_wrong_answer_gets_the_message_meant_for_it(
    name: str, answer: object, words: str
) -> None:
    verdict = grade(name, answer)
    assert verdict.state == "not yet", verdict
    assert words in verdict.message
    assert any(c.isdigit() for c in verdict.message) or "raised" in verdict.message


def _stub(*_: object) -> None:
    raise NotImplementedError


@pytest.mark.parametrize("name", BANKS)
@pytest.mark.parametrize("stub", [_stub, lambda *_: None, lambda *_: ..., None, ...])
def test_a_stub_is_not_attempted(name: str, stub: object) -> None:
    assert str(grade(name, stub)) == "not attempted"


@pytest.mark.parametrize("name", BANKS)
@pytest.mark.parametrize(
    "junk", ["text", object(), [], {}, float("nan"), np.zeros((3, 3)), 1j, [[1], [2, 3]], lambda: 0]
)
def test_junk_is_never_correct_and_never_a_traceback(name: str, junk: object) -> None:
    assert grade(name, junk).state == "not yet"


def test_check_prints_and_returns_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("01.2", BANKS["01.2"][0]) is None
    assert capsys.readouterr().out.startswith("correct: with center")


def test_an_unknown_exercise_is_named() -> None:
    with pytest.raises(KeyError, match=r"no exercise '99.9'; there are 00.1, 00.2"):
        check("99.9", _stub)


def test_distinguishable_orders_by_hand() -> None:
    """Acyclic orientations of the graph of pairs that do not commute (Stanley 1973): a star of 4 has 2**3."""
    linear = {frozenset(pair) for pair in (("r", "d"), ("r", "e"), ("d", "e"))}
    assert count_sounds("xrde", linear) == 8
    assert count_sounds("xcrde", linear | {frozenset("ce")}) == 36
    assert count_sounds("abc", set()) == 6


def test_answers_are_read_with_care() -> None:
    assert exercises.as_count(np.float32(3.0), "n") == 3
    assert exercises.as_number(np.array([2.5]), "x") == 2.5
    with pytest.raises(NotYet, match="must be one finite number, got bool True"):
        exercises.as_number(True, "x")
