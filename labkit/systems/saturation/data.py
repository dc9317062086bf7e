"""Examples of saturation: a clean clip, a curve at a depth, and what a listener is given of both."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from labkit.effects.saturation import SPACE, saturate
from labkit.learn.pool import ExampleCache, number_of
from labkit.signal.augment import augment
from labkit.signal.optional import need
from labkit.signal.pool import DryPool, FreshClips
from labkit.signal.seeds import generator
from labkit.signal.sources import Clip
from labkit.systems.saturation.buffer import BufferedClips
from labkit.systems.saturation.config import NAMES, Condition, Config, draw_condition
from labkit.systems.saturation.views import N_VIEWS, hear, picture

Pool = DryPool | FreshClips | BufferedClips


@dataclass(frozen=True)
class Example:
    """One clip through one curve.

    Attributes:
        reference: (samples + 2 margins,) float32, what the listener has of the clean signal; None for nothing.
        wet: (samples,) float32.
        clean: (samples,) float32, what went into the curve, aligned with `wet`; its peak is 1.
        depth: 1..10.
        curve: its name.
        wet_amplitude: factor on the curve's output.
        noise_rms: of the noise on `wet`, 0 for none.
        condition: under which it was made.
        source_id: of the clean clip.
    """

    reference: np.ndarray | None
    wet: np.ndarray
    clean: np.ndarray
    depth: float
    curve: str
    wet_amplitude: float
    noise_rms: float
    condition: Condition
    source_id: str


def render(
    config: Config,
    clip: Clip,
    condition: Condition,
    rng: np.random.Generator,
    *,
    other: Clip | None = None,
    training: bool = False,
) -> Example:
    """Put a clip through a curve at a depth drawn uniformly.

    The clean signal has peak 1 within the clip, because a depth is only defined relative to its input.

    Args:
        config: lengths.
        clip: dry, `clip_seconds` long at `sample_rate`.
        condition: what the listener is given.
        rng: of everything drawn.
        other: the other performance, for an unpaired condition.
        training: with augmentation of the dry sound.

    Returns:
        The example.

    Raises:
        ValueError: if a clip is too short or at another rate, or the condition lacks its other performance.
    """
    audio = _usable(config, clip)
    if training:
        audio = augment(audio[None], config.sample_rate, rng, strength=config.augment_strength)[0]
    start = _place(audio, config, rng)
    stop, margin = start + config.samples, config.margin
    audio = _peak_1(audio, audio[start:stop])
    depth = float(rng.uniform(SPACE["depth"].low, SPACE["depth"].high))
    curve = condition.curves[int(rng.integers(len(condition.curves)))]
    # A curve with memory has been running when the clip begins.
    wet = saturate(audio[start - 2 * margin : stop], depth, curve=curve)[2 * margin :]
    wet, wet_amplitude, noise_rms = _disturb(wet, condition, config, rng)
    widest = round(condition.shift_ms * config.sample_rate / 1000)
    shift = int(rng.integers(-widest, widest + 1))
    reference = None
    if condition.reference == "paired":
        reference = audio[start + shift - margin : stop + shift + margin]
    elif condition.reference == "unpaired":
        if other is None:
            raise ValueError(
                "other must be a clip where the condition's reference is unpaired, got None"
            )
        strange = _usable(config, other)
        begin = _place(strange, config, rng)
        cut = strange[begin - margin : begin + config.samples + margin]
        reference = _peak_1(cut, cut)
    return Example(
        reference,
        wet,
        audio[start:stop],
        depth,
        curve,
        wet_amplitude,
        noise_rms,
        condition,
        clip.source_id,
    )


def _usable(config: Config, clip: Clip) -> np.ndarray:
    if (
        clip.sample_rate != config.sample_rate
        or clip.audio.shape[1] < config.samples + 4 * config.margin
    ):
        raise ValueError(
            f"a clip must hold {config.samples + 4 * config.margin} samples at {config.sample_rate} Hz, "
            f"got {clip.audio.shape[1]} at {clip.sample_rate}"
        )
    return clip.audio[0]


def _peak_1(audio: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Scaled so that a part of it has peak 1; a silent part is left as it is."""
    peak = float(np.abs(part).max())
    return (audio / np.float32(peak if peak > 1e-6 else 1.0)).astype(np.float32)


def _place(audio: np.ndarray, config: Config, rng: np.random.Generator) -> int:
    """Where a clip begins: of up to eight random places the first that is not nearly silent."""
    least = 0.1 * float(np.sqrt(np.mean(np.square(audio))))
    low, high = 2 * config.margin, len(audio) - config.samples - 2 * config.margin
    for _ in range(8):
        start = int(rng.integers(low, high + 1))
        if float(np.sqrt(np.mean(np.square(audio[start : start + config.samples])))) > least:
            break
    return start


