"""Examples of pedal order: a dry clip, a random chain, and what the network hears of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from labkit.effects.chain import Chain
from labkit.signal.augment import augment
from labkit.signal.pool import DryPool
from labkit.signal.seeds import generator
from labkit.signal.sources import Clip
from labkit.signal.units import set_rms
from labkit.systems.pedal_order.config import PROTOCOLS, Config, Protocol
from labkit.systems.pedal_order.model import picture
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

    def apply(self, chain: Chain, sample_rate: int) -> np.ndarray:
        """Another chain on the same dry sound: (1, samples), aligned with `wet`."""
        return chain.render(self.dry, sample_rate)[:, -self.wet.shape[1] :]


def render(config: Config, clip: Clip, protocol: Protocol, rng: np.random.Generator, *, training: bool) -> Example:
    """Put a clip through a chain drawn from the protocol.

    The dry sound enters at `input_rms_dbfs`, because a drive is only defined relative to its input; the clip is cut
    after the chain has been running for up to `preroll_seconds`, as any clip of a recording is.

    Args:
        config: levels and lengths.
        clip: dry, at least `seconds` long at `config.sample_rate`; longer leaves room for the pre-roll.
        protocol: the chain's prior.
        rng: of chain, crop, augmentation and level.
        training: with augmentation and level jitter.

    Returns:
        The example; its chain is canonical.

    Raises:
        ValueError: if the clip is too short or at another rate.
    """
    if clip.sample_rate != config.sample_rate or clip.audio.shape[1] < config.samples:
        raise ValueError(
            f"a clip must hold {config.samples} samples at {config.sample_rate} Hz, "
            f"got {clip.audio.shape[1]} at {clip.sample_rate}"
        )
    chain = protocol.sampler.sample(rng).canonical()
    room = min(clip.audio.shape[1] - config.samples, round(config.preroll_seconds * config.sample_rate))
    start = int(rng.integers(room + 1))
    dry, level_dbfs = clip.audio, config.input_rms_dbfs
    if training:
        dry = augment(dry, config.sample_rate, rng, strength=config.augment_strength)
        level_dbfs += config.input_jitter_db * float(rng.uniform(-1, 1))
    dry = set_rms(dry[:, : start + config.samples], level_dbfs)
    wet = chain.render(dry, config.sample_rate)[:, start:]
    return Example(dry, wet, chain, protocol, clip.source_id)


class Examples(Dataset):
    """Fresh examples made on the fly; number ``i`` depends on seed and ``i`` alone.

    Args:
        config: what to draw.
        pools: dry pools, drawn from evenly whatever their sizes.
        seed: of the examples.
        training: with augmentation, level jitter and hidden mel bands.
    """

    def __init__(self, config: Config, pools: Sequence[DryPool], seed: int, *, training: bool = True) -> None:
        self.config, self.pools, self.seed, self.training = config, list(pools), seed, training

    def __len__(self) -> int:
        return self.config.steps * self.config.batch_size

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """`picture` (n_mels, frames), `tokens` (max_length,) padded, `shelf` (n_pedals,)."""
        rng = generator(self.seed, "training example", index)
        pool = self.pools[rng.integers(len(self.pools))]
        protocol = PROTOCOLS[self.config.protocols[rng.integers(len(self.config.protocols))]]
        example = render(self.config, pool.clip(int(rng.integers(len(pool)))), protocol, rng, training=self.training)
        mel = picture(torch.from_numpy(example.wet[0]), self.config)
        if self.training:
            mel[torch.from_numpy(rng.random(len(mel)) < self.config.mel_mask * rng.random())] = 0.0
        return {"picture": mel} | targets(self.config, example.chain, protocol.pedals)


def targets(config: Config, chain: Chain, shelf: Sequence[str]) -> dict[str, Tensor]:
    """The sentence (max_length,) padded with PAD, and the shelf (n_pedals,) as 0/1."""
    words = config.tokens.encode(chain)
    padded = torch.full((config.tokens.max_length,), PAD, dtype=torch.long)
    padded[: len(words)] = torch.tensor(words)
    return {"tokens": padded, "shelf": torch.tensor([float(name in shelf) for name in config.tokens.pedals])}
