"""Progress: a bar with the time that is left, and the latest figures."""

from collections.abc import Iterable
from typing import TypeVar

from tqdm.auto import tqdm

Item = TypeVar("Item")
_FORMAT = "{desc} {bar} {n_fmt}/{total_fmt}, {remaining} left{postfix}"
_DONE = "{desc} {bar} {n_fmt}/{total_fmt}, {elapsed}{postfix}"


class _Bar(tqdm):
    def close(self) -> None:
        if not self.disable:
            self.bar_format = _DONE
        super().close()


class Progress(_Bar):
    """A bar for training: ``with Progress(steps) as bar: bar.at(step, loss=0.12)``."""

    def __init__(self, total: int, *, label: str = "training") -> None:
        super().__init__(total=total, desc=label, bar_format=_FORMAT)

    def at(self, step: int, **figures: float) -> None:
        """Show how many steps are done, and figures beside them."""
        self.set_postfix(figures, refresh=False)
        self.update(step - self.n)


def progress(items: Iterable[Item], *, label: str) -> Iterable[Item]:
    """The items, with a bar that shows how much time is left (minutes:seconds)."""
    return _Bar(items, desc=label, bar_format=_FORMAT)
