"""Style transfer: hear a recording and another one that was treated, and treat the first alike.

An equaliser and a compressor of pedalboard are the box. One network hears both recordings, another turns the knobs;
both learn from the sound behind the box, by whichever gradient is given to them.
"""

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from labkit.effects.registry import effect
from labkit.learn import checkpoints
from labkit.signal.files import AudioError, check_audio, resample, to_mono, write_audio
from labkit.signal.paths import data_dir, replace_text
from labkit.signal.seeds import torch_generator
from labkit.signal.spectra import log_mel
from labkit.systems.blackbox.board import Board, Pedal

Gradient = Literal["autodiff", "spsa", "proxy", "regression"]
GRADIENTS: tuple[Gradient, ...] = ("autodiff", "spsa", "proxy", "regression")
# Every sound goes in and comes out with this peak, -12 dBFS: how loud a recording is, is not its style.
PEAK = 10 ** (-12 / 20)
_SILENT = 1e-5
_FLOOR_DB = -110.0
_PICTURE_MIDDLE_DB, _PICTURE_DB = -65.0, 35.0
_LEVELS = (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95)  # quantiles of the frames' levels


@dataclass(frozen=True)
class Config:
    """Everything that decides a run.

    Attributes:
        gradient: through the twins, by SPSA through pedalboard, by a proxy behind pedalboard's sound, or none: the
            knobs themselves are learnt.
        sample_rate: Hz.
        seconds: of what is treated, in training.
        heard_seconds: of either recording, in training.
        n_mels: bands that are heard.
        width: of the networks.
        renders: of the whole training; how many steps that makes depends on the gradient.
        proxy_share: of the renders, that teach the proxy.
        n_examples: made once, drawn again and again.
        batch_size: examples a step.
        learning_rate: see `labkit.learn.training.Plan`, as for what follows.
        warmup_steps: as there.
        clip_norm: as there.
        checkpoint_every: as there.
        n_workers: as there.
        precision: as there.
        seed: of everything.
    """

    gradient: Gradient = "autodiff"
    sample_rate: int = 22_050
    seconds: float = 1.0
    heard_seconds: float = 3.0
    n_mels: int = 64
    width: int = 128
    renders: int = 19_200
    proxy_share: float = 0.5
    n_examples: int = 4000
    batch_size: int = 8
    learning_rate: float = 7e-4
    warmup_steps: int = 50
    clip_norm: float = 1.0
    checkpoint_every: int = 200
    n_workers: int = 0
    precision: str = "32-true"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.gradient not in GRADIENTS:
            raise ValueError(
                f"gradient must be one of {', '.join(GRADIENTS)}, got {self.gradient!r}"
            )
        if not 0 < self.proxy_share < 1:
            raise ValueError(f"proxy_share must lie in (0, 1), got {self.proxy_share}")
        if min(self.steps, self.n_examples, self.batch_size) < 1:
            raise ValueError("renders, n_examples and batch_size must give at least one step")

    @property
    def renders_per_item(self) -> int:
        """What one example of a step costs: a pass of the twins counts as one render, and so does none at all."""
        return 3 if self.gradient == "spsa" else 1

    @property
    def proxy_steps(self) -> int:
        """Of teaching the proxy."""
        return (
            round(self.renders * self.proxy_share / self.batch_size)
            if self.gradient == "proxy"
            else 0
        )

    @property
    def steps(self) -> int:
        """Of the networks, which the renders pay for."""
        left = self.renders - self.proxy_steps * self.batch_size
        return left // (self.batch_size * self.renders_per_item)


