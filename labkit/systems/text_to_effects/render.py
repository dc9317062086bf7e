"""The sound that a batch of settings makes, by the twins: every knob of every head hears what it did."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from labkit.effects.registry import effect
from labkit.systems.text_to_effects.model import Settings
from labkit.systems.text_to_effects.preset import BAND, SPACES
from labkit.systems.text_to_effects.response import BANDS_HZ

# The twin of each of `response.TYPES`.
_TWINS = ("low_shelf", "peak", "high_shelf", "lowpass", "highpass")
_HEAD_SECONDS = 0.06
_COLOUR_HZ, _COLOUR_DB = 1500.0, 9.0
_HALF_WIDTH, _SILENT_DB = 2.0**0.17, 55.0


def rendered(settings: Settings, audio: Tensor, sample_rate: int) -> Tensor:
    """Every item through its own settings, in the order of `Preset.plan`, differentiable in every one of them.

    It differs from the pedalboard where that leaves an effect out (a drive of 0 dB still bends a little here), and in
    the pitch, whose shifter is another one.

    Args:
        settings: of the network, for b items.
        audio: (b, 1, samples) float32, dry.
        sample_rate: Hz.

    Returns:
        (b, 1, samples).
    """
    knobs = {name: space.from_unit_batch(settings.units[name]) for name, space in SPACES.items()}
    sound = shifted(audio, sample_rate, semitones=knobs["pitch"]["semitones"])
    sound = equalised(settings, sound, sample_rate)
    sound = effect("compressor").differentiable(sound, sample_rate, **knobs["compressor"])
    sound = effect("distortion").differentiable(
        sound, sample_rate, drive_db=knobs["distortion"]["drive_db"]
    )
    colour_db = _COLOUR_DB * knobs["distortion"]["colour"]
    sound = effect("high_shelf").differentiable(
        sound, sample_rate, cutoff_frequency_hz=_COLOUR_HZ, gain_db=colour_db, q=0.7
    )
    return _in_room(sound, sample_rate, **knobs["reverb"])


def equalised(settings: Settings, audio: Tensor, sample_rate: int) -> Tensor:
    """The five bands alone; a band that is a mixture of types is the mixture of their sounds.

    Args:
        settings: for b items.
        audio: (b, 1, samples) float32.
        sample_rate: Hz.

    Returns:
        (b, 1, samples).
    """
    knobs = BAND.from_unit_batch(settings.band_unit)
    for band in range(settings.band_unit.shape[1]):
        hz, gain_db, q = (knobs[name][:, band] for name in BAND.names)
        given = [{"cutoff_frequency_hz": hz, "gain_db": gain_db, "q": q}] * 3 + [
            {"cutoff_frequency_hz": hz}
        ] * 2
        kinds = [
            effect(name).differentiable(audio, sample_rate, **some)
            for name, some in zip(_TWINS, given, strict=True)
        ]
        audio = (torch.stack(kinds, dim=1) * settings.type_shares[:, band, :, None, None]).sum(1)
    return audio


def shifted(audio: Tensor, sample_rate: int, *, semitones: Tensor) -> Tensor:
    """Another pitch, the same duration: two heads read a tape at another speed, each fading in and out again.

    Args:
        audio: (b, 1, samples).
        sample_rate: Hz.
        semitones: (b,); 0 returns the audio.

    Returns:
        (b, 1, samples); differentiable in both.

    Source: the rotating-head pitch shifter, Zölzer (ed.), "DAFX: Digital Audio Effects" (2nd ed., 2011), section 6.4.2.
    """
    length = _HEAD_SECONDS * sample_rate
    time = torch.arange(audio.shape[-1], dtype=audio.dtype, device=audio.device)
    turned = (1 - 2 ** (semitones / 12))[:, None] * time / length
    out = torch.zeros_like(audio[:, 0])
    for start in (0.0, 0.5):
        phase = turned + start
        phase = phase - phase.detach().floor()
        at = time - length * (phase - 0.5)  # the middle of a head's way is now
        out = out + torch.sin(math.pi * phase).square() * _read(audio[:, 0], at)
    return out[:, None]


def _read(tape: Tensor, at: Tensor) -> Tensor:
    """(b, t) values of a tape between its samples, by straight lines; nothing beyond its ends."""
    before = at.detach().floor()
    padded = functional.pad(tape, (1, 2))
    index = (before.long() + 1).clamp(0, tape.shape[1] + 1)
    low, high = padded.gather(1, index), padded.gather(1, index + 1)
    return low + (at - before) * (high - low)


def _in_room(
    sound: Tensor,
    sample_rate: int,
    room_size: Tensor,
    pre_delay_ms: Tensor,
    diffusion: Tensor,
    damping: Tensor,
    wet: Tensor,
) -> Tensor:
    dry_share, share = (1 - wet)[:, None, None], (wet * (1 - diffusion))[:, None, None]
    behind = effect("delay").differentiable(
        sound, sample_rate, delay_seconds=pre_delay_ms / 1000, feedback=0.0, mix=1.0
    )
    room = (
        effect("reverb").differentiable(
            behind, sample_rate, room_size=room_size, damping=damping, mix=wet
        )
        - dry_share * behind
    )
    late = {"delay_seconds": 0.05 + pre_delay_ms / 1000, "feedback": 0.5 * room_size}
    return (
        dry_share * sound
        + room
        + share * effect("delay").differentiable(sound, sample_rate, mix=1.0, **late)
    )


def band_change_db(dry: Tensor, wet: Tensor, sample_rate: int) -> tuple[Tensor, Tensor]:
    """What became of the power in a third of an octave around each of `BANDS_HZ`.

    Args:
        dry: (b, samples).
        wet: (b, samples).
        sample_rate: Hz.

    Returns:
        (b, 40) dB, differentiable; and (b, 40) bool, where the dry sound holds anything that could change.
    """
    hz = torch.fft.rfftfreq(dry.shape[-1], 1 / sample_rate)
    bands = torch.tensor(BANDS_HZ)[:, None]
    inside = ((hz > bands / _HALF_WIDTH) & (hz < bands * _HALF_WIDTH)).to(dry)
    window = torch.hann_window(dry.shape[-1], dtype=dry.dtype)
    levels = [torch.fft.rfft(x * window).abs().square() @ inside.T + 1e-9 for x in (dry, wet)]
    before, after = (10 * level.log10() for level in levels)
    return after - before, before > before.amax(-1, keepdim=True) - _SILENT_DB
