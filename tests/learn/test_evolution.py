"""CMA-ES with a generator of ours."""

import numpy as np
import pytest

from labkit.learn.evolution import strategy


def _lowest(seed: int, *, bounded: bool = True) -> tuple[float, np.ndarray]:
    goal, best = np.array([0.2, 1.4, 0.6]), (np.inf, np.zeros(3))
    search = strategy(
        np.full(3, 0.5), 0.3, np.random.default_rng(seed), population=8, bounded=bounded
    )
    for _ in range(60):
        rows = search.ask()
        costs = [float(np.square(row - goal).sum()) for row in rows]
        search.tell(rows, costs)
        best = min(best, (min(costs), rows[int(np.argmin(costs))]), key=lambda pair: pair[0])
    return best


def test_same_generator_same_search_and_numpys_own_is_left_alone() -> None:
    np.random.seed(5)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = _lowest(0), _lowest(0), _lowest(1)
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize(("bounded", "found"), [(True, [0.2, 1.0, 0.6]), (False, [0.2, 1.4, 0.6])])
def test_the_lowest_point_is_found_within_bounds_or_without(
    bounded: bool, found: list[float]
) -> None:
    np.testing.assert_allclose(_lowest(0, bounded=bounded)[1], found, atol=0.01)
