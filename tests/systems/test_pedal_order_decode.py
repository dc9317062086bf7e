"""Decoding with a cache: the answers of decoding without one, never a chain outside the grammar, honest draws."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.effects.registry import effect
from labkit.signal.seeds import generator
from labkit.systems import pedal_order
from labkit.systems.pedal_order.decode import (
    decode,
    draw,
    order_logits,
    order_temperature,
    sample,
    setting_distances,
)
from labkit.systems.pedal_order.tokens import SEPARATOR, START

SMALL = pedal_order.Config(
    seconds=0.5,
    n_mels=32,
    width=16,
    n_heads=2,
    encoder_layers=1,
    decoder_layers=2,
    channels=(2, 2, 4, 4, 6),
)
TOKENS = SMALL.tokens


def model(seed, loudness=1.0):
    """Random weights; `loudness` above 1 makes a network that is very sure of nonsense."""
    made = pedal_order.build(replace(SMALL, seed=seed)).eval()
    with torch.no_grad():
        for weight in made.decoder.parameters():
            weight.mul_(loudness)
    return made


def pictures(seed, windows=1):
    return torch.randn(windows, 32, 22, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def uncached(network, heard, shelf, words, temperature=1.0):
    """Log-probabilities after `words`: the whole sentence read again by every window, and their vote."""
    memory = network.memory(heard, network.shelf_vector(shelf).expand(len(heard), -1))
    logits = (
        network.decoder(torch.tensor([words] * len(heard)), memory)[:, -1].double() / temperature
    )
    allowed = torch.from_numpy(TOKENS.allowed(words, shelf))
    return logits.masked_fill(~allowed, -torch.inf).log_softmax(-1).mean(0).log_softmax(-1).numpy()


@pytest.mark.parametrize(("windows", "temperature"), [(1, 1.0), (3, 1.0), (3, 2.5)])
def test_decoding_is_what_it_is_without_a_cache(windows, temperature):
    network, heard = model(3, 2.0), pictures(5, windows)
    found = decode(network, heard, pedal_order.SIX, beams=5, temperature=temperature)
    for names, share in found.alternatives:
        words = TOKENS.order_prefix(names)
        steps = [
            uncached(network, heard, pedal_order.SIX, words[:k], temperature)
            for k in range(1, len(words))
        ]
        nats = sum(scores[word] for scores, word in zip(steps, words[1:], strict=True))
        # Float32 logits, summed in another order: 1e-5 of a nat.
        assert np.log(share) == pytest.approx(nats, abs=1e-4)
    words, centres = TOKENS.order_prefix(found.chain.names), (np.arange(16) + 0.5) / 16
    for unit in np.concatenate(
        [effect(s.effect).space.to_unit(s.params) for s in found.chain.steps]
    ):
        scores = uncached(network, heard, TOKENS.pedals, words)
        assert unit == pytest.approx(float(np.exp(scores[TOKENS.bin_slice()]) @ centres), abs=1e-4)
        words = [*words, int(scores.argmax())]


def test_one_beam_is_greedy():
    network, heard = model(1, 3.0), pictures(2)
    words = [START]
    while words[-1] != SEPARATOR:
        words.append(int(uncached(network, heard, pedal_order.SIX, words).argmax()))
    found = decode(network, heard, pedal_order.SIX, beams=1)
    assert found.chain.names == TOKENS.order(words)
    assert len(found.alternatives) == 1


@functools.cache
def networks(seed, loudness):
    return model(seed, loudness)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 3),
    loudness=st.sampled_from([0.1, 1.0, 5.0, 50.0]),
    shelf=st.sets(st.sampled_from(pedal_order.SIX), min_size=1).map(sorted),
    temperature=st.sampled_from([0.01, 0.5, 1.0, 100.0]),
    top_p=st.sampled_from([1e-6, 0.5, 1.0]),
    windows=st.integers(1, 3),
)
def test_no_weights_lead_outside_the_grammar(seed, loudness, shelf, temperature, top_p, windows):
    network, heard = networks(seed, loudness), pictures(seed, windows)
    chains = sample(
        network, heard, shelf, generator(seed), n=3, temperature=temperature, top_p=top_p
    )
    chains += [
        decode(network, heard, shelf, beams=k, temperature=temperature).chain for k in (1, 4)
    ]
    for chain in chains:
        # Encoding refuses pedals that stand twice or are not in the vocabulary, chains too long, and knobs off range.
        TOKENS.encode(chain)
        assert set(chain.names) <= set(shelf)


def test_draws_follow_the_probabilities_that_decode_states():
    network, heard = model(0, 1.5), pictures(1, 2)
    stated = dict(decode(network, heard, pedal_order.THREE, beams=40).alternatives)
    drawn = [c.names for c in sample(network, heard, pedal_order.THREE, generator(4), n=2000)]
    # Sixteen shares of 2000 draws: the largest standard error is 0.011, and four of them are never exceeded.
    for names, share in stated.items():
        assert drawn.count(names) / 2000 == pytest.approx(share, abs=0.045), names
    assert len(set(drawn)) > 4


def test_a_seed_draws_again_the_same_and_cold_draws_are_greedy():
    network, heard = model(0, 3.0), pictures(1)
    one, again, other = (
        sample(network, heard, pedal_order.SIX, generator(s), n=4) for s in (1, 1, 2)
    )
    assert one == again != other
    greedy = decode(network, heard, pedal_order.SIX, beams=1).chain.names
    for options in ({"temperature": 1e-4}, {"top_p": 1e-9}):
        assert {
            c.names for c in sample(network, heard, pedal_order.SIX, generator(3), n=4, **options)
        } == {greedy}


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    scores = np.log(np.array([0.1, 0.5, 1e-300, 0.15, 0.25]))
    rng = generator(0)
    assert {draw(scores, rng, top_p=0.5) for _ in range(200)} == {1}
    assert {draw(scores, rng, top_p=0.76) for _ in range(400)} == {1, 4, 3}
    assert {draw(scores, rng) for _ in range(400)} == {0, 1, 3, 4}
    masked = np.array([-np.inf, 0.0, -np.inf])
    assert {draw(masked, rng) for _ in range(50)} == {1}


def test_order_logits_are_those_of_decoding():
    network, shelf = model(2, 2.0), pedal_order.THREE
    heard, orders = pictures(7, 2), [("reverb", "chorus"), ()]
    scores, labels = order_logits(network, heard, shelf, orders)
    assert labels.tolist() == [*TOKENS.order_prefix(orders[0])[1:], SEPARATOR]
    nats = scores[np.arange(4), labels]
    for one, names, mine in zip(heard, orders, (nats[:3].sum(), nats[3]), strict=True):
        stated = dict(decode(network, one[None], shelf, beams=40).alternatives)
        assert np.log(stated[names]) == pytest.approx(mine, abs=1e-4)  # float32 logits, as above


def test_a_network_made_too_sure_is_cooled_by_as_much():
    """Orders drawn from the network itself: it is calibrated. With its logits tripled, the temperature is three."""
    network, heard = model(5, 1.5), pictures(9, 1).expand(300, -1, -1)
    drawn = [c.names for c in sample(network, heard[:1], pedal_order.SIX, generator(6), n=300)]
    own = order_temperature(network, heard, pedal_order.SIX, drawn)
    with torch.no_grad():
        network.decoder.logits.weight.mul_(3.0)
        network.decoder.logits.bias.mul_(3.0)
    assert order_temperature(network, heard, pedal_order.SIX, drawn) == pytest.approx(
        3 * own, rel=1e-3
    )
    # 300 orders of some four words: 1.0 within three standard errors.
    assert own == pytest.approx(1.0, abs=0.25)


def test_setting_distances_find_a_line_and_nothing_in_noise():
    network = model(0)
    assert setting_distances(network) == pytest.approx(np.ones(15), abs=0.5)
    line = torch.linspace(0, 1, 16)[:, None] * torch.randn(
        1, 16, generator=torch.Generator().manual_seed(0)
    )
    with torch.no_grad():
        network.decoder.logits.weight[TOKENS.bin_slice()] = line
    found = setting_distances(network, side="written")
    # The mean distance of two of sixteen numbers 0..15 is 17/3.
    assert found == pytest.approx(np.arange(1, 16) * 3 / 17, rel=1e-5)
    with pytest.raises(ValueError, match="side must be read or written, got 'left'"):
        setting_distances(network, side="left")


def test_bad_input_is_refused():
    network, heard = model(0), pictures(0)
    for call in (decode, functools.partial(sample, rng=generator(0))):
        with pytest.raises(ValueError, match="shelf must name pedals among"):
            call(network, heard, ())
        with pytest.raises(ValueError, match=r"temperature must be positive, got 0"):
            call(network, heard, ("delay",), temperature=0.0)
    with pytest.raises(ValueError, match="beams must be positive, got 0"):
        decode(network, heard, ("delay",), beams=0)
    with pytest.raises(ValueError, match="n must be positive, got 0"):
        sample(network, heard, ("delay",), generator(0), n=0)
    with pytest.raises(ValueError, match=r"top_p must lie in \(0, 1\], got 1.5"):
        sample(network, heard, ("delay",), generator(0), top_p=1.5)
