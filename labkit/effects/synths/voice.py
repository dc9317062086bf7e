"""A small subtractive synthesizer in torch: a batch of voices at once, with gradients to every knob.

Two oscillators between sine, saw and square, noise, a resonant low-pass whose cutoff follows an envelope, an amplitude
envelope. It needs no synthesizer installed and runs where torch runs. Axis letters: b voices, n samples.
"""

import json
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from labkit.effects.synths.hosted import Hosted
from labkit.effects.synths.spec import SAMPLE_RATE, Knob, SynthSpec, Values

N_HARMONICS = 64
_BLOCK = 64

VOICE = SynthSpec(
    "voice",
    (
        Knob("osc_1_level", 0.2, 1.0, point=0.0, point_share=0.2),
        Knob("osc_1_shape", 0.0, 2.0, gate="osc_1_level"),
        Knob("osc_2_level", 0.2, 1.0, point=0.0, point_share=0.2),
        Knob("osc_2_shape", 0.0, 2.0, gate="osc_2_level"),
        Knob("osc_2_semitones", -12.2, 12.2, gate="osc_2_level"),
        Knob("noise_level", 0.02, 0.5, point=0.0, point_share=0.5),
        Knob("cutoff_semitones", 40.0, 130.0),
        Knob("resonance", 0.0, 0.9),
        Knob("envelope_semitones", 6.0, 60.0, point=0.0, point_share=0.3),
        Knob("attack_log2_s", -8.0, -1.0),
        Knob("decay_log2_s", -5.0, 1.0),
        Knob("sustain", 0.0, 1.0),
        Knob("release_log2_s", -6.0, 0.0),
        Knob("note_pitch", 36.0, 84.0, steps=48),
        Knob("note_seconds", 0.15, 1.0),
    ),
)
SETS = {VOICE.name: VOICE}
_PLACE = {name: k for k, name in enumerate(VOICE.names)}


def voice_values(patches: Sequence[Values]) -> Tensor:
    """Patches of `VOICE` as (b, 15) in their own units, the order of its names."""
    return torch.tensor([[float(patch[name]) for name in VOICE.names] for patch in patches])


def render_voices(
    values: Tensor,
    sample_rate: int,
    *,
    seconds: float,
    rng: torch.Generator | None = None,
    phases: Tensor | None = None,
) -> Tensor:
    """Play a batch of patches.

    Args:
        values: (b, 15), see `voice_values`; may require gradients.
        sample_rate: Hz.
        seconds: length of the sound, > 0.
        rng: of the noise and the oscillators' phases, on the CPU; the same ones every time when None.
        phases: (b, 2) in 0..1, where the oscillators start instead.

    Returns:
        (b, 1, n), differentiable in every value. Harmonics above half the sample rate are left out, so nothing aliases.

    Raises:
        ValueError: if `values` is not (b, 15), or there is no time.

    Source: additive oscillators; the filter is the analogue two-pole low-pass's magnitude on every harmonic and on the
        noise's spectrum, block by block, as in differentiable synthesis by filtering in frequency (Engel et al. 2020).
    """
    if values.ndim != 2 or values.shape[1] != len(VOICE.fields):
        raise ValueError(f"values must be (batch, {len(VOICE.fields)}), got {tuple(values.shape)}")
    if not seconds > 0:
        raise ValueError(f"seconds must be positive, got {seconds}")
    knob = {name: values[:, k, None] for name, k in _PLACE.items()}
    rng = rng or torch.Generator().manual_seed(0)
    n = round(seconds * sample_rate)
    time = torch.arange(n, device=values.device, dtype=values.dtype)[None] / sample_rate
    envelope = _envelope(knob, time)
    semitones = knob["cutoff_semitones"] + knob["envelope_semitones"] * envelope[:, ::_BLOCK]
    cutoff_hz = 440.0 * 2 ** ((semitones - 69) / 12)
    drawn = torch.rand(len(values), 2, generator=rng)
    phases = (drawn if phases is None else phases).to(values)
    tones = sum(
        _tone(knob, k, cutoff_hz, time, sample_rate, phases[:, k - 1, None]) for k in (1, 2)
    )
    mixed = (tones + knob["noise_level"] * _noise(knob, cutoff_hz, n, sample_rate, rng)) * envelope
    return (0.3 * mixed)[:, None]


def _envelope(knob: dict[str, Tensor], time: Tensor) -> Tensor:
    """(b, n): a line up, an exponential down to the sustain, an exponential out from where the note ends."""
    attack, decay, release = (
        2 ** knob[f"{name}_log2_s"] for name in ("attack", "decay", "release")
    )

    def held(at: Tensor) -> Tensor:
        falling = torch.exp(-4 * (at - attack).clamp(min=0) / decay)
        return (at / attack).clamp(max=1) * (knob["sustain"] + (1 - knob["sustain"]) * falling)

    end = knob["note_seconds"]
    over = torch.exp(-4 * (time - end).clamp(min=0) / release)
    return held(torch.minimum(time, end)) * over


def _low_pass(hz: Tensor, cutoff_hz: Tensor, resonance: Tensor) -> Tensor:
    """Magnitude of a two-pole low-pass; Q from .7 to 7."""
    q, ratio = 0.7 * 10**resonance, (hz / cutoff_hz).square()
    return 1 / torch.sqrt((1 - ratio).square() + ratio / q.square() + 1e-9)


