"""Training progress: a bar in a notebook, and plain lines where nothing can draw one."""

import html
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import ipywidgets as widgets
from IPython import get_ipython
from IPython.display import display

Item = TypeVar("Item")
_REFRESH_SECONDS = 0.2


class _Bar(widgets.HTML):
    """Its text form never changes, so that a notebook's saved outputs compare equal from run to run."""

    def __repr__(self) -> str:
        return "progress"


def _in_notebook() -> bool:
    shell = get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None


class Progress:
    """The state of one loop; made by `progress` or used by hand: ``bar.update(step, loss=0.12)``.

    Attributes:
        step: steps done.
        widget: the bar, or None where plain lines are printed.
    """

    def __init__(self, total: int, *, label: str = "training", every: int | None = None) -> None:
        if total < 1 or (every is not None and every < 1):
            raise ValueError(f"total and every must be at least 1, got {total} and {every}")
        self.total, self.label, self.step = total, label, 0
        self._every = every or max(1, total // 10)
        self._notes: dict[str, float] = {}
        self._started, self._drawn, self._said = time.monotonic(), -1.0, -1
        self.widget = _Bar() if _in_notebook() else None
        if self.widget is not None:
            self._draw()
            display(self.widget)

    def update(self, step: int, **notes: float) -> None:
        """Say how many steps are done, and the figures to show beside them."""
        self.step = step
        self._notes |= notes
        last = step >= self.total
        if self.widget is None:
            if step % self._every == 0 or last:
                self._say()
        elif last or time.monotonic() - self._drawn > _REFRESH_SECONDS:
            self._draw()

    def close(self) -> None:
        """Leave one plain line behind: a saved notebook keeps text and loses widgets."""
        if self.widget is not None:
            self._draw()
        self._say()

    def text(self) -> str:
        """E.g. ``training 200/1000  loss 0.123``; without times, so that two runs print the same."""
        notes = "".join(f"  {name} {value:.4g}" for name, value in self._notes.items())
        return f"{self.label} {self.step}/{self.total}{notes}"

    def _say(self) -> None:
        if self._said != self.step:
            self._said = self.step
            print(self.text())
            sys.stdout.flush()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        seconds = self._drawn - self._started
        left = f", {seconds / self.step * (self.total - self.step):.0f} s left" if self.step else ""
        bar = f'<progress max="{self.total}" value="{self.step}" style="width:20em"></progress>'
        self.widget.value = f"{bar} {html.escape(self.text())}  ({seconds:.0f} s{left})"

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def progress(
    items: Iterable[Item],
    *,
    total: int | None = None,
    label: str = "training",
    every: int | None = None,
) -> Iterator[Item]:
    """Go through `items` and show how far; a bar in a notebook, a line every `every` items elsewhere.

    Args:
        items: what to go through.
        total: how many there are; `len(items)` when None.
        label: the word before the count.
        every: items between plain lines; a tenth of `total` when None.

    Yields:
        The items.

    Raises:
        ValueError: if `total` is not known or below 1.
    """
    if total is None:
        if not hasattr(items, "__len__"):
            raise ValueError("total must be given for items without a length")
        total = len(items)
    with Progress(total, label=label, every=every) as bar:
        for step, item in enumerate(items, start=1):
            yield item
            bar.update(step)
