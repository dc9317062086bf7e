"""Sound and word in one space: an encoder that hears what was done to a sound, and says which word it was done for."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.functional import melscale_fbanks

from labkit.signal.seeds import generator, torch_generator
from labkit.signal.sources import GeneratedGuitars
from labkit.signal.spectra import power, stft
from labkit.systems.text_to_effects.config import SENTENCE_WIDTHS
from labkit.systems.text_to_effects.descriptors import Word
from labkit.systems.text_to_effects.inputs import read_prompts
from labkit.systems.text_to_effects.model import (
    asked_of,
    hint_centres,
    nearness,
    ridge_into,
    told_of,
)
from labkit.systems.text_to_effects.response import BANDS_HZ, START, fitted_gains_db

_N_FFT = 2048
_LOW_HZ, _HIGH_HZ = 30.0, 16000.0
# Of the loudest band; what is softer is taken for nothing.
_FLOOR = 1e-6


@dataclass(frozen=True)
class ContrastConfig:
    """Sizes and training of the encoder.

    Attributes:
        sample_rate: Hz.
        seconds: of a training clip.
        n_mels: bands of a picture.
        n_frames: moments of a picture.
        width: of both branches.
        embedding: size of the common space.
        dropout: in both branches.
        reads: ``"lexicon"``, the first guess at five gains; ``"sentence"``, the vector of the sentence encoder.
        hears: ``"pair"``, dry and wet; ``"wet"``, the result alone.
        likeness: standard deviations of people's curves at which two words are half the same answer.
        least_db: smallest dB of one standard deviation of people's curves.
        most_db: largest.
        n_clips: different dry clips.
        steps: of AdamW.
        batch_size: words a step.
        learning_rate: at the beginning; falls linearly.
        weight_decay: of AdamW.
        seed: of everything.
    """

    sample_rate: int = 44100
    seconds: float = 2.0
    n_mels: int = 48
    n_frames: int = 6
    width: int = 96
    embedding: int = 48
    dropout: float = 0.2
    reads: str = "lexicon"
    hears: str = "pair"
    likeness: float = 0.5
    least_db: float = 4.0
    most_db: float = 8.0
    n_clips: int = 64
    steps: int = 300
    batch_size: int = 48
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (("reads", ("lexicon", "sentence")), ("hears", ("pair", "wet"))):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}"
                )


@cache
def _filters(sample_rate: int, n_mels: int) -> Tensor:
    return melscale_fbanks(
        _N_FFT // 2 + 1, _LOW_HZ, min(_HIGH_HZ, sample_rate / 2), n_mels, sample_rate
    )


def moments(audio: Tensor, config: ContrastConfig) -> Tensor:
    """(b, samples) -> (b, n_frames, 1025): the mean power spectrum of each moment."""
    frames = power(stft(audio, n_fft=_N_FFT, hop_length=_N_FFT // 4))
    return functional.adaptive_avg_pool1d(frames, config.n_frames).transpose(-1, -2)


def picture_of(powers: Tensor, config: ContrastConfig) -> Tensor:
    """Mean power spectra -> (b, n_frames, n_mels), 20 dB to the unit about their own mean: without a level."""
    bands = powers @ _filters(config.sample_rate, config.n_mels).to(powers)
    level = torch.log10(bands + _FLOOR * bands.amax((-1, -2), keepdim=True) + 1e-12) / 2
    return level - level.mean((-1, -2), keepdim=True)


def power_gains(curves_db: np.ndarray, sample_rate: int) -> Tensor:
    """(n, 40) dB at `BANDS_HZ` -> (n, 1025) gains of power: what an equaliser with these curves does to a spectrum."""
    hz = np.linspace(0, sample_rate / 2, _N_FFT // 2 + 1).clip(BANDS_HZ[0])
    drawn = [np.interp(np.log(hz), np.log(BANDS_HZ), curve) for curve in curves_db]
    return torch.from_numpy(10 ** (np.array(drawn) / 10)).float()


class Encoder(nn.Module):
    """Two branches that end in one space: how the sound changed, and what the word asks for.

    The audio branch is given the dry sound beside the wet one. A word for an effect names a change: who hears the
    result alone must first guess what the sound was.

    Args:
        config: sizes.

    Source: van den Oord et al. 2018 (InfoNCE); Elizalde et al. 2023 (CLAP), which hears the wet sound alone.
    """

    def __init__(self, config: ContrastConfig) -> None:
        super().__init__()
        self.config, width = config, config.width
        self.register_buffer("centres", hint_centres())
        self.guess = nn.Linear(len(self.centres), len(START)).requires_grad_(False)
        given = len(START) if config.reads == "lexicon" else SENTENCE_WIDTHS["minilm"]
        pictures = 2 if config.hears == "pair" else 1
        drop = config.dropout
        self.each_moment = nn.Sequential(
            nn.Linear(pictures * config.n_mels, width), nn.GELU(), nn.Dropout(drop)
        )
        self.sound = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Dropout(drop),
            nn.Linear(width, config.embedding),
        )
        self.word = nn.Sequential(
            nn.Dropout(drop),
            nn.Linear(given, width),
            nn.GELU(),
            nn.Dropout(drop),
            nn.Linear(width, config.embedding),
        )
        self.sharpness = nn.Parameter(torch.tensor(2.0))

    @property
    def sample_rate(self) -> int:
        """Hz of what it hears."""
        return self.config.sample_rate

    def moments(self, audio: Tensor) -> Tensor:
        """(b, samples) -> what `hear_powers` takes, as the function `moments`."""
        return moments(audio, self.config)

    def hear(self, dry: Tensor, wet: Tensor) -> Tensor:
        """(b, samples) twice -> (b, embedding) of length 1, differentiable in both."""
        return self.hear_powers(self.moments(dry), self.moments(wet))

    def hear_powers(self, dry: Tensor, wet: Tensor) -> Tensor:
        """As `hear`, from what `moments` gives."""
        before, after = picture_of(dry, self.config), picture_of(wet, self.config)
        seen = torch.cat([after - before, before], -1) if self.config.hears == "pair" else after
        return functional.normalize(self.sound(self.each_moment(seen).mean(-2)), dim=-1)

    def read(self, prompts: Sequence[str]) -> Tensor:
        """Sentences -> (n, embedding) of length 1."""
        return self.read_told(told(prompts, self.config, self.centres))

    def read_told(self, given: Tensor) -> Tensor:
        """As `read`, from what `told` gives."""
        known = self.guess(given) / 4.0 if self.config.reads == "lexicon" else given
        return functional.normalize(self.word(known), dim=-1)

    def nothing(self) -> Tensor:
        """(1, embedding): where a sentence stands that asks for no tone, for losses that need a direction.

        Raises:
            ValueError: for an encoder that reads sentences, for which nothing is no sentence.
        """
        if self.config.reads != "lexicon":
            raise ValueError(
                f'reads must be "lexicon" for a neutral word, got {self.config.reads!r}'
            )
        return self.read_told(nearness(torch.zeros(1, self.centres.shape[1]), self.centres))


def told(prompts: Sequence[str], config: ContrastConfig, centres: Tensor) -> Tensor:
    """Sentences -> what the word's branch is given, before anything that is learnt."""
    batch = read_prompts(prompts)
    if config.reads == "lexicon":
        return nearness(asked_of(batch), centres)
    return told_of(batch)[:, : SENTENCE_WIDTHS["minilm"]]


