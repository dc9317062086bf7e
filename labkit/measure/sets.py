"""Distances between sets of equal parts, for which the order of the parts says nothing.

A batch of sets is (b, slots, values): b sets of k parts.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def chamfer(said: Tensor, truth: Tensor) -> Tensor:
    """Squared distance of every part to the nearest of the other set, both ways, averaged: (b, k, v) twice -> scalar.

    Invariant to the order of both sets, with a gradient; yet two parts may choose the same partner.

    Source: Fan, Su and Guibas 2017 (CVPR), eq. 1, per value and halved.
    """
    _check(said, truth)
    distance = (said[:, :, None] - truth[:, None]).square().mean(-1)
    return (distance.amin(1).mean() + distance.amin(2).mean()) / 2


def sorted_error(said: Tensor, truth: Tensor, *, by: int = 0) -> Tensor:
    """Mean squared error to the parts of `truth` in the order of one of their values: (b, k, v) twice -> scalar.

    Args:
        said: (b, k, v); its parts stand as they are: the network is to say them in order.
        truth: (b, k, v).
        by: the value to sort by.
    """
    _check(said, truth)
    order = truth[..., by].argsort(1)
    return (said - truth.gather(1, order[..., None].expand_as(truth))).square().mean()


def assignment_errors(said: Tensor, truth: Tensor) -> np.ndarray:
    """Error of every set when its parts are matched in the best way (LAC, linear assignment cost).

    Args:
        said: (b, k, v).
        truth: (b, k, v).

    Returns:
        (b,) mean squared error per value.

    Raises:
        ValueError: if the shapes differ or are not (b, k, v).

    Source: Hayes et al. 2025; Kuhn 1955.
    """
    _check(said, truth)
    cost = (said[:, :, None] - truth[:, None]).double().square().mean(-1).cpu().numpy()
    return np.array([one[linear_sum_assignment(one)].mean() for one in cost])


def _check(said: Tensor, truth: Tensor) -> None:
    if said.shape != truth.shape or said.ndim != 3:
        raise ValueError(
            f"said and truth must both be (batch, slots, values), got {tuple(said.shape)} and {tuple(truth.shape)}"
        )
