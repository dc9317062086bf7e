"""A chain survives its sentence, and the grammar admits nothing but chains."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.effects.chain import Chain, Step
from labkit.effects.registry import effect
from labkit.effects.sampling import ChainSampler
from labkit.systems.pedal_order.config import SIX, THREE
from labkit.systems.pedal_order.tokens import END, SEPARATOR, START, ChainTokens

TOKENS = ChainTokens(SIX, n_bins=16, max_pedals=5)


@given(
    seed=st.integers(0, 10_000), prior=st.sampled_from(["subsets", "shuffled", "seed", "realistic"])
)
def test_any_chain_survives_to_half_a_bin(seed, prior):
    chain = ChainSampler(SIX, prior, 5).sample(np.random.default_rng(seed))
    words = TOKENS.encode(chain)
    back = TOKENS.decode(words)
    assert back.names == chain.names
    assert len(words) <= TOKENS.max_length
    for before, after in zip(chain.steps, back.steps, strict=True):
        space = effect(before.effect).space
        assert (
            np.abs(space.to_unit(before.params) - space.to_unit(after.params)).max()
            <= 0.5 / 16 + 1e-9
        )
    assert TOKENS.encode(back) == words


@given(seed=st.integers(0, 10_000), shelf=st.sampled_from([SIX, THREE, ("delay",)]))
def test_every_walk_inside_the_grammar_is_a_chain(seed, shelf):
    rng, words = np.random.default_rng(seed), [START]
    while words[-1] != END:
        words.append(int(rng.choice(np.flatnonzero(TOKENS.allowed(words, shelf)))))
    chain = TOKENS.decode(words)
    assert set(chain.names) <= set(shelf)
    assert len(chain) <= 5


def test_the_sentence_of_a_known_chain():
    # Vocabulary: 4 special, then the six pedals, then 16 bins from 10 on. drive 19 dB is half of 8..30: bin 8.
    reverb = {"room_size": 0.2, "damping": 0.9, "mix": 0.3}
    chain = Chain((Step("distortion", {"drive_db": 19.0}), Step("reverb", reverb)))
    assert TOKENS.encode(chain) == [START, 5, 9, SEPARATOR, 18, 10, 25, 15, END]
    assert TOKENS.n_tokens == 26
    assert TOKENS.encode(Chain()) == [START, SEPARATOR, END]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([START, 5, SEPARATOR, END], "has 1 knobs and an end"),
        ([5, SEPARATOR, 12, END], "a sentence is start"),
        ([START, 12, SEPARATOR, 12, END], "only pedals may stand before the separator"),
    ],
)
def test_broken_sentences_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        TOKENS.decode(words)


def test_chains_off_the_shelf_are_refused():
    with pytest.raises(ValueError, match="at most 5 distinct pedals"):
        TOKENS.encode(Chain((Step("gain", {"gain_db": 0.0}),)))
    with pytest.raises(ValueError, match="at most 5 distinct pedals"):
        TOKENS.order_prefix(SIX)
