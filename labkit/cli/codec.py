"""The codec's training and evaluation."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from labkit.cli.options import ALL_SOURCES, KINDS, Evaluation, Kind, Sources, Training, say

if TYPE_CHECKING:
    from labkit.measure.score import Row


@dataclass(frozen=True)
class TrainCodec(Training):
    """Train a small codec of our own; every example is made afresh.

    Attributes:
        kinds: of dry sources; sampled needs a soundfont.
        adversarial: weight of a discriminator trained along; .2 is a start, on a GPU.
    """

    system: ClassVar[str] = "codec"

    kinds: tuple[Kind, ...] = KINDS
    adversarial: float = 0.0

    def train(self, run_dir: Path, target: Path) -> str:
        """Train in `run_dir`, write the checkpoint to `target`; its sha256."""
        from labkit.learn.codec import CodecConfig, save
        from labkit.learn.codec_training import Recipe, train

        recipe = Recipe(kinds=self.kinds, adversarial_weight=self.adversarial, **self.chosen)
        return save(train(CodecConfig(), run_dir, recipe=recipe, on_log=say), target)


@dataclass(frozen=True)
class EvaluateCodec(Evaluation):
    """How well the codec keeps a sound, beside Griffin-Lim and mu-law at the same bit rate.

    Attributes:
        n: clips of each source.
        sources: kinds of dry sources; real needs recordings (LABKIT_REAL_DATA).
        checkpoint: another checkpoint than the shipped one; `official` is descript's own.
    """

    system: ClassVar[str] = "codec"

    n: int = 300
    sources: tuple[Sources, ...] = ALL_SOURCES
    checkpoint: Path | None = None

    def rows(self) -> "list[Row]":
        """Every figure of the results table."""
        from labkit.learn import codec, codec_scores

        path = self.checkpoint or codec.shipped_path()
        theirs = str(path) == "official"
        found = codec.official() if theirs else codec.load(path)
        marks = {"name": "descript's codec" if theirs else "our codec", "checkpoint": path.name}
        return codec_scores.evaluate(found, n=self.n, sources=self.sources, seed=self.seed, **marks)
