"""Training progress: a bar with the latest figures, and TensorBoard inside the notebook."""

import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import ipywidgets as widgets
from tqdm.auto import tqdm

from labkit.signal.optional import need

Item = TypeVar("Item")
# No times: two runs of a notebook leave the same text behind.
_FORMAT = "{desc} {bar} {n_fmt}/{total_fmt}{postfix}"


class Progress(tqdm):
    """A bar for training: ``with Progress(steps) as bar: bar.at(step, loss=0.12)``."""

    def __init__(self, total: int, *, label: str = "training") -> None:
        super().__init__(total=total, desc=label, bar_format=_FORMAT)

    def at(self, step: int, **figures: float) -> None:
        """Show how many steps are done, and figures beside them."""
        self.set_postfix(figures, refresh=False)
        self.update(step - self.n)


def progress(
    items: Iterable[Item], *, total: int | None = None, label: str = "training"
) -> Iterable[Item]:
    """The items, with a bar."""
    return tqdm(items, total=total, desc=label, bar_format=_FORMAT)


class TensorBoard(widgets.HTML):
    """TensorBoard's page; its text form lists the curves, sounds and histograms of the run.

    Attributes:
        url: where the page is served.
        names: kind -> everything there is to see.
    """

    def __init__(self, url: str, names: dict[str, list[str]]) -> None:
        self.url, self.names = url, names
        size = 'width="100%" height="600" frameborder="0"'
        super().__init__(f'<iframe src="{url}" {size} title="TensorBoard"></iframe>')

    def __repr__(self) -> str:
        parts = []
        for kind, names in self.names.items():
            if names:
                more = ", ..." if len(names) > 4 else ""
                parts.append(f"{len(names)} {kind} ({', '.join(names[:4])}{more})")
        return "TensorBoard: " + ("; ".join(parts) or "nothing yet")


def tensorboard(run_dir: str | Path) -> TensorBoard:
    """TensorBoard on a run's folder, served by the kernel on this machine alone.

    Where the notebook runs on another machine, run ``tensorboard --logdir FOLDER`` there.

    Raises:
        FileNotFoundError: if the folder holds no event files.
    """
    files = sorted(Path(run_dir).rglob("events.out.tfevents*"))
    if not files:
        raise FileNotFoundError(f"no event files in {run_dir}: train there first")
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    names: dict[str, list[str]] = {"scalars": [], "audio": [], "histograms": []}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tensorboard 2.20 imports what others have deprecated
        reader = need("tensorboard.backend.event_processing.event_accumulator")
        for folder in sorted({file.parent for file in files}):
            found = reader.EventAccumulator(str(folder)).Reload().Tags()
            names = {kind: [*old, *found[kind]] for kind, old in names.items()}
        server = need("tensorboard.program").TensorBoard()
        server.configure(argv=["tensorboard", "--logdir", str(run_dir), "--load_fast", "false"])
        return TensorBoard(server.launch(), names)
