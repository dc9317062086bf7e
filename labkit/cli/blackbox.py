"""`labkit enhance`, and the training and evaluation of the controllers that turn real plug-ins."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from tyro.conf import Positional

from labkit.cli.options import Evaluation, Training, say

if TYPE_CHECKING:
    from labkit.measure.score import Row

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
        """Predict the settings, play and write."""
        from labkit.systems import blackbox

        model = blackbox.load(self.checkpoint, preset=self.task)
        target = self.out or Path("output") / f"{self.file.stem}_{self.task}.wav"
        facts = blackbox.enhance_file(model, self.file, target, hop_s=self.hop)
        for name, value in facts["setting"].items():
            print(f"  {name:32s} {value:.2f}")
        length, peak = facts["seconds"], facts["peak"]
        print(f"wrote {target}, {length:.1f} s, peak {peak:.3f}, and {target.with_suffix('.json')}")
        return 0


@dataclass(frozen=True)
class TrainBlackbox(Training):
    """Train a controller through real plug-ins.

    Attributes:
        preset: distortion, speech or mastering.
        dry: a folder of your own recordings, to train on instead of what the seeds make.
        wet: the folder of what they should become, which may be the same.
    """

    system: ClassVar[str] = "blackbox"

    preset: TaskName = "distortion"
    dry: Path | None = None
    wet: Path | None = None

    def run(self) -> int:
        """Train, and say where the checkpoint lies."""
        folder = self.run_dir or Path("runs") / f"blackbox_{self.preset}"
        return super(TrainBlackbox, replace(self, run_dir=folder)).run()

    def train(self, run_dir: Path, target: Path) -> str:
        """Train in `run_dir`, write the checkpoint to `target`; its sha256."""
        from labkit.systems.blackbox import SYSTEM
        from labkit.systems.blackbox.train import Data

        chosen = {**self.chosen, "n_workers": 0, "n_copies": self.workers}
        config, data = SYSTEM.presets[self.preset].but(**chosen), Data(self.dry, self.wet)
        return SYSTEM.save(SYSTEM.train(config, run_dir, data=data, on_log=say), target)


@dataclass(frozen=True)
class EvaluateBlackbox(Evaluation):
    """Controllers beside rules, the best constant, random settings, shuffled sound and an oracle.

    Attributes:
        preset: one task; the rows of the others stay as they are in the results file.
        n: generated recordings of each task.
        n_real: real ones (LABKIT_REAL_DATA).
        checkpoint: another controller than the shipped one; of its own task.
    """

    system: ClassVar[str] = "blackbox"

    preset: TaskName | None = None
    n: int = 12
    n_real: int = 8
    checkpoint: Path | None = None

    def rows(self) -> "list[Row]":
        """Every figure of the results table."""
        from labkit.systems.blackbox import SYSTEM

        presets = [self.preset] if self.preset else SYSTEM.checkpoints
        paths = [self.checkpoint] if self.checkpoint else map(SYSTEM.shipped_path, presets)
        options = {"n": self.n, "n_real": self.n_real, "seed": self.seed}
        made = []
        for path in paths:
            rows = SYSTEM.score(SYSTEM.load(path), **options)
            made += [replace(row, checkpoint=path.name) for row in rows]
        return self.beside_old(made) if self.preset or self.checkpoint else made
