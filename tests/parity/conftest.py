"""The settings and signals of every pedal's parity and gradient tests."""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from labkit.effects.registry import EFFECTS
from labkit.signal.guitar import phrase
from labkit.signal.seeds import generator
from labkit.signal.units import set_rms

Setting = dict[str, float]


def signals(sample_rate: int, seconds: float) -> list[np.ndarray]:
    """Guitar, noise, impulse, full scale and silence, each (2, samples), no channel twice."""
    samples = round(seconds * sample_rate)
    rng = generator(0, "parity signals")
    guitar = phrase(rng, sample_rate=sample_rate, seconds=seconds, style="strum")
    impulse = np.zeros((2, samples))
    impulse[:, samples // 7] = (0.5, 1.0)
    found = [
        np.concatenate([set_rms(guitar, -20.0), set_rms(-guitar, -26.0)]),
        0.1 * rng.standard_normal((2, samples)),
        impulse,
        np.sign(rng.standard_normal((2, samples))),
        np.zeros((2, samples)),
    ]
    return [sound.astype(np.float32) for sound in found]


def _settings(names: str, *rows: tuple[float, ...]) -> list[Setting]:
    return [dict(zip(names.split(), row, strict=True)) for row in rows]


_PASS = _settings("cutoff_frequency_hz", (10.0,), (20_000.0,))
_BAND = _settings(
    "cutoff_frequency_hz gain_db q",
    (30.0, 30.0, 0.1),
    (12_000.0, -30.0, 10.0),
    (30_000.0, 6.0, 0.7),
    (0.5, 6.0, 0.7),
)
_COMPRESSOR = "threshold_db ratio attack_ms release_ms"
# Outside the spaces: silence, the ends of pedalboard's knobs, and values that it holds back.
BEYOND = {
    "gain": _settings("gain_db", (-100.0,), (-99.9,), (40.0,)),
    "distortion": _settings("drive_db", (-120.0,), (0.0,), (60.0,)),
    "clipping": _settings("threshold_db", (-100.0,), (-60.0,), (6.0,)),
    "bitcrush": _settings("bit_depth", (0.0,), (1.5,), (16.0,), (32.0,)),
    "highpass": _PASS,
    "lowpass": _PASS,
    "low_shelf": _BAND,
    "peak": _BAND,
    "high_shelf": _BAND,
    "compressor": _settings(_COMPRESSOR, (-60.0, 1.0, 0.0, 0.0), (0.0, 100.0, 0.01, 5000.0)),
    "limiter": _settings("threshold_db release_ms", (0.0, 1.0), (-60.0, 2000.0)),
    "noise_gate": _settings(_COMPRESSOR, (-100.0, 10.0, 0.0, 0.0), (0.0, 1.5, 200.0, 2000.0)),
    "delay": _settings(
        "delay_seconds feedback mix",
        (0.0, 0.5, 0.5),
        (1e-5, 0.5, 0.5),
        (3e-5, 0.9, 1.0),
        (0.05, 1.0, 0.7),
        (30.0, 0.0, 0.3),
    ),
    "reverb": _settings(
        "room_size damping mix", (0.0, 0.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 1.0), (0.0, 1.0, 0.0)
    ),
    "chorus": _settings(
        "rate_hz depth centre_delay_ms feedback mix",
        (0.0, 0.0, 0.0, -0.9, 1.0),
        (100.0, 1.0, 100.0, 0.9, 1.0),
        (20.0, 1.0, 1.0, 0.9, 0.7),
        (5.0, 1.5, 99.0, 0.5, 0.7),
    ),
    "vibrato": _settings("rate_hz depth", (0.0, 0.0), (100.0, 1.0), (20.0, 1.5)),
    "tremolo": _settings("rate_hz depth", (0.0, 0.0), (100.0, 1.0), (20.0, 1.5)),
    "phaser": _settings(
        "rate_hz depth centre_frequency_hz feedback mix",
        (0.0, 0.0, 20.0, -0.9, 1.0),
        (100.0, 1.0, 20_000.0, 0.9, 1.0),
        (20.0, 1.0, 10.0, 0.9, 0.7),
        (3.0, 2.0, 1000.0, 0.99, 0.0),
    ),
}

BEYOND["flanger"] = BEYOND["chorus"]


@pytest.fixture(scope="session")
def settings_of() -> Callable[[str], list[Setting]]:
    """Name -> corners of the space (sixteen at most), and beyond."""

    def find(name: str) -> list[Setting]:
        record = EFFECTS[name]
        corners = record.space.corners()
        # Of 32 corners every fifth: there every knob is at either end at least twice.
        corners = corners if len(corners) <= 16 else corners[::5]
        return [*corners, *BEYOND[name]]

    return find


@pytest.fixture(scope="session")
def setting_at() -> Callable[[str, float], Setting]:
    """Name and unit value -> the setting with every knob at that share of its range."""

    def find(name: str, unit: float = 0.5) -> Setting:
        space = EFFECTS[name].space
        return space.from_unit(np.full(len(space), unit))

    return find


@pytest.fixture(scope="session")
def clips() -> Callable[[int], np.ndarray]:
    """Rate -> (5, 2, samples): guitar, noise, impulse, full scale, silence; two blocks and more."""

    @cache
    def find(sample_rate: int) -> np.ndarray:
        return np.stack(signals(sample_rate, 0.4))

    return find


@pytest.fixture(scope="session")
def stacked() -> Callable[..., dict[str, Tensor]]:
    """Settings of a batch -> knob -> (batch,)."""

    def stack(settings: Sequence[Setting], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        return {
            name: torch.tensor([setting[name] for setting in settings], dtype=dtype)
            for name in settings[0]
        }

    return stack
