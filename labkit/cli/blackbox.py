"""`labkit enhance`, and the training and evaluation of the controllers that turn real plug-ins."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from tyro.conf import Positional

from labkit.cli.options import Evaluation, Training, say

if TYPE_CHECKING:
    from labkit.measure.score import Row

TaskName = Literal["distortion", "speech", "mastering"]
ProcessorName = Literal["ts9", "zamtube"]


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
            raise ValueError(
                f"checkpoint must be one for {self.task}, got one for {model.config.task}"
            )
        target = self.out or Path("output") / f"{self.file.stem}_{self.task}.wav"
        facts = tasks.enhance_file(model, self.file, target, hop_s=self.hop)
        for name, value in facts["setting"].items():
            print(f"  {name:32s} {value:.2f}")
        print(
            f"wrote {target}, {facts['seconds']:.1f} s, peak {facts['peak']:.3f}, and {target.with_suffix('.json')}"
        )
        return 0


@dataclass(frozen=True)
class TrainBlackbox(Training):
    """Train a controller through real plug-ins.

    Attributes:
        task: distortion, speech or mastering.
        processor: whose sound distortion is after: guitarix's TS9, or ZamTube; both are LV2 and need dawdreamer.
        dry: a folder of your own recordings, to train on instead of what the seeds make; any rate and number of
            channels, each as long as its pair. From DAPS (`labkit data get daps`), for speech: daps/cleanraw.
        wet: the folder of what they should become, which may be the same: a_wet.wav or a.wav for a_dry.wav or a.wav.
            From DAPS: daps/clean. Names that agree up to the first underscore are one source, which is trained on or
            validated on.
    """

    system: ClassVar[str] = "blackbox"

    task: TaskName = "distortion"
    processor: ProcessorName = "ts9"
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
            raise ValueError(
                "dry and wet must be given together: two folders whose recordings have the same names"
            )
        chosen = self.chosen | {"processor": self.processor}
        config = replace(tasks.CONFIGS[self.task], **chosen)
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
        only: measure the protocols alone whose names hold this; all other rows stay as they are.
    """

    system: ClassVar[str] = "blackbox"

    task: TaskName | None = None
    all: bool = False
    n: int = 12
    n_real: int = 8
    checkpoint: Path | None = None
    only: str = ""

    def rows(self) -> "list[Row]":
        """Every figure of the results table."""
        from labkit.systems.blackbox import tasks

        if self.only and not (self.task or self.checkpoint):
            raise ValueError(
                "only must come with task or checkpoint: the protocols of one task are chosen from"
            )
        if self.checkpoint:
            paths = [self.checkpoint]
        else:
            names = [self.task] if self.task and not self.all else list(tasks.TASKS)
            every = [tasks.shipped_path(name) for name in names]
            paths = [path for path in every if path.exists()] or every[:1]
        given = {"n": self.n, "n_real": self.n_real, "seed": self.seed, "only": self.only}
        made = [
            row
            for path in paths
            for row in tasks.evaluate(tasks.load(path), checkpoint=path.name, **given)
        ]
        rows = self.beside_old(made) if self.task or self.checkpoint or self.only else made
        return sorted(rows, key=lambda row: row.protocol.split(":")[0])
