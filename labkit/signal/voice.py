"""Speech-like sound from seeds, without words: syllables of a voice with pauses, and what a microphone hears besides.

Nobody would take it for a person. It has what a gate must tell apart: voiced and hissed syllables over 20 dB, pauses,
and in them breaths, clicks of the mouth, and a room. So its syllables stand alone and its pauses are known to be clean,
unlike those of `labkit.signal.speech`, whose voices flow over a room of their own. Merging the two would change what
the seeds make, and with it the clips that shipped networks were trained and are scored on.
"""

from dataclasses import dataclass

import numpy as np
from scipy import signal

from labkit.signal.augment import clicks, fade, hum, noise
from labkit.signal.speech import VOWELS_HZ
from labkit.signal.units import set_rms

_VOWELS_HZ = VOWELS_HZ[:8]
_BANDWIDTHS_HZ = (80.0, 110.0, 160.0, 250.0)
_SPEECH_DBFS = -22.0
# What the quietest of rooms leaves, so that pauses have a spectrum.
_FLOOR_DBFS = -72.0


@dataclass(frozen=True)
class Speaker:
    """A voice.

    Attributes:
        pitch_hz: mean of the voice's pitch.
        tract: length of the vocal tract relative to a man's; formants are divided by it.
        breathiness: share of noise in the voice, 0..1.
        rate_hz: syllables a second.
    """

    pitch_hz: float
    tract: float
    breathiness: float
    rate_hz: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Speaker":
        """A random voice, from deep to a child's."""
        pitch_hz = float(np.exp(rng.uniform(np.log(85), np.log(270))))
        tract = float(
            np.clip(1.25 - 0.25 * np.log2(pitch_hz / 60) + rng.normal(0, 0.06), 0.65, 1.2)
        )
        return cls(pitch_hz, tract, float(rng.uniform(0.02, 0.25)), float(rng.uniform(3.0, 6.0)))


def speak(
    rng: np.random.Generator, speaker: Speaker, *, seconds: float, sample_rate: int
) -> np.ndarray:
    """Syllables in groups, with pauses between them.

    Args:
        rng: the stream to draw from.
        speaker: the voice.
        seconds: length, >= 0.5.
        sample_rate: Hz, >= 16000.

    Returns:
        (1, samples) float32, -22 dBFS RMS over speech and pauses, on a floor of -72 dBFS.

    Raises:
        ValueError: for a length or rate below the least.
    """
    if seconds < 0.5 or sample_rate < 16_000:
        raise ValueError(
            f"seconds must be at least 0.5 and sample_rate 16000, got {seconds} and {sample_rate}"
        )
    samples = round(seconds * sample_rate)
    out = np.zeros(samples, np.float32)
    place = float(rng.uniform(-0.2, 0.3)) if seconds > 1 else 0.0
    while place < seconds - 0.1:
        for _ in range(int(rng.integers(2, 7))):
            length = float(np.clip(rng.lognormal(0, 0.25) / speaker.rate_hz, 0.08, 0.4))
            _add(out, _syllable(rng, speaker, length, sample_rate), round(place * sample_rate))
            place += length * 0.9
        place += float(rng.uniform(0.2, 0.9))
    out = set_rms(out[None], _SPEECH_DBFS)
    return (out + 10 ** (_FLOOR_DBFS / 20) * noise(rng, samples, pink=False)).astype(np.float32)


