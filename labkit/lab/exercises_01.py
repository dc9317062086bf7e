"""Exercises of notebook 01: how long a frame, how many of them, and what they add up to."""

import math

import numpy as np
import torch

from labkit.lab.exercises import Attempt, NotYet, as_count, as_number
from labkit.signal.seeds import generator

_VALLEY_DB = 3.0
_PADDING = 8


def _valley_db(n_fft: int, sample_rate: int, spacing_hz: float) -> float:
    """Depth of the valley between two equal sines under a Hann window, for the least lucky phase and place."""
    spacing_bins = spacing_hz * n_fft / sample_rate
    window = np.hanning(n_fft + 1)[:-1]
    turns = 2j * np.pi * np.arange(n_fft) / n_fft
    shallowest = math.inf
    for first_bin in (n_fft / 16, n_fft / 16 + 0.37):
        one, two = (_PADDING * first_bin, _PADDING * (first_bin + spacing_bins))
        low, high = (
            np.fft.fft(window * np.exp(turns * bins), _PADDING * n_fft)[int(one) : int(two) + 2]
            for bins in (first_bin, first_bin + spacing_bins)
        )
        for phase in np.linspace(0, 2 * np.pi, 16, endpoint=False):
            level_db = 20 * np.log10(np.abs(low + np.exp(1j * phase) * high) + 1e-12)
            shallowest = min(shallowest, min(level_db[0], level_db[-1]) - level_db.min())
    return shallowest


def exercise_01_1(attempt: Attempt) -> str:
    """A frame length, a power of two, that separates two equal sines `spacing_hz` apart under a Hann window."""
    for sample_rate, spacing_hz in ((44100, 20.0), (44100, 50.0), (22050, 20.0), (48000, 100.0)):
        n_fft = as_count(attempt(sample_rate, spacing_hz), "n_fft")
        if n_fft < 2 or n_fft & (n_fft - 1):
            raise NotYet(f"n_fft must be a power of two, got {n_fft}")
        bins = spacing_hz * n_fft / sample_rate
        case = f"two sines {spacing_hz:g} Hz apart at {sample_rate} Hz, n_fft = {n_fft}"
        if bins < 1 or _valley_db(n_fft, sample_rate, spacing_hz) < _VALLEY_DB:
            raise NotYet(
                f"{case}: they are {bins:.2f} bins apart, and for some phases the valley between them is less than "
                f"{_VALLEY_DB:g} dB deep, so they look like one"
            )
        if bins >= 4 and _valley_db(n_fft // 4, sample_rate, spacing_hz) >= _VALLEY_DB:
            raise NotYet(
                f"{case}: separated, but a quarter of that already is; your frame lasts "
                f"{1000 * n_fft / sample_rate:.0f} ms, and everything within it is smeared"
            )
    return "frequency resolution is sample_rate / n_fft times the width of the window's main lobe, paid for in time"


def exercise_01_2(attempt: Attempt) -> str:
    """The number of frames of an STFT: `frames(samples, n_fft, hop_length, center)`."""
    cases = [
        (44100, 2048, 512),
        (44100, 1024, 256),
        (2048, 2048, 512),
        (2047, 512, 128),
        (10000, 1000, 300),
    ]
    for samples, n_fft, hop_length in cases:
        for center in (True, False):
            window = torch.ones(n_fft)
            counted = torch.stft(
                torch.zeros(samples),
                n_fft,
                hop_length,
                window=window,
                center=center,
                return_complex=True,
            ).shape[-1]
            answer = as_count(attempt(samples, n_fft, hop_length, center), "the number of frames")
            if answer != counted:
                raise NotYet(
                    f"{samples} samples, n_fft = {n_fft}, hop_length = {hop_length}, center = {center}: "
                    f"torch.stft makes {counted} frames, you say {answer}"
                )
    return "with center the ends are padded by n_fft / 2, so every hop starts a frame and n_fft drops out"


def exercise_01_3(attempt: Attempt) -> str:
    """The gain by which overlapping windows add up: `gain(window, hop_length)`; dividing by it gives the audio back."""
    hann = np.hanning(1025)[:-1]
    cases = {
        "Hann, hop n_fft/4": (hann, 256),
        "Hann, hop n_fft/2": (hann, 512),
        "Hann squared, hop n_fft/4": (hann**2, 256),
        "square, hop n_fft/8": (np.ones(1024), 128),
    }
    audio = generator(0, "exercise 01.3").normal(0, 0.1, 8192)
    for name, (window, hop_length) in cases.items():
        gain = as_number(attempt(window.copy(), hop_length), "the gain")
        added = np.zeros_like(audio)
        for start in range(0, len(audio) - len(window) + 1, hop_length):
            added[start : start + len(window)] += window * audio[start : start + len(window)]
        inside = slice(len(window), len(audio) - len(window))
        measured = float(added[inside] @ audio[inside] / (audio[inside] @ audio[inside]))
        if not math.isclose(gain, measured, rel_tol=1e-6):
            error_db = (
                f"{20 * math.log10(measured / gain):+.2f} dB" if gain > 0 else "no level at all"
            )
            raise NotYet(
                f"{name}: the frames add up to {measured:.4f} times the audio, you say {gain:.4f}; "
                f"dividing by it leaves {error_db}"
            )
    return "copies of a window every hop_length samples add to its sum / hop_length wherever they add to a constant"
