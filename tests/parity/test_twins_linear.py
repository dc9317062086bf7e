"""The memoryless pedals, the filters and the delay in torch: pedalboard's samples, and gradients one can trust."""

import itertools
from functools import cache
from math import log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from labkit.effects.effect import process
from labkit.effects.registry import EFFECTS
from labkit.effects.twins.delay import delay
from labkit.effects.twins.drive import bitcrush, clipping, distortion, gain
from labkit.effects.twins.filters import high_shelf, highpass, low_shelf, lowpass, peak
from labkit.measure.parity import relative_error_db, signals

MEMORYLESS = {"gain": gain, "distortion": distortion, "clipping": clipping, "bitcrush": bitcrush}
FILTERS = {
    "highpass": highpass,
    "lowpass": lowpass,
    "low_shelf": low_shelf,
    "peak": peak,
    "high_shelf": high_shelf,
}
TWINS = {**MEMORYLESS, **FILTERS, "delay": delay}
RATES = (44_100, 48_000)
SAMPLE_RATE = RATES[0]
# They agree to the bit where nothing but sums and products is left; tanh leaves -144 dB. One wrong digit of a
# filter's cosine already makes -60 dB.
PARITY_DB = -120.0
# Outside the space: silence, no boost, the ends of the originals' knobs, centres that the originals hold back.
BANDS = [
    {"cutoff_frequency_hz": 30.0, "gain_db": 30.0, "q": 0.1},
    {"cutoff_frequency_hz": 12_000.0, "gain_db": -30.0, "q": 10.0},
    {"cutoff_frequency_hz": 30_000.0, "gain_db": 6.0, "q": 0.7},
    {"cutoff_frequency_hz": 0.5, "gain_db": 6.0, "q": 0.7},
]
BEYOND: dict[str, list[dict[str, float]]] = {
    "gain": [{"gain_db": -100.0}, {"gain_db": -99.9}, {"gain_db": 40.0}],
    "distortion": [{"drive_db": -120.0}, {"drive_db": 0.0}, {"drive_db": 60.0}],
    "clipping": [{"threshold_db": -100.0}, {"threshold_db": -60.0}, {"threshold_db": 6.0}],
    "bitcrush": [{"bit_depth": 0.0}, {"bit_depth": 1.5}, {"bit_depth": 16.0}, {"bit_depth": 32.0}],
    "highpass": [{"cutoff_frequency_hz": 10.0}, {"cutoff_frequency_hz": 20_000.0}],
    "lowpass": [{"cutoff_frequency_hz": 10.0}, {"cutoff_frequency_hz": 20_000.0}],
    "low_shelf": BANDS,
    "peak": BANDS,
    "high_shelf": BANDS,
    "delay": [
        {"delay_seconds": 0.0, "feedback": 0.5, "mix": 0.5},
        {"delay_seconds": 1e-5, "feedback": 0.5, "mix": 0.5},
        {"delay_seconds": 3e-5, "feedback": 0.9, "mix": 1.0},
        {"delay_seconds": 0.05, "feedback": 1.0, "mix": 0.7},
        {"delay_seconds": 30.0, "feedback": 0.0, "mix": 0.3},
    ],
}

every_twin = pytest.mark.parametrize("name", TWINS)
every_filter = pytest.mark.parametrize("name", FILTERS)
every_rate = pytest.mark.parametrize("sample_rate", RATES)


@cache
def tried(sample_rate: int) -> np.ndarray:
    """(5, 2, samples): the five signals of every parity test."""
    return np.stack(list(signals(sample_rate, seconds=0.4).values()))


def places(name: str) -> list[dict[str, float]]:
    effect = EFFECTS[name]
    neutral = [dict(effect.neutral)] if effect.neutral else []
    return [*effect.space.corners(), *neutral, *BEYOND[name]]


def within(name: str, unit: float) -> dict[str, float]:
    space = EFFECTS[name].space
    return space.from_unit(np.full(len(space), unit))


