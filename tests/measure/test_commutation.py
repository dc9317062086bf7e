import math

import numpy as np
import pytest

from labkit.measure import commutation
from labkit.measure.commutation import swap_si_sdr_db, table
from labkit.measure.metrics import si_sdr_db
from labkit.signal.guitar import phrase
from labkit.signal.seeds import generator

RATE = 22_050


@pytest.fixture(scope="module")
def dry() -> list[np.ndarray]:
    return [phrase(generator(0, "dry", k), sample_rate=RATE, seconds=0.5) for k in range(3)]


def test_the_median_does_not_ask_who_comes_first(dry: list[np.ndarray]) -> None:
    one, other = (
        swap_si_sdr_db(*pair, dry=dry, sample_rate=RATE, n=6)
        for pair in (("distortion", "reverb"), ("reverb", "distortion"))
    )
    assert one == pytest.approx(other, abs=1e-6)
    assert 0 < one < 30


def test_a_pair_in_a_table_is_the_pair_alone(dry: list[np.ndarray]) -> None:
    rows = table(["delay", "clipping", "peak"], dry=dry, sample_rate=RATE, n=5, seed=3)
    assert [(row.first, row.second) for row in rows] == [
        ("delay", "clipping"),
        ("delay", "peak"),
        ("clipping", "peak"),
    ]
    assert rows[2].si_sdr_db == swap_si_sdr_db(
        "clipping", "peak", dry=dry, sample_rate=RATE, n=5, seed=3
    )
    assert rows[1].alike
    assert not rows[0].alike
    assert all(row.n == 5 for row in rows)


def test_level_of_the_recording_does_not_matter(dry: list[np.ndarray]) -> None:
    settings = {"sample_rate": RATE, "n": 3}
    loud = swap_si_sdr_db("distortion", "peak", dry=dry, **settings)
    assert swap_si_sdr_db(
        "distortion", "peak", dry=[0.25 * x for x in dry], **settings
    ) == pytest.approx(loud)


def test_shares_count_draws(monkeypatch: pytest.MonkeyPatch, dry: list[np.ndarray]) -> None:
    drawn = iter([40.0, 20.0, math.inf, -math.inf])
    monkeypatch.setattr(commutation, "_draw", lambda *_: ({("gain", "delay"): next(drawn)}, set()))
    (row,) = table(["gain", "delay"], dry=dry, sample_rate=RATE, n=4)
    assert (row.si_sdr_db, row.alike_share, row.inert_share) == (
        20.0,
        0.5,
        0.0,
    )  # the lower of the two middle draws
    assert not row.alike


def test_gain_is_inert_whatever_it_does(dry: list[np.ndarray]) -> None:
    rows = table(["gain", "distortion", "reverb"], dry=dry, sample_rate=RATE, n=3)
    assert [row.inert_share for row in rows] == [1.0, 1.0, 0.0]


def test_distance_is_si_sdr_and_defined_for_silence() -> None:
    rng = generator(0, "noise")
    one, other = rng.standard_normal((2, 2, 500)).astype(np.float32)
    for estimate in (other, one + 0.01 * other, -3 * one + other):
        assert commutation._alike_db(one, estimate) == pytest.approx(
            si_sdr_db(one, estimate), abs=1e-9
        )
        assert commutation._alike_db(estimate, one) == pytest.approx(
            si_sdr_db(one, estimate), abs=1e-6
        )
    silence = np.zeros_like(one)
    assert commutation._alike_db(silence, silence) == math.inf
    assert commutation._alike_db(one, silence) == commutation._alike_db(silence, one) == -math.inf
    assert commutation._alike_db(one, 2 * one) == math.inf
    assert commutation._alike_db(np.float32([[1, 0]]), np.float32([[0, 1]])) == -math.inf


@pytest.mark.parametrize(
    ("names", "change", "message"),
    [
        (["gain"], {}, r"names must be two or more distinct pedals, got \['gain'\]"),
        (["gain", "gain"], {}, "names must be two or more distinct pedals"),
        (["gain", "delay"], {"dry": []}, "dry must hold clips that sound, got 0 clips"),
        (
            ["gain", "delay"],
            {"dry": [np.zeros((1, 9), np.float32)]},
            "dry must hold clips that sound, got 1 clips",
        ),
        (["gain", "delay"], {"n": 0}, "n must be at least 1, got 0"),
    ],
)
def test_errors(names: list[str], change: dict, message: str, dry: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match=message):
        table(names, **{"dry": dry, "sample_rate": RATE, "n": 1} | change)
    with pytest.raises(KeyError, match="no effect called 'fuzz'"):
        table(["gain", "fuzz"], dry=dry, sample_rate=RATE, n=1)
