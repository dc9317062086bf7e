"""Every differentiable pedal against pedalboard, sample by sample, and the laws they all obey."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.effects import faust
from labkit.effects.chain import Chain, Step
from labkit.effects.effect import process
from labkit.effects.registry import EFFECTS
from labkit.measure.metrics import relative_error_db

RATES = (44_100, 48_000)
RATE = RATES[0]
FILTERS = ("highpass", "lowpass", "low_shelf", "peak", "high_shelf")
# Most agree to the bit where nothing but sums and products is left: tanh leaves -144 dB, a knob in
# float32 -140 dB, powers in float32 -110 dB. What is left of a phaser or chorus is the last bit of
# a float32 sine. It turns the last bit of a delay of up to 2048 samples, 2^-13 of a sample, which
# for a lone click comes to -77 dB (noise stays below -99 dB over the space).
LIMIT_DB = dict.fromkeys(EFFECTS, -120.0)
LIMIT_DB |= dict.fromkeys(("compressor", "limiter", "noise_gate", "phaser"), -100.0)
LIMIT_DB |= dict.fromkeys(("chorus", "flanger", "vibrato"), -75.0)
# The same in Faust, over the space: most agree to the bit; the phaser's and the room's sums have
# another order (-107 dB), a peak's coefficients too (-90 dB), and a chorus has its last bit (-86).
FAUST_LIMIT_DB = dict.fromkeys(EFFECTS, -100.0)
FAUST_LIMIT_DB |= dict.fromkeys(("peak", "chorus", "flanger", "vibrato"), -80.0)

every_pedal = pytest.mark.parametrize("name", EFFECTS)
every_rate = pytest.mark.parametrize("sample_rate", RATES)


def render(name: str, audio: np.ndarray, sample_rate: int, params: dict) -> np.ndarray:
    # Built by hand: `Effect.render` refuses what lies beyond the space.
    return process(EFFECTS[name].build(params), audio, sample_rate)


@pytest.fixture(scope="session")
def assert_parity(stacked):
    """One batched call against one render of pedalboard per item."""

    def check(name: str, audio: np.ndarray, sample_rate: int, presets: list[dict]) -> None:
        knobs = stacked(presets)
        given = EFFECTS[name].differentiable(torch.from_numpy(audio), sample_rate, **knobs).numpy()
        for item, wet_hat, params in zip(audio, given, presets, strict=True):
            wet = render(name, item, sample_rate, params)
            assert relative_error_db(wet, wet_hat) <= LIMIT_DB[name], params

    return check


# Parity


@every_pedal
@every_rate
def test_parity_at_corners_and_beyond(name, sample_rate, clips, settings_of, assert_parity) -> None:
    for setting in settings_of(name):
        assert_parity(name, clips(sample_rate), sample_rate, [setting] * 5)


@every_pedal
@pytest.mark.parametrize("sample_rate", [2000, 8000, 96_000])
def test_parity_at_other_rates_and_in_mono(name, sample_rate, clips, setting_at, assert_parity):
    if name in FILTERS and sample_rate < 8000:
        pytest.skip("the cutoff lies above half the rate")
    audio = clips(RATE)[:2, :1, :9000]
    assert_parity(name, audio, sample_rate, [setting_at(name, 0.3), setting_at(name, 0.5)])


@every_pedal
@every_rate
@given(data=st.data())
@settings(max_examples=6)
def test_parity_anywhere(name, sample_rate, data, clips, assert_parity) -> None:
    audio, space = clips(sample_rate), EFFECTS[name].space
    n_units = len(audio) * len(space)
    units = data.draw(st.lists(st.floats(0, 1), min_size=n_units, max_size=n_units))
    level = data.draw(st.sampled_from([0.1, 1.0, 4.0]))
    presets = [space.from_unit(row) for row in np.reshape(units, (len(audio), -1))]
    assert_parity(name, (level * audio).astype(np.float32), sample_rate, presets)


@pytest.mark.parametrize(("names", "channels"), [(list(EFFECTS), 2), (["reverb"], 1)])
def test_parity_of_the_pedals_in_faust(names, channels, clips, setting_at) -> None:
    if faust.missing():
        pytest.skip(f"Faust cannot compile here: {faust.missing()}")
    # One program plays all of them side by side, each with settings of its own.
    in_a_row = faust.program(Chain(tuple(Step(k, setting_at(k)) for k in names)), channels=channels)
    *before, process_line = in_a_row.rstrip().split("\n")
    beside = process_line.replace("=", f"= {', '.join('_' * channels)} <:").replace(" : ", ", ")
    play = faust.Renderer("\n".join([*before, beside]))
    errors_db, settings = dict.fromkeys(names, -np.inf), {}
    for name in names:
        corners, rng = EFFECTS[name].space.corners(), np.random.default_rng(0)
        drawn = [EFFECTS[name].space.sample(rng) for _ in range(3)]
        settings[name] = [*corners[:: max(1, len(corners) // 5)], *drawn]
    for sample_rate, k in itertools.product(RATES, range(max(map(len, settings.values())))):
        chosen = {name: some[k % len(some)] for name, some in settings.items()}
        values = [value for setting in chosen.values() for value in setting.values()]
        for item in clips(sample_rate)[:4, :channels]:
            wets = np.split(play(item, sample_rate, values), len(names))
            for (name, setting), wet in zip(chosen.items(), wets, strict=True):
                error_db = relative_error_db(render(name, item, sample_rate, setting), wet)
                assert error_db <= FAUST_LIMIT_DB[name], (name, setting)
                errors_db[name] = max(errors_db[name], error_db)
    print(*(f"{name} {error_db:.0f} dB" for name, error_db in errors_db.items()), sep=", ")


@every_pedal
def test_parity_over_many_blocks_and_a_long_pause(name, clips, assert_parity) -> None:
    sounding = np.tile(clips(RATE)[:2], 4)
    pause = np.zeros((2, 2, 2 * RATE), np.float32)
    audio = np.concatenate([sounding, pause, sounding], axis=-1)
    assert audio.shape[-1] >= 5 * RATE
    corners = EFFECTS[name].space.corners()
    assert_parity(name, audio, RATE, [corners[0], corners[-1]])


@pytest.mark.parametrize("name", FILTERS)
def test_a_small_state_is_dropped_where_pedalboard_drops_it(name, setting_at) -> None:
    # The state is below 1e-8 when a block of 8192 samples ends.
    audio, knobs = np.zeros((1, 1, 8300), np.float32), setting_at(name, 0.2)
    audio[..., 8180] = 1e-8
    wet = EFFECTS[name].differentiable(torch.from_numpy(audio), RATE, **knobs).numpy()
    np.testing.assert_array_equal(wet[0], render(name, audio[0], RATE, knobs))
    assert wet[..., 8180:8192].any()
    assert not wet[..., 8192:].any()


# Laws


@every_pedal
def test_unusable_arguments_are_refused(name, setting_at) -> None:
    pedal, knobs = EFFECTS[name].differentiable, setting_at(name)
    audio = torch.zeros(2, 1, 4)
    with pytest.raises(TypeError, match="audio must be a floating-point tensor"):
        pedal(audio.short(), RATE, **knobs)
    with pytest.raises(ValueError, match=r"audio must be \(batch, channels, samples\)"):
        pedal(audio[0], RATE, **knobs)
    with pytest.raises(ValueError, match="sample_rate must be positive, got nan Hz"):
        pedal(audio, float("nan"), **knobs)
    for knob in knobs:
        with pytest.raises(ValueError, match=f"{knob} must be a number or of shape"):
            pedal(audio, RATE, **{**knobs, knob: torch.ones(3)})


@every_pedal
def test_what_is_no_number_shows_and_stays_where_it_is(name, clips, setting_at) -> None:
    # An optimiser that diverged must be seen, and neither hang nor reach other items.
    pedal, middle = EFFECTS[name].differentiable, setting_at(name)
    audio = torch.from_numpy(clips(RATE)[[0, 1, 0], :1])
    for knob, value in itertools.product(middle, ("nan", "inf", "-inf")):
        knobs = {key: torch.full((3,), number) for key, number in middle.items()}
        knobs[knob][1] = float(value)
        is_nan = pedal(audio, RATE, **knobs).isnan().any(2).flatten().tolist()
        assert is_nan[::2] == [False, False], (knob, value)
        assert is_nan[1] or value != "nan", knob
    audio[1, 0, 100] = torch.nan
    leaf = audio.requires_grad_()
    knobs = {key: torch.full((3,), v).requires_grad_() for key, v in middle.items()}
    wet = pedal(leaf, RATE, **knobs)
    assert wet.isnan().any(2).flatten().tolist() == [False, True, False]
    assert not wet[1, :, :100].isnan().any()
    wet.square().sum().backward()
    for grad in (leaf.grad, *(value.grad for value in knobs.values())):
        assert grad[[0, 2]].isfinite().all()


@every_pedal
def test_devices_agree(name, device, clips, setting_at, stacked) -> None:
    audio = torch.from_numpy(clips(RATE))

    def wet_and_gradients(audio: torch.Tensor) -> list[torch.Tensor]:
        knobs = stacked([setting_at(name, 0.6)] * 5)
        leaves = {key: value.to(audio.device).requires_grad_() for key, value in knobs.items()}
        dry = audio.clone().requires_grad_()
        wet = EFFECTS[name].differentiable(dry, RATE, **leaves)
        assert wet.device == audio.device
        (wet * torch.linspace(-1, 2, wet.shape[-1], device=wet.device)).sum().backward()
        return [x.detach().cpu() for x in (wet, dry.grad, *(x.grad for x in leaves.values()))]

    pairs = zip(wet_and_gradients(audio), wet_and_gradients(audio.to(device)), strict=True)
    # Sums over 35 000 samples in float32, in another order; the last digits of sines and powers.
    assert all(relative_error_db(here, there) <= -60 for here, there in pairs)
