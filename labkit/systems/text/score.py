"""The exam of text to effects: EQ curves of words held out of training, and of words seen."""

from collections.abc import Sequence
from functools import partial
from tempfile import TemporaryDirectory

import numpy as np
import torch

from labkit.learn.training import fit
from labkit.measure.score import Row, row
from labkit.signal.seeds import generator
from labkit.systems.text import data
from labkit.systems.text.grammar import parse
from labkit.systems.text.lexicon import stem
from labkit.systems.text.model import Config, TextToEffects, build, encode_prompts
from labkit.systems.text.predict import predict
from labkit.systems.text.settings import STRENGTH, wanted_eq_db
from labkit.systems.text.train import fit_first_guess, loss_of, shape_of

PROTOCOL = f"EQ curve of a word never seen, words with {data.MIN_CONTRIBUTORS} contributors or more"
CORPUS = "EQ curve of a word of another corpus, which studios saved (SAFE)"
SEEN = "EQ curve of a word seen in training, a sound never heard"
# Small and short: one network for each fold of the words.
_SIZES = {"width": 32, "batch_size": 48, "steps": 60, "learning_rate": 1e-3, "hint_noise": 0.15}
QUICK = Config().but(dropout=0.1, hint_dropout=0.1, piece_dropout=0.8, **_SIZES)


def score(model: TextToEffects, *, seed: int = 1) -> list[Row]:
    """Score EQ curves for words against the curves that people set; trains eight small networks.

    Raises as `data.eq_words`, and ModuleNotFoundError without the sentence encoder.
    """
    stems = [stem(word.word) for word in data.test_words()]
    found, known = held_out(seed=seed), baselines()
    mixed, seen = held_out(seed=seed, shuffled=True), answer(model, data.test_words())
    rows = []
    for metric, unit, errors in (
        ("RMSE, standardised", "", curve_errors),
        ("RMSE", "dB", errors_db),
    ):
        about = {"metric": metric, "unit": unit, "sources": "real", "seed": seed}
        make = partial(row, groups=stems, **about)
        beside = {
            "prior": errors(known["mean"]),
            "floor": errors(known["lexicon alone"]),
            "oracle": errors(known["nearest curve"]),
            "control": errors(mixed["network"]),
        }
        rows += [
            make(errors(found["first guess"]), name="first guess", protocol=PROTOCOL),
            make(errors(found["network"]), name="network", protocol=PROTOCOL, beside=beside),
            make(errors(seen), name="network", protocol=SEEN),
        ]
    return [*rows, *corpora(model)]


def corpora(model: TextToEffects) -> list[Row]:
    """Answers for the words of another corpus, `data.studio_words`: correlation and RMSE.

    The correlation is over the words that an answer knows, the RMSE in standard deviations of the
    corpus' own words. Half of a word's people against the other half is the ceiling. No rows where
    the corpus is not here.
    """
    if data.find("safe_equaliser_half.csv") is None:
        return []
    found = data.studio_words()
    names, truth = list(found), np.array([curves.mean(0) for curves in found.values()])
    truth -= truth.mean(1, keepdims=True)
    sound = 0.1 * generator(1, "studio words").standard_normal((1, 44100)).astype(np.float32)
    bare = [data.Word(word, truth[0], 1.0, 1) for word in names]
    answers = {
        "flat": np.zeros_like(truth),
        "lexicon": [predict(None, sound, 44100, w).preset.eq_curve_db() for w in names],
        "ours": [predict(model, sound, 44100, w).preset.eq_curve_db() for w in names],
        "network": data.DB_PER_UNIT * answer(model, bare),
    }
    about = {"protocol": CORPUS, "sources": "real", "seed": 1}
    pairs = {"people's other half": [(c[::2].mean(0), c[1::2].mean(0)) for c in found.values()]}
    rows = []
    for name, curves in answers.items():
        curves = np.array(curves) - np.mean(curves, axis=1, keepdims=True)
        pairs[name] = list(zip(curves, truth, strict=True))
        error = np.sqrt(np.square((curves - truth) / truth.std(0, ddof=1)).mean(1))
        rows.append(row(error, names, name=name, metric="RMSE, standardised", unit="", **about))
    for name, curves in pairs.items():
        known = [k for k, pair in enumerate(curves) if min(c.std() for c in pair) > 0.1]
        likeness = np.array([np.corrcoef(*curves[k])[0, 1] for k in known])
        groups = [names[k] for k in known]
        if known:
            rows.append(row(likeness, groups, name=name, metric="correlation", unit="", **about))
    return rows


