import json
import pickle
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from labkit.effects.chain import Chain, Step
from labkit.effects.effect import commutes
from labkit.effects.registry import EFFECTS, effect
from labkit.effects.sampling import ChainSampler
from labkit.measure.metrics import si_sdr_db
from labkit.signal.guitar import phrase
from labkit.signal.seeds import generator
from labkit.signal.units import set_rms

RATE = 44_100
SAMPLER = ChainSampler(tuple(EFFECTS), "shuffled", max_length=6)
DRIVE = Step("distortion", {"drive_db": 20.0})
PEAK = Step("peak", {"cutoff_frequency_hz": 1000.0, "gain_db": 6.0, "q": 1.0})
DELAY = Step("delay", {"delay_seconds": 0.25, "feedback": 0.3, "mix": 0.4})
REVERB = Step("reverb", {"room_size": 0.5, "damping": 0.5, "mix": 0.3})


def chain(draw: int) -> Chain:
    return SAMPLER.sample(generator(0, "chain", draw))


def guitar(seconds: float = 0.6) -> np.ndarray:
    return set_rms(phrase(generator(0, "guitar"), sample_rate=RATE, seconds=seconds), -20.0)


# Rendering


@pytest.mark.parametrize("draw", range(8))
def test_a_chain_is_its_pedals_one_after_the_other(draw: int) -> None:
    expected = guitar()
    for name, params in chain(draw):
        expected = effect(name).render(expected, RATE, **params)
    np.testing.assert_array_equal(chain(draw).render(guitar(), RATE), expected)


def test_the_empty_chain_is_a_copy_of_the_clean_sound() -> None:
    audio = guitar()
    out = Chain().render(audio, RATE)
    np.testing.assert_array_equal(out, audio)
    assert not np.shares_memory(out, audio)
    assert str(Chain()) == "(clean)"
    assert len(Chain()) == 0
    assert Chain().names == ()
    assert Chain().canonical() == Chain()


SQUEEZE = Step(
    "compressor", {"threshold_db": -35.0, "ratio": 6.0, "attack_ms": 5.0, "release_ms": 120.0}
)


@pytest.mark.parametrize(
    "steps", [(SQUEEZE, DELAY, DRIVE, SQUEEZE), (REVERB, SQUEEZE), (DRIVE, SQUEEZE), (DELAY,)]
)
def test_input_referred_sounds_as_the_hotter_input_does(steps: tuple[Step, ...]) -> None:
    hot = Chain(steps).render(guitar() * np.float32(10 ** (6 / 20)), RATE)
    assert si_sdr_db(hot, Chain(steps).input_referred(6.0).render(guitar(), RATE)) > 90
    assert DELAY in steps[:1] or si_sdr_db(hot, Chain(steps).render(guitar(), RATE)) < 40


def test_input_referred_moves_what_stands_before_the_drive() -> None:
    moved = Chain((SQUEEZE, DRIVE, SQUEEZE)).input_referred(-4.0).steps
    assert [dict(step.params) for step in moved] == [
        {**SQUEEZE.params, "threshold_db": -31.0},
        {"drive_db": 16.0},
        dict(SQUEEZE.params),
    ]
    assert (
        Chain((DRIVE,)).input_referred(-60.0).steps[0].params["drive_db"]
        == effect("distortion").space["drive_db"].low
    )
    assert Chain((DRIVE, REVERB)).input_referred(0.0) == Chain((DRIVE, REVERB))
    with pytest.raises(ValueError, match="limiter has no knob that makes up for the level"):
        Chain((Step("limiter", {"threshold_db": -20.0, "release_ms": 100.0}),)).input_referred(1.0)


def test_order_is_heard() -> None:
    one, other = (
        Chain(steps).render(guitar(), RATE) for steps in ((DRIVE, REVERB), (REVERB, DRIVE))
    )
    assert si_sdr_db(one, other) < 30