@cache
def dry_clips(config: ContrastConfig) -> Tensor:
    """(n_clips, samples) phrases on generated guitars of the training split, peak 1."""
    source = GeneratedGuitars(seconds=config.seconds, sample_rate=config.sample_rate)
    clips = [
        source.clip(generator(config.seed, "contrast", k), "train").audio[0]
        for k in range(config.n_clips)
    ]
    samples = min(len(clip) for clip in clips)
    return torch.from_numpy(
        np.stack([clip[:samples] / max(1e-6, np.abs(clip).max()) for clip in clips])
    ).float()


def train_encoder(
    config: ContrastConfig,
    words: Sequence[Word],
    spread: np.ndarray,
    *,
    seed: int = 0,
    shuffled: bool = False,
) -> Encoder:
    """An encoder of words and of the sound of people's equaliser curves for them.

    An equaliser multiplies a spectrum, so that training needs no filter: powers are multiplied by the curve's gain,
    at a depth of its own for each example. Two words with nearly the same curve are nearly the same answer: the target
    of a sound is spread over the words of the batch by the likeness of their curves.

    Args:
        config: sizes and steps.
        words: of `descriptors.eq_words`, those that may be learnt from.
        spread: (40,), of `descriptors.band_spread`: the unit in which curves are alike.
        seed: of weights and batches.
        shuffled: give every word another one's curve: the control.

    Returns:
        The encoder in evaluation mode.

    Raises:
        ValueError: for fewer than two words.
    """
    if len(words) < 2:
        raise ValueError(f"words must hold at least two words, got {len(words)}")
    rng = generator(seed, "contrast batches")
    curves = np.array([word.settings for word in words])
    curves = curves[rng.permutation(len(words))] if shuffled else curves
    weight = np.array([word.agreement * word.n / (word.n + 2.0) for word in words])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_generator(seed, "contrast").initial_seed())
        encoder = Encoder(config).train()
        given = told([word.word for word in words], config, encoder.centres)
        _begin(encoder, given, curves, weight)
        _descend(encoder, given, curves, curves / spread, weight / weight.sum(), rng)
    return encoder.eval()


