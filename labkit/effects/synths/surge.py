"""The synthesizer Surge XT, a VST3 that pedalboard hosts: a set of parameters, notes to sound, `.vstpreset` files.

The names are those that pedalboard shows of a fresh instance, of Classic oscillators: other oscillators and effects
have parameters of other names. What no parameter sets is left out, above all what LFOs turn. Numbers are the
host's, 0 to 1: times are 2 ** (13 x - 8) seconds, cutoffs 13.75 Hz * 2 ** (10.83 x), volumes x ** 3.

Oscillators start at phase 0, so that a patch without noise sounds the same twice; Surge's noise has no seed.
"""

from collections.abc import Mapping

import numpy as np

from labkit.effects.hosts.face import PluginError
from labkit.effects.hosts.instrument import Vst3Instrument
from labkit.effects.hosts.listing import find
from labkit.effects.hosts.worker import Worker
from labkit.effects.synths.hosted import Hosted
from labkit.effects.synths.spec import SAMPLE_RATE, VELOCITY, Choice, Field, Knob, SynthSpec, Values

PLUGIN = "Surge XT"
_NOTE = ("note_pitch", "note_seconds")
# A volume at its point means that the source is muted.
_MUTES = {
    f"a_{source}_volume": f"a_{source}_mute" for source in ("osc_1", "osc_2", "osc_3", "noise")
}


def _oscillator(k: int) -> tuple[Field, ...]:
    volume, voices = f"a_osc_{k}_volume", f"a_osc_{k}_unison_voices"
    return (
        Knob(volume, 0.5, 1.0, point=0.0, point_share=0.35),
        Knob(f"a_osc_{k}_shape", 0.0, 1.0, gate=volume),
        Knob(f"a_osc_{k}_width_1", 0.1, 0.9, gate=volume),
        Knob(f"a_osc_{k}_sub_mix", 0.1, 1.0, point=0.0, point_share=0.6, gate=volume),
        Knob(f"a_osc_{k}_sync", 0.05, 0.6, point=0.0, point_share=0.7, gate=volume),
        Choice(f"a_osc_{k}_octave", ("0", "-1", "1", "2"), (0.5, 0.2, 0.2, 0.1), gate=volume),
        Knob(
            f"a_osc_{k}_pitch", 0.502, 0.52, point=0.5, point_share=0.4, gate=volume
        ),  # up to .28 semitones
        Choice(voices, ("1", "3", "5", "7"), (0.55, 0.15, 0.15, 0.15), gate=volume),
        Knob(f"a_osc_{k}_unison_detune", 0.05, 0.5, gate=voices),
    )


def _envelope(name: str, gate: str | None = None) -> tuple[Field, ...]:
    """Attack up to 0.8 s, decay and release up to 2 s."""
    return (
        Knob(f"a_{name}_eg_attack", 0.0, 0.59, gate=gate),
        Knob(f"a_{name}_eg_decay", 0.2, 0.69, gate=gate),
        Knob(f"a_{name}_eg_sustain", 0.0, 1.0, gate=gate),
        *((Knob(f"a_{name}_eg_release", 0.1, 0.69, gate=gate),) if gate is None else ()),
    )


_FILTERS = ("Off", "LP 12 dB", "LP 24 dB", "HP 12 dB", "BP 12 dB", "N 12 dB")


def _filter(k: int, shares: tuple[float, ...]) -> tuple[Field, ...]:
    gate = f"a_filter_{k}_type"
    return (
        Choice(gate, _FILTERS, shares),
        Knob(f"a_filter_{k}_cutoff", 0.2, 0.95, gate=gate),
        Knob(f"a_filter_{k}_resonance", 0.0, 0.85, gate=gate),
    )


_SWEEP, _BEND = "a_filter_1_feg_mod_amount", "a_waveshaper_type"
SIMPLE = SynthSpec(
    "surge_simple",
    (
        *(field for k in (1, 2, 3) for field in _oscillator(k)),
        Knob("a_noise_volume", 0.3, 0.8, point=0.0, point_share=0.6),
        Knob("a_noise_color", 0.0, 1.0, gate="a_noise_volume"),
        *_filter(1, (0.15, 0.2, 0.3, 0.15, 0.1, 0.1)),
        Knob(
            _SWEEP, 0.52, 0.8, point=0.5, point_share=0.35, gate="a_filter_1_type"
        ),  # up to 58 semitones
        *_filter(2, (0.6, 0.08, 0.08, 0.08, 0.08, 0.08)),
        *_envelope("amp"),
        *_envelope("filter", gate=_SWEEP),
        Choice(_BEND, ("Off", "Soft", "Hard", "Asymmetric", "Sine"), (0.6, 0.1, 0.1, 0.1, 0.1)),
        Knob("a_waveshaper_drive", 0.5, 0.75, gate=_BEND),  # up to 12 dB
        Knob("a_highpass", 0.1, 0.6, point=0.0, point_share=0.6),
        Knob("note_pitch", 36.0, 84.0, steps=48),
        Knob("note_seconds", 0.15, 1.0),
    ),
)
SETS = {SIMPLE.name: SIMPLE}


