"""Examples of pedal order: a dry clip, a random chain, and what the network hears of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from labkit.effects.chain import Chain, render_chains
from labkit.effects.registry import effect
from labkit.learn.pool import ExampleCache, number_of
from labkit.signal.augment import augment
from labkit.signal.pool import DryPool, FreshClips
from labkit.signal.seeds import generator
from labkit.signal.sources import Clip
from labkit.signal.units import set_rms
from labkit.systems.pedal_order.config import PROTOCOLS, SIX, Config, Protocol
from labkit.systems.pedal_order.front_ends import hidden_word, picture, shape
from labkit.systems.pedal_order.tokens import PAD


@dataclass(frozen=True)
class Example:
    """One rendered clip.

    Attributes:
        dry: (1, pre-roll + samples) float32, at the level that entered the chain.
        wet: (1, samples) float32, the end of what came out.
        chain: the canonical chain.
        protocol: what it was drawn from.
        source_id: of the dry clip.
    """

    dry: np.ndarray
    wet: np.ndarray
    chain: Chain
    protocol: Protocol
    source_id: str

    @property
    def dry_beside(self) -> np.ndarray:
        """The part of the dry sound that `wet` was made of, (1, samples)."""
        return self.dry[:, -self.wet.shape[1] :]

    def apply(self, chain: Chain, sample_rate: int) -> np.ndarray:
        """Another chain on the same dry sound: (1, samples), aligned with `wet`."""
        return chain.render(self.dry, sample_rate)[:, -self.wet.shape[1] :]


def render(
    config: Config,
    clip: Clip,
    protocol: Protocol,
    rng: np.random.Generator,
    *,
    training: bool,
    chain: Chain | None = None,
    shift_db: float = 0.0,
) -> Example:
    """Put a clip through a chain drawn from the protocol.

    The dry sound enters at `input_rms_dbfs`, because a drive is only defined relative to its input; the clip is cut
    after the chain has been running for up to `preroll_seconds`, as any clip of a recording is.

    Args:
        config: levels and lengths.
        clip: dry, at least `seconds` long at `config.sample_rate`; longer leaves room for the pre-roll.
        protocol: the chain's prior.
        rng: of chain, crop, augmentation and level.
        training: with augmentation.
        chain: the canonical chain to use; drawn from the protocol when None.
        shift_db: by how much hotter the dry sound enters.

    Returns:
        The example; its chain is canonical, and the one that was played, whatever the shift.

    Raises:
        ValueError: if the clip is too short or at another rate.
    """
    dry, start, chain = prepare(
        config, clip, protocol, rng, training=training, chain=chain, shift_db=shift_db
    )
    wet = chain.render(dry, config.sample_rate)[:, start:]
    return Example(dry, wet, chain, protocol, clip.source_id)


def prepare(
    config: Config,
    clip: Clip,
    protocol: Protocol,
    rng: np.random.Generator,
    *,
    training: bool,
    chain: Chain | None = None,
    shift_db: float = 0.0,
) -> tuple[np.ndarray, int, Chain]:
    """What `render` sends through the chain, where it cuts what comes out, and the chain. Arguments as there."""
    if clip.sample_rate != config.sample_rate or clip.audio.shape[1] < config.samples:
        raise ValueError(
            f"a clip must hold {config.samples} samples at {config.sample_rate} Hz, "
            f"got {clip.audio.shape[1]} at {clip.sample_rate}"
        )
    chain = protocol.draw(rng) if chain is None else chain
    room = min(
        clip.audio.shape[1] - config.samples, round(config.preroll_seconds * config.sample_rate)
    )
    start = int(rng.integers(room + 1))
    dry = clip.audio
    if training:
        dry = augment(
            dry,
            config.sample_rate,
            rng,
            strength=config.augment_strength,
            parts=config.augment_parts,
        )
    return set_rms(dry[:, : start + config.samples], config.input_rms_dbfs + shift_db), start, chain


class _Draw(NamedTuple):
    """What a number decides before anything is rendered; `rng` then draws crop and augmentation."""

    number: int
    rng: np.random.Generator
    pool: DryPool | FreshClips
    clip: int
    protocol: Protocol
    chain: Chain
    shift_db: float

    @property
    def label(self) -> Chain:
        """What the network must say, which cannot know the level: the chain of a sound that entered as it should."""
        return self.chain.input_referred(self.shift_db)


class Examples(Dataset):
    """Examples made on the fly; number ``i`` depends on seed and ``i`` alone.

    Only `config.n_examples` different ones are rendered, each when it is first asked for; in every further round they
    come in another order, and in training each time with other stripes hidden and another tilt.

    Args:
        config: what to draw.
        pools: of dry clips, drawn from evenly whatever their sizes.
        seed: of the examples.
        training: with augmentation, level jitter, hidden stripes and tilt.
    """

    def __init__(
        self,
        config: Config,
        pools: Sequence[DryPool | FreshClips],
        seed: int,
        *,
        training: bool = True,
    ) -> None:
        self.config, self.pools, self.seed, self.training = config, list(pools), seed, training
        self._cache: ExampleCache | None = None

    def cached(self, folder: Path) -> "Examples":
        """These examples, with rendered pictures kept in `folder` (float16) between rounds and runs."""
        shapes = {"picture": shape(self.config)}
        self._cache = ExampleCache(folder, self.config.n_examples, shapes)
        return self

    def __len__(self) -> int:
        return self.config.steps * self.config.batch_size

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """`picture` (rows, frames), `tokens` (max_length,) padded, `shelf` and `place` (n_pedals,)."""
        draw = self._drawn(index)
        make = partial(self._made, draw)
        found = self._cache.get(draw.number, make) if self._cache else make(draw.number)
        mel = found["picture"].float()
        if self.training:
            vary(mel, self.config, generator(self.seed, "variation", index))
        return {"picture": mel} | targets(self.config, draw.label, draw.protocol.pedals)

    def _made(self, draw: _Draw, _number: int) -> dict[str, Tensor]:
        given = {"training": self.training, "chain": draw.chain, "shift_db": draw.shift_db}
        clip = draw.pool.clip(draw.clip)
        example = render(self.config, clip, draw.protocol, draw.rng, **given)
        return {"picture": seen(example, self.config).half()}  # exact for codes, below 2048

    def _drawn(self, index: int) -> _Draw:
        number = number_of(index, self.config.n_examples, self.seed)
        rng = generator(self.seed, "training example", self.config.first_example + number)
        pool = self.pools[rng.integers(len(self.pools))]
        protocol = PROTOCOLS[self.config.protocols[rng.integers(len(self.config.protocols))]]
        clip = int(rng.integers(len(pool)))
        chain = protocol.draw(rng)
        jitter_db = self.config.input_jitter_db if self.training else 0.0
        return _Draw(
            number, rng, pool, clip, protocol, chain, jitter_db * float(rng.uniform(-1, 1))
        )


class DryExamples(Dataset):
    """The same examples before their chains: what a GPU renders by the batch, with `rendered`.

    Args:
        examples: which ones; what they have cached is not read.
    """

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """`dry` (pre-roll + samples,), silent behind its end; `start`, `chain` (see `written`), `index`, targets."""
        config, training = self.examples.config, self.examples.training
        draw = self.examples._drawn(index)
        given = {"training": training, "chain": draw.chain, "shift_db": draw.shift_db}
        dry, start, chain = prepare(
            config, draw.pool.clip(draw.clip), draw.protocol, draw.rng, **given
        )
        padded = torch.zeros(config.samples + round(config.preroll_seconds * config.sample_rate))
        padded[: dry.shape[1]] = torch.from_numpy(dry[0])
        item = {
            "dry": padded,
            "start": torch.tensor(start),
            "chain": written(chain),
            "index": torch.tensor(index),
        }
        return item | targets(config, draw.label, draw.protocol.pedals)


def seen(example: Example, config: Config) -> Tensor:
    """The `picture` of an example."""
    return picture(
        torch.from_numpy(example.wet[0]), config, torch.from_numpy(example.dry_beside[0])
    )


def written(chain: Chain) -> Tensor:
    """A chain as numbers, (most pedals, 1 + most knobs): each pedal's place in `SIX` or -1, then its knobs, then 0."""
    widest = max(len(effect(name).space) for name in SIX)
    numbers = torch.zeros(max(protocol.max_length for protocol in PROTOCOLS.values()), 1 + widest)
    numbers[:, 0] = -1
    for row, step in zip(numbers, chain.steps, strict=False):
        values = [step.params[knob.name] for knob in effect(step.effect).space.parameters]
        row[: 1 + len(values)] = torch.tensor([SIX.index(step.effect), *values])
    return numbers


