"""The baseline without any network: copy a reference's average spectrum by a filter, its loudness by a compressor."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import signal

from labkit.effects.effect import process
from labkit.measure.loudness import loudness_lufs, peak_db
from labkit.signal.files import check_audio, check_rate
from labkit.signal.optional import need

_N_FFT = 65_536
_SMOOTH_BINS = 1025
_N_TAPS = 63
# As far as an equaliser goes: where the sound has nothing, a filter could otherwise raise only its noise.
_LARGEST_CHANGE_DB = 24.0
_FLOOR_POWER = 1e-20
_RATIO, _ATTACK_MS, _RELEASE_MS = 3.0, 5.0, 100.0
_STEP_DB, _N_STEPS = 0.5, 120
_ENOUGH_LU = 0.05  # nobody hears it, and it is above the rounding of float32 audio


@dataclass(frozen=True)
class Style:
    """What the rules copy of a recording, or of several.

    Attributes:
        sample_rate: Hz.
        spectrum_db: (32769,) average power per bin in dB, smoothed, 0 Hz to half the sample rate.
        loudness_lufs: integrated loudness.
        peak_dbfs: sample peak.
    """

    sample_rate: int
    spectrum_db: np.ndarray
    loudness_lufs: float
    peak_dbfs: float


@dataclass(frozen=True)
class RuleSetting:
    """What the rules did.

    Attributes:
        taps: (63,) the filter; it is centred, so it delays nothing.
        threshold_db: of the compressor; 0 where none was needed.
        gain_db: of everything, after the compressor.
    """

    taps: np.ndarray
    threshold_db: float
    gain_db: float


def style_of(clips: Sequence[np.ndarray], sample_rate: int) -> Style:
    """The average spectrum in dB, loudness and peak of some recordings.

    Args:
        clips: each (channels, samples) float, finite and audible.
        sample_rate: Hz, of all of them, >= 4000.

    Returns:
        Their mean style.

    Raises:
        ValueError: for no clips, for one without a loudness (silence), and for unusable audio.
    """
    if not clips:
        raise ValueError("clips must hold at least one recording, got none")
    rate = check_rate(sample_rate)
    every = [
        _style_of(check_audio(clip, rate, name=f"clips[{k}]"), rate) for k, clip in enumerate(clips)
    ]
    return Style(
        rate,
        np.mean([style.spectrum_db for style in every], axis=0),
        float(np.mean([style.loudness_lufs for style in every])),
        float(np.mean([style.peak_dbfs for style in every])),
    )


def match(audio: np.ndarray, sample_rate: int, style: Style) -> tuple[np.ndarray, RuleSetting]:
    """Bring a recording to a style by two rules.

    First a linear-phase filter of 63 taps, whose response is the quotient of the two smoothed spectra, at most 24 dB
    up or down. Then the threshold of a compressor (ratio 3) is lowered in steps of 0.5 dB until the sound, brought to
    the reference's peak, is as loud as the reference; a gain takes away what is too much.

    Args:
        audio: (channels, samples) float, finite and audible.
        sample_rate: Hz, the style's.
        style: from `style_of`.

    Returns:
        (channels, samples) float32, aligned with the input, and what was done. The peak is the reference's at most,
        save where the strongest compression is not loud enough: then a gain adds what fits below full scale.

    Raises:
        ValueError: for another sample rate, silence, or unusable audio.

    Source: the rule-based baseline of Steinmetz, Bryan and Reiss (2022), "Style transfer of audio effects with
    differentiable signal processing", section 4. Ours differs in the compressor (pedalboard's), in the bound of the
    filter, and in searching the threshold by halving.
    """
    audio = check_audio(audio, sample_rate)
    if sample_rate != style.sample_rate:
        raise ValueError(
            f"sample_rate must be the style's, {style.sample_rate} Hz, got {sample_rate}: resample first"
        )
    taps = matching_filter(_style_of(audio, style.sample_rate), style)
    filtered = signal.oaconvolve(audio, taps[None], mode="same", axes=1).astype(np.float32)
    threshold_db, gain_db = _find_threshold(filtered, style)
    out = _compress(filtered, style.sample_rate, threshold_db) * np.float32(10 ** (gain_db / 20))
    return out, RuleSetting(taps, threshold_db, gain_db)


def matching_filter(given: Style, wanted: Style) -> np.ndarray:
    """The (63,) taps of the linear-phase filter between two average spectra; flat where they are equal."""
    change_db = np.clip(
        wanted.spectrum_db - given.spectrum_db, -_LARGEST_CHANGE_DB, _LARGEST_CHANGE_DB
    )
    return signal.firwin2(_N_TAPS, np.linspace(0, 1, len(change_db)), 10 ** (change_db / 20))


def _style_of(audio: np.ndarray, sample_rate: int) -> Style:
    loudness = loudness_lufs(audio, sample_rate)
    if not math.isfinite(loudness):
        raise ValueError("audio must be audible, got a recording below -70 LUFS")
    frame = min(audio.shape[1], _N_FFT)
    power = signal.welch(audio, fs=sample_rate, nperseg=frame, nfft=_N_FFT, detrend=False, axis=1)[
        1
    ].mean(axis=0)
    spectrum_db = 10 * np.log10(power + _FLOOR_POWER)
    return Style(
        sample_rate, signal.savgol_filter(spectrum_db, _SMOOTH_BINS, 1), loudness, peak_db(audio)
    )


def _compress(audio: np.ndarray, sample_rate: int, threshold_db: float) -> np.ndarray:
    if threshold_db == 0:
        return audio
    knobs = {"ratio": _RATIO, "attack_ms": _ATTACK_MS, "release_ms": _RELEASE_MS}
    return process(
        need("pedalboard").Compressor(threshold_db=threshold_db, **knobs), audio, sample_rate
    )


def _find_threshold(audio: np.ndarray, style: Style) -> tuple[float, float]:
    """The highest threshold that makes the sound loud enough at the reference's peak, and the gain that remains."""

    def at(step: int) -> tuple[float, float]:
        """Loudness at the reference's peak, in excess of the reference's, and the gain to that peak."""
        squeezed = _compress(audio, style.sample_rate, -_STEP_DB * step)
        to_peak_db = style.peak_dbfs - peak_db(squeezed)
        return loudness_lufs(
            squeezed, style.sample_rate
        ) + to_peak_db - style.loudness_lufs, to_peak_db

    low, high = (
        0,
        _N_STEPS,
    )  # steps: not loud enough (or none needed), loud enough (or all there is)
    excess_db, to_peak_db = at(low)
    if excess_db < -_ENOUGH_LU:
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if at(middle)[0] >= -_ENOUGH_LU else (middle, high)
        low = high
        excess_db, to_peak_db = at(low)
    room_db = max(0.0, -style.peak_dbfs)  # between the reference's peak and full scale
    return -_STEP_DB * low, to_peak_db - max(excess_db, -room_db)
