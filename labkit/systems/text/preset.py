"""A preset: settings of an equaliser, a distortion, a compressor, a pitch shift and a room."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labkit.effects.chain import Chain, Plugins, Step, build_board
from labkit.effects.parameters import Parameter, ParameterSpace, space
from labkit.effects.registry import effect
from labkit.signal.paths import read_text, replace_text
from labkit.signal.units import amplitude_to_db

VERSION = 1
_OF_JSON = (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError)
TYPES = ("low_shelf", "bell", "high_shelf", "lowpass", "highpass")
BAND = space(frequency_hz=(20.0, 18000.0, "log"), gain_db=(-18.0, 18.0), q=(0.3, 6.0, "log"))
SPACES = {
    "pitch": space(semitones=(-12.0, 12.0)),
    "distortion": space(drive_db=(0.0, 30.0), colour=(-1.0, 1.0)),
    "compressor": space(
        threshold_db=(-60.0, 0.0),
        ratio=(1.0, 20.0, "log"),
        attack_ms=(0.5, 100.0, "log"),
        release_ms=(20.0, 1000.0, "log"),
    ),
    "reverb": space(
        room_size=(0.0, 1.0),
        pre_delay_ms=(0.0, 120.0),
        diffusion=(0.0, 1.0),
        damping=(0.0, 1.0),
        wet=(0.0, 0.9),
    ),
}
# Pedals that a preset may have besides, in the order of the signal, but for `_ENDS`.
PEDALS = {
    "noise_gate": space(
        threshold_db=(-80.0, 0.0),
        ratio=(1.0, 20.0, "log"),
        attack_ms=(0.5, 100.0, "log"),
        release_ms=(20.0, 1000.0, "log"),
    ),
    "bitcrush": space(bit_depth=(1.0, 16.0)),
    "phaser": space(
        rate_hz=(0.01, 20.0, "log"),
        depth=(0.0, 1.0),
        centre_frequency_hz=(50.0, 8000.0, "log"),
        feedback=(0.0, 0.9),
        mix=(0.0, 1.0),
    ),
    "chorus": space(
        rate_hz=(0.01, 20.0, "log"),
        depth=(0.0, 1.0),
        centre_delay_ms=(1.0, 50.0),
        feedback=(0.0, 0.9),
        mix=(0.0, 1.0),
    ),
    "delay": space(delay_seconds=(0.001, 3.0, "log"), feedback=(0.0, 0.95), mix=(0.0, 1.0)),
    "limiter": space(threshold_db=(-60.0, 0.0), release_ms=(20.0, 1000.0, "log")),
    "gain": space(gain_db=(-60.0, 24.0)),
}
PEDALS["flanger"] = PEDALS["chorus"]
PEDALS["vibrato"] = PEDALS["tremolo"] = space(rate_hz=(0.01, 20.0, "log"), depth=(0.0, 1.0))
# The whole ranges of all: the room may be wetter than words, and the network, make it.
KNOBS = {**SPACES, **PEDALS}
KNOBS["reverb"] = ParameterSpace(
    tuple(replace(p, high=1.0) if p.name == "wet" else p for p in SPACES["reverb"].parameters)
)
_NEUTRAL = {
    "pitch": (0.0,),
    "distortion": (0.0, 0.0),
    "compressor": (0.0, 1.0, 10.0, 100.0),
    "reverb": (0.5, 10.0, 1.0, 0.5, 0.0),
}
# What a vibrato is stored with in presets of before, when a chorus played it.
_OF_CHORUS = {"centre_delay_ms", "feedback", "mix"}
_ENDS = ("noise_gate",), ("limiter", "gain")
# Knobs that make an effect stronger, and where each does nothing.
_STRENGTH = {"semitones": 0, "drive_db": 0, "wet": 0, "mix": 0, "gain_db": 0, "bit_depth": 16}
# The five bands of a preset that changes nothing: type, Hz, Q. Of all with a Q of .6 or more, they
# follow the lexicon's curves best, to .15 dB; no curve of people's was asked.
START = (
    ("low_shelf", 280.0, 0.7),
    ("bell", 430.0, 0.6),
    ("bell", 1800.0, 0.64),
    ("bell", 4600.0, 0.66),
    ("high_shelf", 7400.0, 0.7),
)
# People's curves are given at these 40 frequencies, about equally far apart in perceived pitch.
BANDS_HZ = (
    20, 50, 83, 120, 161, 208, 259, 318, 383, 455, 537, 628, 729, 843, 971, 1114, 1273, 1452, 1652,
    1875, 2126, 2406, 2719, 3070, 3462, 3901, 4392, 4941, 5556, 6244, 7014, 7875, 8839, 9917, 11124,
    12474, 13984, 15675, 17566, 19682,
)  # fmt: skip
_DESIGN_RATE, _MAX_BANDS = 44100, 64


def responses_db(frequency_hz: Tensor, gain_db: Tensor, q: Tensor, at_hz: Tensor) -> Tensor:
    """(..., 5, m) dB: the gain of a band of each of `TYPES` at (m,) frequencies, at 44.1 kHz.

    Differentiable in the band's knobs, (...) each; the passes ignore gain and Q.

    Source: Bristow-Johnson's cookbook through the bilinear transform: at each frequency the digital
        filter has the gain of the analogue one at the warped frequency. The passes have one pole.
    """
    warped = torch.tan(math.pi * at_hz / _DESIGN_RATE)
    x2 = (warped / torch.tan(math.pi * frequency_hz / _DESIGN_RATE)[..., None]).square()
    amplitude = 10 ** (gain_db / 40)[..., None]
    wide = x2 / q[..., None].square()
    at_centre = (1 - x2).square()
    bell = (at_centre + wide * amplitude.square()) / (at_centre + wide / amplitude.square())
    upper = (amplitude - x2).square() + wide * amplitude
    lower = (1 - amplitude * x2).square() + wide * amplitude
    shelf = amplitude.square()
    kinds = [shelf * upper / lower, bell, shelf * lower / upper, 1 / (1 + x2), x2 / (1 + x2)]
    power = torch.stack(torch.broadcast_tensors(*kinds), dim=-2)
    return 10 * torch.log10(power.clamp_min(1e-12))


def curve_db(
    frequency_hz: Tensor,
    gain_db: Tensor,
    q: Tensor,
    shares: Tensor,
    at_hz: Tensor | Sequence[float] = BANDS_HZ,
) -> Tensor:
    """(..., 40) dB at `BANDS_HZ`: bands (..., bands) in series, each a mixture of types in dB.

    The `shares` of the types, (..., bands, 5), are one-hot for an equaliser that can be built.
    """
    at_hz = torch.as_tensor(at_hz, dtype=gain_db.dtype, device=gain_db.device)
    return (responses_db(frequency_hz, gain_db, q, at_hz) * shares[..., None]).sum((-3, -2))


def fitted_gains_db(target_db: np.ndarray) -> np.ndarray:
    """(5,) gains of the bands of `START` whose curve is nearest to (40,) dB, by least squares."""
    # A response in dB is nearly proportional to its gain, which makes the problem linear.
    basis = _basis_per_db()
    normal = basis @ basis.T + 0.1 * np.eye(len(START))
    gains = np.linalg.solve(normal, basis @ np.asarray(target_db, float))
    return np.clip(gains, BAND["gain_db"].low, BAND["gain_db"].high)


@cache
def _basis_per_db() -> np.ndarray:
    """(5, 40) what 1 dB of each band of `START` does, measured at 6 dB."""
    kinds, hz, q = zip(*START, strict=True)
    gains_db, at_hz = torch.full((len(START),), 6.0), torch.tensor(BANDS_HZ)
    responses = responses_db(torch.tensor(hz), gains_db, torch.tensor(q), at_hz)
    rows = responses[range(len(START)), [TYPES.index(kind) for kind in kinds]]
    return rows.double().numpy() / 6.0


def clipped(parameter: Parameter, value: float) -> float:
    """The value, or the end of the knob's range that it lies beyond."""
    return float(np.clip(value, parameter.low, parameter.high))


