"""Torch twins of pedalboard's pedals: the same sound, in batches, with gradients to audio and knobs."""

from collections.abc import Callable
from importlib import import_module

from torch import Tensor

# Where each pedal's function lies: a module of this package.
_MODULES = {
    "drive": ("gain", "distortion", "clipping", "bitcrush"),
    "filters": ("highpass", "lowpass", "low_shelf", "peak", "high_shelf"),
    "ladder": ("ladder_filter",),
    "dynamics": ("compressor", "limiter", "noise_gate"),
    "delay": ("delay",),
    "modulation": ("chorus", "phaser"),
    "reverb": ("reverb",),
}
NAMES = tuple(name for names in _MODULES.values() for name in names)


def twin(name: str) -> Callable[..., Tensor]:
    """The torch function of a pedal: ``(audio (b, c, t), sample_rate, *, knobs (b,) or numbers) -> (b, c, t)``.

    Args:
        name: as in the registry of effects, or ``"ladder_filter"``.

    Raises:
        KeyError: if there is none, listing those there are.
    """
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise KeyError(f"no twin called {name!r}; there are {', '.join(NAMES)}")
