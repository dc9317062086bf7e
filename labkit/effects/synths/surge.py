"""The synthesizer Surge XT, a VST3 that pedalboard hosts: parameter set, sound, `.vstpreset` files.

Names are those that pedalboard shows of a fresh instance with Classic oscillators. Numbers are the
host's, 0 to 1: times are 2 ** (13 x - 8) seconds, cutoffs 13.75 Hz * 2 ** (10.83 x), volumes
x ** 3. Oscillators start at phase 0, so that a patch without noise sounds the same twice; Surge's
noise has no seed.
"""

import numpy as np

from labkit.effects.hosts.instrument import Vst3Instrument
from labkit.effects.hosts.listing import find
from labkit.effects.hosts.worker import PluginError
from labkit.effects.synths.spec import (
    NOTE,
    SAMPLE_RATE,
    VELOCITY,
    Choice,
    Field,
    Knob,
    SynthSpec,
    Values,
)

PLUGIN = "Surge XT"
# A source whose volume is at its point is muted.
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
        # Up to 0.28 semitones.
        Knob(f"a_osc_{k}_pitch", 0.502, 0.52, point=0.5, point_share=0.4, gate=volume),
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


_SWEEP = "a_filter_1_feg_mod_amount"
_BEND = "a_waveshaper_type"
SIMPLE = SynthSpec(
    "surge_simple",
    (
        *(field for k in (1, 2, 3) for field in _oscillator(k)),
        Knob("a_noise_volume", 0.3, 0.8, point=0.0, point_share=0.6),
        Knob("a_noise_color", 0.0, 1.0, gate="a_noise_volume"),
        *_filter(1, (0.15, 0.2, 0.3, 0.15, 0.1, 0.1)),
        # Up to 58 semitones.
        Knob(_SWEEP, 0.52, 0.8, point=0.5, point_share=0.35, gate="a_filter_1_type"),
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


_SILENCED = ("a_portamento", "a_osc_drift", "a_filter_2_offset_mode", "a_fm_routing")
_CENTRED = ("a_pitch", "a_pan", "a_filter_2_feg_mod_amount", "a_feedback", "a_filter_balance")


def start() -> dict[str, float | str]:
    """What every note sets before its patch: one scene, no effects, fixed phases."""
    patch: dict[str, float | str] = dict.fromkeys(_SILENCED, 0.0)
    patch |= dict.fromkeys(("scene_mode", "active_scene", "a_play_mode", "a_link_resonance"), 0.0)
    patch |= dict.fromkeys((*_CENTRED, "a_pre_filter_gain"), 0.5)
    patch |= {"fx_chain_bypass": 1.0, "a_octave": "0", "a_noise_solo": 0.0}
    patch |= {"a_filter_configuration": "Serial 1", "a_noise_route": "Filter 1"}
    patch |= {f"a_{envelope}_eg_envelope_mode": "Digital" for envelope in ("amp", "filter")}
    for pair in ("1x2", "2x3"):
        patch |= {f"a_ring_modulation_{pair}_mute": 1.0, f"a_ring_modulation_{pair}_solo": 0.0}
    for k in (1, 2, 3):
        patch |= {f"a_osc_{k}_type": "Classic", f"a_osc_{k}_route": "Filter 1"}
        patch |= {
            f"a_osc_{k}_solo": 0.0,
            f"a_osc_{k}_retrigger": 1.0,
            f"a_osc_{k}_keytrack": 1.0,
        }
    return patch


def controls_of(values: Values, volume_db: float = 0.0) -> dict[str, float | str]:
    """Surge's parameters for a patch: name -> the host's number in 0..1 or the shown word.

    The volume, -48..48 dB, is that of the amplifier behind the filters.
    """
    patch = {name: value for name, value in values.items() if name not in NOTE}
    patch |= {mute: float(values[volume] == 0.0) for volume, mute in _MUTES.items()}
    patch["a_vca_gain"] = float((np.clip(volume_db, -48.0, 48.0) + 48.0) / 96.0)
    return start() | patch


def find_surge() -> str:
    """The `.vst3` of Surge XT in the usual folders or VST3_PATH; PluginError if it is not there."""
    try:
        source = find(PLUGIN)
        if source.kind == "VST3":
            return source.where
        fault = f"only a {source.kind} of that name"
    except PluginError as error:
        fault = str(error)
    raise PluginError(
        f"{PLUGIN} is needed here as VST3, and not found ({fault}): install it, with its factory "
        "patches, from surge-synthesizer.github.io into one of the usual folders, such as ~/.vst3, "
        "or name its folder in VST3_PATH"
    )


class SurgeEngine:
    """Surge XT in this process, for workers; see `registry.Synth` for the methods.

    Raises:
        ValueError: if this release of Surge XT lacks a parameter or a word of the set.
    """

    def __init__(self, parameters: str) -> None:
        fields = SETS[parameters].fields
        names = controls_of({field.name: field.rest for field in fields})
        self._instrument = Vst3Instrument(find_surge(), names)
        for field in fields:
            for word in field.options if isinstance(field, Choice) else ():
                self._instrument.place(field.name, word)

    def render(
        self,
        values: Values,
        seconds: float = 2.0,
        phases: np.ndarray | None = None,  # noqa: ARG002 - no parameter sets a start phase
        volume_db: float = 0.0,
    ) -> np.ndarray:
        """The note of a patch, (2, samples)."""
        patch = controls_of(values, volume_db)
        key = round(float(values["note_pitch"]))
        note = {"sample_rate": SAMPLE_RATE, "velocity": VELOCITY}
        return self._instrument.play(patch, key, float(values["note_seconds"]), seconds, **note)

    def first_note(self, values: Values, seconds: float, volume_db: float) -> np.ndarray:
        """The note of a patch in a new instance."""
        self.restart()
        return self.render(values, seconds, None, volume_db)

    def preset(self, values: Values, name: str = "labkit", volume_db: float = 0.0) -> bytes:  # noqa: ARG002
        """The content of a `.vstpreset` file, which has no place for a name."""
        self._instrument.settle(controls_of(values, volume_db), SAMPLE_RATE)
        return self._instrument.state()

    def restart(self) -> None:
        """A new instance without memory of earlier notes."""
        self._instrument.reload()