@dataclass(frozen=True)
class Band:
    """One band of the equaliser; a pass has no gain and no Q."""

    type: str
    frequency_hz: float
    gain_db: float
    q: float

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise ValueError(f"type must be one of {', '.join(TYPES)}, got {self.type!r}")
        BAND.check(self.params)

    @property
    def params(self) -> dict[str, float]:
        """The knobs by name."""
        return {name: getattr(self, name) for name in BAND.names}

    def louder(self, db: float) -> "Band":
        """The band with more gain, within the range."""
        return replace(self, gain_db=clipped(BAND["gain_db"], self.gain_db + db))

    def scaled(self, strength: float) -> "Band":
        """The band weaker or stronger; a pass moves to or from the end where it does nothing."""
        if not self.type.endswith("pass"):
            return self.louder(self.gain_db * (strength - 1))
        knob = BAND["frequency_hz"]
        end = knob.high if self.type == "lowpass" else knob.low
        moved = end * (self.frequency_hz / end) ** strength
        return replace(self, frequency_hz=clipped(knob, moved))

    def steps(self, sample_rate: int) -> list[tuple[str, dict[str, float]]]:
        """The filter as a pedal, or nothing where it does nothing or lies too high for the rate."""
        if self.frequency_hz > 0.45 * sample_rate:
            return []
        params = {"cutoff_frequency_hz": self.frequency_hz}
        if not self.type.endswith("pass"):
            params |= {"gain_db": self.gain_db, "q": self.q}
        heard = abs(params.get("gain_db", 1.0)) >= 0.05
        return [("peak" if self.type == "bell" else self.type, params)] if heard else []


