"""Augmentation: each stage does what its numbers say; the draw is repeatable and never clips."""

import numpy as np
import pytest

from labkit.signal import augment as aug
from labkit.signal import augment as col

RATE = 44_100
GRID = col.frequency_grid(RATE)
BENT = col.warp(GRID, RATE)


def gain_db(response, frequency_hz):
    return 20 * np.log10(np.abs(np.interp(frequency_hz, GRID, np.abs(response))))


def impulse(samples=RATE, at=100):
    audio = np.zeros((1, samples), np.float32)
    audio[0, at] = 1
    return audio


def measured_db(audio, frequency_hz):
    spectrum = np.abs(np.fft.rfft(audio[0]))
    return 20 * np.log10(spectrum[round(frequency_hz * audio.shape[1] / RATE)])


@pytest.mark.parametrize("slope", [6.0, -3.0, 0.0])
def test_tilt_per_octave(slope):
    response = col.tilt(GRID, slope_db_per_octave=slope)
    assert gain_db(response, 700) == pytest.approx(0, abs=0.01)
    # From 1 to 2 kHz |1 + jf/100| rises by 5.988 dB and |1 + jf/10000| by 0.127, of 6.021 in an octave.
    expected = slope * 5.861 / 6.021
    assert gain_db(response, 2000) - gain_db(response, 1000) == pytest.approx(expected, abs=0.02)
    filtered = col.colour(impulse(), col.tilt(BENT, slope_db_per_octave=slope))
    assert measured_db(filtered, 2000) - measured_db(filtered, 1000) == pytest.approx(
        expected, abs=0.08
    )  # warping


def test_pickup_resonance():
    cutoff_hz = col.warp(3000, RATE)
    assert cutoff_hz == pytest.approx(44_100 / np.pi * np.tan(np.pi * 3000 / 44_100))
    response = col.resonant_lowpass(BENT, cutoff_hz=cutoff_hz, q=2.0)
    assert gain_db(response, 3000) == pytest.approx(20 * np.log10(2), abs=0.05)
    assert gain_db(response, 100) == pytest.approx(0, abs=0.02)
    filtered = col.colour(impulse(), response)
    assert measured_db(filtered, 3000) == pytest.approx(20 * np.log10(2), abs=0.05)


def test_colour_is_the_bilinear_filter():
    # An analogue one-pole pair through scipy's bilinear transform, sample by sample
    from scipy import signal

    response = col.resonant_lowpass(BENT, cutoff_hz=1000.0, q=1.5)
    w0 = 2 * np.pi * 1000
    b, a = signal.bilinear([w0**2], [1, w0 / 1.5, w0**2], RATE)
    audio = np.random.default_rng(0).standard_normal((1, 20_000)).astype(np.float32)
    np.testing.assert_allclose(
        col.colour(audio, response)[0], signal.lfilter(b, a, audio[0]), atol=2e-5
    )


def test_highpass_is_3_db_down_at_its_cutoff():
    filtered = col.colour(impulse(), col.highpass(BENT, cutoff_hz=120))
    assert measured_db(filtered, 120) == pytest.approx(-3.01, abs=0.1)
    assert measured_db(filtered, 30) == pytest.approx(-24.1, abs=0.5)


def test_peak_at_its_centre():
    response = col.peak(BENT, center_hz=1000, gain_db=6, q=1)
    assert gain_db(response, 1000) == pytest.approx(6, abs=0.01)
    assert gain_db(response, 20_000) == pytest.approx(0, abs=0.05)


def test_colouring_is_causal():
    draws = [col.draw_response(RATE, np.random.default_rng(seed)) for seed in range(20)]
    for response in draws:
        filtered = col.colour(impulse(at=5_000), response)
        before = np.square(filtered[0, :4_990]).sum()
        assert (
            before < 1e-4 * np.square(filtered).sum()
        )  # what is there comes from the grid's finite resolution


