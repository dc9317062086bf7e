"""`labkit chain`, and pedal order's training and evaluation."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from tyro.conf import Positional

from labkit.cli.options import ALL_SOURCES, KINDS, Evaluation, Kind, Sources, Training, say

if TYPE_CHECKING:
    import numpy as np

    from labkit.measure.score import Row
    from labkit.systems.pedal_order.decode import Prediction
    from labkit.systems.pedal_order.model import PedalOrderModel
    from labkit.systems.pedal_order.unlabelled import Heard

# Of both recordings, from their beginning: enough for every echo and oscillator to show itself.
_REFINE_SECONDS = 2.0


@dataclass(frozen=True)
class Chain:
    """Print the chain of pedals behind a wet recording, with settings, confidence and pedalboard code.

    Attributes:
        file: the wet recording: wav, flac, mp3, ogg, m4a; any rate, any channels.
        dry: the dry recording; the chain found is applied to it.
        refine: fit the knobs of the likeliest orders to the first seconds of both recordings, and keep the best. Needs
            dry as it entered the chain, aligned with the wet one.
        shelf: pedals that may occur: three (chorus, distortion, reverb) or six (also compressor, phaser, delay).
        out: folder for FILE.chain.json and, with --dry, FILE.recreated.wav; made if need be. The current one by
            default.
        checkpoint: another checkpoint than the shipped one.
    """

    file: Positional[Path]
    dry: Path | None = None
    refine: bool = False
    shelf: Literal["three", "six"] = "three"
    out: Path = Path()
    checkpoint: Path | None = None

    def run(self) -> int:
        """Hear, print, write."""
        from labkit.signal.files import read_audio, write_audio

        if self.refine and self.dry is None:
            raise ValueError("--refine compares with the dry recording: give --dry too")
        self.out.mkdir(parents=True, exist_ok=True)
        wet, sample_rate = read_audio(self.file)
        dry, dry_rate = read_audio(self.dry) if self.dry is not None else (None, 0)

        from labkit.systems import (
            pedal_order,
        )  # takes seconds: a file that cannot be read is said at once

        shelf = pedal_order.PROTOCOLS[self.shelf].pedals
        found = pedal_order.predict(
            pedal_order.load(self.checkpoint), wet, sample_rate, shelf=shelf
        )
        print(
            f"chain: {' -> '.join(found.chain.names) or '(clean)'}   probability {found.probability:.2f}"
        )
        for step in found.chain.steps:
            print(f"  {step}   present {found.presence(step.effect):.2f}")
        for names, share in found.alternatives[1:4]:
            print(f"  or: {' -> '.join(names) or '(clean)'}   {share:.2f}")
        if self.refine:
            found = _refine(found, dry, dry_rate, wet, sample_rate)
        print(f"\n{found.chain.to_code()}\n")
        target = self.out / f"{self.file.stem}.chain.json"
        found.chain.save(target)
        print(f"wrote {target}")
        if dry is not None:
            target = self.out / f"{self.file.stem}.recreated.wav"
            write_audio(target, pedal_order.recreate(found, dry, dry_rate), dry_rate)
            print(f"wrote {target}")
        return 0


def _refine(
    found: "Prediction", dry: "np.ndarray", dry_rate: int, wet: "np.ndarray", sample_rate: int
) -> "Prediction":
    """The prediction with the refined chain, where the search explains the wet recording; as it was otherwise."""
    from labkit.learn.fit import ENOUGH_DB
    from labkit.signal.files import resample, to_mono
    from labkit.systems.pedal_order.refine import refine

    dry, wet = resample(to_mono(dry), dry_rate, sample_rate), to_mono(wet)
    samples = min(dry.shape[1], wet.shape[1], round(_REFINE_SECONDS * sample_rate))
    refined = refine(found, dry[:, :samples], wet[:, :samples], sample_rate)
    for names, sdr in refined.tried:
        print(f"  tried: {' -> '.join(names) or '(clean)'}   SI-SDR {sdr:.1f} dB")
    if refined.si_sdr_db < ENOUGH_DB:
        print(
            "refined: none of them explains the wet recording (other pedals, another level, or not aligned)"
        )
        return found
    print(f"refined: {refined.chain or '(clean)'}   SI-SDR {refined.si_sdr_db:.1f} dB")
    return replace(found, chain=refined.chain)


@dataclass(frozen=True)
class TrainPedalOrder(Training):
    """Train the network that hears chains of pedals.

    Attributes:
        kinds: of dry sources; sampled needs a soundfont.
        n_examples: different examples; a longer run shows each again.
        first_example: number of the first of them; behind another run's, where this one begins with its weights.
        n_dry: dry clips of each kind in a pool; 0 makes one for every example.
        data: a folder of your own dry recordings, as one more source beside kinds.
        start: a checkpoint to begin from instead of random weights.
        unlabelled: a folder of wet recordings, one unknown chain each: begins from the shipped weights (or start),
            and learns from what they are sure of there, beside rendered chains.
        learning_rate: at its highest; a tenth of the usual one for unlabelled.
        devices: GPUs, or processes where there is none, that share every batch.
    """

    system: ClassVar[str] = "pedal_order"

    kinds: tuple[Kind, ...] = KINDS
    n_examples: int = 256000
    first_example: int = 0
    n_dry: int = 0
    data: Path | None = None
    start: Path | None = None
    unlabelled: Path | None = None
    learning_rate: float | None = None
    devices: int = 1

    def train(self, run_dir: Path, target: Path) -> str:
        """Train in `run_dir`, write the checkpoint to `target`; its sha256."""
        from labkit.systems import pedal_order

        sizes = {
            "n_examples": self.n_examples,
            "first_example": self.first_example,
            "n_devices": self.devices,
        }
        config, start = pedal_order.Config(**sizes, **self.chosen), self.start
        rate, recordings = self.learning_rate or config.learning_rate, []
        if self.unlabelled is not None:
            start, rate = start or pedal_order.shipped_path(), self.learning_rate or rate / 10
            recordings = _heard(pedal_order.load(start), self.unlabelled)
        given = {"n_dry": self.n_dry, "kinds": self.kinds, "folder": self.data, "start": start}
        model = pedal_order.train(
            replace(config, learning_rate=rate), run_dir, **given, recordings=recordings, on_log=say
        )
        return pedal_order.save(model, target)


def _heard(model: "PedalOrderModel", folder: Path) -> "list[Heard]":
    from labkit.signal.files import read_audio
    from labkit.signal.sources import AudioFolder
    from labkit.systems.pedal_order.unlabelled import SURE, heard

    sizes = {"seconds": model.config.seconds, "sample_rate": model.config.sample_rate}
    files = AudioFolder(folder, **sizes, split_all="train").files("train")
    found = heard(model, map(read_audio, files))
    sure = sum(one.probability >= SURE for one in found)
    print(
        f"{sure} of {len(found)} recordings are heard with a probability of {SURE} or more, and learnt from"
    )
    return found


@dataclass(frozen=True)
class EvaluatePedalOrder(Evaluation):
    """Exact chains, sets, orders, knobs, nats and re-rendered sound on three kinds of sources.

    Attributes:
        n: clips of each protocol and source.
        n_floor: clips that the statistics floor learns from.
        n_refined: clips of each protocol and source that are refined with the dry sound known; about a minute each.
        all: everything that the shipped table holds: the default, 10 clips refined.
        sources: kinds of dry sources; real needs recordings (LABKIT_REAL_DATA).
        checkpoint: another checkpoint than the shipped one.
    """

    system: ClassVar[str] = "pedal_order"

    n: int = 300
    n_floor: int = 2000
    n_refined: int = 0
    all: bool = False
    sources: tuple[Sources, ...] = ALL_SOURCES
    checkpoint: Path | None = None

    def rows(self) -> "list[Row]":
        """Every figure of the results table."""
        from labkit.systems import pedal_order

        path = self.checkpoint or pedal_order.shipped_path()
        return pedal_order.evaluate(
            pedal_order.load(path),
            n=self.n,
            n_floor=self.n_floor,
            n_refined=self.n_refined or (10 if self.all else 0),
            sources=self.sources,
            seed=self.seed,
            checkpoint=path.name,
        )
