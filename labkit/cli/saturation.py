"""`labkit saturation`, and its training and evaluation."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from tyro.conf import Positional

from labkit.cli.options import ALL_SOURCES, KINDS, Evaluation, Kind, Sources, Training, say

if TYPE_CHECKING:
    from labkit.measure.score import Row


@dataclass(frozen=True)
class Saturation:
    """Name the curve that bent a recording, and its depth.

    Attributes:
        files: the clean recording and the wet one, or the wet one alone.
        curve: its name, where it is known: tanh, arctan, hard_clip, cubic or hysteresis.
        checkpoint: another checkpoint than the shipped light model.
    """

    files: Positional[tuple[Path, ...]]
    curve: str | None = None
    checkpoint: Path | None = None

    def run(self) -> int:
        """Hear, and print."""
        from labkit.signal.files import read_audio

        if not 1 <= len(self.files) <= 2:
            raise ValueError(
                f"files must be the clean and the wet recording, or the wet one alone, got {len(self.files)}"
            )
        wet, sample_rate = read_audio(self.files[-1])
        clean, clean_rate = read_audio(self.files[0]) if len(self.files) == 2 else (None, None)

        from labkit.systems import saturation

        model = saturation.load(self.checkpoint)
        found = saturation.predict(
            model, wet, sample_rate, clean=clean, clean_rate=clean_rate, curve=self.curve
        )
        print(
            f"curve: {found.curve}   depth {found.depth:.2f}   4 times of 5 in {found.low:.2f} to {found.high:.2f}"
        )
        for name, share in sorted(found.shares.items(), key=lambda pair: -pair[1]):
            print(f"  {name:12s} {share:.2f}")
        if found.fit is not None:
            print(
                f"least squares: {found.fit.curve}   depth {found.fit.depth:.4f}   left over {found.fit.residual:.2%}"
            )
        if found.filled is not None:
            print(f"gaps of flat peaks filled in, if it is tanh: depth {found.filled:.2f}")
        print("together: {}   depth {:.4f}".format(*found.refined))
        return 0


@dataclass(frozen=True)
class TrainSaturation(Training):
    """Train the network that hears how deep a sound was driven into which curve.

    Attributes:
        kinds: of dry sources; sampled needs a soundfont.
        n_dry: dry clips of each kind in a pool; 0 makes one for every example.
        model: light; big, the size of the network that this system was modelled on; or big_stft, with its front end.
        loss: parameter, audio (through the curve), or both.
        data: a folder of recordings to train on instead of kinds.
    """

    system: ClassVar[str] = "saturation"

    kinds: tuple[Kind, ...] = KINDS
    n_dry: int = 0
    model: Literal["light", "big", "big_stft"] = "light"
    loss: Literal["parameter", "audio", "both"] = "parameter"
    data: Path | None = None

    def train(self, run_dir: Path, target: Path) -> str:
        """Train in `run_dir`, write the checkpoint to `target`; its sha256."""
        from labkit.systems import saturation

        config = replace(saturation.MODELS[self.model], loss=self.loss, **self.chosen)
        print(saturation.summary(saturation.build(config)))
        given = {"n_dry": self.n_dry, "kinds": self.kinds, "folder": self.data}
        return saturation.save(saturation.train(config, run_dir, **given, on_log=say), target)


@dataclass(frozen=True)
class EvaluateSaturation(Evaluation):
    """The error of the depth under every condition, beside the closed form, least squares, ridge and shuffled sound.

    Attributes:
        n: clips of each condition and source.
        n_floor: clips of each condition that the ridge regression learns from.
        all: every condition, and speed; those with an aim otherwise.
        sources: kinds of dry sources; real needs recordings (LABKIT_REAL_DATA).
        checkpoint: another checkpoint than the shipped ones.
    """

    system: ClassVar[str] = "saturation"

    n: int = 300
    n_floor: int = 600
    all: bool = False
    sources: tuple[Sources, ...] = ALL_SOURCES
    checkpoint: Path | None = None

    def rows(self) -> "list[Row]":
        """Every figure of the results table."""
        from labkit.systems import saturation

        shipped = [saturation.shipped_path(name) for name in saturation.MODELS]
        paths = (
            [self.checkpoint]
            if self.checkpoint
            else [path for path in shipped if path.exists()] or shipped[:1]
        )
        given = {"n": self.n, "n_floor": self.n_floor, "sources": self.sources, "seed": self.seed}
        given["conditions"] = tuple(saturation.CONDITIONS) if self.all else saturation.MAIN
        models = [saturation.load(path) for path in paths]
        rows = [
            row
            for k, (model, path) in enumerate(zip(models, paths, strict=True))
            for row in saturation.evaluate(model, checkpoint=path.name, oracles=k == 0, **given)
        ]
        print("\n".join(saturation.against_aims(rows)))
        return rows + (saturation.speed_rows(models[0], seed=self.seed) if self.all else [])
