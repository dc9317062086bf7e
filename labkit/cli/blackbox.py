"""`labkit enhance`, and the training and evaluation of the controllers that turn real plug-ins."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from tyro.conf import Positional

from labkit.cli.options import Evaluation, Training, say

if TYPE_CHECKING:
    from labkit.measure.results import Row

TaskName = Literal["distortion", "speech", "mastering"]


@dataclass(frozen=True)
class Enhance:
    """Play a recording of any length through a chain of plug-ins that a network turns.

    Attributes:
        file: wav, flac, aiff, ogg or mp3; any rate, any number of channels.
        task: distortion, speech (without breaths, clicks and room), or mastering.
        out: a .wav; output/FILE_TASK.wav by default. Settings and curve come beside it, as .json.
        hop: seconds from one setting to the next.
        checkpoint: another controller than the shipped one.
    """

    file: Positional[Path]
    task: TaskName
    out: Path | None = None
    hop: float = 0.5
    checkpoint: Path | None = None

    def run(self) -> int:
        """Hear, turn, play, write."""
        from labkit.systems.blackbox import tasks

        model = tasks.load(self.checkpoint, task=self.task)
        if model.config.task != self.task:
            raise ValueError(f"checkpoint must be one for {self.task}, got one for {model.config.task}")
        target = self.out or Path("output") / f"{self.file.stem}_{self.task}.wav"
        facts = tasks.enhance_file(model, self.file, target, hop_s=self.hop)
        for name, value in facts["setting"].items():
            print(f"  {name:32s} {value:.2f}")
        print(f"wrote {target}, {facts['seconds']:.1f} s, peak {facts['peak']:.3f}, and {target.with_suffix('.json')}")
        return 0


@dataclass(frozen=True)
class TrainBlackbox(Training):
    """Train a controller through real plug-ins.

    Attributes:
        task: distortion, speech or mastering.
        dry: a folder of your own recordings, to train on instead of what the seeds make.
        wet: the folder of what they should become.
    """

    system: ClassVar[str] = "blackbox"

    task: TaskName = "distortion"
    dry: Path | None = None
    wet: Path | None = None

    def run(self) -> int:
        """Train, and say where the checkpoint lies."""
        folder = self.run_dir or Path("runs") / f"blackbox_{self.task}"
        return super(TrainBlackbox, replace(self, run_dir=folder)).run()

    def train(self, run_dir: Path, target: Path) -> str:
        """Train in `run_dir`, write the checkpoint to `target`; its sha256."""
        from labkit.systems.blackbox import tasks

        if (self.dry is None) != (self.wet is None):
            raise ValueError("dry and wet must be given together: two folders whose recordings have the same names")
        config = replace(tasks.CONFIGS[self.task], **self.chosen)
        pairs = None if self.dry is None else (self.dry, self.wet)
        return tasks.save(tasks.train(config, run_dir, pairs=pairs, on_log=say), target)


@dataclass(frozen=True)
class EvaluateBlackbox(Evaluation):
    """Controllers beside rules, the best constant, random settings, CMA-ES, shuffled sound and an oracle.

    Attributes:
        task: one of them; the rows of the others stay as they are in the results file.
        all: every task that ships; the same without a task.
        n: generated recordings of each task.
        n_real: real ones (LABKIT_REAL_DATA).
        checkpoint: another controller than the shipped one; of its own task.
    """

    system: ClassVar[str] = "blackbox"

    task: TaskName | None = None
    all: bool = False
    n: int = 12
    n_real: int = 8
    checkpoint: Path | None = None

    def rows(self) -> "list[Row]":
        """Every figure of the results table."""
        from labkit.measure.results import read, results_path
        from labkit.systems.blackbox import tasks

        if self.checkpoint:
            paths = [self.checkpoint]
        else:
            names = [self.task] if self.task and not self.all else list(tasks.TASKS)
            every = [tasks.shipped_path(name) for name in names]
            paths = [path for path in every if path.exists()] or every[:1]
        given = {"n": self.n, "n_real": self.n_real, "seed": self.seed}
        made = [row for path in paths for row in tasks.evaluate(tasks.load(path), checkpoint=path.name, **given)]
        target = self.out or results_path(self.system)
        old = read(self.system, path=target) if target.is_file() and (self.task or self.checkpoint) else []
        kept = {row.protocol for row in old} - {row.protocol for row in made}
        return sorted([row for row in old if row.protocol in kept] + made, key=lambda row: row.protocol.split(":")[0])
