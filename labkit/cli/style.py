"""`labkit style`, and its training and evaluation."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from tyro.conf import Positional

from labkit.cli.options import Evaluation, Training, say

if TYPE_CHECKING:
    from labkit.measure.score import Row


@dataclass(frozen=True)
class Style:
    """Treat a recording like another one: equaliser and compressor; writes sound, settings, code.

    Attributes:
        file: the recording: wav, flac, mp3, ogg; from 16 kHz on, any length, stereo stays stereo.
        reference: a recording of anything, in the style that is wanted.
        out: the folder; output/FILE_like_REFERENCE by default.
        checkpoint: another checkpoint than the shipped one.
    """

    file: Positional[Path]
    reference: Path
    out: Path | None = None
    checkpoint: Path | None = None

    def run(self) -> int:
        """Read both, treat, write."""
        from labkit.signal.files import read_audio

        audio, rate = read_audio(self.file)
        reference, reference_rate = read_audio(self.reference)

        from labkit.systems import style

        model = style.load(self.checkpoint)
        found = style.predict(
            model, audio, rate, reference=reference, reference_rate=reference_rate
        )
        folder = self.out or Path("output") / f"{self.file.stem}_like_{self.reference.stem}"
        for name, value in found.settings.items():
            print(f"  {name:14s} {value:8.2f}")
        for path in style.write(found, rate, folder):
            print(f"wrote {path}")
        return 0


@dataclass(frozen=True)
class TrainStyle(Training):
    """Train the network that sets an equaliser and a compressor.

    Attributes:
        preset: through the differentiable processor, by SPSA through pedalboard, by a proxy, or of
            the parameters themselves.
    """

    system: ClassVar[str] = "style"

    preset: Literal["autodiff", "spsa", "proxy", "regression"] = "autodiff"

    def train(self, run_dir: Path, target: Path) -> str:
        """Train in `run_dir`, write the checkpoint to `target`; its sha256."""
        from labkit.systems.style import SYSTEM

        config = SYSTEM.presets[self.preset].but(**self.chosen)
        return SYSTEM.save(SYSTEM.train(config, run_dir, on_log=say), target)


@dataclass(frozen=True)
class EvaluateStyle(Evaluation):
    """How near the treated sound comes, beside rules, controls and the true parameters.

    Attributes:
        n: clips of each kind of recording.
        checkpoint: another one than the shipped one.
    """

    system: ClassVar[str] = "style"

    n: int = 40
    checkpoint: Path | None = None

    def rows(self) -> "list[Row]":
        """Every figure of the results table."""
        from labkit.systems.style import SYSTEM

        path = self.checkpoint or SYSTEM.shipped_path()
        rows = SYSTEM.score(SYSTEM.load(path), n=self.n, seed=self.seed)
        return [replace(row, checkpoint=path.name) for row in rows]