def test_early_reflections_arrive_where_they_should():
    response = col.early_reflections(
        GRID, delays_ms=np.array([5.0]), gains=np.array([0.3]), damping_hz=1e9
    )
    filtered = col.colour(impulse(at=100), response)[0]
    late = 100 + round(0.005 * RATE)
    assert np.sum(filtered[late - 20 : late + 20]) == pytest.approx(
        0.3, abs=0.02
    )  # between samples: a sinc
    assert np.abs(filtered[late + 200 :]).max() < 0.005
    for delay in (0.0, 15.0):
        with pytest.raises(
            ValueError, match=f"delays_ms must lie between 0 and 15, got \\[{delay}\\]"
        ):
            col.early_reflections(GRID, delays_ms=np.array([delay]), gains=np.array([0.1]))


@pytest.mark.parametrize("speed", [1.03, 0.97, 1.01])
def test_speed_moves_the_pitch(speed):
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)[None].astype(np.float32)
    faster = col.colour(tone, speed=speed)
    assert faster.shape[1] == pytest.approx(
        RATE / speed, rel=0.004
    )  # lengths that transform fast, as documented
    middle = faster[0, 2_000:34_768] * np.hanning(32_768)
    found = np.argmax(np.abs(np.fft.rfft(middle, 1 << 20))) * RATE / (1 << 20)
    assert found == pytest.approx(1000 * RATE / faster.shape[1], rel=1e-4)  # the bin is 0.04 Hz
    assert np.abs(faster[0, 2_000:-2_000]).max() == pytest.approx(1, abs=0.01)
    with pytest.raises(ValueError, match=r"speed must be 0\.5 to 2, got 3"):
        col.colour(tone, speed=3)


@pytest.mark.parametrize("pink", [False, True])
def test_noise_level_and_slope(pink):
    hiss = aug.noise(np.random.default_rng(0), 1 << 18, pink=pink)
    assert np.sqrt(np.mean(np.square(hiss))) == pytest.approx(1, abs=1e-4)
    power = np.abs(np.fft.rfft(hiss)) ** 2
    octaves = [power[1 << k : 1 << k + 1].mean() for k in range(10, 16)]
    slope = np.polyfit(np.arange(6), 10 * np.log10(octaves), 1)[0]
    assert slope == pytest.approx(-3.01 if pink else 0, abs=0.3)


def test_hum_by_hand():
    found = aug.hum(RATE, RATE, mains_hz=50, amplitudes=np.array([0.5, 0.25]), phase=0.3)
    time = np.arange(RATE) / RATE
    # harmonic k turns k times as fast, its phase included; one sample ahead of time zero
    turn = 2 * np.pi * 50 * time + 0.3
    expected = 0.5 * np.sin(turn) + 0.25 * np.sin(2 * turn)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_clicks_are_few_and_bounded():
    ticks = aug.clicks(np.random.default_rng(0), RATE, count=3)
    assert 0 < np.abs(ticks).max() <= 1
    assert np.count_nonzero(ticks) <= 3 * 40
    assert not aug.clicks(np.random.default_rng(0), RATE, count=0).any()


def test_fade_and_fit_by_hand():
    ones = np.ones((1, 4), np.float32)
    faded = aug.fade(ones, start=2, end=1)
    np.testing.assert_allclose(
        faded, [[0.5 - 0.5 * np.cos(np.pi / 4), 0.5 + 0.5 * np.cos(np.pi / 4), 1, 0.5]], atol=1e-6
    )
    assert ones.all()  # the input is left alone
    ramp = np.arange(1, 5, dtype=np.float32)[None]
    np.testing.assert_array_equal(aug.fit(ramp, 3, offset=2), [[3, 4, 0]])
    np.testing.assert_array_equal(aug.fit(ramp, 3, offset=-2), [[0, 0, 1]])
    np.testing.assert_array_equal(aug.fit(ramp, 2, offset=9), [[0, 0]])


@pytest.fixture(scope="module")
def clip():
    rng = np.random.default_rng(7)
    decay = np.exp(-np.arange(2 * RATE) / (0.4 * RATE))
    return (0.3 * decay * rng.standard_normal(2 * RATE))[None].astype(np.float32)


