"""Examples of pedal order: a dry clip, a random chain, and the features of what comes out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from labkit.effects.chain import Chain
from labkit.learn.pool import ExampleCache, number_of
from labkit.signal import makers
from labkit.signal.augment import augment
from labkit.signal.behind import behind_chain
from labkit.signal.pool import Clip, DryPool, FreshClips, dry_pool
from labkit.signal.seeds import generator
from labkit.signal.sources import recordings
from labkit.signal.units import set_rms
from labkit.systems.pedal_order.config import PAD, PROTOCOLS, Config, Protocol, Sound
from labkit.systems.pedal_order.model import feature_shape, features

REAL_FOLDERS = ("guitar_di", "guitar_acoustic")
# Scored clips start up to so long after their chain, however a network was trained.
SCORED_PREROLL_SECONDS = 0.5


@dataclass(frozen=True)
class Example:
    """A rendered clip: `dry` (1, pre-roll + samples) as it entered `chain`, `wet` (1, samples)."""

    dry: np.ndarray
    wet: np.ndarray
    chain: Chain
    source_id: str

    @property
    def aligned_dry(self) -> np.ndarray:
        """The end of the dry sound, (1, samples)."""
        return self.dry[:, -self.wet.shape[1] :]

    def apply(self, chain: Chain, sample_rate: int) -> np.ndarray:
        """Another chain on the same dry sound, (1, samples)."""
        return chain.render(self.dry, sample_rate)[:, -self.wet.shape[1] :]

    def features(self, sound: Sound) -> Tensor:
        """The input of the network."""
        dry = torch.from_numpy(self.aligned_dry[0])
        return features(torch.from_numpy(self.wet[0]), sound, dry)


def prepare(
    sound: Sound,
    clip: Clip,
    rng: np.random.Generator,
    *,
    training: bool = False,
    shift_db: float = 0.0,
) -> tuple[np.ndarray, int]:
    """The dry sound that enters the chain, and the sample at which the clip starts.

    The chain starts up to `preroll_seconds` before the clip, as in any excerpt of a recording.
    `shift_db` changes the level of the dry sound; `training` augments it.
    """
    spare = clip.audio.shape[1] - sound.samples
    longest = round(sound.preroll_seconds * sound.sample_rate)
    start = int(rng.integers(min(spare, longest) + 1))
    dry = clip.audio
    if training:
        dry = augment(dry, sound.sample_rate, rng, strength=sound.augment_strength)
    return set_rms(dry[:, : start + sound.samples], sound.input_rms_dbfs + shift_db), start


def render(
    sound: Sound,
    clip: Clip,
    chain: Chain,
    rng: np.random.Generator,
    *,
    training: bool = False,
    shift_db: float = 0.0,
    others: bool = False,
) -> Example:
    """A clip through a canonical chain, or (`others`) one by other makers; else as `prepare`."""
    dry, start = prepare(sound, clip, rng, training=training, shift_db=shift_db)
    rate = sound.sample_rate
    wet = by_others(chain, dry, rate, rng) if others else chain.render(dry, rate)
    wet = wet[:, start:]
    if training and rng.random() < sound.behind_share:
        wet = behind_chain(wet, rate, rng)
    return Example(dry, wet, chain, clip.source_id)


def by_others(
    chain: Chain, dry: np.ndarray, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Three of four pedals by another maker, with knobs of their own; the others as they are."""
    out = dry
    for step in chain.steps:
        if rng.random() < 0.75:
            out = makers.play(step.effect, out, sample_rate, rng)
        else:
            out = Chain((step,)).render(out, sample_rate)
    return out


def examples_for_scoring(
    sound: Sound, protocol: Protocol, sources: str, n: int, *, seed: int, split: str = "test"
) -> list[Example]:
    """`n` examples without augmentation, on the dry sources of one split.

    `sources`: a kind of `dry_pool`, "real" (tests only), "behind" ("recorded", then
    `behind_chain`).
    """
    sound = replace(sound, preroll_seconds=SCORED_PREROLL_SECONDS)
    behind = sources == "behind"
    kind = "recorded" if behind else sources
    clips_rng = generator(seed, "clips", kind, split)
    size = {"seconds": sound.seconds + sound.preroll_seconds, "sample_rate": sound.sample_rate}
    if kind == "real":
        mixture = recordings(REAL_FOLDERS, **size)
        clips = [mixture.clip(clips_rng, "test") for _ in range(n)]
    else:
        pool = dry_pool(kind, split, min(n, 6000), seed=0, **size)
        clips = [pool.clip(int(clips_rng.integers(len(pool)))) for _ in range(n)]
    made = []
    for i, clip in enumerate(clips):
        rng = generator(seed, "evaluation", protocol.name, kind, split, i)
        example = render(sound, clip, protocol.draw(rng), rng)
        if behind:
            rng = generator(seed, "behind", protocol.name, split, i)
            wet = behind_chain(example.wet, sound.sample_rate, rng, split=split)
            example = replace(example, wet=wet)
        made.append(example)
    return made


