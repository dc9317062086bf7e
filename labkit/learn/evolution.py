"""CMA-ES by the package cma, drawing from a generator of ours: the package would seed NumPy's global one."""

from typing import Any

import numpy as np

from labkit.signal.optional import need


def strategy(
    start: np.ndarray,
    spread: float,
    rng: np.random.Generator | np.random.RandomState,
    *,
    population: int | None = None,
    bounded: bool = True,
) -> Any:
    """A search to be driven by its own `ask`, `tell` and `stop`.

    Args:
        start: (knobs,), the middle of the first generation.
        spread: its standard deviation.
        rng: of the draws.
        population: settings a generation; 4 + 3 log(knobs) when None.
        bounded: whether knobs stay within 0..1.

    Returns:
        A `cma.CMAEvolutionStrategy`.

    Raises:
        ModuleNotFoundError: without the `cma` package.

    Source: Hansen, "The CMA Evolution Strategy: A Tutorial" (2016).
    """
    # A seed that is not a number leaves NumPy's global state alone.
    options = {"verbose": -9, "seed": np.nan, "randn": lambda *shape: rng.standard_normal(shape)}
    if population is not None:
        options["popsize"] = population
    if bounded:
        options["bounds"] = [0, 1]
    return need("cma").CMAEvolutionStrategy(start, spread, options)
