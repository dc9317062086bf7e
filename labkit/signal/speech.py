"""Speech-like sound from a seed: a voice and its hiss through moving formants; the rhythm of speech, and no words.

Style transfer learns from it: everything flows together, over a room of its own. What the speech controller learns from
is `labkit.signal.voice`. The two stay apart because shipped networks were trained on each, and their cards' scores are
taken on clips of its seeds.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from labkit.signal.augment import noise
from labkit.signal.seeds import generator
from labkit.signal.sources import Clip, check_split
from labkit.signal.spectra import istft, stft

# First three formants of ten vowels of adult men in Hz: Peterson and Barney 1952, table II.
VOWELS_HZ = (
    (270, 2290, 3010),
    (390, 1990, 2550),
    (530, 1840, 2480),
    (660, 1720, 2410),
    (730, 1090, 2440),
    (570, 840, 2410),
    (440, 1020, 2240),
    (300, 870, 2240),
    (640, 1190, 2390),
    (490, 1350, 1690),
)
_BANDWIDTHS_HZ = np.array([70.0, 110.0, 170.0, 250.0, 300.0])
# Middle of the hiss of four fricatives, as a man makes them, and its width in octaves.
_HISSES = ((6500.0, 0.8), (3500.0, 0.7), (5000.0, 2.0), (1800.0, 1.2))
_FRAME_SECONDS = 0.006


@dataclass(frozen=True)
class Speaker:
    """A voice.

    Attributes:
        f0_hz: middle pitch.
        formant_scale: of all formants; 1 is a man's, some 1.17 a woman's.
        tilt_db: of the voice per octave above 300 Hz, beside the formants.
        breath_db: hiss in the voice, relative to it.
        seconds_per_syllable: pace.
        melody_octaves: how far the pitch moves, standard deviation.
        room_db: steady noise, relative to the loudest frames.
    """

    f0_hz: float
    formant_scale: float
    tilt_db: float
    breath_db: float
    seconds_per_syllable: float
    melody_octaves: float
    room_db: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Speaker":
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


@dataclass
class _Tracks:
    """What moves, frame by frame: (frames,) each; formants (frames, 5)."""

    formants_hz: NDArray
    voice: NDArray
    hiss: NDArray
    hiss_hz: NDArray
    hiss_octaves: NDArray


def utterance(
    rng: np.random.Generator,
    *,
    speaker: Speaker | None = None,
    sample_rate: int = 22_050,
    seconds: float = 2.0,
) -> NDArray[np.float32]:
    """Babble: syllables of vowels, fricatives, nasals and stops, with pauses.

    Args:
        rng: source of every choice; the same stream gives the same samples.
        speaker: the voice; drawn from `rng` by default.
        sample_rate: Hz, >= 8000.
        seconds: length, > 0.

    Returns:
        `(1, samples)` float32, peak -3 dBFS, over the noise of a room.

    Raises:
        ValueError: if `sample_rate` or `seconds` is out of range.

    Source: Klatt 1980 (a source through moving resonances). Ours multiplies short-time spectra, with no phase of
        their own, instead of running resonators.
    """
    samples = round(seconds * sample_rate)
    if sample_rate < 8000 or samples < 1:
        raise ValueError(
            f"sample_rate must be at least 8000 Hz and seconds > 0, got {sample_rate} and {seconds}"
        )
    speaker = Speaker.draw(rng) if speaker is None else speaker
    n_fft = 4 * round(sample_rate * _FRAME_SECONDS)
    hop = n_fft // 4
    n_frames = 1 + samples // hop
    tracks = _tracks(rng, speaker, n_frames, hop / sample_rate)
    hz = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    voiced = _shaped(_pulses(rng, speaker, samples, sample_rate), _throat(hz, tracks, speaker), hop)
    hiss = _shaped(rng.standard_normal(samples), _band(hz, tracks), hop)
    breath = _shaped(
        rng.standard_normal(samples),
        _throat(hz, tracks, speaker) * 10 ** (speaker.breath_db / 20),
        hop,
    )
    voiced = voiced / _rms(voiced) + breath / _rms(breath) * 10 ** (speaker.breath_db / 20)
    mix = voiced + hiss / _rms(hiss) * 0.25
    room = noise(rng, samples, pink=True)
    mix += room / _rms(room) * np.abs(mix).max() * 10 ** (speaker.room_db / 20)
    return (mix * (0.708 / np.abs(mix).max())).astype(np.float32)[None]


def _rms(audio: NDArray) -> float:
    return float(np.sqrt(np.mean(np.square(audio)))) + 1e-9


def _tracks(
    rng: np.random.Generator, speaker: Speaker, n_frames: int, frame_seconds: float
) -> _Tracks:
    """Phone after phone, then smoothed as a mouth moves."""
    rows: list[tuple[float, ...]] = []
    while len(rows) < n_frames + 8:
        for seconds, row in _syllable(rng, speaker):
            rows += [row] * max(1, round(seconds / frame_seconds))
    first = int(rng.integers(0, 8))
    table = np.array(rows[first : first + n_frames])
    width = max(3, round(0.03 / frame_seconds))
    window = np.hanning(width + 2)[1:-1] / np.hanning(width + 2).sum()
    padded = np.pad(table, ((width // 2, width - 1 - width // 2), (0, 0)), mode="edge")
    smooth = np.stack([np.convolve(column, window, mode="valid") for column in padded.T], axis=1)
    return _Tracks(smooth[:, :5], smooth[:, 5], smooth[:, 6], smooth[:, 7], smooth[:, 8])


def _syllable(rng: np.random.Generator, speaker: Speaker) -> list[tuple[float, tuple[float, ...]]]:
    """(seconds, five formants, voice, hiss, its middle and its octaves) of each phone; now and then a pause."""
    scale = speaker.formant_scale
    formants = np.array([*VOWELS_HZ[rng.integers(len(VOWELS_HZ))], 3500.0, 4500.0]) * scale
    hiss_hz, octaves = _HISSES[rng.integers(len(_HISSES))]
    hiss_hz *= scale * rng.uniform(0.85, 1.15)
    unit, loud = speaker.seconds_per_syllable, float(10 ** (rng.normal(0, 3) / 20))
    vowel = (*formants, loud, 0.0, hiss_hz, octaves)
    kind = rng.choice(4, p=(0.35, 0.2, 0.3, 0.15))  # fricative, nasal, stop, none
    if kind == 0:
        buzz, hiss = 0.3 * loud * rng.integers(2), loud * rng.uniform(0.3, 1)
        consonant = [(0.4 * unit, (*formants, buzz, hiss, hiss_hz, octaves))]
    elif kind == 1:
        murmur = (260 * scale, *formants[1:])
        consonant = [(0.35 * unit, (*murmur, 0.3 * loud, 0.0, hiss_hz, octaves))]
    elif kind == 2:
        closed, burst = (
            (*formants, 0.02, 0.0, hiss_hz, octaves),
            (*formants, 0.05, loud, hiss_hz, octaves),
        )
        consonant = [(0.3 * unit, closed), (0.012, burst)]
    else:
        consonant = []
    pause = (
        [(float(rng.uniform(0.1, 0.6)), (*formants, 0.0, 0.0, hiss_hz, octaves))]
        if rng.random() < 0.2
        else []
    )
    return [*consonant, (unit * rng.uniform(0.4, 1.1), vowel), *pause]


def _pulses(rng: np.random.Generator, speaker: Speaker, samples: int, sample_rate: int) -> NDArray:
    """One sample for each closing of the folds, at a pitch that wanders and sinks."""
    n_knots = max(2, round(samples / sample_rate / 0.25) + 1)
    knots = rng.normal(0, speaker.melody_octaves, n_knots)
    octaves = np.interp(np.linspace(0, n_knots - 1, samples), np.arange(n_knots), knots)
    jitter = np.repeat(rng.normal(0, 0.01, samples // 64 + 1), 64)[:samples]
    phase = np.cumsum(speaker.f0_hz * 2 ** (octaves + jitter)) / sample_rate
    return np.diff(np.floor(phase), prepend=0.0)


def _throat(hz: NDArray, tracks: _Tracks, speaker: Speaker) -> NDArray:
    """(frames, bins): resonances, one after the other, and the tilt of the voice."""
    f, bandwidth = tracks.formants_hz[:, None, :], _BANDWIDTHS_HZ
    at = hz[None, :, None]
    gains = f**2 / np.sqrt((f**2 - at**2) ** 2 + (at * bandwidth) ** 2)
    tilt = (1 + (hz / 300.0) ** 2) ** (speaker.tilt_db / (20 * np.log10(4)))
    high = np.minimum(1, hz / 60.0) ** 2
    return gains.prod(-1) * (tilt * high * (1 + hz / 2000.0))[None] * tracks.voice[:, None]


def _band(hz: NDArray, tracks: _Tracks) -> NDArray:
    """(frames, bins): the bell of the hiss."""
    away = (
        np.log2(np.maximum(hz, 50.0)[None] / tracks.hiss_hz[:, None]) / tracks.hiss_octaves[:, None]
    )
    return np.exp(-(away**2)) * tracks.hiss[:, None]


def _shaped(audio: NDArray, envelope: NDArray, hop: int) -> NDArray:
    """The sound with each short-time spectrum multiplied by a row of `envelope`."""
    spectrum = stft(torch.from_numpy(audio), n_fft=4 * hop, hop_length=hop)
    shape = torch.from_numpy(envelope.T[:, : spectrum.shape[-1]].copy())
    return istft(spectrum * shape, hop_length=hop, length=len(audio)).numpy()


class GeneratedSpeech:
    """Babble of synthetic voices; a group is one voice.

    Args:
        seed: the seed of the voices.
        seconds: length of a clip, > 0.
        sample_rate: Hz, >= 8000.
        voices: how many in train, validation and test.

    Raises:
        ValueError: bad `seconds` or `voices`.
    """

    kind = "generated"

    def __init__(
        self,
        *,
        seed: int = 0,
        seconds: float = 2.5,
        sample_rate: int = 22_050,
        voices: tuple[int, int, int] = (4_000, 200, 400),
    ) -> None:
        if not seconds > 0 or len(voices) != 3 or min(voices) < 1:
            raise ValueError(
                f"seconds must be above 0 and voices three counts, got {seconds} and {voices}"
            )
        self.seed, self.seconds, self.sample_rate = seed, seconds, sample_rate
        edges = np.cumsum((0, *voices)).tolist()
        names = ("train", "validation", "test")
        self._voices = {split: range(*edges[i : i + 2]) for i, split in enumerate(names)}

    def groups(self, split: str) -> list[str]:
        """The source ids of a split, one per voice."""
        return [self._id(index) for index in self._voices[check_split(split)]]

    def clip(self, rng: np.random.Generator, split: str) -> Clip:
        """An utterance of a random voice of the split."""
        voices = self._voices[check_split(split)]
        index = voices[int(rng.integers(len(voices)))]
        speaker = Speaker.draw(generator(self.seed, "speaker", index))
        audio = utterance(rng, speaker=speaker, sample_rate=self.sample_rate, seconds=self.seconds)
        return Clip(audio, self.sample_rate, self._id(index), self.kind)

    def _id(self, index: int) -> str:
        return f"voice/{self.seed}-{index:05d}"
