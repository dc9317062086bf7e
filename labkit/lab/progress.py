"""Training progress: a bar with the latest figures."""

from collections.abc import Iterable
from typing import TypeVar

from tqdm.auto import tqdm

Item = TypeVar("Item")
# No times: two runs of a notebook leave the same text behind.
_FORMAT = "{desc} {bar} {n_fmt}/{total_fmt}{postfix}"


class Progress(tqdm):
    """A bar for training: ``with Progress(steps) as bar: bar.at(step, loss=0.12)``."""

    def __init__(self, total: int) -> None:
        super().__init__(total=total, desc="training", bar_format=_FORMAT)

    def at(self, step: int, **figures: float) -> None:
        """Show how many steps are done, and figures beside them."""
        self.set_postfix(figures, refresh=False)
        self.update(step - self.n)


def progress(items: Iterable[Item], *, label: str) -> Iterable[Item]:
    """The items, with a bar."""
    return tqdm(items, desc=label, bar_format=_FORMAT)
