"""A first controller: a network hears a recording before and after a real equaliser was turned, and turns it alike.

Nobody tells it where the knobs belong. Its loss is heard behind the equaliser, which has no gradient of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit.learn.gradients import Estimator, Surrogate, black_box, each, log_gradient
from labkit.measure.losses import log_spectral_distance
from labkit.measure.score import Row, bootstrap_interval
from labkit.signal.seeds import generator, torch_generator
from labkit.signal.spectra import log_mel
from labkit.systems.blackbox.board import Board, Pedal, dry_guitar


@dataclass(frozen=True)
class Config:
    """What the notebook trains.

    Attributes:
        sample_rate: Hz.
        seconds: length of a clip.
        n_mels: bands that the network hears.
        width: of its hidden layers.
        reach: how far a knob is turned at most, a share of the range to either side of the middle; <= .5.
        n_clips: dry clips that training draws from.
        steps: of Adam.
        batch_size: recordings a step.
        learning_rate: at first; falls to zero by a cosine.
        seed: of weights, clips and settings.
    """

    sample_rate: int = 22_050
    seconds: float = 0.75
    n_mels: int = 32
    width: int = 64
    reach: float = 0.45
    n_clips: int = 120
    steps: int = 200
    batch_size: int = 8
    learning_rate: float = 3e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.reach <= 0.5:
            raise ValueError(f"reach must lie in (0, 0.5], got {self.reach}")
        if min(self.n_clips, self.steps, self.batch_size) < 1:
            raise ValueError("n_clips, steps and batch_size must be at least 1")


@dataclass(frozen=True)
class Examples:
    """Recordings before and after the equaliser.

    Attributes:
        dry: (n, 1, samples).
        wet: (n, 1, samples).
        truth: (n, 3), the knobs between them, 0..1.
        groups: n names; clips of one guitar share one.
    """

    dry: np.ndarray
    wet: np.ndarray
    truth: np.ndarray
    groups: tuple[str, ...]


def tone(sample_rate: int) -> Board:
    """Bass, middle and treble of a guitar, +-18 dB each."""
    return Board(
        (
            Pedal("low_shelf", {"cutoff_frequency_hz": 450.0, "q": 0.7}),
            Pedal("peak", {"cutoff_frequency_hz": 1100.0, "q": 0.7}),
            Pedal("high_shelf", {"cutoff_frequency_hz": 2000.0, "q": 0.7}),
        ),
        sample_rate,
    )


def dry_clips(config: Config, split: str, n: int, seed: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """(n, 1, samples) of guitars at -20 dBFS, and whose they are; guitars of other splits are others."""
    draws = (generator(seed, "match clip", split, index) for index in range(n))
    clips = [
        dry_guitar(rng, config.sample_rate, seconds=config.seconds, split=split) for rng in draws
    ]
    return np.stack([audio for audio, _ in clips]), tuple(whose for _, whose in clips)


def turned(
    config: Config, dry: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The clips through the real equaliser at random settings, and the settings (n, 3)."""
    board = tone(config.sample_rate)
    truth = 0.5 + config.reach * rng.uniform(-1, 1, (len(dry), len(board)))
    return each(board.render)(dry, truth), truth


def examples(config: Config, split: str, seed: int, *, n: int = 64) -> Examples:
    """Recordings of the guitars of a split, before and after.

    Args:
        config: sizes.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        seed: of clips and settings.
        n: how many.

    Returns:
        The examples.
    """
    dry, groups = dry_clips(config, split, n, seed)
    wet, truth = turned(config, dry, generator(seed, "match settings", split))
    return Examples(dry, wet, truth, groups)


class Controller(nn.Module):
    """Hears what changed between two sounds, band by band; turns three knobs."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.Sequential(
            nn.Linear(config.n_mels, config.width),
            nn.GELU(),
            nn.Linear(config.width, config.width),
            nn.GELU(),
            nn.Linear(config.width, len(tone(config.sample_rate))),
        )
        # It begins with every knob in the middle, where the equaliser does nothing.
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, heard: Tensor) -> Tensor:
        """(b, n_mels), as `hear` gives them -> (b, 3) in 0..1."""
        return torch.sigmoid(self.layers(heard))


def hear(config: Config, dry: np.ndarray, wet: np.ndarray) -> Tensor:
    """Two times (b, 1, samples) -> (b, n_mels): the change of each mel band's power over the whole clip, in 10 dB."""
    levels = []
    for audio in (dry, wet):
        picture = log_mel(
            torch.from_numpy(audio)[:, 0],
            config.sample_rate,
            n_fft=1024,
            hop_length=256,
            n_mels=config.n_mels,
            high_hz=10_000.0,
            floor_db=-80.0,
        )
        levels.append(torch.log10((10 ** (picture / 10)).mean(-1)))
    return levels[1] - levels[0]