def read(numbers: Tensor) -> list[tuple[str, dict[str, float]]]:
    """The pedals and knobs that `written` wrote down, in float32."""
    rows = [row for row in numbers.tolist() if row[0] >= 0]
    spaces = [(SIX[int(row[0])], effect(SIX[int(row[0])]).space.parameters) for row in rows]
    return [
        (name, {knob.name: value for knob, value in zip(knobs, row[1:], strict=False)})
        for (name, knobs), row in zip(spaces, rows, strict=True)
    ]


def wets(config: Config, batch: Mapping[str, Tensor]) -> Tensor:
    """What comes out of the chains of a batch of `DryExamples`, (batch, samples), by the torch pedals on its device."""
    wet = render_chains(
        batch["dry"][:, None], config.sample_rate, [read(row) for row in batch["chain"].cpu()]
    )[:, 0]
    return _clipped(wet, config, batch)


def _clipped(audio: Tensor, config: Config, batch: Mapping[str, Tensor]) -> Tensor:
    kept = torch.arange(config.samples, device=audio.device) + batch["start"][:, None]
    return audio.gather(1, kept)


@torch.no_grad()
def rendered(
    config: Config, batch: Mapping[str, Tensor], seed: int, *, training: bool = True
) -> dict[str, Tensor]:
    """A batch of `DryExamples` as a batch of `Examples`: the same draws, by the torch pedals on the batch's device.

    Args:
        config: as of the examples.
        batch: items of `DryExamples`, collated.
        seed: of the examples.
        training: with hidden stripes and tilt.

    Returns:
        `picture`, `tokens`, `shelf` and `place`, one row per item.
    """
    mels = (
        picture(wets(config, batch), config, _clipped(batch["dry"], config, batch)).half().float()
    )
    if training:
        for mel, index in zip(mels, batch["index"].tolist(), strict=True):
            vary(mel, config, generator(seed, "variation", index))
    return {"picture": mels} | {name: batch[name] for name in ("tokens", "shelf", "place")}


