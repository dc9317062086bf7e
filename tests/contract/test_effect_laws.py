"""Laws that every pedal obeys; a new one is tested as soon as the registry lists it."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.effects import effect as effect_module
from labkit.effects.chain import build_board
from labkit.effects.effect import Effect, process, process_blocks
from labkit.effects.registry import EFFECTS
from labkit.signal.guitar import phrase
from labkit.signal.seeds import generator
from labkit.signal.units import db_to_amplitude, set_rms

SAMPLE_RATE = 44_100
# Two float32 renders of the same thing: biquads at a low corner frequency are worst, at -78 dB.
SAME_DB = -60.0
# A broken law is far above that; the mildest (a bit crusher's superposition) is near -20 dB.
BROKEN_DB = -40.0
INAUDIBLE_DB = -80.0
# Not the centre, where an EQ's gain is 0 dB and its other knobs cannot matter.
OFF_CENTRE = 0.75

every_effect = pytest.mark.parametrize("effect", EFFECTS.values(), ids=EFFECTS)


def guitar(index: int, *, seconds: float = 0.5) -> np.ndarray:
    rng = generator(0, "law", index)
    return set_rms(phrase(rng, sample_rate=SAMPLE_RATE, seconds=seconds, style="strum"), -20.0)


def at(effect: Effect, unit: float = OFF_CENTRE) -> dict[str, float]:
    return effect.space.from_unit(np.full(len(effect.space), unit))


def render(effect: Effect, audio: np.ndarray, params: dict[str, float]) -> np.ndarray:
    return effect.render(audio, SAMPLE_RATE, **params)


def error_db(expected: np.ndarray, given: np.ndarray) -> float:
    energy = np.square(expected, dtype=np.float64).sum()
    error = np.square(expected - given, dtype=np.float64).sum()
    return float(10 * np.log10(error / max(energy, 1e-20) + 1e-30))


def settings_in_use(effect: Effect) -> list[dict[str, float]]:
    return [at(effect), *effect.space.corners()]


def impulse_response(
    effect: Effect, params: dict[str, float], *, start: int, samples: int
) -> np.ndarray:
    """(start + samples,), with an impulse at `start`, high enough for gates and bit crushers."""
    audio = np.zeros((1, start + samples), dtype=np.float32)
    audio[0, start] = 0.5
    return render(effect, audio, params)[0]


# The record


@every_effect
def test_the_record_and_its_key_agree(effect: Effect) -> None:
    assert EFFECTS[effect.name] is effect
    assert not effect.level_only or (effect.lti and effect.memory_ms == 0)


@every_effect
def test_every_knob_reaches_the_plugin(effect: Effect) -> None:
    arguments = effect.arguments(at(effect))
    plugin = effect.build(at(effect))
    for name, value in arguments.items() if effect.plugin else ():
        # The plug-in holds float32, and its reverb and delay scale a knob on the way in and out.
        assert getattr(plugin, name) == pytest.approx(value, rel=1e-5), name
    for knob in effect.space.names:
        assert effect.arguments({**at(effect), knob: effect.space[knob].low}) != arguments, knob


# Shape, dtype, finiteness


@every_effect
@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (2, 2), (1, 2), (1, 1000), (2, 1000)])
def test_shape_and_dtype_are_kept(effect: Effect, shape: tuple[int, int]) -> None:
    audio = generator(0, "shape").uniform(-0.5, 0.5, shape)
    before = audio.copy()
    for dtype in (np.float32, np.float64):
        out = render(effect, audio.astype(dtype), at(effect))
        assert out.shape == shape
        assert out.dtype == np.float32
    np.testing.assert_array_equal(audio, before)


@every_effect
def test_output_is_finite_everywhere_in_the_space(effect: Effect) -> None:
    noise = np.sign(generator(0, "full scale").standard_normal((2, 2000)))
    signals = {
        "silence": np.zeros((2, 2000)),
        "DC": np.ones((2, 2000)),
        "negative DC": -np.ones((1, 2000)),
        "full scale": noise,
        "one sample": np.ones((1, 1)),
        "beyond full scale": 100 * noise,
    }
    for params, (name, audio) in itertools.product(
        [at(effect, 0.5), *settings_in_use(effect)], signals.items()
    ):
        out = render(effect, audio, params)
        assert np.isfinite(out).all(), (name, params)
        assert name != "silence" or not out.any(), f"silence does not stay silence at {params}"


# Channels, state


@every_effect
def test_stereo_is_two_monos_unless_channels_are_linked(effect: Effect) -> None:
    stereo = np.concatenate([guitar(0), guitar(1)])
    for params in (at(effect), effect.space.corners()[-1]):
        monos = np.concatenate([render(effect, channel[None], params) for channel in stereo])
        together = render(effect, stereo, params)
        if effect.name == "reverb":
            assert error_db(monos, together) > BROKEN_DB
        else:
            np.testing.assert_array_equal(together, monos)


@every_effect
def test_channels_of_a_very_short_clip_stay_apart(effect: Effect) -> None:
    long = np.array([[0.5, -0.3, 0.0, 0.0], [0.1, 0.4, 0.0, 0.0]])
    expected = render(effect, long, at(effect))
    for samples in (1, 2):
        short = render(effect, long[:, :samples], at(effect))
        np.testing.assert_array_equal(short, expected[:, :samples])


@every_effect
def test_same_input_same_samples_and_no_leaked_state(effect: Effect) -> None:
    audio = guitar(0)
    for params in (at(effect), effect.space.corners()[0]):
        first = render(effect, audio, params)
        np.testing.assert_array_equal(render(effect, audio, params), first)
        plugin = effect.build(params)
        plugin(guitar(1), SAMPLE_RATE, reset=True)
        np.testing.assert_array_equal(plugin(audio, SAMPLE_RATE, reset=True), first)


@every_effect
def test_declared_state_is_there(effect: Effect) -> None:
    audio = guitar(0)
    # Before the cut it is loud and after it quiet, so that a level follower has to let go; only a
    # short time after the cut counts, because a short filter forgets within milliseconds.
    cut = int(np.argmax(np.abs(audio[0, : audio.shape[1] // 2])))
    audio[:, cut:] *= 0.1
    after = slice(cut, cut + SAMPLE_RATE // 100)
    late = audio.copy()
    late[:, :cut] = 0.0
    errors_db = [
        error_db(render(effect, audio, params)[:, after], render(effect, late, params)[:, after])
        for params in settings_in_use(effect)
    ]
    if effect.memory_ms > 0:
        assert max(errors_db) > BROKEN_DB
    else:
        assert max(errors_db) < SAME_DB


# Knobs


@every_effect
def test_no_knob_is_dead(effect: Effect) -> None:
    audio = guitar(0, seconds=2.0)  # room for several echoes
    for knob in effect.space.parameters:
        ends = ({**at(effect), knob.name: end} for end in (knob.low, knob.high))
        low, high = (render(effect, audio, params) for params in ends)
        assert error_db(low, high) > INAUDIBLE_DB, knob.name


@every_effect
@given(data=st.data())
@settings(max_examples=50)
def test_units_and_bins_round_trip_over_the_whole_space(
    effect: Effect, data: st.DataObject
) -> None:
    n = len(effect.space)
    units = np.array(data.draw(st.lists(st.floats(0, 1), min_size=n, max_size=n)))
    params = effect.space.from_unit(units)
    effect.space.check(params)
    # A knob holds about 16 digits; over its range fewer, by the ratio of offset to span.
    np.testing.assert_allclose(effect.space.to_unit(params), units, rtol=0, atol=1e-12)
    n_bins = data.draw(st.integers(1, 256))
    bins = data.draw(st.lists(st.integers(0, n_bins - 1), min_size=n, max_size=n))
    centres = effect.space.from_unit((np.array(bins) + 0.5) / n_bins)
    assert effect.space.to_bins(centres, n_bins) == bins


# Time


@every_effect
def test_nothing_comes_before_its_time_or_late(effect: Effect) -> None:
    start = 500
    for params in effect.space.corners():
        response = np.abs(impulse_response(effect, params, start=start, samples=2000))
        assert not response[:start].any()
        late_s = (np.argmax(response > 1e-3 * response.max()) - start) / SAMPLE_RATE
        # A vibrato is nothing but a delay.
        assert late_s == (pytest.approx(0.007, abs=0.002) if effect.name == "vibrato" else 0)


def in_blocks(audio: np.ndarray, size: int) -> list[np.ndarray]:
    return [audio[:, start : start + size] for start in range(0, audio.shape[1], size)]


# Of pedalboard's other plug-ins, some keep samples back.
OTHERS = {
    "PitchShift": {"semitones": 12.0},  # ours: it keeps none, but wants them all
    "MP3Compressor": {},
    "GSMFullRateCompressor": {},
    "Resample": {"target_sample_rate": 8000.0},
}


@pytest.mark.parametrize("name", [*EFFECTS, *OTHERS])
def test_in_blocks_it_sounds_as_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = np.concatenate([guitar(0, seconds=2.0), guitar(1, seconds=2.0)])

    def fresh():
        if name in EFFECTS:
            return EFFECTS[name].build(at(EFFECTS[name]))
        return build_board([(name, OTHERS[name])])[0]

    def blockwise() -> np.ndarray:
        made = process_blocks([fresh()], in_blocks(audio, 12_345), SAMPLE_RATE)
        return np.concatenate([*made], axis=1)

    whole = process(fresh(), audio, SAMPLE_RATE)
    assert blockwise().shape == audio.shape
    assert error_db(whole, blockwise()) < -120
    # Longer than one call takes: each quarter of a second has its level, however phases turn.
    monkeypatch.setattr(effect_module, "_SEGMENT_SAMPLES", 30_000)
    assert blockwise().shape == audio.shape
    levels = [sound.reshape(2, 8, -1).std(-1) for sound in (whole, blockwise())]
    assert np.abs(20 * np.log10(levels[1] / levels[0])).max() < 3


@every_effect
def test_time_invariance_is_the_declared_one(effect: Effect) -> None:
    audio, shift = guitar(0), 4999
    later = np.pad(audio, ((0, 0), (shift, 0)))
    errors_db = [
        error_db(render(effect, audio, params), render(effect, later, params)[:, shift:])
        for params in settings_in_use(effect)
    ]
    if effect.time_invariant:
        assert max(errors_db) < SAME_DB
    else:
        assert min(errors_db) > BROKEN_DB


@every_effect
def test_linearity_is_the_declared_one(effect: Effect) -> None:
    one, other = guitar(0), guitar(1)
    errors_db = []
    for params in settings_in_use(effect):
        wet, wet_other = render(effect, one, params), render(effect, other, params)
        scaled = error_db(0.5 * wet, render(effect, 0.5 * one, params))
        added = error_db(wet + wet_other, render(effect, one + other, params))
        errors_db.append((scaled, added))
    if effect.linear:
        assert np.max(errors_db) < SAME_DB
    else:
        # It must not scale, nor add, like a linear effect in all its corners.
        assert np.max(errors_db, axis=0).min() > BROKEN_DB


@every_effect
def test_level_only_is_the_declared_one(effect: Effect) -> None:
    audio = guitar(0)
    loud = np.abs(audio) > 1e-3  # where a ratio is not rounding
    wets = [render(effect, audio, params) for params in effect.space.corners()]
    spreads = [np.ptp(wet[loud] / audio[loud]) for wet in wets]
    # float32 keeps seven digits of a gain of at most 18 dB
    assert (max(spreads) < 1e-5) == effect.level_only


@every_effect
def test_memory_is_the_declared_one(effect: Effect) -> None:
    if not effect.linear:
        # No impulse response tells; whether there is any memory is the law of declared state.
        assert effect.memory_ms in (0.0, float("inf"))
        return
    # An LFO lengthens the response at some moments: four within its shortest and longest period.
    starts = [100] if effect.time_invariant else [100, 3000, 8000, 40_000]
    samples = SAMPLE_RATE if np.isfinite(effect.memory_ms) else 6 * SAMPLE_RATE
    longest_ms = 0.0
    for params, start in itertools.product(effect.space.corners(), starts):
        tail = np.abs(impulse_response(effect, params, start=start, samples=samples)[start:])
        last = np.flatnonzero(tail > 1e-3 * tail.max())[-1]
        longest_ms = max(longest_ms, 1000 * last / SAMPLE_RATE)
    if np.isfinite(effect.memory_ms):
        assert 0.75 * effect.memory_ms <= longest_ms <= effect.memory_ms
    else:
        assert longest_ms > 1000


@every_effect
def test_the_level_knob_makes_up_for_the_level(effect: Effect) -> None:
    knob, audio, shift_db = effect.level_knob, guitar(0), 5.0
    if effect.linear or knob is None:
        assert knob is None
        return
    gain = db_to_amplitude(shift_db)
    for unit in (0.3, 0.4, 0.5):
        params = at(effect, unit)
        moved = {**params, knob.name: params[knob.name] + knob.per_db * shift_db}
        hotter = render(effect, gain * audio, params)
        made_up = 1.0 if knob.absorbs else gain
        assert error_db(hotter, made_up * render(effect, audio, moved)) < SAME_DB
        assert error_db(hotter, made_up * render(effect, audio, params)) > BROKEN_DB
