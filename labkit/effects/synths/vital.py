"""The synthesizer Vital, through the package `vita`: two parameter sets, sound, `.vital` files.

Oscillators start at given phases, so that a patch sounds the same twice from a fresh synthesizer.
In Vital's own presets they start anywhere. Chorus and reverb run free either way.
"""

import base64
import json
from functools import cache
from types import MappingProxyType

import numpy as np

from labkit.effects.synths.spec import NOTE, SAMPLE_RATE, VELOCITY, Values, read_sets
from labkit.signal.optional import need
from labkit.signal.seeds import generator

N_OSCILLATORS = 3
# The first Vital with all fields of our presets, and no field fewer: later ones open them.
# The package `vita` writes a version that Vital refuses as newer than itself.
_VERSION = "1.0.7"
# Word -> Vital's filter model, style and blend.
_FILTERS = {
    "low 12": (0, 0, 0),
    "low 24": (0, 1, 0),
    "band": (0, 0, 1),
    "high": (0, 0, 2),
    "ladder": (2, 1, 0),
    "comb": (6, 0, 0),
}
# The words of Vital's menus, by their numbers; a gap is not used here.
_DRIVES = {"soft": 0, "hard": 1, "linear fold": 2, "sine fold": 3}
_PHASE_BENDS = ("none", "sync", "formant", "quantize", "bend", "squeeze", "pulse")
_MORPHS = {"none": 0, "vocode": 1, "formant": 2, "stretch": 3, "smear": 5, "low": 7, "high": 8}
# Field -> modulation slot, source and target. Only those of a set's own fields are connected: an
# LFO costs Vital time even where nothing is modulated.
_MODULATIONS = {
    "filter_1_env": ("modulation_1_amount", "env_2", "filter_1_cutoff"),
    "vibrato": ("modulation_2_amount", "lfo_1", "voice_tune"),
    "wah": ("modulation_3_amount", "lfo_2", "filter_1_cutoff"),
}
_LINGERING = ("chorus_on", "delay_on", "phaser_on", "reverb_on")
# Fields with a switch of their own, which is on unless the field is 0.
_SWITCHES = {
    **{f"osc_{k}_level": f"osc_{k}_on" for k in range(1, N_OSCILLATORS + 1)},
    "sample_level": "sample_on",
    "distortion_drive": "distortion_on",
    **{name.replace("_on", "_dry_wet"): name for name in _LINGERING},
}


SETS = read_sets("vital")
SIMPLE, FULL = SETS["vital_simple"], SETS["vital_full"]


@cache
def start_preset(parameters: str) -> str:
    """The preset from which every note of a set starts: own wavetable, fixed noise and phases."""
    synth = need("vita").Synth()
    for field, (_, source, target) in _MODULATIONS.items():
        if field in SETS[parameters].names and not synth.connect_modulation(source, target):
            raise RuntimeError(f"Vital refused the modulation of {target} by {source}")
    controls = synth.get_controls()
    for k in range(1, N_OSCILLATORS + 1):
        for name, value in {"on": 0, "random_phase": 0, "stereo_spread": 0.5}.items():
            controls[f"osc_{k}_{name}"].set(value)
    for name in ("lfo_1", "lfo_2", "chorus", "phaser", "delay"):
        controls[f"{name}_sync"].set(0)  # in seconds, not in beats
    preset = json.loads(synth.to_json())
    settings = preset["settings"]
    settings["wavetables"] = [_wavetable()] * N_OSCILLATORS
    noise = generator(0, "vital", "noise").uniform(-1, 1, 44_100)
    samples = _base64((noise * 32767).astype("<i2"))
    sample = {"length": 44_100, "name": "White noise", "sample_rate": 44_100, "samples": samples}
    settings["sample"] = sample
    return _named(preset, "labkit")


def _named(preset: dict, name: str) -> str:
    """The text of a preset that Vital opens."""
    for wavetable in preset["settings"]["wavetables"]:
        wavetable["version"] = _VERSION
    facts = {"author": "labkit", "preset_name": name, "synth_version": _VERSION}
    return json.dumps(preset | facts)


def waves() -> np.ndarray:
    """(5, 2048): one turn each of sine, triangle, saw, square and pulse, 511 harmonics, peak 1.

    The fundamentals are aligned, so that mixtures do not cancel.
    """
    k = np.arange(1, 512)[:, None]
    turn = 2 * np.pi * np.arange(2048)[None] / 2048
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


def _wavetable() -> dict:
    frames = [
        {"position": 64 * k, "wave_data": _base64(wave.astype("<f4"))}
        for k, wave in enumerate(waves())
    ]
    source = {"interpolation": 1, "interpolation_style": 1, "type": "Wave Source"}
    groups = [{"components": [{**source, "keyframes": frames}]}]
    facts = {"author": "labkit", "name": "Sine to pulse", "groups": groups}
    return {**facts, "full_normalize": True, "remove_all_dc": True}


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()


