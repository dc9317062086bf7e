"""Which word a sound was played for: the contrastive encoder on words and on sources that it never met."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import comb

import numpy as np

from labkit.measure.score import Row, bootstrap_interval
from labkit.signal.paths import real_data_dir
from labkit.signal.sampled import SoundFontMissingError, find_soundfont
from labkit.signal.seeds import generator
from labkit.signal.sources import GeneratedGuitars, Sampled, Source, recordings
from labkit.systems.text_to_effects.contrast import ContrastConfig, Encoder, likeness, train_encoder
from labkit.systems.text_to_effects.descriptors import (
    N_FOLDS,
    Word,
    band_spread,
    eq_words,
    fold_of,
    parts,
    stem,
)

_TOP = 5
_CLIPS = {"generated": 4, "sampled": 4, "real": 4}
_REAL_FOLDERS = ("guitar_di", "music", "speech")
# Closer than this, in standard deviations, two words are one answer: about how far a word is from its nearest other.
SYNONYM = 0.3


def fold_encoder(
    words: Sequence[Word],
    fold: int,
    *,
    seed: int,
    config: ContrastConfig | None = None,
    shuffled: bool = False,
) -> Encoder:
    """An encoder taught all words but those that share a part with the words of a fold.

    Args:
        words: the test words.
        fold: 0 to 3.
        seed: of the encoder.
        config: of the encoder; the default where None.
        shuffled: as in `train_encoder`.
    """
    held = frozenset().union(*(parts(word.word) for word in words if fold_of(word.word) == fold))
    taught = [w for w in eq_words() if fold_of(w.word) != fold and not parts(w.word) & held]
    return train_encoder(
        config or ContrastConfig(), taught, band_spread(), seed=seed + fold, shuffled=shuffled
    )


def fold_encoders(
    words: Sequence[Word],
    *,
    seed: int,
    config: ContrastConfig | None = None,
    shuffled: bool = False,
) -> list[Encoder]:
    """`fold_encoder` of every fold."""
    return [
        fold_encoder(words, fold, seed=seed, config=config, shuffled=shuffled)
        for fold in range(N_FOLDS)
    ]


def unseen_clips(kind: str, config: ContrastConfig, *, seed: int) -> Iterator[np.ndarray]:
    """Dry clips (samples,) of sources that no encoder was trained on; none where the source is not here.

    Args:
        kind: ``"generated"``, ``"sampled"`` or ``"real"``.
        config: rate and length.
        seed: of the draws.
    """
    source = _source(kind, {"seconds": config.seconds, "sample_rate": config.sample_rate})
    for k in range(_CLIPS[kind] if source else 0):
        clip = source.clip(generator(seed, "ranking", kind, k), "test").audio[0]
        yield clip / max(1e-6, float(np.abs(clip).max()))


def _source(kind: str, sizes: dict) -> Source | None:
    if kind == "generated":
        return GeneratedGuitars(**sizes)
    if kind == "sampled":
        try:
            find_soundfont()
        except SoundFontMissingError:
            return None
        return Sampled(**sizes)
    return recordings(_REAL_FOLDERS, **sizes) if real_data_dir() else None


def ranked(
    encoders: Sequence[Encoder],
    words: Sequence[Word],
    clips: Sequence[np.ndarray],
    *,
    alike: np.ndarray | None = None,
) -> np.ndarray:
    """(clips, n) the rank of the true word among the words of its own fold, 0 is best.

    Args:
        encoders: one for each fold.
        words: the candidates and what is played.
        clips: dry, (samples,) each.
        alike: (n, n) bool, which words count as right for which; the word itself alone where None.
    """
    alike = np.eye(len(words), dtype=bool) if alike is None else alike
    found = np.zeros((len(clips), len(words)), dtype=int)
    for fold, encoder in enumerate(encoders):
        inside = np.flatnonzero([fold_of(word.word) == fold for word in words])
        chosen = [words[k] for k in inside]
        for k, clip in enumerate(clips):
            near = likeness(encoder, chosen, clip, encoder.config.sample_rate)
            place = (-near).argsort(1).argsort(1)
            found[k, inside] = np.where(alike[np.ix_(inside, inside)], place, len(words)).min(1)
    return found


def synonyms(words: Sequence[Word], spread: np.ndarray) -> np.ndarray:
    """(n, n) bool: pairs of words for which people draw nearly the same curve, and each word with itself."""
    truth = np.array([word.settings for word in words]) / spread
    return np.sqrt(np.square(truth[:, None] - truth[None]).mean(2)) < SYNONYM


def by_first_guess(words: Sequence[Word], guesses: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """(n,) ranks by one who is told people's curve exactly, and looks for the nearest first guess."""
    found = np.zeros(len(words), dtype=int)
    for fold in range(N_FOLDS):
        inside = np.array([fold_of(word.word) == fold for word in words])
        truth = np.array([word.settings for word in words])[inside]
        apart = np.sqrt((((truth[:, None] - guesses[inside][None]) / spread) ** 2).mean(2))
        found[inside] = (apart < apart.diagonal()[:, None]).sum(1)
    return found


