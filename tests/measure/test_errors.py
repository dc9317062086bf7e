"""What the room refuses, and how it says so: argument, expectation, value."""

import numpy as np
import pytest
import torch

from labkit.measure import loudness, metrics
from labkit.measure.align import align
from labkit.measure.losses import (
    log_spectral_distance,
    magnitude_distance,
    mr_stft,
    multi_scale_spectral,
)

ONE, TEN = torch.zeros(1, 1, 900), np.ones(10)
SILENT = np.zeros((1, 9), np.float32)


def lufs(audio, rate=8000):
    return loudness.loudness_lufs(np.asarray(audio, float), rate)


CASES = [
    (lambda: align(ONE[..., :200], ONE[..., :200]), ValueError, r"than 200 samples.*\(1, 1, 200\)"),
    (lambda: magnitude_distance(ONE, ONE[..., 1:]), ValueError, "shapes must agree"),
    (lambda: log_spectral_distance(ONE, ONE[..., 1:]), ValueError, "the shape of estimate"),
    (lambda: mr_stft(SILENT, SILENT, 8000), ValueError, "target must not be silent"),
    (lambda: multi_scale_spectral(TEN, TEN[1:], 8000), ValueError, "equally long"),
    (lambda: multi_scale_spectral(TEN, 0 * TEN, 8000), ValueError, "silent"),
    (lambda: lufs(np.zeros((1, 0))), ValueError, r"at least one sample, got shape \(1, 0\)"),
    (lambda: lufs([0.0, np.nan]), ValueError, "finite, got 1 NaN"),
    (lambda: lufs(TEN, 1000), ValueError, "at least 4000 Hz, got 1000"),
    (lambda: metrics.si_sdr_db(0 * TEN, TEN), ValueError, "reference must not be silent"),
    (lambda: metrics.si_sdr_db(TEN, TEN[1:]), ValueError, "shapes must agree"),
    (lambda: metrics.relative_error_db(TEN, TEN[1:]), ValueError, r"got \(10,\) and \(9,\)"),
]


@pytest.mark.parametrize(("call", "error", "message"), CASES)
def test_the_error_names_argument_expectation_and_value(call, error, message):
    with pytest.raises(error, match=message):
        call()