def stacked(
    settings: list[dict[str, float]], dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    return {
        name: torch.tensor([setting[name] for setting in settings], dtype=dtype)
        for name in settings[0]
    }


def noise(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def original(
    name: str, audio: np.ndarray, sample_rate: int, params: dict[str, float]
) -> np.ndarray:
    # Built by hand: `Effect.render` refuses what lies beyond the space.
    return process(EFFECTS[name].build(params), audio, sample_rate)


def assert_parity(
    name: str, audio: np.ndarray, sample_rate: int, settings: list[dict[str, float]]
) -> None:
    """One batched call of the twin against one render of pedalboard per item of `audio` (items, channels, samples)."""
    wet_hat = TWINS[name](torch.from_numpy(audio), sample_rate, **stacked(settings)).numpy()
    for item, given_item, params in zip(audio, wet_hat, settings, strict=True):
        wet = original(name, item, sample_rate, params)
        assert relative_error_db(wet, given_item) <= PARITY_DB, params


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
@settings(max_examples=10)
def test_parity_anywhere(name: str, sample_rate: int, data: st.DataObject) -> None:
    audio, space = tried(sample_rate), EFFECTS[name].space
    n_units = len(audio) * len(space)
    units = data.draw(st.lists(st.floats(0, 1), min_size=n_units, max_size=n_units))
    level = data.draw(st.sampled_from([1e-4, 0.1, 1.0, 4.0]))
    settings = [space.from_unit(row) for row in np.reshape(units, (len(audio), -1))]
    assert_parity(name, (level * audio).astype(np.float32), sample_rate, settings)


@every_twin
def test_parity_over_many_blocks_and_a_long_pause(name: str) -> None:
    sounding = np.tile(tried(SAMPLE_RATE)[:2], 4)
    audio = np.concatenate(
        [sounding, np.zeros((2, 2, 2 * SAMPLE_RATE), np.float32), sounding], axis=-1
    )
    assert audio.shape[-1] >= 5 * SAMPLE_RATE
    ends = EFFECTS[name].space.corners()
    assert_parity(name, audio, SAMPLE_RATE, [ends[0], ends[-1]])


@every_filter
def test_what_a_block_leaves_behind_is_dropped_where_the_original_drops_it(name: str) -> None:
    # What rings on is below 1e-8 when a block of 8192 samples ends, and of some size when it began.
    audio = np.zeros((1, 1, 8300), np.float32)
    audio[..., 8180] = 1e-8
    wet = TWINS[name](torch.from_numpy(audio), SAMPLE_RATE, **within(name, 0.2)).numpy()
    np.testing.assert_array_equal(wet[0], original(name, audio[0], SAMPLE_RATE, within(name, 0.2)))
    assert wet[..., 8180:8192].any()
    assert not wet[..., 8192:].any()


# Laws


@every_twin
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_shape_dtype_and_input_are_kept(name: str, dtype: torch.dtype) -> None:
    for shape in [(1, 1, 1), (3, 2, 1), (2, 1, 2), (2, 3, 100)]:
        audio = (0.5 * noise(*shape)).to(dtype)
        before = audio.clone()
        wet = TWINS[name](audio, SAMPLE_RATE, **within(name, 0.5))
        assert wet.shape == shape
        assert wet.dtype == dtype
        torch.testing.assert_close(audio, before, rtol=0, atol=0)
        torch.testing.assert_close(
            TWINS[name](audio, SAMPLE_RATE, **within(name, 0.5)), wet, rtol=0, atol=0
        )


@every_twin
def test_a_batch_is_its_items_one_by_one(name: str) -> None:
    audio = torch.from_numpy(tried(SAMPLE_RATE))
    settings = places(name)[: len(audio)]
    together = TWINS[name](audio[: len(settings)], SAMPLE_RATE, **stacked(settings))
    for index, setting in enumerate(settings):
        alone = TWINS[name](audio[index : index + 1], SAMPLE_RATE, **setting)
        torch.testing.assert_close(together[index : index + 1], alone, rtol=1e-6, atol=1e-7)


@every_twin
def test_channels_stay_apart_and_nothing_looks_ahead(name: str) -> None:
    audio, cut = torch.from_numpy(tried(SAMPLE_RATE)[:1]), 9000
    wet = TWINS[name](audio, SAMPLE_RATE, **within(name, 0.5))
    second, past = (
        TWINS[name](part, SAMPLE_RATE, **within(name, 0.5))
        for part in (audio[:, 1:], audio[..., :cut])
    )
    # The last digit of a tangent depends on where a sample lies in a vector register.
    torch.testing.assert_close(second, wet[:, 1:], rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(past, wet[..., :cut], rtol=1e-6, atol=1e-7)


@every_twin
def test_silence_stays_silence(name: str) -> None:
    for setting in places(name):
        assert not TWINS[name](torch.zeros(1, 2, 9000), SAMPLE_RATE, **setting).any()


@pytest.mark.parametrize("name", [name for name in TWINS if EFFECTS[name].neutral])
def test_neutral_setting_returns_the_input(name: str) -> None:
    audio = torch.from_numpy(tried(SAMPLE_RATE))
    torch.testing.assert_close(
        TWINS[name](audio, SAMPLE_RATE, **EFFECTS[name].neutral), audio, rtol=0, atol=2e-7
    )


@every_twin
def test_unusable_arguments_are_refused(name: str) -> None:
    twin, knobs = TWINS[name], within(name, 0.5)
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
    weights = noise(*audio.shape)

    def wet_and_gradients(audio: Tensor) -> list[Tensor]:
        leaves = [
            value.to(audio.device).requires_grad_()
            for value in stacked([within(name, 0.6)] * 5).values()
        ]
        leaves.append(audio.clone().requires_grad_())
        wet = TWINS[name](
            leaves[-1], SAMPLE_RATE, **dict(zip(EFFECTS[name].space.names, leaves, strict=False))
        )
        assert wet.device == audio.device
        (wet * weights.to(audio.device)).sum().backward()
        return [wet.detach().cpu(), *(leaf.grad.cpu() for leaf in leaves)]

    for expected, found in zip(
        wet_and_gradients(audio), wet_and_gradients(audio.to(device)), strict=True
    ):
        # Sums over 35 000 samples in float32, in another order.
        assert relative_error_db(expected, found) <= -80


# The delay's corners, and its second way


def test_delay_cuts_the_fraction_of_a_sample_off_in_float32() -> None:
    # 0.12 s are 5292 samples, but the nearest float32 is less.
    for dtype in (torch.float32, torch.float64):
        impulse = torch.zeros(1, 1, 6000, dtype=dtype)
        impulse[..., 0] = 1
        wet = delay(impulse, SAMPLE_RATE, delay_seconds=0.12, feedback=0.0, mix=1.0)
        assert wet[0, 0].nonzero().tolist() == [[5291]]


@pytest.mark.parametrize("delay_seconds", [0.0, 1e-5, 29.999, 30.0])
def test_delay_at_both_ends_of_its_line(delay_seconds: float) -> None:
    rate = 1000
    audio = np.zeros((1, 1, 61 * rate), np.float32)
    audio[..., 5] = 1
    params = {"delay_seconds": delay_seconds, "feedback": 0.5, "mix": 0.5}
    wet = delay(torch.from_numpy(audio), rate, **params)
    np.testing.assert_array_equal(wet[0].numpy(), original("delay", audio[0], rate, params))
    assert wet.count_nonzero() == (3 if delay_seconds else 1)


def test_gradient_of_the_delay_is_that_of_an_interpolating_line() -> None:
    whole, rate, samples = 5, 10, 40
    audio, weights = (
        noise(samples, dtype=torch.float64),
        noise(samples, dtype=torch.float64, seed=1),
    )
    seconds = torch.tensor([(whole + 0.4) / rate], dtype=torch.float64, requires_grad=True)
    wet = delay(audio.view(1, 1, -1), rate, delay_seconds=seconds, feedback=0.7, mix=0.4)
    (wet * weights).sum().backward()

    # The same line written out, read between two samples.
    fraction = torch.zeros((), dtype=torch.float64, requires_grad=True)
    line: list[Tensor] = []
    written_out = []
    for n in range(samples):
        near, far = (
            line[n - lag] if n >= lag else torch.zeros_like(fraction) for lag in (whole, whole + 1)
        )
        read = near + fraction * (far - near)
        line.append(audio[n] + 0.7 * read)
        written_out.append(0.6 * audio[n] + 0.4 * read)
    torch.testing.assert_close(wet[0, 0], torch.stack(written_out))
    (torch.stack(written_out) * weights).sum().backward()
    torch.testing.assert_close(seconds.grad[0], rate * fraction.grad)


def test_gradient_of_the_delay_leads_to_the_delay() -> None:
    # A slow sine and a target 20 samples later: steps against the gradient arrive.
    audio = torch.sin(torch.arange(8000) / 100).view(1, 1, -1)
    knobs = {"feedback": 0.3, "mix": 0.5}
    target = delay(audio, SAMPLE_RATE, delay_seconds=0.0505, **knobs)
    seconds = torch.tensor(0.05, requires_grad=True)
    for _ in range(120):
        error = delay(audio, SAMPLE_RATE, delay_seconds=seconds, **knobs) - target
        (gradient,) = torch.autograd.grad(error.square().mean(), seconds)
        with torch.no_grad():
            seconds -= 2e-6 * gradient
    assert seconds.item() == pytest.approx(0.0505, abs=1.5 / SAMPLE_RATE)


# Gradients


@every_twin
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_everywhere(name: str, dtype: torch.dtype) -> None:
    samples = 9000
    full_scale = torch.ones(2, samples, dtype=dtype)
    random = noise(2, samples, dtype=dtype)
    burst = torch.zeros(2, samples, dtype=dtype)
    burst[:, 10:20] = 0.7
    tried = [
        0 * full_scale,
        full_scale,
        -full_scale,
        random.sign(),
        100 * random,
        1e-12 * random,
        burst,
    ]
    for setting, audio in itertools.product(
        places(name), (torch.stack(tried), full_scale[None, :, :1])
    ):
        dry = audio.clone().requires_grad_()
        knobs = {
            knob: value.requires_grad_()
            for knob, value in stacked([setting] * len(audio), dtype).items()
        }
        wet = TWINS[name](dry, SAMPLE_RATE, **knobs)
        assert wet.isfinite().all(), setting
        # Not a plain sum: its gradient is the same at every sample.
        (wet * torch.linspace(-1, 2, wet.shape[-1], dtype=dtype)).sum().backward()
        for label, leaf in {"audio": dry, **knobs}.items():
            assert leaf.grad.isfinite().all(), (setting, label)


@pytest.mark.parametrize("name", [name for name in TWINS if name not in ("bitcrush", "delay")])
def test_gradients_are_those_of_the_function(name: str) -> None:
    # Kept away from the ceiling, where the clipper has a corner.
    audio = noise(2, 2, 30, dtype=torch.float64, seed=1)
    audio = (audio + 0.1 * audio.sign()).requires_grad_()
    knobs = stacked([within(name, unit) for unit in (0.2, 0.7)], torch.float64)

    def twin(audio: Tensor, *values: Tensor) -> Tensor:
        return TWINS[name](audio, SAMPLE_RATE, **dict(zip(knobs, values, strict=True)))

    assert torch.autograd.gradcheck(
        twin, (audio, *(value.requires_grad_() for value in knobs.values()))
    )


def test_gradients_of_the_delay_but_for_its_time() -> None:
    audio = noise(2, 2, 30, dtype=torch.float64).requires_grad_()
    seconds = torch.tensor([0.35, 1.15], dtype=torch.float64)
    feedback, mix = (
        torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in ([0.2, 0.8], [0.3, 0.6])
    )

    def twin(audio: Tensor, feedback: Tensor, mix: Tensor) -> Tensor:
        return delay(audio, 10, delay_seconds=seconds, feedback=feedback, mix=mix)

    assert torch.autograd.gradcheck(twin, (audio, feedback, mix))


@every_filter
def test_float32_gradients_of_the_knobs_are_those_of_float64(name: str) -> None:
    settings = EFFECTS[name].space.corners()
    audio = torch.from_numpy(tried(SAMPLE_RATE)[:1]).expand(len(settings), -1, -1)
    weights, gradients = noise(*audio.shape, seed=1), []
    for dtype in (torch.float64, torch.float32):
        knobs = {knob: value.requires_grad_() for knob, value in stacked(settings, dtype).items()}
        (TWINS[name](audio.to(dtype), SAMPLE_RATE, **knobs) * weights).sum().backward()
        gradients.append({knob: value.grad for knob, value in knobs.items()})
    for knob, expected in gradients[0].items():
        # The filter that float32 makes of 100 Hz is another one, by up to -60 dB.
        assert relative_error_db(expected, gradients[1][knob]) <= -50.0, knob


def test_clipper_shares_its_gradient_between_audio_and_ceiling() -> None:
    audio = torch.tensor([[[-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]]], requires_grad=True)
    threshold_db = torch.zeros(1, requires_grad=True)
    weights = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0])
    (clipping(audio, SAMPLE_RATE, threshold_db=threshold_db) * weights).sum().backward()
    assert audio.grad.flatten().tolist() == [0, 2, 4, 8, 16, 32, 0]
    torch.testing.assert_close(threshold_db.grad, torch.tensor([(64 - 1) * log(10) / 20]))


def test_crusher_passes_gradients_straight_through_and_knows_what_a_bit_does_to_its_error() -> None:
    audio = (0.5 * noise(1, 2, 50_000, dtype=torch.float64)).requires_grad_()
    bits = torch.tensor([4.3], dtype=torch.float64, requires_grad=True)
    crushed = bitcrush(audio, SAMPLE_RATE, bit_depth=bits)
    weights = noise(*audio.shape, dtype=torch.float64, seed=1)
    (straight,) = torch.autograd.grad((crushed * weights).sum(), audio, retain_graph=True)
    torch.testing.assert_close(straight, weights)

    (crushed - audio.detach()).square().mean().backward()

    def error(bits: float) -> float:
        return (
            (bitcrush(audio, SAMPLE_RATE, bit_depth=bits) - audio).detach().square().mean().item()
        )

    # 100 000 errors spread evenly over a step: their mean square is known to 0.3 %.
    step = 0.5
    slope = (log(error(4.3 + step)) - log(error(4.3 - step))) / (2 * step)
    assert slope == pytest.approx(-2 * log(2), rel=0.02)
    assert bits.grad.item() == pytest.approx(slope * error(4.3), rel=0.02)


@pytest.mark.parametrize("name", [name for name in TWINS if name != "bitcrush"])
def test_knobs_turn_the_original_as_the_gradient_says(name: str) -> None:
    # What is left of a guitar and of noise in the original's output, knob by knob, against the twin's gradient of it.
    audio, here = tried(SAMPLE_RATE)[:2], within(name, 0.3)
    pattern = original(
        "lowpass", tried(SAMPLE_RATE)[1], SAMPLE_RATE, {"cutoff_frequency_hz": 50.0}
    ).astype(float)
    knobs = {
        knob: torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for knob, value in here.items()
    }
    wet = TWINS[name](torch.from_numpy(audio).double(), SAMPLE_RATE, **knobs)
    (wet - torch.from_numpy(pattern)).square().sum().backward()

    def distance(params: dict[str, float]) -> float:
        renders = (original(name, item, SAMPLE_RATE, params) for item in audio)
        return sum(np.square(wet - pattern).sum() for wet in renders)

    for knob, value in here.items():
        if knob == "delay_seconds":
            continue  # a staircase: see the tests of the delay
        # Filters need a wide step: over 1 % of a knob one already sees, as an error of 1 %, the staircase that float32
        # coefficients make of the original.
        step = (0.04 if name in FILTERS else 0.005) * abs(value)
        ends = (distance({**here, knob: value + sign * step}) for sign in (1, -1))
        slope = np.subtract(*ends) / (2 * step)
        assert knobs[knob].grad.item() == pytest.approx(slope, rel=5e-3), knob
