import itertools
from collections import Counter

import pytest
from scipy import stats

from labkit.effects.sampling import ChainSampler
from labkit.signal.seeds import generator

THREE = ("chorus", "distortion", "reverb")
FIVE = ("compressor", "distortion", "chorus", "phaser", "reverb")
PRIORS = ("subsets", "shuffled")


def orders(sampler: ChainSampler, n: int = 6000) -> Counter[tuple[str, ...]]:
    rng = generator(0, "orders")
    return Counter(sampler.order(rng) for _ in range(n))


def assert_distributed(counts: Counter, expected: dict[tuple[str, ...], float]) -> None:
    assert set(counts) <= set(expected)
    assert sum(expected.values()) == pytest.approx(1)
    given = [counts[key] for key in expected]
    wanted = [counts.total() * share for share in expected.values()]
    # One run in ten thousand would fail by chance; the seeds are fixed.
    assert stats.chisquare(given, wanted).pvalue > 1e-4


@pytest.mark.parametrize(("longest", "number"), [(2, 10), (3, 16)])
def test_subsets_up_to_a_length_are_equally_likely(longest, number):
    every = [order for k in range(longest + 1) for order in itertools.permutations(THREE, k)]
    assert len(every) == number
    counts = orders(ChainSampler(THREE, max_length=longest))
    assert_distributed(counts, dict.fromkeys(every, 1 / number))


@pytest.mark.parametrize("longest", [2, 3])
def test_shuffled_draws_a_length_then_an_order(longest):
    expected = {}
    for k in range(1, longest + 1):
        every = list(itertools.permutations(THREE, k))
        expected |= dict.fromkeys(every, 1 / longest / len(every))
    assert_distributed(orders(ChainSampler(THREE, "shuffled", longest)), expected)


@pytest.mark.parametrize("prior", PRIORS)
def test_samples_are_repeatable_chains_within_their_ranges(prior):
    sampler = ChainSampler(FIVE, prior)
    one, other = ([sampler.sample(generator(5, "c", k)) for k in range(20)] for _ in range(2))
    assert one == other
    assert len({str(chain) for chain in one if len(chain)}) > 10
    assert all(type(name) is str for chain in one for name in chain.names)


@pytest.mark.parametrize(
    ("pedals", "prior", "longest", "message"),
    [
        ((), "subsets", None, r"pedals must be distinct and not empty, got \(\)"),
        (("gain",), "uniform", None, "prior must be one of .*'shuffled'.*'uniform'"),
        (THREE, "subsets", 4, r"max_length must lie in 1\.\.3, got 4"),
    ],
)
def test_errors(pedals, prior, longest, message):
    with pytest.raises(ValueError, match=message):
        ChainSampler(pedals, prior, longest)
    with pytest.raises(KeyError, match="no effect called 'wah'"):
        ChainSampler((*pedals, "wah"), prior, longest)
