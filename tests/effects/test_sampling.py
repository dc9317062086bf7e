import itertools
from collections import Counter

import pytest
from scipy import stats

from labkit.effects import sampling
from labkit.effects.registry import EFFECTS
from labkit.effects.sampling import SEED_PEDALS, ChainSampler, preset_counts
from labkit.signal.seeds import generator

THREE = ("chorus", "distortion", "reverb")
PRIORS = ("subsets", "shuffled", "seed", "realistic")


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


@pytest.mark.parametrize("longest", [1, 2, 3])
def test_shuffled_draws_a_length_then_an_order(longest):
    expected = {}
    for k in range(1, longest + 1):
        every = list(itertools.permutations(THREE, k))
        expected |= dict.fromkeys(every, 1 / longest / len(every))
    assert_distributed(orders(ChainSampler(THREE, "shuffled", longest)), expected)


def test_seed_keeps_its_first_pedal_and_tosses_for_the_others():
    expected = {}
    for k in range(5):
        for others in itertools.combinations(SEED_PEDALS[1:], k):
            every = list(itertools.permutations((SEED_PEDALS[0], *others)))
            expected |= dict.fromkeys(every, 1 / 16 / len(every))
    assert len(expected) == 261
    counts = orders(ChainSampler(SEED_PEDALS, "seed"), n=30_000)
    assert_distributed(counts, expected)
    lengths = sum(len(order) * count for order, count in counts.items())
    assert lengths / 30_000 == pytest.approx(3, abs=0.03)


def test_realistic_by_hand(monkeypatch):
    made_up = {
        "n_chains": 10,
        "present": {"distortion": 8, "delay": 5},
        "before": {"distortion delay": 8, "delay distortion": 0},
    }
    monkeypatch.setattr(sampling, "preset_counts", lambda: made_up)
    # both: .8 * .5; order 9 : 1 after adding one to each count. Empty (.1) is drawn again; gain
    # never occurs.
    total = 1 - 0.2 * 0.5
    expected = {
        ("distortion",): 0.8 * 0.5 / total,
        ("delay",): 0.2 * 0.5 / total,
        ("distortion", "delay"): 0.8 * 0.5 * 0.9 / total,
        ("delay", "distortion"): 0.8 * 0.5 * 0.1 / total,
    }
    assert_distributed(orders(ChainSampler(("delay", "distortion", "gain"), "realistic")), expected)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("longest", [1, 2, 3])
def test_no_chain_is_longer_than_asked(prior, longest):
    drawn = orders(ChainSampler(SEED_PEDALS, prior, longest), n=500)
    assert max(map(len, drawn)) == longest
    assert all(len(set(order)) == len(order) for order in drawn)
    assert (() in drawn) == (prior == "subsets")


@pytest.mark.parametrize("prior", PRIORS)
def test_samples_are_repeatable_chains_within_their_ranges(prior):
    sampler = ChainSampler(SEED_PEDALS, prior)
    one, other = ([sampler.sample(generator(5, "c", k)) for k in range(20)] for _ in range(2))
    assert one == other
    assert len({str(chain) for chain in one if len(chain)}) > 10
    assert all(type(name) is str for chain in one for name in chain.names)


@pytest.mark.parametrize(
    ("pedals", "prior", "longest", "message"),
    [
        ((), "subsets", None, r"pedals must be distinct and not empty, got \(\)"),
        (("gain", "gain"), "subsets", None, r"must be distinct and not empty, got \('gain', 'gain"),
        (("gain",), "uniform", None, "prior must be one of .*'realistic'.*'uniform'"),
        (THREE, "subsets", 0, r"max_length must lie in 1\.\.3, got 0"),
        (THREE, "subsets", 4, r"max_length must lie in 1\.\.3, got 4"),
        (("gain", "limiter"), "realistic", None, r"no counted preset holds any of \('gain', 'lim"),
    ],
)
def test_errors(pedals, prior, longest, message):
    with pytest.raises(ValueError, match=message):
        ChainSampler(pedals, prior, longest)
    with pytest.raises(KeyError, match="no effect called 'wah'"):
        ChainSampler((*pedals, "wah"), prior, longest)


def test_preset_counts_add_up():
    present, before, n = (preset_counts()[key] for key in ("present", "before", "n_chains"))
    assert set(present) <= set(EFFECTS)
    assert all(0 < count <= n for count in present.values())
    for first, second in itertools.combinations(present, 2):
        together = before.get(f"{first} {second}", 0) + before.get(f"{second} {first}", 0)
        assert max(present[first] + present[second] - n, 0) <= together
        assert together <= min(present[first], present[second])