def fixed_score(model: TextToEffects) -> dict[str, float]:
    """Mean error of the EQ curves of the words seen in training, as in `score`."""
    return {SEEN: round(float(curve_errors(answer(model, data.test_words())).mean()), 4)}


def curve_errors(curves: np.ndarray) -> np.ndarray:
    """(62,) RMSE of (62, 40) curves for `test_words` in standard deviations, times agreement."""
    words = data.test_words()
    agreement = np.array([word.agreement for word in words])
    error = (curves - np.array([word.settings for word in words])) / data.band_spread()
    return agreement / agreement.mean() * np.sqrt((error**2).mean(1))


def errors_db(curves: np.ndarray) -> np.ndarray:
    """(62,) RMSE in dB of (62, 40) curves for `test_words`, all words alike."""
    truth = np.array([word.settings for word in data.test_words()])
    return data.DB_PER_UNIT * np.sqrt(np.square(curves - truth).mean(1))


def baselines() -> dict[str, np.ndarray]:
    """(62, 40) curves for `test_words`: flat, mean of the others, lexicon, nearest other curve."""
    words = data.test_words()
    truth = np.array([word.settings for word in words])
    distance = (((truth[:, None] - truth[None]) / data.band_spread()) ** 2).mean(2)
    np.fill_diagonal(distance, np.inf)
    return {
        "flat": np.zeros_like(truth),
        "mean": (truth.sum(0) - truth) / (len(truth) - 1),
        # As it was written: not shrunk by `STRENGTH`.
        "lexicon alone": np.array([wanted_eq_db(parse(w.word)) for w in words])
        / (STRENGTH * data.DB_PER_UNIT),
        "nearest curve": truth[distance.argmin(1)],
    }


@torch.no_grad()
def answer(model: TextToEffects, words: Sequence[data.Word]) -> np.ndarray:
    """(n, 40) curves of bare words, each with the same unseen sound at -20 dBFS."""
    batch = encode_prompts([w.word.replace("-", " ") for w in words], model.config.net.sentences)
    log_mel = data.sounds(model.config, "test", 1)["log_mel"].expand(len(words), -1, -1)
    level_db = torch.full((len(words),), -20.0)
    settings = model({**batch, "log_mel": log_mel, "level_db": level_db}).hard()
    return shape_of(settings.eq_curve_db()).double().numpy()


def held_out(config: Config = QUICK, *, seed: int, shuffled: bool = False) -> dict[str, np.ndarray]:
    """(62, 40) curves of `test_words` by networks of the other folds, and their first guesses.

    `shuffled` gives each training sentence another one's settings: the control.
    """
    words, rows = data.test_words(), data.by_people(data.examples(config))
    table = data.table_of(rows, config.net.sentences)
    for target in ("curve", "reverb") if shuffled else ():
        known = table[f"{target}_weight"].nonzero()[:, 0]
        order = torch.from_numpy(generator(seed, "shuffled text", target).permutation(len(known)))
        for name in (target, f"{target}_weight"):
            table[name][known] = table[name][known[order]]
    audio = data.sounds(config, "train", 24)
    loss = loss_of(torch.from_numpy(data.band_spread()).float())
    found = {name: np.zeros_like(baselines()["flat"]) for name in ("first guess", "network")}
    for fold in range(data.N_FOLDS):
        kept = data.taught_rows(rows, fold)
        part = {name: column[kept] for name, column in table.items()}
        places = [k for k, word in enumerate(words) if data.fold_of(word.word) == fold]
        asked = [words[k] for k in places]
        model = build(config.but(seed=seed + fold))
        fit_first_guess(model, part)
        found["first guess"][places] = answer(model.eval(), asked)
        with TemporaryDirectory() as folder:
            fit(model, data.Examples(model.config, part, audio), loss, model.config.plan, folder)
        found["network"][places] = answer(model.cpu().eval(), asked)
    return found