def _syllable(
    rng: np.random.Generator, speaker: Speaker, seconds: float, sample_rate: int
) -> np.ndarray:
    samples = round(seconds * sample_rate)
    hiss = np.zeros(samples, np.float32)
    n_hiss = round(samples * rng.uniform(0.15, 0.45)) if rng.random() < 0.5 else 0
    if n_hiss:
        low_hz = float(rng.uniform(1500, 4500))
        band = signal.butter(
            2,
            [low_hz, min(2.2 * low_hz, 0.45 * sample_rate)],
            "bandpass",
            fs=sample_rate,
            output="sos",
        )
        hiss[:n_hiss] = fade(
            signal.sosfilt(band, noise(rng, n_hiss, pink=False))[None],
            start=n_hiss // 4,
            end=n_hiss // 4,
        )[0]
    voiced = _vowel(rng, speaker, samples - n_hiss // 2, sample_rate)
    hiss[n_hiss // 2 :] += voiced * np.float32(rng.uniform(2.0, 5.0))
    loudness = 10 ** (rng.normal(0, 4.0) / 20)
    return hiss * np.float32(0.1 * loudness)


def _vowel(
    rng: np.random.Generator, speaker: Speaker, samples: int, sample_rate: int
) -> np.ndarray:
    bend = np.interp(np.linspace(0, 1, samples), (0, 0.5, 1), rng.normal((0.03, 0.05, -0.05), 0.06))
    phase = np.cumsum(speaker.pitch_hz * (1 + bend)) / sample_rate
    pulses = np.diff(np.floor(phase), prepend=0.0).astype(np.float32)
    source = signal.lfilter([1.0], [1.0, -0.96], pulses) + speaker.breathiness * 0.3 * noise(
        rng, samples, pink=False
    )
    out = source
    formants = (*_VOWELS_HZ[int(rng.integers(len(_VOWELS_HZ)))], 3500)
    for centre_hz, width_hz in zip(formants, _BANDWIDTHS_HZ, strict=True):
        b, a = _resonator(min(centre_hz / speaker.tract, 0.45 * sample_rate), width_hz, sample_rate)
        out = signal.lfilter(b, a, out)
    out = np.diff(out, prepend=out[:1]).astype(np.float32)
    return fade(
        (out / (out.std() + 1e-9))[None], start=round(0.2 * samples), end=round(0.35 * samples)
    )[0]


def _resonator(
    centre_hz: float, width_hz: float, sample_rate: int
) -> tuple[list[float], list[float]]:
    radius = np.exp(-np.pi * width_hz / sample_rate)
    a = [1.0, -2 * radius * np.cos(2 * np.pi * centre_hz / sample_rate), radius**2]
    return [float(sum(a))], a


def _add(out: np.ndarray, part: np.ndarray, start: int) -> None:
    first, stop = max(start, 0), min(start + len(part), len(out))
    if stop > first:
        out[first:stop] += part[first - start : stop - start]


def pauses(
    audio: np.ndarray, sample_rate: int, *, shortest_s: float = 0.12
) -> list[tuple[int, int]]:
    """Where a voice is silent: 30 dB below the recording's own level for a while.

    Args:
        audio: (1, samples).
        sample_rate: Hz.
        shortest_s: length from which a gap is a pause.

    Returns:
        (start, stop) in samples of each pause.
    """
    hop = max(1, sample_rate // 100)
    frames = audio[0, : audio.shape[1] // hop * hop].reshape(-1, hop)
    power = np.convolve((frames**2).mean(1), np.full(3, 1 / 3), mode="same")
    quiet = np.concatenate([[False], power < 1e-3 * (frames**2).mean(), [False]])
    edges = np.flatnonzero(np.diff(quiet.astype(int))).reshape(-1, 2) * hop
    return [(int(a), int(b)) for a, b in edges if b - a >= shortest_s * sample_rate]


def non_speech(rng: np.random.Generator, audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """What should not be in a recording of speech: breaths and clicks in its pauses, a room, sometimes hum.

    Args:
        rng: the stream to draw from.
        audio: (1, samples), the clean speech.
        sample_rate: Hz.

    Returns:
        (1, samples) float32, to be added; the room lies 38 to 18 dB below the speech, breaths 26 to 8 dB.
    """
    samples, level = audio.shape[1], float(np.sqrt(np.mean(audio**2)))
    out = noise(rng, samples, pink=bool(rng.random() < 0.6)) * np.float32(
        level * 10 ** (rng.uniform(-38, -18) / 20)
    )
    if rng.random() < 0.3:
        amplitudes = level * 10 ** (rng.uniform(-50, -32) / 20) / np.arange(1, 6)
        out += hum(
            samples, sample_rate, mains_hz=float(rng.choice([50.0, 60.0])), amplitudes=amplitudes
        )
    for start, stop in pauses(audio, sample_rate):
        if rng.random() < 0.6:
            _add(out, _breath(rng, stop - start, sample_rate) * level, start)
        if rng.random() < 0.4:
            n = min(stop - start, sample_rate // 20)
            tick = clicks(rng, n, count=1) * np.float32(level * 10 ** (rng.uniform(-6, 12) / 20))
            _add(out, tick, start + int(rng.integers(0, max(1, stop - start - n))))
    return out[None].astype(np.float32)


def _breath(rng: np.random.Generator, room: int, sample_rate: int) -> np.ndarray:
    samples = min(room, round(rng.uniform(0.12, 0.45) * sample_rate))
    low_hz = float(rng.uniform(300, 900))
    band = signal.butter(
        1, [low_hz, float(rng.uniform(2500, 7000))], "bandpass", fs=sample_rate, output="sos"
    )
    air = signal.sosfilt(band, noise(rng, samples, pink=False))
    air = air / (air.std() + 1e-9) * 10 ** (rng.uniform(-26, -8) / 20)
    return fade(air[None].astype(np.float32), start=samples // 3, end=samples // 2)[0]