def controls_of(
    values: Values, phases: np.ndarray | None = None, tuning: float = 0.0
) -> dict[str, float]:
    """Vital's controls for a patch, in their own units; arguments as `registry.Synth.render`."""
    settings: dict[str, float] = {f"osc_{k}_on": 0.0 for k in range(1, N_OSCILLATORS + 1)}
    settings["voice_transpose"] = float(round(tuning))
    settings["voice_tune"] = tuning - round(tuning)
    for k, phase in enumerate(np.zeros(N_OSCILLATORS) if phases is None else phases, start=1):
        settings[f"osc_{k}_phase"] = float(phase)
    for name, value in values.items():
        if name in NOTE:
            continue
        if isinstance(value, str):
            settings |= _menu(name, value)
            continue
        if name in _SWITCHES:
            settings[_SWITCHES[name]] = float(value != 0.0)
        settings[_MODULATIONS[name][0] if name in _MODULATIONS else name] = value
    return settings


def _menu(name: str, word: str) -> dict[str, float]:
    """The controls that a word sets."""
    if name == "filter_1_type":
        settings = {"filter_1_on": float(word != "off")}
        if word != "off":
            parts = zip(("model", "style", "blend"), _FILTERS[word], strict=True)
            settings |= {f"filter_1_{part}": float(value) for part, value in parts}
        return settings
    if name == "distortion_type":
        return {name: float(_DRIVES[word])}
    if name.endswith("_distortion_type"):
        return {name: float(_PHASE_BENDS.index(word))}
    if name.endswith("_morph_type"):
        return {name: float(_MORPHS[word])}
    return {name: float(word)}


class VitalEngine:
    """Vital in this process, which it leaves in flush-to-zero mode; see `registry.Synth`."""

    def __init__(self, where: str) -> None:
        self._parameters = where
        self.restart()

    def restart(self) -> None:
        """A new synthesizer without memory of earlier notes."""
        self._synth = _loaded(start_preset(self._parameters))
        self._controls = self._synth.get_controls()
        names = controls_of(SETS[self._parameters].draw(generator(0, "any")))
        self._rest = {name: self._controls[name].value() for name in names}
        self._lingering = False

    def render(
        self,
        values: Values,
        seconds: float = 2.0,
        phases: np.ndarray | None = None,
        setting: Values = MappingProxyType({}),
    ) -> np.ndarray:
        """The note of a patch, (2, samples)."""
        self._set(values, phases, **setting)
        return _note(self._synth, values, seconds)

    def first_note(self, values: Values, seconds: float, setting: Values) -> np.ndarray:
        """The note of a patch in a new synthesizer."""
        return self.play(self.preset(values, "labkit", setting), values, seconds)

    def preset(self, values: Values, name: str, setting: Values) -> str:
        """The text of a `.vital` file."""
        self._set(values, None, **setting)
        return _named(json.loads(self._synth.to_json()), name)

    def play(self, preset: str, values: Values, seconds: float = 2.0) -> np.ndarray:
        """A `.vital` file's text in a new synthesizer; ValueError if Vital does not read it."""
        return _note(_loaded(preset), values, seconds)

    def _set(
        self, values: Values, phases: np.ndarray | None, volume_db: float = 0.0, tuning: float = 0.0
    ) -> None:
        settings = self._rest | controls_of(values, phases, tuning)
        lingers = any(settings.get(switch) for switch in _LINGERING)
        if lingers and self._lingering:
            # What the last note left in the delay lines must not sound in this one.
            for switch in _LINGERING:
                self._controls[switch].set(0.0)
            self._synth.render(60, 0.0, 0.0, 0.01)
        self._lingering = lingers
        for name, value in settings.items():
            self._controls[name].set(value)
        # Vital's knob is the square of the decibels above -80; it starts at -6.02.
        self._controls["volume"].set((np.clip(volume_db - 6.02, -80.0, 6.0) + 80.0) ** 2)


def _loaded(preset: str) -> object:
    synth = need("vita").Synth()
    synth.set_sample_rate(SAMPLE_RATE)
    synth.set_bpm(120.0)
    if not synth.load_json(preset):
        raise ValueError("Vital does not read this preset")
    return synth


def _note(synth: object, values: Values, seconds: float) -> np.ndarray:
    pitch, held = round(float(values["note_pitch"])), float(values["note_seconds"])
    audio = synth.render(pitch, VELOCITY, min(held, seconds), seconds)
    return np.ascontiguousarray(audio[:, : round(seconds * SAMPLE_RATE)], dtype=np.float32)
