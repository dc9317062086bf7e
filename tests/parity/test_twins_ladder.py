"""The ladder filter in torch: pedalboard's samples, singing included, and gradients one can trust."""

import itertools
from functools import cache

import numpy as np
import pedalboard
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from labkit.effects.effect import process
from labkit.effects.parameters import Parameter, ParameterSpace
from labkit.effects.twins import twin
from labkit.effects.twins.ladder import MODES, ladder_filter
from labkit.measure.parity import relative_error_db, signals

# Its mode is a choice, which a chain's parameter space cannot hold. Here the first one, LPF12.
SPACE = ParameterSpace(
    (
        Parameter("cutoff_hz", "Hz", 40.0, 16_000.0, "log"),
        Parameter("resonance", "", 0.0, 1.0),
        Parameter("drive", "", 1.0, 10.0),
    )
)
RATES = (44_100, 48_000)
SAMPLE_RATE = RATES[0]
# To the bit (-300 dB) where both read the same tanh. A table whose last bits differ, as another mathematics library may
# have it, costs up to -68 dB at full resonance, where the filter sings.
PARITY_DB = -60.0
MIDDLE = {"cutoff_hz": 800.0, "resonance": 0.4, "drive": 3.0}
SINGING = {"cutoff_hz": 10_000.0, "resonance": 1.0, "drive": 1.0}
# Outside the space: nearly closed, and open beyond half the rate.
BEYOND = [
    {"cutoff_hz": 5.0, "resonance": 1.0, "drive": 1.0},
    {"cutoff_hz": 30_000.0, "resonance": 1.0, "drive": 100.0},
]

every_mode = pytest.mark.parametrize("mode", MODES)
every_rate = pytest.mark.parametrize("sample_rate", RATES)


@cache
def tried(sample_rate: int) -> np.ndarray:
    """(5, 2, samples): the five signals of every parity test."""
    return np.stack(list(signals(sample_rate, seconds=0.4).values()))


def places() -> list[dict[str, float]]:
    return [*SPACE.corners(), *BEYOND]


