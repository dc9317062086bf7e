import itertools
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from labkit.effects import sampling
from labkit.effects.registry import EFFECTS
from labkit.effects.sampling import SEED_PEDALS, ChainSampler, preset_counts
from labkit.signal.seeds import generator

THREE = ("chorus", "distortion", "reverb")
N = 6000
# One run in ten thousand would fail by chance; the seeds are fixed.
P_MIN = 1e-4


def orders(sampler: ChainSampler, n: int = N, seed: int = 0) -> Counter[tuple[str, ...]]:
    rng = generator(seed, "orders")
    return Counter(sampler.order(rng) for _ in range(n))


def assert_distributed(counts: Counter, expected: dict[tuple[str, ...], float]) -> None:
    assert set(counts) <= set(expected)
    assert sum(expected.values()) == pytest.approx(1)
    keys = list(expected)
    n = sum(counts.values())
    assert (
        stats.chisquare([counts[key] for key in keys], [n * expected[key] for key in keys]).pvalue
        > P_MIN
    )


def test_subsets_are_equally_likely() -> None:
    every = [order for k in range(4) for order in itertools.permutations(THREE, k)]
    assert len(every) == 16
    assert_distributed(orders(ChainSampler(THREE)), dict.fromkeys(every, 1 / 16))


def test_subsets_up_to_a_length() -> None:
    every = [order for k in range(3) for order in itertools.permutations(THREE, k)]
    assert len(every) == 10
    assert_distributed(orders(ChainSampler(THREE, max_length=2)), dict.fromkeys(every, 1 / 10))


@pytest.mark.parametrize("longest", [1, 2, 3])
def test_shuffled_draws_a_length_then_an_order(longest: int) -> None:
    expected = {
        order: 1 / longest / len(list(itertools.permutations(THREE, k)))
        for k in range(1, longest + 1)
        for order in itertools.permutations(THREE, k)
    }
    assert_distributed(orders(ChainSampler(THREE, "shuffled", longest)), expected)


def test_seed_keeps_its_first_pedal_and_tosses_for_the_others() -> None:
    expected = {}
    for k in range(5):
        for others in itertools.combinations(SEED_PEDALS[1:], k):
            every = list(itertools.permutations((SEED_PEDALS[0], *others)))
            expected |= dict.fromkeys(every, 1 / 16 / len(every))
    assert len(expected) == 261
    counts = orders(ChainSampler(SEED_PEDALS, "seed"), n=30_000)
    assert_distributed(counts, expected)
    assert sum(len(order) * count for order, count in counts.items()) / 30_000 == pytest.approx(
        3, abs=0.03
    )


def test_realistic_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    made_up = {
        "n_chains": 10,
        "present": {"distortion": 8, "delay": 5},
        "before": {"distortion delay": 8, "delay distortion": 0},
    }
    monkeypatch.setattr(sampling, "preset_counts", lambda: made_up)
    # both: .8 * .5; order 9 : 1 after adding one to each count. Empty (.1) is drawn again; gain never occurs.
    total = 1 - 0.2 * 0.5
    expected = {
        ("distortion",): 0.8 * 0.5 / total,
        ("delay",): 0.2 * 0.5 / total,
        ("distortion", "delay"): 0.8 * 0.5 * 0.9 / total,
        ("delay", "distortion"): 0.8 * 0.5 * 0.1 / total,
    }
    assert_distributed(orders(ChainSampler(("delay", "distortion", "gain"), "realistic")), expected)


def test_realistic_presence_and_order_follow_the_presets() -> None:
    pedals = ("compressor", "distortion", "chorus", "phaser", "delay", "reverb")
    drawn = list(orders(ChainSampler(pedals, "realistic"), n=3000).elements())
    rates = {
        name: preset_counts()["present"][name] / preset_counts()["n_chains"] for name in pedals
    }
    not_empty = 1 - np.prod([1 - rate for rate in rates.values()])
    for name, rate in rates.items():
        share = np.mean([name in order for order in drawn])
        # four standard errors of a share of 3000
        assert share == pytest.approx(rate / not_empty, abs=4 * 0.5 / 3000**0.5), name

    def share_before(first: str, second: str) -> float:
        both = [order for order in drawn if first in order and second in order]
        assert len(both) > 100
        return float(np.mean([order.index(first) < order.index(second) for order in both]))

    assert share_before("distortion", "delay") > 0.95
    assert share_before("distortion", "reverb") > 0.97
    assert share_before("delay", "reverb") > 0.9
    assert 0.75 < share_before("compressor", "distortion") < 0.99


@pytest.mark.parametrize("prior", ["subsets", "shuffled", "seed", "realistic"])
@pytest.mark.parametrize("longest", [1, 2, 3])
def test_no_chain_is_longer_than_asked(prior: str, longest: int) -> None:
    drawn = orders(ChainSampler(SEED_PEDALS, prior, longest), n=500)
    assert max(map(len, drawn)) == longest
    assert all(len(set(order)) == len(order) for order in drawn)
    assert (() in drawn) == (prior == "subsets")


@pytest.mark.parametrize("prior", ["subsets", "shuffled", "seed", "realistic"])
def test_samples_are_repeatable_chains_within_their_ranges(prior: str) -> None:
    sampler = ChainSampler(SEED_PEDALS, prior)
    one, other = ([sampler.sample(generator(5, "c", k)) for k in range(20)] for _ in range(2))
    assert one == other
    assert len({str(chain) for chain in one if len(chain)}) > 10
    assert all(type(name) is str for chain in one for name in chain.names)


@pytest.mark.parametrize(
    ("pedals", "prior", "longest", "message"),
    [
        ((), "subsets", None, r"pedals must be distinct and not empty, got \(\)"),
        (
            ("gain", "gain"),
            "subsets",
            None,
            r"pedals must be distinct and not empty, got \('gain', 'gain'\)",
        ),
        (
            ("gain",),
            "uniform",
            None,
            "prior must be one of .*'subsets', 'shuffled', 'seed', 'realistic'.*'uniform'",
        ),
        (THREE, "subsets", 0, r"max_length must lie in 1\.\.3, got 0"),
        (THREE, "subsets", 4, r"max_length must lie in 1\.\.3, got 4"),
        (
            ("gain", "limiter"),
            "realistic",
            None,
            r"no counted preset holds any of \('gain', 'limiter'\)",
        ),
    ],
)
def test_errors(pedals: tuple[str, ...], prior: str, longest: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ChainSampler(pedals, prior, longest)
    with pytest.raises(KeyError, match="no effect called 'wah'"):
        ChainSampler((*pedals, "wah"), prior, longest)


def test_preset_counts_add_up() -> None:
    counts = preset_counts()
    assert set(counts["present"]) <= set(EFFECTS)
    assert all(0 < present <= counts["n_chains"] for present in counts["present"].values())
    for first, second in itertools.combinations(counts["present"], 2):
        together = counts["before"].get(f"{first} {second}", 0) + counts["before"].get(
            f"{second} {first}", 0
        )
        least = counts["present"][first] + counts["present"][second] - counts["n_chains"]
        assert max(least, 0) <= together <= min(counts["present"][first], counts["present"][second])
