"""How well a room is guessed from a word that nobody taught, and why the published rooms cannot be."""

import numpy as np

from labkit.measure.score import Row, bootstrap_interval
from labkit.systems.text_to_effects.descriptors import Word, heard_rooms, parts, reverb_words, stem

_METRIC = "MAE of the unit range"
# Of the listeners' means, in their own standard deviations: how far a word reaches for one who knows them.
_REACH = 0.5


def errors(said: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n,) mean absolute error over the knobs, weighted; `weights` are scaled to a mean of 1."""
    return weights / weights.mean() * np.abs(said - truth).mean(1)


def others_mean(words: tuple[Word, ...]) -> np.ndarray:
    """(n, 5): for each word the mean of all words that share no part with it."""
    return np.array(
        [np.mean([other.settings for other in _unrelated(word, words)], axis=0) for word in words]
    )


def others_median(words: tuple[Word, ...]) -> np.ndarray:
    """(n, 5): for each word the median of all words that share no part with it, the best constant for this error."""
    return np.array(
        [np.median([other.settings for other in _unrelated(word, words)], axis=0) for word in words]
    )


def _unrelated(word: Word, words: tuple[Word, ...]) -> list[Word]:
    return [other for other in words if not parts(word.word) & parts(other.word)]


def known_by_listeners(words: tuple[Word, ...], heard: tuple[Word, ...]) -> np.ndarray:
    """(n, 5): the median of the other words, those counting most of which listeners heard the same.

    This rival knows, of the word in question, everything that its own listeners said: no guess from text can know
    more about the word.

    Args:
        words: whose settings are wanted.
        heard: what listeners heard; a word that is missing there gets the median.
    """
    means = {word.word: word.settings for word in heard}
    spread = np.array(list(means.values())).std(0)
    said = []
    for word in words:
        others = _unrelated(word, words)
        known = [word.word in means and other.word in means for other in others]
        apart = [
            np.mean(((means[word.word] - means[other.word]) / spread) ** 2) if both else np.inf
            for other, both in zip(others, known, strict=True)
        ]
        weights = np.exp(-np.array(apart) / (2 * _REACH**2))
        weights = weights + max(
            weights.mean(), 1e-9
        )  # a far word still says what rooms are like in general
        said.append(_weighted_median(np.array([other.settings for other in others]), weights))
    return np.array(said)


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    order = values.argsort(axis=0)
    reached = np.cumsum(weights[order], axis=0) >= weights.sum() / 2
    return np.take_along_axis(np.take_along_axis(values, order, 0), reached.argmax(0)[None], 0)[0]


def room_rows(
    guess: np.ndarray, network: np.ndarray, mixed: np.ndarray | None, seed: int
) -> list[Row]:
    """Rows for rooms of words never seen: as listeners heard them, and as they were published.

    Args:
        guess: (n, 5), what the first guess says of `heard_rooms`.
        network: (n, 5), what the network says.
        mixed: the network's answers after training on shuffled sentences.
        seed: of the intervals.
    """
    heard, published = heard_rooms(), reverb_words()
    truth, even = np.array([word.settings for word in heard]), np.ones(len(heard))
    prior = float(errors(others_mean(heard), truth, even).mean())
    control = None if mixed is None else float(errors(mixed, truth, even).mean())
    protocol = "room of a word never seen, as its listeners heard it"
    rows = [
        _row(protocol, "first guess", errors(guess, truth, even), heard, seed, prior=prior),
        _row(
            protocol,
            "network",
            errors(network, truth, even),
            heard,
            seed,
            prior=prior,
            control=control,
        ),
    ]
    truth, weights = (
        np.array([getattr(w, name) for w in published]) for name in ("settings", "agreement")
    )
    prior = float(errors(others_mean(published), truth, weights).mean())
    told = {
        "median": others_median(published),
        "listeners' answers known": known_by_listeners(published, heard),
    }
    protocol = "room of a word never seen, as it was published"
    return rows + [
        _row(protocol, name, errors(said, truth, weights), published, seed, prior=prior)
        for name, said in told.items()
    ]


def _row(
    protocol: str,
    name: str,
    found: np.ndarray,
    words: tuple[Word, ...],
    seed: int,
    **facts: float | None,
) -> Row:
    low, high = bootstrap_interval(found, [stem(word.word) for word in words], seed=seed)
    shared = {
        "protocol": protocol,
        "name": name,
        "sources": "real",
        "metric": _METRIC,
        "unit": "",
        "seed": seed,
    }
    return Row(**shared, ours=float(found.mean()), low=low, high=high, n=len(found), **facts)
