import pytest

from labkit.lab.budget import budget, pick


@pytest.mark.parametrize(("name", "steps"), [("smoke", 1), ("laptop", 2), ("full", 3)])
def test_the_dial_picks(monkeypatch: pytest.MonkeyPatch, name: str, steps: int) -> None:
    monkeypatch.setenv("LAB_BUDGET", name)
    assert budget() == name
    assert pick(smoke=1, laptop=2, full=3) == steps


def test_laptop_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_BUDGET", raising=False)
    assert budget() == "laptop"


def test_a_wrong_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_BUDGET", "huge")
    with pytest.raises(
        ValueError, match="LAB_BUDGET must be one of smoke, laptop, full, got 'huge'"
    ):
        pick(smoke=1, laptop=2, full=3)
