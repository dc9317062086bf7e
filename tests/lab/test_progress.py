import pytest

from labkit.lab import progress as module
from labkit.lab.progress import Progress, progress


def test_plain_lines_every_k_steps_and_one_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(range(7), every=3, label="fit")) == list(range(7))
    assert capsys.readouterr().out.splitlines() == ["fit 3/7", "fit 6/7", "fit 7/7"]


def test_notes_stand_beside_the_count(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(2000, every=1000) as bar:
        for step in range(1, 2001):
            bar.update(step, loss=1 / step)
    assert capsys.readouterr().out.splitlines() == [
        "training 1000/2000  loss 0.001",
        "training 2000/2000  loss 0.0005",
    ]


def test_an_interrupted_loop_says_where_it_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    def steps():
        yield from range(5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(progress(steps(), total=100))
    assert capsys.readouterr().out == "training 5/100\n"


def test_a_notebook_gets_one_bar_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list = []
    monkeypatch.setattr(module, "_in_notebook", lambda: True)
    monkeypatch.setattr(module, "display", shown.append)
    with Progress(4, label="<fit>") as bar:
        for step in range(1, 5):
            bar.update(step, loss=2.0)
    assert shown == [bar.widget]
    assert 'max="4" value="4"' in bar.widget.value
    assert "&lt;fit&gt; 4/4  loss 2" in bar.widget.value
    assert repr(bar.widget) == "progress"
    assert capsys.readouterr().out == "<fit> 4/4  loss 2\n"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: list(progress(iter([1]))), "total must be given"),
        (lambda: Progress(0), "must be at least 1, got 0 and None"),
        (lambda: Progress(5, every=0), "must be at least 1, got 5 and 0"),
    ],
)
def test_errors(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
