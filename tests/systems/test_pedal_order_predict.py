"""Prediction: beam search agrees with scoring every chain, stays in the grammar; refinement."""

import copy
import functools
import importlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.effects.chain import Chain, Step
from labkit.effects.registry import effect
from labkit.measure.metrics import relative_error_db, si_sdr_db
from labkit.signal.seeds import generator
from labkit.systems import pedal_order
from labkit.systems.pedal_order import SHELVES, SIX, THREE, Config, refine
from labkit.systems.pedal_order.model import KINDS
from labkit.systems.pedal_order.predict import NO_GUITAR, OTHER_PEDAL, Prediction, decode

SMALL = Config().but(
    seconds=0.5,
    n_mels=32,
    width=16,
    n_heads=2,
    encoder_layers=1,
    decoder_layers=2,
    channels=(2, 2, 4, 4, 6),
)
TOKENS = SMALL.net.tokens
predicting = importlib.import_module("labkit.systems.pedal_order.predict")  # not the function
RATE = 44_100
TRUTH = Chain(
    (Step("lowpass", {"cutoff_frequency_hz": 900.0}), Step("distortion", {"drive_db": 26.0}))
)


@functools.cache
def network(seed, scale=1.0):
    """Random weights; with `scale` above 1 the network is very confident of nonsense."""
    made = pedal_order.build(SMALL.but(seed=seed)).eval()
    with torch.no_grad():
        for weight in made.decoder.parameters():
            weight.mul_(scale)
    return made


def clips(seed, n_windows=1):
    return torch.randn(n_windows, 32, 22, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def uncached(model, windows_, shelf, tokens):
    """Log-probabilities after `tokens`: each window reads the whole sequence again; their vote."""
    memory, _ = model.encode(windows_, model.shelf_vector(shelf).expand(len(windows_), -1))
    logits = model.decoder(torch.tensor([tokens] * len(windows_)), memory)[:, -1].double()
    forbidden = ~torch.from_numpy(TOKENS.allowed(tokens, shelf))
    votes = logits.masked_fill(forbidden, -torch.inf).log_softmax(-1)
    return votes.mean(0).log_softmax(-1).numpy()


@pytest.mark.parametrize("n_windows", [1, 3])
def test_decoding_is_what_it_is_without_a_cache(n_windows):
    model = network(3, 2.0)
    heard = clips(5, n_windows)
    found = decode(model, heard, SIX, beams=5)
    for names, share in found.alternatives:
        tokens = TOKENS.encode_order(names)
        steps = [uncached(model, heard, SIX, tokens[:k]) for k in range(1, len(tokens))]
        nats = sum(scores[token] for scores, token in zip(steps, tokens[1:], strict=True))
        # Float32 logits, summed in another order: 1e-5 of a nat.
        assert np.log(share) == pytest.approx(nats, abs=1e-4)
    tokens = TOKENS.encode_order(found.chain.names)
    centres = (np.arange(16) + 0.5) / 16
    units = [effect(s.effect).space.to_unit(s.params) for s in found.chain.steps]
    for unit in np.concatenate(units):
        scores = uncached(model, heard, SIX, tokens)
        assert unit == pytest.approx(float(np.exp(scores[TOKENS.bins]) @ centres), abs=1e-4)
        tokens = [*tokens, int(scores.argmax())]


def test_a_wide_beam_finds_the_whole_distribution():
    found = decode(network(0), clips(0), THREE, beams=40)
    shares = [share for _, share in found.alternatives]
    assert len(shares) == 16
    assert sum(shares) == pytest.approx(1.0, abs=1e-6)
    assert shares == sorted(shares, reverse=True)
    assert (found.chain.names, found.probability) == found.alternatives[0]
    with_reverb = sum(share for names, share in found.alternatives if "reverb" in names)
    assert found.presence("reverb") == pytest.approx(with_reverb)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 3),
    scale=st.sampled_from([0.1, 1.0, 5.0, 50.0]),
    shelf=st.sets(st.sampled_from(SIX), min_size=1).map(sorted),
    n_windows=st.integers(1, 3),
)
def test_no_weights_lead_outside_the_grammar(seed, scale, shelf, n_windows):
    for beams in (1, 4):
        chain = decode(network(seed, scale), clips(seed, n_windows), shelf, beams=beams).chain
        # Encoding refuses repeated or unknown pedals, chains too long, and knobs out of range.
        TOKENS.encode(chain)
        assert set(chain.names) <= set(shelf)


def test_every_device_decodes_the_same(device):
    here = decode(network(2), clips(1, 2), SIX)
    there = decode(copy.deepcopy(network(2)).to(device), clips(1, 2), SIX)
    assert there.chain.names == here.chain.names
    # Float32 sums in another order.
    assert there.probability == pytest.approx(here.probability, rel=1e-3)


