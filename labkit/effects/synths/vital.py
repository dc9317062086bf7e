"""The synthesizer Vital, through the package `vita`: two sets of parameters, notes to sound, and `.vital` files.

Oscillators start at given phases, so that a patch sounds the same twice from a fresh synthesizer; in Vital's own
presets they start anywhere. Chorus and reverb run free either way.
"""

import base64
import json
import math
from collections.abc import Mapping
from functools import cache

import numpy as np

from labkit.effects.hosts.worker import Worker
from labkit.effects.synths.hosted import Hosted
from labkit.effects.synths.spec import SAMPLE_RATE, VELOCITY, Choice, Field, Knob, SynthSpec, Values
from labkit.signal.optional import need
from labkit.signal.seeds import generator

N_OSCILLATORS = 3
# What stands in a field, and what Vital is told: words stand for several controls.
_WORDS = {
    "filter_1_type": {
        "off": {"filter_1_on": 0},
        "low 12": {"filter_1_on": 1, "filter_1_model": 0, "filter_1_style": 0, "filter_1_blend": 0},
        "low 24": {"filter_1_on": 1, "filter_1_model": 0, "filter_1_style": 1, "filter_1_blend": 0},
        "band": {"filter_1_on": 1, "filter_1_model": 0, "filter_1_style": 0, "filter_1_blend": 1},
        "high": {"filter_1_on": 1, "filter_1_model": 0, "filter_1_style": 0, "filter_1_blend": 2},
        "ladder": {"filter_1_on": 1, "filter_1_model": 2, "filter_1_style": 1, "filter_1_blend": 0},
        "comb": {"filter_1_on": 1, "filter_1_model": 6, "filter_1_style": 0, "filter_1_blend": 0},
    },
    "distortion_type": {
        word: {"distortion_type": k}
        for k, word in enumerate(("soft", "hard", "linear fold", "sine fold"))
    },
    "osc_distortion": {
        "none": 0,
        "sync": 1,
        "formant": 2,
        "quantize": 3,
        "bend": 4,
        "squeeze": 5,
        "pulse": 6,
    },
    "osc_morph": {
        "none": 0,
        "vocode": 1,
        "formant": 2,
        "stretch": 3,
        "smear": 5,
        "low": 7,
        "high": 8,
    },
}
_RENAMED = {
    "filter_1_env": "modulation_1_amount",
    "vibrato": "modulation_2_amount",
    "wah": "modulation_3_amount",
}
# Those of fields that a set lacks are not connected: an LFO costs Vital time, heard or not.
_MODULATIONS = {
    "filter_1_env": ("env_2", "filter_1_cutoff"),
    "vibrato": ("lfo_1", "voice_tune"),
    "wah": ("lfo_2", "filter_1_cutoff"),
}
# These have a switch of their own, which is on unless the field is at its point.
_SWITCHES = {
    **{f"osc_{k}_level": f"osc_{k}_on" for k in range(1, N_OSCILLATORS + 1)},
    "sample_level": "sample_on",
    "distortion_drive": "distortion_on",
    "chorus_dry_wet": "chorus_on",
    "delay_dry_wet": "delay_on",
    "phaser_dry_wet": "phaser_on",
    "reverb_dry_wet": "reverb_on",
}
_LINGERING = ("chorus_on", "delay_on", "phaser_on", "reverb_on")
_NOTE = ("note_pitch", "note_seconds")


def _oscillator(k: int) -> tuple[Field, ...]:
    level = f"osc_{k}_level"
    return (
        Knob(level, 0.3, 1.0, point=0.0, point_share=0.3),
        Knob(f"osc_{k}_wave_frame", 0.0, 256.0, gate=level),
        Choice(
            f"osc_{k}_transpose",
            ("0", "-12", "7", "12", "24"),
            (0.4, 0.2, 0.1, 0.2, 0.1),
            gate=level,
        ),
        Knob(f"osc_{k}_tune", 0.03, 0.3, point=0.0, point_share=0.4, gate=level),
        Choice(
            f"osc_{k}_unison_voices", ("1", "3", "5", "7"), (0.55, 0.15, 0.15, 0.15), gate=level
        ),
        Knob(f"osc_{k}_unison_detune", 0.5, 6.0, gate=f"osc_{k}_unison_voices"),
    )