def stacked(
    presets: list[dict[str, float]], dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    return {
        name: torch.tensor([setting[name] for setting in presets], dtype=dtype)
        for name in presets[0]
    }


def original(audio: np.ndarray, sample_rate: int, *, mode: str, **params: float) -> np.ndarray:
    plugin = pedalboard.LadderFilter(mode=getattr(pedalboard.LadderFilter, mode), **params)
    return process(plugin, audio, sample_rate)


def assert_parity(
    audio: np.ndarray, sample_rate: int, presets: list[dict[str, float]], mode: str
) -> None:
    """One batched call of the twin against one render of pedalboard per item of `audio` (items, channels, samples)."""
    wet_hat = ladder_filter(
        torch.from_numpy(audio), sample_rate, **stacked(presets), mode=mode
    ).numpy()
    for item, given_item, params in zip(audio, wet_hat, presets, strict=True):
        wet = original(item, sample_rate, mode=mode, **params)
        assert relative_error_db(wet, given_item) <= PARITY_DB, params


def test_it_is_the_twin_of_its_name() -> None:
    assert twin("ladder_filter") is ladder_filter


# Parity


@every_rate
@every_mode
def test_parity_at_corners_and_beyond(mode: str, sample_rate: int) -> None:
    audio = tried(sample_rate)
    for setting in places():
        assert_parity(audio, sample_rate, [setting] * len(audio), mode)


@every_rate
@given(data=st.data())
@settings(max_examples=10)
def test_parity_anywhere(sample_rate: int, data: st.DataObject) -> None:
    audio = tried(sample_rate)
    units = data.draw(st.lists(st.floats(0, 1), min_size=3 * len(audio), max_size=3 * len(audio)))
    level = data.draw(st.sampled_from([0.1, 1.0, 10.0]))
    presets = [SPACE.from_unit(row) for row in np.reshape(units, (len(audio), -1))]
    assert_parity(
        (level * audio).astype(np.float32),
        sample_rate,
        presets,
        data.draw(st.sampled_from(list(MODES))),
    )


def test_parity_over_many_blocks_and_a_long_pause() -> None:
    sounding, pause = (
        np.tile(tried(SAMPLE_RATE)[:3], 4),
        np.zeros((3, 2, 2 * SAMPLE_RATE), np.float32),
    )
    audio = np.concatenate([sounding, pause, sounding], axis=-1)
    assert audio.shape[-1] >= 5 * SAMPLE_RATE
    assert_parity(audio, SAMPLE_RATE, [places()[0], SINGING, MIDDLE], "LPF24")


def test_it_sings_by_itself_in_tune_with_the_original() -> None:
    audio = np.zeros((1, 1, 2 * SAMPLE_RATE), np.float32)
    audio[..., 0] = 1e-3
    wet = original(audio[0], SAMPLE_RATE, mode="LPF24", **SINGING)
    assert np.abs(wet[:, -1000:]).max() > 0.3
    assert_parity(audio, SAMPLE_RATE, [SINGING], "LPF24")


# What the ladder does


def test_what_passes_at_zero_frequency() -> None:
    # At rest all stages agree: y = s - k (g2 q y - s / 2), with s = q x as g1 = 1, for x so small that tanh is a line
    # of slope q, that of the chord through the table's two middle points.
    level, resonance = 1e-3, 0.5
    slope = np.tanh(5 / 127) / (5 / 127)
    loop, makeup = 4 * (0.1 + 0.9 * resonance), 0.6103 + 0.3903
    audio = torch.full((1, 1, 4000), level, dtype=torch.float64)
    expected = 1.2 * makeup * slope * level * (1 + loop / 2) / (1 + loop * makeup * slope)
    for mode, passed in {
        "LPF12": expected,
        "LPF24": expected,
        "BPF12": 0,
        "HPF12": 0,
        "HPF24": 0,
        "BPF24": 0,
    }.items():
        wet = ladder_filter(
            audio, 8000, cutoff_hz=1000.0, resonance=resonance, drive=1.0, mode=mode
        )
        assert wet[0, 0, -1].item() == pytest.approx(passed, rel=1e-6, abs=1e-12), mode


def test_slopes_above_the_cutoff_are_those_of_the_mode() -> None:
    # White noise, quiet enough for a linear ladder; an octave up, well above the cutoff and well below the zeros.
    audio = 1e-2 * torch.randn(
        8, 1, 2**14, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )

    def bin_of(hz: float) -> int:
        return round(hz * audio.shape[-1] / 96_000)

    for mode, expected_db in (("LPF12", -12), ("LPF24", -24)):
        wet = ladder_filter(audio, 96_000, cutoff_hz=100.0, resonance=0.0, drive=1.0, mode=mode)
        spectrum = (
            torch.fft.rfft(wet * torch.hann_window(wet.shape[-1], dtype=wet.dtype))
            .abs()
            .square()
            .mean((0, 1))
        )
        low_hz, octave = 1000, [1.0, 1.2]
        power = [
            spectrum[slice(*(int(low_hz * up * edge * 2**14 / 96_000) for edge in octave))].mean()
            for up in (1, 2)
        ]
        assert 10 * torch.log10(power[1] / power[0]).item() == pytest.approx(expected_db, abs=1.0)


def test_not_a_number_goes_through() -> None:
    audio = torch.zeros(1, 1, 10)
    audio[..., 5] = torch.nan
    wet = ladder_filter(audio.requires_grad_(), SAMPLE_RATE, **MIDDLE)
    wet.sum().backward()
    assert wet[0, 0].isnan().tolist() == [False] * 5 + [True] * 5


# Laws


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_shape_dtype_and_input_are_kept(dtype: torch.dtype) -> None:
    for shape in [(1, 1, 1), (3, 2, 1), (2, 1, 2), (2, 3, 1000)]:
        audio = (0.5 * torch.randn(shape, generator=torch.Generator().manual_seed(0))).to(dtype)
        before = audio.clone()
        wet = ladder_filter(audio, SAMPLE_RATE, **MIDDLE)
        assert wet.shape == shape
        assert wet.dtype == dtype
        torch.testing.assert_close(audio, before, rtol=0, atol=0)
        torch.testing.assert_close(ladder_filter(audio, SAMPLE_RATE, **MIDDLE), wet, rtol=0, atol=0)


def test_a_batch_is_its_items_one_by_one() -> None:
    audio = torch.from_numpy(tried(SAMPLE_RATE))
    presets = places()[: len(audio)]
    together = ladder_filter(audio, SAMPLE_RATE, **stacked(presets))
    for index, setting in enumerate(presets):
        alone = ladder_filter(audio[index : index + 1], SAMPLE_RATE, **setting)
        torch.testing.assert_close(together[index : index + 1], alone, rtol=0, atol=0)


def test_channels_stay_apart_and_nothing_looks_ahead() -> None:
    audio, cut = torch.from_numpy(tried(SAMPLE_RATE)[:1]), 5000
    wet = ladder_filter(audio, SAMPLE_RATE, **MIDDLE)
    second, past = (
        ladder_filter(part, SAMPLE_RATE, **MIDDLE) for part in (audio[:, 1:], audio[..., :cut])
    )
    torch.testing.assert_close(second, wet[:, 1:], rtol=0, atol=0)
    torch.testing.assert_close(past, wet[..., :cut], rtol=0, atol=0)


@every_mode
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_silence_stays_silence(mode: str, dtype: torch.dtype) -> None:
    for setting in places():
        assert not ladder_filter(
            torch.zeros(1, 2, 1000, dtype=dtype), SAMPLE_RATE, mode=mode, **setting
        ).any()


def test_a_long_decay_never_turns_subnormal() -> None:
    audio = torch.zeros(1, 1, SAMPLE_RATE)
    audio[..., 0] = 1
    wet = ladder_filter(audio, SAMPLE_RATE, cutoff_hz=100.0, resonance=0.0, drive=1.0, mode="LPF24")
    assert not wet[..., -1].any()
    assert wet[wet != 0].abs().min() > torch.finfo(wet.dtype).tiny


def test_unusable_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="audio must be a floating-point tensor"):
        ladder_filter(torch.zeros(1, 1, 4, dtype=torch.int16), SAMPLE_RATE, **MIDDLE)
    with pytest.raises(ValueError, match=r"audio must be \(batch, channels, samples\)"):
        ladder_filter(torch.zeros(2, 4), SAMPLE_RATE, **MIDDLE)
    with pytest.raises(ValueError, match="sample_rate must be positive"):
        ladder_filter(torch.zeros(1, 1, 4), 0, **MIDDLE)
    with pytest.raises(ValueError, match=r"mode must be one of LPF12, .*, got 'LPF18'"):
        ladder_filter(torch.zeros(1, 1, 4), SAMPLE_RATE, **MIDDLE, mode="LPF18")
    for knob in MIDDLE:
        with pytest.raises(ValueError, match=f"{knob} must be a number or of shape"):
            ladder_filter(torch.zeros(2, 1, 4), SAMPLE_RATE, **{**MIDDLE, knob: torch.ones(3)})


