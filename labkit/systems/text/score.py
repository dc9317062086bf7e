"""The exam of text to effects: words held out of training, words seen, and the rendered sound."""

from collections.abc import Mapping, Sequence
from functools import partial
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from labkit.learn.training import fit
from labkit.measure.score import Row, row
from labkit.signal.files import read_audio, to_mono
from labkit.signal.paths import real_data_dir
from labkit.signal.seeds import generator
from labkit.signal.shipped import load_phrase, phrase_names
from labkit.systems.text import data
from labkit.systems.text.config import Config
from labkit.systems.text.data import Word, parts
from labkit.systems.text.grammar import parse, stem, wanted_eq_db
from labkit.systems.text.model import TextToEffects, build, encode_prompts
from labkit.systems.text.predict import predict
from labkit.systems.text.preset import BANDS_HZ
from labkit.systems.text.train import fit_first_guess, loss_of, shape_of

PROTOCOL = f"EQ curve of a word never seen, words with {data.MIN_CONTRIBUTORS} contributors or more"
SEEN = "EQ curve of a word seen in training, a sound never heard"
ROOM = "room of a word never seen, as its listeners heard it"
RENDERED = "rendered sound of a word seen in training"
# Small and short: one network for each fold of the words.
QUICK = Config().but(
    width=32,
    dropout=0.1,
    hint_dropout=0.1,
    piece_dropout=0.8,
    hint_noise=0.15,
    batch_size=48,
    steps=60,
    learning_rate=1e-3,
)
_REAL_FOLDERS = ("guitar_di", "music", "speech")
_BLOCK, _SECONDS = 65536, 8.0
# Half the width of a third-octave band; a band this far below the loudest one holds no sound.
_HALF_WIDTH, _SILENT_DB = 2.0**0.17, 55.0


def score(model: TextToEffects, *, seed: int = 1) -> list[Row]:
    """Rows of protocol and model, all on people's settings; trains eight small networks.

    Raises:
        FileNotFoundError: if people's settings are not here.
        ModuleNotFoundError: if the sentence encoder is not installed.
    """
    words, rooms = data.test_words(), data.room_words()
    answers, shuffled = held_out(seed=seed), held_out(seed=seed, shuffled=True)
    references = baselines()
    beside = {
        "prior": curve_errors(references["mean"]),
        "floor": curve_errors(references["lexicon alone"]),
        "oracle": curve_errors(references["nearest curve"]),
        "control": curve_errors(shuffled["network"]["curve"]),
    }
    stems = [stem(word.word) for word in words]
    make = partial(row, name="network", sources="real", seed=seed)
    eq = partial(make, groups=stems, metric="RMSE, standardised", protocol=PROTOCOL)
    room = partial(make, protocol=ROOM, metric="MAE of the unit range")
    truth = _settings(rooms)
    mean = (truth.sum(0) - truth) / (len(truth) - 1)
    control = shuffled["network"]["reverb"]
    rows = [
        eq(curve_errors(answers["first guess"]["curve"]), name="first guess"),
        eq(curve_errors(answers["network"]["curve"]), beside=beside),
        eq(curve_errors(answer(model, words, "curve")), protocol=SEEN),
        room(
            np.abs(answers["network"]["reverb"] - truth).mean(1),
            groups=[stem(word.word) for word in rooms],
            beside={
                "prior": np.abs(mean - truth).mean(1),
                "control": np.abs(control - truth).mean(1),
            },
        ),
    ]
    recordings = []
    for name in _REAL_FOLDERS if real_data_dir() else ():
        for file in sorted((real_data_dir() / name).glob("*"))[:1]:
            audio, rate = read_audio(file, max_seconds=_SECONDS)
            recordings.append((to_mono(audio).astype(np.float32), rate))
    for kind, clips in (("sampled", [load_phrase(phrase_names()[0])]), ("real", recordings)):
        if clips:
            right = [correlations(model, words, audio, rate) > 0 for audio, rate in clips]
            rows.append(
                make(
                    np.concatenate(right),
                    groups=stems * len(clips),
                    protocol=RENDERED,
                    metric="right direction",
                    sources=kind,
                    beside={"chance": 0.5},
                )
            )
    return rows


def fixed_score(model: TextToEffects) -> dict[str, float]:
    """Mean error of the EQ curves of the words seen in training, as in `score`."""
    return {SEEN: round(float(curve_errors(answer(model, data.test_words(), "curve")).mean()), 4)}


def _settings(words: Sequence[Word]) -> np.ndarray:
    return np.array([word.settings for word in words])


def curve_errors(curves: np.ndarray) -> np.ndarray:
    """(62,) RMSE of (62, 40) curves for `test_words` in standard deviations, times agreement."""
    words = data.test_words()
    agreement = np.array([word.agreement for word in words])
    rmse = np.sqrt((((curves - _settings(words)) / data.band_spread()) ** 2).mean(1))
    return agreement / agreement.mean() * rmse


