"""Training the codec: guitars, most of them through pedals."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from labkit.effects.chain import ChainSampler
from labkit.learn.training import Loss
from labkit.measure.losses import mel_distance_db
from labkit.signal.augment import augment
from labkit.signal.pool import dry_pool
from labkit.signal.seeds import generator
from labkit.signal.spectra import log_mel
from labkit.signal.units import set_rms
from labkit.systems.codec.model import MEL_BANDS, Codec, Config, bend
from labkit.systems.system import Training

PEDALS = ("compressor", "distortion", "chorus", "phaser", "delay", "reverb")
INPUT_DBFS = -20.0
# Weights of the losses: mel distance per dB, relative error of the compressed MDCT, mel error of
# the first codebooks per dB, commitment.
_MEL, _WAVE, _FIRST, _COMMITMENT = 1.0, 3.0, 0.1, 0.05
_FIRST_FRAMES = 40_000  # from which the linear codec is made
# How much the log level counts beside the waveform when the first codewords are chosen.
_LEVEL_SCALE = 3.0


@dataclass(frozen=True)
class Data:
    """Where the training sound comes from."""

    # kinds of dry sound; sampled needs a soundfont, recorded needs recordings
    kinds: tuple[Literal["generated", "sampled", "recorded"], ...] = ("generated", "sampled")
    n_clips: int = 800  # dry clips of each kind, used repeatedly; 0: a new one each time


class Clips(Dataset):
    """Training clips; the same config and index always give the same clip."""

    def __init__(self, config: Config, data: Data) -> None:
        self.config = config
        sizes = {"seconds": config.sound.clip_seconds, "sample_rate": config.sound.sample_rate}
        self.pools = [
            dry_pool(kind, "train", data.n_clips, **sizes, seed=config.plan.seed)
            for kind in data.kinds
        ]
        frames = max(1, round(config.sound.seconds * config.frames_per_second))
        self.samples = frames * config.hop_length

    def __len__(self) -> int:
        return self.config.plan.steps * self.config.plan.batch_size

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """``audio`` (1, samples): RMS of the whole clip -32 to -14 dBFS, peak below full scale."""
        sound = self.config.sound
        rng = generator(self.config.plan.seed, "codec example", index)
        pool = self.pools[index % len(self.pools)]
        audio = pool.clip(index // len(self.pools) % len(pool)).audio
        audio = augment(audio, sound.sample_rate, rng)
        if rng.random() < sound.wet_share:
            chain = ChainSampler(PEDALS, "shuffled").sample(rng)
            audio = chain.render(set_rms(audio, INPUT_DBFS), sound.sample_rate)
        audio = set_rms(audio, float(rng.uniform(-32, -14)))
        audio = np.pad(audio, ((0, 0), (0, max(0, self.samples - audio.shape[1]))))
        # The louder of two pieces: clips end in silence.
        starts = rng.integers(audio.shape[1] - self.samples + 1, size=2)
        pieces = [audio[:, start : start + self.samples] for start in starts]
        piece = max(pieces, key=lambda one: float(np.square(one).sum()))
        return {"audio": torch.from_numpy(piece / max(1.0, float(np.abs(piece).max()) / 0.99))}


def loss_of(config: Config, codec: Codec) -> Loss:
    """Losses: mel distance, error of the compressed MDCT, mel of the first codebooks, commitment.

    Source: Kumar et al. 2023, section 3.4 (mel distance), without the discriminator.
    """
    rate = config.sound.sample_rate

    def loss(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        target = batch["audio"]
        out = model(target)
        estimate = out["audio"].float()
        heard, wanted = (bend(codec.network.transform(x)) for x in (estimate, target))
        parts = {
            "mel": _MEL * mel_distance_db(estimate, target, rate).mean(),
            "wave": _WAVE * (heard - wanted).abs().mean() / wanted.abs().mean().clamp(min=1e-3),
            "first": _FIRST * (out["mel"] - _levels(config, target)).abs().mean(),
            "commitment": _COMMITMENT * out["commitment"],
        }
        return sum(parts.values()), {name: part.item() for name, part in parts.items()}

    return loss


@torch.no_grad()
def begin_linear(codec: Codec, audio: Tensor) -> None:
    """Give a fresh network the weights of a linear codec of audio (b, 1, samples): PCA and k-means.

    Two thirds of the latents are principal components of the compressed MDCT, which the decoder
    inverts; the others are components of its log level. The log-mel head is a least-squares fit.
    """
    network, net = codec.network, codec.config.net
    hop = net.hop_length
    n_tone, n_latent = 2 * net.width // 3, 2 * net.latent_dim // 3
    first, into = network.encoder[0], network.encoder[-1]
    out, last = network.decoder[0], network.decoder[-1]
    for layer in (first, into, out):
        layer.weight.zero_()
        layer.bias.zero_()
    last.weight[: 2 * hop].zero_()  # of the tone and of the rest's level
    last.bias.zero_()
    rows = network.spectrum(audio).transpose(1, 2).flatten(0, 1)
    tone, level = rows[:, :hop], rows[:, hop:]
    first.weight[:n_tone, :hop, 0] = components = _components(tone, n_tone)
    last.weight[:hop, :n_tone, 0] = components.T
    mean = level.mean(0)
    components = _components(level - mean, net.width - n_tone)
    first.weight[n_tone:, hop:, 0] = components
    first.bias[n_tone:] = -components @ mean
    kept = [*range(n_latent), *range(n_tone, n_tone + net.latent_dim - n_latent)]
    scale = torch.ones(net.latent_dim)
    scale[n_latent:] = _LEVEL_SCALE
    into.weight[range(net.latent_dim), kept, 0] = scale
    out.weight[kept, range(net.latent_dim), 1] = 1 / scale
    latents = network.encode(audio)
    network.quantizer.begin(latents.transpose(1, 2).flatten(0, 1))
    said = network.sums(network.codes(latents)[:, : net.mel_codebooks])
    said = F.pad(said, (0, 0, 0, 1), value=1.0).transpose(1, 2).flatten(0, 1)
    wanted = _levels(codec.config, audio).transpose(1, 2).flatten(0, 1)
    fit = torch.linalg.lstsq(said, wanted).solution.T
    codec.mel_head.weight.copy_(fit[:, :-1, None])
    codec.mel_head.bias.copy_(fit[:, -1])


def _components(rows: Tensor, n: int) -> Tensor:
    """The `n` strongest principal components of rows (m, d), without their mean: (n, d)."""
    return torch.linalg.eigh(rows.T @ rows)[1].flip(1)[:, :n].T


def _levels(config: Config, audio: Tensor) -> Tensor:
    """The log-mel spectrogram (b, MEL_BANDS, frames) in dB, a column for each frame."""
    sizes = {"hop_length": config.hop_length, "n_mels": MEL_BANDS, "floor_db": -80.0}
    return log_mel(audio, config.sound.sample_rate, **sizes)[:, 0]


@contextmanager
def training(config: Config, data: Data, model: Codec, _run_dir: Path) -> Iterator[Training]:
    """Clips and loss."""
    if config.plan.n_devices > 1:
        raise ValueError(f"the codec trains on one device, got n_devices {config.plan.n_devices}")
    clips = Clips(config, data)
    if not model.network.quantizer.words.any():  # not those of a checkpoint to begin with
        frames = clips.samples // config.hop_length
        n = min(len(clips), -(-_FIRST_FRAMES // frames))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.plan.seed)
            begin_linear(model, torch.stack([clips[i]["audio"] for i in range(n)]))
    yield Training(clips, loss_of(config, model))