def _tone(
    knob: dict[str, Tensor],
    k: int,
    cutoff_hz: Tensor,
    time: Tensor,
    sample_rate: int,
    phase: Tensor,
) -> Tensor:
    """(b, n): the harmonics of one oscillator, each as loud as wave and filter let it be."""
    shift = knob["osc_2_semitones"] if k == 2 else 0.0
    base_hz = 440.0 * 2 ** ((knob["note_pitch"] + shift - 69) / 12)
    number = torch.arange(1, N_HARMONICS + 1, device=time.device, dtype=time.dtype)
    hz = base_hz * number
    loud = _wave(knob[f"osc_{k}_shape"], number) * (hz < 0.45 * sample_rate)
    total = torch.zeros_like(time.expand(len(base_hz), -1))
    for start in range(0, N_HARMONICS, 16):  # sixteen at once: memory
        some = slice(start, start + 16)
        filtered = _low_pass(hz[:, None, some], cutoff_hz[..., None], knob["resonance"][..., None])
        amplitude = _stretched(filtered * loud[:, None, some], time.shape[1])
        turns = (base_hz * time + phase)[..., None] * number[some]
        total = total + (amplitude * torch.sin(2 * math.pi * turns)).sum(-1)
    return knob[f"osc_{k}_level"] * total


def _wave(shape: Tensor, number: Tensor) -> Tensor:
    """(b, harmonics): sine at 0, saw at 1, square at 2, mixtures between."""
    sine, saw = (number == 1).to(shape), 1 / number
    square = (number % 2) / number
    return torch.where(shape < 1, sine + shape * (saw - sine), saw + (shape - 1) * (square - saw))


def _stretched(blocks: Tensor, n: int) -> Tensor:
    """(b, blocks, h) -> (b, n, h), straight lines between the blocks' beginnings."""
    wide = torch.nn.functional.interpolate(
        torch.cat([blocks, blocks[:, -1:]], 1).transpose(1, 2),
        scale_factor=_BLOCK,
        mode="linear",
        align_corners=False,
    )
    return wide[..., _BLOCK // 2 : _BLOCK // 2 + n].transpose(1, 2)


def _noise(
    knob: dict[str, Tensor], cutoff_hz: Tensor, n: int, sample_rate: int, rng: torch.Generator
) -> Tensor:
    """(b, n): white noise through the filter, frame by frame, overlapped and added."""
    size = 8 * _BLOCK
    window = torch.hann_window(size, dtype=cutoff_hz.dtype, device=cutoff_hz.device)
    white = torch.rand(len(cutoff_hz), n, generator=rng).to(cutoff_hz) * 2 - 1
    frames = torch.stft(
        white, size, size // 4, window=window, return_complex=True, pad_mode="constant"
    )
    hz = torch.arange(size // 2 + 1, device=white.device) * sample_rate / size
    places = (
        torch.linspace(0, cutoff_hz.shape[1] - 1, frames.shape[-1], device=white.device)
        .round()
        .long()
    )
    shape = _low_pass(hz[None, :, None], cutoff_hz[:, None, places], knob["resonance"][..., None])
    return torch.istft(frames * shape, size, size // 4, window=window, length=n)


class Voice(Hosted):
    """The synthesizer with the face of `Vital`, in this process: it is ours and does not crash. A context manager.

    Args:
        spec: one of `SETS`.
        device: where it plays; a GPU when None and there is one.

    Raises:
        ValueError: for another set.
    """

    def __init__(
        self, spec: SynthSpec = VOICE, *, device: str | torch.device | None = None
    ) -> None:
        if SETS.get(spec.name) != spec:
            raise ValueError(f"spec must be one of {', '.join(SETS)}, got {spec.name}")
        self.spec = spec
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))

    @torch.no_grad()
    def render(
        self,
        values: Values,
        seconds: float = 2.0,
        phases: np.ndarray | None = None,
        volume_db: float = 0.0,
    ) -> np.ndarray:
        """The note of a patch.

        Args:
            values: of `spec`.
            seconds: length of the sound, > 0.
            phases: two or more in 0..1, where the oscillators start; some fixed ones when None.
            volume_db: relative to the voice's own.

        Returns:
            (2, samples) float32 at 44.1 kHz, both channels alike. The noise is the same every time.

        Raises:
            ValueError: if `values` is no patch of the set, or there is no time.
        """
        self._check(values, seconds)
        starts = None if phases is None else torch.as_tensor(phases[None, :2])
        sound = render_voices(
            voice_values([values]).to(self._device), SAMPLE_RATE, seconds=seconds, phases=starts
        )
        return (sound[0].cpu().numpy() * np.float32(10 ** (volume_db / 20))).repeat(2, 0)

    def preset(self, values: Values, name: str = "labkit", volume_db: float = 0.0) -> str:
        """The patch as JSON, which `play` opens: no DAW knows this synthesizer. Raises ValueError as `render`."""
        self.spec.check(values)
        return json.dumps(
            {"set": self.spec.name, "name": name, "values": dict(values), "volume_db": volume_db},
            indent=1,
        )

    def play(self, preset: str, values: Values, seconds: float = 2.0) -> np.ndarray:
        """A preset's text at pitch and length of `values`: (2, samples) float32.

        Raises:
            ValueError: if it is no preset of this synthesizer, or there is no time.
        """
        note = {name: float(values[name]) for name in ("note_pitch", "note_seconds")}
        try:
            held = json.loads(preset)
            patch, volume_db = held["values"] | note, float(held["volume_db"])
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"not a preset of {self.spec.name}: {error}") from error
        return self.render(patch, seconds, volume_db=volume_db)

    def first_note(
        self, values: Values, seconds: float = 2.0, volume_db: float = 0.0
    ) -> np.ndarray:
        """The note as whoever opens the preset hears it. Arguments, result and errors as `render`."""
        return self.render(values, seconds, volume_db=volume_db)

    def restart(self) -> None:
        """Nothing to forget: no note is heard in the next one."""

    def close(self) -> None:
        """Nothing to end."""
