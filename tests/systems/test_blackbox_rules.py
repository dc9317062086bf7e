"""The rule-based baseline: spectrum and loudness copied from a reference."""

import numpy as np
import pytest
from scipy import signal

from labkit.effects.dynamics import COMPRESSOR
from labkit.measure.loudness import loudness_lufs, peak_db
from labkit.signal.seeds import generator
from labkit.systems.blackbox.rules import match, matching_filter, style_of

RATE = 22_050


def bursts(seed=0, channels=1, seconds=3.0):
    """Noise that swells and fades twice a second, at -20 dBFS: it has dynamics to compress."""
    samples = int(seconds * RATE)
    swell = 0.05 + np.abs(np.sin(2 * np.pi * np.arange(samples) / RATE)) ** 4
    noise = generator(seed, "bursts").standard_normal((channels, samples)) * swell
    return (0.1 * noise / noise.std()).astype(np.float32)


def treble_cut(audio):
    """A shelf by 12 dB above 3 kHz, first order."""
    low = signal.lfilter(*signal.butter(1, 3000, fs=RATE), audio)
    return (0.25 * audio + 0.75 * low).astype(np.float32)


def test_its_own_style_changes_nothing():
    audio = bursts(channels=2)
    heard, setting = match(audio, RATE, style_of([audio], RATE))
    np.testing.assert_allclose(heard, audio, atol=1e-5)  # the filter's rounding
    assert setting.threshold_db == 0
    assert setting.gain_db == pytest.approx(0, abs=1e-3)
    assert np.argmax(setting.taps) == 31


def test_the_spectrum_of_the_reference_is_reached():
    audio, wanted = bursts(), style_of([treble_cut(bursts(seed=1))], RATE)
    heard, setting = match(audio, RATE, wanted)
    bins = slice(3000, 30_000)  # 1 to 10 kHz: 63 taps cannot follow what is narrower than 350 Hz
    before = style_of([audio], RATE).spectrum_db - wanted.spectrum_db
    after = style_of([heard], RATE).spectrum_db - wanted.spectrum_db
    assert np.ptp(before[bins]) > 8
    chance = (
        style_of([bursts(seed=2)], RATE).spectrum_db - style_of([bursts(seed=3)], RATE).spectrum_db
    )
    assert np.ptp(after[bins]) < np.ptp(chance[bins])  # what two noises of three seconds differ by
    response = np.abs(np.fft.rfft(setting.taps, 2048))
    assert response[1000] < 0.5 * response[100]


def test_the_filter_delays_nothing():
    audio, wanted = bursts(), style_of([treble_cut(bursts())], RATE)
    heard, _ = match(audio, RATE, wanted)
    correlation = signal.correlate(heard[0], audio[0], mode="full", method="fft")
    assert np.argmax(correlation) == audio.shape[1] - 1


def test_a_louder_reference_of_the_same_peak_asks_for_compression():
    audio = bursts()
    loud = COMPRESSOR.render(
        audio, RATE, threshold_db=-30.0, ratio=3.0, attack_ms=5.0, release_ms=100.0
    )
    loud = (loud * np.abs(audio).max() / np.abs(loud).max()).astype(np.float32)
    heard, setting = match(audio, RATE, style_of([loud], RATE))
    assert setting.threshold_db < -5
    assert loudness_lufs(audio, RATE) < loudness_lufs(loud, RATE) - 2
    assert loudness_lufs(heard, RATE) == pytest.approx(
        loudness_lufs(loud, RATE), abs=0.01
    )  # meter's own rounding
    assert peak_db(heard) <= peak_db(loud) + 0.06  # near enough in loudness is made up by a gain


def test_a_quieter_reference_asks_for_a_gain_alone():
    audio = bursts()
    heard, setting = match(audio, RATE, style_of([0.25 * audio], RATE))
    np.testing.assert_allclose(heard, 0.25 * audio, atol=1e-5)
    assert setting.threshold_db == 0


def test_more_than_compression_can_do_ends_below_full_scale():
    audio = np.zeros((1, 2 * RATE), np.float32)
    audio[:, ::2000] = 0.1  # clicks: no threshold makes them as loud as a square wave
    square = 0.5 * np.sign(np.sin(2 * np.pi * 200 * np.arange(2 * RATE) / RATE))[None]
    heard, setting = match(audio, RATE, style_of([square], RATE))
    assert setting.threshold_db == -60
    assert peak_db(heard) <= 0.01
    assert np.isfinite(heard).all()


def test_a_style_of_several_is_their_mean():
    one, two = bursts(), 0.5 * bursts(seed=1)
    both, first, second = style_of([one, two], RATE), style_of([one], RATE), style_of([two], RATE)
    assert both.loudness_lufs == pytest.approx((first.loudness_lufs + second.loudness_lufs) / 2)
    np.testing.assert_allclose(both.spectrum_db, (first.spectrum_db + second.spectrum_db) / 2)
    flat = matching_filter(both, both)
    np.testing.assert_allclose(flat, np.eye(63)[31], atol=1e-9)


def test_a_short_clip_has_a_style_too():
    short = bursts(seconds=0.2)
    heard, _ = match(short, RATE, style_of([bursts()], RATE))
    assert heard.shape == short.shape


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: style_of([], RATE), "clips must hold at least one recording"),
        (lambda: style_of([np.zeros((1, RATE), np.float32)], RATE), "audio must be audible"),
        (
            lambda: style_of([bursts(), np.full((1, 9), np.nan, np.float32)], RATE),
            r"clips\[1\] must be finite",
        ),
        (
            lambda: match(np.zeros((1, RATE), np.float32), RATE, style_of([bursts()], RATE)),
            "audio must be audible",
        ),
        (
            lambda: match(bursts(), 44_100, style_of([bursts()], RATE)),
            "must be the style's, 22050 Hz, got 44100",
        ),
    ],
)
def test_what_cannot_be_matched_is_refused(act, message):
    with pytest.raises(ValueError, match=message):
        act()