def _envelope(k: int, gate: str | None = None) -> tuple[Field, ...]:
    """Attack up to 0.8 s, decay and release up to 2 s: Vital's own knobs are fourth roots of seconds."""
    return (
        Knob(f"env_{k}_attack", 0.05, 0.95, gate=gate),
        Knob(f"env_{k}_decay", 0.3, 1.19, gate=gate),
        Knob(f"env_{k}_sustain", 0.0, 1.0, gate=gate),
        *((Knob(f"env_{k}_release", 0.2, 1.0, gate=gate),) if k == 1 else ()),
    )


def _filter(options: Mapping[str, float]) -> tuple[Field, ...]:
    gate = "filter_1_type"
    return (
        Choice(gate, tuple(options), tuple(options.values())),
        Knob("filter_1_cutoff", 30.0, 120.0, gate=gate),
        Knob("filter_1_resonance", 0.0, 0.85, gate=gate),
        Knob("filter_1_env", 0.05, 0.6, point=0.0, point_share=0.35, gate=gate),
    )


_DRIVE = Knob("distortion_drive", 2.0, 24.0, point=0.0, point_share=0.65)
_CHORUS = Knob("chorus_dry_wet", 0.1, 0.5, point=0.0, point_share=0.7)
_REVERB = (
    Knob("reverb_dry_wet", 0.05, 0.5, point=0.0, point_share=0.7),
    Knob("reverb_decay_time", -1.5, 1.5, gate="reverb_dry_wet"),
)
_PLAYED = (Knob("note_pitch", 36.0, 84.0, steps=48), Knob("note_seconds", 0.15, 1.0))

SIMPLE = SynthSpec(
    "vital_simple",
    (
        *_oscillator(1),
        *_oscillator(2),
        Knob("sample_level", 0.1, 0.7, point=0.0, point_share=0.65),
        *_filter({"off": 0.15, "low 12": 0.25, "low 24": 0.3, "band": 0.15, "high": 0.15}),
        *_envelope(1),
        *_envelope(2, gate="filter_1_env"),
        _DRIVE,
        _CHORUS,
        *_REVERB,
        *_PLAYED,
    ),
)


def _bent(k: int) -> tuple[Field, ...]:
    """What an oscillator does to its wave."""
    level, kind, morph = (
        f"osc_{k}_level",
        f"osc_{k}_distortion_type",
        f"osc_{k}_spectral_morph_type",
    )
    return (
        Choice(
            kind, tuple(_WORDS["osc_distortion"]), (0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1), gate=level
        ),
        Knob(f"osc_{k}_distortion_amount", 0.0, 1.0, gate=kind),
        Choice(morph, tuple(_WORDS["osc_morph"]), (0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1), gate=level),
        Knob(f"osc_{k}_spectral_morph_amount", 0.0, 1.0, gate=morph),
        Knob(f"osc_{k}_pan", -1.0, 1.0, gate=level),
    )


