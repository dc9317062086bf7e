"""The reverb in torch: pedalboard's samples to the rounding of the knobs, and gradients one can trust."""

import itertools
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from labkit.effects.effect import process
from labkit.effects.registry import EFFECTS
from labkit.effects.twins import twin
from labkit.effects.twins.reverb import LOWEST_RATE, reverb, room_delays
from labkit.measure.parity import relative_error_db, signals

REVERB = EFFECTS["reverb"]
RATES = (44_100, 48_000)
SAMPLE_RATE = RATES[0]
# At which the delays are 12 to 18 and 2 to 6 samples: a few dozen samples hear everything.
SMALL_RATE = 500
# The room agrees to the bit; what is left is the rounding of float32 knobs, -140 dB.
PARITY_DB = -125.0
MIDDLE = {"room_size": 0.5, "damping": 0.4, "mix": 0.3}
# Outside the space: all that the original takes.
BEYOND = [
    dict(zip(MIDDLE, ends, strict=True))
    for ends in [(0.0, 0.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 1.0), (0.0, 1.0, 0)]
]

every_rate = pytest.mark.parametrize("sample_rate", RATES)


@cache
def tried(sample_rate: int) -> np.ndarray:
    """(5, 2, samples): the five signals of every parity test."""
    return np.stack(list(signals(sample_rate, seconds=0.4).values()))


def places() -> list[dict[str, float]]:
    """Corners, the neutral setting, and beyond."""
    return [*REVERB.space.corners(), dict(REVERB.neutral), *BEYOND]


