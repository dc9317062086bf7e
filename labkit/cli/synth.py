"""`labkit synth`, its training and evaluation."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tyro.conf import Positional

from labkit.cli.options import Evaluation, Training, say

if TYPE_CHECKING:
    from labkit.measure.score import Row


@dataclass(frozen=True)
class Synth:
    """Turn a recorded note into a preset of a synthesizer, with the MIDI note that plays it.

    Attributes:
        file: one note, any pitch and length; the beginning counts.
        out: the folder; output/NAME by default.
        n: patches to draw and play; the nearest one is kept.
        refine: more notes to play, for an evolution strategy on the knobs of the best patch.
        pitch: MIDI key, 36 to 84, if you know it; 60 is middle C.
        preset: the shipped network: vital_simple, or vital_full with twice as many knobs.
        checkpoint: another network instead; it names its own synthesizer.
        seed: of the draws.
    """

    file: Positional[Path]
    out: Path | None = None
    n: int = 8
    refine: int = 0
    pitch: int | None = None
    preset: str = "vital_simple"
    checkpoint: Path | None = None
    seed: int = 0

    def run(self) -> int:
        """Match and write."""
        from labkit.systems.synth import describe, match_file

        print(describe(*match_file(**vars(self))))
        return 0


@dataclass(frozen=True)
class TrainSynth(Training):
    """Train the network that turns a note into patches, on `labkit data render-synth`'s notes.

    Attributes:
        preset: vital_simple, vital_full, surge_simple or kosc.
        folder: of the data set; the set's usual one by default.
        start: a checkpoint to begin with; of one for another parameter set the encoder is taken.
    """

    system: ClassVar[str] = "synth"

    preset: str = "vital_simple"
    folder: Path | None = None
    start: Path | None = None
    workers: int = 0

    def train(self, run_dir: Path, target: Path) -> str:
        """Train in `run_dir`, write the checkpoint to `target`; its sha256."""
        from labkit.systems.synth import SYSTEM
        from labkit.systems.synth.train import Data

        config = SYSTEM.presets[self.preset].but(**self.chosen)
        data = Data(self.folder)
        model = SYSTEM.train(config, run_dir, data=data, start=self.start, on_log=say)
        return SYSTEM.save(model, target)


@dataclass(frozen=True)
class EvaluateSynth(Evaluation):
    """How near matches sound, beside mean patch, neighbours, regression and shuffled sound.

    Attributes:
        n: held-out notes.
        preset: vital_simple or vital_full.
        folder: of the data set; the set's usual one by default.
        checkpoint: another checkpoint than the shipped one.
    """

    system: ClassVar[str] = "synth"

    n: int = 48
    preset: str = "vital_simple"
    folder: Path | None = None
    checkpoint: Path | None = None

    def rows(self) -> "list[Row]":
        """Every figure of the results table."""
        from labkit.systems.synth import SYSTEM

        path = self.checkpoint or SYSTEM.shipped_path(self.preset)
        options = {"n": self.n, "seed": self.seed, "folder": self.folder, "checkpoint": path.name}
        return self.beside_old(SYSTEM.score(SYSTEM.load(path), **options))