def test_devices_agree(device: torch.device) -> None:
    audio = torch.from_numpy(tried(SAMPLE_RATE))
    knobs = {knob: torch.tensor(value, requires_grad=True) for knob, value in MIDDLE.items()}
    wet = ladder_filter(audio.to(device), SAMPLE_RATE, **knobs)
    assert wet.device.type == device.type
    wet.square().sum().backward()
    assert all(knob.grad.item() != 0 for knob in knobs.values())
    assert (
        relative_error_db(ladder_filter(audio, SAMPLE_RATE, **MIDDLE), wet.detach().cpu())
        <= PARITY_DB
    )


# Gradients


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_everywhere(dtype: torch.dtype) -> None:
    full_scale = torch.ones(2, 3000, dtype=dtype)
    noise = torch.randn(2, 3000, dtype=dtype, generator=torch.Generator().manual_seed(0))
    burst = torch.zeros(2, 3000, dtype=dtype)
    burst[:, 10:20] = 0.7
    sounds = torch.stack(
        [0 * full_scale, full_scale, -full_scale, noise.sign(), 100 * noise, 1e-25 * noise, burst]
    )
    for setting, audio, mode in itertools.product(
        places(), [sounds, sounds[..., :1]], ["LPF12", "HPF24"]
    ):
        dry = audio.clone().requires_grad_()
        knobs = {
            knob: values.requires_grad_()
            for knob, values in stacked([setting] * len(dry), dtype).items()
        }
        wet = ladder_filter(dry, SAMPLE_RATE, **knobs, mode=mode)
        assert wet.isfinite().all()
        # Not a plain sum: its gradient is the same at every sample.
        (wet * torch.linspace(-1, 2, wet.shape[-1], dtype=dtype)).sum().backward()
        assert all(leaf.grad.isfinite().all() for leaf in (dry, *knobs.values())), setting


