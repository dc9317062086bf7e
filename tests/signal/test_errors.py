"""What the room refuses, and how it says so: argument, expectation, value."""

import numpy as np
import pytest
import torch

from labkit.signal import augment, files, shipped, spectra, units

LONG = torch.zeros(9)
RNG = np.random.default_rng(0)


def audio(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


CASES = [
    (lambda: units.cents(440.0, 0.0), ValueError, "frequencies must be > 0, got 440.0 and 0.0"),
    (lambda: units.cents(np.nan, 440.0), ValueError, "frequencies must be > 0"),
    (lambda: units.set_rms(np.array([0, np.nan]), -20), ValueError, "got 1 NaN or infinite"),
    (lambda: units.rms_dbfs(audio(1, 0)), ValueError, "at least one sample"),
    (lambda: units.set_rms(np.ones(3, np.int16), -20), TypeError, "floating point, got int16"),
    (lambda: units.set_rms(np.ones(3), np.nan), ValueError, "target_dbfs"),
    (lambda: files.check_audio([0.0], 1), files.AudioError, "NumPy array .*got list"),
    (lambda: files.check_audio(audio(1, 4, dtype=np.int16), 1), ValueError, "got int16: divide"),
    (lambda: files.check_audio(audio(1, 1, 4), 1), ValueError, r"samples\).*got \(1, 1, 4\)"),
    (lambda: files.check_audio(audio(2, 0), 1), ValueError, r"not be empty, got \(2, 0\)"),
    (lambda: files.check_audio(audio(1000, 2), 1), ValueError, r"like \(samples, channels\)"),
    (lambda: files.check_audio(np.array([[0, np.nan]]), 1), ValueError, "1 NaN or infinite of 2"),
    (lambda: files.read_audio("/nowhere.wav"), files.AudioFileError, "nowhere.wav.*No such file"),
    (lambda: files.read_audio("/"), files.AudioFileError, "this is a folder"),
    (lambda: files.read_audio("/", max_seconds=0), files.AudioError, "above 0, got 0"),
    (lambda: shipped.load_phrase("solo"), ValueError, "name must be one of riff, .*got 'solo'"),
    (lambda: spectra.stft(torch.zeros(0)), ValueError, r"at least one sample, got shape \(0,\)"),
    (lambda: spectra.stft(LONG.short()), TypeError, "floating-point tensor.*torch.int16"),
    (lambda: spectra.stft(LONG, n_fft=7), ValueError, "n_fft must be an even int >= 2, got 7"),
    (lambda: spectra.stft(LONG, n_fft=8, hop_length=5), ValueError, "1..n_fft/2 = 1..4.*got 5"),
    (lambda: spectra.istft(LONG, length=2), TypeError, "spectrum must be complex"),
    (
        lambda: spectra.istft(torch.zeros(5, 2).cfloat(), hop_length=2, length=8),
        ValueError,
        "needs 5 frames, got 2",
    ),
    (lambda: spectra.log_mel(LONG, 8000, high_hz=5000), ValueError, "got 30.0 and 5000"),
    (lambda: spectra.log_mel(LONG, 44100, n_fft=512, hop_length=128), ValueError, "lower n_mels"),
    (
        lambda: spectra.griffin_lim(torch.zeros(5, 2), length=2, momentum=1),
        ValueError,
        "0 <= momentum < 1",
    ),
    (lambda: augment.colour(audio(1, 9), speed=3), ValueError, "speed must be 0.5 to 2, got 3"),
    (
        lambda: augment.early_reflections(np.ones(3), delays_ms=15.0, gains=0.1),
        ValueError,
        r"delays_ms must lie between 0 and 15, got \[15.0\]",
    ),
    (lambda: augment.augment(audio(1, 9), 8000, RNG, strength=2), ValueError, "0 to 1, got 2"),
    (lambda: augment.augment(audio(1, 9), 8000, RNG, parts=["dirt"]), ValueError, "got dirt"),
    (lambda: augment.augment(audio(1, 0), 8000, RNG), ValueError, "not empty"),
    (lambda: augment.augment(audio(1, 9), 8000, RNG, samples=0), ValueError, "0 samples wanted"),
]


@pytest.mark.parametrize(("call", "error", "message"), CASES)
def test_the_error_names_argument_expectation_and_value(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("rate", [0, -1, 44_100.5, "44100", None, True, 10_000_000])
def test_bad_sample_rates(rate):
    with pytest.raises(files.AudioError, match="sample_rate must be a whole number of Hz"):
        files.check_audio(np.zeros((1, 4)), rate)
