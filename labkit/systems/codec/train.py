"""Training the codec: guitars, half of them through pedals, and codewords that are kept in use."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from labkit.effects.sampling import ChainSampler
from labkit.learn.training import Loss
from labkit.measure.losses import mel_distance_db
from labkit.signal.augment import augment
from labkit.signal.optional import need
from labkit.signal.pool import dry_pool
from labkit.signal.seeds import generator, torch_generator
from labkit.signal.units import set_rms
from labkit.systems.codec.config import Config
from labkit.systems.codec.model import Codec
from labkit.systems.system import Training

PEDALS = ("compressor", "distortion", "chorus", "phaser", "delay", "reverb")
INPUT_DBFS = -20.0
# -80 dBFS noise under both sounds: spectral convergence divides by the target, which may be silent.
_DITHER = 1e-4
_WET_SHARE = 0.5  # of the clips go through one to six random pedals
# Weights of the loss: per dB, of the STFT loss, of the samples' relative error, of the quantiser's.
_MEL, _STFT, _WAVE, _COMMITMENT, _CODEBOOK = 1.0, 2.0, 2.0, 0.25, 1.0
# How far a codeword moves per step towards the mean of its frames. The gradient alone moves it by
# about the learning rate, too slowly for the encoder.
CODEWORD_RATE = 0.1
# An unused codeword is replaced after this many times `codebook_size` frames.
EXPIRE_AFTER = 8.0


@dataclass(frozen=True)
class Data:
    """Where the training sound comes from.

    Attributes:
        kinds: kinds of dry sources; sampled needs a soundfont.
    """

    kinds: tuple[Literal["generated", "sampled"], ...] = ("generated", "sampled")


class Clips(Dataset):
    """Clips to learn from; number ``i`` depends on the config and ``i`` alone."""

    def __init__(self, config: Config, data: Data) -> None:
        self.config = config
        sizes = {"seconds": config.sound.clip_seconds, "sample_rate": config.sound.sample_rate}
        self.pools = [
            dry_pool(kind, "train", 0, **sizes, seed=config.plan.seed) for kind in data.kinds
        ]
        frames = max(1, round(config.sound.seconds * config.frames_per_second))
        self.samples = frames * config.hop_length

    def __len__(self) -> int:
        return self.config.plan.steps * self.config.plan.batch_size

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """``audio`` (1, samples): RMS of the whole clip -32 to -14 dBFS, peak below full scale."""
        sound = self.config.sound
        rng = generator(self.config.plan.seed, "codec example", index)
        audio = self.pools[index % len(self.pools)].clip(index).audio
        audio = augment(audio, sound.sample_rate, rng)
        if rng.random() < _WET_SHARE:
            chain = ChainSampler(PEDALS, "shuffled").sample(rng)
            audio = chain.render(set_rms(audio, INPUT_DBFS), sound.sample_rate)
        audio = set_rms(audio, float(rng.uniform(-32, -14)))
        audio = np.pad(audio, ((0, 0), (0, max(0, self.samples - audio.shape[1]))))
        # The louder of two pieces: clips end in silence.
        starts = rng.integers(audio.shape[1] - self.samples + 1, size=2)
        pieces = [audio[:, start : start + self.samples] for start in starts]
        piece = max(pieces, key=lambda one: float(np.square(one).sum()))
        return {"audio": torch.from_numpy(piece / max(1.0, float(np.abs(piece).max()) / 0.99))}


class Renewal(nn.Module):
    """Moves codewords: used ones towards their frames, unused ones onto frames of the batch.

    Source: Zeghidour et al. 2021 (SoundStream), section 3.3.
    """

    def __init__(self, config: Config, *, fresh: bool) -> None:
        super().__init__()
        net = config.net
        self.patience = round(EXPIRE_AFTER * net.codebook_size)
        # Frames since each codeword was last chosen. Fresh ones are all replaced at once.
        idle = torch.full((net.n_codebooks, net.codebook_size), self.patience if fresh else 0)
        self.register_buffer("idle", idle)

    @torch.no_grad()
    def forward(self, codec: Codec, codes: Tensor, latents: Tensor) -> None:
        """Codes (b, n, frames), and what the codebooks looked up (b, n * codebook_dim, frames)."""
        n, size = self.idle.shape
        frames = latents.float().transpose(1, 2).reshape(-1, n, latents.shape[1] // n)
        for k, stage in enumerate(codec.network.quantizer.quantizers):
            chosen, word = codes[:, k].flatten(), stage.codebook.weight
            ones = torch.ones_like(frames[:, 0, :1])
            count = torch.zeros_like(word[:, :1]).index_add_(0, chosen, ones)
            total = torch.zeros_like(word).index_add_(0, chosen, frames[:, k])
            mean = total / count.clamp(min=1)
            moved = torch.where(count > 0, torch.lerp(word, mean, CODEWORD_RATE), word)
            self.idle[k] = torch.where(count[:, 0] > 0, 0, self.idle[k] + len(frames))
            expired = self.idle[k] > self.patience
            # Torch's own generator: its state is part of the training's checkpoint.
            picked = torch.randint(len(frames), (size,)).to(chosen)
            word.copy_(torch.where(expired[:, None], frames[picked, k], moved))
            self.idle[k].masked_fill_(expired, 0)


def loss_of(config: Config, codec: Codec, renewal: Renewal) -> Loss:
    """Mel distance, MR-STFT (by auraloss), samples, commitment and codebooks.

    Source: Kumar et al. 2023, section 3.4, without the discriminator.
    """
    rate = config.sound.sample_rate
    stft = need("auraloss").freq.MultiResolutionSTFTLoss()

    def loss(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        target = batch["audio"]
        out = model(target)
        renewal(codec, out["codes"], out["latents"])
        estimate = out["audio"].float()
        rng = torch_generator(config.plan.seed, "dither")
        dither = _DITHER * torch.randn(target.shape[-1], generator=rng).to(target)
        error = (estimate - target).abs().mean((1, 2))
        parts = {
            "mel": _MEL * mel_distance_db(estimate, target, rate).mean(),
            "stft": _STFT * stft(estimate + dither, target + dither),
            "wave": _WAVE * (error / (target.abs().mean((1, 2)) + _DITHER)).mean(),
            "commitment": _COMMITMENT * out["commitment"],
            "codebook": _CODEBOOK * out["codebook"],
        }
        figures = {name: part.item() for name, part in parts.items()}
        figures["idle_codewords"] = float((renewal.idle > 0).float().mean())
        return sum(parts.values()), figures

    return loss


@torch.no_grad()
def standardise(codec: Codec, audio: Tensor) -> None:
    """Scale the encoder's last layer: every channel of its frames gets mean 0 and variance 1.

    A fresh encoder's frames are nearly parallel: all would get the same few codewords. Source:
    Salimans and Kingma 2016, section 3, of the last layer only.
    """
    frames, last = codec.network.encoder(audio), codec.network.encoder.block[-1]
    spread, mean = frames.std((0, 2)).clamp(min=1e-8), frames.mean((0, 2))
    last.weight_g.div_(spread[:, None, None])
    last.bias.copy_((last.bias - mean) / spread)


def begin_from(model: Codec, start: Codec) -> None:
    """Take over the weights; codewords and frames then stay as they are."""
    model.load_state_dict(start.state_dict())
    model.fresh = False


@contextmanager
def training(config: Config, data: Data, model: Codec, _run_dir: Path) -> Iterator[Training]:
    """Clips and loss; the counts of codewords are part of the model while it is trained."""
    if config.plan.n_devices > 1:
        raise ValueError(f"the codec trains on one device, got n_devices {config.plan.n_devices}")
    clips = Clips(config, data)
    if model.fresh:
        standardise(model, torch.stack([clips[i]["audio"] for i in range(min(8, len(clips)))]))
    model.renewal = Renewal(config, fresh=model.fresh)
    yield Training(clips, loss_of(config, model, model.renewal))
    del model.renewal