def test_augment_is_finite_repeatable_and_within_full_scale(clip):
    peaks, signs = [], []
    for seed in range(150):
        out = aug.augment(clip, RATE, np.random.default_rng(seed))
        assert (out.shape, out.dtype) == (clip.shape, np.float32)
        assert np.isfinite(out).all()
        peaks.append(20 * np.log10(np.abs(out).max()))
        signs.append(np.sign(out[0, np.argmax(np.abs(out))]))
    assert max(peaks) <= 20 * np.log10(0.999) + 1e-4
    assert min(peaks) < -27
    assert 150 * np.mean(np.diff(np.sort(peaks)) < 1.5) > 100  # the 30 dB are filled
    again = aug.augment(clip, RATE, np.random.default_rng(5))
    np.testing.assert_array_equal(again, aug.augment(clip, RATE, np.random.default_rng(5)))


def test_polarity_is_turned_half_the_time(clip):
    spike = np.zeros_like(clip)
    spike[0, RATE] = 1
    signs = []
    for seed in range(60):
        out = aug.augment(spike, RATE, np.random.default_rng(seed), strength=1e-6)
        signs.append(np.sign(out[0, np.argmax(np.abs(out))]))
    assert 15 < signs.count(-1) < 45  # binomial(60, 1/2): 4 standard deviations


def test_strength_zero_gives_the_clip_back(clip):
    np.testing.assert_array_equal(
        aug.augment(clip, RATE, np.random.default_rng(0), strength=0), clip
    )


def test_without_its_parts_a_clip_changes_its_level_alone(clip):
    rest = aug.augment(clip, RATE, np.random.default_rng(3), parts=())
    gain = rest[0, np.argmax(np.abs(clip))] / clip[0, np.argmax(np.abs(clip))]
    np.testing.assert_allclose(rest, gain * clip, rtol=0, atol=1e-6)


@pytest.mark.parametrize("left_out", aug.PARTS)
def test_a_part_that_is_left_out_changes_most_clips(clip, left_out):
    others = [part for part in aug.PARTS if part != left_out]
    seeds = range(12)
    whole = [aug.augment(clip, RATE, np.random.default_rng(seed)) for seed in seeds]
    some = [aug.augment(clip, RATE, np.random.default_rng(seed), parts=others) for seed in seeds]
    assert sum(not np.array_equal(one, other) for one, other in zip(whole, some, strict=True)) >= 5


def test_a_longer_clip_is_cropped_somewhere(clip):
    rng = np.random.default_rng(0)
    crops = [aug.augment(clip, RATE, rng, strength=0, samples=RATE) for _ in range(8)]
    assert all(crop.shape == (1, RATE) for crop in crops)
    assert len({crop.tobytes() for crop in crops}) == 8
    short = aug.augment(clip, RATE, rng, samples=3 * RATE)
    assert short.shape == (1, 3 * RATE)


@pytest.mark.parametrize("samples", [1, 2, 100, 1_000])
def test_short_and_silent_clips(samples):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert np.isfinite(aug.augment(np.ones((1, samples), np.float32), RATE, rng)).all()
    assert not aug.augment(np.zeros((2, samples), np.float32), RATE, rng).any()


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000, 96_000])
def test_other_sample_rates(rate):
    tone = np.sin(np.arange(rate) * 0.05)[None].astype(np.float32)
    for seed in range(10):
        out = aug.augment(tone, rate, np.random.default_rng(seed))
        assert np.isfinite(out).all()
        assert np.abs(out).max() <= 0.9991


def test_bad_arguments(clip):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="strength must be 0 to 1, got 2"):
        aug.augment(clip, RATE, rng, strength=2)
    with pytest.raises(ValueError, match="parts must be among tone, time, noise, got dirt"):
        aug.augment(clip, RATE, rng, parts=("tone", "dirt"))
    with pytest.raises(ValueError, match="not empty"):
        aug.augment(np.zeros((1, 0), np.float32), RATE, rng)
    with pytest.raises(ValueError, match="0 samples wanted"):
        aug.augment(clip, RATE, rng, samples=0)
