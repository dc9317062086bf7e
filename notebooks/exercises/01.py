"""What the exercises of notebook 01 ask for: each compares an attempt with a reference or a law."""

import itertools

import numpy as np
import torch

from labkit.lab.exercises import Attempt, as_count, compare, require


def exercise_01_1(attempt: Attempt) -> str:
    """A frame length, a power of two, that separates two equal sines `spacing_hz` apart."""
    for sample_rate, spacing_hz in ((44100, 20.0), (44100, 50.0), (22050, 20.0), (48000, 100.0)):
        n_fft = as_count(attempt(sample_rate, spacing_hz), "n_fft")
        power = n_fft >= 2 and not n_fft & (n_fft - 1)
        require(power, f"n_fft must be a power of two, got {n_fft}")
        bins = spacing_hz * n_fft / sample_rate
        case = f"two sines {spacing_hz:g} Hz apart at {sample_rate} Hz, n_fft = {n_fft}"
        # From 2.5 bins on there is a valley of 3 dB between them, whatever their phases.
        require(
            bins >= 2.5,
            f"{case}: they are {bins:.2f} bins apart under a main lobe of 4, and for some phases "
            "there is no valley between them, so they look like one",
        )
        require(
            bins < 10,
            f"{case}: separated, but a quarter of that already is; your frame lasts "
            f"{1000 * n_fft / sample_rate:.0f} ms, and everything within it is smeared",
        )
    return "frequency resolution is sample_rate / n_fft times the width of the main lobe"


def exercise_01_2(attempt: Attempt) -> str:
    """The number of frames of an STFT: `frames(samples, n_fft, hop_length, center)`."""
    sizes = ((44100, 2048, 512), (44100, 1024, 256), (2048, 2048, 512), (10000, 1000, 300))
    for (samples, n_fft, hop), center in itertools.product(sizes, (True, False)):
        options = {"window": torch.ones(n_fft), "center": center, "return_complex": True}
        counted = torch.stft(torch.zeros(samples), n_fft, hop, **options).shape[-1]
        case = f"{samples} samples, n_fft = {n_fft}, hop_length = {hop}, center = {center}"
        compare(attempt(samples, n_fft, hop, center), counted, f"{case}, frames of torch.stft")
    return "with center the ends are padded by n_fft / 2, so every hop starts a frame"


def exercise_01_3(attempt: Attempt) -> str:
    """The gain by which overlapping windows add up: `gain(window, hop_length)`."""
    hann = np.hanning(1025)[:-1]
    for name, window, hop_length in (
        ("Hann, hop n_fft/4", hann, 256),
        ("Hann, hop n_fft/2", hann, 512),
        ("Hann squared, hop n_fft/4", hann**2, 256),
        ("square, hop n_fft/8", np.ones(1024), 128),
    ):
        added = np.zeros(8192)
        for start in range(0, 8192 - 1023, hop_length):
            added[start : start + 1024] += window
        case = f"{name}, the factor by which the frames add up"
        compare(attempt(window, hop_length), float(added[4096]), case)
    return "copies of a window every hop_length samples add to its sum / hop_length"
