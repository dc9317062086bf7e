"""Compressor, limiter and gate in torch: the same samples as pedalboard's, and gradients one can trust."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from labkit.effects.effect import process
from labkit.effects.registry import EFFECTS
from labkit.effects.twins.common import run_kernel
from labkit.effects.twins.dynamics import compressor, envelope, limiter, noise_gate
from labkit.measure.parity import relative_error_db, signals

TWINS = {"compressor": compressor, "limiter": limiter, "noise_gate": noise_gate}
RATES = (44_100, 48_000)
SAMPLE_RATE = RATES[0]
# The envelopes agree to the bit; what is left is the rounding of powers in float32, some -110 dB at worst.
PARITY_DB = -100.0
# Outside the space: no knee, no attack, no release, thresholds that nothing or everything exceeds.
BEYOND = {
    "compressor": [
        {"threshold_db": -60.0, "ratio": 1.0, "attack_ms": 0.0, "release_ms": 0.0},
        {"threshold_db": 0.0, "ratio": 100.0, "attack_ms": 0.01, "release_ms": 5000.0},
    ],
    "limiter": [
        {"threshold_db": 0.0, "release_ms": 1.0},
        {"threshold_db": -60.0, "release_ms": 2000.0},
    ],
    "noise_gate": [
        {"threshold_db": -100.0, "ratio": 10.0, "attack_ms": 0.0, "release_ms": 0.0},
        {"threshold_db": 0.0, "ratio": 1.5, "attack_ms": 200.0, "release_ms": 2000.0},
    ],
}

every_twin = pytest.mark.parametrize("name", TWINS)
every_rate = pytest.mark.parametrize("sample_rate", RATES)


@cache
def tried(sample_rate: int) -> np.ndarray:
    """(5, 2, samples): the five signals of every parity test."""
    return np.stack(list(signals(sample_rate, seconds=0.4).values()))


def places(name: str) -> list[dict[str, float]]:
    effect = EFFECTS[name]
    neutral = [dict(effect.neutral)] if effect.neutral else []
    return [*effect.space.corners(), *neutral, *BEYOND[name]]


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
        assert relative_error_db(wet, given_item) <= PARITY_DB, params


# The envelope


def test_envelope_of_a_step_is_one_pole_up_and_one_pole_down() -> None:
    samples, attack_ms, release_ms = 50, 2.0, 5.0
    step = torch.cat([-torch.ones(samples), torch.zeros(samples)]).double().view(1, 1, -1)
    level = envelope(step, 1000, attack_ms=attack_ms, release_ms=release_ms)[0, 0]
    n = torch.arange(1, samples + 1).double()
    rise, fall = np.exp(-2 * np.pi / attack_ms), np.exp(-2 * np.pi / release_ms)
    torch.testing.assert_close(level[:samples], 1 - rise**n, rtol=0, atol=1e-12)
    torch.testing.assert_close(level[samples:], (1 - rise**samples) * fall**n, rtol=0, atol=1e-12)


def test_envelope_without_attack_and_release_is_the_rectified_signal() -> None:
    audio = torch.from_numpy(tried(SAMPLE_RATE))
    torch.testing.assert_close(
        envelope(audio, SAMPLE_RATE, attack_ms=0.0, release_ms=0.0), audio.abs()
    )


def test_envelope_never_turns_subnormal() -> None:
    audio = torch.zeros(1, 1, 20_000)
    audio[..., 0] = 1
    level = envelope(audio, SAMPLE_RATE, attack_ms=0.0, release_ms=10.0)
    assert torch.finfo(level.dtype).tiny < level[..., -1].item() < 1e-20


def test_gradients_of_the_envelope() -> None:
    audio = torch.randn(
        2, 2, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ).requires_grad_()
    attack_ms = torch.tensor([1.0, 4.0], dtype=torch.float64, requires_grad=True)
    release_ms = torch.tensor([9.0, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda audio, attack_ms, release_ms: envelope(
            audio, 8000, attack_ms=attack_ms, release_ms=release_ms
        ),
        (audio, attack_ms, release_ms),
    )


def test_kernels_run_for_tensors_of_any_device(device: torch.device) -> None:
    audio = torch.linspace(-1, 1, 6, device=device).view(2, 3)
    level, at_once = torch.zeros_like(audio), torch.zeros(2, device=device)
    run_kernel("dynamics.follow", (audio, at_once, at_once), (level,))
    torch.testing.assert_close(level, audio.abs())


# Parity


@every_twin
@every_rate
def test_parity_at_corners_neutral_and_beyond(name: str, sample_rate: int) -> None:
    audio = tried(sample_rate)
    for setting in places(name):
        assert_parity(name, audio, sample_rate, [setting] * len(audio))


@every_twin
@every_rate
@given(data=st.data())
@settings(max_examples=8)
def test_parity_anywhere(name: str, sample_rate: int, data: st.DataObject) -> None:
    audio, space = tried(sample_rate), EFFECTS[name].space
    units = data.draw(
        st.lists(st.floats(0, 1), min_size=audio.shape[0] * len(space), max_size=5 * len(space))
    )
    level = data.draw(st.sampled_from([0.1, 1.0, 4.0]))
    presets = [space.from_unit(row) for row in np.reshape(units, (len(audio), -1))]
    assert_parity(name, (level * audio).astype(np.float32), sample_rate, presets)


@every_twin
def test_parity_over_many_blocks_and_a_long_pause(name: str) -> None:
    sounding = np.tile(tried(SAMPLE_RATE)[:2], 4)
    audio = np.concatenate(
        [sounding, np.zeros((2, 2, 2 * SAMPLE_RATE), np.float32), sounding], axis=-1
    )
    assert audio.shape[-1] >= 5 * SAMPLE_RATE
    presets = [*EFFECTS[name].space.corners()[:: 2 ** (len(EFFECTS[name].space) - 1)]]
    assert_parity(name, audio, SAMPLE_RATE, presets)


# Laws


@every_twin
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_shape_dtype_and_input_are_kept(name: str, dtype: torch.dtype) -> None:
    for shape in [(1, 1, 1), (3, 2, 1), (2, 1, 2), (2, 3, 100)]:
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
    presets = EFFECTS[name].space.corners()[-len(audio) :]
    audio = audio[: len(presets)]
    together = TWINS[name](audio, SAMPLE_RATE, **stacked(presets))
    for index, setting in enumerate(presets):
        alone = TWINS[name](audio[index : index + 1], SAMPLE_RATE, **setting)
        torch.testing.assert_close(together[index : index + 1], alone, rtol=1e-6, atol=1e-7)


@every_twin
def test_channels_stay_apart_and_nothing_looks_ahead(name: str) -> None:
    audio, cut = torch.from_numpy(tried(SAMPLE_RATE)[:1]), 5000
    wet = TWINS[name](audio, SAMPLE_RATE, **middle(name))
    second, past = (
        TWINS[name](part, SAMPLE_RATE, **middle(name)) for part in (audio[:, 1:], audio[..., :cut])
    )
    # A power's last bit depends on where a sample lies in a vector register.
    torch.testing.assert_close(second, wet[:, 1:], rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(past, wet[..., :cut], rtol=1e-6, atol=1e-7)


@every_twin
def test_silence_stays_silence(name: str) -> None:
    for setting in places(name):
        assert not TWINS[name](torch.zeros(1, 2, 1000), SAMPLE_RATE, **setting).any()


@every_twin
def test_neutral_setting_returns_the_input(name: str) -> None:
    neutral = EFFECTS[name].neutral
    audio = torch.from_numpy(tried(SAMPLE_RATE))
    if neutral is None:
        assert name == "limiter"  # its make-up gain is never 0 dB
        return
    torch.testing.assert_close(TWINS[name](audio, SAMPLE_RATE, **neutral), audio, rtol=0, atol=2e-7)


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
def test_devices_agree(name: str, device: torch.device) -> None:
    audio = torch.from_numpy(tried(SAMPLE_RATE))
    knobs = {knob: torch.tensor(value, requires_grad=True) for knob, value in middle(name).items()}
    wet = TWINS[name](audio.to(device), SAMPLE_RATE, **knobs)
    assert wet.device.type == device.type
    wet.square().sum().backward()
    assert all(knob.grad.item() != 0 for knob in knobs.values())
    expected = TWINS[name](audio, SAMPLE_RATE, **middle(name))
    assert relative_error_db(expected, wet.detach().cpu()) <= PARITY_DB


# Gradients


def assert_finite_gradients(name: str, audio: Tensor, presets: list[dict[str, float]]) -> None:
    dry = audio.clone().requires_grad_()
    knobs = {
        knob: values.requires_grad_() for knob, values in stacked(presets, audio.dtype).items()
    }
    wet = TWINS[name](dry, SAMPLE_RATE, **knobs)
    assert wet.isfinite().all()
    # Not a plain sum: its gradient is the same at every sample.
    (wet * torch.linspace(-1, 2, wet.shape[-1], dtype=wet.dtype)).sum().backward()
    for label, leaf in {"audio": dry, **knobs}.items():
        assert leaf.grad.isfinite().all(), (name, label)


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
        1e-12 * noise,
        1e-25 * noise,
        burst,
    ]
    for setting in places(name):
        assert_finite_gradients(name, torch.stack(sounds), [setting] * len(sounds))
        assert_finite_gradients(name, full_scale[None, :, :1], [setting])


@every_twin
def test_gradients_are_those_of_the_function(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    audio = (0.6 * torch.randn(2, 1, 48, dtype=torch.float64, generator=generator)).requires_grad_()
    space = EFFECTS[name].space
    knobs = stacked(
        [space.from_unit(np.full(len(space), unit)) for unit in (0.2, 0.7)], torch.float64
    )

    def twin(audio: Tensor, *values: Tensor) -> Tensor:
        return TWINS[name](audio, 1000, **dict(zip(knobs, values, strict=True)))

    assert torch.autograd.gradcheck(
        twin, (audio, *(value.requires_grad_() for value in knobs.values()))
    )


@every_twin
def test_knobs_turn_the_original_as_the_gradient_says(name: str) -> None:
    # The energy of a guitar and of noise after the original, knob by knob, against the twin's gradient of it.
    effect, audio, here = EFFECTS[name], tried(SAMPLE_RATE)[:2], middle(name)
    knobs = {
        knob: torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for knob, value in here.items()
    }
    TWINS[name](torch.from_numpy(audio).double(), SAMPLE_RATE, **knobs).square().sum().backward()

    def energy(params: dict[str, float]) -> float:
        return sum(
            np.square(effect.render(item, SAMPLE_RATE, **params).astype(float)).sum()
            for item in audio
        )

    for knob, value in here.items():
        step = 0.003 * value
        ends = (energy({**here, knob: value + sign * step}) for sign in (1, -1))
        slope = np.subtract(*ends) / (2 * step)
        # Smaller steps drown in the rounding of a float32 render, larger ones average over bends of the energy (levels
        # that cross the threshold, samples that reach the clip): between them the two agree within 1 %.
        assert knobs[knob].grad.item() == pytest.approx(slope, rel=0.02), knob