FULL = SynthSpec(
    "vital_full",
    (
        *(field for k in (1, 2, 3) for field in (*_oscillator(k), *_bent(k))),
        Knob("sample_level", 0.1, 0.7, point=0.0, point_share=0.65),
        Knob("sample_transpose", -24.0, 24.0, steps=48, gate="sample_level"),
        *_filter(
            {
                "off": 0.1,
                "low 12": 0.2,
                "low 24": 0.25,
                "band": 0.15,
                "high": 0.1,
                "ladder": 0.1,
                "comb": 0.1,
            }
        ),
        Knob("filter_1_drive", 0.0, 15.0, gate="filter_1_type"),
        Knob("filter_1_keytrack", -1.0, 1.0, gate="filter_1_type"),
        *_envelope(1),
        Knob("env_1_attack_power", -8.0, 8.0),
        Knob("env_1_decay_power", -8.0, 8.0),
        *_envelope(2, gate="filter_1_env"),
        Knob("vibrato", 0.01, 0.3, point=0.0, point_share=0.6),
        Knob("lfo_1_frequency", 0.5, 4.0, gate="vibrato"),
        Knob("wah", 0.02, 0.4, point=0.0, point_share=0.6, gate="filter_1_type"),
        Knob("lfo_2_frequency", -1.0, 4.0, gate="wah"),
        _DRIVE,
        Choice(
            "distortion_type",
            ("soft", "hard", "linear fold", "sine fold"),
            (0.4, 0.2, 0.2, 0.2),
            "distortion_drive",
        ),
        _CHORUS,
        Knob("chorus_frequency", -4.0, 2.0, gate="chorus_dry_wet"),
        Knob("chorus_mod_depth", 0.0, 1.0, gate="chorus_dry_wet"),
        Knob("phaser_dry_wet", 0.2, 1.0, point=0.0, point_share=0.8),
        Knob("phaser_frequency", -4.0, 2.0, gate="phaser_dry_wet"),
        Knob("phaser_feedback", 0.0, 0.9, gate="phaser_dry_wet"),
        Knob("delay_dry_wet", 0.05, 0.5, point=0.0, point_share=0.75),
        Knob("delay_frequency", 1.0, 5.0, gate="delay_dry_wet"),
        Knob("delay_feedback", 0.0, 0.7, gate="delay_dry_wet"),
        *_REVERB,
        *_PLAYED,
    ),
)
SETS = {spec.name: spec for spec in (SIMPLE, FULL)}


@cache
def start_preset(parameters: str, oversampling: int = 2) -> str:
    """The patch that every render starts from, as JSON: our own waves, fixed noise, fixed phases, modulations.

    Args:
        parameters: name of the parameter set, whose modulations are connected.
        oversampling: 1, 2, 4 or 8; Vital's own is 2.

    Returns:
        What `vita` loads: sine, triangle, saw, square and a narrow pulse along `wave_frame`, fundamentals aligned so
        that mixtures do not cancel.
    """
    synth = need("vita").Synth()
    for source, target in (
        ends for field, ends in _MODULATIONS.items() if field in SETS[parameters].names
    ):
        if not synth.connect_modulation(source, target):
            raise RuntimeError(f"Vital refused the modulation of {target} by {source}")
    controls = synth.get_controls()
    for k in range(1, N_OSCILLATORS + 1):
        for name, value in {"on": 0, "random_phase": 0, "stereo_spread": 0.5}.items():
            controls[f"osc_{k}_{name}"].set(value)
    for name in ("lfo_1", "lfo_2", "chorus", "phaser", "delay"):
        controls[f"{name}_sync"].set(0)  # in seconds, not in beats
    preset = json.loads(synth.to_json())
    settings = preset["settings"]
    settings["oversampling"] = math.log2(oversampling)
    settings["wavetables"] = [_wavetable(preset["synth_version"])] * N_OSCILLATORS
    noise = generator(0, "vital", "noise").uniform(-1, 1, 44_100)
    samples = base64.b64encode((noise * 32767).astype("<i2").tobytes()).decode()
    settings["sample"] = {
        "length": 44_100,
        "name": "White noise",
        "sample_rate": 44_100,
        "samples": samples,
    }
    return json.dumps(preset | {"author": "labkit", "preset_name": "labkit"})


