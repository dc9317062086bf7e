"""Training saturation: data, losses, validation, calibration."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import default_collate

from labkit.effects.saturation import MEMORYLESS, TapeSaturationProcessor, unit_of
from labkit.learn.training import Loss
from labkit.signal.optional import need
from labkit.signal.pool import dry_pool
from labkit.signal.sources import AudioFolder
from labkit.systems.saturation.data import BufferedClips, Examples
from labkit.systems.saturation.model import CURVE_NAMES, Config, Prediction, SaturationModel
from labkit.systems.saturation.predict import predict_batch
from labkit.systems.system import Training


@dataclass(frozen=True)
class Data:
    """Where the training sound comes from."""

    n_dry: int = 0  # dry clips of each kind, used repeatedly; 0: a new one for every example
    # kinds of dry sound, drawn equally often: generated, sampled (needs a soundfont) or recorded
    # (needs recordings). A kind given twice is drawn twice as often
    kinds: tuple[Literal["generated", "sampled", "recorded"], ...] = ("generated", "sampled")
    folder: Path | None = None  # folder of your own clean recordings, used instead of the kinds
    # which files belong together, e.g. because one player made them; such files are never split
    # between training and validation. folder: first folder of their path (folder:2: first two);
    # prefix: name up to "_" (prefix:- up to "-"); or a CSV file with the columns file and group
    groups: str | None = None
    # clips that select and calibrate the network, from sources that it is not trained on
    n_validation: int = 256

    def __post_init__(self) -> None:
        if self.groups is not None and self.folder is None:
            raise ValueError(f"groups needs a folder, got groups {self.groups!r} and no folder")


def examples(config: Config, data: Data, split: str, seed: int) -> Examples:
    """Examples on the dry sources of one split; those of ``"train"`` are augmented."""
    sound = config.sound
    sizes = {"seconds": sound.clip_seconds, "sample_rate": sound.sample_rate}
    pool_seed = config.plan.seed
    if data.folder is not None:
        pools = [
            BufferedClips(AudioFolder(data.folder, **sizes, group=data.groups), split, pool_seed)
        ]
    else:
        n = data.n_dry if split == "train" else min(data.n_dry, 1000)
        pools = [dry_pool(kind, split, n, **sizes, seed=pool_seed) for kind in data.kinds]
    return Examples(config, pools, seed, training=split == "train")


@contextmanager
def training(config: Config, data: Data, _model: nn.Module, run_dir: Path) -> Iterator[Training]:
    """Examples and loss; at the end the best weights on validation are calibrated."""
    seed = config.plan.seed
    dataset = examples(config, data, "train", seed)
    if data.folder is None and config.net.loss == "parameter":
        dataset = dataset.cached(run_dir / "cache")
    validation = examples(config, data, "validation", seed)
    batch = collect(validation, data.n_validation)

    def validate(model: nn.Module) -> dict[str, float]:
        return errors(predict_batch(model, batch), batch, "val")

    def finish(model: nn.Module) -> None:
        calibrate(model, batch)

    every = 20 * max(1, config.plan.steps // 320)  # a multiple of the steps between log rows
    yield Training(dataset, loss_of(config), validate, every, "val/depth_nats", finish)


def collect(dataset: Examples, n: int) -> dict[str, Tensor]:
    """The first `n` examples of a data set as one batch."""
    return default_collate([dataset[i] for i in range(n)])


def laplace_nats(prediction: Prediction, log_depth: Tensor, curve: Tensor) -> Tensor:
    """(b,) negative log likelihood of the true log depth, given the true curve."""
    error = (prediction.of(curve) - log_depth).abs()
    return error * torch.exp(-prediction.log_spread) + prediction.log_spread + np.log(2.0)


@cache
def _mr_stft(sample_rate: int) -> nn.Module:
    sizes = {"fft_sizes": [1024, 2048, 8192], "win_lengths": [1024, 2048, 8192]}
    return need("auraloss").freq.MultiResolutionSTFTLoss(
        **sizes, hop_sizes=[256, 512, 2048], sample_rate=sample_rate
    )


def audio_distance(sample_rate: int, prediction: Prediction, batch: Mapping[str, Tensor]) -> Tensor:
    """Multi-resolution STFT distance between the clean audio at the predicted and the true depth.

    Both through the true curve and at equal levels. Curves with memory have no gradient here and
    are left out; 0 for a batch of these only.
    """
    names = [CURVE_NAMES[i] for i in batch["curve"].tolist()]
    kept = [i for i, name in enumerate(names) if name in MEMORYLESS]
    if not kept:
        return prediction.log_depth.sum() * 0.0
    names = [names[i] for i in kept]
    clean = batch["clean"][kept][:, None]
    levelled = []
    for log_depth in (prediction.of(batch["curve"]), batch["log_depth"]):
        wet = TapeSaturationProcessor()(clean, unit_of(log_depth[kept].exp()), names)
        rms = wet.square().mean((1, 2), keepdim=True).sqrt()
        levelled.append(wet / rms.clamp(min=1e-4) * 0.1)
    return _mr_stft(sample_rate).to(clean.device)(*levelled)


def loss_of(config: Config) -> Loss:
    """The loss of a batch: the curve, and the depth by parameter, by audio or by both."""
    net = config.net

    def loss(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        prediction = model(batch)
        value = 0.3 * F.cross_entropy(prediction.curve_logits, batch["curve"])
        figures = errors(prediction, batch, "train")
        if net.loss != "audio":
            nats = laplace_nats(prediction, batch["log_depth"], batch["curve"])
            value = value + nats.mean()
        if net.loss != "parameter":
            distance = audio_distance(config.sound.sample_rate, prediction, batch)
            figures["train/audio"] = distance.item()
            value = value + distance
        return value, figures

    return loss


def errors(prediction: Prediction, batch: Mapping[str, Tensor], prefix: str) -> dict[str, float]:
    """Nats and mean error of the depth, and the share of curves named right."""
    true = batch["log_depth"].exp()
    error = (prediction.of(batch["curve"]).exp() - true).abs()
    nats = laplace_nats(prediction, batch["log_depth"], batch["curve"])
    right = prediction.curve_logits.argmax(1) == batch["curve"]
    return {
        f"{prefix}/depth_nats": nats.mean().item(),
        f"{prefix}/depth_error": error.mean().item(),
        f"{prefix}/curve_right": right.float().mean().item(),
    }


def calibrate(model: SaturationModel, batch: Mapping[str, Tensor]) -> None:
    """Set the factor on predicted spreads that makes the true depths most probable.

    Mean error / predicted spread: temperature scaling (Guo et al. 2017) of a Laplace density.
    """
    prediction = predict_batch(model, batch)
    error = (prediction.of(batch["curve"]) - batch["log_depth"]).abs()
    ratio = (error * torch.exp(-prediction.log_spread)).mean()
    model.spread_factor.fill_(float(ratio.clamp(0.1, 10.0)))
