"""The table: words that no model saw, by constants, neighbours, regressions, network, beside oracle and control."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from labkit.learn.text import Encoded, minilm, ngram_vectors
from labkit.measure.score import Row, bootstrap_interval, wilson_interval
from labkit.signal.seeds import generator
from labkit.signal.shipped import load_phrase
from labkit.systems.text_to_effects.config import Config
from labkit.systems.text_to_effects.descriptors import (
    MIN_CONTRIBUTORS,
    N_FOLDS,
    Word,
    band_spread,
    eq_words,
    fold_of,
    heard_rooms,
    parts,
    stem,
    test_words,
)
from labkit.systems.text_to_effects.direction import direction_rows
from labkit.systems.text_to_effects.grammar import apply_items, parse
from labkit.systems.text_to_effects.model import Settings, TextToEffects, begin, build
from labkit.systems.text_to_effects.preset import Preset
from labkit.systems.text_to_effects.ranking import fold_encoders, ranking_rows
from labkit.systems.text_to_effects.response import BANDS_HZ
from labkit.systems.text_to_effects.rooms import room_rows
from labkit.systems.text_to_effects.search import contest_rows
from labkit.systems.text_to_effects.table import Lesson, lessons, lexicon_curve, sounds, tensors
from labkit.systems.text_to_effects.train import shape_of, train_quickly

HELD_OUT = f"EQ curve of a word never seen, words with {MIN_CONTRIBUTORS} contributors or more"
TILT_WORDS = (
    *("warm", "bright", "dark", "tinny", "muffled", "crisp", "deep", "mellow"),
    *("airy", "sharp", "heavy", "smooth", "light", "shrill", "clear", "cold"),
)
# Small and short: one model for each fold, each on a quarter less words.
QUICK = Config(
    width=32,
    dropout=0.1,
    hint_dropout=0.1,
    piece_dropout=0.8,
    hint_noise=0.15,
    batch_size=48,
    steps=60,
    learning_rate=1e-3,
)


@dataclass(frozen=True)
class Judge:
    """The protocol: test words, their weights, and the distance.

    Attributes:
        words: the test words.
        spread: (40,) standard deviation of all English words at each band.
    """

    words: tuple[Word, ...]
    spread: np.ndarray

    @classmethod
    def of_people(cls) -> "Judge":
        """The published words. Raises FileNotFoundError where they are not here."""
        return cls(test_words(), band_spread())

    @property
    def truth(self) -> np.ndarray:
        """(n, 40) people's curves."""
        return np.array([word.settings for word in self.words])

    @property
    def weights(self) -> np.ndarray:
        """(n,) agreement, of mean 1."""
        agreement = np.array([word.agreement for word in self.words])
        return agreement / agreement.mean()

    def errors(self, said: np.ndarray) -> np.ndarray:
        """(n,) weighted RMSE of (n, 40) curves in standardised units; their mean is the score."""
        return self.weights * np.sqrt((((said - self.truth) / self.spread) ** 2).mean(1))


