"""`labkit synth`, the rendering of its data, its training and evaluation."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from tyro.conf import Positional

from labkit.cli.options import Evaluation, Training, say

if TYPE_CHECKING:
    from labkit.measure.score import Row


@dataclass(frozen=True)
class Synth:
    """Turn a recorded note into a preset of a synthesizer, with the MIDI note that plays it.

    The checkpoint says which synthesizer: Vital, for those that ship.

    Attributes:
        file: the recording: wav, flac, mp3, ogg; one note, any pitch and length; the beginning is heard.
        output_path: the folder; output/NAME by default.
        n: patches to draw and play; the nearest one is kept.
        refine: more notes to play, in which an evolution strategy turns the knobs of the best patch.
        pitch: MIDI key, 36 to 84, where you know it; 60 is middle C.
        parameters: the parameter set, one with a shipped network: vital_simple, or vital_full with twice as many knobs.
        checkpoint: another checkpoint than the shipped one; it says its own set.
        seed: of the draws.
    """

    file: Positional[Path]
    output_path: Path | None = None
    n: int = 8
    refine: int = 0
    pitch: int | None = None
    parameters: str = "vital_simple"
    checkpoint: Path | None = None
    seed: int = 0

    def run(self) -> int:
        """Hear, match, write."""
        from labkit.signal.files import read_audio

        audio, sample_rate = read_audio(self.file)

        from labkit.effects.synths.registry import open_synth
        from labkit.systems.synth_matching.checkpoint import load, shipped_path
        from labkit.systems.synth_matching.output import write_match
        from labkit.systems.synth_matching.predict import predict

        model = load(self.checkpoint or shipped_path(self.parameters))
        spec, folder = model.config.spec, self.output_path or Path("output") / self.file.stem
        given = {"n": self.n, "refine": self.refine, "pitch": self.pitch, "seed": self.seed}
        with open_synth(spec) as synth:
            match = predict(model, audio, sample_rate, synth=synth, **given)
            written = write_match(match, spec, folder, name=self.file.stem, synth=synth)
        pitch, seconds = match.values["note_pitch"], match.values["note_seconds"]
        print(
            f"key {pitch:.0f} for {seconds:.2f} s; {match.renders} notes played; {match.distance:.1f} dB (MSS) away"
        )
        print("drawn patches: " + ", ".join(f"{value:.1f}" for value in match.tried[:-1]) + " dB")
        for name, value in match.values.items():
            if spec.active(match.values)[name]:
                print(f"  {name:28s} {value if isinstance(value, str) else format(value, '.3g')}")
        print(
            f"wrote {written.preset}, {written.midi.name}, {written.audio.name}, {written.parameters.name}"
        )
        return 0


def render_synth(
    config: Path | None,
    parameters: str | None,
    out: Path | None,
    n: int | None,
    workers: int,
    scheduler: str | None,
) -> int:
    """Render a data set; see `labkit data`."""
    from tqdm import tqdm

    from labkit.systems.synth_matching.data import default_folder
    from labkit.systems.synth_matching.render import render
    from labkit.systems.synth_matching.schema import RenderConfig

    wanted = RenderConfig.from_file(config) if config else RenderConfig()
    changed = {"parameters": parameters, "n_train": n}
    wanted = replace(
        wanted, **{name: value for name, value in changed.items() if value is not None}
    )
    folder = out or default_folder(wanted.parameters)
    with tqdm(unit=" notes") as bar:

        def show(there: int, total: int) -> None:
            bar.total = total
            bar.update(there - bar.n)

        report = render(wanted, folder, workers=workers, scheduler=scheduler, on_done=show)
    rate = f", {report.rendered / report.seconds:.1f} a second" if report.rendered else ""
    print(
        f"{report.notes} notes in {folder}; {report.rendered} played now{rate}; {report.redrawn_share:.1%} redrawn"
    )
    return 0


@dataclass(frozen=True)
class TrainSynth(Training):
    """Train the network that turns a note into patches, on what `labkit data render-synth` has made.

    Attributes:
        parameters: the parameter set: vital_simple, vital_full, surge_simple or voice.
        field: of the flow: mlp, or token, which treats like parts alike.
        width: of the field's and the regressor's layers.
        ear: what looks at the mel picture: convolutions, or patches, a transformer.
        folder: of the data set; the set's usual one by default.
        start: a checkpoint to begin with; of one for another parameter set the ear is taken.
    """

    system: ClassVar[str] = "synth"

    parameters: str = "vital_simple"
    field: Literal["mlp", "token"] = "mlp"
    width: int = 192
    ear: Literal["convolutions", "patches"] = "convolutions"
    folder: Path | None = None
    start: Path | None = None
    workers: int = 0

    def train(self, run_dir: Path, target: Path) -> str:
        """Train in `run_dir`, write the checkpoint to `target`; its sha256."""
        from labkit.systems.synth_matching.checkpoint import save
        from labkit.systems.synth_matching.config import Config
        from labkit.systems.synth_matching.model import build, summary
        from labkit.systems.synth_matching.train import train

        config = replace(
            Config(),
            parameters=self.parameters,
            field=self.field,
            width=self.width,
            ear=self.ear,
            **self.chosen,
        )
        print(summary(build(config)))
        return save(
            train(config, run_dir, folder=self.folder, start=self.start, on_log=say), target
        )


@dataclass(frozen=True)
class EvaluateSynth(Evaluation):
    """How near matches sound, beside mean patch, nearest neighbour, regression, shuffled sound and the true patch.

    The rows of other parameter sets stay as they are.

    Attributes:
        n: held-out notes.
        all: also other people's presets and recorded notes (LABKIT_REAL_DATA).
        refine: notes that an evolution strategy may play for some of the sounds.
        n_refined: how many sounds of each kind are refined.
        parameters: the parameter set whose shipped network is judged: vital_simple or vital_full.
        folder: of the data set; the set's usual one by default.
        checkpoint: another checkpoint than the shipped one; it says its own set.
    """

    system: ClassVar[str] = "synth"

    n: int = 64
    all: bool = False
    refine: int = 0
    n_refined: int = 8
    parameters: str = "vital_simple"
    folder: Path | None = None
    checkpoint: Path | None = None

    def rows(self) -> "list[Row]":
        """Every figure of the results table."""
        from labkit.systems.synth_matching.checkpoint import load, shipped_path
        from labkit.systems.synth_matching.evaluate import evaluate

        path = self.checkpoint or shipped_path(self.parameters)
        given = {
            "n": self.n,
            "all_sounds": self.all,
            "refine": self.refine,
            "n_refined": self.n_refined,
        }
        given |= {"folder": self.folder, "seed": self.seed, "checkpoint": path.name}
        found = evaluate(
            load(path), **given, on_done=lambda k, n: print(f"{k} of {n} sounds", flush=True)
        )
        return self.beside_old(found)
