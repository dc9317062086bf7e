"""Chorus and phaser in torch: the same samples as pedalboard's, and gradients one can trust."""

import itertools
from functools import cache, reduce

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from torch import Tensor

from labkit.effects.effect import process
from labkit.effects.registry import EFFECTS
from labkit.effects.twins.modulation import chorus, phaser
from labkit.measure.parity import relative_error_db, signals

TWINS = {"chorus": chorus, "phaser": phaser}
RATES = (44_100, 48_000)
SAMPLE_RATE = RATES[0]
# What is left is the last bit of a float32 sine. The chorus feels it most: it turns the last bit of a delay of up to
# 2048 samples, 2^-13 of a sample, which for a lone click comes to -77 dB (noise stays below -99 dB over the space).
PARITY_DB = {"chorus": -75.0, "phaser": -100.0}
# Outside the space: nothing moves, everything moves, delay and frequency held at either end.
BEYOND = {
    "chorus": [
        {"rate_hz": 0.0, "depth": 0.0, "centre_delay_ms": 0.0, "feedback": -0.9, "mix": 1.0},
        {"rate_hz": 100.0, "depth": 1.0, "centre_delay_ms": 100.0, "feedback": 0.9, "mix": 1.0},
        {"rate_hz": 20.0, "depth": 1.0, "centre_delay_ms": 1.0, "feedback": 0.9, "mix": 0.7},
        {"rate_hz": 5.0, "depth": 1.5, "centre_delay_ms": 99.0, "feedback": 0.5, "mix": 0.7},
    ],
    "phaser": [
        {"rate_hz": 0.0, "depth": 0.0, "centre_frequency_hz": 20.0, "feedback": -0.9, "mix": 1.0},
        {
            "rate_hz": 100.0,
            "depth": 1.0,
            "centre_frequency_hz": 20_000.0,
            "feedback": 0.9,
            "mix": 1.0,
        },
        {"rate_hz": 20.0, "depth": 1.0, "centre_frequency_hz": 10.0, "feedback": 0.9, "mix": 0.7},
        {"rate_hz": 3.0, "depth": 2.0, "centre_frequency_hz": 1000.0, "feedback": 0.99, "mix": 0.0},
    ],
}

every_twin = pytest.mark.parametrize("name", TWINS)
every_rate = pytest.mark.parametrize("sample_rate", RATES)


@cache
def tried(sample_rate: int) -> np.ndarray:
    """(5, 2, samples): the five signals of every parity test, a little over two of the original's blocks."""
    return np.stack(list(signals(sample_rate, seconds=0.4).values()))


def few_corners(name: str) -> list[dict[str, float]]:
    """Six of the 32, in which every knob is at either end at least twice."""
    return EFFECTS[name].space.corners()[::5][:6]


def middle(name: str) -> dict[str, float]:
    space = EFFECTS[name].space
    return space.from_unit(np.full(len(space), 0.5))


