"""A first controller: a network hears a recording whose tone was spoilt, and turns a real equaliser until it is mended.

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
from labkit.measure.results import Row, bootstrap_interval
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
        colour: how far a knob is spoilt at most, a share of the range to either side of the middle; <= .5.
        n_clips: dry clips that training draws from.
        steps: of Adam.
        batch_size: recordings a step.
        learning_rate: at first; falls to zero by a cosine.
        seed: of weights, clips and colours.
    """

    sample_rate: int = 22_050
    seconds: float = 0.75
    n_mels: int = 32
    width: int = 64
    colour: float = 0.35
    n_clips: int = 160
    steps: int = 300
    batch_size: int = 8
    learning_rate: float = 3e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.colour <= 0.5:
            raise ValueError(f"colour must lie in (0, 0.5], got {self.colour}")
        if min(self.n_clips, self.steps, self.batch_size) < 1:
            raise ValueError("n_clips, steps and batch_size must be at least 1")


@dataclass(frozen=True)
class Examples:
    """Recordings with a spoilt tone.

    Attributes:
        clean: (n, 1, samples).
        spoilt: (n, 1, samples).
        truth: (n, 3), the knobs that mend it, 0..1.
        groups: n names; clips of one guitar share one.
    """

    clean: np.ndarray
    spoilt: np.ndarray
    truth: np.ndarray
    groups: tuple[str, ...]


def tone(sample_rate: int) -> Board:
    """Bass, middle and treble, +-18 dB each. Turned the other way round, it undoes itself exactly."""
    return Board(
        (
            Pedal("low_shelf", {"cutoff_frequency_hz": 300.0, "q": 0.7}),
            Pedal("peak", {"cutoff_frequency_hz": 1000.0, "q": 0.7}),
            Pedal("high_shelf", {"cutoff_frequency_hz": 2500.0, "q": 0.7}),
        ),
        sample_rate,
    )