def vary(mel: Tensor, config: Config, rng: np.random.Generator) -> None:
    """Tilt a picture (rows, frames), if log-mel, and hide a stripe of rows and one of frames, in place."""
    bands, frames = mel.shape
    tilt = config.tilt_db if config.front_end == "mel" else 0.0
    mel += torch.linspace(-1, 1, bands, device=mel.device).unsqueeze(1) * (
        tilt * rng.uniform(-1, 1) / 20.0
    )
    for axis, size in ((0, bands), (1, frames)):
        width = int(rng.integers(int(config.mask * size) + 1))
        mel.narrow(axis, int(rng.integers(size - width + 1)), width).fill_(hidden_word(config))


def targets(config: Config, chain: Chain, shelf: Sequence[str]) -> dict[str, Tensor]:
    """The sentence (max_length,) padded with PAD; the shelf (n_pedals,) 0/1; the place of each pedal, -1 for none."""
    words, pedals = config.tokens.encode(chain), config.tokens.pedals
    padded = torch.full((config.tokens.max_length,), PAD, dtype=torch.long)
    padded[: len(words)] = torch.tensor(words)
    place = [chain.names.index(name) if name in chain.names else -1 for name in pedals]
    shelf_vector = torch.tensor([float(name in shelf) for name in pedals])
    return {"tokens": padded, "shelf": shelf_vector, "place": torch.tensor(place)}
