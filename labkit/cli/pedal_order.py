"""`labkit chain`, and pedal order's training and evaluation."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from tyro.conf import Positional

from labkit.cli.options import ALL_SOURCES, KINDS, Evaluation, Kind, Sources, Training, say

if TYPE_CHECKING:
    from labkit.measure.score import Row


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
        chain = found.chain
        if self.refine:
            refined = pedal_order.refine(found, dry, wet, sample_rate, dry_rate=dry_rate)
            for names, sdr in refined.tried:
                print(f"  tried: {' -> '.join(names) or '(clean)'}   SI-SDR {sdr:.1f} dB")
            if refined.explained:
                chain = refined.chain
                print(f"refined: {chain or '(clean)'}   SI-SDR {refined.si_sdr_db:.1f} dB")
            else:
                print(
                    "refined: none of them explains the wet recording "
                    "(other pedals, another level, or not aligned)"
                )
        print(f"\n{chain.to_code()}\n")
        target = self.out / f"{self.file.stem}.chain.json"
        chain.save(target)
        print(f"wrote {target}")
        if dry is not None:
            target = self.out / f"{self.file.stem}.recreated.wav"
            write_audio(target, pedal_order.recreate(chain, dry, dry_rate), dry_rate)
            print(f"wrote {target}")
        return 0


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
        from labkit.systems.pedal_order.train import Data

        config = pedal_order.Config().but(
            n_examples=self.n_examples,
            first_example=self.first_example,
            n_devices=self.devices,
            **self.chosen,
        )
        rate = self.learning_rate or config.plan.learning_rate
        start = self.start
        if self.unlabelled is not None:
            start = start or pedal_order.SYSTEM.shipped_path()
            rate = self.learning_rate or rate / 10
        data = Data(self.kinds, self.n_dry, self.data, self.unlabelled)
        config = config.but(learning_rate=rate)
        model = pedal_order.SYSTEM.train(config, run_dir, data=data, start=start, on_log=say)
        return pedal_order.save(model, target)


@dataclass(frozen=True)
class EvaluatePedalOrder(Evaluation):
    """Exact chains and F1 on three kinds of sources.

    Attributes:
        n: clips of each protocol and source.
        n_floor: clips that the statistics floor learns from.
        sources: kinds of dry sources; real needs recordings (LABKIT_REAL_DATA).
        checkpoint: another checkpoint than the shipped one.
    """

    system: ClassVar[str] = "pedal_order"

    n: int = 300
    n_floor: int = 2000
    sources: tuple[Sources, ...] = ALL_SOURCES
    checkpoint: Path | None = None

    def rows(self) -> "list[Row]":
        """Every figure of the results table."""
        from labkit.systems import pedal_order

        path = self.checkpoint or pedal_order.SYSTEM.shipped_path()
        rows = pedal_order.SYSTEM.score(
            pedal_order.load(path),
            n=self.n,
            n_floor=self.n_floor,
            sources=self.sources,
            seed=self.seed,
        )
        return [replace(row, checkpoint=path.name) for row in rows]