@pytest.mark.parametrize("steps", [(), (DRIVE, PEAK)], ids=["empty", "two"])
@pytest.mark.parametrize(
    ("audio", "rate", "message"),
    [
        (np.zeros((1, 0), np.float32), RATE, r"audio is empty: shape \(1, 0\)"),
        (
            np.zeros((1, 2, 3), np.float32),
            RATE,
            r"audio must have shape \(channels, samples\), got \(1, 2, 3\)",
        ),
        (
            np.full((1, 5), np.nan, np.float32),
            RATE,
            "audio must be finite, got 5 NaN or infinite of 5 samples",
        ),
        (np.zeros((1, 5), np.int16), RATE, "audio must be floats with full scale 1, got int16"),
        (np.zeros((1, 5), np.float32), 0, "sample_rate must be a whole number of Hz from 1"),
    ],
)
def test_bad_audio_is_refused(
    steps: tuple[Step, ...], audio: np.ndarray, rate: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Chain(steps).render(audio, rate)


def test_short_stereo_keeps_its_channels_apart() -> None:
    audio = np.array([[0.5, 0.25, 0.0], [-0.1, 0.2, 0.0]], np.float32)
    expected = Chain((PEAK, DRIVE)).render(audio, RATE)
    np.testing.assert_array_equal(Chain((PEAK, DRIVE)).render(audio[:, :2], RATE), expected[:, :2])


# Text


def test_a_chain_reads_as_text() -> None:
    assert (
        str(Chain((DRIVE, PEAK)))
        == "distortion(drive_db=20) -> peak(cutoff_frequency_hz=1e+03, gain_db=6, q=1)"
    )
    assert list(Chain((DRIVE,))) == [("distortion", {"drive_db": 20.0})]


@pytest.mark.parametrize("draw", range(10))
def test_json_round_trip(draw: int, tmp_path: Path) -> None:
    path = tmp_path / "chain.json"
    chain(draw).save(path)
    assert Chain.load(path) == Chain.from_json(chain(draw).to_json()) == chain(draw)
    assert [row["effect"] for row in json.loads(path.read_text())] == list(chain(draw).names)
    assert list(tmp_path.iterdir()) == [path]


def test_json_of_the_empty_chain() -> None:
    assert Chain.from_json("[]") == Chain()
    assert json.loads(Chain().to_json()) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "null",
        "3",
        '"gain"',
        '""',
        "{}",
        '{"effect": "gain"}',
        "[1]",
        '["gain"]',
        "[null]",
        '[{"effect": "gain"}]',
        '[{"params": {"gain_db": 1}}]',
        '[{"effect": 1, "params": {}}]',
        '[{"effect": null, "params": {}}]',
        '[{"effect": ["gain"], "params": {"gain_db": 1}}]',
        '[{"effect": "gain", "params": 3}]',
        '[{"effect": "gain", "params": [1]}]',
        '[{"effect": "gain", "params": {"gain_db": "loud"}}]',
        '[{"effect": "gain", "params": {"gain_db": null}}]',
        '[{"effect": "gain", "params": {"gain_db": true}}]',
        '[{"effect": "gain", "params": {"gain_db": [1]}}]',
        '[{"effect": "gain", "params": {"gain_db": 1}}',
        "[" * 100_000,
    ],
    ids=lambda text: text[:50] or "empty",
)
def test_broken_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r'a chain is a JSON list of \{"effect", "params"\}, got'):
        Chain.from_json(text)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            '[{"effect": "fuzz", "params": {}}]',
            KeyError,
            "no effect called 'fuzz'; there are compressor, distortion",
        ),
        (
            '[{"effect": "gain", "params": {}}]',
            ValueError,
            r"parameters must be \['gain_db'\], got \[\]",
        ),
        (
            '[{"effect": "gain", "params": {"gain_db": 90}}]',
            ValueError,
            r"gain_db must lie in \[-18, 18\] dB, got 90",
        ),
        (
            '[{"effect": "gain", "params": {"gain_db": NaN}}]',
            ValueError,
            "gain_db must lie in .* got nan",
        ),
    ],
)
def test_json_of_impossible_chains_is_refused(
    text: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Chain.from_json(text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.json"):
        Chain.load(tmp_path / "nothing.json")


# Steps


def test_a_step_is_checked_and_frozen() -> None:
    with pytest.raises(KeyError, match="no effect called 'wah'"):
        Step("wah", {})
    with pytest.raises(ValueError, match=r"drive_db must lie in \[8, 30\] dB, got 31"):
        Step("distortion", {"drive_db": 31})
    params = {"drive_db": 10}
    step = Step("distortion", params)
    params["drive_db"] = 30
    assert step.params == {"drive_db": 10.0}
    assert isinstance(step.params, MappingProxyType)


# Code


@pytest.mark.parametrize("draw", range(12))
def test_the_printed_code_renders_the_same_samples(draw: int) -> None:
    scope: dict = {}
    code = chain(draw).to_code()
    exec(compile(code, "board", "exec"), scope)
    np.testing.assert_array_equal(
        scope["board"](guitar(), RATE), chain(draw).render(guitar(), RATE)
    )
    assert "labkit" not in code


def test_the_printed_code_by_hand() -> None:
    assert Chain((DRIVE, DELAY, DRIVE)).to_code().splitlines() == [
        "from pedalboard import Pedalboard, Delay, Distortion",
        "",
        "board = Pedalboard([",
        "    Distortion(drive_db=20.0),",
        "    Delay(delay_seconds=0.25, feedback=0.3, mix=0.4),",
        "    Distortion(drive_db=20.0),",
        "])",
    ]
    assert Chain().to_code() == "from pedalboard import Pedalboard\n\nboard = Pedalboard([\n])"


# Canonical order


def test_canonical_orders_by_hand() -> None:
    assert Chain((REVERB, PEAK, DELAY)).canonical().names == ("delay", "peak", "reverb")
    assert Chain((REVERB, DRIVE, DELAY)).canonical().names == ("reverb", "distortion", "delay")
    # peak may leave the echoes that stand after the drive, but not pass the drive
    assert Chain((REVERB, DRIVE, REVERB, PEAK)).canonical().names == (
        "reverb",
        "distortion",
        "peak",
        "reverb",
    )


def test_equal_pedals_are_kept_apart_by_their_settings() -> None:
    loud, soft = (Step("gain", {"gain_db": gain_db}) for gain_db in (6.0, -6.0))
    assert Chain((loud, soft)).canonical() == Chain((soft, loud)).canonical() == Chain((soft, loud))
    hard = Step("distortion", {"drive_db": 30.0})
    assert Chain((hard, DRIVE)).canonical() == Chain((hard, DRIVE))  # two drives do not commute
    assert len(Chain((PEAK, PEAK, DRIVE, PEAK)).canonical()) == 4


@pytest.mark.parametrize("draw", range(30))
def test_canonical_is_idempotent_and_keeps_the_pedals(draw: int) -> None:
    form = chain(draw).canonical()
    assert form.canonical() == form
    assert sorted(form.names) == sorted(chain(draw).names)


@pytest.mark.parametrize("draw", range(30))
def test_swapping_neighbours_that_commute_keeps_the_form(draw: int) -> None:
    original = chain(draw)
    for i in range(len(original) - 1):
        steps = list(original.steps)
        steps[i], steps[i + 1] = steps[i + 1], steps[i]
        swapped = Chain(tuple(steps))
        same = swapped.canonical() == original.canonical()
        assert same == commutes(effect(steps[i].effect), effect(steps[i + 1].effect))


@pytest.mark.parametrize("draw", range(10))
def test_canonical_forms_of_fixed_linear_pedals_sound_the_same(draw: int) -> None:
    fixed = tuple(name for name, record in EFFECTS.items() if record.lti)
    # one bending pedal in the middle, which must not be passed
    ends = [
        ChainSampler(fixed, "shuffled", 3).sample(generator(0, "end", draw, side))
        for side in (0, 1)
    ]
    original = Chain((*ends[0].steps, DRIVE, *ends[1].steps))
    one, other = original.render(guitar(), RATE), original.canonical().render(guitar(), RATE)
    # float32 rounding of up to seven filters, then a drive
    assert original.canonical() == original or si_sdr_db(one, other) > 60


def test_a_chain_survives_a_trip_to_another_process():
    chain = Chain((Step("distortion", {"drive_db": 12.0}),))
    assert pickle.loads(pickle.dumps(chain)) == chain
