"""Every pedal of the lab by name. To add one, write its record and list it here; tests find it."""

from types import MappingProxyType

from labkit.effects.ambience import DELAY, REVERB
from labkit.effects.drive import BITCRUSH, CLIPPING, DISTORTION, GAIN
from labkit.effects.dynamics import COMPRESSOR, LIMITER, NOISE_GATE
from labkit.effects.effect import Effect
from labkit.effects.filters import HIGH_SHELF, HIGHPASS, LOW_SHELF, LOWPASS, PEAK
from labkit.effects.modulation import CHORUS, PHASER

EFFECTS = MappingProxyType(
    {
        effect.name: effect
        for effect in (
            *(COMPRESSOR, DISTORTION, CHORUS, PHASER, DELAY, REVERB),
            *(LOW_SHELF, PEAK, HIGH_SHELF, HIGHPASS, LOWPASS),
            *(GAIN, CLIPPING, BITCRUSH, LIMITER, NOISE_GATE),
        )
    }
)


def effect(name: str) -> Effect:
    """The record called `name`, or a KeyError that lists the pedals there are."""
    if name not in EFFECTS:
        raise KeyError(f"no effect called {name!r}; there are {', '.join(EFFECTS)}")
    return EFFECTS[name]
