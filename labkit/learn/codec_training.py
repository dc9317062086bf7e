"""Training a codec: fresh guitars, half through pedals; spectral, wave and codebook losses; expired codewords."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from labkit.effects.sampling import ChainSampler
from labkit.learn.codec import Codec, CodecConfig, build, quiet
from labkit.learn.codec_scores import INPUT_DBFS, PEDALS, mel_distance_db
from labkit.learn.training import Plan, fit
from labkit.signal.augment import augment
from labkit.signal.optional import need
from labkit.signal.pool import FreshClips
from labkit.signal.seeds import generator, torch_generator
from labkit.signal.sources import GeneratedGuitars, Mixture, Sampled
from labkit.signal.units import set_rms

# Nearly a guitar a clip, of a seed that no test draws its guitars from.
_GUITARS = {"seed": 3, "guitars": (200_000, 200, 400)}
_DITHER = 1e-4  # -80 dBFS under both sounds: spectral convergence divides by the target, which may fall silent


@dataclass(frozen=True)
class Recipe:
    """How a codec is trained.

    Attributes:
        kinds: of dry clips, drawn from evenly: ``"generated"``, ``"sampled"`` (needs a soundfont).
        wet_share: share of the clips that go through one to six random pedals.
        clip_seconds: length of a clip; the pedals need some to settle.
        seconds: what training hears of it, cut at a random place, in whole frames.
        mel_weight: of the mel distance, per dB.
        stft_weight: of the multi-resolution STFT loss.
        wave_weight: of the waveform's absolute error, as a share of the target's.
        commitment_weight: of the encoder's distance to its codewords.
        codebook_weight: of the codewords' distance to the encoder.
        adversarial_weight: of a multi-resolution STFT discriminator, trained along; 0 has none. It costs several
            times as much as all the rest, so it pays on a GPU only.
        word_rate: how far a codeword moves in a step towards the mean of the frames that said it. The gradient alone
            moves it by about the learning rate, and the encoder runs away from it.
        expire_after: a codeword is given a new place, on a frame of the batch, once it was passed over in so many
            times the frames that each word would wait for its turn if all were equally frequent.
        steps: optimiser steps.
        batch_size: clips a step.
        learning_rate: as `Plan`, and so are the fields that follow.
        warmup_steps: see above.
        decay_share: see above.
        clip_norm: see above.
        checkpoint_every: see above.
        precision: see above.
        n_workers: see above.
        seed: of weights, clips, chains and expiry.

    Raises:
        ValueError: for a share or length out of range.
    """

    kinds: tuple[str, ...] = ("generated", "sampled")
    wet_share: float = 0.5
    clip_seconds: float = 2.0
    seconds: float = 0.5
    mel_weight: float = 1.0
    stft_weight: float = 2.0
    wave_weight: float = 2.0
    commitment_weight: float = 0.25
    codebook_weight: float = 1.0
    adversarial_weight: float = 0.0
    word_rate: float = 0.1
    expire_after: float = 8.0
    steps: int = 20_000
    batch_size: int = 8
    learning_rate: float = 5e-4
    warmup_steps: int = 100
    decay_share: float = 0.2
    clip_norm: float = 10.0
    checkpoint_every: int = 200
    precision: str = "32-true"
    n_workers: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.wet_share <= 1 or not 0 < self.seconds <= self.clip_seconds:
            raise ValueError(
                f"need wet_share in 0..1 and 0 < seconds <= clip_seconds, "
                f"got {self.wet_share}, {self.seconds} and {self.clip_seconds}"
            )
        if not self.kinds or set(self.kinds) - {"generated", "sampled"}:
            raise ValueError(f"kinds must be of generated, sampled, got {self.kinds}")


class CodecClips(Dataset):
    """Clips to learn from; number ``i`` depends on the seed and ``i`` alone.

    Args:
        config: sample rate and hop.
        recipe: what to draw.
        split: ``"train"`` (dry sound augmented), ``"validation"`` or ``"test"``.
    """

    def __init__(self, config: CodecConfig, recipe: Recipe, split: str = "train") -> None:
        self.config, self.recipe, self.split = config, recipe, split
        settings = {"seconds": recipe.clip_seconds, "sample_rate": config.sample_rate}
        makers = {
            "generated": lambda: GeneratedGuitars(**settings, **_GUITARS),
            "sampled": lambda: Sampled(**settings),
        }
        self.clips = FreshClips(
            Mixture([makers[kind]() for kind in recipe.kinds]), split, recipe.seed
        )
        self.samples = max(1, round(recipe.seconds * config.frames_per_second)) * config.hop_length

    def __len__(self) -> int:
        return self.recipe.steps * self.recipe.batch_size

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """``audio`` (1, samples) float32, RMS of the whole clip between -32 and -14 dBFS, peak below full scale."""
        rng = generator(self.recipe.seed, "codec example", self.split, index)
        rate, audio = self.config.sample_rate, self.clips.clip(index).audio
        if self.split == "train":
            audio = augment(audio, rate, rng)
        if rng.random() < self.recipe.wet_share:
            audio = (
                ChainSampler(PEDALS, "shuffled")
                .sample(rng)
                .render(set_rms(audio, INPUT_DBFS), rate)
            )
        audio = set_rms(audio, float(rng.uniform(-32, -14)))
        audio = np.pad(audio, ((0, 0), (0, max(0, self.samples - audio.shape[1]))))
        starts = rng.integers(audio.shape[1] - self.samples + 1, size=2)
        pieces = [audio[:, start : start + self.samples] for start in starts]
        louder = max(
            pieces, key=lambda piece: float(np.square(piece).sum())
        )  # clips end in silence: rarely that
        return {"audio": torch.from_numpy(louder / max(1.0, float(np.abs(louder).max()) / 0.99))}


class Trainee(nn.Module):
    """A codec in training, with what only training needs: idle counts of its codewords, and perhaps a discriminator.

    Args:
        codec: to be trained in place.
        recipe: of the training.
    """

    def __init__(self, codec: Codec, recipe: Recipe) -> None:
        super().__init__()
        shape = (codec.config.n_codebooks, codec.config.codebook_size)
        self.codec, self.word_rate, self.patience = (
            codec,
            recipe.word_rate,
            round(recipe.expire_after * shape[1]),
        )
        # Every word starts as expired, so the first batch places all of them.
        self.register_buffer("idle", torch.full(shape, self.patience))
        self.critic: nn.Module | None = None
        if recipe.adversarial_weight:
            rate = codec.config.sample_rate
            with quiet():
                discriminator = need("dac.model.discriminator").Discriminator
                self.critic = discriminator(
                    rates=[], periods=[], fft_sizes=[2048, 1024, 512], sample_rate=rate
                )

    def forward(
        self, audio: Tensor, *, judge: bool = False
    ) -> dict[str, Tensor] | list[list[Tensor]]:
        """`Codec.forward`, codewords renewed in training; with `judge` the discriminator's feature maps."""
        if judge:
            return self.critic(audio)
        out = self.codec(audio)
        if self.training:
            self.renew(out["codes"], out["latents"])
        return out

    @torch.no_grad()
    def renew(self, codes: Tensor, latents: Tensor) -> None:
        """Codewords follow the frames that said them; those that waited too long are put on frames of this batch.

        Args:
            codes: (b, n, frames).
            latents: (b, n * codebook_dim, frames), the frames as each codebook looked them up.

        Source: k-means by moving averages and expiry, Zeghidour et al. 2021 (SoundStream), section 3.3.
        """
        n, size = self.idle.shape
        frames = latents.float().transpose(1, 2).reshape(-1, n, latents.shape[1] // n)
        for k, stage in enumerate(self.codec.network.quantizer.quantizers):
            said, word = codes[:, k].flatten(), stage.codebook.weight
            count = torch.zeros_like(word[:, :1]).index_add_(
                0, said, torch.ones_like(frames[:, 0, :1])
            )
            mean = torch.zeros_like(word).index_add_(0, said, frames[:, k]) / count.clamp(min=1)
            moved = torch.where(count > 0, torch.lerp(word, mean, self.word_rate), word)
            self.idle[k] = torch.where(count[:, 0] > 0, 0, self.idle[k] + len(frames))
            expired = self.idle[k] > self.patience
            picked = torch.randint(len(frames), (size,)).to(
                said
            )  # fit keeps torch's generator: resumable
            word.copy_(torch.where(expired[:, None], frames[picked, k], moved))
            self.idle[k].masked_fill_(expired, 0)


Loss = Callable[[nn.Module, Mapping[str, Tensor]], tuple[Tensor, dict[str, float]]]


def codec_loss(trainee: Trainee, recipe: Recipe) -> Loss:
    """The loss of a batch: mel distance, MR-STFT, wave, commitment, codebooks, and the discriminator if there is one.

    Args:
        trainee: the module that is trained, as it was before Fabric wrapped it.
        recipe: the weights.

    Returns:
        (model, batch) -> (scalar, its parts by name).

    Source: Kumar et al. 2023, section 3.4; the STFT loss is Yamamoto et al. 2020's, by auraloss.
    """
    stft = need("auraloss").freq.MultiResolutionSTFTLoss()
    rate = trainee.codec.config.sample_rate

    def loss(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        target = batch["audio"]
        out = model(target)
        estimate = out["audio"].float()
        dither = (
            torch.randn(target.shape[-1], generator=torch_generator(recipe.seed, "dither")).to(
                target
            )
            * _DITHER
        )
        share = (estimate - target).abs().mean((1, 2)) / (target.abs().mean((1, 2)) + _DITHER)
        parts = {
            "mel": recipe.mel_weight * mel_distance_db(estimate, target, rate).mean(),
            "stft": recipe.stft_weight * stft(estimate + dither, target + dither),
            "wave": recipe.wave_weight * share.mean(),
            "commitment": recipe.commitment_weight * out["commitment"],
            "codebook": recipe.codebook_weight * out["codebook"],
        }
        if trainee.critic is not None:
            parts |= _adversarial(
                model, trainee.critic, estimate, target, recipe.adversarial_weight
            )
        idle = float((trainee.idle > 0).float().mean())
        return sum(parts.values()), {name: part.item() for name, part in parts.items()} | {
            "idle_words": idle
        }

    return loss


def _adversarial(
    model: nn.Module, critic: nn.Module, estimate: Tensor, target: Tensor, weight: float
) -> dict[str, Tensor]:
    """Least squares: the critic learns on a detached estimate, the codec against a critic that is held still."""
    real, fake = model(target, judge=True), model(estimate.detach(), judge=True)
    taught = sum(
        ((1 - r[-1]) ** 2).mean() + (f[-1] ** 2).mean() for r, f in zip(real, fake, strict=True)
    )
    critic.requires_grad_(False)
    heard = model(estimate, judge=True)
    critic.requires_grad_(True)
    fooled = sum(((1 - h[-1]) ** 2).mean() for h in heard)
    pairs = [
        (h, r.detach())
        for hs, rs in zip(heard, real, strict=True)
        for h, r in zip(hs[:-1], rs[:-1], strict=True)
    ]
    features = sum((h - r).abs().mean() for h, r in pairs)
    return {"critic": taught, "fooled": weight * fooled, "features": 2 * weight * features}


@torch.no_grad()
def standardise(codec: Codec, audio: Tensor) -> None:
    """Shift and scale the encoder's last layer so that every channel of these frames has mean 0 and variance 1.

    A fresh encoder makes frames of a hundredth of that, all in nearly one direction: every frame gets the same few
    words, and the decoder learns to do without them.

    Args:
        codec: fresh; changed in place.
        audio: (b, 1, samples), a multiple of the hop.

    Source: Salimans & Kingma 2016 (weight normalisation), section 3, of the last layer only.
    """
    frames, last = codec.network.encoder(audio), codec.network.encoder.block[-1]
    spread, mean = frames.std((0, 2)).clamp(min=1e-8), frames.mean((0, 2))
    last.weight_g.div_(spread[:, None, None])
    last.bias.copy_((last.bias - mean) / spread)


def train(
    config: CodecConfig,
    run_dir: str | Path,
    *,
    recipe: Recipe | None = None,
    on_log: Callable[[dict[str, float]], None] | None = None,
    log_every: int = 20,
) -> Codec:
    """Train a codec, or go on with the run that `run_dir` holds.

    Args:
        config: its shape.
        run_dir: checkpoints, log, TensorBoard.
        recipe: how; the default one when None.
        on_log: called with each logged row.
        log_every: steps between rows.

    Returns:
        The codec, in evaluation mode on the CPU.

    Raises:
        ValueError, FloatingPointError: as `fit`.
    """
    recipe = recipe or Recipe()
    clips, codec = CodecClips(config, recipe), build(config, seed=recipe.seed)
    standardise(codec, torch.stack([clips[i]["audio"] for i in range(min(8, len(clips)))]))
    trainee = Trainee(codec, recipe)
    plan = Plan(
        **{
            name: getattr(recipe, name)
            for name in Plan.__dataclass_fields__
            if hasattr(recipe, name)
        }
    )
    described = {"codec": asdict(config), "recipe": asdict(recipe)}
    loss = codec_loss(trainee, recipe)
    fit(trainee, clips, loss, plan, run_dir, config=described, on_log=on_log, log_every=log_every)
    return trainee.codec.cpu().eval()
