"""The evaluation of k oscillators."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from labkit.cli.options import Evaluation

if TYPE_CHECKING:
    from labkit.measure.score import Row


@dataclass(frozen=True)
class EvaluateKosc(Evaluation):
    """Settings of k exchangeable oscillators: regression, flow, equivariant flow, nearest neighbour; trains them first.

    Attributes:
        run_dir: one folder for each run; the same folder again takes up what is done.
        k: numbers of oscillators; rows of other numbers in the file stay.
        seeds: of the heads.
        all: with the regressions whose losses know of the symmetry, and the flow that has to find it.
        n: sounds of a test.
        steps: of each head's training; the system's own number by default.
        encoder_steps: of the encoder's training, one for each k; the system's own number by default.
        n_train: sounds to learn from; the system's own number by default.
    """

    system: ClassVar[str] = "kosc"

    run_dir: Path = Path("runs/kosc")
    k: tuple[int, ...] = (4, 8)
    seeds: tuple[int, ...] = (0, 1, 2)
    all: bool = False
    n: int = 160
    steps: int | None = None
    encoder_steps: int | None = None
    n_train: int | None = None

    def rows(self) -> "list[Row]":
        """Every figure of the results table."""
        from labkit.measure.score import read, results_path
        from labkit.systems.synth_matching import kosc

        sizes = {"steps": self.steps, "encoder_steps": self.encoder_steps, "n_train": self.n_train}
        config = replace(
            kosc.Config(), **{name: size for name, size in sizes.items() if size is not None}
        )
        given = {"ks": self.k, "seeds": self.seeds, "n": self.n, "seed": self.seed}
        rows = kosc.evaluate(
            config, self.run_dir, **given, **({"heads": kosc.HEADS} if self.all else {})
        )
        print("\n".join(kosc.ratios(rows)))
        path = self.out or results_path(self.system)
        measured = tuple(f"{k} oscillators" for k in self.k)
        others = read(self.system, path=path) if path.exists() else []
        kept = [row for row in others if not row.protocol.startswith(measured)]
        return sorted(kept + rows, key=lambda row: int(row.protocol.split()[0]))
