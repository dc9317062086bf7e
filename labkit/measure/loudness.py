"""Integrated loudness (ITU-R BS.1770-4), and matching the loudness of clips without clipping."""

import math
from collections.abc import Mapping

import numpy as np
from scipy.signal import lfilter

from labkit.signal.optional import need
from labkit.signal.units import db_to_amplitude, finite

Clip = tuple[np.ndarray, int]
_BLOCK_SECONDS = 0.4
# BS.1770-4: channels at the sides count 1.41, and low-frequency effects (5.1 to 7.1) nothing.
_WEIGHTS = {
    4: (1.0, 1.0, 1.0, 1.41),
    5: (1.0, 1.0, 1.0, 1.41, 1.41),
    6: (1.0, 1.0, 1.0, 0.0, 1.41, 1.41),
    7: (1.0, 1.0, 1.0, 0.0, 1.0, 1.41, 1.41),
    8: (1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.41, 1.41),
}


def as_channels(audio: np.ndarray) -> np.ndarray:
    """`audio` as finite float64 `(channels, samples)`; a vector becomes one channel."""
    audio = finite(audio).astype(np.float64)
    audio = audio[None] if audio.ndim == 1 else audio
    if audio.ndim != 2:
        raise ValueError(f"audio must be (channels, samples), got shape {audio.shape}")
    return audio


def peak_db(audio: np.ndarray) -> float:
    """The sample peak in dB re full scale (dBFS); -inf for silence."""
    peak = float(np.abs(as_channels(audio)).max())
    return 20.0 * math.log10(peak) if peak > 0 else -math.inf


