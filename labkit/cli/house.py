"""What belongs to no system: data, results, doctor."""

from dataclasses import dataclass
from typing import Literal

from tyro.conf import Positional


@dataclass(frozen=True)
class Data:
    """What data there is: list the public sets, get one, or make what ships in data/.

    Attributes:
        action: list, get or make.
        name: the set to get.
        accept_licence: say that you keep to its licence.
    """

    action: Positional[Literal["list", "get", "make"]]
    name: Positional[str | None] = None
    accept_licence: bool = False

    def run(self) -> int:
        """Do it."""
        from labkit.signal import datasets, shipped
        from labkit.signal.paths import data_dir

        if self.action == "make":
            for name, digest in shipped.make_phrases(data_dir() / "phrases").items():
                print(f"{name}  {digest}")
        elif self.action == "list":
            for record in datasets.records().values():
                print(f"{record.name:24s} {record.licence:18s} {record.title}  {record.page}")
        elif self.name is None:
            raise ValueError(f"name a data set to get: {', '.join(datasets.records())}")
        else:
            try:
                print(datasets.get(self.name, accept_licence=self.accept_licence))
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
