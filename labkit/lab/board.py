"""TensorBoard inside a notebook: a server in the kernel's own process, gone when the kernel goes."""

import logging
import warnings
from pathlib import Path

import ipywidgets as widgets

from labkit.signal.optional import need


class Board(widgets.HTML):
    """TensorBoard's page; its text form lists the curves, sounds and histograms that the run has written.

    Attributes:
        url: where the page is served.
        names: of everything there is to see.
    """

    def __init__(self, url: str, names: dict[str, list[str]]) -> None:
        self.url, self.names = url, names
        super().__init__(
            f'<iframe src="{url}" width="100%" height="600" frameborder="0" title="TensorBoard"></iframe>'
        )

    def __repr__(self) -> str:
        seen = (f"{len(names)} {kind} ({', '.join(names[:4])}{', ...' if len(names) > 4 else ''})"
                for kind, names in self.names.items() if names)  # fmt: skip
        return "TensorBoard: " + ("; ".join(seen) or "nothing yet")


def board(run_dir: str | Path) -> Board:
    """TensorBoard on a run's folder, for the last line of a cell.

    The server listens on this machine alone. Where the notebook is served from another one, run
    ``tensorboard --logdir FOLDER`` there.

    Args:
        run_dir: as given to `train`.

    Returns:
        The page.

    Raises:
        FileNotFoundError: if the folder holds no event files.
    """
    run_dir = Path(run_dir)
    files = sorted(run_dir.rglob("events.out.tfevents*"))
    if not files:
        raise FileNotFoundError(f"no event files in {run_dir}: train there first")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tensorboard 2.20 imports what others have deprecated
        names, url = _names(files), _serve(run_dir)
    return Board(url, names)


def _names(files: list[Path]) -> dict[str, list[str]]:
    reader = need("tensorboard.backend.event_processing.event_accumulator")
    names: dict[str, list[str]] = {"scalars": [], "audio": [], "histograms": []}
    for folder in sorted({file.parent for file in files}):
        found = reader.EventAccumulator(str(folder)).Reload().Tags()
        names = {kind: [*old, *found[kind]] for kind, old in names.items()}
    return names


def _serve(run_dir: Path) -> str:
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    server = need("tensorboard.program").TensorBoard()
    server.configure(argv=["tensorboard", "--logdir", str(run_dir), "--load_fast", "false"])
    return server.launch()
