"""Sounds of k oscillators, made as fast as a network can learn from them."""

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from labkit.effects.synths.kosc import N_SAMPLES, SPACE, render
from labkit.signal.seeds import torch_generator
from labkit.systems.synth_matching.kosc.config import Config

N_BINS = N_SAMPLES // 2 + 1
# Full scale 1: magnitudes below -80 dB count as silence.
FLOOR = 1e-4


def spectrum(audio: Tensor) -> Tensor:
    """(b, n_samples) -> (b, bins) complex, under a Hann window; a sine of amplitude 1 has magnitude 1."""
    window = torch.hann_window(audio.shape[-1], device=audio.device)
    return torch.fft.rfft(audio * window) * (2 / window.sum())


def decibels(spectra: Tensor) -> Tensor:
    """Magnitudes in dB, from -80 on."""
    return 20 * torch.log10(spectra.abs() + FLOOR)


def log_spectral_distance(first: Tensor, second: Tensor) -> Tensor:
    """LSD: root mean square difference in dB of two batches of sounds, bin by bin, without a window.

    Args:
        first: (b, n_samples).
        second: as many.

    Returns:
        (b,) dB.

    Source: as in Hayes et al. 2025, with a floor of -80 dB below a sine of amplitude 2.
    """
    a, b = (decibels(torch.fft.rfft(one, norm="forward")) for one in (first, second))
    return (a - b).square().mean(1).sqrt()