class Box:
    """Five bands of an equaliser and a compressor, then the peak brought to -12 dBFS.

    Args:
        sample_rate: Hz, at least 16000 (the highest band lies at 5.5 kHz).

    Raises:
        ValueError: for a lower rate.
    """

    def __init__(self, sample_rate: int) -> None:
        if sample_rate < 16_000:
            raise ValueError(f"sample_rate must be at least 16000 Hz, got {sample_rate}")
        self.sample_rate = sample_rate

    @cached_property
    def board(self) -> Board:
        """The pedals; gains of +-18 dB, the compressor's four knobs over the ranges of the registry."""
        bands = (
            ("low_shelf", 200.0),
            ("peak", 500.0),
            ("peak", 1200.0),
            ("peak", 2800.0),
            ("high_shelf", 5500.0),
        )
        pedals = [
            Pedal(name, {"cutoff_frequency_hz": hz, "q": 0.8 if name == "peak" else 0.7})
            for name, hz in bands
        ]
        return Board((*pedals, Pedal("compressor")), self.sample_rate)

    @property
    def names(self) -> tuple[str, ...]:
        """The knobs, in the order of `params_unit`."""
        bands = ("bass_db", "500_hz_db", "1200_hz_db", "2800_hz_db", "treble_db")
        return (*bands, *(name.split(".")[1] for name in self.board.names[len(bands) :]))

    def render(self, audio: np.ndarray, params_unit: np.ndarray) -> np.ndarray:
        """By pedalboard: (channels, samples) and (9,) in 0..1 -> (channels, samples)."""
        return at_peak(self.board.render(audio, params_unit))

    def twin(self, audio: Tensor, params_unit: Tensor) -> Tensor:
        """The same by the twins, with gradients: (b, channels, samples) and (b, 9) -> (b, channels, samples)."""
        wet = self.board.twin(audio, params_unit)
        return wet * (PEAK / wet.abs().amax((1, 2), keepdim=True).clamp_min(_SILENT))

    def settings(self, params_unit: np.ndarray) -> dict[str, float]:
        """Every knob that turns, in physical units."""
        found = [pair for params in self.board.settings(params_unit) for pair in params.items()]
        turned = [value for name, value in found if name not in ("cutoff_frequency_hz", "q")]
        return dict(zip(self.names, turned, strict=True))

    def to_code(self, params_unit: np.ndarray, gain_db: float) -> str:
        """Python source that builds the box with pedalboard alone, and a gain for the peak."""
        pairs = list(zip(self.board.pedals, self.board.settings(params_unit), strict=True))
        plugins = [(effect(pedal.name).plugin, params) for pedal, params in pairs] + [
            ("Gain", {"gain_db": gain_db})
        ]
        lines = [
            "from pedalboard import "
            + ", ".join(sorted({"Pedalboard", *(name for name, _ in plugins)})),
            "",
        ]
        lines += ["board = Pedalboard(["]
        for name, params in plugins:
            lines.append(
                f"    {name}({', '.join(f'{k}={np.float32(v)!s}' for k, v in params.items())}),"
            )
        return "\n".join([*lines, "])", ""])


def at_peak(audio: np.ndarray) -> np.ndarray:
    """(channels, samples) brought to a peak of -12 dBFS; silence stays silent."""
    return (audio * (PEAK / max(float(np.abs(audio).max()), _SILENT))).astype(np.float32)