def build(config: Config) -> Controller:
    """An untrained controller, its weights drawn from the config's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_generator(config.seed, "match").initial_seed())
        return Controller(config)


def distance(out: Tensor, wet: Tensor) -> Tensor:
    """(b,): how far two sounds are apart, in dB of their short-time spectra."""
    return 8.686 * log_spectral_distance(out, wet, n_ffts=(256, 1024, 4096))


def train(
    config: Config,
    estimator: Estimator | Surrogate,
    *,
    dry: np.ndarray | None = None,
    writer: Any = None,
    on_log: Callable[[dict[str, float]], None] | None = None,
    log_every: int = 10,
) -> tuple[Controller, list[dict[str, float]]]:
    """Train a controller through the equaliser.

    Runs of one config start from the same weights and see the same batches, whatever the estimator.

    Args:
        config: sizes and seed.
        estimator: of the gradient of the knobs.
        dry: (n, 1, samples); made from the config when None.
        writer: a TensorBoard `SummaryWriter`; gets the loss, and norm and cosine of the gradient.
        on_log: called with every row.
        log_every: steps between rows; each costs one gradient of the twins.

    Returns:
        The controller, and rows of step, renders, loss (dB) and the gradient's norm and cosine to the twins'.
    """
    board, model = tone(config.sample_rate), build(config)
    dry = dry_clips(config, "train", config.n_clips, config.seed)[0] if dry is None else dry
    batches, draws = generator(config.seed, "match batches"), generator(config.seed, "match draws")
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    rows = []
    for step in range(1, config.steps + 1):
        clips = dry[batches.integers(0, len(dry), config.batch_size)]
        wet = turned(config, clips, batches)[0]
        audio, target, knobs = (
            torch.from_numpy(clips),
            torch.from_numpy(wet),
            model(hear(config, clips, wet)),
        )
        knobs.retain_grad()
        out = black_box(each(board.render), audio, knobs, estimator, draws)
        loss = distance(out, target).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % log_every == 0 or step == config.steps:
            renders = step * config.batch_size * (1 + estimator.renders(len(board)))
            exact = _exact(board, audio, knobs, target)
            facts = log_gradient(writer, step, knobs.grad, exact)
            rows.append({"step": step, "renders": renders, "loss": loss.item(), **facts})
            if writer is not None:
                writer.add_scalar("loss", loss.item(), step)
            if on_log:
                on_log(rows[-1])
    return model, rows


def _exact(board: Board, audio: Tensor, knobs: Tensor, target: Tensor) -> Tensor:
    leaf = knobs.detach().clone().requires_grad_()
    return torch.autograd.grad(distance(board.twin(audio, leaf), target).mean(), leaf)[0]


@torch.no_grad()
def predict(
    model: Controller, dry: np.ndarray, wet: np.ndarray, sample_rate: int
) -> dict[str, float]:
    """The knobs between two recordings.

    Args:
        model: a controller.
        dry: (channels, samples), at the config's rate; channels are averaged.
        wet: the same shape.
        sample_rate: Hz.

    Returns:
        ``"pedal.knob"`` -> 0..1.

    Raises:
        ValueError: for another rate, or shapes that differ.
    """
    if sample_rate != model.config.sample_rate:
        raise ValueError(f"sample_rate must be {model.config.sample_rate} Hz, got {sample_rate}")
    if dry.shape != wet.shape:
        raise ValueError(f"dry and wet must have one shape, got {dry.shape} and {wet.shape}")
    pair = (audio.mean(0, keepdims=True, dtype=np.float32)[None] for audio in (dry, wet))
    return dict(
        zip(tone(sample_rate).names, model(hear(model.config, *pair))[0].tolist(), strict=True)
    )


@torch.no_grad()
def evaluate(models: Mapping[str, Controller], tests: Examples, *, seed: int = 1) -> list[Row]:
    """How far from the wet sound the real equaliser ends, as the controllers turn it.

    Args:
        models: name -> controller; all of one config but for training.
        tests: recordings before and after, of at least two guitars.
        seed: of the intervals.

    Returns:
        A row for each: ours, floor (knobs in the middle: the best constant), control (each recording's knobs from
        what was heard of another one), oracle (the true knobs).
    """
    config = next(iter(models.values())).config
    render, wet = each(tone(config.sample_rate).render), torch.from_numpy(tests.wet)

    def scored(knobs: np.ndarray) -> np.ndarray:
        return distance(torch.from_numpy(render(tests.dry, knobs)), wet).numpy()

    floor, oracle = (float(scored(k).mean()) for k in (np.full_like(tests.truth, 0.5), tests.truth))
    rows = []
    for name, model in models.items():
        knobs = model(hear(config, tests.dry, tests.wet)).double().numpy()
        ours, control = scored(knobs), float(scored(np.roll(knobs, 1, axis=0)).mean())
        low, high = bootstrap_interval(ours, tests.groups, seed=seed)
        rows.append(
            Row(
                "turn an equaliser alike, unseen guitars",
                name,
                sources="generated",
                metric="distance to the wet sound",
                unit="dB",
                ours=float(ours.mean()),
                low=low,
                high=high,
                n=len(ours),
                seed=seed,
                floor=floor,
                control=control,
                oracle=oracle,
            )
        )
    return rows
