"""Speech-like sound from seeds, without words: two generators, for two kinds of task.

The speech controller learns from `speak` (syllables between clean pauses) and `non_speech` (what a
microphone records besides), style transfer from `utterance` (a voice that flows through moving
formants).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import signal

from labkit.signal.augment import clicks, fade, hum, noise
from labkit.signal.guitar import add
from labkit.signal.seeds import generator
from labkit.signal.sources import Generated, filtered
from labkit.signal.spectra import istft, stft
from labkit.signal.units import db_to_amplitude, set_rms

# First three formants of ten vowels of adult men in Hz: Peterson and Barney 1952, table II.
# fmt: off
_VOWELS_HZ = (
    (270, 2290, 3010), (390, 1990, 2550), (530, 1840, 2480), (660, 1720, 2410), (730, 1090, 2440),
    (570, 840, 2410), (440, 1020, 2240), (300, 870, 2240), (640, 1190, 2390), (490, 1350, 1690),
)
# fmt: on
# Middle of the hiss of four fricatives, as a man makes them, and its width in octaves.
_HISSES = ((6500.0, 0.8), (3500.0, 0.7), (5000.0, 2.0), (1800.0, 1.2))
_FRAME_SECONDS = 0.006
_SPEECH_DBFS = -22.0
_FLOOR_DBFS = -72.0  # what the quietest of rooms leaves, so that pauses have a spectrum


def _rms(audio: NDArray) -> float:
    return float(np.sqrt(np.mean(np.square(audio)))) + 1e-9


# Syllables with clean pauses


@dataclass(frozen=True)
class Speaker:
    """A voice of `speak`."""

    pitch_hz: float
    tract: float  # length of the vocal tract relative to a man's; formants are divided by it
    breathiness: float  # share of noise in the voice, 0..1
    rate_hz: float  # syllables a second

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Speaker":
        """A random voice, from deep to a child's."""
        pitch_hz = float(np.exp(rng.uniform(np.log(85), np.log(270))))
        tract = 1.25 - 0.25 * np.log2(pitch_hz / 60) + rng.normal(0, 0.06)
        breathiness, rate_hz = float(rng.uniform(0.02, 0.25)), float(rng.uniform(3.0, 6.0))
        return cls(pitch_hz, float(np.clip(tract, 0.65, 1.2)), breathiness, rate_hz)


def speak(
    rng: np.random.Generator, speaker: Speaker, *, seconds: float, sample_rate: int
) -> np.ndarray:
    """Syllables in groups with pauses: float32 (1, samples), for 0.5 s and 16 kHz or more.

    -22 dBFS RMS over speech and pauses, on a floor of -72 dBFS.
    """
    if seconds < 0.5 or sample_rate < 16_000:
        raise ValueError(f"need 0.5 s and 16000 Hz at least, got {seconds} and {sample_rate}")
    samples = round(seconds * sample_rate)
    out = np.zeros(samples, np.float32)
    place = float(rng.uniform(-0.2, 0.3)) if seconds > 1 else 0.0
    while place < seconds - 0.1:
        for _ in range(int(rng.integers(2, 7))):
            length = float(np.clip(rng.lognormal(0, 0.25) / speaker.rate_hz, 0.08, 0.4))
            add(out, _syllable(rng, speaker, length, sample_rate), round(place * sample_rate))
            place += length * 0.9
        place += float(rng.uniform(0.2, 0.9))
    out = set_rms(out[None], _SPEECH_DBFS)
    floor = db_to_amplitude(_FLOOR_DBFS) * noise(rng, samples, pink=False)
    return (out + floor).astype(np.float32)