@every_mode
def test_gradients_are_those_of_the_function(mode: str) -> None:
    generator = torch.Generator().manual_seed(1)
    audio = (0.6 * torch.randn(2, 1, 32, dtype=torch.float64, generator=generator)).requires_grad_()
    knobs = stacked([MIDDLE, {"cutoff_hz": 200.0, "resonance": 0.9, "drive": 1.2}], torch.float64)

    def filtered(audio: Tensor, *values: Tensor) -> Tensor:
        return ladder_filter(audio, 8000, **dict(zip(knobs, values, strict=True)), mode=mode)

    assert torch.autograd.gradcheck(
        filtered, (audio, *(value.requires_grad_() for value in knobs.values()))
    )


def test_gradients_over_several_blocks_are_those_of_the_function() -> None:
    audio = 0.6 * torch.randn(
        3, 2, 700, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    )
    weights = torch.randn(
        audio.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )
    knobs = {
        knob: torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for knob, value in MIDDLE.items()
    }

    def loss(audio: Tensor, **knobs: Tensor | float) -> Tensor:
        return (ladder_filter(audio, 8000, **knobs) * weights).sum()

    dry = audio.clone().requires_grad_()
    loss(dry, **knobs).backward()
    step = 1e-6
    for knob, value in MIDDLE.items():
        ends = [
            loss(audio, **{**MIDDLE, knob: value * (1 + sign * step)}).item() for sign in (1, -1)
        ]
        assert knobs[knob].grad.item() == pytest.approx(
            (ends[0] - ends[1]) / (2 * step * value), rel=1e-4
        ), knob
    direction = weights.flip(-1)
    ends = [loss(audio + sign * step * direction, **MIDDLE).item() for sign in (1, -1)]
    assert (dry.grad * direction).sum().item() == pytest.approx(
        (ends[0] - ends[1]) / (2 * step), rel=1e-4
    )


def test_knobs_turn_the_original_as_the_gradient_says() -> None:
    # The energy of a guitar and of noise after the original, knob by knob, against the twin's gradient of it.
    audio = tried(SAMPLE_RATE)[:2]
    knobs = {
        knob: torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for knob, value in MIDDLE.items()
    }
    ladder_filter(torch.from_numpy(audio).double(), SAMPLE_RATE, **knobs).square().sum().backward()

    def energy(params: dict[str, float]) -> float:
        wets = (original(item, SAMPLE_RATE, mode="LPF12", **params) for item in audio)
        return sum(np.square(wet.astype(float)).sum() for wet in wets)

    for knob, value in MIDDLE.items():
        step = 0.01 * value
        ends = (energy({**MIDDLE, knob: value + sign * step}) for sign in (1, -1))
        # Samples cross corners of the table within a step; over half a second of sound that evens out.
        assert knobs[knob].grad.item() == pytest.approx(
            np.subtract(*ends) / (2 * step), rel=0.01
        ), knob
