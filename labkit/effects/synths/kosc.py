"""k oscillators that sound together: the smallest synthesizer with exchangeable parts.

A batch of settings is (b, k, 3) in 0..1: frequency, amplitude, waveform, as `SPACE` orders them.
"""

import math

import torch
from torch import Tensor

from labkit.effects.parameters import space

# A waveform of 0 is a sine, 0.5 a square, 1 a saw; between them they are mixed.
SPACE = space(frequency_hz=(20.0, 4000.0), amplitude=(0.0, 1.0), waveform=(0.0, 1.0))
SAMPLE_RATE, N_SAMPLES = 44_100, 1024


def render(
    params_unit: Tensor, *, sample_rate: int = SAMPLE_RATE, n_samples: int = N_SAMPLES
) -> Tensor:
    """The sound (b, n_samples) of every setting (b, k, 3) in 0..1, with a gradient to it.

    It is the mean of the oscillators, each from phase 0. Raises ValueError for another shape,
    values outside 0..1, or a rate below 16 kHz.

    Source: the task of Hayes et al. 2025 (ISMIR); the edges are rounded as in Välimäki and
        Huovilainen 2007 (polyBLEP).
    """
    frequency, amplitude, waveform = _checked(params_unit).unbind(-1)
    knob = SPACE["frequency_hz"]
    if sample_rate < 4 * knob.high:
        raise ValueError(f"sample_rate must be at least {4 * knob.high:.0f} Hz, got {sample_rate}")
    step = ((knob.low + (knob.high - knob.low) * frequency) / sample_rate)[..., None]
    phase = (step * torch.arange(n_samples, device=step.device)) % 1.0
    saw = 2 * phase - 1 - _edge(phase, step)
    half = (phase + 0.5) % 1.0
    square = torch.where(phase < 0.5, 1.0, -1.0) + _edge(phase, step) - _edge(half, step)
    sine = torch.sin(2 * math.pi * phase)
    between = (2 * waveform - 1)[..., None]  # -1 sine, 0 square, 1 saw
    mixed = sine * (-between).clamp_min(0) + square * (1 - between.abs())
    mixed = mixed + saw * between.clamp_min(0)
    return (amplitude[..., None] * mixed).mean(1)


def _edge(phase: Tensor, step: Tensor) -> Tensor:
    """The difference between a rounded and a sharp upward step of 2 at phase 0 (polyBLEP)."""
    after, before = phase / step, (phase - 1) / step
    rising = torch.where(after < 1, 2 * after - after * after - 1, torch.zeros_like(phase))
    return torch.where(before > -1, before * before + 2 * before + 1, rising)


def _checked(params_unit: Tensor) -> Tensor:
    shape = tuple(params_unit.shape)
    if len(shape) != 3 or shape[-1] != len(SPACE):
        raise ValueError(f"params_unit must be (batch, oscillators, {len(SPACE)}), got {shape}")
    low, high = params_unit.min().item(), params_unit.max().item()
    if not (low >= 0 and high <= 1):
        raise ValueError(f"params_unit must lie in 0..1, got {low:.3g} to {high:.3g}")
    return params_unit
