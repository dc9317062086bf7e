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
    """Treat a recording like another one: equaliser and compressor; writes sound, settings and pedalboard code.

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
        """Hear both, treat, write."""
        from labkit.signal.files import read_audio

        audio, sample_rate = read_audio(self.file)
        reference, reference_rate = read_audio(self.reference)

        from labkit.systems.blackbox import style

        model = style.load(self.checkpoint)
        found = style.predict(
            model, audio, sample_rate, reference=reference, reference_rate=reference_rate
        )
        folder = self.out or Path("output") / f"{self.file.stem}_like_{self.reference.stem}"
        for name, value in found.settings.items():
            print(f"  {name:14s} {value:8.2f}")
        for path in style.write(found, sample_rate, folder):
            print(f"wrote {path}")
        return 0


@dataclass(frozen=True)
class TrainStyle(Training):
    """Train the networks that hear a style and turn an equaliser and a compressor.

    Attributes:
        gradient: through the twins, by SPSA through pedalboard, by a proxy, or none: the knobs are learnt.
        renders: of the whole training, in place of steps.
        n_examples: made once, drawn again and again.
        learning_rate: at the plateau.
    """

    system: ClassVar[str] = "style"

    gradient: Literal["autodiff", "spsa", "proxy", "regression"] = "autodiff"
    renders: int | None = None
    n_examples: int | None = None
    learning_rate: float | None = None

    def train(self, run_dir: Path, target: Path) -> str:
        """Train in `run_dir`, write the checkpoint to `target`; its sha256."""
        from labkit.systems.blackbox import style, style_train

        given = {name: getattr(self, name) for name in ("renders", "n_examples", "learning_rate")}
        if self.steps is not None:
            raise ValueError("steps must not be given: their number follows from renders")
        chosen = self.chosen | {name: value for name, value in given.items() if value is not None}
        config = replace(style.Config(), gradient=self.gradient, **chosen)
        return style.save(style_train.train(config, run_dir, on_log=say), target)


@dataclass(frozen=True)
class EvaluateStyle(Evaluation):
    """How near the treated sound comes, by each gradient, beside rules, controls and the true knobs; five styles.

    Attributes:
        n: clips of each kind of recording.
        checkpoints: of other gradients, beside the shipped one.
    """

    system: ClassVar[str] = "style"

    n: int = 40
    checkpoints: tuple[Path, ...] = ()

    def rows(self) -> "list[Row]":
        """Every figure of the results table."""
        from labkit.systems.blackbox import style, style_evaluate

        paths = (style.shipped_path(), *self.checkpoints)
        models, names = [style.load(path) for path in paths], [path.name for path in paths]
        return style_evaluate.evaluate(models, n=self.n, seed=self.seed, checkpoints=names)