def start() -> dict[str, float | str]:
    """What every render sets before its patch: one scene, no effects, fixed phases.

    What no parameter reaches, such as who modulates whom, stays as it is in the patch that Surge opens with.
    """
    told: dict[str, float | str] = {"scene_mode": 0.0, "active_scene": 0.0, "fx_chain_bypass": 1.0}
    told |= {
        "a_play_mode": 0.0,
        "a_portamento": 0.0,
        "a_octave": "0",
        "a_pitch": 0.5,
        "a_osc_drift": 0.0,
        "a_pan": 0.5,
    }
    told |= {
        "a_filter_configuration": "Serial 1",
        "a_filter_2_offset_mode": 0.0,
        "a_filter_2_feg_mod_amount": 0.5,
    }
    told |= {"a_feedback": 0.5, "a_filter_balance": 0.5, "a_noise_route": "Filter 1"}
    told |= {
        "a_fm_routing": 0.0,
        "a_link_resonance": 0.0,
        "a_noise_solo": 0.0,
        "a_pre_filter_gain": 0.5,
    }
    told |= {f"a_ring_modulation_{pair}_mute": 1.0 for pair in ("1x2", "2x3")}
    told |= {f"a_ring_modulation_{pair}_solo": 0.0 for pair in ("1x2", "2x3")}
    told |= {f"a_{envelope}_eg_envelope_mode": "Digital" for envelope in ("amp", "filter")}
    for k in (1, 2, 3):
        told |= {
            f"a_osc_{k}_type": "Classic",
            f"a_osc_{k}_route": "Filter 1",
            f"a_osc_{k}_solo": 0.0,
        }
        told |= {f"a_osc_{k}_retrigger": 1.0, f"a_osc_{k}_keytrack": 1.0}
    return told


def controls_of(values: Values, volume_db: float = 0.0) -> dict[str, float | str]:
    """What Surge's parameters are set to for a patch.

    Args:
        values: of `SIMPLE`; the note is left out.
        volume_db: -48..48, of the amplifier behind the filters.

    Returns:
        Name -> the host's number, 0..1, or the word that Surge shows.
    """
    told = {name: value for name, value in values.items() if name not in _NOTE}
    told |= {mute: float(values[volume] == 0.0) for volume, mute in _MUTES.items()}
    told["a_vca_gain"] = float((np.clip(volume_db, -48.0, 48.0) + 48.0) / 96.0)
    return start() | told


def find_surge(plugin: str | None = None) -> str:
    """Where Surge XT lies.

    Args:
        plugin: its `.vst3`; None looks into the folders for VST3, or those that VST3_PATH names.

    Returns:
        The file or bundle.

    Raises:
        PluginError: if it is not there, or pedalboard is not.
    """
    try:
        source = find(plugin or PLUGIN)
        if source.kind == "VST3":
            return source.where
        fault = f"only a {source.kind} of that name"
    except PluginError as error:
        fault = str(error)
    raise PluginError(
        f"{PLUGIN} is needed here as VST3, and not found ({fault}): install it, with its factory patches, from "
        "surge-synthesizer.github.io into one of the usual folders, such as ~/.vst3, or name its folder in VST3_PATH"
    )


