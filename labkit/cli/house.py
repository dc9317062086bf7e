"""What belongs to no system: data, results, doctor."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional


@dataclass(frozen=True)
class Data:
    """What data there is: list the public sets, get one, make what ships in data/, or render notes of a synthesizer.

    Attributes:
        action: list, get, make, or render-synth, which `config` and what follows it are for.
        name: the set to get.
        accept_licence: say that you keep to its licence.
        files: of the set, when not all are wanted, e.g. Clean.zip.
        config: JSON with any fields of `RenderConfig`; the defaults are what the shipped network learnt from.
        parameters: vital_simple, vital_full or surge_simple, in place of the config's.
        out: folder of the rendered set; one in the cache by default. The same folder again goes on.
        n: notes to learn from, in place of the config's.
        workers: processes of a local cluster.
        scheduler: address of a dask scheduler to use instead, e.g. tcp://host:8786.
    """

    action: Positional[Literal["list", "get", "make", "render-synth"]]
    name: Positional[str | None] = None
    accept_licence: bool = False
    files: tuple[str, ...] = ()
    config: Path | None = None
    parameters: str | None = None
    out: Path | None = None
    n: int | None = None
    workers: int = 2
    scheduler: str | None = None

    def run(self) -> int:
        """Do it."""
        if self.action == "render-synth":
            from labkit.systems.synth.render import render_with_progress

            names = ("config", "parameters", "out", "n", "workers", "scheduler")
            print(render_with_progress(**{name: getattr(self, name) for name in names}))
            return 0

        from labkit.signal import datasets, shipped
        from labkit.signal.paths import data_dir

        if self.action == "make":
            for name, digest in shipped.make_phrases(data_dir() / "phrases").items():
                print(f"{name}  {digest}")
        elif self.action == "list":
            for record in datasets.records().values():
                size = f"{record.gigabytes:.1f} GB"
                print(
                    f"{record.name:18s} {record.licence:16s} {size:>7s}  {record.title}  {record.page}"
                )
        elif self.name is None:
            raise ValueError(f"name a data set to get: {', '.join(datasets.records())}")
        else:
            try:
                print(
                    datasets.get(
                        self.name, accept_licence=self.accept_licence, files=self.files or None
                    )
                )
            except datasets.LicenceError as error:
                said = str(error).replace("pass accept_licence=True", "add --accept-licence")
                raise ValueError(said) from None
        return 0


@dataclass(frozen=True)
class Results:
    """Write the tables of README.md and data/results/README.md from data/results."""

    def run(self) -> int:
        """Write them."""
        from labkit.lab.results import update_pages

        for page in update_pages():
            print(f"wrote {page}")
        return 0


@dataclass(frozen=True)
class Doctor:
    """Say what is installed, what is missing, and how to mend it."""

    def run(self) -> int:
        """Say it."""
        from labkit.doctor import doctor

        return 0 if doctor() else 1
