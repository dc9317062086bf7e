"""Examples: a clean clip, and the same clip through a curve, with level, noise or coding."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from labkit.effects.saturation import SPACE, saturate
from labkit.learn.pool import ExampleCache, number_of
from labkit.signal.augment import augment
from labkit.signal.behind import behind_chain
from labkit.signal.optional import need
from labkit.signal.pool import Clip, DryPool, FreshClips, Source, check_split, dry_pool
from labkit.signal.seeds import generator
from labkit.signal.sources import recordings
from labkit.signal.units import db_to_amplitude
from labkit.systems.saturation.model import CURVE_NAMES, Condition, Config, Sound, network_inputs


class BufferedClips:
    """Random clips from a buffer in memory that is renewed at a fixed rate.

    Reading a long file for each short clip is slow, and a collection does not fit into memory. As
    many clips are kept as fit in `gigabytes`, at least one, and all are replaced after
    `reload_every` numbers. A number always gives the same clip.
    """

    reload_every = 2000

    def __init__(self, source: Source, split: str, seed: int, *, gigabytes: float = 0.5) -> None:
        self.source, self.split, self.seed = source, check_split(split), seed
        self.slots = max(1, int(gigabytes * 1e9 / (4 * source.seconds * source.sample_rate)))
        self._filling, self._clips = -1, {}

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_filling": -1, "_clips": {}}  # each process fills its own

    def clip(self, index: int) -> Clip:
        """A random clip of those that are in memory at this index."""
        filling = index // self.reload_every
        if filling != self._filling:
            self._filling, self._clips = filling, {}
        slot = int(generator(self.seed, "buffer slot", index).integers(self.slots))
        if slot not in self._clips:
            rng = generator(self.seed, "buffer", filling, slot)
            self._clips[slot] = self.source.clip(rng, self.split)
        return self._clips[slot]


REAL_FOLDERS = ("guitar_di", "guitar_acoustic", "music", "speech")
Pool = DryPool | FreshClips | BufferedClips


def draw_condition(rng: np.random.Generator) -> Condition:
    """A random condition for training: curve and disturbances are drawn independently.

    Most are wet only, because least squares does most of the work for a pair.
    """
    return Condition(
        "training",
        "all conditions mixed",
        paired=bool(rng.random() < 0.35),
        curves=(str(rng.choice(CURVE_NAMES, p=[0.4, 0.15, 0.15, 0.15, 0.15])),),
        snr_db=float(rng.uniform(10, 60)) if rng.random() < 0.5 else None,
        mp3=bool(rng.random() < 0.15),
        shift_ms=30.0 if rng.random() < 0.5 else 0.0,
    )


@dataclass(frozen=True)
class Example:
    """One clip through one curve; audio is float32."""

    reference: np.ndarray | None  # (samples + 2 margins,), the clean signal that the network gets
    wet: np.ndarray  # (samples,)
    clean: np.ndarray  # (samples,), what went into the curve, aligned with `wet`; peak 1
    depth: float  # 1..10
    curve: str
    source_id: str


def render(
    config: Config,
    clip: Clip,
    condition: Condition,
    rng: np.random.Generator,
    *,
    training: bool = False,
    behind: str | None = None,
) -> Example:
    """A clip through a curve at a depth drawn uniformly; the clean signal has peak 1 in the clip.

    `training` augments the dry sound; `behind` is the split whose cabinets and the like, see
    `behind_chain`, the wet sound passes then.
    """
    sound = config.sound
    audio = clip.audio[0]
    if training:
        audio = augment(audio[None], sound.sample_rate, rng, strength=sound.augment_strength)[0]
    start = _random_start(audio, sound, rng)
    stop = start + sound.samples
    margin = sound.margin
    peak = float(np.abs(audio[start:stop]).max())
    audio = (audio / np.float32(peak if peak > 1e-6 else 1.0)).astype(np.float32)
    depth = float(rng.uniform(SPACE["depth"].low, SPACE["depth"].high))
    curve = condition.curves[int(rng.integers(len(condition.curves)))]
    # Two margins more at the start: the state of a curve with memory has settled.
    wet = saturate(audio[start - 2 * margin : stop], depth, curve=curve)[2 * margin :]
    if behind is not None:
        wet = behind_chain(wet[None], sound.sample_rate, rng, split=behind)[0]
    wet = _disturb(wet, condition, sound, rng)
    most = min(margin, round(condition.shift_ms * sound.sample_rate / 1000))
    shift = int(rng.integers(-most, most + 1))
    reference = None
    if condition.paired:
        reference = audio[start + shift - margin : stop + shift + margin]
    return Example(reference, wet, audio[start:stop], depth, curve, clip.source_id)


def _random_start(audio: np.ndarray, sound: Sound, rng: np.random.Generator) -> int:
    """A random start; of up to eight draws, the first that is not nearly silent."""
    least = 0.1 * float(np.sqrt(np.mean(np.square(audio))))
    low, high = 2 * sound.margin, len(audio) - sound.samples - 2 * sound.margin
    for _ in range(8):
        start = int(rng.integers(low, high + 1))
        if float(np.sqrt(np.mean(np.square(audio[start : start + sound.samples])))) > least:
            break
    return start


def _disturb(
    wet: np.ndarray, condition: Condition, sound: Sound, rng: np.random.Generator
) -> np.ndarray:
    """The wet signal with level, noise, codec and 16 bits."""
    wet = wet * np.float32(db_to_amplitude(rng.uniform(-24, -3)))
    if condition.snr_db is not None:
        noise_rms = float(np.sqrt(np.mean(np.square(wet)))) * db_to_amplitude(-condition.snr_db)
        wet = wet + (noise_rms * rng.standard_normal(len(wet))).astype(np.float32)
    if condition.mp3:
        pedalboard = need("pedalboard")
        codec = pedalboard.MP3Compressor(vbr_quality=float(rng.uniform(2, 9)))
        wet = pedalboard.Pedalboard([codec])(wet[None], sound.sample_rate)[0]
    wet = np.round(np.clip(wet, -1, 1) * 32767) / 32767
    return wet.astype(np.float32)


def draw(
    config: Config, condition: Condition, sources: str, n: int, *, seed: int, split: str = "test"
) -> list[Example]:
    """`n` examples on sources of one split, without augmentation; repeatable.

    `sources`: a kind of `dry_pool`, "real" (tests only), "behind" ("recorded", then
    `behind_chain`). Raises FileNotFoundError if `sources` is real and there are no recordings here.
    """
    sizes = {"seconds": config.sound.clip_seconds, "sample_rate": config.sound.sample_rate}
    if sources == "real":
        rng = generator(seed, "saturation clips", sources, split)
        mixture = recordings(REAL_FOLDERS, **sizes)
        clips = [mixture.clip(rng, "test") for _ in range(n)]
    else:
        kind = "recorded" if sources == "behind" else sources
        pool = dry_pool(kind, split, min(n, 300), **sizes, seed=0)
        clips = [pool.clip(i % len(pool)) for i in range(n)]
    purpose = ("evaluation", condition.name, sources, split)
    rngs = (generator(seed, *purpose, i) for i in range(n))
    behind = split if sources == "behind" else None
    pairs = zip(clips, rngs, strict=True)
    return [render(config, clip, condition, rng, behind=behind) for clip, rng in pairs]


class Examples(Dataset):
    """Examples made on demand; the same seed and index always give the same example.

    `training` augments the dry sound; the condition of each example is drawn when None.
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
        self.config, self.pools, self.seed = config, list(pools), seed
        self.training, self.condition = training, condition
        self._cache: ExampleCache | None = None

    def cached(self, folder: Path) -> "Examples":
        """The first `n_examples` examples, repeated, and kept in `folder` (float16)."""
        shapes = {name: tuple(value.shape) for name, value in self._make(0).items()}
        self._cache = ExampleCache(folder, self.config.sound.n_examples, shapes)
        return self

    def __len__(self) -> int:
        return self.config.plan.steps * self.config.plan.batch_size

    def example(self, index: int) -> Example:
        rng = generator(self.seed, "saturation example", index)
        pool = self.pools[rng.integers(len(self.pools))]
        condition = self.condition or draw_condition(rng)
        # A buffer draws by itself, from the clips that are in memory at this index.
        number = index if isinstance(pool, BufferedClips) else int(rng.integers(len(pool)))
        share, behind = self.config.sound.behind_share, None
        if share > 0 and rng.random() < share:
            behind = "train" if self.training else "validation"
        given = {"training": self.training, "behind": behind}
        return render(self.config, pool.clip(number), condition, rng, **given)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Network inputs and targets of example `index`."""
        if self._cache is None:
            return self._make(index)
        number = number_of(index, self.config.sound.n_examples, self.seed)
        kept = self._cache.get(number, self._make)
        return {name: v.long() if name == "curve" else v.float() for name, v in kept.items()}

    def _make(self, number: int) -> dict[str, Tensor]:
        return item(self.config, self.example(number))


def item(config: Config, example: Example) -> dict[str, Tensor]:
    """`network_inputs`, ``log_depth`` (), ``curve`` () index, and for audio losses ``clean``."""
    made = network_inputs(config, example.wet, example.reference)
    made["log_depth"] = torch.tensor(np.log(example.depth), dtype=torch.float32)
    made["curve"] = torch.tensor(CURVE_NAMES.index(example.curve))
    if config.net.loss != "parameter":
        made["clean"] = torch.from_numpy(example.clean)
    return made