def clean_clips(config: Config, split: str, n: int, seed: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """(n, 1, samples) of guitars at -20 dBFS, and whose they are; guitars of other splits are others."""
    draws = (generator(seed, "undo clip", split, index) for index in range(n))
    clips = [dry_guitar(rng, config.sample_rate, seconds=config.seconds, split=split) for rng in draws]
    return np.stack([audio for audio, _ in clips]), tuple(whose for _, whose in clips)


def spoil(config: Config, clean: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The clips through the real equaliser at random settings, and the knobs (n, 3) that undo them."""
    board = tone(config.sample_rate)
    truth = 0.5 + config.colour * rng.uniform(-1, 1, (len(clean), len(board)))
    return each(board.render)(clean, 1 - truth), truth


def examples(config: Config, split: str, seed: int, *, n: int = 64) -> Examples:
    """Spoilt recordings of the guitars of a split.

    Args:
        config: sizes.
        split: ``"train"``, ``"validation"`` or ``"test"``.
        seed: of clips and colours.
        n: how many.

    Returns:
        The examples; nothing is levelled after the equaliser, so that the truth mends it to the last bit or so.

    Notebook: 06.
    """
    clean, groups = clean_clips(config, split, n, seed)
    spoilt, truth = spoil(config, clean, generator(seed, "undo colour", split))
    return Examples(clean, spoilt, truth, groups)


class Controller(nn.Module):
    """Hears the shape of a spectrum, whatever its level; turns three knobs."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.Sequential(
            nn.Linear(2 * config.n_mels, config.width),
            nn.GELU(),
            nn.Linear(config.width, config.width),
            nn.GELU(),
            nn.Linear(config.width, len(tone(config.sample_rate))),
        )
        # It begins with every knob in the middle, where the equaliser does nothing.
        nn.init.zeros_(self.layers[-1].weight)
        nn.init.zeros_(self.layers[-1].bias)

    def forward(self, heard: Tensor) -> Tensor:
        """(b, 2 n_mels), as `hear` gives them -> (b, 3) in 0..1."""
        return torch.sigmoid(self.layers(heard))


def hear(config: Config, audio: np.ndarray) -> Tensor:
    """(b, 1, samples) -> (b, 2 n_mels): mean and spread of each mel band over time, less the mean of all bands."""
    picture = log_mel(
        torch.from_numpy(audio)[:, 0],
        config.sample_rate,
        n_fft=1024,
        hop_length=256,
        n_mels=config.n_mels,
        high_hz=10_000.0,
        floor_db=-80.0,
    )
    bands = picture.mean(-1)
    return torch.cat([(bands - bands.mean(-1, keepdim=True)) / 20, picture.std(-1) / 20 - 0.5], dim=-1)


def build(config: Config) -> Controller:
    """An untrained controller, its weights drawn from the config's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_generator(config.seed, "undo").initial_seed())
        return Controller(config)


def distance(out: Tensor, clean: Tensor) -> Tensor:
    """(b,): how far two sounds are apart, in dB of their short-time spectra."""
    return 8.686 * log_spectral_distance(out, clean, n_ffts=(256, 1024, 4096))


def train(
    config: Config,
    estimator: Estimator | Surrogate,
    *,
    clean: np.ndarray | None = None,
    writer: Any = None,
    on_log: Callable[[dict[str, float]], None] | None = None,
    log_every: int = 10,
) -> tuple[Controller, list[dict[str, float]]]:
    """Train a controller through the equaliser.

    Runs of one config start from the same weights and see the same batches, whatever the estimator.

    Args:
        config: sizes and seed.
        estimator: of the gradient of the knobs.
        clean: (n, 1, samples) dry clips; made from the config when None.
        writer: a TensorBoard `SummaryWriter`; gets the loss, and norm and cosine of the gradient.
        on_log: called with every row.
        log_every: steps between rows; each costs one gradient of the twins.

    Returns:
        The controller, and rows of step, renders, loss (dB) and the gradient's norm and cosine to the twins'.

    Notebook: 06.
    """
    board, model = tone(config.sample_rate), build(config)
    clean = clean_clips(config, "train", config.n_clips, config.seed)[0] if clean is None else clean
    batches, draws = generator(config.seed, "undo batches"), generator(config.seed, "undo draws")
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    rows = []
    for step in range(1, config.steps + 1):
        target = clean[batches.integers(0, len(clean), config.batch_size)]
        spoilt = spoil(config, target, batches)[0]
        audio, knobs = torch.from_numpy(spoilt), model(hear(config, spoilt))
        knobs.retain_grad()
        out = black_box(each(board.render), audio, knobs, estimator, draws)
        loss = distance(out, torch.from_numpy(target)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % log_every == 0 or step == config.steps:
            renders = step * config.batch_size * (1 + estimator.renders(len(board)))
            exact = _exact(board, audio, knobs, torch.from_numpy(target))
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
def predict(model: Controller, audio: np.ndarray, sample_rate: int) -> dict[str, float]:
    """The knobs for one recording.

    Args:
        model: a controller.
        audio: (1, samples) or (channels, samples), at the config's rate.
        sample_rate: Hz.

    Returns:
        ``"pedal.knob"`` -> 0..1.

    Raises:
        ValueError: for another rate.

    Notebook: 06.
    """
    if sample_rate != model.config.sample_rate:
        raise ValueError(f"sample_rate must be {model.config.sample_rate} Hz, got {sample_rate}")
    mono = np.ascontiguousarray(np.atleast_2d(audio).mean(0, keepdims=True), dtype=np.float32)
    knobs = model(hear(model.config, mono[None]))[0]
    return dict(zip(tone(sample_rate).names, knobs.tolist(), strict=True))


@torch.no_grad()
def evaluate(models: Mapping[str, Controller], tests: Examples, *, seed: int = 1) -> list[Row]:
    """How far from the clean sound the real equaliser ends, as the controllers turn it.

    Args:
        models: name -> controller; all of one config but for training.
        tests: spoilt recordings, at least two guitars.
        seed: of the intervals.

    Returns:
        A row for each: ours, floor (knobs in the middle: the best constant), control (each recording's knobs from
        another one), oracle (the knobs that undo it).

    Notebook: 06.
    """
    config = next(iter(models.values())).config
    render, clean = each(tone(config.sample_rate).render), torch.from_numpy(tests.clean)

    def scored(knobs: np.ndarray) -> np.ndarray:
        return distance(torch.from_numpy(render(tests.spoilt, knobs)), clean).numpy()

    floor = float(scored(np.full_like(tests.truth, 0.5)).mean())
    oracle = float(scored(tests.truth).mean())
    rows = []
    for name, model in models.items():
        knobs = model(hear(config, tests.spoilt)).double().numpy()
        ours = scored(knobs)
        low, high = bootstrap_interval(ours, tests.groups, seed=seed)
        beside = {"floor": floor, "oracle": oracle, "control": float(scored(np.roll(knobs, 1, axis=0)).mean())}
        shared = {"sources": "generated", "n": len(ours), "seed": seed}
        rows.append(
            Row(
                "undo an equaliser, unseen guitars",
                name,
                metric="distance to the clean sound",
                unit="dB",
                ours=float(ours.mean()),
                low=low,
                high=high,
                **beside,
                **shared,
            )
        )
    return rows
