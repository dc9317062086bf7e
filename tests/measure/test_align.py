"""Lag and polarity do not count, everything else does."""

import math

import pytest
import torch

from labkit.measure.align import align, aligned_distance
from labkit.signal.seeds import generator


def noise(*shape):
    return torch.from_numpy(0.1 * generator(0, "alignment").standard_normal(shape)).float()


def test_a_late_and_inverted_copy_is_brought_back():
    whole = noise(3, 1, 5000)
    target = whole[..., 200:4200]
    estimate = torch.stack([whole[0, :, 200:4200], whole[1, :, 163:4163], -whole[2, :, 260:4260]])
    ours, theirs = align(estimate, target, max_shift=100)
    torch.testing.assert_close(ours, estimate[..., 100:-100])
    torch.testing.assert_close(theirs, ours)
    distance = aligned_distance(estimate, target)
    torch.testing.assert_close(distance, torch.zeros(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_half_or_twice_the_level_costs_its_decibels_alone(gain):
    sound = noise(1, 1, 8000)
    found = aligned_distance(gain * sound, sound).item()
    assert found == pytest.approx(0.02 * 20 * math.log10(2), abs=1e-5)


def test_its_gradient_is_that_of_differences():
    estimate, target = noise(1, 1, 3000).double(), noise(2, 1, 3000)[1:].double()
    leaf = estimate.clone().requires_grad_()
    aligned_distance(leaf, target, n_ffts=(256, 512)).sum().backward()
    along = torch.from_numpy(generator(1, "direction").standard_normal((1, 1, 3000)))
    up, down = (
        aligned_distance(estimate + step * along, target, n_ffts=(256, 512)).item()
        for step in (1e-6, -1e-6)
    )
    assert (up - down) / 2e-6 == pytest.approx((leaf.grad * along).sum().item(), rel=1e-3)
