"""One dial for every size in the course: `LAB_BUDGET=smoke|laptop|full`."""

import os
from typing import TypeVar

Choice = TypeVar("Choice")
BUDGETS = ("smoke", "laptop", "full")


def budget() -> str:
    """The budget in force: `$LAB_BUDGET`, or `"laptop"` where it is not set.

    Raises ValueError if the variable holds anything else than smoke, laptop or full.
    """
    name = os.environ.get("LAB_BUDGET", "laptop")
    if name not in BUDGETS:
        raise ValueError(f"LAB_BUDGET must be one of {', '.join(BUDGETS)}, got {name!r}")
    return name


def pick(*, smoke: Choice, laptop: Choice, full: Choice) -> Choice:
    """The value for the budget in force, e.g. ``pick(smoke=20, laptop=3000, full=60000)``."""
    return {"smoke": smoke, "laptop": laptop, "full": full}[budget()]


def claim(words: str, holds: object) -> None:
    """Print a claim about what the cell shows, and raise unless it holds.

    At the smoke budget, too small for most claims, it only says whether the claim holds. Raises
    AssertionError if it does not hold at the laptop or full budget.
    """
    if holds:
        print(f"holds: {words}")
    elif budget() == "smoke":
        print(f"not at the smoke budget: {words}")
    else:
        raise AssertionError(f"does not hold: {words}")
