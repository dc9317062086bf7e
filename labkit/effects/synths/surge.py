"""The synthesizer Surge XT, a VST3 that pedalboard hosts: parameter set, sound, `.vstpreset` files.

Numbers are the host's, 0 to 1: times are 2 ** (13 x - 8) seconds, cutoffs 13.75 Hz *
2 ** (10.83 x), volumes x ** 3. Oscillators start at phase 0, so that a patch without noise sounds
the same twice; Surge's noise has no seed.
"""

import re
import struct
from types import MappingProxyType

import numpy as np

from labkit.effects.hosts.engines import Vst3Instrument
from labkit.effects.hosts.listing import find
from labkit.effects.hosts.worker import PluginError
from labkit.effects.synths.spec import NOTE, SAMPLE_RATE, VELOCITY, Values, read_sets

PLUGIN = "Surge XT"
SETS = read_sets("surge")
SIMPLE = SETS["surge_simple"]

# What a host cannot set, in Surge's own patch: Modern oscillators, an envelope as LFO 6, and what
# each LFO (source 17 to 22) moves how far.
_VALUES = {"a_osc1_type": 8, "a_osc2_type": 8, "a_osc3_type": 8, "a_lfo5_shape": 6}
_ROUTES = {
    "a_filter1_cutoff": (17, 130),
    "a_filter2_cutoff": (18, 130),
    "a_osc1_param3": (19, 1),
    "a_osc2_param3": (20, 1),
    "a_osc3_param3": (21, 1),
    "a_pitch": (22, 14),
}

_SILENCED = ("a_portamento", "a_osc_drift", "a_filter_2_offset_mode", "a_fm_routing")
_CENTRED = ("a_pitch", "a_pan", "a_feedback", "a_filter_balance", "a_pre_filter_gain")


def start() -> dict[str, float | str]:
    """What every note sets before its patch: one scene, no effects, fixed phases."""
    patch: dict[str, float | str] = dict.fromkeys(_SILENCED, 0.0)
    patch |= dict.fromkeys(("scene_mode", "active_scene", "a_play_mode", "a_link_resonance"), 0.0)
    patch |= dict.fromkeys(_CENTRED, 0.5)
    patch |= {"fx_chain_bypass": 1.0, "a_octave": "0", "a_filter_configuration": "Serial 1"}
    patch |= {f"a_filter_{k}_type": "LP 12 dB" for k in (1, 2)} | {"a_waveshaper_type": "Off"}
    patch |= {f"a_{envelope}_eg_envelope_mode": "Analog" for envelope in ("amp", "filter")}
    for pair in ("1x2", "2x3"):
        patch |= {f"a_ring_modulation_{pair}_mute": 1.0, f"a_ring_modulation_{pair}_solo": 0.0}
    for source in ("noise", "osc_1", "osc_2", "osc_3"):
        patch |= {f"a_{source}_mute": 0.0, f"a_{source}_solo": 0.0, f"a_{source}_route": "Filter 1"}
    for k in (1, 2, 3):
        patch |= {f"a_osc_{k}_octave": "0", f"a_osc_{k}_unison_voices": "1"}
        patch |= {f"a_osc_{k}_retrigger": 1.0, f"a_osc_{k}_keytrack": 1.0}
    return patch


def controls_of(
    values: Values, volume_db: float = 0.0, tuning: float = 0.0
) -> dict[str, float | str]:
    """Surge's parameters for a patch: name -> the host's number in 0..1 or the shown word.

    The volume, -48..48 dB, is that of the amplifier behind the filters. The tuning in semitones is
    the scene's octave, -3..3, and its pitch, -7..7 semitones.
    """
    octave = int(np.clip(round(tuning / 12), -3, 3))
    patch = {name: value for name, value in values.items() if name not in NOTE}
    patch["a_vca_gain"] = float((np.clip(volume_db, -48.0, 48.0) + 48.0) / 96.0)
    patch |= {"a_octave": str(octave), "a_pitch": 0.5 + (tuning - 12 * octave) / 14}
    return start() | patch


def routed(preset: bytes) -> bytes:
    """A `.vstpreset` file's content with what a host cannot set; ValueError if it is no patch."""
    begin = preset.find(b"sub3")  # size of the patch behind it, then sizes of wavetables
    first = preset.find(b"<?xml", begin)
    if min(begin, first) < 0:
        raise ValueError("its state holds no patch of Surge XT")
    size = int.from_bytes(preset[begin + 4 : begin + 8], "little")
    patch = preset[first : first + size].decode()
    for name, value in _VALUES.items():
        patch = _edited(patch, name, r'([^>]*value=")[^"]*', rf"\g<1>{value}")
    for name, (source, depth) in _ROUTES.items():
        route = f'<modrouting source="{source}" depth="{depth}" muted="0" source_index="0" />'
        patch = _edited(patch, name, "([^>]*?) ?/>", rf"\g<1>>{route}</{name}>")
    text = patch.encode()
    more = len(text) - size
    length = struct.pack("<I", len(text))
    content = preset[: begin + 4] + length + preset[begin + 8 : first] + text
    content += preset[first + size :]
    # The list of chunks lies behind them: name, place and size of each.
    where = struct.unpack_from("<q", preset, 40)[0] + more
    moved = bytearray(content)
    struct.pack_into("<q", moved, 40, where)
    for k in range(struct.unpack_from("<i", moved, where + 4)[0]):
        entry = where + 12 + 20 * k
        place, extent = struct.unpack_from("<qq", moved, entry)
        changed = (
            (place, extent + more) if place <= begin < place + extent else (place + more, extent)
        )
        struct.pack_into("<qq", moved, entry, *changed)
    return bytes(moved)


def _edited(patch: str, name: str, pattern: str, replacement: str) -> str:
    edited, n = re.subn(f"<{name} {pattern}", f"<{name} {replacement}", patch, count=1)
    if not n:
        raise ValueError(f"this release of {PLUGIN} has another patch, without {name}")
    return edited


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

    Raises ValueError if this release of Surge XT lacks a parameter or a word of the set, or does
    not keep the routes of its LFOs.
    """

    def __init__(self, parameters: str) -> None:
        rest = controls_of({field.name: field.rest for field in SETS[parameters].fields})
        self._instrument = Vst3Instrument(find_surge(), rest, routed)
        for name, word in rest.items():
            if isinstance(word, str):
                self._instrument.place(name, word)
        if self._instrument.state().count(b"<modrouting") < len(_ROUTES):
            raise ValueError(f"{PLUGIN} did not take over the routes of its LFOs")

    def render(
        self,
        values: Values,
        seconds: float = 2.0,
        phases: np.ndarray | None = None,  # noqa: ARG002 - no parameter sets a start phase
        setting: Values = MappingProxyType({}),
    ) -> np.ndarray:
        """The note of a patch, (2, samples)."""
        patch = controls_of(values, **setting)
        key, begin, held = (float(values[name]) for name in NOTE)
        note = {"sample_rate": SAMPLE_RATE, "velocity": VELOCITY, "start": begin}
        return self._instrument.play(patch, round(key), held, seconds, **note)

    def first_note(self, values: Values, seconds: float, setting: Values) -> np.ndarray:
        """The note of a patch in a new instance."""
        self.restart()
        return self.render(values, seconds, None, setting)

    def preset(self, values: Values, _name: str, setting: Values) -> bytes:
        """The content of a `.vstpreset` file, which has no place for a name."""
        self._instrument.settle(controls_of(values, **setting), SAMPLE_RATE)
        return self._instrument.state()

    def restart(self) -> None:
        """A new instance without memory of earlier notes."""
        self._instrument.reload()
