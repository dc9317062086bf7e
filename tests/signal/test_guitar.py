"""The guitar generator: tuning, decay, levels, repeatability; nothing wraps round the FFT."""

import numpy as np
import pytest

from labkit.signal.guitar import GuitarModel, Pluck, phrase, pluck, render, warp
from labkit.signal.seeds import generator
from labkit.signal.units import amplitude_to_db, midi_to_hz

SAMPLE_RATE = 44100


def cents(frequency_hz, reference_hz):
    return 1200 * np.log2(frequency_hz / reference_hz)


def _measured_hz(audio, expected_hz):
    """The strongest frequency within 2 %: the parabola on a Blackman window's log spectrum."""
    n_fft = 8 * len(audio)
    spectrum = np.log(np.abs(np.fft.rfft(audio * np.blackman(len(audio)), n_fft)) + 1e-12)
    low, high = (int(expected_hz * ratio * n_fft / SAMPLE_RATE) for ratio in (0.98, 1.02))
    k = low + int(np.argmax(spectrum[low:high]))
    a, b, c = spectrum[k - 1 : k + 2]
    return (k + 0.5 * (a - c) / (a - 2 * b + c)) * SAMPLE_RATE / n_fft


@pytest.mark.parametrize("inharmonicity", [0.0, 1e-4, 1e-3])
def test_the_first_partial_is_in_tune_from_e2_to_e6(inharmonicity):
    model = GuitarModel(inharmonicity=(inharmonicity,) * 6)
    errors = []
    for midi in range(40, 89, 4):
        expected = midi_to_hz(midi)
        audio = pluck(expected, sample_rate=SAMPLE_RATE, seconds=1.5, model=model)[0]
        errors.append(abs(cents(_measured_hz(audio, expected), expected)))
    assert max(errors) < 3.0, (
        f"worst {max(errors):.2f} cents at MIDI {40 + 4 * int(np.argmax(errors))}"
    )


@pytest.mark.parametrize("decay_seconds", [0.4, 8.0])
@pytest.mark.parametrize("frequency_hz", [82.4, 1318.5])
def test_the_first_partial_decays_as_asked(frequency_hz, decay_seconds):
    """A line through the log envelope of the demodulated first partial; damping adds up to 10 %."""
    model = GuitarModel(damping_hz=1e5, decay_seconds=decay_seconds, decay_slope=0.0)
    seconds = min(2.0, decay_seconds)
    audio = pluck(frequency_hz, model=model, sample_rate=SAMPLE_RATE, seconds=seconds)[0]
    time = np.arange(len(audio)) / SAMPLE_RATE
    width = int(8 * SAMPLE_RATE / frequency_hz)
    kernel = np.hanning(width) / np.hanning(width).sum()
    carrier = np.exp(-2j * np.pi * frequency_hz * time)
    envelope = np.abs(np.convolve(audio * carrier, kernel, mode="valid"))
    slope_db = np.polyfit(time[: len(envelope)], amplitude_to_db(envelope), 1)[0]
    assert -60 / slope_db == pytest.approx(decay_seconds, rel=0.1)


def test_the_tail_does_not_wrap_round_the_fft():
    """Before a late attack there is silence, though the string rings far beyond the render."""
    for frequency_hz in (82.4, 330.0, 1318.5):
        note = Pluck(frequency_hz, delay_seconds=0.5, decay_seconds=8.0)
        wave = render([note], GuitarModel(), sample_rate=22050, seconds=2.0)
        before = np.abs(wave[: int(0.49 * 22050)]).max()
        assert amplitude_to_db(before / np.abs(wave).max()) < -60


def test_a_hundred_phrases_are_finite_and_at_a_sane_level():
    peaks = []
    for index in range(100):
        audio = phrase(generator(7, "levels", index))
        assert audio.shape == (1, 88200)
        assert audio.dtype == np.float32
        assert np.isfinite(audio).all()
        peaks.append(amplitude_to_db(float(np.abs(audio).max())))
    assert -33.01 < min(peaks) < -28
    assert -8 < max(peaks) < -2.99


def test_a_bend_arrives_at_its_pitch():
    wave = np.sin(2 * np.pi * 200 * np.arange(2 * 22050) / 22050).astype(np.float32)
    bent = warp(wave, np.full(22050, 2.0, np.float32))
    expected = np.sin(2 * np.pi * 200 * 2 ** (2 / 12) * np.arange(22050) / 22050)
    np.testing.assert_allclose(bent, expected, atol=2e-4)
