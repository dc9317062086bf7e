"""One search, three methods: each finds the lowest point, keeps its budget, and repeats."""

import numpy as np
import pytest
import torch

from labkit.learn.minimise import minimise

GOAL = np.array([0.2, 1.4, 0.6])


def bowl(points):
    goal = torch.from_numpy(GOAL) if isinstance(points, torch.Tensor) else GOAL
    return ((points - goal) ** 2).sum(-1)


def search(loss=bowl, *, seed=0, method="cma", evaluations=500, **options):
    rng = np.random.default_rng(seed)
    return minimise(
        loss, np.full(3, 0.5), method=method, evaluations=evaluations, rng=rng, **options
    )


@pytest.mark.parametrize(
    ("method", "options"), [("gradient", {}), ("spsa", {"evaluations": 1200}), ("cma", {})]
)
def test_the_lowest_point_within_bounds_is_found(method, options):
    found = search(method=method, **options)
    # The lowest point lies outside; the nearest legal one is 1 there.
    np.testing.assert_allclose(found.point, [0.2, 1.0, 0.6], atol=0.02)
    assert found.loss == pytest.approx(bowl(found.point))


def test_cma_may_leave_the_bounds():
    np.testing.assert_allclose(search(bounded=False).point, GOAL, atol=0.01)


@pytest.mark.parametrize("method", ["gradient", "spsa", "cma"])
def test_the_budget_is_kept_and_the_start_is_never_beaten_by_the_result(method):
    seen = []

    def uphill(points):
        seen.append(len(points))
        return -bowl(points) if len(seen) > 1 else bowl(points) - 9

    found = search(uphill, method=method, evaluations=20)
    assert sum(seen) == found.evaluations <= 20
    np.testing.assert_array_equal(found.point, np.full(3, 0.5))
    assert search(method=method, evaluations=1).evaluations == 1
    assert search(method=method, seconds=0.0).evaluations == 1


@pytest.mark.parametrize("method", ["gradient", "spsa", "cma"])
def test_a_loss_that_is_no_number_ends_the_search(method):
    with pytest.raises(FloatingPointError, match="loss must be a number, got"):
        search(lambda points: np.nan * bowl(points), method=method, evaluations=20)


def test_a_point_that_cannot_be_scored_is_the_worst_one_where_ranks_decide():
    def holes(points):
        return np.where(points[:, 0] > 0.5, np.nan, bowl(points))

    found = search(holes, evaluations=400)
    assert found.point[0] <= 0.5
    assert found.loss == bowl(found.point[None])[0] < bowl(np.full((1, 3), 0.5))[0]
    with pytest.raises(FloatingPointError, match="loss must be a number, got"):
        search(holes, method="spsa", evaluations=3)  # one of a pair: no slope


def test_the_same_generator_gives_the_same_search_and_numpys_own_is_left_alone():
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (search(seed=seed, evaluations=60).point for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
