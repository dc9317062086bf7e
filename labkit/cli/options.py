"""What the commands of all systems share: the options of a training run and of an evaluation, and what they print."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from labkit.measure.score import Row

Kind = Literal["generated", "sampled"]
Sources = Literal["generated", "sampled", "real"]
KINDS: tuple[Kind, ...] = ("generated", "sampled")
ALL_SOURCES: tuple[Sources, ...] = ("generated", "sampled", "real")


@dataclass(frozen=True)
class Training:
    """The options of every training run.

    Attributes:
        run_dir: checkpoints, log and TensorBoard's files; the same folder again resumes; runs/SYSTEM by default.
        steps: optimiser steps; the system's own number by default.
        batch_size: examples a step; the system's own number by default.
        fresh: start over where the folder already holds a run.
        precision: 32-true, or bf16-mixed where the processor has it.
        workers: processes that render examples.
        seed: of everything.
    """

    system: ClassVar[str]

    run_dir: Path | None = None
    steps: int | None = None
    batch_size: int | None = None
    fresh: bool = False
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    workers: int = 2
    seed: int = 0

    def train(self, run_dir: Path, target: Path) -> str:
        """Train in `run_dir`, write the checkpoint to `target`; its sha256."""
        raise NotImplementedError

    @property
    def chosen(self) -> dict[str, Any]:
        """What goes into the system's config; its own numbers stand where none was given."""
        numbers = {"steps": self.steps, "batch_size": self.batch_size}
        fixed = {"precision": self.precision, "n_workers": self.workers, "seed": self.seed}
        return {name: number for name, number in numbers.items() if number is not None} | fixed

    def run(self) -> int:
        """Train, and say where the checkpoint lies."""
        run_dir = self.run_dir or Path("runs") / self.system
        if self.fresh:
            for name in ("checkpoint.pt", "best.pt", "config.json", "log.jsonl"):
                (run_dir / name).unlink(missing_ok=True)
            shutil.rmtree(
                run_dir / "cache", ignore_errors=True
            )  # pictures of another run's examples
        target = run_dir / f"{self.system}.safetensors"
        print(f"wrote {target}, sha256 {self.train(run_dir, target)}")
        return 0


@dataclass(frozen=True)
class Evaluation:
    """The options of every evaluation.

    Attributes:
        out: another file than data/results/SYSTEM.json.
        seed: of the evaluation.
    """

    system: ClassVar[str]

    out: Path | None = None
    seed: int = 1

    def rows(self) -> "list[Row]":
        """Every figure of the results table."""
        raise NotImplementedError

    def beside_old(self, made: "list[Row]") -> "list[Row]":
        """What was measured now, after those rows of the results file whose protocols were not."""
        from labkit.measure.score import read, results_path

        target, now = self.out or results_path(self.system), {row.protocol for row in made}
        old = read(self.system, path=target) if target.is_file() else []
        return [row for row in old if row.protocol not in now] + made

    def run(self) -> int:
        """Print the table, and write it."""
        from labkit.lab.results import table
        from labkit.measure.score import write

        n = getattr(self, "n", 1)
        if n < 1:
            raise ValueError(f"--n must be at least 1, got {n}")
        rows = self.rows()
        print(table(rows))
        print(f"wrote {write(self.system, rows, path=self.out)}")
        return 0


def say(row: dict[str, float]) -> None:
    """Print a row of a training log."""
    print("  ".join(f"{k} {v:.4g}" for k, v in row.items()), flush=True)