def chance(words: Sequence[Word], *, right: Sequence[int] | None = None) -> float:
    """The share of top fives that a random order gets right.

    Args:
        words: the candidates, each among those of its own fold.
        right: how many of a word's candidates count as right; one by default.
    """
    sizes = np.bincount([fold_of(word.word) for word in words], minlength=N_FOLDS)
    shares = []
    for word, m in zip(words, right or [1] * len(words), strict=True):
        n = int(sizes[fold_of(word.word)])
        shares.append(1 - comb(n - m, min(_TOP, n)) / comb(n, min(_TOP, n)))
    return float(np.mean(shares))


def ranking_rows(
    words: Sequence[Word],
    guesses: np.ndarray,
    spread: np.ndarray,
    encoders: Sequence[Encoder],
    seed: int,
) -> list[Row]:
    """Rows "top 5": the encoder on three kinds of sources, beside its control and other encoders.

    Args:
        words: the test words.
        guesses: (n, 40), the first guess of each, of models that never saw it.
        spread: (40,), the unit of the distance.
        encoders: one for each fold.
        seed: of clips, encoders and intervals.
    """
    config = encoders[0].config
    clips = {kind: list(unseen_clips(kind, config, seed=seed)) for kind in _CLIPS}
    rivals = {
        "reads sentences alone": fold_encoders(
            words, seed=seed, config=replace(config, reads="sentence")
        ),
        "hears the wet sound alone": fold_encoders(
            words, seed=seed, config=replace(config, hears="wet")
        ),
    }
    mixed = fold_encoders(words, seed=seed, shuffled=True)
    told = float((by_first_guess(words, guesses, spread) < _TOP).mean())
    every, alike = list(eq_words()), synonyms(words, spread)
    folds = np.array([fold_of(word.word) for word in words])
    same = (alike & (folds[:, None] == folds)).sum(1).tolist()
    rows = []
    for kind, dry in clips.items():
        if not dry:
            continue
        control = float((ranked(mixed, words, dry) < _TOP).mean())
        found = ranked(encoders, words, dry)
        beside = {"chance": chance(words), "control": control, "oracle": told}
        rows.append(
            _row(
                kind,
                "contrastive encoder",
                "top 5 of the fold's words",
                found,
                words,
                seed,
                **beside,
            )
        )
        rows += [
            _row(
                kind,
                name,
                "top 5 of the fold's words",
                ranked(others, words, dry),
                words,
                seed,
                chance=chance(words),
            )
            for name, others in rivals.items()
        ]
        merged = ranked(encoders, words, dry, alike=alike)
        by_chance = {"chance": chance(words, right=same)}
        rows.append(
            _row(
                kind,
                "contrastive encoder",
                "top 5, synonyms merged",
                merged,
                words,
                seed,
                **by_chance,
            )
        )
        rows.append(_wide_row(kind, encoders, every, words, dry, seed))
    return rows


def _wide_row(
    kind: str,
    encoders: Sequence[Encoder],
    every: list[Word],
    words: Sequence[Word],
    dry: list[np.ndarray],
    seed: int,
) -> Row:
    """The same among all words of the fold, those of one or two contributors too."""
    place = [every.index(word) for word in words]
    found = ranked(encoders, every, dry[:1])[:, place]
    sizes = np.bincount([fold_of(word.word) for word in every], minlength=N_FOLDS)
    by_chance = float(np.mean([_TOP / sizes[fold_of(word.word)] for word in words]))
    name = "contrastive encoder"
    return _row(kind, name, "top 5 of all words of the fold", found, words, seed, chance=by_chance)


def _row(
    kind: str,
    name: str,
    metric: str,
    found: np.ndarray,
    words: Sequence[Word],
    seed: int,
    **facts: float | None,
) -> Row:
    right = (found < _TOP).mean(0)
    low, high = bootstrap_interval(right, [stem(word.word) for word in words], seed=seed)
    sizes = np.bincount([fold_of(word.word) for word in words], minlength=N_FOLDS)
    protocol = (
        f"word never seen, from the rendered sound; {sizes.min()} to {sizes.max()} words in a fold"
    )
    shared = {
        "protocol": protocol,
        "name": name,
        "sources": kind,
        "metric": metric,
        "unit": "",
        "seed": seed,
    }
    return Row(**shared, ours=float(right.mean()), low=low, high=high, n=found.size, **facts)