def loudness_lufs(audio: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness in LUFS; -inf where every block is below the gate of -70 LUFS.

    A clip shorter than the standard's 0.4 s block is repeated until it fills one.

    Source: ITU-R BS.1770-4, through pyloudnorm.
    """
    audio = as_channels(audio)
    _check(sample_rate)
    if not audio.any():
        return -math.inf
    shortest = math.ceil(_BLOCK_SECONDS * sample_rate)
    if audio.shape[1] < shortest:
        audio = np.tile(audio, -(-shortest // audio.shape[1]))
    if len(audio) > 5:  # pyloudnorm takes no more
        stream = LoudnessMeter(sample_rate, len(audio))
        stream.feed(audio)
        return stream.lufs()
    meter = need("pyloudnorm").Meter(sample_rate, block_size=_BLOCK_SECONDS)
    return float(meter.integrated_loudness(audio.T))


def loudness_error_lu(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Difference of integrated loudness; a sound too soft to measure counts as -70 LUFS."""
    ours, theirs = (max(loudness_lufs(audio, sample_rate), -70.0) for audio in (estimate, target))
    return abs(ours - theirs)


def _check(sample_rate: int) -> None:
    # The standard's shelf at 1.5 kHz must lie below half the rate.
    if sample_rate < 4000:
        raise ValueError(f"a loudness needs a sample_rate of at least 4000 Hz, got {sample_rate}")


def _shift_for(audio: np.ndarray, sample_rate: int, target_lufs: float) -> float:
    """Gain in dB to reach the target; repeated, because blocks may cross the gate."""
    shift_db = 0.0
    for _ in range(3):
        missing_db = target_lufs - loudness_lufs(audio * db_to_amplitude(shift_db), sample_rate)
        if not math.isfinite(missing_db):
            return 0.0
        shift_db += missing_db
        if abs(missing_db) < 0.01:
            break
    return shift_db


def match_all(
    clips: Mapping[str, Clip], *, target_lufs: float = -23.0
) -> tuple[dict[str, tuple[np.ndarray, float]], float]:
    """Bring several clips to one loudness by a gain for each; if one would clip, all get softer.

    Returns name -> (float32 audio, shift in dB), and the loudness reached: `target_lufs` (in
    -70..0), or less if a peak would clip. A clip without a loudness has shift 0.
    """
    audio = {name: as_channels(samples) for name, (samples, _) in clips.items()}
    shifts = {name: _shift_for(audio[name], rate, target_lufs) for name, (_, rate) in clips.items()}
    over_db = max([0.0, *(peak_db(audio[name]) + shift for name, shift in shifts.items() if shift)])
    lowered = {
        name: shift - over_db if shift else min(0.0, -peak_db(audio[name]))
        for name, shift in shifts.items()
    }
    matched = {}
    for name, shift in lowered.items():
        louder = audio[name] * db_to_amplitude(shift)
        # Only the rounding of a peak at 1 is clipped.
        matched[name] = np.clip(louder, -1.0, 1.0).astype(np.float32), shift
    return matched, target_lufs - over_db


class TruePeakMeter:
    """The true peak of a stream, measured at eight times its sample rate.

    Source: ITU-R BS.1770-4, annex 2.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._finer = need("soxr").ResampleStream(sample_rate, 8 * sample_rate, channels)
        self._peak = 0.0

    def feed(self, audio: np.ndarray, *, last: bool = False) -> None:
        """Take the next block, (channels, samples) float32, which may be empty."""
        finer = self._finer.resample_chunk(np.ascontiguousarray(audio.T), last=last)
        self._peak = max([self._peak, *(float(np.abs(x).max(initial=0.0)) for x in (audio, finer))])

    def dbtp(self) -> float:
        """The peak in dB re full scale after the last block; -inf for silence."""
        return 20 * math.log10(self._peak) if self._peak else -math.inf


class LoudnessMeter:
    """Integrated loudness and peak of a stream, as `loudness_lufs` gives for a whole clip.

    It keeps the energy of every tenth of a second and channel, and nothing else.

    Source: ITU-R BS.1770-4; the K-weighting filters are pyloudnorm's.
    """

    def __init__(self, sample_rate: int, channels: int) -> None:
        _check(sample_rate)
        make = need("pyloudnorm").IIRfilter
        shelf = make(4.0, 1 / np.sqrt(2), 1500.0, sample_rate, "high_shelf")
        high_pass = make(0.0, 0.5, 38.0, sample_rate, "high_pass")
        self.filters = [(np.asarray(stage.b), np.asarray(stage.a)) for stage in (shelf, high_pass)]
        self.states = [np.zeros((channels, 2)) for _ in self.filters]
        self.hop = round(0.1 * sample_rate)
        self.energies: list[np.ndarray] = []  # one (tenths of a second, channels) for each block
        self.rest = np.zeros((channels, 0))
        self.peak = 0.0

    def feed(self, audio: np.ndarray) -> None:
        """Take the next block, (channels, samples), which may be empty."""
        self.peak = max(self.peak, float(np.abs(audio).max(initial=0.0)))
        weighted = audio.astype(np.float64)
        for k, (b, a) in enumerate(self.filters):
            weighted, self.states[k] = lfilter(b, a, weighted, zi=self.states[k])
        weighted = np.concatenate([self.rest, weighted], axis=1)
        whole = weighted.shape[1] // self.hop
        hops = weighted[:, : whole * self.hop].reshape(len(audio), whole, self.hop)
        self.energies.append(np.square(hops).mean(-1).T)
        self.rest = weighted[:, whole * self.hop :]

    def lufs(self) -> float:
        """The loudness so far: -inf for silence; of what there is for less than 0.4 s."""
        channels = len(self.rest)
        energies = np.concatenate([np.zeros((0, channels)), *self.energies])
        samples = len(energies) * self.hop + self.rest.shape[1]
        if not samples:
            return -math.inf
        if len(energies) < 4:  # the mean over all samples
            total = energies.sum(0) * self.hop + np.square(self.rest).sum(-1)
            energies = total[None] / samples
        hops = energies @ np.array(_WEIGHTS.get(channels, (1.0,) * channels))
        # Blocks of 0.4 s overlap by three quarters, gated at -70 LUFS and 10 LU below the mean.
        size = min(4, len(hops))
        blocks = np.lib.stride_tricks.sliding_window_view(hops, size).mean(1)
        kept = blocks[blocks > 10 ** ((-70 + 0.691) / 10)]
        if not len(kept):
            return -math.inf
        kept = kept[kept > 0.1 * kept.mean()]
        return -0.691 + 10 * math.log10(kept.mean())
