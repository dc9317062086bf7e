"""What the room refuses, and how it says so: argument, expectation, value."""

import numpy as np
import pytest
import torch

from labkit.signal import (
    augment,
    datasets,
    files,
    guitar,
    sampled,
    sources,
    spectra,
    units,
)

LONG = torch.zeros(9)
RNG = np.random.default_rng(0)


def audio(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


def pluck(frequency_hz=110.0, seconds=1.0):
    return guitar.pluck(frequency_hz, sample_rate=44100, seconds=seconds)


def ripples(edges=(0.1, 0.2), high_hz=4e3):
    spectrum = torch.zeros(8001).cfloat()
    return spectra.ripples(spectrum, 1.0, edges, low_hz=0.0, high_hz=high_hz, smooth_hz=50)


CASES = [
    (lambda: units.set_rms(np.array([0, np.nan]), -20), ValueError, "got 1 NaN or infinite"),
    (lambda: units.set_rms(np.ones(3, np.int16), -20), TypeError, "floating point, got int16"),
    (lambda: files.check_audio([0.0], 8000), files.AudioError, "NumPy array .*got list"),
    (lambda: files.check_audio(audio(1, 4, dtype=np.int16), 8000), ValueError, "got int16: divide"),
    (lambda: files.check_audio(audio(1000, 2), 8000), ValueError, r"like \(samples, channels\)"),
    (
        lambda: files.check_audio(np.array([[0, np.nan]]), 8000),
        ValueError,
        "1 NaN or infinite of 2",
    ),
    (lambda: files.read_audio("/nowhere.wav"), files.AudioFileError, "nowhere.wav.*No such file"),
    (lambda: files.read_audio("/"), files.AudioFileError, "this is a folder"),
    (lambda: sources.load_phrase("solo"), ValueError, "name must be one of riff, .*got 'solo'"),
    (lambda: spectra.stft(LONG, n_fft=7), ValueError, "n_fft must be even and .*got 7"),
    (lambda: spectra.stft(LONG, n_fft=8, hop_length=5), ValueError, "half of it, got 8 and 5"),
    (
        lambda: spectra.istft(torch.zeros(5, 2).cfloat(), hop_length=2, length=8),
        ValueError,
        "needs 5 frames, got 2",
    ),
    (lambda: ripples(high_hz=9e3), ValueError, "hold bins among 0 to 8000 Hz, got 0.0 and 9000.0"),
    (lambda: ripples(edges=(0.1, 2.0)), ValueError, "between 0.00024 and 0.5 s, got 2 from 0.1 to"),
    (lambda: spectra.log_mel(LONG, 8000, high_hz=5000), ValueError, "got 30.0 and 5000"),
    (lambda: spectra.log_mel(LONG, 44100, n_fft=512, hop_length=128), ValueError, "lower n_mels"),
    (lambda: augment.augment(audio(1, 9), 8000, RNG, strength=2), ValueError, "0 to 1, got 2"),
    (lambda: augment.augment(audio(1, 0), 8000, RNG), ValueError, "not empty"),
    (lambda: datasets.get("nope"), ValueError, "called 'nope'; there are egfxset, guitar-techs"),
    (lambda: datasets.get("daps", files=("x",)), ValueError, "no file of daps is called 'x'"),
    (lambda: guitar.phrase(RNG, style="polka"), ValueError, "one of line, .*, got 'polka'"),
    (lambda: guitar.phrase(RNG, sample_rate=4000), ValueError, "at least 8000 Hz, got 4000"),
    (lambda: pluck(seconds=0), ValueError, "seconds must be > 0, got 0"),
    (lambda: pluck(frequency_hz=30_000), ValueError, "between 0 and 22050 Hz, got 30000"),
    (lambda: sampled.programs("dev"), ValueError, "train, validation, test, got 'dev'"),
    (lambda: sampled.Synthesizer(None, 4_000), files.AudioError, "8000 to 96000"),
    (lambda: sources.GeneratedGuitars(counts=(9, 0, 1)), ValueError, "must be above 0"),
    (lambda: sources.Mixture([sources.GeneratedGuitars()], [1, 2]), ValueError, "a weight each"),
    (lambda: sources.AudioFolder("/nowhere"), ValueError, "no folder with files"),
]


@pytest.mark.parametrize(("call", "error", "message"), CASES)
def test_the_error_names_argument_expectation_and_value(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("rate", [0, -1, 1_999, 44_100.5, "44100", None, True, 10_000_000])
def test_bad_sample_rates(rate):
    with pytest.raises(files.AudioError, match="sample_rate must be a whole number of Hz"):
        files.check_audio(np.zeros((1, 4)), rate)
