"""A preset: an equaliser, a distortion, a compressor, a pitch and a room, as settings that a user opens and changes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from labkit.effects.parameters import Parameter, ParameterSpace
from labkit.signal.optional import need
from labkit.signal.paths import replace_text
from labkit.systems.text_to_effects.response import BANDS_HZ, START, TYPES, curve_db

VERSION = 1
BAND = ParameterSpace(
    (
        Parameter("frequency_hz", "Hz", 20.0, 18000.0, "log"),
        Parameter("gain_db", "dB", -18.0, 18.0),
        Parameter("q", "", 0.3, 6.0, "log"),
    )
)
SPACES = {
    "pitch": ParameterSpace((Parameter("semitones", "", -12.0, 12.0),)),
    "distortion": ParameterSpace(
        (Parameter("drive_db", "dB", 0.0, 30.0), Parameter("colour", "", -1.0, 1.0))
    ),
    "compressor": ParameterSpace(
        (
            Parameter("threshold_db", "dB", -60.0, 0.0),
            Parameter("ratio", "", 1.0, 20.0, "log"),
            Parameter("attack_ms", "ms", 0.5, 100.0, "log"),
            Parameter("release_ms", "ms", 20.0, 1000.0, "log"),
        )
    ),
    "reverb": ParameterSpace(
        (
            Parameter("room_size", "", 0.0, 1.0),
            Parameter("pre_delay_ms", "ms", 0.0, 120.0),
            Parameter("diffusion", "", 0.0, 1.0),
            Parameter("damping", "", 0.0, 1.0),
            Parameter("wet", "", 0.0, 0.9),
        )
    ),
}
_NEUTRAL = {
    "pitch": {"semitones": 0.0},
    "distortion": {"drive_db": 0.0, "colour": 0.0},
    "compressor": {"threshold_db": 0.0, "ratio": 1.0, "attack_ms": 10.0, "release_ms": 100.0},
    "reverb": {
        "room_size": 0.5,
        "pre_delay_ms": 10.0,
        "diffusion": 1.0,
        "damping": 0.5,
        "wet": 0.0,
    },
}
# The knobs that make an effect stronger; `Preset.scaled` and neutrality ask them alone.
STRENGTH = {"pitch": "semitones", "distortion": "drive_db", "compressor": "ratio", "reverb": "wet"}
_PLUGIN = {
    "low_shelf": "LowShelfFilter",
    "bell": "PeakFilter",
    "high_shelf": "HighShelfFilter",
    "lowpass": "LowpassFilter",
    "highpass": "HighpassFilter",
}
# A plug-in's class with its arguments, or a mix of parallel chains of such.
Plan = list[tuple[str, Any]]


@dataclass(frozen=True)
class Band:
    """One band of the equaliser.

    Attributes:
        type: one of `response.TYPES`.
        frequency_hz, gain_db, q: within `BAND`; the passes have no gain and no Q of their own.

    Raises:
        ValueError: for another type or a value out of range.
    """

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
        return {"frequency_hz": self.frequency_hz, "gain_db": self.gain_db, "q": self.q}


def _flat() -> tuple[Band, ...]:
    return tuple(Band(kind, hz, 0.0, q) for kind, hz, q in START)


@dataclass(frozen=True)
class Preset:
    """Settings of all effects, in physical units; the default changes nothing.

    Attributes:
        eq: five bands.
        pitch, distortion, compressor, reverb: knob -> value, within `SPACES`.

    Raises:
        ValueError: for a missing, unknown or out-of-range knob.
    """

    eq: tuple[Band, ...] = field(default_factory=_flat)
    pitch: Mapping[str, float] = field(default_factory=lambda: dict(_NEUTRAL["pitch"]))
    distortion: Mapping[str, float] = field(default_factory=lambda: dict(_NEUTRAL["distortion"]))
    compressor: Mapping[str, float] = field(default_factory=lambda: dict(_NEUTRAL["compressor"]))
    reverb: Mapping[str, float] = field(default_factory=lambda: dict(_NEUTRAL["reverb"]))

    def __post_init__(self) -> None:
        if len(self.eq) != len(START):
            raise ValueError(f"eq must hold {len(START)} bands, got {len(self.eq)}")
        for name, space in SPACES.items():
            space.check(getattr(self, name))

    def eq_curve_db(self) -> np.ndarray:
        """(40,) dB: what the equaliser does at `response.BANDS_HZ`."""
        hz, gain, q = (
            torch.tensor([getattr(band, name) for band in self.eq]).double() for name in BAND.names
        )
        shares = torch.eye(len(TYPES)).double()[[TYPES.index(band.type) for band in self.eq]]
        return curve_db(hz, gain, q, shares).numpy()

    @property
    def tilt_db(self) -> float:
        """Highs minus lows: the equaliser's mean above 1.5 kHz less its mean below 800 Hz."""
        curve, hz = self.eq_curve_db(), np.array(BANDS_HZ)
        return float(curve[hz > 1500].mean() - curve[hz < 800].mean())

    def scaled(self, strength: float) -> "Preset":
        """The same character, weaker or stronger: gains, drive, ratio, semitones and wet share times `strength`.

        Args:
            strength: 0 (nothing) to 2; values stop at the ends of their ranges.

        Raises:
            ValueError: if `strength` lies outside.
        """
        if not 0 <= strength <= 2:
            raise ValueError(f"strength must lie in [0, 2], got {strength}")
        eq = tuple(_scaled_band(band, strength) for band in self.eq)
        changed = {}
        for name, knob in STRENGTH.items():
            parameter, params = SPACES[name][knob], dict(getattr(self, name))
            value = params[knob] ** strength if knob == "ratio" else params[knob] * strength
            changed[name] = params | {knob: float(np.clip(value, parameter.low, parameter.high))}
        return replace(self, eq=eq, **changed)

    def to_json(self) -> str:
        """JSON text with a version."""
        settings = {name: dict(getattr(self, name)) for name in SPACES}
        eq = [{"type": band.type, **band.params} for band in self.eq]
        return json.dumps({"version": VERSION, "eq": eq, **settings}, indent=2)

    @classmethod
    def from_json(cls, text: str) -> "Preset":
        """The preset that `to_json` wrote.

        Raises:
            ValueError: for any other text or version, and for a missing, unknown or out-of-range knob.
        """
        try:
            found = json.loads(text)
            if found.pop("version") != VERSION:
                raise ValueError("another version")
            bands = tuple(Band(**band) for band in found.pop("eq"))
            if set(found) != set(SPACES):
                raise ValueError(f"effects must be {sorted(SPACES)}, got {sorted(found)}")
            return cls(
                bands, **{name: {k: float(v) for k, v in found[name].items()} for name in SPACES}
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"a preset of version {VERSION} was expected, got {text[:60]!r} ({error})"
            ) from error

    def save(self, path: str | Path) -> None:
        """Write `to_json()` under a temporary name, then rename."""
        replace_text(Path(path), self.to_json() + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "Preset":
        """Read what `save` wrote. Raises as `from_json`, and FileNotFoundError."""
        return cls.from_json(Path(path).read_text())

    def plan(self, sample_rate: int) -> Plan:
        """The pedalboard as classes and arguments, effects that change nothing left out.

        The compressor stands before the distortion, so that its threshold counts from the level of the recording.

        Args:
            sample_rate: Hz; bands that lie above half of it are left out.
        """
        pitch, drive, colour = (
            self.pitch["semitones"],
            self.distortion["drive_db"],
            self.distortion["colour"],
        )
        plan: Plan = [("PitchShift", {"semitones": pitch})] if abs(pitch) > 0.01 else []
        plan += [step for band in self.eq for step in _band_plan(band, sample_rate)]
        if self.compressor["ratio"] > 1.01:
            plan.append(("Compressor", dict(self.compressor)))
        if drive > 0.05:
            plan.append(("Distortion", {"drive_db": drive}))
            shelf = {
                "cutoff_frequency_hz": min(1500.0, 0.2 * sample_rate),
                "gain_db": 9.0 * colour,
                "q": 0.7,
            }
            plan += [("HighShelfFilter", shelf)] if abs(colour) > 0.01 else []
        return plan + (_room_plan(self.reverb) if self.reverb["wet"] > 0.005 else [])

    def board(self, sample_rate: int) -> Any:
        """A fresh `pedalboard.Pedalboard`."""
        return _built(self.plan(sample_rate))

    def to_code(self, sample_rate: int) -> str:
        """Python source that builds the same board with pedalboard alone."""
        plan = self.plan(sample_rate)
        names = sorted({"Pedalboard", *_names(plan)})
        return f"from pedalboard import {', '.join(names)}\n\nboard = Pedalboard([\n{_printed(plan, 4)}])"

    def summary(self) -> str:
        """What the preset does, an effect a line, in plain words."""
        lines = [
            f"eq          {b.type} {b.frequency_hz:.0f} Hz {b.gain_db:+.1f} dB, Q {b.q:.2f}"
            for b in self.eq
        ]
        for name, space in SPACES.items():
            knobs = ", ".join(
                f"{p.name} {getattr(self, name)[p.name]:.3g}" for p in space.parameters
            )
            lines.append(f"{name:12s}{knobs}")
        return "\n".join(lines)


def _scaled_band(band: Band, strength: float) -> Band:
    if band.type in (
        "lowpass",
        "highpass",
    ):  # a pass moves towards the end of the range where it does nothing
        end = BAND["frequency_hz"].high if band.type == "lowpass" else BAND["frequency_hz"].low
        kept = end * (band.frequency_hz / end) ** strength
        return replace(
            band,
            frequency_hz=float(np.clip(kept, BAND["frequency_hz"].low, BAND["frequency_hz"].high)),
        )
    return replace(band, gain_db=float(np.clip(band.gain_db * strength, -18.0, 18.0)))


def _band_plan(band: Band, sample_rate: int) -> Plan:
    passes = band.type in ("lowpass", "highpass")
    if band.frequency_hz > 0.45 * sample_rate or (not passes and abs(band.gain_db) < 0.05):
        return []
    if passes:
        return [(_PLUGIN[band.type], {"cutoff_frequency_hz": band.frequency_hz})]
    given = {"cutoff_frequency_hz": band.frequency_hz, "gain_db": band.gain_db, "q": band.q}
    return [(_PLUGIN[band.type], given)]


def _room_plan(reverb: Mapping[str, float]) -> Plan:
    """Dry sound, a diffuse room behind its pre-delay, and beside it separate echoes for what is not diffuse."""
    wet, diffusion = reverb["wet"], reverb["diffusion"]
    behind: Plan = [
        ("Delay", {"delay_seconds": reverb["pre_delay_ms"] / 1000, "feedback": 0.0, "mix": 1.0})
    ]
    room = {
        "room_size": reverb["room_size"],
        "damping": reverb["damping"],
        "wet_level": 0.5 * wet,
        "dry_level": 0.0,
    }
    apart = {
        "delay_seconds": 0.05 + reverb["pre_delay_ms"] / 1000,
        "feedback": 0.5 * reverb["room_size"],
        "mix": 1.0,
    }
    paths = [
        [("Gain", {"gain_db": 20 * float(np.log10(1 - wet))})],
        [*(behind if reverb["pre_delay_ms"] > 0.5 else []), ("Reverb", room)],
    ]
    if diffusion < 0.95:
        level_db = 20 * float(np.log10(wet * (1 - diffusion)))
        paths.append([("Delay", apart), ("Gain", {"gain_db": level_db})])
    return [("Mix", paths)]


def _built(plan: Plan) -> Any:
    pedalboard = need("pedalboard")
    made = [
        pedalboard.Mix([_built(path) for path in given])
        if name == "Mix"
        else getattr(pedalboard, name)(**given)
        for name, given in plan
    ]
    return pedalboard.Pedalboard(made)


def _names(plan: Plan) -> set[str]:
    inner = [_names(path) for name, given in plan if name == "Mix" for path in given]
    return {name for name, _ in plan}.union(*inner)


def _printed(plan: Plan, indent: int) -> str:
    text, space = "", " " * indent
    for name, given in plan:
        if name == "Mix":
            paths = "".join(
                f"{space}    Pedalboard([\n{_printed(p, indent + 8)}{space}    ]),\n" for p in given
            )
            text += f"{space}Mix([\n{paths}{space}]),\n"
        else:
            arguments = ", ".join(f"{key}={value!r}" for key, value in given.items())
            text += f"{space}{name}({arguments}),\n"
    return text
