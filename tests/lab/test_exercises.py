"""Every check is checked: its solution passes, and wrong answers get the message meant for them."""

import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from labkit.lab import exercises
from labkit.lab.exercises import check, grade
from labkit.signal.files import AudioError

ROOT = Path(__file__).resolve().parents[2]


RIGHT = {}
for notebook in sorted((ROOT / "notebooks/solutions").glob("*.ipynb")):
    RIGHT |= exercises.solutions(notebook.name[:2])
WRONG, ALSO_RIGHT = [], []
for bank in sorted((Path(__file__).parent / "banks").glob("*.py")):
    found = runpy.run_path(str(bank), init_globals={"RIGHT": RIGHT})
    WRONG += found["WRONG"]
    ALSO_RIGHT += found.get("ALSO_RIGHT", [])


def test_every_exercise_has_a_solution_and_two_wrong_answers():
    assert set(exercises.registry()) == set(RIGHT)
    names = [name for name, *_ in WRONG]
    assert [name for name in RIGHT if names.count(name) < 2] == []


@pytest.mark.parametrize("name", RIGHT)
def test_the_solution_is_correct(name):
    verdict = grade(name, RIGHT[name])
    assert verdict.startswith("correct: "), verdict
    assert len(verdict) > 30


@pytest.mark.parametrize(("name", "answer"), ALSO_RIGHT)
def test_a_right_answer_in_another_style_is_correct(name, answer):
    verdict = grade(name, answer)
    assert verdict.startswith("correct: "), verdict


@pytest.mark.parametrize(("name", "answer", "words"), WRONG)
def test_a_wrong_answer_gets_the_message_meant_for_it(name, answer, words):
    verdict = grade(name, answer)
    assert verdict.startswith("not yet: "), verdict
    assert words in verdict
    assert any(c.isdigit() for c in verdict) or "raised" in verdict or " must be a" in verdict


def stub(*_):
    raise NotImplementedError


@pytest.mark.parametrize("name", RIGHT)
def test_a_stub_is_not_attempted(name):
    for attempt in (stub, lambda *_: None, lambda *_: ..., None, ...):
        assert grade(name, attempt) == "not attempted"


@pytest.mark.parametrize("name", RIGHT)
def test_a_function_that_goes_wrong_is_told_how(name):
    """Nothing returned, an error, another shape, another type: each is said, none is a stub."""

    def forgot(*given):
        RIGHT[name](*given)

    def broken(*_):
        raise AudioError("too loud")

    def as_text(*given):
        found = RIGHT[name](*given)
        found = found.detach() if hasattr(found, "detach") else found
        return {3: found} if isinstance(found, set) else np.asarray(found).astype(str)

    assert "`return` is missing" in grade(name, forgot)
    assert grade(name, broken) == "not yet: your function raised an error: too loud"
    for wrong in (as_text, lambda *_: np.zeros((2, 3, 4))):
        assert re.match(r"not yet: .*\b(must be|was expected)", grade(name, wrong)), wrong


@pytest.mark.parametrize("name", RIGHT)
def test_junk_is_never_correct_and_never_a_traceback(name):
    junk = ["text", object(), [], {}, float("nan"), np.zeros((3, 3)), 1j, [[1], [2, 3]], lambda: 0]
    assert all(grade(name, answer).startswith("not yet: ") for answer in junk)


def test_check_prints_the_verdict_and_names_an_unknown_exercise(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert check("01.2", RIGHT["01.2"]) is None
    assert capsys.readouterr().out.startswith("correct: with center")
    with pytest.raises(KeyError, match=r"no exercise '99.9'; there are 00.1, 00.2"):
        check("99.9", stub)


def test_the_solution_stands_in_for_a_stub(capsys):
    assert exercises.or_solution("01.2", RIGHT["01.2"]) is RIGHT["01.2"]
    assert exercises.or_solution("01.2", stub) is RIGHT["01.2"]
    assert (
        capsys.readouterr().out
        == "01.2: yours is used from here on\n01.2: not solved yet, so ours is used from here on\n"
    )


def test_every_exercise_has_stars_minutes_and_three_different_hints():
    assert set(exercises.facts()) == set(exercises.registry())
    for name, one in exercises.facts().items():
        assert one.title, name
        assert 1 <= one.stars <= 3, name
        assert 1 <= one.minutes <= 60, name
        assert len(set(one.hints)) == 3, name


def test_hints_come_one_by_one_and_end_with_the_last(capsys):
    for _ in range(4):
        exercises.hint("00.1")
    lines = capsys.readouterr().out.splitlines()
    assert [line[:11] for line in lines] == [
        "hint 1 of 3",
        "hint 2 of 3",
        "hint 3 of 3",
        "hint 3 of 3",
    ]
    with pytest.raises(KeyError, match=r"no exercise '99.9'"):
        exercises.hint("99.9")


def test_solved_exercises_are_remembered_and_all_of_them_give_a_certificate(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    check("01.2", lambda *_: 3)
    exercises.progress()
    assert f"0 of {len(RIGHT)} exercises solved" in capsys.readouterr().out
    check("01.2", RIGHT["01.2"])
    table = exercises.progress()
    assert f"1 of {len(RIGHT)} exercises solved" in capsys.readouterr().out
    assert [row[0] for row in table.body if row[-1]] == ["01.2"]
    assert not (tmp_path / "output/certificate.html").exists()
    monkeypatch.setattr(exercises, "grade", lambda *_: "correct: see above")
    for name in RIGHT:
        check(name, RIGHT[name])
    capsys.readouterr()
    exercises.progress()
    assert "certificate.html" in capsys.readouterr().out
    assert (tmp_path / "output/certificate.html").read_text().count("<tr>") == len(RIGHT) + 1