def baselines(
    judge: Judge, others: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """(62, 40) for each rival: what it says of every test word without that word, from all others.

    Args:
        judge: the protocol.
        others: more sentence encoders by name, each with (n, width) vectors of `every_word`.

    Returns:
        ``flat``, ``mean``, ``nearest by spelling``, ``nearest by MiniLM``, ``ridge on MiniLM``, ``lexicon alone`` and
        ``nearest curve``, which knows the answer and picks another test word's curve; for each of `others` what there
        is for MiniLM.
    """
    every = eq_words()
    curves, truth = np.array([word.settings for word in every]), judge.truth
    where = np.array([[word.word for word in every].index(word.word) for word in judge.words])
    other = np.array([[stem(a.word) != stem(b.word) for b in every] for a in judge.words])
    names = every_word()
    spelt, meant = ngram_vectors(names), {"MiniLM": sentence_vectors(names)} | dict(others or {})
    distance = np.sqrt((((truth[:, None] - truth[None]) / judge.spread) ** 2).mean(2))
    np.fill_diagonal(distance, np.inf)
    tests = len(truth)
    nearest = {
        name: np.where(other, (rows @ rows.T)[where], -1).argmax(1) for name, rows in meant.items()
    }
    return {
        "flat": np.zeros_like(truth),
        "mean": (truth.sum(0) - truth) / (tests - 1),
        "nearest by spelling": curves[np.where(other, (spelt @ spelt.T)[where], -1).argmax(1)],
        **{f"nearest by {name}": curves[rows] for name, rows in nearest.items()},
        **{f"ridge on {name}": _ridge(rows, curves, where, other) for name, rows in meant.items()},
        "lexicon alone": np.array([lexicon_curve(word.word, Config()) for word in judge.words]),
        "nearest curve": truth[distance.argmin(1)],
    }


def every_word() -> list[str]:
    """All English words that people gave curves for."""
    return [word.word for word in eq_words()]


def sentence_vectors(
    texts: Sequence[str], encoder: Callable[[Sequence[str]], Encoded] | None = None
) -> np.ndarray:
    """(n, width), MiniLM's unless another encoder is given."""
    read = encoder or minilm()
    return (
        torch.cat([read(texts[i : i + 64]).sentence for i in range(0, len(texts), 64)])
        .double()
        .numpy()
    )


def _ridge(
    vectors: np.ndarray,
    curves: np.ndarray,
    where: np.ndarray,
    other: np.ndarray,
    *,
    components: int = 6,
) -> np.ndarray:
    """Ridge regression from sentence vectors to principal components, fitted anew without each word."""
    said = []
    for row, kept in zip(where, other, strict=True):
        mean = curves[kept].mean(0)
        _, _, axes = np.linalg.svd(curves[kept] - mean, full_matrices=False)
        scores = (curves[kept] - mean) @ axes[:components].T
        gram = vectors[kept] @ vectors[kept].T + 10.0 * np.eye(kept.sum())
        said.append(
            mean
            + vectors[row] @ vectors[kept].T @ np.linalg.solve(gram, scores) @ axes[:components]
        )
    return np.array(said)


@dataclass(frozen=True)
class HeldOut:
    """What models say of words that they did not see.

    Attributes:
        curves: (62, 40), by the network.
        guesses: (62, 40), by the first guess alone, before any gradient step.
        rooms: (n, 5) units for the words of `heard_rooms`, by the network.
        room_guesses: (n, 5), by the first guess alone.
    """

    curves: np.ndarray
    guesses: np.ndarray
    rooms: np.ndarray
    room_guesses: np.ndarray


def held_out(judge: Judge, *, seed: int, config: Config = QUICK, shuffled: bool = False) -> HeldOut:
    """Every word answered by a small model trained on the other folds.

    Args:
        judge: the protocol.
        seed: of weights and batches.
        config: of the small models.
        shuffled: give every training sentence another one's settings: the control.
    """
    rows = [
        r for r in lessons(config, n_pairs=0) if r.curve is not None or "reverb" in (r.units or {})
    ]
    table, heard = tensors(rows, config.sentences), sounds(config, "train", 24)
    if shuffled:
        table = _shuffled(table, seed)
    words = {"eq": judge.words, "room": heard_rooms()}
    asked = {
        part: _asked([word.word.replace("-", " ") for word in found], config)
        for part, found in words.items()
    }
    said = {
        part: np.zeros((2, len(found), len(found[0].settings))) for part, found in words.items()
    }
    for fold in range(N_FOLDS):
        kept = taught_rows(rows, fold, [word.word for found in words.values() for word in found])
        model, first = (
            train_quickly(config, table, heard, kept, seed=seed + fold),
            build(config).eval(),
        )
        begin(first, table, torch.from_numpy(kept))
        for part, found in words.items():
            out = np.array([fold_of(word.word) == fold for word in found])
            for k, one in enumerate((model, first)):
                said[part][k, out] = _said(one, asked[part], part)[out]
    return HeldOut(*said["eq"], *said["room"])


def taught_rows(rows: Sequence[Lesson], fold: int, asked: Sequence[str]) -> np.ndarray:
    """Indices of the lessons that share no part of a word with what a fold is asked.

    Args:
        rows: of `lessons`.
        fold: 0 to 3.
        asked: all words of the test; the fold's are looked up.
    """
    held = frozenset().union(*(parts(word) for word in asked if fold_of(word) == fold))
    return np.array(
        [
            k
            for k, row in enumerate(rows)
            if not any(fold_of(w) == fold or parts(w) & held for w in row.words)
        ]
    )


def _said(model: TextToEffects, batch: Mapping[str, Tensor], part: str) -> np.ndarray:
    return (
        said_curves(model, batch)
        if part == "eq"
        else answer(model, batch).units["reverb"].double().numpy()
    )


def _shuffled(table: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """The same sentences, each with the targets of another one of its kind."""
    mixed = dict(table)
    for part in ("curve", "reverb"):
        rows = table[f"{part}_weight"].nonzero()[:, 0]
        order = torch.from_numpy(generator(seed, "shuffled text", part).permutation(len(rows)))
        for name in (part, f"{part}_weight"):
            mixed[name] = table[name].clone()
            mixed[name][rows] = table[name][rows[order]]
    return mixed


def _asked(words: Sequence[str], config: Config) -> dict[str, Tensor]:
    """Bare words with one and the same unseen sound at -20 dBFS."""
    batch = tensors([Lesson(word, (word,)) for word in words], config.sentences)
    seen = sounds(config, "test", 1)["picture"].expand(len(words), -1, -1)
    return batch | {"picture": seen, "level_db": torch.full((len(words),), -20.0)}


@torch.no_grad()
def answer(model: TextToEffects, batch: Mapping[str, Tensor]) -> Settings:
    """What a model says of a batch, every band of one type."""
    return model(batch).hard()


def said_curves(model: TextToEffects, batch: Mapping[str, Tensor]) -> np.ndarray:
    """(b, 40) curves as people's are given."""
    return shape_of(answer(model, batch).eq_curve_db(), model.config).double().numpy()


def evaluate(
    model: TextToEffects,
    *,
    seed: int = 1,
    checkpoint: str = "",
    control: bool = True,
    say: Callable[[str], None] = print,
) -> list[Row]:
    """Every figure of the results table.

    Args:
        model: the shipped one, for words that it was trained on.
        seed: of the evaluation and of its small models.
        checkpoint: name recorded in each row.
        control: with models trained on shuffled sentences, the contrastive encoder, and searches: five minutes on one
            quiet core instead of one. With CLAP in the hub's cache, searches ask it too, and take longer.
        say: told about progress.

    Returns:
        Rows of rival x metric.

    Raises:
        FileNotFoundError: if people's settings are not here.
        ModuleNotFoundError: if the sentence encoder is not installed.
    """
    judge, started = Judge.of_people(), time.perf_counter()
    hub, names = {}, every_word()
    say(
        f"of MPNet and CLAP, in the hub's cache: {', '.join(hub) or 'neither, so they are left out'}"
    )
    vectors = {
        "MPNet": lambda: sentence_vectors(names, hub["MPNet"]),
        "CLAP": lambda: hub["CLAP"].read(names),
    }
    found = baselines(judge, {name: np.asarray(vectors[name](), dtype=np.float64) for name in hub})
    scores = {name: float(judge.errors(said).mean()) for name, said in found.items()}
    beside = {
        "prior": scores["mean"],
        "floor": scores["ridge on MiniLM"],
        "oracle": scores["nearest curve"],
    }
    rows = [_eq_row(judge, name, said, seed) for name, said in found.items()]
    say(", ".join(f"{name} {score:.3f}" for name, score in scores.items()))
    told = held_out(judge, seed=seed)
    say(
        f"network {judge.errors(told.curves).mean():.3f}, its first guess {judge.errors(told.guesses).mean():.3f}"
    )
    mixed = held_out(judge, seed=seed, shuffled=True) if control else None
    if mixed:
        beside["control"] = float(judge.errors(mixed.curves).mean())
    rows.append(_eq_row(judge, "first guess", told.guesses, seed, **beside | {"control": None}))
    rows.append(_eq_row(judge, "network", told.curves, seed, **beside))
    rows += _tilt_rows(judge, {**found, "network": told.curves}, seed)
    rows += room_rows(told.room_guesses, told.rooms, mixed.rooms if mixed else None, seed)
    rows.append(_seen_row(judge, model, seed, checkpoint))
    rows += direction_rows(model, judge.words, judge.truth, seed, checkpoint)
    if control:
        say("the contrastive encoder, and searches that ask it")
        encoders = fold_encoders(judge.words, seed=seed)
        rows += ranking_rows(judge.words, told.guesses, judge.spread, encoders, seed)
        shapes = {
            "network": told.curves,
            "first guess": told.guesses,
            "lexicon alone": found["lexicon alone"],
        }
        rows += contest_rows(
            encoders, judge.words, judge.spread, shapes, seed, clap=hub.get("CLAP")
        )
    rows.append(_operator_row(seed))
    rows.append(_speed_row(model, seed, checkpoint))
    spent = time.perf_counter() - started
    return [replace(row, seconds=spent) for row in rows]


def _row(
    protocol: str, name: str, metric: str, ours: float, n: int, seed: int, **facts: object
) -> Row:
    given = {"low": None, "high": None, "unit": "", "sources": "real"} | facts
    return Row(protocol=protocol, name=name, metric=metric, ours=ours, n=n, seed=seed, **given)


def _eq_row(judge: Judge, name: str, said: np.ndarray, seed: int, **facts: object) -> Row:
    errors = judge.errors(said)
    low, high = bootstrap_interval(errors, [stem(word.word) for word in judge.words], seed=seed)
    score = float(errors.mean())
    return _row(
        HELD_OUT, name, "RMSE, standardised", score, len(errors), seed, low=low, high=high, **facts
    )


def tilts(curves: np.ndarray) -> np.ndarray:
    """(n,) highs minus lows: the mean above 1.5 kHz less the mean below 800 Hz."""
    hz = np.array(BANDS_HZ)
    return curves[:, hz > 1500].mean(1) - curves[:, hz < 800].mean(1)


def _tilt_rows(judge: Judge, said: Mapping[str, np.ndarray], seed: int) -> list[Row]:
    chosen = [k for k, word in enumerate(judge.words) if word.word in TILT_WORDS]
    truth, rows = tilts(judge.truth)[chosen], []
    for name in ("nearest by MiniLM", "ridge on MiniLM", "lexicon alone", "network"):
        right = np.sign(tilts(said[name])[chosen]) == np.sign(truth)
        low, high = wilson_interval(int(right.sum()), len(right))
        share = float(right.mean())
        facts = {"low": low, "high": high, "chance": 0.5}
        rows.append(
            _row("tilt of a word never seen", name, "right way", share, len(right), seed, **facts)
        )
    return rows


def _seen_row(judge: Judge, model: TextToEffects, seed: int, checkpoint: str) -> Row:
    asked = _asked([word.word for word in judge.words], model.config)
    return replace(
        _eq_row(judge, "network", said_curves(model, asked), seed),
        protocol="EQ curve of a word seen in training, a sound never heard",
        checkpoint=checkpoint or None,
    )


# What must move, which way: (sentence, figure, sign).
OPERATORS: tuple[tuple[str, str, int], ...] = (
    ("brighter", "tilt", 1),
    ("a bit brighter", "tilt", 1),
    ("much brighter please", "tilt", 1),
    ("less bright", "tilt", -1),
    ("not so bright", "tilt", -1),
    ("darker", "tilt", -1),
    ("a little darker", "tilt", -1),
    ("less dark", "tilt", 1),
    ("warmer", "tilt", -1),
    ("make it slightly warmer", "tilt", -1),
    ("less harsh", "tilt", -1),
    ("less muddy", "tilt", 1),
    ("more treble", "tilt", 1),
    ("cut the highs", "tilt", -1),
    ("boost the bass", "tilt", -1),
    ("reduce the bass", "tilt", 1),
    ("crisper", "tilt", 1),
    ("softer", "tilt", -1),
    ("thinner", "tilt", 1),
    ("more reverb", "wet", 1),
    ("a bit more reverb", "wet", 1),
    ("less reverb", "wet", -1),
    ("much less reverb", "wet", -1),
    ("no reverb", "wet", -1),
    ("without echo", "wet", -1),
    ("more spacious", "wet", 1),
    ("less spacious", "wet", -1),
    ("drier, less ambience", "wet", -1),
    ("more distortion", "drive", 1),
    ("less distortion", "drive", -1),
    ("remove the distortion", "drive", -1),
    ("no distortion", "drive", -1),
    ("grittier", "drive", 1),
    ("dirtier", "drive", 1),
    ("more compression", "ratio", 1),
    ("less compression", "ratio", -1),
    ("punchier", "ratio", 1),
    ("pitch up 3 semitones", "pitch", 1),
    ("pitch down 5 semitones", "pitch", -1),
    ("more overdrive but less reverb", "drive", 1),
)


def figures(preset: Preset) -> dict[str, float]:
    """The figures that operators move."""
    return {
        "tilt": preset.tilt_db,
        "wet": preset.reverb["wet"],
        "drive": preset.distortion["drive_db"],
        "ratio": preset.compressor["ratio"],
        "pitch": preset.pitch["semitones"],
    }


def operator_verdicts(seed: int, *, n_starts: int = 5) -> list[bool]:
    """Whether each sentence of `OPERATORS` moves its figure the right way, from several random settings."""
    verdicts = []
    for sentence, figure, sign in OPERATORS:
        for k in range(n_starts):
            rng = generator(seed, "operators", sentence, k)
            start = _in_the_middle(rng)
            moved = apply_items(parse(sentence), start)
            verdicts.append(sign * (figures(moved)[figure] - figures(start)[figure]) > 1e-6)
    return verdicts


def _in_the_middle(rng: np.random.Generator) -> Preset:
    """Settings from which every figure can go both ways."""
    plain = Preset()
    return replace(
        plain,
        eq=tuple(replace(band, gain_db=float(rng.uniform(-4, 4))) for band in plain.eq),
        reverb=dict(plain.reverb) | {"wet": float(rng.uniform(0.2, 0.5))},
        distortion=dict(plain.distortion) | {"drive_db": float(rng.uniform(8, 18))},
        compressor=dict(plain.compressor)
        | {"ratio": float(rng.uniform(2, 5)), "threshold_db": -25.0},
    )


def _operator_row(seed: int) -> Row:
    verdicts = operator_verdicts(seed)
    low, high = wilson_interval(sum(verdicts), len(verdicts))
    facts = {"low": low, "high": high, "chance": 0.5, "sources": "generated"}
    protocol = f"{len(OPERATORS)} operators on present settings"
    return _row(
        protocol, "grammar", "right way", float(np.mean(verdicts)), len(verdicts), seed, **facts
    )


def _speed_row(model: TextToEffects, seed: int, checkpoint: str) -> Row:
    """Processor time from a sentence and ten seconds of audio to the preset, everything loaded."""
    from labkit.systems.text_to_effects.predict import predict

    riff, rate = load_phrase("riff")
    audio, spent = np.tile(riff, (1, 1 + 10 * rate // riff.shape[1]))[:, : 10 * rate], []
    for prompt in ("warm", "bright but not thin", "dreamy and dark in a cathedral"):
        started = time.process_time()
        predict(model, audio, rate, prompt)
        spent.append(time.process_time() - started)
    facts = {"unit": "s", "sources": "generated", "checkpoint": checkpoint or None}
    return _row(
        "speed",
        "network",
        "processor time for a clip of 10 s",
        float(np.median(spent)),
        3,
        seed,
        **facts,
    )