def response_db(bands: Sequence[Band], at_hz: np.ndarray) -> np.ndarray:
    """(m,) dB: the gain of bands in series at (m,) frequencies in Hz."""
    columns = [[getattr(band, name) for band in bands] for name in BAND.names]
    shares = torch.eye(len(TYPES)).double()[[TYPES.index(band.type) for band in bands]]
    knobs = torch.tensor(columns).double()
    return curve_db(*knobs, shares, torch.from_numpy(np.asarray(at_hz, float))).numpy()


def _neutral(name: str) -> Any:
    values = dict(zip(SPACES[name].names, _NEUTRAL[name], strict=True))
    return field(default_factory=values.copy)


@dataclass(frozen=True)
class Preset:
    """Settings of all effects in physical units, knob -> value; the default changes nothing.

    Attributes:
        eq: the five bands that words move, then those that a sentence stated.
        pedals: those of `PEDALS` that are on.

    Raises:
        ValueError: for a missing or unknown knob, or one outside `SPACES` and `PEDALS`.
    """

    eq: tuple[Band, ...] = tuple(Band(kind, hz, 0.0, q) for kind, hz, q in START)
    pitch: Mapping[str, float] = _neutral("pitch")
    distortion: Mapping[str, float] = _neutral("distortion")
    compressor: Mapping[str, float] = _neutral("compressor")
    reverb: Mapping[str, float] = _neutral("reverb")
    pedals: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(START) <= len(self.eq) <= _MAX_BANDS:
            raise ValueError(f"eq must hold {len(START)} to {_MAX_BANDS} bands, got {len(self.eq)}")
        if unknown := self.pedals.keys() - PEDALS.keys():
            raise ValueError(f"pedals must be of {', '.join(PEDALS)}, got {sorted(unknown)}")
        for name, params in self.settings().items():
            KNOBS[name].check(params)

    def settings(self) -> dict[str, Mapping[str, float]]:
        """Effect -> knobs, of all but the equaliser; the pedals that are on come last."""
        return {name: getattr(self, name) for name in SPACES} | dict(self.pedals)

    def eq_curve_db(self) -> np.ndarray:
        """(40,) dB: the equaliser's gain at `BANDS_HZ`."""
        return response_db(self.eq, np.array(BANDS_HZ))

    @property
    def tilt_db(self) -> float:
        """Highs minus lows: the equaliser's mean above 1.5 kHz less that below 800 Hz."""
        curve, hz = self.eq_curve_db(), np.array(BANDS_HZ)
        return float(curve[hz > 1500].mean() - curve[hz < 800].mean())

    def scaled(self, strength: float) -> "Preset":
        """Gains, drive, semitones and wet shares times 0 to 2, ratios to that power; 0: nothing.

        Of a pedal without a mix it is the depth.
        """
        if not 0 <= strength <= 2:
            raise ValueError(f"strength must lie in [0, 2], got {strength}")
        if strength == 0:
            return Preset()
        scaled = {name: dict(params) for name, params in self.settings().items()}
        for name, params in scaled.items():
            for knob in params.keys() & {"ratio", "depth", *_STRENGTH}:
                if knob == "depth" and "mix" in params:
                    continue
                off, value = _STRENGTH.get(knob, 0), params[knob]
                value = value**strength if knob == "ratio" else off + strength * (value - off)
                params[knob] = clipped(KNOBS[name][knob], value)
        changed = {name: scaled.pop(name) for name in SPACES}
        return Preset(tuple(band.scaled(strength) for band in self.eq), **changed, pedals=scaled)

    def to_json(self) -> str:
        """JSON text with a version."""
        eq = [{"type": band.type, **band.params} for band in self.eq]
        settings = {name: dict(params) for name, params in self.settings().items()}
        return json.dumps({"version": VERSION, "eq": eq, **settings}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Preset":
        """The preset that `to_json` wrote; ValueError for any other text, version or setting."""
        try:
            found = json.loads(text)
            if found.pop("version") != VERSION:
                raise ValueError("another version")
            eq = tuple(Band(**band) for band in found.pop("eq"))
            knobs = {n: {k: float(v) for k, v in params.items()} for n, params in found.items()}
            for fixed in _OF_CHORUS & knobs.get("vibrato", {}).keys():
                del knobs["vibrato"][fixed]
            if set(SPACES) - set(found):
                raise ValueError(f"effects must be {sorted(SPACES)}, got {sorted(found)}")
            return cls(eq, **{name: knobs.pop(name) for name in SPACES}, pedals=knobs)
        except _OF_JSON as error:
            raise ValueError(
                f"a preset of version {VERSION} was expected, got {text[:60]!r} ({error})"
            ) from error

    def save(self, path: str | Path) -> None:
        """Write `to_json()`."""
        replace_text(Path(path), self.to_json() + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "Preset":
        """Read what `save` wrote. Raises as `from_json` and `read_text`."""
        return cls.from_json(read_text(path))

    def plugins(self, sample_rate: int) -> Plugins:
        """The plug-ins of pedalboard with their arguments; effects that do nothing are left out."""
        semitones = self.pitch["semitones"]
        plugins: Plugins = [("PitchShift", {"semitones": semitones})] if semitones else []
        for name, params in self.chain(sample_rate):
            room = ("Mix", _room_paths(self.reverb))
            plugins.append(room if name == "reverb" else effect(name).played(params))
        return plugins

    def chain(self, sample_rate: int) -> Chain:
        """The pedals as a chain, like those of `labkit chain` and of the pedal board.

        It lacks the pitch shift, and the pre-delay and the echoes of the room.
        """
        steps = [step for band in self.eq for step in band.steps(sample_rate)]
        # The compressor comes first: its threshold counts from the level of the recording.
        if self.compressor["ratio"] > 1.01:
            steps.append(("compressor", self.compressor))
        if (drive_db := self.distortion["drive_db"]) > 0.05:
            steps.append(("distortion", {"drive_db": drive_db}))
            hz, gain_db = min(1500.0, 0.2 * sample_rate), 9.0 * self.distortion["colour"]
            steps += Band("high_shelf", hz, gain_db, 0.7).steps(sample_rate)
        played = [name for name in PEDALS if name in self.pedals]
        pedals = [(name, self.pedals[name]) for name in played]
        first, last = ([step for step in pedals if step[0] in ends] for ends in _ENDS)
        steps = first + steps + [step for step in pedals if step not in first + last]
        if (wet := self.reverb["wet"]) > 0.005:
            room = {name: self.reverb[name] for name in ("room_size", "damping")}
            steps.append(("reverb", {**room, "mix": wet}))
        return Chain(tuple(Step(name, params, in_range=False) for name, params in steps + last))

    def board(self, sample_rate: int) -> Any:
        """A fresh `pedalboard.Pedalboard`."""
        return build_board(self.plugins(sample_rate))

    def summary(self) -> str:
        """The settings as text, an effect a line."""
        lines = [
            f"eq          {b.type} {b.frequency_hz:.0f} Hz {b.gain_db:+.1f} dB, Q {b.q:.2f}"
            for b in self.eq
        ]
        for name, params in self.settings().items():
            knobs = ", ".join(f"{knob} {value:.3g}" for knob, value in params.items())
            lines.append(f"{name:12s}{knobs}")
        return "\n".join(lines)


def _room_paths(reverb: Mapping[str, float]) -> list[Plugins]:
    """Parallel paths: the dry sound, a diffuse room after its pre-delay, and separate echoes."""
    wet, pre_delay_s = reverb["wet"], reverb["pre_delay_ms"] / 1000
    room = {name: reverb[name] for name in ("room_size", "damping")}
    diffuse: Plugins = [("Reverb", {**room, "wet_level": 0.5 * wet, "dry_level": 0.0})]
    if pre_delay_s > 0.0005:
        diffuse.insert(0, _delay(pre_delay_s, 0.0))
    paths: list[Plugins] = [*([[_gain(1 - wet)]] if wet < 1 else []), diffuse]
    if reverb["diffusion"] < 0.95:
        echo = _delay(0.05 + pre_delay_s, 0.5 * reverb["room_size"])
        paths.append([echo, _gain(wet * (1 - reverb["diffusion"]))])
    return paths


def _gain(amplitude: float) -> tuple[str, dict[str, float]]:
    return "Gain", {"gain_db": amplitude_to_db(amplitude)}


def _delay(seconds: float, feedback: float) -> tuple[str, dict[str, float]]:
    return "Delay", {"delay_seconds": seconds, "feedback": feedback, "mix": 1.0}