@pytest.mark.parametrize(("channels", "rate"), [(1, 8000), (6, 96_000)])
def test_any_recording_gets_a_chain(channels, rate):
    audio = np.random.default_rng(0).normal(0, 0.05, (channels, rate)).astype(np.float32)
    found = pedal_order.predict(network(0), audio, rate)
    assert set(found.chain.names) <= set(THREE)
    assert 0 < found.probability <= 1


def judging(**biases):
    """A network that hears kinds by these biases alone, and never finds a chain empty."""
    made = copy.deepcopy(network(0))
    made.judge_out[:, -1] = torch.tensor([biases.get(kind, 0.0) for kind in KINDS])
    made.judge_clean[:] = torch.tensor([0.0, -9.0])
    return made


@pytest.mark.parametrize(
    ("kind", "refusals"),
    [
        ("three", (None, None, None)),
        ("six", (OTHER_PEDAL, None, None)),
        ("nine", (OTHER_PEDAL, OTHER_PEDAL, None)),
        ("other", (OTHER_PEDAL,) * 3),
        ("none", (NO_GUITAR,) * 3),
    ],
)
def test_it_may_say_no(kind, refusals):
    audio = noise(1.0).astype(np.float32)
    for shelf, refusal in zip(SHELVES.values(), refusals, strict=True):
        found = pedal_order.predict(judging(**{kind: 9.0}), audio, RATE, shelf=shelf)
        assert found.refusal == refusal
        assert found.verdict == (refusal or " -> ".join(found.chain.names))
        total = found.no_guitar + found.other_pedal + sum(share for _, share in found.alternatives)
        assert 1e-3 < total <= 1 + 1e-6  # twelve beams do not find all
        assert (found.chain.names, found.probability) == found.alternatives[0]
    assert pedal_order.predict(network(0), audio, RATE).refusal is None


def test_a_cabinet_is_named_where_that_was_fitted():
    audio, model = noise(1.0).astype(np.float32), judging(three=9.0)
    assert pedal_order.predict(model, audio, RATE).cabinet == 0.0
    model.judge_cabinet[-1] = 5.0
    assert pedal_order.predict(model, audio, RATE).cabinet > 0.99


@pytest.mark.parametrize("shelf", SHELVES.values())
def test_no_pedals_are_decided_apart(shelf):
    model = judging(three=9.0)
    model.judge_clean[1] = 9.0
    found = pedal_order.predict(model, noise(1.0).astype(np.float32), RATE, shelf=shelf)
    assert (found.chain, found.verdict, found.probability > 0.99) == (Chain(), "no pedals", True)
    model.judge_clean[1] = -0.1  # likelier than any chain, but not than all chains together
    found = pedal_order.predict(model, noise(1.0).astype(np.float32), RATE, shelf=shelf)
    assert found.chain.names
    assert found.alternatives[1][0] == ()
    assert found.alternatives[1][1] > found.probability


@torch.inference_mode()
def test_no_pedals_are_what_the_decoder_says_with_every_pedal_on_the_shelf():
    model, heard = judging(three=9.0), clips(4, 3)
    listed = dict(decode(model, heard, TOKENS.pedals, beams=12, knobs=False).alternatives)
    empty = predicting.no_pedals(model, heard)
    assert empty == pytest.approx(listed[()])
    model.judge_clean[:] = torch.tensor([1.0, 0.0])  # as the decoder says
    assert model.clean(empty) == pytest.approx(empty, abs=1e-5)
    assert predicting._judged(model, heard, THREE).presence("chorus") <= 1 - empty


def test_recreate_plays_the_chain_at_the_trained_level():
    audio = np.random.default_rng(0).normal(0, 0.003, (2, 30_000)).astype(np.float32)
    wet = pedal_order.recreate(TRUTH, audio, RATE)
    assert wet.shape == audio.shape
    assert np.abs(wet).max() <= 1.0
    np.testing.assert_allclose(pedal_order.recreate(TRUTH, 3 * audio, RATE), wet, atol=1e-5)
    assert np.array_equal(pedal_order.recreate(Chain(), audio, RATE), audio)


@pytest.mark.parametrize("level_db", [-60.0, 0.0, 12.0])
@pytest.mark.parametrize("input_rms_dbfs", [-20.0, None])
def test_code_and_json_of_a_recreation_make_its_sound(level_db, input_rms_dbfs, pair):
    dry = pair[0] * np.float32(10 ** (level_db / 20))
    chain = pedal_order.with_levels(TRUTH, dry, RATE, input_rms_dbfs=input_rms_dbfs)
    expected = TRUTH.render(dry if input_rms_dbfs is None else 0.1 * dry / dry.std(), RATE)
    assert si_sdr_db(expected, chain.render(dry, RATE)) > 80
    assert np.abs(chain.render(dry, RATE)).max() <= 1.0
    scope = {}
    exec(chain.to_code(), scope)
    for again in (scope["board"], Chain.from_json(chain.to_json()).render):
        assert relative_error_db(chain.render(dry, RATE), again(dry, RATE)) < -100


