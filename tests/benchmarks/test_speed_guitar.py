"""How many two-second phrases one core makes in a second; run alone, on a quiet machine, with OMP_NUM_THREADS=1."""

import pytest

from labkit.signal.guitar import phrase
from labkit.signal.seeds import generator

pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed")
PHRASES = 100


def test_a_hundred_phrases_a_second(benchmark):
    if benchmark.disabled:
        pytest.skip("speed is measured with --benchmark-enable only")

    def render():
        for index in range(PHRASES):
            phrase(generator(1, "speed", index))

    benchmark.pedantic(render, rounds=3, warmup_rounds=1)
    per_second = PHRASES / benchmark.stats.stats.min
    benchmark.extra_info["phrases_per_second"] = per_second
    assert per_second >= 100, f"{per_second:.0f} phrases a second"