def stacked(
    presets: list[dict[str, float]], dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    return {
        name: torch.tensor([setting[name] for setting in presets], dtype=dtype)
        for name in presets[0]
    }


def assert_parity(
    name: str, audio: np.ndarray, sample_rate: int, presets: list[dict[str, float]]
) -> None:
    """One batched call of the twin against one render of pedalboard per item of `audio` (items, channels, samples)."""
    wet_hat = TWINS[name](torch.from_numpy(audio), sample_rate, **stacked(presets)).numpy()
    for item, given_item, params in zip(audio, wet_hat, presets, strict=True):
        # Built by hand: `Effect.render` refuses what lies beyond the space.
        wet = process(EFFECTS[name].build(params), item, sample_rate)
        assert relative_error_db(wet, given_item) <= PARITY_DB[name], params


# Closed forms


def test_chorus_at_rest_is_a_comb() -> None:
    impulse = torch.zeros(1, 1, 31, dtype=torch.float64)
    impulse[..., 0] = 1
    wet = chorus(
        impulse, 1000, rate_hz=1.0, depth=0.0, centre_delay_ms=7.25, feedback=0.5, mix=0.25
    )[0, 0]
    # 7.25 samples: three quarters after 7, one after 8; back in, inverted and halved, one sample later; and again.
    tap, expected = np.array([0.75, 0.25]), np.zeros(31)
    expected[0] = 0.75
    expected[7:9] = 0.25 * tap
    expected[15:18] = 0.25 * -0.5 * np.convolve(tap, tap)
    expected[23:27] = 0.25 * 0.25 * np.convolve(np.convolve(tap, tap), tap)
    np.testing.assert_allclose(wet.numpy(), expected, rtol=0, atol=1e-15)


def test_chorus_swings_by_ten_milliseconds_times_its_depth() -> None:
    # Through the delay line a ramp of slope one comes out late by the delay.
    sample_rate, centre_ms = 2000, 20.0
    ramp = torch.arange(2 * sample_rate, dtype=torch.float64).view(1, 1, -1)
    wet = chorus(
        ramp, sample_rate, rate_hz=1.0, depth=0.5, centre_delay_ms=centre_ms, feedback=0.0, mix=1.0
    )
    delay_ms = 1000 * (ramp - wet)[0, 0] / sample_rate
    seconds = ramp[0, 0] / sample_rate
    expected_ms = centre_ms - 5 * torch.sin(2 * np.pi * seconds)
    torch.testing.assert_close(delay_ms[100:], expected_ms[100:], rtol=0, atol=1e-9)


def test_delay_is_held_between_one_and_110_milliseconds() -> None:
    sample_rate = 2000
    ramp = torch.arange(sample_rate, dtype=torch.float64).view(1, 1, -1)
    knobs = {"rate_hz": 5.0, "depth": 3.0, "feedback": 0.0, "mix": 1.0}
    for centre_ms, held_ms in [(1.0, (1.0, 31.0)), (200.0, (70.0, 110.0))]:
        wet = chorus(ramp, sample_rate, centre_delay_ms=centre_ms, **knobs)
        delay_ms = (1000 * (ramp - wet)[0, 0] / sample_rate)[sample_rate // 4 :]
        assert (delay_ms.min().item(), delay_ms.max().item()) == pytest.approx(held_ms, abs=0.01)


@pytest.mark.parametrize("feedback", [0.0, 0.6, -0.4])
def test_phaser_at_rest_is_six_allpasses_in_a_loop(feedback: float) -> None:
    noise = torch.randn(1, 1, 2000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    knobs = {
        "rate_hz": 1.0,
        "depth": 0.0,
        "centre_frequency_hz": 900.0,
        "feedback": feedback,
        "mix": 1.0,
    }
    wet = phaser(noise, SAMPLE_RATE, **knobs)[0, 0]
    warped = np.tan(np.pi * 900 / SAMPLE_RATE)
    pole = (1 - warped) / (1 + warped)
    # In powers of z^-1: above / below is ((z^-1 - pole) / (1 - pole z^-1))^6, and the loop adds feedback z^-1 to it.
    above, below = (np.array([constant, other]) for constant, other in ((-pole, 1.0), (1.0, -pole)))
    above, below = (reduce(np.convolve, [factor] * 6) for factor in (above, below))
    expected = lfilter(
        above, np.append(below, 0) + feedback * np.append(0, above), noise[0, 0].numpy()
    )
    # Polynomials of six poles near one lose some digits.
    np.testing.assert_allclose(wet.numpy(), expected, rtol=0, atol=1e-6)


# Parity


@every_twin
@every_rate
def test_parity_at_corners_and_neutral(name: str, sample_rate: int) -> None:
    audio, effect = tried(sample_rate), EFFECTS[name]
    for index, setting in enumerate([*effect.space.corners(), dict(effect.neutral)]):
        assert_parity(name, audio[[index % len(audio)]], sample_rate, [setting])
    for setting in few_corners(name):
        assert_parity(name, audio, sample_rate, [setting] * len(audio))


@every_twin
@every_rate
def test_parity_beyond_the_space(name: str, sample_rate: int) -> None:
    audio = tried(sample_rate)
    for setting in BEYOND[name]:
        assert_parity(name, audio, sample_rate, [setting] * len(audio))


@every_twin
@pytest.mark.parametrize("sample_rate", [8000, 22_050, 96_000])
def test_parity_at_other_rates(name: str, sample_rate: int) -> None:
    audio = tried(sample_rate)
    assert_parity(name, audio, sample_rate, few_corners(name)[: len(audio)])


@every_twin
@every_rate
@given(data=st.data())
@settings(max_examples=8)
def test_parity_anywhere(name: str, sample_rate: int, data: st.DataObject) -> None:
    audio, space = tried(sample_rate), EFFECTS[name].space
    n_units = len(audio) * len(space)
    units = data.draw(st.lists(st.floats(0, 1), min_size=n_units, max_size=n_units))
    level = data.draw(st.sampled_from([0.1, 1.0, 4.0]))
    presets = [space.from_unit(row) for row in np.reshape(units, (len(audio), -1))]
    assert_parity(name, (level * audio).astype(np.float32), sample_rate, presets)


@every_twin
def test_parity_over_many_turns_and_a_long_pause(name: str) -> None:
    sounding = np.tile(tried(SAMPLE_RATE)[:2], 5)
    audio = np.concatenate(
        [sounding, np.zeros((2, 2, 2 * SAMPLE_RATE), np.float32), sounding], axis=-1
    )
    assert audio.shape[-1] >= 5 * SAMPLE_RATE
    assert_parity(
        name, audio, SAMPLE_RATE, [EFFECTS[name].space.corners()[index] for index in (2, 31)]
    )


@every_twin
def test_the_roundings_of_the_phase_are_part_of_the_sound(name: str) -> None:
    # In float64 the LFO keeps its rate, and after some seconds is where the original's is not.
    noise = np.tile(tried(SAMPLE_RATE)[1:2], 12)
    knobs = {**middle(name), "rate_hz": 0.7}
    wet = process(EFFECTS[name].build(knobs), noise[0], SAMPLE_RATE)
    errors_db = [
        relative_error_db(
            wet, TWINS[name](torch.from_numpy(noise).to(dtype), SAMPLE_RATE, **knobs)[0]
        )
        for dtype in (torch.float32, torch.float64)
    ]
    assert errors_db[0] <= PARITY_DB[name]
    assert errors_db[1] > -60.0


# Laws


@every_twin
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_shape_dtype_and_input_are_kept(name: str, dtype: torch.dtype) -> None:
    for shape in [(1, 1, 1), (3, 2, 1), (2, 1, 2), (2, 3, 101)]:
        audio = (0.5 * torch.randn(shape, generator=torch.Generator().manual_seed(0))).to(dtype)
        before = audio.clone()
        wet = TWINS[name](audio, SAMPLE_RATE, **middle(name))
        assert wet.shape == shape
        assert wet.dtype == dtype
        torch.testing.assert_close(audio, before, rtol=0, atol=0)
        torch.testing.assert_close(
            TWINS[name](audio, SAMPLE_RATE, **middle(name)), wet, rtol=0, atol=0
        )


@every_twin
def test_a_batch_is_its_items_one_by_one(name: str) -> None:
    audio = torch.from_numpy(tried(SAMPLE_RATE))
    presets = few_corners(name)[: len(audio)]
    together = TWINS[name](audio, SAMPLE_RATE, **stacked(presets))
    for index, setting in enumerate(presets):
        alone = TWINS[name](audio[index : index + 1], SAMPLE_RATE, **setting)
        # A sine's last bit depends on where a sample lies in a vector register.
        assert relative_error_db(together[index : index + 1], alone) <= PARITY_DB[name]


@every_twin
def test_channels_stay_apart_and_nothing_looks_ahead(name: str) -> None:
    audio, cut = torch.from_numpy(tried(SAMPLE_RATE)[:1]), 5001
    wet = TWINS[name](audio, SAMPLE_RATE, **middle(name))
    second, past = (
        TWINS[name](part, SAMPLE_RATE, **middle(name)) for part in (audio[:, 1:], audio[..., :cut])
    )
    torch.testing.assert_close(second, wet[:, 1:], rtol=0, atol=0)
    assert relative_error_db(wet[..., :cut], past) <= PARITY_DB[name]


@every_twin
def test_silence_stays_silence(name: str) -> None:
    for setting in [*EFFECTS[name].space.corners(), *BEYOND[name]]:
        assert not TWINS[name](torch.zeros(1, 2, 1000), SAMPLE_RATE, **setting).any()


@every_twin
def test_what_rings_on_does_not_stay_subnormal(name: str) -> None:
    audio = torch.zeros(1, 1, 5 * SAMPLE_RATE)
    audio[..., 0] = 1
    wet = TWINS[name](audio, SAMPLE_RATE, **{**middle(name), "mix": 1.0})
    assert wet[..., : SAMPLE_RATE // 10].any()
    assert not wet[..., -SAMPLE_RATE:].any()
    # The phaser's last states, taken for silence, pass through six stages; without that thousands would follow.
    assert ((wet != 0) & (wet.abs() < torch.finfo(wet.dtype).tiny)).sum() < 50


@every_twin
def test_neutral_setting_returns_the_input(name: str) -> None:
    audio = torch.from_numpy(tried(SAMPLE_RATE))
    torch.testing.assert_close(
        TWINS[name](audio, SAMPLE_RATE, **EFFECTS[name].neutral), audio, rtol=0, atol=0
    )


@every_twin
def test_unusable_arguments_are_refused(name: str) -> None:
    twin, knobs = TWINS[name], middle(name)
    with pytest.raises(TypeError, match="audio must be a floating-point tensor"):
        twin(torch.zeros(1, 1, 4, dtype=torch.int16), SAMPLE_RATE, **knobs)
    with pytest.raises(ValueError, match=r"audio must be \(batch, channels, samples\)"):
        twin(torch.zeros(2, 4), SAMPLE_RATE, **knobs)
    with pytest.raises(ValueError, match="sample_rate must be positive"):
        twin(torch.zeros(1, 1, 4), 0, **knobs)
    for knob in knobs:
        with pytest.raises(ValueError, match=f"{knob} must be a number or of shape"):
            twin(torch.zeros(2, 1, 4), SAMPLE_RATE, **{**knobs, knob: torch.ones(3)})


@every_twin
def test_knobs_that_are_no_numbers_show_and_do_no_harm(name: str) -> None:
    # An optimiser that lost its way must see it, and neither hang nor read what is not its own.
    audio = torch.from_numpy(tried(SAMPLE_RATE)[1:2, :, :2000]).requires_grad_()
    for knob, value in itertools.product(middle(name), ("nan", "inf", "-inf")):
        wet = TWINS[name](audio, SAMPLE_RATE, **{**middle(name), knob: float(value)})
        wet.sum().backward()
        assert wet.isnan().any() or value != "nan", knob


@every_twin
def test_devices_agree(name: str, device: torch.device) -> None:
    audio = torch.from_numpy(tried(SAMPLE_RATE))
    knobs = {knob: torch.tensor(value, requires_grad=True) for knob, value in middle(name).items()}
    wet = TWINS[name](audio.to(device), SAMPLE_RATE, **knobs)
    assert wet.device.type == device.type
    wet.square().sum().backward()
    assert all(knob.grad.item() != 0 for knob in knobs.values())
    expected = TWINS[name](audio, SAMPLE_RATE, **middle(name))
    assert relative_error_db(expected, wet.detach().cpu()) <= PARITY_DB[name]


# Gradients


def gradients(name: str, audio: Tensor, presets: list[dict[str, float]]) -> dict[str, Tensor]:
    """Of a sum that weighs every sample differently: gradients to audio and knobs by name."""
    dry = audio.clone().requires_grad_()
    knobs = {
        knob: values.requires_grad_() for knob, values in stacked(presets, audio.dtype).items()
    }
    wet = TWINS[name](dry, SAMPLE_RATE, **knobs)
    assert wet.isfinite().all()
    (wet * torch.linspace(-1, 2, wet.shape[-1], dtype=wet.dtype)).sum().backward()
    return {label: leaf.grad for label, leaf in {"audio": dry, **knobs}.items()}


@every_twin
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_everywhere(name: str, dtype: torch.dtype) -> None:
    full_scale = torch.ones(2, 3000, dtype=dtype)
    noise = torch.randn(2, 3000, dtype=dtype, generator=torch.Generator().manual_seed(0))
    burst = torch.zeros(2, 3000, dtype=dtype)
    burst[:, 10:20] = 0.7
    sounds = [
        0 * full_scale,
        full_scale,
        -full_scale,
        noise.sign(),
        100 * noise,
        1e-25 * noise,
        burst,
    ]
    for setting in [*EFFECTS[name].space.corners(), *BEYOND[name], dict(EFFECTS[name].neutral)]:
        for audio in (torch.stack(sounds), full_scale[None, :, :1]):
            for label, grad in gradients(name, audio, [setting] * len(audio)).items():
                assert grad.isfinite().all(), (label, setting)


@every_twin
def test_gradients_are_those_of_the_function(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    audio = (0.6 * torch.randn(2, 2, 41, dtype=torch.float64, generator=generator)).requires_grad_()
    space = EFFECTS[name].space
    knobs = stacked(
        [space.from_unit(np.full(len(space), unit)) for unit in (0.23, 0.71)], torch.float64
    )

    def twin(audio: Tensor, *values: Tensor) -> Tensor:
        # The chorus's delays fit into the clip at this rate, and the phaser's LFO moves.
        return TWINS[name](audio, 1000, **dict(zip(knobs, values, strict=True)))

    assert torch.autograd.gradcheck(
        twin, (audio, *(value.requires_grad_() for value in knobs.values()))
    )


@every_twin
def test_float32_gradients_are_the_float64_ones(name: str) -> None:
    # Without a swing: its phase is another one in float64, and so is the slope of depth.
    still = {**middle(name), "depth": 0.0}
    if name == "phaser":
        still["centre_frequency_hz"] = 20.0  # the slowest pole, which rounds most
    audio = torch.from_numpy(tried(SAMPLE_RATE)[:2])
    single, double = (
        gradients(name, audio.to(dtype), [still] * 2) for dtype in (torch.float32, torch.float64)
    )
    for label in double.keys() - {"rate_hz", "depth"}:
        assert relative_error_db(double[label], single[label]) <= -80.0, label


@every_twin
def test_knobs_turn_the_original_as_the_gradient_says(name: str) -> None:
    # Low tones after the original, weighed by where they are, knob by knob, against the twin's gradient of that.
    effect, here = EFFECTS[name], middle(name)
    seconds = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    low, high = (110.0, 170.0) if name == "chorus" else (500.0, 900.0)
    tones = np.stack(
        [np.sin(2 * np.pi * low * seconds), np.sin(2 * np.pi * high * seconds)]
    ).astype(np.float32)
    weight = seconds * np.sin(2 * np.pi * 5 * seconds) + seconds
    knobs = {
        knob: torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for knob, value in here.items()
    }
    wet = TWINS[name](torch.from_numpy(tones)[None], SAMPLE_RATE, **knobs)
    (wet.double().square() * torch.from_numpy(weight)).sum().backward()

    def energy(params: dict[str, float]) -> float:
        return (np.square(effect.render(tones, SAMPLE_RATE, **params), dtype=float) * weight).sum()

    for knob, value in here.items():
        # The rate's steps must be long beside the detuning of a rounded phase, and so average over some bend.
        step = (0.01 if knob == "rate_hz" else 0.005) * value
        slope = (energy({**here, knob: value + step}) - energy({**here, knob: value - step})) / (
            2 * step
        )
        assert knobs[knob].grad.item() == pytest.approx(
            slope, rel=0.03 if knob == "rate_hz" else 0.01
        ), knob
