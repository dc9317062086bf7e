"""Which neighbours may be swapped: declared, measured, and how many orders that leaves."""

import itertools
from statistics import median_low

import numpy as np
import pytest

from labkit.effects.chain import count_orders
from labkit.effects.effect import commutes
from labkit.effects.registry import EFFECTS, effect
from labkit.measure.metrics import si_sdr_db
from labkit.signal.seeds import generator
from labkit.signal.sources import GeneratedGuitars
from labkit.signal.units import set_rms

PAIRS = list(itertools.combinations(EFFECTS, 2))
EIGHT = ("compressor", "distortion", "chorus", "phaser", "reverb", "delay", "peak", "gain")
DRAWS = 24
# Two renders this close count as the same sound.
ALIKE_DB = 30.0


def alike_db(one, other):
    """SI-SDR, with silence allowed."""
    if np.any(one) and np.any(other):
        return si_sdr_db(one, other)
    return -np.inf if np.any(one) or np.any(other) else np.inf


def both_orders(dry, sample_rate, k):
    """SI-SDR of every pair's two orders, in random settings."""
    settings = {p: effect(p).space.sample(generator(0, "swap", p, k)) for p in EFFECTS}

    def render(pedal, audio):
        return effect(pedal).render(audio, sample_rate, **settings[pedal])

    alone = {pedal: render(pedal, dry) for pedal in EFFECTS}
    return {(a, b): alike_db(render(b, alone[a]), render(a, alone[b])) for a, b in PAIRS}


@pytest.fixture(scope="module")
def measured():
    source = GeneratedGuitars(seconds=1.2)
    clips = [source.clip(generator(0, "commutation dry", k), "test").audio for k in range(DRAWS)]
    # Every clip enters at one level: a drive or a threshold is only defined relative to its input.
    draws = [both_orders(set_rms(dry, -20.0), source.sample_rate, k) for k, dry in enumerate(clips)]
    return {pair: [between[pair] for between in draws] for pair in PAIRS}


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_declared_is_measured(pair, measured):
    alike = median_low(measured[pair]) > ALIKE_DB
    first, second = map(effect, pair)
    assert alike == commutes(first, second) == commutes(second, first), measured[pair]


@pytest.mark.parametrize(
    ("names", "orders"),
    [
        ((), 1),
        (("gain",), 1),
        (("distortion", "reverb"), 2),
        (("delay", "reverb"), 1),
        (("distortion", "reverb", "delay", "peak"), 8),
        (("distortion", "chorus", "reverb", "delay", "peak"), 36),
        (EIGHT, 5400),
    ],
)
def test_orders_that_can_be_told_apart(names: tuple[str, ...], orders: int) -> None:
    assert count_orders(names) == orders
    assert count_orders(tuple(reversed(names))) == orders


def test_a_pedal_does_not_commute_with_a_moving_or_bending_copy_of_itself() -> None:
    alone = {name for name, record in EFFECTS.items() if commutes(record, record)}
    assert alone == {name for name, record in EFFECTS.items() if record.lti}
    assert len(alone) == 8
