"""Every pedal of the lab by name. To add one, write its record and list it here; tests find it.

It also holds what is hosted and is no pedal: an expander, and substitutes, made of pedalboard's
effects, for plug-ins that may not be installed.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from labkit.effects.ambience import DELAY, REVERB
from labkit.effects.drive import BITCRUSH, CLIPPING, DISTORTION, GAIN
from labkit.effects.dynamics import COMPRESSOR, EXPANDER, LIMITER, NOISE_GATE
from labkit.effects.effect import Effect
from labkit.effects.filters import HIGH_SHELF, HIGHPASS, LOW_SHELF, LOWPASS, PEAK
from labkit.effects.modulation import CHORUS, FLANGER, PHASER, TREMOLO, VIBRATO
from labkit.effects.parameters import space
from labkit.signal.optional import need

_SHIPPED = (
    *(COMPRESSOR, DISTORTION, CHORUS, PHASER, DELAY, REVERB),
    *(FLANGER, VIBRATO, TREMOLO),
    *(LOW_SHELF, PEAK, HIGH_SHELF, HIGHPASS, LOWPASS),
    *(GAIN, CLIPPING, BITCRUSH, LIMITER, NOISE_GATE),
)
_EFFECTS = {effect.name: effect for effect in _SHIPPED}
EFFECTS = MappingProxyType(_EFFECTS)
SHIPPED = frozenset(EFFECTS)
# Hosted as a plug-in is, and in no chain.
HOSTED = MappingProxyType({EXPANDER.name: EXPANDER})


def register(pedal: Effect) -> None:
    """Add a pedal of your own until Python ends; it replaces one of the same name."""
    if pedal.name in SHIPPED:
        raise ValueError(f"name must be a new one, got {pedal.name!r}, which ships with the lab")
    if pedal.name != pedal.name.lower():
        raise ValueError(f"name must be in lower case, got {pedal.name!r}")
    _EFFECTS[pedal.name] = pedal


def effect(name: str) -> Effect:
    """The record called `name`, or a KeyError that lists the pedals there are."""
    if name not in EFFECTS:
        raise KeyError(f"no effect called {name!r}; there are {', '.join(EFFECTS)}")
    return EFFECTS[name]


def _compressor(p: Mapping[str, float], k: object = "", of: str = "") -> list[Any]:
    board = need("pedalboard")
    times = p[f"attack{k}_ms"], p[f"release{k}_ms"]
    compressor = board.Compressor(p[f"threshold{of}_db"], p[f"ratio{k}"], *times)
    return [compressor, board.Gain(p[f"makeup{of}_db"])]


def _three_compressors(p: Mapping[str, float]) -> list[Any]:
    board, low, high = need("pedalboard"), p["crossover_freq_1_hz"], p["crossover_freq_2_hz"]
    bands = (  # of first order: they add up to the whole
        [board.LowpassFilter(low)],
        [board.HighpassFilter(low), board.LowpassFilter(high)],
        [board.HighpassFilter(low), board.HighpassFilter(high)],
    )
    paths = [[*band, *_compressor(p, k, f"_{k}")] for k, band in enumerate(bands, start=1)]
    return [board.Mix([board.Pedalboard(path) for path in paths])]


def _equaliser(p: Mapping[str, float]) -> list[Any]:
    board = need("pedalboard")
    # A bandwidth in octaves as a quality factor.
    quality = {k: float(0.5 / np.sinh(np.log(2) / 2 * p[f"bandwidth_{k}"])) for k in "12"}
    kinds = {"l": "LowShelfFilter", "1": "PeakFilter", "2": "PeakFilter", "h": "HighShelfFilter"}
    filters = [
        getattr(board, kind)(p[f"frequency_{k}_hz"], p[f"boost_cut_{k}_db"], quality.get(k, 0.71))
        for k, kind in kinds.items()
    ]
    return [*filters, board.Gain(p["master_gain_db"])]


def _stand_in(build: Any, bands: str = " ", **ends: tuple[float, float]) -> Effect:
    """A record whose knobs have the plug-in's names; a name with {} is one for every band."""
    knobs = {name.format(k): end for name, end in ends.items() for k in bands}
    arguments = {"arguments": lambda params: {"plugins": build(params)}}
    return Effect("stand-in", space(**knobs), "Pedalboard", None, linear=False, **arguments)


# Plug-in -> what plays its knobs where it is not installed. A compressor's knee is hard here.
STAND_INS = {
    "ZamEQ2": _stand_in(
        _equaliser,
        "l12h",
        **{"boost_cut_{}_db": (-50, 20), "frequency_{}_hz": (20, 14_000)},
        **{"bandwidth_{}": (0.1, 6), "master_gain_db": (-12, 12)},
    ),
    "ZaMultiComp": _stand_in(
        _three_compressors,
        "123",
        **{"attack{}_ms": (0.1, 100), "release{}_ms": (1, 500), "knee{}_db": (0, 8)},
        **{"ratio{}": (1, 20), "threshold_{}_db": (-60, 0), "makeup_{}_db": (0, 30)},
        **{"zamcomp_{}_on": (0, 1), "crossover_freq_1_hz": (20, 1400)},
        crossover_freq_2_hz=(1400, 14_000),
    ),
    "ZamComp": _stand_in(
        _compressor,
        **{"attack_ms": (0.1, 100), "release_ms": (1, 500), "knee_db": (0, 8)},
        **{"ratio": (1, 20), "threshold_db": (-80, 0), "makeup_db": (0, 30)},
    ),
}
