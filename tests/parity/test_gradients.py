"""Gradients of the differentiable pedals: finite, and those of a function that parity tests hold."""

from math import log

import pytest
import torch
from torch import Tensor

from labkit.effects.ambience import delay
from labkit.effects.drive import bitcrush
from labkit.effects.registry import EFFECTS

RATE = 44_100
# At which recursions and delays fit into the few samples of gradcheck.
SMALL_RATE = {"reverb": 500, "chorus": 1000, "phaser": 1000}
SMALL_RATE |= dict.fromkeys(("compressor", "limiter", "noise_gate"), 1000)

every_pedal = pytest.mark.parametrize("name", EFFECTS)
but_bitcrush = pytest.mark.parametrize("name", [name for name in EFFECTS if name != "bitcrush"])


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def gradients(name: str, audio: Tensor, knobs: dict[str, Tensor]) -> dict[str, Tensor]:
    """To audio and knobs, of a sum that weighs every sample differently."""
    dry = audio.clone().requires_grad_()
    leaves = {knob: value.clone().requires_grad_() for knob, value in knobs.items()}
    wet = EFFECTS[name].differentiable(dry, RATE, **leaves)
    assert wet.isfinite().all()
    (wet * noise(*wet.shape, seed=2).to(wet.dtype)).sum().backward()
    return {label: leaf.grad for label, leaf in {"audio": dry, **leaves}.items()}


@every_pedal
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_everywhere(name, dtype, settings_of, stacked) -> None:
    full, random = torch.ones(2, 3000, dtype=dtype), noise(2, 3000, dtype=dtype)
    burst = torch.zeros_like(full)
    burst[:, 10:20] = 0.7
    loud = [full, -full, random.sign(), 100 * random]
    quiet = [0 * full, 1e-12 * random, 1e-25 * random, burst]
    for setting in settings_of(name):
        for audio in (torch.stack(loud + quiet), full[None, :, :1]):
            found = gradients(name, audio, stacked([setting] * len(audio), dtype))
            for label, grad in found.items():
                assert grad.isfinite().all(), (label, setting)


@but_bitcrush
@pytest.mark.parametrize("channels", [1, 2])
def test_gradients_are_those_of_the_function(name, channels, setting_at, stacked) -> None:
    audio = 0.6 * noise(2, channels, 40, seed=1)
    # Kept away from the threshold, where the clipper has a corner.
    audio = (audio + 0.1 * audio.sign()).requires_grad_()
    knobs = stacked([setting_at(name, unit) for unit in (0.23, 0.71)], torch.float64)
    rate, fixed = SMALL_RATE.get(name, RATE), {}
    if name == "delay":  # its output is a staircase in the time: see below
        rate, fixed = 10, {"delay_seconds": torch.tensor([0.35, 1.15], dtype=torch.float64)}
    free = {knob: value.requires_grad_() for knob, value in knobs.items() if knob not in fixed}

    def pedal(audio: Tensor, *values: Tensor) -> Tensor:
        turned = dict(zip(free, values, strict=True))
        return EFFECTS[name].differentiable(audio, rate, **fixed, **turned)

    assert torch.autograd.gradcheck(pedal, (audio, *free.values()))


def test_the_gradient_of_a_delay_is_that_of_an_interpolating_line() -> None:
    whole, rate, samples = 5, 10, 40
    audio, weights = noise(samples), noise(samples, seed=1)
    seconds = torch.tensor([(whole + 0.4) / rate], dtype=torch.float64, requires_grad=True)
    wet = delay(audio.view(1, 1, -1), rate, delay_seconds=seconds, feedback=0.7, mix=0.4)
    (wet * weights).sum().backward()

    # The same line written out, read between two samples.
    fraction = torch.zeros((), dtype=torch.float64, requires_grad=True)
    line: list[Tensor] = []
    written_out = []
    for n in range(samples):
        lags = (whole, whole + 1)
        near, far = (line[n - k] if n >= k else torch.zeros_like(fraction) for k in lags)
        read = near + fraction * (far - near)
        line.append(audio[n] + 0.7 * read)
        written_out.append(0.6 * audio[n] + 0.4 * read)
    torch.testing.assert_close(wet[0, 0], torch.stack(written_out))
    (torch.stack(written_out) * weights).sum().backward()
    torch.testing.assert_close(seconds.grad[0], rate * fraction.grad)


def test_a_bit_crusher_passes_gradients_on_and_knows_what_a_bit_does_to_its_error() -> None:
    audio = (0.5 * noise(1, 2, 50_000)).requires_grad_()
    bits = torch.tensor([4.3], dtype=torch.float64, requires_grad=True)
    crushed, weights = bitcrush(audio, RATE, bit_depth=bits), noise(*audio.shape, seed=1)
    (straight,) = torch.autograd.grad((crushed * weights).sum(), audio, retain_graph=True)
    torch.testing.assert_close(straight, weights)
    (crushed - audio.detach()).square().mean().backward()

    def error(bits: float) -> float:
        crushed = bitcrush(audio.detach(), RATE, bit_depth=bits)
        return (crushed - audio.detach()).square().mean().item()

    # 100 000 errors spread evenly over a step: their mean square is known to 0.3 %.
    slope = log(error(4.8)) - log(error(3.8))
    assert slope == pytest.approx(-2 * log(2), rel=0.02)
    assert bits.grad.item() == pytest.approx(slope * error(4.3), rel=0.02)