class Bank:
    """Spectra of many single oscillators, from which sounds are mixed: a sum of sounds has the sum of their spectra.

    Mixing costs a hundredth of rendering. A bank of n oscillators has n**k mixtures, their amplitudes free.

    Args:
        size: oscillators; their frequencies are spread over the whole range.
        seed: of frequencies and waveforms.
    """

    def __init__(self, size: int = 8000, *, seed: int = 0) -> None:
        params = torch.rand(size, 1, len(SPACE), generator=torch_generator(seed, "k-osc bank"))
        params[..., 1] = 1.0
        params = params[params[:, 0, 0].argsort()]
        self.frequency, self.waveform = params[:, 0, 0], params[:, 0, 2]
        spectra = torch.cat([spectrum(render(part)) for part in params.split(500)])
        self.table = torch.view_as_real(spectra).flatten(1)

    def draw(
        self, n: int, k: int, rng: torch.Generator, *, broken: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Settings (n, k, 3) in 0..1, uniform, and their spectra (n, bins) complex; `broken` as in `render`."""
        place = torch.rand(n, k, generator=rng)
        if broken:
            place = (torch.arange(k) + place) / k
        chosen = (place * len(self.frequency)).long().clamp_max(len(self.frequency) - 1)
        amplitude = torch.rand(n, k, generator=rng)
        mixed = F.embedding_bag(chosen, self.table, per_sample_weights=amplitude / k, mode="sum")
        frequency = self.frequency[chosen]
        if broken:  # chosen by rank: at a band's edge a frequency may lie just outside
            frequency = (frequency * k - torch.arange(k)).clamp(0, 1)
        settings = torch.stack([frequency, amplitude, self.waveform[chosen]], dim=-1)
        return settings, torch.view_as_complex(mixed.unflatten(1, (N_BINS, 2)))


@functools.cache
def bank() -> Bank:
    """The bank that all trainings share."""
    return Bank()


def to_values(settings: Tensor) -> Tensor:
    """(b, k, 3) in 0..1 -> (b, 3 k) of mean 0 and variance 1, as large as a flow's noise."""
    return ((settings - 0.5) * math.sqrt(12)).flatten(1)


def to_settings(values: Tensor) -> Tensor:
    """(..., 3 k) -> (..., k, 3), held within 0..1."""
    return (values / math.sqrt(12) + 0.5).clamp(0, 1).unflatten(-1, (-1, len(SPACE)))


class Batches(Dataset):
    """Whole batches, mixed when they are asked for: item i is drawn from the seed and i alone.

    Args:
        config: sizes, task and seed.
        steps: batches.
    """

    def __init__(self, config: Config, steps: int) -> None:
        self.config, self.steps = config, steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        config = self.config
        rng = torch_generator(config.seed, "k-osc encoder", index)
        settings, spectra = bank().draw(config.batch_size, config.k, rng, broken=config.broken)
        return {"settings": settings, "magnitude": spectra.abs() * config.k}


@dataclass(frozen=True)
class TrainingSet:
    """What heads learn from and where a nearest neighbour is looked for.

    Attributes:
        settings: (n, k, 3) in 0..1.
        spectra_db: (n, bins), of `decibels`.
        condition: (n, 2 n_map), what the encoder heard.
    """

    settings: Tensor
    spectra_db: Tensor
    condition: Tensor

    def nearest(self, spectra: Tensor) -> Tensor:
        """The settings (b, k, 3) of the sounds that are nearest in dB to complex spectra (b, bins)."""
        asked = decibels(spectra)
        parts = [torch.cdist(asked, part).min(1) for part in self.spectra_db.split(5000)]
        which = torch.stack([one.values for one in parts]).argmin(0)
        found = torch.stack([one.indices for one in parts]).gather(0, which[None])[0] + 5000 * which
        return self.settings[found]


def training_set(config: Config, encoder: nn.Module) -> TrainingSet:
    """`config.n_train` sounds, heard once by the encoder for all heads."""
    rng = torch_generator(config.data_seed, "k-osc train", config.k, int(config.broken))
    parts = []
    with torch.no_grad():
        for _ in range(math.ceil(config.n_train / 500)):
            settings, spectra = bank().draw(500, config.k, rng, broken=config.broken)
            parts.append((settings, decibels(spectra), encoder(spectra.abs() * config.k)))
    return TrainingSet(*(torch.cat(part) for part in zip(*parts, strict=True)))


class Drawn(Dataset):
    """Batches from a training set: item i is drawn from the seed and i alone.

    Args:
        config: batch, steps and seed.
        known: the set.
    """

    def __init__(self, config: Config, known: TrainingSet) -> None:
        self.config, self.known = config, known

    def __len__(self) -> int:
        return self.config.steps

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = torch_generator(self.config.seed, "k-osc head", index)
        rows = torch.randint(0, len(self.known.settings), (self.config.batch_size,), generator=rng)
        values, condition = to_values(self.known.settings[rows]), self.known.condition[rows]
        return {"values": values, "condition": condition, "index": torch.tensor(index)}


def examples(config: Config, split: str, seed: int, *, n: int = 512) -> tuple[Tensor, Tensor]:
    """Settings and sounds, rendered one by one: no oscillator of them is in the bank that training mixes from.

    Args:
        config: k and broken.
        split: ``"validation"`` or ``"test"``; what is trained on is `training_set`.
        seed: of the settings.
        n: sounds.

    Returns:
        Settings (n, k, 3) in 0..1, audio (n, 1024).

    Raises:
        ValueError: for another split.
    """
    if split not in ("validation", "test"):
        raise ValueError(f"split must be validation or test, got {split!r}")
    rng = torch_generator(seed, "k-osc", split, config.k, int(config.broken))
    settings = torch.rand(n, config.k, len(SPACE), generator=rng)
    return settings, render_many(settings, broken=config.broken)


def render_many(settings: Tensor, *, broken: bool) -> Tensor:
    """As `render`, a hundred at a time: (n, k, 3) -> (n, 1024)."""
    return torch.cat([render(part, broken=broken) for part in settings.split(100)])


def heard(audio: Tensor, config: Config) -> Tensor:
    """What the encoder is given of audio (b, 1024): magnitudes (b, bins), as loud as one oscillator of k."""
    return spectrum(audio).abs() * config.k