def _disturb(
    wet: np.ndarray, condition: Condition, config: Config, rng: np.random.Generator
) -> tuple[np.ndarray, float, float]:
    """The wet signal at its level, with its noise, its codec and its 16 bits; the level; the noise's RMS."""
    amplitude = float(10 ** (rng.uniform(-24, -3) / 20)) if condition.free_level else 1.0
    wet, noise_rms = wet * np.float32(amplitude), 0.0
    if condition.snr_db is not None:
        noise_rms = float(np.sqrt(np.mean(np.square(wet)))) * 10 ** (-condition.snr_db / 20)
        wet = wet + (noise_rms * rng.standard_normal(len(wet))).astype(np.float32)
    if condition.mp3:
        pedalboard = need("pedalboard")
        codec = pedalboard.Pedalboard(
            [pedalboard.MP3Compressor(vbr_quality=float(rng.uniform(2, 9)))]
        )
        wet = codec(wet[None], config.sample_rate)[0]
    return (np.round(np.clip(wet, -1, 1) * 32767) / 32767).astype(np.float32), amplitude, noise_rms


class Examples(Dataset):
    """Examples made on the fly; number ``i`` depends on seed and ``i`` alone.

    Args:
        config: what to draw.
        pools: of dry clips, drawn from evenly whatever their sizes.
        seed: of the examples.
        training: with augmentation.
        condition: of all examples; drawn anew for each one when None.
    """

    def __init__(
        self,
        config: Config,
        pools: Sequence[Pool],
        seed: int,
        *,
        training: bool = True,
        condition: Condition | None = None,
    ) -> None:
        self.config, self.pools, self.seed, self.training = config, list(pools), seed, training
        self.condition = condition
        self._cache: ExampleCache | None = None

    def cached(self, folder: Path) -> "Examples":
        """These examples, `config.n_examples` of them in rounds, kept in `folder` (float16) once they are made.

        Raises:
            ValueError: if they are not `keepable`.
        """
        if not self.config.keepable:
            raise ValueError(
                "examples are kept as log-mel pictures without sound, "
                f"got picture {self.config.picture!r} and loss {self.config.loss!r}"
            )
        n = min(self.config.n_examples, len(self))
        self._cache = ExampleCache(folder, n, _shapes(self.config))
        return self

    def __len__(self) -> int:
        return self.config.steps * self.config.batch_size

    def example(self, index: int) -> Example:
        """Example `index` as sound."""
        rng = generator(self.seed, "saturation example", index)
        pool = self.pools[rng.integers(len(self.pools))]
        condition = self.condition or draw_condition(rng)
        clip = pool.clip(_number(pool, index, rng))
        other = pool.clip(_number(pool, index, rng)) if condition.reference == "unpaired" else None
        return render(self.config, clip, condition, rng, other=other, training=self.training)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """What the model hears of example `index`, and its targets."""
        if self._cache is None:
            return self._made(index)
        number = number_of(index, self.config.n_examples, self.seed)
        found = {name: row.float() for name, row in self._cache.get(number, self._made).items()}
        return found | {"curve": found["curve"].long()}

    def _made(self, number: int) -> dict[str, Tensor]:
        example = self.example(number)
        return hear(self.config, example.wet, example.reference) | targets(self.config, example)


@cache
def _shapes(config: Config) -> dict[str, tuple[int, ...]]:
    shape = tuple(picture(torch.zeros(config.samples), config).shape)
    plain = {"given": (), "log_depth": (), "curve": ()}
    return {"wet": shape, "reference": shape, "views": (N_VIEWS,)} | plain


def _number(pool: Pool, index: int, rng: np.random.Generator) -> int:
    if isinstance(
        pool, BufferedClips
    ):  # of the filling that is in memory when this example's turn comes
        return index // pool.reload_every * pool.reload_every + int(rng.integers(pool.reload_every))
    return int(rng.integers(len(pool)))


def targets(config: Config, example: Example) -> dict[str, Tensor]:
    """``log_depth`` (), ``curve`` () its index, and for a loss on audio ``clean`` (samples,)."""
    found = {
        "log_depth": torch.tensor(np.log(example.depth), dtype=torch.float32),
        "curve": torch.tensor(NAMES.index(example.curve)),
    }
    if config.loss != "parameter":
        found["clean"] = torch.from_numpy(example.clean)
    return found