class _Draw(NamedTuple):
    """What the number of an example determines; `rng` then draws start and augmentation."""

    number: int
    rng: np.random.Generator
    pool: DryPool | FreshClips
    place: int
    protocol: Protocol
    chain: Chain
    shift_db: float
    others: bool

    @property
    def clip(self) -> Clip:
        """The dry clip; the pool may have to render it first."""
        return self.pool.clip(self.place)


class Examples(Dataset):
    """Training examples; item ``i`` depends on the config and ``i`` alone.

    Only `n_examples` different ones are rendered. Further rounds repeat them in another order,
    with other masks and another tilt. The features are kept between rounds in the folder `cache`.
    """

    def __init__(
        self,
        config: Config,
        pools: Sequence[DryPool | FreshClips],
        *,
        training: bool = True,
        cache: Path | None = None,
    ) -> None:
        self.config = config
        self.pools = list(pools)
        self.training = training
        self._cache = None
        if cache is not None:
            self._cache = ExampleCache(cache, config.sound.n_examples, self.shapes())

    def __len__(self) -> int:
        return self.config.plan.steps * self.config.plan.batch_size

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each part of `heard`."""
        return {"features": feature_shape(self.config.sound)}

    def heard(self, example: Example) -> dict[str, Tensor]:
        """What a network hears of an example."""
        return {"features": example.features(self.config.sound)}

    def targets(self, chain: Chain, shelf: Sequence[str], others: bool) -> dict[str, Tensor]:
        """What a network should say; of a chain by other makers, the knobs are not known."""
        return targets(self.config, chain, shelf, knobs=not others)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        config = self.config
        draw = self.draw(index)

        def made(_number: int) -> dict[str, Tensor]:
            return {name: part.half() for name, part in self.heard(self._render(draw)).items()}

        found = self._cache.get(draw.number, made) if self._cache else made(draw.number)
        clip = {name: part.float() for name, part in found.items()}
        if self.training and "features" in clip:
            seed = config.plan.seed
            vary(clip["features"], config.sound, generator(seed, "variation", index))
        label = draw.chain.input_referred(draw.shift_db)  # the same at the usual level
        return {**clip, **self.targets(label, draw.protocol.pedals, draw.others)}

    def draw(self, index: int) -> _Draw:
        """Everything that determines item `index`."""
        sound = self.config.sound
        seed = self.config.plan.seed
        number = number_of(index, sound.n_examples, seed)
        rng = generator(seed, "training example", sound.first_example + number)
        pool = self.pools[rng.integers(len(self.pools))]
        protocol = PROTOCOLS[sound.protocols[rng.integers(len(sound.protocols))]]
        place = int(rng.integers(len(pool)))
        chain = protocol.draw(rng)
        jitter_db = sound.input_jitter_db if self.training else 0.0
        shift_db = jitter_db * float(rng.uniform(-1, 1))
        others = sound.others_share > 0 and bool(rng.random() < sound.others_share)
        if sound.dry_share > 0 and rng.random() < sound.dry_share:
            chain = Chain()
        return _Draw(number, rng, pool, place, protocol, chain, shift_db, others)

    def _render(self, draw: _Draw) -> Example:
        given = {"training": self.training, "shift_db": draw.shift_db, "others": draw.others}
        return render(self.config.sound, draw.clip, draw.chain, draw.rng, **given)


def vary(clip: Tensor, sound: Sound, rng: np.random.Generator) -> None:
    """Tilt a log-mel spectrogram, and mask a stripe of rows and one of frames, in place."""
    rows, frames = clip.shape
    # The features are decibels divided by 20.
    ramp = torch.linspace(-1, 1, rows, device=clip.device).unsqueeze(1)
    clip += ramp * (sound.tilt_db / 20.0 * rng.uniform(-1, 1))
    for axis, size in ((0, rows), (1, frames)):
        width = int(rng.integers(int(sound.mask * size) + 1))
        first = int(rng.integers(size - width + 1))
        clip.narrow(axis, first, width).zero_()


def targets(
    config: Config, chain: Chain, shelf: Sequence[str], *, knobs: bool = True
) -> dict[str, Tensor]:
    """`tokens` (max_length,) padded; `shelf` (n_pedals,) 0/1; `place` (n_pedals,), -1: absent.

    Without `knobs` the tokens end with the order.
    """
    vocabulary = config.net.tokens
    names = vocabulary.pedals
    tokens = vocabulary.encode(chain) if knobs else vocabulary.encode_order(chain.names)
    padded = torch.full((vocabulary.max_length,), PAD, dtype=torch.long)
    padded[: len(tokens)] = torch.tensor(tokens)
    place = [chain.names.index(name) if name in chain.names else -1 for name in names]
    on_shelf = torch.tensor([float(name in shelf) for name in names])
    return {"tokens": padded, "shelf": on_shelf, "place": torch.tensor(place)}
