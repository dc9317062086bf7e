"""Training saturation: pools, losses, calibration, and the run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import default_collate

from labkit.effects.saturation import MEMORYLESS, TapeSaturationProcessor, unit_of
from labkit.learn.training import Plan, fit
from labkit.measure.losses import mr_stft_loss
from labkit.signal.optional import need
from labkit.signal.paths import replacing
from labkit.signal.pool import DryPool, FreshClips, dry_pool
from labkit.signal.sources import AudioFolder
from labkit.systems.saturation.buffer import BufferedClips
from labkit.systems.saturation.config import NAMES, Config
from labkit.systems.saturation.data import Examples
from labkit.systems.saturation.model import Answer, SaturationModel, build


def pool(config: Config, kind: str, split: str, n: int) -> DryPool | FreshClips:
    """`n` dry clips of the config's rate, length and seed; see `dry_pool`."""
    seconds = config.clip_seconds
    return dry_pool(
        kind, split, n, seconds=seconds, sample_rate=config.sample_rate, seed=config.seed
    )


def folder_pool(
    config: Config, folder: str | Path, split: str, *, gigabytes: float = 0.5
) -> BufferedClips:
    """Clips from anybody's folder of audio, kept in memory and renewed as training goes on; split by file."""
    source = AudioFolder(folder, seconds=config.clip_seconds, sample_rate=config.sample_rate)
    return BufferedClips(source, split, config.seed, gigabytes=gigabytes)


def examples(
    config: Config,
    split: str,
    seed: int,
    *,
    n_dry: int = 0,
    kinds: Sequence[str] = ("generated", "sampled"),
    folder: str | Path | None = None,
) -> Examples:
    """A data set of fresh examples on the dry sources of one split.

    Args:
        config: what to draw.
        split: ``"train"`` (augmented), ``"validation"`` or ``"test"`` (plain).
        seed: of the examples.
        n_dry: dry clips of each kind; 0 makes one for every example.
        kinds: of dry sources, drawn from evenly.
        folder: of recordings, which take the place of `kinds`.

    Returns:
        A map-style data set of what `hear` and `targets` give.
    """
    made = (
        [folder_pool(config, folder, split)]
        if folder
        else [pool(config, kind, split, n_dry) for kind in kinds]
    )
    return Examples(config, made, seed, training=split == "train")


def nats(answer: Answer, log_depth: Tensor, curve: Tensor) -> Tensor:
    """(b,) what the true log depth costs under the Laplace density that the answer gives it, for the true curve."""
    error = (answer.of(curve) - log_depth).abs()
    return error * torch.exp(-answer.log_spread) + answer.log_spread + np.log(2.0)


@cache
def _audio_loss(sample_rate: int) -> nn.Module:
    return mr_stft_loss(sample_rate, n_ffts=(1024, 2048, 8192))


def audio_distance(config: Config, answer: Answer, batch: Mapping[str, Tensor]) -> Tensor:
    """How far the clean sound, bent as the answer says, is from the same bent as it was: multi-resolution STFT.

    Levels are made equal first, and curves with memory are left out, since they have no gradient here. A batch
    without any other gives 0.
    """
    kept = torch.tensor(
        [NAMES[i] in MEMORYLESS for i in batch["curve"].tolist()], device=batch["curve"].device
    )
    if not kept.any():
        return answer.log_depth.sum() * 0.0
    names = [NAMES[i] for i in batch["curve"][kept].tolist()]
    said, true = answer.of(batch["curve"])[kept].exp(), batch["log_depth"][kept].exp()
    clean, processor = batch["clean"][kept][:, None], TapeSaturationProcessor()
    sounds = [processor(clean, unit_of(depth), names) for depth in (said, true)]
    level = [
        sound / sound.square().mean((1, 2), keepdim=True).sqrt().clamp(min=1e-4) * 0.1
        for sound in sounds
    ]
    return _audio_loss(config.sample_rate).to(clean.device)(*level)


