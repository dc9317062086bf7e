import itertools

import numpy as np
import pytest
import torch

from labkit.effects.saturation import (
    CURVES,
    MEMORYLESS,
    TapeSaturationProcessor,
    magnetise,
    saturate,
)

PERIOD = 2000
SINE = np.sin(2 * np.pi * np.arange(3 * PERIOD) / PERIOD)


@pytest.mark.parametrize("curve", MEMORYLESS)
def test_a_depth_is_the_slope_at_zero_and_one_is_the_end(curve):
    tiny = np.array([1e-6, -1e-6])
    # The first term left out is cubic in 1e-5: 1e-10 of the slope.
    assert saturate(tiny, 7.0, curve=curve) == pytest.approx(7.0 * tiny, rel=1e-6)
    far = saturate(np.array([1.0, -1.0]), 10.0, curve=curve)
    # An arctangent is the slowest to arrive: 2 / pi * atan(5 pi) = 0.9595.
    assert 0.95 < far[0] <= 1.0
    assert far[1] == -far[0]


@pytest.mark.parametrize(
    ("curve", "depth", "given", "wanted"),
    [
        ("tanh", 2.0, 0.5, np.tanh(1.0)),
        ("arctan", 2.0, 1.0, 2 / np.pi * np.arctan(np.pi)),
        ("hard_clip", 4.0, 0.2, 0.8),
        ("hard_clip", 4.0, 0.3, 1.0),
        ("cubic", 1.0, 1.0, 23 / 27),
        ("cubic", 3.0, 0.5, 1.0),
    ],
)
def test_values_by_hand(curve, depth, given, wanted):
    assert saturate(np.array([given]), depth, curve=curve)[0] == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("curve", [name for name in MEMORYLESS if CURVES[name].invert])
def test_what_is_bent_can_be_straightened(curve):
    u = torch.linspace(-1.4, 1.4, 101, dtype=torch.float64)
    torch.testing.assert_close(CURVES[curve].invert(CURVES[curve].apply(u)), u, atol=1e-9, rtol=0)


def loop_area(curve, depth):
    """Enclosed by input field and output over the last of three periods of a sine."""
    out = saturate(SINE, depth, curve=curve)[-PERIOD:]
    return abs(float((out * np.gradient(depth * SINE[-PERIOD:])).sum()))


def test_hysteresis_has_a_loop_that_grows_with_drive_and_others_have_none():
    areas = [loop_area("hysteresis", depth) for depth in (1.0, 2.0, 5.0, 10.0)]
    assert areas[0] > 0.2
    assert all(b > 1.02 * a for a, b in itertools.pairwise(areas))
    # The sum over one period of a function of the input alone telescopes up to the grid's error.
    assert all(loop_area(curve, 5.0) < 1e-3 * areas[0] for curve in MEMORYLESS)


def test_tape_remembers():
    """The same field, reached from two pasts, leaves two magnetisations, and silence keeps one."""
    up = magnetise(np.array([2.0, 0.0, 0.0]))
    down = magnetise(np.array([-2.0, 0.0, 0.0]))
    assert up[1] == -down[1] == pytest.approx(up[2])
    assert up[1] > 0.1


def test_only_the_way_counts_not_the_clock():
    field = 4.0 * SINE
    path = np.interp(np.arange(0, len(field) - 0.9, 0.1), np.arange(len(field)), field)
    # Fourth-order steps of a twelfth: their error is far below the 1e-4 allowed here.
    assert magnetise(path)[::10] == pytest.approx(magnetise(field), abs=1e-4)
    coarse = magnetise(field[::100])
    # A chord cuts the sine's top by at most 4 * (pi * 100 / 2000)^2 / 2 = 0.05 of field.
    assert coarse == pytest.approx(magnetise(field)[::100], abs=0.05)
    assert np.abs(coarse).max() < 1


def test_the_processor_is_the_curve_with_a_gradient():
    audio = torch.from_numpy(SINE[None, None, 100:160].copy()).repeat(4, 1, 1)
    unit = torch.tensor([0.0, 0.3, 0.6, 1.0], dtype=torch.float64, requires_grad=True)
    out = TapeSaturationProcessor()(audio, unit, MEMORYLESS)
    for i, curve in enumerate(MEMORYLESS):
        wanted = saturate(audio[i].numpy(), 1.0 + 9.0 * unit[i].item(), curve=curve)
        assert np.array_equal(out[i].detach().numpy(), wanted)
    smooth = [name for name in MEMORYLESS if name != "hard_clip"]
    assert torch.autograd.gradcheck(
        lambda u: TapeSaturationProcessor()(audio[:3], u, smooth),
        unit[:3].detach().clone().requires_grad_(),
    )
