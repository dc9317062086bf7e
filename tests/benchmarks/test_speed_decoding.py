"""What the decoder's cache saves; run alone, on a quiet machine, with OMP_NUM_THREADS=1."""

import pytest

from labkit.systems import decoding
from labkit.systems.twins import wall_seconds

pytest.importorskip("pytest_benchmark", reason="pytest-benchmark is not installed")


def cached_seconds(benchmark, n):
    """Times the cached writer of n tokens: its fastest run, the decoder, and the memory."""
    if benchmark.disabled:
        pytest.skip("speed is measured with --benchmark-enable only")
    model, memory = decoding.decoder(n, 1), decoding.memory(1)
    benchmark.pedantic(decoding.write_cached, (model, memory, n), rounds=3, warmup_rounds=1)
    return benchmark.stats.stats.min, model, memory


@pytest.mark.parametrize("n", [64, 128, 256])
def test_a_cache_is_four_times_as_fast(benchmark, n):
    cached, model, memory = cached_seconds(benchmark, n)
    uncached = wall_seconds(lambda: decoding.write_uncached(model, memory, n))
    with_cache, without = (wall_seconds(run) for run in decoding.last_token_runs(model, memory, n))
    assert without >= 4 * with_cache, f"{without / with_cache:.1f} times as fast at the last token"
    # A sentence is mostly shorter than its end.
    least = {64: 2.5, 128: 4, 256: 8}[n]
    assert uncached >= least * cached, f"{uncached / cached:.1f} times as fast"


def test_ours_is_no_slower_than_the_library(benchmark):
    pytest.importorskip(
        "transformers", reason="transformers is not installed: nothing to stand beside"
    )
    cached, _, memory = cached_seconds(benchmark, 64)
    write = decoding.library_writer(64, 1)
    theirs = wall_seconds(lambda: write(memory, 64))
    assert theirs >= cached, f"{theirs / cached:.2f} times as fast"