def stacked(
    presets: list[dict[str, float]], dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    return {
        name: torch.tensor([setting[name] for setting in presets], dtype=dtype)
        for name in presets[0]
    }


def assert_parity(audio: np.ndarray, sample_rate: int, presets: list[dict[str, float]]) -> None:
    """One batched call of the twin against one render of pedalboard per item of `audio` (items, channels, samples)."""
    wet_hat = reverb(torch.from_numpy(audio), sample_rate, **stacked(presets)).numpy()
    for item, given_item, params in zip(audio, wet_hat, presets, strict=True):
        # Built by hand: `Effect.render` refuses what lies beyond the space.
        wet = process(REVERB.build(params), item, sample_rate)
        assert relative_error_db(wet, given_item) <= PARITY_DB, params


def test_it_is_the_registry_s_twin() -> None:
    assert twin("reverb") is reverb


# Parity


@every_rate
@pytest.mark.parametrize("channels", [1, 2])
def test_parity_at_corners_neutral_and_beyond(sample_rate: int, channels: int) -> None:
    audio = tried(sample_rate)[:, :channels]
    for setting in places():
        assert_parity(audio, sample_rate, [setting] * len(audio))


@every_rate
@given(data=st.data())
@settings(max_examples=8)
def test_parity_anywhere(sample_rate: int, data: st.DataObject) -> None:
    audio = tried(sample_rate)
    units = data.draw(st.lists(st.floats(0, 1), min_size=3 * len(audio), max_size=3 * len(audio)))
    level = data.draw(st.sampled_from([0.1, 1.0, 4.0]))
    presets = [REVERB.space.from_unit(row) for row in np.reshape(units, (len(audio), -1))]
    assert_parity((level * audio).astype(np.float32), sample_rate, presets)


@pytest.mark.parametrize("sample_rate", [LOWEST_RATE, 8000, 96_000])
def test_parity_at_other_rates(sample_rate: int) -> None:
    assert_parity(tried(SAMPLE_RATE)[:2, :, :9000], sample_rate, [MIDDLE] * 2)


def test_parity_over_many_blocks_and_a_long_tail() -> None:
    audio = np.concatenate(
        [tried(SAMPLE_RATE)[:3], np.zeros((3, 2, 5 * SAMPLE_RATE), np.float32)], axis=-1
    )
    assert_parity(
        audio, SAMPLE_RATE, [{**MIDDLE, "room_size": room_size} for room_size in (0.2, 0.95, 1.0)]
    )


def test_parity_of_a_tail_down_to_nothing() -> None:
    # A small room, 60 dB down, then another 60 dB: the original's rounding of what it stores is all that is left.
    audio = np.zeros((1, 2, 4 * SAMPLE_RATE), np.float32)
    audio[..., 0] = 1e-3
    setting = {"room_size": 0.2, "damping": 0.9, "mix": 0.6}
    wet = process(REVERB.build(setting), audio[0], SAMPLE_RATE)
    tail = slice(SAMPLE_RATE // 2, None)
    assert wet[:, tail].any()
    assert np.abs(wet[:, tail]).max() < 1e-6
    wet_hat = reverb(torch.from_numpy(audio), SAMPLE_RATE, **setting)[0].numpy()
    assert relative_error_db(1e6 * wet[:, tail], 1e6 * wet_hat[:, tail]) <= PARITY_DB


# What the room is made of


def test_the_first_echoes_come_when_the_shortest_combs_give_them() -> None:
    audio = torch.zeros(1, 2, 1200)
    audio[0, 0, 0] = 1
    wet = reverb(audio, SAMPLE_RATE, room_size=0.5, damping=0.5, mix=0.4)[0]
    assert wet[0, 0].item() == pytest.approx(0.6)
    assert not wet[1, 0].item()
    for side, first in enumerate((1116, 1139)):
        assert not wet[side, 1:first].any()
        assert wet[side, first].item() == pytest.approx(0.015 * 1.5 * 0.4)


@every_rate
def test_delays_scale_with_the_rate(sample_rate: int) -> None:
    combs, allpasses = room_delays(sample_rate, 2)
    assert combs.shape == (2, 8)
    assert allpasses.shape == (2, 4)
    assert combs[0, 0].item() == 1116 * sample_rate // 44_100
    assert allpasses[1, -1].item() == 248 * sample_rate // 44_100


def test_echoes_add_up_and_wait() -> None:
    audio = torch.from_numpy(tried(SAMPLE_RATE)).double()
    wet = reverb(audio, SAMPLE_RATE, **MIDDLE)
    later = reverb(torch.nn.functional.pad(audio, (777, 0)), SAMPLE_RATE, **MIDDLE)
    torch.testing.assert_close(
        reverb(audio.flip(0) - 2 * audio, SAMPLE_RATE, **MIDDLE), wet.flip(0) - 2 * wet
    )
    torch.testing.assert_close(later[..., 777:], wet)
    assert not later[..., :777].any()


# Laws


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_shape_dtype_and_input_are_kept(dtype: torch.dtype) -> None:
    for shape in [(1, 1, 1), (3, 2, 1), (2, 1, 2), (2, 2, 2000)]:
        audio = (0.5 * torch.randn(shape, generator=torch.Generator().manual_seed(0))).to(dtype)
        before = audio.clone()
        wet = reverb(audio, SAMPLE_RATE, **MIDDLE)
        assert wet.shape == shape
        assert wet.dtype == dtype
        torch.testing.assert_close(audio, before, rtol=0, atol=0)
        torch.testing.assert_close(reverb(audio, SAMPLE_RATE, **MIDDLE), wet, rtol=0, atol=0)


def test_a_batch_is_its_items_one_by_one() -> None:
    audio = torch.from_numpy(tried(SAMPLE_RATE))
    presets = places()[2 : 2 + len(audio)]
    together = reverb(audio, SAMPLE_RATE, **stacked(presets))
    for index, setting in enumerate(presets):
        alone = reverb(audio[index : index + 1], SAMPLE_RATE, **setting)
        # Knobs that are tensors are rounded to float32 before they are scaled.
        torch.testing.assert_close(together[index : index + 1], alone, rtol=1e-6, atol=1e-7)


def test_nothing_looks_ahead() -> None:
    audio, cut = torch.from_numpy(tried(SAMPLE_RATE)[:1]), 5000
    wet = reverb(audio, SAMPLE_RATE, **MIDDLE)
    torch.testing.assert_close(
        reverb(audio[..., :cut], SAMPLE_RATE, **MIDDLE), wet[..., :cut], rtol=0, atol=0
    )


def test_silence_stays_silence() -> None:
    for setting in places():
        assert not reverb(torch.zeros(1, 2, 3000), SAMPLE_RATE, **setting).any()


def test_neutral_setting_returns_the_input() -> None:
    audio = torch.from_numpy(tried(SAMPLE_RATE))
    torch.testing.assert_close(reverb(audio, SAMPLE_RATE, **REVERB.neutral), audio, rtol=0, atol=0)


def test_unusable_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="audio must be a floating-point tensor"):
        reverb(torch.zeros(1, 1, 4, dtype=torch.int16), SAMPLE_RATE, **MIDDLE)
    with pytest.raises(ValueError, match=r"audio must be \(batch, channels, samples\)"):
        reverb(torch.zeros(2, 4), SAMPLE_RATE, **MIDDLE)
    with pytest.raises(ValueError, match="audio must have 1 or 2 channels for a reverb, got 3"):
        reverb(torch.zeros(1, 3, 4), SAMPLE_RATE, **MIDDLE)
    with pytest.raises(ValueError, match="sample_rate must be positive"):
        reverb(torch.zeros(1, 1, 4), 0, **MIDDLE)
    with pytest.raises(
        ValueError, match="sample_rate must be at least 196 Hz for a reverb, got 195 Hz"
    ):
        reverb(torch.zeros(1, 1, 4), 195, **MIDDLE)
    for knob in MIDDLE:
        with pytest.raises(ValueError, match=f"{knob} must be a number or of shape"):
            reverb(torch.zeros(2, 1, 4), SAMPLE_RATE, **{**MIDDLE, knob: torch.ones(3)})


def test_devices_agree(device: torch.device) -> None:
    audio = torch.from_numpy(tried(SAMPLE_RATE))
    knobs = {knob: torch.tensor(value, requires_grad=True) for knob, value in MIDDLE.items()}
    wet = reverb(audio.to(device), SAMPLE_RATE, **knobs)
    assert wet.device.type == device.type
    wet.square().sum().backward()
    assert all(knob.grad.item() != 0 for knob in knobs.values())
    assert relative_error_db(reverb(audio, SAMPLE_RATE, **MIDDLE), wet.detach().cpu()) <= PARITY_DB


# Gradients


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_everywhere(dtype: torch.dtype) -> None:
    full_scale = torch.ones(2, 3000, dtype=dtype)
    noise = torch.randn(2, 3000, dtype=dtype, generator=torch.Generator().manual_seed(0))
    sounds = torch.stack(
        [0 * full_scale, full_scale, -full_scale, noise.sign(), 100 * noise, 1e-25 * noise]
    )
    for setting, audio in itertools.product(places(), [sounds, sounds[..., :1]]):
        dry = audio.clone().requires_grad_()
        knobs = {
            knob: values.requires_grad_()
            for knob, values in stacked([setting] * len(dry), dtype).items()
        }
        wet = reverb(dry, SAMPLE_RATE, **knobs)
        assert wet.isfinite().all()
        # Not a plain sum: its gradient is the same at every sample.
        (wet * torch.linspace(-1, 2, wet.shape[-1], dtype=dtype)).sum().backward()
        assert all(leaf.grad.isfinite().all() for leaf in (dry, *knobs.values())), setting


@pytest.mark.parametrize("channels", [1, 2])
def test_gradients_are_those_of_the_function(channels: int) -> None:
    generator = torch.Generator().manual_seed(1)
    audio = (
        0.6 * torch.randn(2, channels, 40, dtype=torch.float64, generator=generator)
    ).requires_grad_()
    knobs = stacked([MIDDLE, {"room_size": 0.9, "damping": 0.8, "mix": 0.6}], torch.float64)

    def room(audio: Tensor, *values: Tensor) -> Tensor:
        return reverb(audio, SMALL_RATE, **dict(zip(knobs, values, strict=True)))

    assert torch.autograd.gradcheck(
        room, (audio, *(value.requires_grad_() for value in knobs.values()))
    )


def test_knobs_turn_the_original_as_the_gradient_says() -> None:
    # The energy of a guitar and of noise after the original, knob by knob, against the twin's gradient of it.
    audio = tried(SAMPLE_RATE)[:2]
    knobs = {
        knob: torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for knob, value in MIDDLE.items()
    }
    reverb(torch.from_numpy(audio).double(), SAMPLE_RATE, **knobs).square().sum().backward()

    def energy(params: dict[str, float]) -> float:
        return sum(
            np.square(REVERB.render(item, SAMPLE_RATE, **params).astype(float)).sum()
            for item in audio
        )

    for knob, value in MIDDLE.items():
        step = 0.01 * value
        ends = (energy({**MIDDLE, knob: value + sign * step}) for sign in (1, -1))
        # The curvature over a step, and float32.
        assert knobs[knob].grad.item() == pytest.approx(
            np.subtract(*ends) / (2 * step), rel=2e-3
        ), knob
