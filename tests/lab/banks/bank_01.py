"""Answers to the exercises of notebook 01: one that is right, and the wrong ones that people give."""

# ruff: noqa: ARG005 - a wrong answer often ignores what it was given

import math

import numpy as np


def n_fft_solution(sample_rate: int, spacing_hz: float) -> int:
    return 2 ** math.ceil(math.log2(2.5 * sample_rate / spacing_hz))


def frames_solution(samples: int, n_fft: int, hop_length: int, center: bool) -> int:
    return 1 + (samples if center else samples - n_fft) // hop_length


def gain_solution(window: np.ndarray, hop_length: int) -> float:
    return window.sum() / hop_length


BANK = {
    "01.1": (
        n_fft_solution,
        [
            (lambda sample_rate, spacing_hz: 2048, "0.93 bins apart"),
            (
                lambda sample_rate, spacing_hz: 2 ** math.ceil(math.log2(sample_rate / spacing_hz)),
                "look like one",
            ),
            (
                lambda sample_rate, spacing_hz: (
                    2 ** math.ceil(math.log2(2 * sample_rate / spacing_hz))
                ),
                "2.32 bins apart",
            ),
            (lambda sample_rate, spacing_hz: 65536, "lasts 1486 ms"),
            (
                lambda sample_rate, spacing_hz: math.ceil(2.5 * sample_rate / spacing_hz),
                "must be a power of two, got 5513",
            ),
            (
                lambda sample_rate, spacing_hz: sample_rate / 0,
                "your function raised ZeroDivisionError: division by zero",
            ),
            (
                lambda sample_rate, spacing_hz: "8192",
                "n_fft must be one finite number, got str '8192'",
            ),
        ],
    ),
    "01.2": (
        frames_solution,
        [
            (
                lambda samples, n_fft, hop_length, center: samples // hop_length,
                "makes 87 frames, you say 86",
            ),
            (
                lambda samples, n_fft, hop_length, center: 1 + samples // hop_length,
                "center = False: torch.stft makes 83",
            ),
            (
                lambda samples, n_fft, hop_length, center: 1 + (samples - n_fft) // hop_length,
                "center = True",
            ),
            (
                lambda samples, n_fft, hop_length, center: 1 + samples / hop_length,
                "must be a whole number",
            ),
        ],
    ),
    "01.3": (
        gain_solution,
        [
            (
                lambda window, hop_length: len(window) / hop_length,
                "you say 4.0000; dividing by it leaves -6.02 dB",
            ),
            (
                lambda window, hop_length: (window**2).sum() / hop_length,
                "add up to 2.0000 times the audio, you say 1.5000",
            ),
            (lambda window, hop_length: 2.0, "Hann, hop n_fft/2: the frames add up to 1.0000"),
            (
                lambda window, hop_length: window / hop_length,
                "the gain must be one finite number, got shape (1024,)",
            ),
        ],
    ),
}