def _syllable(
    rng: np.random.Generator, speaker: Speaker, seconds: float, sample_rate: int
) -> np.ndarray:
    """A vowel, half of them after a hissed consonant."""
    samples = round(seconds * sample_rate)
    out = np.zeros(samples, np.float32)
    n_hiss = round(samples * rng.uniform(0.15, 0.45)) if rng.random() < 0.5 else 0
    if n_hiss:
        low_hz = float(rng.uniform(1500, 4500))
        edges_hz = [low_hz, min(2.2 * low_hz, 0.45 * sample_rate)]
        hiss = filtered(noise(rng, n_hiss, pink=False), 2, edges_hz, "bandpass", sample_rate)[None]
        out[:n_hiss] = fade(hiss, start=n_hiss // 4, end=n_hiss // 4)[0]
    voiced = _vowel(rng, speaker, samples - n_hiss // 2, sample_rate)
    out[n_hiss // 2 :] += voiced * np.float32(rng.uniform(2.0, 5.0))
    loudness = db_to_amplitude(rng.normal(0, 4.0))
    return out * np.float32(0.1 * loudness)


def _vowel(
    rng: np.random.Generator, speaker: Speaker, samples: int, sample_rate: int
) -> np.ndarray:
    """Glottal pulses and breath through four resonators, with fades."""
    bend = np.interp(np.linspace(0, 1, samples), (0, 0.5, 1), rng.normal((0.03, 0.05, -0.05), 0.06))
    phase = np.cumsum(speaker.pitch_hz * (1 + bend)) / sample_rate
    pulses = np.diff(np.floor(phase), prepend=0.0).astype(np.float32)
    breath = speaker.breathiness * 0.3 * noise(rng, samples, pink=False)
    out = signal.lfilter([1.0], [1.0, -0.96], pulses) + breath
    formants = (*_VOWELS_HZ[int(rng.integers(8))], 3500)  # the first eight vowels
    for centre_hz, width_hz in zip(formants, (80.0, 110.0, 160.0, 250.0), strict=True):
        centre_hz = min(centre_hz / speaker.tract, 0.45 * sample_rate)
        radius = np.exp(-np.pi * width_hz / sample_rate)
        a = [1.0, -2 * radius * np.cos(2 * np.pi * centre_hz / sample_rate), radius**2]
        out = signal.lfilter([float(sum(a))], a, out)
    out = np.diff(out, prepend=out[:1]).astype(np.float32)
    out = (out / (out.std() + 1e-9))[None]
    return fade(out, start=round(0.2 * samples), end=round(0.35 * samples))[0]


def pauses(audio: np.ndarray, sample_rate: int) -> list[tuple[int, int]]:
    """(start, stop) of each 0.12 s or more that lie 30 dB below the recording's level."""
    hop = max(1, sample_rate // 100)
    frames = audio[0, : audio.shape[1] // hop * hop].reshape(-1, hop)
    power = np.convolve((frames**2).mean(1), np.full(3, 1 / 3), mode="same")
    quiet = np.concatenate([[False], power < 1e-3 * (frames**2).mean(), [False]])
    edges = np.flatnonzero(np.diff(quiet.astype(int))).reshape(-1, 2) * hop
    return [(int(a), int(b)) for a, b in edges if b - a >= 0.12 * sample_rate]


def non_speech(rng: np.random.Generator, audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """What disturbs a recording (1, samples): breaths and clicks in its pauses, a room, some hum.

    The room is 38 to 18 dB below the speech, breaths 26 to 8.
    """
    samples = audio.shape[1]
    level = float(np.sqrt(np.mean(audio**2)))
    out = noise(rng, samples, pink=bool(rng.random() < 0.6))
    out *= np.float32(level * db_to_amplitude(rng.uniform(-38, -18)))
    if rng.random() < 0.3:
        amplitudes = level * db_to_amplitude(rng.uniform(-50, -32)) / np.arange(1, 6)
        mains_hz = float(rng.choice([50.0, 60.0]))
        out += hum(samples, sample_rate, mains_hz=mains_hz, amplitudes=amplitudes)
    for start, stop in pauses(audio, sample_rate):
        if rng.random() < 0.6:
            add(out, _breath(rng, stop - start, sample_rate) * level, start)
        if rng.random() < 0.4:
            n = min(stop - start, sample_rate // 20)
            tick = clicks(rng, n, count=1)
            tick *= np.float32(level * db_to_amplitude(rng.uniform(-6, 12)))
            add(out, tick, start + int(rng.integers(0, max(1, stop - start - n))))
    return out[None].astype(np.float32)


def _breath(rng: np.random.Generator, most_samples: int, sample_rate: int) -> np.ndarray:
    samples = min(most_samples, round(rng.uniform(0.12, 0.45) * sample_rate))
    edges_hz = [float(rng.uniform(300, 900)), float(rng.uniform(2500, 7000))]
    air = filtered(noise(rng, samples, pink=False), 1, edges_hz, "bandpass", sample_rate)
    air = air / (air.std() + 1e-9) * db_to_amplitude(rng.uniform(-26, -8))
    return fade(air[None].astype(np.float32), start=samples // 3, end=samples // 2)[0]


# A voice that flows


@dataclass(frozen=True)
class Voice:
    """A voice of `utterance`."""

    f0_hz: float
    formant_scale: float  # of all formants; 1 is a man's, some 1.17 a woman's
    tilt_db: float  # of the voice per octave above 300 Hz, beside the formants
    breath_db: float  # hiss in the voice, relative to it
    seconds_per_syllable: float
    melody_octaves: float  # how far the pitch moves, standard deviation
    room_db: float  # steady noise, relative to the loudest sample

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Voice":
        """A random voice; high ones have short throats."""
        height = rng.uniform(0, 1)
        return cls(
            f0_hz=float(90 * 2.6**height * 2 ** rng.normal(0, 0.1)),
            formant_scale=float(0.92 + 0.33 * height + rng.normal(0, 0.04)),
            tilt_db=float(rng.uniform(-13, -4)),
            breath_db=float(rng.uniform(-35, -15)),
            seconds_per_syllable=float(rng.uniform(0.15, 0.28)),
            melody_octaves=float(rng.uniform(0.05, 0.2)),
            room_db=float(rng.uniform(-70, -38)),
        )


def utterance(
    rng: np.random.Generator, speaker: Voice, *, sample_rate: int, seconds: float
) -> NDArray[np.float32]:
    """Babble with pauses over a room's noise: float32 (1, samples), peak -3 dBFS.

    Source: Klatt 1980 (a source through moving resonances). Ours multiplies short-time spectra by
        real envelopes instead of running resonators.
    """
    samples = round(seconds * sample_rate)
    n_fft = 4 * round(sample_rate * _FRAME_SECONDS)
    hop = n_fft // 4
    tracks = _tracks(rng, speaker, 1 + samples // hop, hop / sample_rate)
    hz = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    throat, breath_level = _throat(hz, tracks, speaker), db_to_amplitude(speaker.breath_db)
    voiced = _shaped(_pulses(rng, speaker, samples, sample_rate), throat, hop)
    hiss = _shaped(rng.standard_normal(samples), _hiss_band(hz, tracks), hop)
    breath = _shaped(rng.standard_normal(samples), throat * breath_level, hop)
    voiced = voiced / _rms(voiced) + breath / _rms(breath) * breath_level
    mix = voiced + hiss / _rms(hiss) * 0.25
    room = noise(rng, samples, pink=True)
    mix += room / _rms(room) * np.abs(mix).max() * db_to_amplitude(speaker.room_db)
    return (mix * (0.708 / np.abs(mix).max())).astype(np.float32)[None]


def _tracks(
    rng: np.random.Generator, speaker: Voice, n_frames: int, frame_seconds: float
) -> NDArray:
    """What moves, (frames, 9): phone after phone, smoothed as a mouth moves."""
    rows: list[tuple[float, ...]] = []
    while len(rows) < n_frames + 8:
        for seconds, row in _phones(rng, speaker):
            rows += [row] * max(1, round(seconds / frame_seconds))
    first = int(rng.integers(0, 8))
    table = np.array(rows[first : first + n_frames])
    width = max(3, round(0.03 / frame_seconds))
    window = np.hanning(width + 2)[1:-1] / np.hanning(width + 2).sum()
    padded = np.pad(table, ((width // 2, width - 1 - width // 2), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, window, mode="valid") for column in padded.T], axis=1)


def _phones(rng: np.random.Generator, speaker: Voice) -> list[tuple[float, tuple[float, ...]]]:
    """The phones of a syllable; now and then a pause after it.

    Each is (seconds, (five formants, voice, hiss, the hiss's middle in Hz and its octaves)).
    """
    scale = speaker.formant_scale
    formants = np.array([*_VOWELS_HZ[rng.integers(len(_VOWELS_HZ))], 3500.0, 4500.0]) * scale
    hiss_hz, octaves = _HISSES[rng.integers(len(_HISSES))]
    hiss_hz *= scale * rng.uniform(0.85, 1.15)
    unit, loud = speaker.seconds_per_syllable, float(db_to_amplitude(rng.normal(0, 3)))

    def phone(voice: float, hiss: float) -> tuple[float, ...]:
        return (*formants, voice, hiss, hiss_hz, octaves)

    kind = rng.choice(4, p=(0.35, 0.2, 0.3, 0.15))
    if kind == 0:  # a fricative
        buzz, hiss = 0.3 * loud * rng.integers(2), loud * rng.uniform(0.3, 1)
        consonant = [(0.4 * unit, phone(buzz, hiss))]
    elif kind == 1:  # a nasal
        consonant = [(0.35 * unit, (260 * scale, *phone(0.3 * loud, 0.0)[1:]))]
    elif kind == 2:  # a stop: closed, then a burst
        consonant = [(0.3 * unit, phone(0.02, 0.0)), (0.012, phone(0.05, loud))]
    else:
        consonant = []
    paused = rng.random() < 0.2
    pause = [(float(rng.uniform(0.1, 0.6)), phone(0.0, 0.0))] if paused else []
    return [*consonant, (unit * rng.uniform(0.4, 1.1), phone(loud, 0.0)), *pause]


def _pulses(rng: np.random.Generator, speaker: Voice, samples: int, sample_rate: int) -> NDArray:
    """One sample for each closing of the vocal folds, at a pitch that wanders."""
    n_knots = max(2, round(samples / sample_rate / 0.25) + 1)
    knots = rng.normal(0, speaker.melody_octaves, n_knots)
    octaves = np.interp(np.linspace(0, n_knots - 1, samples), np.arange(n_knots), knots)
    jitter = np.repeat(rng.normal(0, 0.01, samples // 64 + 1), 64)[:samples]
    phase = np.cumsum(speaker.f0_hz * 2 ** (octaves + jitter)) / sample_rate
    return np.diff(np.floor(phase), prepend=0.0)


def _throat(hz: NDArray, tracks: NDArray, speaker: Voice) -> NDArray:
    """(frames, bins): resonances, one after the other, and the tilt of the voice."""
    centre_hz, bandwidth_hz = tracks[:, None, :5], np.array([70.0, 110, 170, 250, 300])
    at_hz = hz[None, :, None]
    gains = centre_hz**2 / np.sqrt((centre_hz**2 - at_hz**2) ** 2 + (at_hz * bandwidth_hz) ** 2)
    tilt = (1 + (hz / 300.0) ** 2) ** (speaker.tilt_db / (20 * np.log10(4)))
    high = np.minimum(1, hz / 60.0) ** 2
    return gains.prod(-1) * (tilt * high * (1 + hz / 2000.0))[None] * tracks[:, 5:6]


def _hiss_band(hz: NDArray, tracks: NDArray) -> NDArray:
    """(frames, bins): the bell of the hiss."""
    octaves = np.log2(np.maximum(hz, 50.0)[None] / tracks[:, 7:8])
    away = octaves / tracks[:, 8:9]
    return np.exp(-(away**2)) * tracks[:, 6:7]


def _shaped(audio: NDArray, envelope: NDArray, hop: int) -> NDArray:
    """The sound with each short-time spectrum multiplied by a row of `envelope`."""
    spectrum = stft(torch.from_numpy(audio), n_fft=4 * hop, hop_length=hop)
    shape = torch.from_numpy(envelope.T[:, : spectrum.shape[-1]].copy())
    return istft(spectrum * shape, hop_length=hop, length=len(audio)).numpy()


class GeneratedSpeech(Generated):
    """Babble of synthetic voices; a group is one voice."""

    prefix = "voice"

    def _render(self, rng: np.random.Generator, index: int) -> np.ndarray:
        speaker = Voice.draw(generator(self.seed, "speaker", index))
        return utterance(rng, speaker, sample_rate=self.sample_rate, seconds=self.seconds)