@pytest.fixture(scope="module")
def pair():
    dry = (0.1 * generator(0, "refine").standard_normal((1, RATE // 8))).astype(np.float32)
    return dry, TRUTH.render(dry, RATE)


def candidates(*orders):
    share = 1 / len(orders)
    return Prediction(Chain(()), share, tuple((names, share) for names in orders))


def test_a_second_candidate_wins_when_it_explains_the_sound(pair):
    """The first order is wrong; the third, the right one again, is not needed any more."""
    wrong = ("distortion", "lowpass")
    found = refine(candidates(wrong, TRUTH.names, TRUTH.names), *pair, RATE)
    assert found.chain.names == TRUTH.names
    # A memoryless pedal and a filter: exact but for the search's own tolerance.
    assert found.si_sdr_db > 60
    assert found.explained
    assert [names for names, _ in found.tried] == [wrong, TRUTH.names]
    assert found.tried[0][1] < 30
    assert found.chain.steps[1].params["drive_db"] == pytest.approx(26.0, abs=0.01)


@pytest.mark.parametrize("lag", [0, 9_000])
def test_where_no_candidate_explains_the_sound_it_is_aligned_and_the_shelf_is_searched(pair, lag):
    dry, wet = pair
    wrong = ("distortion", "lowpass")
    late = np.pad(wet, ((0, 0), (lag, 0)))
    heard = []
    found = refine(
        candidates(wrong),
        dry,
        late,
        RATE,
        shelf=TRUTH.names,
        on_order=lambda *one: heard.append(one),
    )
    assert found.chain.names == TRUTH.names
    assert found.explained
    assert found.lag_ms == pytest.approx(1000 * lag / RATE)
    assert heard == list(found.tried)
    assert heard[0][0] == wrong
    assert not refine(candidates(wrong), dry, late, RATE).explained


def test_a_search_over_a_large_shelf_does_not_list_it_first(pair, monkeypatch):
    listed = []
    listing = predicting.canonical_names
    monkeypatch.setattr(predicting, "canonical_names", lambda n: listed.append(n) or listing(n))
    monkeypatch.setattr(predicting, "SHELF_SECONDS", 0.0)
    refine(candidates(()), *pair, RATE, shelf=SHELVES["nine"], candidates=0)
    assert len(listed) <= 10  # 18 720 more could follow


def test_the_knobs_are_found_without_gradients_too(pair):
    found = refine(candidates(TRUTH.names), *pair, RATE, method="cma")
    assert found.chain.names == TRUTH.names
    assert found.si_sdr_db > 10  # the dry sound is at -12 dB


def test_no_pedals_is_a_candidate_and_recordings_are_cut_to_one_length(pair):
    dry, _ = pair
    stereo = np.repeat(dry, 2, axis=0)[:, :-7]
    found = refine(candidates((), TRUTH.names), stereo, dry, RATE, clip_seconds=0.1, seconds=0.0)
    assert (found.chain, found.si_sdr_db, len(found.tried)) == (Chain(()), np.inf, 1)


def noise(seconds, level=0.1):
    return level * generator(0, "noise").standard_normal((1, round(seconds * RATE)))


def predict(audio):
    return pedal_order.predict(network(0), np.asarray(audio, dtype=np.float32), RATE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda _: decode(network(0), clips(0), ("wah",)), "shelf must name pedals among"),
        (lambda _: predict(np.zeros((1, RATE))), "too quiet: its loudest moment has -inf dBFS"),
        (lambda _: predict(noise(1.0, 1e-4)), "too quiet: its loudest moment has -80 dBFS"),
        (lambda _: predict(noise(0.1)), r"too short: it holds 0\.10 s of sound, at least 0\.5 s"),
        (
            lambda _: predict(np.pad(noise(0.2), ((0, 0), (RATE, RATE)))),
            r"too short: it holds 0\.2",
        ),
        (lambda _: pedal_order.recreate(TRUTH, np.zeros((1, 100), "f"), RATE), "silent"),
        (lambda pair: refine(candidates(()), pair[0], 0 * pair[0], RATE), "wet must not be silent"),
        (
            lambda pair: refine(candidates(()), pair[0], pair[0], RATE, candidates=0),
            "candidates must be 1 or more without a shelf, got 0",
        ),
    ],
)
def test_bad_input_is_named(call, message, pair):
    with pytest.raises(ValueError, match=message):
        call(pair)