def baselines() -> dict[str, np.ndarray]:
    """(62, 40) curves for `test_words`: flat, mean of the others, lexicon, nearest other curve."""
    words = data.test_words()
    truth = _settings(words)
    distance = (((truth[:, None] - truth[None]) / data.band_spread()) ** 2).mean(2)
    np.fill_diagonal(distance, np.inf)
    return {
        "flat": np.zeros_like(truth),
        "mean": (truth.sum(0) - truth) / (len(truth) - 1),
        "lexicon alone": np.array([wanted_eq_db(parse(w.word)) for w in words]) / data.DB_PER_UNIT,
        "nearest curve": truth[distance.argmin(1)],
    }


@torch.no_grad()
def answer(model: TextToEffects, words: Sequence[Word], target: str) -> np.ndarray:
    """(n, values) a target of bare words, each with the same unseen sound at -20 dBFS."""
    prompts = [word.word.replace("-", " ") for word in words]
    batch = encode_prompts(prompts, model.config.net.sentences)
    log_mel = data.sounds(model.config, "test", 1)["log_mel"].expand(len(words), -1, -1)
    level_db = torch.full((len(words),), -20.0)
    settings = model({**batch, "log_mel": log_mel, "level_db": level_db}).hard()
    curve = target == "curve"
    values = shape_of(settings.eq_curve_db()) if curve else settings.units[target]
    return values.double().numpy()


def held_out(
    config: Config = QUICK, *, seed: int, shuffled: bool = False
) -> dict[str, dict[str, np.ndarray]]:
    """Every word answered by a network that was trained on the other folds.

    Args:
        shuffled: give each training sentence another one's settings: the control.

    Returns:
        ``"first guess"`` or ``"network"`` -> ``"curve"`` of `test_words`, ``"reverb"`` of
        `room_words`.
    """
    asked = {"curve": data.test_words(), "reverb": data.room_words()}
    rows = [e for e in data.examples(config, n_pairs=0) if asked.keys() & e.targets.keys()]
    table = data.table_of(rows, config.net.sentences)
    if shuffled:
        table = _shuffled(table, seed)
    audio = data.sounds(config, "train", 24)
    loss = loss_of(torch.from_numpy(data.band_spread()).float())
    found = {
        name: {target: np.zeros_like(_settings(words)) for target, words in asked.items()}
        for name in ("first guess", "network")
    }
    for fold in range(data.N_FOLDS):
        kept = taught_rows(rows, fold)
        part = {name: column[kept] for name, column in table.items()}
        model = build(config.but(seed=seed + fold))
        fit_first_guess(model, part)
        for name, answers in found.items():
            if name == "network":
                dataset = data.Examples(model.config, part, audio)
                with TemporaryDirectory() as folder:
                    fit(model, dataset, loss, model.config.plan, folder)
            model.cpu().eval()
            for target, words in asked.items():
                places = [k for k, word in enumerate(words) if data.fold_of(word.word) == fold]
                answers[target][places] = answer(model, [words[k] for k in places], target)
    return found


def taught_rows(rows: Sequence[data.Example], fold: int) -> list[int]:
    """Indices of the examples that share no part of a word with what the fold is asked."""
    asked = [word.word for word in (*data.test_words(), *data.room_words())]
    held = frozenset().union(*(parts(word) for word in asked if data.fold_of(word) == fold))
    return [
        k
        for k, e in enumerate(rows)
        if not any(data.fold_of(word) == fold or parts(word) & held for word in e.words)
    ]


def _shuffled(table: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """The same sentences, each with the target of another one of its kind."""
    mixed = dict(table)
    for target in ("curve", "reverb"):
        known = table[f"{target}_weight"].nonzero()[:, 0]
        order = torch.from_numpy(generator(seed, "shuffled text", target).permutation(len(known)))
        for name in (target, f"{target}_weight"):
            mixed[name] = table[name].clone()
            mixed[name][known] = table[name][known[order]]
    return mixed


def band_levels_db(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """(40,) dB: the power of (samples,) in a third of an octave around each of `BANDS_HZ`."""
    padded = np.pad(audio, (0, -len(audio) % _BLOCK)).reshape(-1, _BLOCK)
    power = np.square(np.abs(np.fft.rfft(padded * np.hanning(_BLOCK)))).sum(0)
    hz = np.fft.rfftfreq(_BLOCK, 1 / sample_rate)
    inside = [(hz > band / _HALF_WIDTH) & (hz < band * _HALF_WIDTH) for band in BANDS_HZ]
    return np.array([10 * np.log10(power[bins].sum() + 1e-9) for bins in inside])


def correlations(
    model: TextToEffects, words: Sequence[Word], audio: np.ndarray, sample_rate: int
) -> np.ndarray:
    """(n,) correlation of the change of a sound's spectrum with people's curve, for each word.

    Over the bands of `audio` (1, samples) that hold sound.
    """
    before = band_levels_db(audio[0], sample_rate)
    audible = before > before.max() - _SILENT_DB
    found = []
    for word in words:
        board = predict(model, audio, sample_rate, word.word).preset.board(sample_rate)
        change = band_levels_db(board(audio, sample_rate)[0], sample_rate) - before
        found.append(np.corrcoef(change[audible], word.settings[audible])[0, 1])
    return np.array(found)
