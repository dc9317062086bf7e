"""k oscillators: pitch, waveforms, exchange, and a gradient to every setting."""

import pytest
import torch

from labkit.effects.synths.kosc import SAMPLE_RATE, SPACE, render
from labkit.signal.seeds import torch_generator


def settings(n, k):
    return torch.rand(n, k, 3, generator=torch_generator(0, "k-osc tests"))


def one(frequency, waveform, **given):
    unit = (frequency - SPACE["frequency_hz"].low) / (
        SPACE["frequency_hz"].high - SPACE["frequency_hz"].low
    )
    return render(torch.tensor([[[unit, 1.0, waveform]]], dtype=torch.float64), **given)[0]


def test_oscillators_can_be_exchanged_and_add_up():
    params = settings(4, 3)
    sound = render(params)
    assert sound.shape == (4, 1024)
    # Float32 sums in another order.
    torch.testing.assert_close(render(params.flip(1)), sound, atol=1e-6, rtol=0)
    alone = sum(render(params[:, i : i + 1]) for i in range(3)) / 3
    torch.testing.assert_close(alone, sound, atol=1e-6, rtol=0)
    assert sound.abs().max() <= 1.2


def test_a_sine_is_one():
    samples = torch.arange(1024, dtype=torch.float64)
    torch.testing.assert_close(
        one(1000.0, 0.0), torch.sin(2 * torch.pi * 1000 * samples / SAMPLE_RATE), atol=1e-9, rtol=0
    )


@pytest.mark.parametrize(
    ("waveform", "series"), [(0.5, {1: 1.0, 2: 0.0, 3: 1 / 3}), (1.0, {1: 1.0, 2: 0.5, 3: 1 / 3})]
)
def test_square_and_saw_have_their_harmonics(waveform, series):
    """Of 1/n; the rounded edges take a little from the upper ones, at most 3 % of the first three here."""
    n = 4410  # ten periods of 100 Hz: every harmonic on a bin
    spectrum = torch.fft.rfft(one(100.0, waveform, n_samples=n)).abs() * 2 / n
    for harmonic, share in series.items():
        assert spectrum[10 * harmonic] / spectrum[10] == pytest.approx(share, abs=0.03)
    assert spectrum[10] == pytest.approx(
        4 / torch.pi if waveform == 0.5 else 2 / torch.pi, rel=0.01
    )


def test_every_setting_has_a_gradient():
    params = settings(2, 2).double().mul(0.8).add(0.1).requires_grad_()
    render(params).square().sum().backward()
    assert torch.isfinite(params.grad).all()
    assert (params.grad.abs() > 1e-6).all()