class Encoder(nn.Module):
    """A log-mel picture of any length becomes one vector.

    What a style changes is the average spectrum and how far the level moves. So each band's power, mean, deviation
    and quantiles over time, and the quantiles of the frames' levels, are measured; beside them stands what
    convolutions find, averaged by a learnt weight. The vector is a linear function of the measures plus a bent one of
    everything: the difference of two vectors then holds the change of the spectrum itself.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, self.config = config.width, config
        n_measures = 6 * config.n_mels + len(_LEVELS) + 1
        self.register_buffer("middle", torch.zeros(n_measures))
        self.register_buffer("scale", torch.ones(n_measures))
        self.straight = nn.Linear(n_measures, width)
        self.enter = nn.Conv1d(config.n_mels, width, 5, stride=2, padding=2)
        self.blocks = nn.ModuleList(
            nn.Conv1d(width, width, 3, padding=2**k, dilation=2**k) for k in range(2)
        )
        self.look = nn.Conv1d(width, 1, 1, bias=False)
        self.bent = nn.Sequential(
            nn.Linear(2 * width + n_measures, width), nn.GELU(), nn.Linear(width, width)
        )

    def centre(self, pictures: Tensor) -> None:
        """Measure (n, n_mels, frames) of training once, so that later every measure has mean 0 and deviation 1."""
        measured = measures(pictures)
        self.middle.copy_(measured.mean(0))
        self.scale.copy_(measured.std(0) + 0.01)

    def forward(self, picture: Tensor) -> Tensor:
        """(b, n_mels, frames), as `hear` gives it -> (b, width)."""
        measured = (measures(picture) - self.middle) / self.scale
        h = nn.functional.gelu(self.enter(picture))
        for block in self.blocks:
            h = h + nn.functional.gelu(block(h))
        share = self.look(h).softmax(-1)
        mean = (share * h).sum(-1)
        spread = (share * (h - mean[..., None]).square()).sum(-1).add(1e-5).sqrt()
        return self.straight(measured) + self.bent(torch.cat([mean, spread, measured], dim=1))


def measures(picture: Tensor) -> Tensor:
    """(b, n_mels, frames) -> (b, 6 n_mels + 9): each band's and the whole sound's level over time."""
    power = 10 ** (picture * (_PICTURE_DB / 10))
    levels = [torch.log10(power.mean(-1)), picture.mean(-1), picture.std(-1)]
    quantiles = torch.quantile(picture, picture.new_tensor((0.1, 0.5, 0.9)), dim=-1)
    loud = torch.log10(power.sum(1))
    moves = [torch.quantile(loud, loud.new_tensor(_LEVELS), dim=-1).T, loud.std(-1, keepdim=True)]
    return torch.cat([*levels, *quantiles, *moves], dim=1)


class StyleModel(nn.Module):
    """Hears two recordings; turns the knobs that bring the first to the style of the second."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.box = config, Box(config.sample_rate)
        self.encoder = Encoder(config)
        width, n_knobs = config.width, len(self.box.board)
        self.straight = nn.Linear(3 * width, n_knobs)
        self.bent = nn.Sequential(
            nn.Linear(3 * width, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, n_knobs),
        )
        # It begins in the middle of all knobs, where the equaliser is flat.
        for layer in (self.straight, self.bent[-1]):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, plain: Tensor, reference: Tensor) -> Tensor:
        """Two pictures (b, n_mels, frames) -> knobs (b, 9) in 0..1."""
        a, b = self.encoder(plain), self.encoder(reference)
        both = torch.cat([a, b, b - a], dim=1)
        return torch.sigmoid(self.straight(both) + self.bent(both))


def build(config: Config) -> StyleModel:
    """An untrained model, its weights drawn from the config's seed; they do not depend on the gradient."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_generator(config.seed, "style").initial_seed())
        return StyleModel(config)


def hear(config: Config, audio: Tensor) -> Tensor:
    """(b, samples) at a peak of -12 dBFS -> (b, n_mels, frames), about -1 to 1."""
    picture = log_mel(
        audio,
        config.sample_rate,
        n_fft=2048,
        hop_length=512,
        n_mels=config.n_mels,
        low_hz=30.0,
        floor_db=_FLOOR_DB,
    )
    return (picture - _PICTURE_MIDDLE_DB) / _PICTURE_DB


def shipped_path() -> Path:
    """Where the shipped checkpoint lies."""
    return data_dir() / "checkpoints" / "style.safetensors"


def save(model: StyleModel, path: str | Path) -> str:
    """Write weights and config; see `checkpoints.write`. Returns the file's sha256."""
    return checkpoints.write(model, path, system="style", config=asdict(model.config))