def loss_of(
    config: Config,
) -> Callable[[nn.Module, Mapping[str, Tensor]], tuple[Tensor, dict[str, float]]]:
    """The loss of a batch: curve, and depth by its parameter, by its sound, or by both (`config.loss`)."""

    def loss(model: nn.Module, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        answer = model(batch)
        depth = answer.of(batch["curve"]).exp()
        value = config.curve_weight * F.cross_entropy(answer.curve_logits, batch["curve"])
        cost = nats(answer, batch["log_depth"], batch["curve"])
        figures = {
            "train/depth_error": (depth - batch["log_depth"].exp()).abs().mean().item(),
            "train/depth_nats": cost.mean().item(),
            "train/depth_mean": depth.mean().item(),
            "train/depth_std": depth.std().item(),
            "train/curve_right": (answer.curve_logits.argmax(1) == batch["curve"])
            .float()
            .mean()
            .item(),
        }
        if config.loss != "audio":
            value = value + cost.mean()
        if config.loss != "parameter":
            distance = audio_distance(config, answer, batch)
            figures["train/audio"] = distance.item()
            value = value + config.audio_weight * distance
        return value, figures | {"train/loss_step": value.item()}

    return loss


def collect(dataset: Examples, n: int) -> dict[str, Tensor]:
    """The first `n` examples of a data set as one batch."""
    return default_collate([dataset[i] for i in range(n)])


@torch.no_grad()
def answers(model: SaturationModel, heard: Mapping[str, Tensor], *, batch_size: int = 32) -> Answer:
    """The answer to any number of clips, on the CPU."""
    device, n = next(model.parameters()).device, len(heard["given"])
    keys = ("wet", "reference", "views", "given")
    parts = [
        model({key: heard[key][i : i + batch_size].to(device) for key in keys})
        for i in range(0, n, batch_size)
    ]
    fields = ("log_depth", "log_spread", "curve_logits")
    return Answer(*(torch.cat([getattr(part, field) for part in parts]).cpu() for field in fields))


def calibrate(model: SaturationModel, batch: Mapping[str, Tensor]) -> float:
    """Set the factor that makes the stated spreads most probable on known answers, in place.

    Args:
        model: in evaluation mode.
        batch: clips that were not trained on, with targets.

    Returns:
        The factor: the mean of error over stated spread, which is the maximum-likelihood scale of a Laplace density.

    Source: temperature scaling (Guo et al. 2017) for a density, as in Levi et al. 2019.
    """
    answer = answers(model, batch)
    ratio = (answer.of(batch["curve"]) - batch["log_depth"]).abs() * torch.exp(-answer.log_spread)
    model.spread_factor.fill_(float(ratio.mean().clamp(0.1, 10.0)))
    return float(model.spread_factor)


class Examiner:
    """Figures on clips that are not trained on; the best weights are kept, and TensorBoard gets sounds and errors.

    Args:
        config: of the run.
        batch: validation clips with targets.
        run_dir: gets `best.pt` and event files.
    """

    def __init__(self, config: Config, batch: Mapping[str, Tensor], run_dir: str | Path) -> None:
        self.config, self.batch, self.run_dir = config, batch, Path(run_dir)

    @property
    def best_path(self) -> Path:
        """Where the best weights so far lie."""
        return self.run_dir / "best.pt"

    def __call__(self, model: SaturationModel) -> dict[str, float]:
        """``val/loss`` (nats of depth), the mean errors, and the share of curves named right."""
        answer, batch = answers(model, self.batch), self.batch
        true = batch["log_depth"].exp()
        error = (answer.of(batch["curve"]).exp() - true).abs()
        figures = {
            "val/loss": float(nats(answer, batch["log_depth"], batch["curve"]).mean()),
            "val/depth_error": float(error.mean()),
            "val/relative_error": float((error / true).mean()),
            "val/curve_right": float(
                (answer.curve_logits.argmax(1) == batch["curve"]).float().mean()
            ),
        }
        for low, high in ((1, 2), (2, 4), (4, 7), (7, 10)):
            inside = (true >= low) & (true <= high)
            if inside.any():
                figures[f"val/error_at_depth_{low}_{high}"] = float(error[inside].mean())
        self._keep(model, figures["val/loss"])
        return figures

    def _keep(self, model: SaturationModel, loss: float) -> None:
        if (
            self.best_path.exists()
            and torch.load(self.best_path, weights_only=True)["loss"] <= loss
        ):
            return
        with replacing(self.best_path) as temporary:
            torch.save({"loss": loss, "model": model.state_dict()}, temporary)

    def publish(self, model: SaturationModel, dataset: Examples, n: int = 3) -> None:
        """Write clean, wet and re-created sound of `n` examples without memory, and the errors, for TensorBoard."""
        writer = need("torch.utils.tensorboard").SummaryWriter(self.run_dir / "sounds")
        answer, batch, rate = answers(model, self.batch), self.batch, self.config.sample_rate
        writer.add_histogram("val/log_depth_error", answer.of(batch["curve"]) - batch["log_depth"])
        shown = [i for i in range(len(batch["curve"])) if NAMES[batch["curve"][i]] in MEMORYLESS][
            :n
        ]
        for i in shown:
            example, said = dataset.example(i), answer.of(batch["curve"])[i].exp()
            clean = torch.from_numpy(example.clean)[None, None]
            again = TapeSaturationProcessor()(clean, unit_of(said)[None], example.curve)[0, 0]
            wet = torch.from_numpy(example.wet) / example.wet_amplitude
            for name, sound in (
                ("clean", clean[0, 0]),
                ("wet", wet.clamp(-1, 1)),
                ("recreated", again),
            ):
                title = f"{i}_{example.curve}_{example.depth:.2f}_heard_{said:.2f}/{name}"
                writer.add_audio(title, sound[None], sample_rate=rate)
        writer.close()


def train(
    config: Config,
    run_dir: str | Path,
    *,
    n_dry: int = 0,
    kinds: tuple[str, ...] = ("generated", "sampled"),
    folder: str | Path | None = None,
    n_validation: int = 256,
    validate_every: int = 500,
    on_log: Callable[[dict[str, float]], None] | None = None,
) -> SaturationModel:
    """Train, or go on with the run that `run_dir` holds.

    Args:
        config: everything that decides the result, with `n_dry`, `kinds` and `folder`.
        run_dir: checkpoints (`checkpoint.pt` the last, `best.pt` the best on validation), log, TensorBoard.
        n_dry: dry clips of each kind; 0 makes one for every example.
        kinds: of dry sources: ``"generated"``, ``"sampled"``.
        folder: of recordings to train on instead.
        n_validation: clips that figures and calibration are taken from, of sources that are not trained on.
        validate_every: steps between validations.
        on_log: called with each logged row.

    Returns:
        The best model on validation, its spread calibrated, in evaluation mode on the CPU.

    Raises:
        ValueError, FloatingPointError: as `fit`.
    """
    given = {"n_dry": n_dry, "kinds": kinds, "folder": folder}
    validation = examples(config, "validation", config.seed, **given | {"n_dry": min(n_dry, 1000)})
    examiner = Examiner(config, collect(validation, n_validation), run_dir)
    model = build(config)
    plan = Plan(
        **{
            name: getattr(config, name)
            for name in Plan.__dataclass_fields__
            if hasattr(config, name)
        }
    )
    drawn = examples(config, "train", config.seed, **given)
    fit(
        model,
        drawn if folder or not config.keepable else drawn.cached(Path(run_dir) / "cache"),
        loss_of(config),
        plan,
        run_dir,
        config=asdict(config)
        | {"n_dry": n_dry, "kinds": list(kinds), "folder": str(folder) if folder else None},
        on_log=on_log,
        validate=examiner,
        validate_every=validate_every,
    )
    model = model.cpu().eval()
    model.load_state_dict(torch.load(examiner.best_path, weights_only=True)["model"])
    calibrate(model, examiner.batch)
    examiner.publish(model, validation)
    return model