def waves() -> np.ndarray:
    """(5, 2048): one turn each of sine, triangle, saw, square and pulse, of 511 harmonics and peak 1."""
    k, turn = np.arange(1, 512)[:, None], 2 * np.pi * np.arange(2048)[None] / 2048
    odd = k % 2
    shapes = (
        (k == 1) * np.sin(turn),
        odd * (-1.0) ** ((k - 1) // 2) / k**2 * np.sin(k * turn),
        1 / k * np.sin(k * turn),
        odd / k * np.sin(k * turn),
        np.sin(0.1 * np.pi * k) / k * np.cos(k * (turn - np.pi / 2)),
    )
    summed = np.stack([shape.sum(0) for shape in shapes])
    return summed / np.abs(summed).max(1, keepdims=True)


def _wavetable(version: str) -> dict:
    frames = [
        {"position": 64 * k, "wave_data": base64.b64encode(wave.astype("<f4").tobytes()).decode()}
        for k, wave in enumerate(waves())
    ]
    source = {
        "interpolation": 1,
        "interpolation_style": 1,
        "type": "Wave Source",
        "keyframes": frames,
    }
    return {
        "author": "labkit",
        "full_normalize": True,
        "groups": [{"components": [source]}],
        "name": "Sine to pulse",
        "remove_all_dc": True,
        "version": version,
    }


def controls_of(values: Values, phases: np.ndarray | None = None) -> dict[str, float]:
    """What Vital's controls are set to for a patch.

    Args:
        values: of `SIMPLE` or `FULL`; the note is left out.
        phases: (3,) in 0..1, where the oscillators start; 0 when None.

    Returns:
        Control -> value in Vital's own unit.
    """
    told: dict[str, float] = {f"osc_{k}_on": 0.0 for k in range(1, N_OSCILLATORS + 1)}
    for k, phase in enumerate(np.zeros(N_OSCILLATORS) if phases is None else phases, start=1):
        told[f"osc_{k}_phase"] = float(phase)
    for name, value in values.items():
        if name in _NOTE:
            continue
        if isinstance(value, str):
            told |= _worded(name, value)
            continue
        if name in _SWITCHES:
            told[_SWITCHES[name]] = float(value != 0.0)
        told[_RENAMED.get(name, name)] = value
    return told


def _worded(name: str, word: str) -> dict[str, float]:
    for ending, table in (
        ("_distortion_type", "osc_distortion"),
        ("_spectral_morph_type", "osc_morph"),
    ):
        if name.startswith("osc_") and name.endswith(ending):
            return {name: float(_WORDS[table][word])}
    if name in _WORDS:
        return {control: float(value) for control, value in _WORDS[name][word].items()}
    return {name: float(word)}


class VitalEngine:
    """Vital in this process, which it leaves in flush-to-zero mode: for workers; `Vital` is for everybody else.

    Args:
        where: name of the parameter set.
        oversampling: of everything; 1 takes three quarters of the time of 2 and sounds a little otherwise.
    """

    def __init__(self, where: str, oversampling: int = 2) -> None:
        self.spec, self._oversampling = SETS[where], oversampling
        self._fresh()

    def _fresh(self) -> None:
        self._synth = need("vita").Synth()
        self._synth.set_sample_rate(SAMPLE_RATE)
        self._synth.set_bpm(120.0)
        if not self._synth.load_json(start_preset(self.spec.name, self._oversampling)):
            raise RuntimeError("Vital refused its start preset")
        self._controls = self._synth.get_controls()
        self._rest = {
            name: self._controls[name].value()
            for name in controls_of(self.spec.draw(generator(0, "any")))
        }
        self._used = self._lingering = False

    def render(
        self,
        values: Values,
        seconds: float = 2.0,
        phases: np.ndarray | None = None,
        volume_db: float = 0.0,
    ) -> np.ndarray:
        """The note of a patch; arguments and result as `Vital.render`."""
        self._set(values, phases, volume_db)
        return self._play(values, seconds)

    def preset(
        self,
        values: Values,
        name: str = "labkit",
        phases: np.ndarray | None = None,
        volume_db: float = 0.0,
    ) -> str:
        """The patch as the text of a `.vital` file."""
        self._set(values, phases, volume_db)
        return json.dumps(
            json.loads(self._synth.to_json()) | {"preset_name": name, "author": "labkit"}
        )

    def play(self, preset: str, values: Values, seconds: float = 2.0) -> np.ndarray:
        """A `.vital` file's text, opened by a new synthesizer, at the note of `values`: (2, samples)."""
        synth = need("vita").Synth()
        synth.set_sample_rate(SAMPLE_RATE)
        synth.set_bpm(120.0)
        if not synth.load_json(preset):
            raise ValueError("Vital does not read this preset")
        return _note(synth, values, seconds)

    def restart(self) -> None:
        """A new synthesizer, which remembers nothing."""
        if self._used:
            self._fresh()

    def _set(self, values: Values, phases: np.ndarray | None, volume_db: float) -> None:
        told = self._rest | controls_of(values, phases)
        lingers = any(told.get(switch) for switch in _LINGERING)
        if (
            lingers and self._lingering
        ):  # what the last note left in delay lines must not be heard in this one
            for switch in _LINGERING:
                self._controls[switch].set(0.0)
            self._synth.render(60, 0.0, 0.0, 0.01)
        self._used, self._lingering = True, lingers
        for name, value in told.items():
            self._controls[name].set(value)
        # Vital's knob is the square of decibels above -80; it starts at -6.02.
        self._controls["volume"].set((np.clip(volume_db - 6.02, -80.0, 6.0) + 80.0) ** 2)

    def _play(self, values: Values, seconds: float) -> np.ndarray:
        return _note(self._synth, values, seconds)


def _note(synth: object, values: Values, seconds: float) -> np.ndarray:
    pitch, held = round(float(values["note_pitch"])), float(values["note_seconds"])
    audio = synth.render(pitch, VELOCITY, min(held, seconds), seconds)
    return np.ascontiguousarray(audio[:, : round(seconds * SAMPLE_RATE)], dtype=np.float32)


class Vital(Hosted):
    """Vital in a process of its own: it may crash or hang, and the caller lives on. A context manager.

    Args:
        spec: one of `SETS`.
        timeout_s: seconds that starting, and each call, may take; > 0.

    Raises:
        ValueError: for another set.
    """

    def __init__(self, spec: SynthSpec = SIMPLE, *, timeout_s: float = 60.0) -> None:
        if SETS.get(spec.name) != spec:
            raise ValueError(f"spec must be one of {', '.join(SETS)}, got {spec.name}")
        self.spec = spec
        self._worker = Worker("labkit.effects.synths.vital:VitalEngine", spec.name, timeout_s)

    def render(
        self,
        values: Values,
        *,
        seconds: float = 2.0,
        phases: np.ndarray | None = None,
        volume_db: float = 0.0,
    ) -> np.ndarray:
        """The note of a patch.

        Args:
            values: of `spec`.
            seconds: length of the sound, > 0.
            phases: (3,) in 0..1, where the oscillators start; 0 when None.
            volume_db: relative to Vital's own start, at most 12.

        Returns:
            (2, samples) float32 at 44.1 kHz.

        Raises:
            ValueError: if `values` is no patch of the set, or there is no time.
            PluginError: if Vital crashed, hung or is not installed.
        """
        self._check(values, seconds)
        return self._worker.call("render", dict(values), seconds, phases, volume_db)

    def preset(
        self,
        values: Values,
        *,
        name: str = "labkit",
        phases: np.ndarray | None = None,
        volume_db: float = 0.0,
    ) -> str:
        """The patch as the text of a `.vital` file, which Vital opens in any DAW. Arguments and errors as `render`."""
        self._check(values, 1.0)
        return self._worker.call("preset", dict(values), name, phases, volume_db)

    def play(self, preset: str, values: Values, *, seconds: float = 2.0) -> np.ndarray:
        """A `.vital` file's text, opened by a new synthesizer, at pitch and length of `values`.

        Args:
            preset: text of the file, ours or anybody's.
            values: ``note_pitch`` (MIDI key) and ``note_seconds``; the rest is ignored.
            seconds: length of the sound, > 0.

        Returns:
            (2, samples) float32 at 44.1 kHz.

        Raises:
            PluginError: if Vital does not read it, crashed, hung or is not installed.
        """
        note = {name: float(values[name]) for name in _NOTE}
        return self._worker.call("play", preset, note, seconds)

    def first_note(
        self, values: Values, *, seconds: float = 2.0, volume_db: float = 0.0
    ) -> np.ndarray:
        """The note as whoever opens the preset hears it. Arguments, result and errors as `render`."""
        return self.play(self.preset(values, volume_db=volume_db), values, seconds=seconds)