def load(path: str | Path | None = None) -> StyleModel:
    """A model in evaluation mode on the CPU.

    Args:
        path: written by `save`; the shipped model when None.

    Returns:
        The model; its config is `model.config`.

    Raises:
        CheckpointError: if the file is missing, unreadable, or not a checkpoint of style.
    """
    config, weights = checkpoints.read(path if path is not None else shipped_path(), system="style")
    model = StyleModel(Config(**config))
    checkpoints.fill(model, weights)
    return model.eval()


@dataclass(frozen=True)
class Transfer:
    """A recording in another's style.

    Attributes:
        audio: (channels, samples), at the recording's own rate, peak -12 dBFS.
        params_unit: (9,) in 0..1.
        settings: the knobs in physical units.
        code: Python source for the same board.
    """

    audio: np.ndarray
    params_unit: np.ndarray
    settings: dict[str, float]
    code: str


def predict(
    model: StyleModel,
    audio: np.ndarray,
    sample_rate: int,
    *,
    reference: np.ndarray,
    reference_rate: int | None = None,
) -> Transfer:
    """A recording treated like another one, which may be of anything, of any length.

    Args:
        model: from `load` or `train`.
        audio: (channels, samples) float; channels share the knobs, which are set by their mean.
        sample_rate: Hz, at least 16000.
        reference: (channels, samples).
        reference_rate: Hz; `sample_rate` when None.

    Returns:
        The sound and the knobs.

    Raises:
        AudioError: if audio is empty, silent or not finite.
        ValueError: for a rate below 16000 Hz.
    """
    audio = check_audio(audio, sample_rate)
    plain = picture(model.config, audio, sample_rate)
    wanted = picture(model.config, reference, reference_rate or sample_rate, name="reference")
    with torch.no_grad():
        knobs = model(plain, wanted)[0].double().numpy()
    box, given = Box(sample_rate), at_peak(audio)
    wet = box.board.render(given, knobs)
    gain_db = float(20 * np.log10(PEAK / max(float(np.abs(wet).max()), _SILENT)))
    return Transfer(at_peak(wet), knobs, box.settings(knobs), box.to_code(knobs, gain_db))


def write(found: Transfer, sample_rate: int, folder: str | Path) -> list[Path]:
    """The sound (24-bit wav), its settings (JSON) and the board's code, into a folder that is made.

    Args:
        found: from `predict`.
        sample_rate: Hz, the recording's.
        folder: where to.

    Returns:
        The three files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sound = write_audio(folder / "style.wav", found.audio, sample_rate, subtype="PCM_24")
    settings, code = folder / "style.json", folder / "style.py"
    knobs = {
        "settings": found.settings,
        "params_unit": found.params_unit.tolist(),
        "sample_rate": sample_rate,
    }
    replace_text(settings, json.dumps(knobs, indent=1) + "\n")
    replace_text(code, found.code)
    return [sound, settings, code]


def picture(config: Config, audio: np.ndarray, sample_rate: int, *, name: str = "audio") -> Tensor:
    """What the encoder is shown of any recording: (1, n_mels, frames), digital silence cut out.

    Args:
        config: of the model.
        audio: (channels, samples); channels are averaged.
        sample_rate: Hz.
        name: of the argument, for errors.

    Returns:
        As `hear`, at a peak of -12 dBFS whatever the level.

    Raises:
        AudioError: if audio is empty, silent or not finite.
    """
    mono = resample(
        to_mono(check_audio(audio, sample_rate, name=name)), sample_rate, config.sample_rate
    )
    if float(np.abs(mono).max()) < _SILENT:
        raise AudioError(f"{name} is silent (peak below -100 dBFS): there is no style to hear")
    heard = hear(config, torch.from_numpy(at_peak(mono)))
    sounds = heard[0].amax(0) > (_FLOOR_DB + 0.1 - _PICTURE_MIDDLE_DB) / _PICTURE_DB
    heard = heard[..., sounds]
    return heard if heard.shape[-1] > 1 else heard.repeat(1, 1, 2)  # one frame has no deviation
