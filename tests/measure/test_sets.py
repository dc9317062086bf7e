"""Distances of sets, by hand and by all permutations."""

import itertools

import pytest
import torch

from labkit.measure.sets import assignment_errors, chamfer, sorted_error
from labkit.signal.seeds import torch_generator

TRUTH = torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])
SWAPPED = TRUTH.flip(1)


def test_by_hand():
    assert assignment_errors(SWAPPED, TRUTH).tolist() == [0.0]
    assert chamfer(SWAPPED, TRUTH).item() == 0
    assert sorted_error(TRUTH, SWAPPED).item() == 0
    assert sorted_error(SWAPPED, TRUTH).item() == 1
    assert sorted_error(SWAPPED, TRUTH, by=1).item() == 0
    both_near_one = torch.tensor([[[0.0, 1.0], [0.0, 1.0]]])
    # One part is met twice (0), the other by nobody: (0 + mean(0, 1)) / 2, and 1 of 2 after matching.
    assert chamfer(both_near_one, TRUTH).item() == pytest.approx(0.25)
    assert assignment_errors(both_near_one, TRUTH).tolist() == [0.5]


def test_the_best_of_all_permutations():
    rng = torch_generator(0, "sets")
    said, truth = torch.randn(5, 4, 3, generator=rng), torch.randn(5, 4, 3, generator=rng)
    every = torch.stack(
        [
            (said[:, list(order)] - truth).square().mean((1, 2))
            for order in itertools.permutations(range(4))
        ]
    )
    assert assignment_errors(said, truth) == pytest.approx(every.amin(0).numpy(), rel=1e-5)
    assert chamfer(said, truth).item() <= assignment_errors(said, truth).mean() + 1e-6


@pytest.mark.parametrize("measure", [chamfer, sorted_error, assignment_errors])
def test_shapes_must_fit(measure):
    with pytest.raises(ValueError, match="must both be"):
        measure(torch.zeros(2, 6), torch.zeros(2, 6))
    with pytest.raises(ValueError, match="must both be"):
        measure(torch.zeros(2, 3, 2), torch.zeros(2, 2, 2))