def _begin(encoder: Encoder, given: Tensor, curves: np.ndarray, weight: np.ndarray) -> None:
    if encoder.config.reads == "lexicon":  # as `model.begin` does
        gains = torch.from_numpy(np.stack([fitted_gains_db(6.0 * curve) for curve in curves]))
        ridge_into(encoder.guess, given, gains, torch.from_numpy(weight), 0.3, centred=False)


def _descend(
    encoder: Encoder,
    given: Tensor,
    curves: np.ndarray,
    scaled: np.ndarray,
    share: np.ndarray,
    rng: np.random.Generator,
) -> None:
    config, likes = encoder.config, torch.from_numpy(scaled).float()
    dry = moments(dry_clips(config), config)
    trained = [p for p in encoder.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=config.learning_rate, weight_decay=config.weight_decay
    )
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * min((step + 1) / 20, 1 - step / config.steps)
        drawn = rng.choice(len(curves), min(config.batch_size, len(curves)), replace=False, p=share)
        depth_db = rng.uniform(config.least_db, config.most_db, (len(drawn), 1))
        before = dry[rng.integers(0, len(dry), len(drawn))]
        after = before * power_gains(curves[drawn] * depth_db, config.sample_rate)[:, None]
        loss = contrastive_loss(
            encoder.hear_powers(before, after), encoder.read_told(given[drawn]), encoder.sharpness.exp(),
            answers(likes[drawn], config.likeness),
        )  # fmt: skip
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def answers(likes: Tensor, likeness: float) -> Tensor:
    """(b, 40) curves in standard deviations -> (b, b) shares of the right answer; every row sums to 1."""
    apart = (likes[:, None] - likes[None]).square().mean(-1)
    return (-apart / (2 * likeness**2)).softmax(-1)


def contrastive_loss(sounds: Tensor, words: Tensor, sharpness: Tensor, shares: Tensor) -> Tensor:
    """The cross-entropy of sound to word and of word to sound, with several right answers where words are alike.

    Args:
        sounds: (b, e) of length 1.
        words: (b, e) of length 1; row i belongs to sound i.
        sharpness: 0-dimensional, one over the temperature.
        shares: (b, b), of `answers`; the identity gives InfoNCE.

    Source: van den Oord et al. 2018, eq. 4, in both directions as Radford et al. 2021 (CLIP).
    """
    logits = sharpness * sounds @ words.T
    hears, says = logits.log_softmax(-1), logits.T.log_softmax(-1)
    return -0.5 * ((shares * hears).sum(-1).mean() + (shares * says).sum(-1).mean())


@torch.no_grad()
def likeness(
    encoder: Encoder,
    words: Sequence[Word],
    dry: np.ndarray,
    sample_rate: int,
    *,
    db_per_unit: float = 6.0,
) -> np.ndarray:
    """How near each word is to a sound that was played with each word's curve.

    Args:
        encoder: in evaluation mode.
        words: the candidates, each of which is played too.
        dry: (samples,), at the encoder's rate.
        sample_rate: Hz.
        db_per_unit: depth of the curves.

    Returns:
        (n sounds, n words), cosines.

    Raises:
        ValueError: for another rate than the encoder's.
    """
    if sample_rate != encoder.config.sample_rate:
        raise ValueError(f"sample_rate must be {encoder.config.sample_rate}, got {sample_rate}")
    wet = np.stack([played(dry, db_per_unit * word.settings, sample_rate) for word in words])
    before = torch.from_numpy(dry).float()[None]
    heard = encoder.hear(before.expand(len(words), -1), torch.from_numpy(wet).float())
    return (heard @ encoder.read([word.word for word in words]).T).numpy()


def played(dry: np.ndarray, curve_db: np.ndarray, sample_rate: int) -> np.ndarray:
    """(samples,) through an equaliser of linear phase with a curve at `BANDS_HZ`."""
    spectrum = np.fft.rfft(dry, 2 * len(dry))
    hz = np.fft.rfftfreq(2 * len(dry), 1 / sample_rate).clip(BANDS_HZ[0])
    gain = 10 ** (np.interp(np.log(hz), np.log(BANDS_HZ), curve_db) / 20)
    return np.fft.irfft(spectrum * gain)[: len(dry)].astype(np.float32)