class SurgeEngine:
    """Surge XT in this process: for workers; `Surge` is for everybody else.

    Args:
        where: name of the parameter set; after a colon, where the plug-in lies, if it is known.

    Raises:
        ValueError: if this release of Surge XT lacks a parameter or a word of the set.
    """

    def __init__(self, where: str) -> None:
        name, _, plugin = where.partition(":")
        self.spec = SETS[name]
        rest = {field.name: field.rest for field in self.spec.fields}
        self._where, self._names = plugin or find_surge(), tuple(controls_of(rest))
        self._instrument = self._fresh()
        for field in self.spec.fields:
            for word in field.options if isinstance(field, Choice) else ():
                self._instrument.place(field.name, word)

    def _fresh(self) -> Vst3Instrument:
        return Vst3Instrument(self._where, self._names)

    def render(
        self,
        values: Values,
        seconds: float = 2.0,
        phases: np.ndarray | None = None,  # noqa: ARG002 - no parameter says where an oscillator starts
        volume_db: float = 0.0,
    ) -> np.ndarray:
        """The note of a patch; arguments and result as `Surge.render`."""
        return _note(self._instrument, controls_of(values, volume_db), values, seconds)

    def preset(self, values: Values, volume_db: float = 0.0) -> bytes:
        """The patch as the content of a `.vstpreset` file."""
        self._instrument.settle(controls_of(values, volume_db), SAMPLE_RATE)
        return self._instrument.state()

    def play(self, preset: bytes, values: Values, seconds: float = 2.0) -> np.ndarray:
        """A `.vstpreset` file's content, opened by a new instance, at the note of `values`: (2, samples)."""
        fresh = self._fresh()
        before = _note(fresh, start(), values, seconds)
        fresh.load(preset)
        sound = _note(fresh, {}, values, seconds)
        if np.allclose(before, sound, atol=1e-4):
            raise ValueError(
                "the preset changed nothing: Surge XT may not read any before its window was open once"
            )
        return sound

    def restart(self) -> None:
        """A new instance, which remembers nothing."""
        self._instrument.reload()


def _note(
    instrument: Vst3Instrument, told: Mapping[str, float | str], values: Values, seconds: float
) -> np.ndarray:
    pitch, held = round(float(values["note_pitch"])), float(values["note_seconds"])
    return instrument.play(told, pitch, held, seconds, sample_rate=SAMPLE_RATE, velocity=VELOCITY)


class Surge(Hosted):
    """Surge XT in a process of its own, with the face of `Vital`. A context manager.

    Args:
        spec: one of `SETS`.
        plugin: the `.vst3`, where it does not lie in one of the usual folders.
        timeout_s: seconds that starting, and each call, may take; > 0.

    Raises:
        ValueError: for another set.
        PluginError: if Surge XT or pedalboard is not installed.
    """

    def __init__(
        self, spec: SynthSpec = SIMPLE, *, plugin: str | None = None, timeout_s: float = 120.0
    ) -> None:
        if SETS.get(spec.name) != spec:
            raise ValueError(f"spec must be one of {', '.join(SETS)}, got {spec.name}")
        self.spec = spec
        where = f"{spec.name}:{find_surge(plugin)}"
        self._worker = Worker("labkit.effects.synths.surge:SurgeEngine", where, timeout_s)

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
            phases: as Vital takes them; Surge's oscillators start at 0 whatever they are.
            volume_db: -48 to 48.

        Returns:
            (2, samples) float32 at 44.1 kHz.

        Raises:
            ValueError: if `values` is no patch of the set, or there is no time.
            PluginError: if Surge XT crashed, hung, or lacks parameters that the set names.
        """
        self._check(values, seconds)
        return self._worker.call("render", dict(values), seconds, phases, volume_db)

    def preset(self, values: Values, *, name: str = "labkit", volume_db: float = 0.0) -> bytes:  # noqa: ARG002
        """The patch as a `.vstpreset` file's content, which has no place for a name. Otherwise as `render`."""
        self._check(values, 1.0)
        return self._worker.call("preset", dict(values), volume_db)

    def play(self, preset: bytes, values: Values, *, seconds: float = 2.0) -> np.ndarray:
        """A `.vstpreset` file's content, opened by a new instance, at pitch and length of `values`.

        Args:
            preset: content of the file.
            values: ``note_pitch`` (MIDI key) and ``note_seconds``; the rest is ignored.
            seconds: length of the sound, > 0.

        Returns:
            (2, samples) float32 at 44.1 kHz.

        Raises:
            PluginError: if the preset is refused or changes nothing: Surge XT has been seen to read presets only
                after its window was open, and a worker opens none (pedalboard's issue 394).
        """
        note = {name: float(values[name]) for name in _NOTE}
        return self._worker.call("play", preset, note, seconds)

    def first_note(
        self, values: Values, *, seconds: float = 2.0, volume_db: float = 0.0
    ) -> np.ndarray:
        """The note as a new instance plays it. Arguments, result and errors as `render`."""
        self._worker.call("restart")
        return self.render(values, seconds=seconds, volume_db=volume_db)
