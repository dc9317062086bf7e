"""People's settings for words (Audealize and SocialFX), and the training examples made of them."""

import csv
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from labkit.signal.paths import cache_dir, real_data_dir
from labkit.signal.seeds import generator
from labkit.signal.sources import load_phrase, phrase_names
from labkit.systems.text.grammar import parse
from labkit.systems.text.lexicon import stem, vocabulary
from labkit.systems.text.model import Config, encode_prompts, spectrogram
from labkit.systems.text.preset import BANDS_HZ, SPACES, Band, Preset, response_db
from labkit.systems.text.settings import preset_of

# Read where they lie; they do not ship.
FILES = ("audealize_eqdescriptors.json", "socialfx_reverb.csv")
MIN_CONTRIBUTORS, MIN_LISTENERS, N_FOLDS = 5, 15, 4
# From so many contributors on, people's settings correct the lexicon.
MIN_TRUSTED = 10
# Names of presets that say nothing of their sound.
_JUNK = {"bastard", "boost", "drum 1", "jammy", "kickclean", "love, thick, honks", "re27", "test1"}
_JUNK |= {"time"}
_TEMPLATES = ("{}", "make it sound {}", "a {} sound")
# One standard deviation of people's curves, which have no level, in dB.
DB_PER_UNIT = 6.0
_N_PAIRS = 200
_PAIR_TEMPLATES = ("{} and {}", "{} but {}", "a {}, {} sound")
# People say nothing of the levels of a compressor, and were not asked for pitch and drive.
_BY_LEXICON = ("pitch", "distortion", "compressor")
# What an example may know: an EQ curve in standard deviations of one's own, and effects in units.
TARGETS = {"curve": len(BANDS_HZ), **{name: len(space) for name, space in SPACES.items()}}


@dataclass(frozen=True)
class Word:
    """What people set for a word."""

    word: str  # lower case
    settings: np.ndarray  # (40,) curve in standard deviations of one's own, or knobs in 0..1
    agreement: float  # of the contributors, 0..1
    n: int  # contributors


def fold_of(word: str) -> int:
    """0 to 3, by the word's stem."""
    return int(hashlib.sha256(stem(word).encode()).hexdigest(), 16) % N_FOLDS


@cache
def parts(word: str) -> frozenset[str]:
    """The stems of a word and of its parts: *big-church* is about *church* too."""
    return frozenset({stem(word), *(stem(part) for part in re.split(r"[-\s]+", word) if part)})


def find(name: str) -> Path | None:
    """A file of `FILES` below LABKIT_REAL_DATA, or as `labkit data get audealize` left it."""
    real, fetched = real_data_dir(), cache_dir() / "datasets" / "audealize"
    places = [fetched / name.removeprefix("audealize_")]
    places += [real / "descriptors" / name] if real else []
    return next((path for path in reversed(places) if path.is_file()), None)


def _read(name: str) -> str:
    path = find(name)
    if path is None:
        get = "" if name != FILES[0] else "run `labkit data get audealize --accept-licence`, or "
        raise FileNotFoundError(
            f"people's settings for words ({name}) are not here: {get}put the file into a folder "
            "descriptors and set LABKIT_REAL_DATA to the folder above it"
        )
    return path.read_text()


@cache
def eq_words() -> tuple[Word, ...]:
    """All English words with an EQ curve, in alphabetical order.

    Raises FileNotFoundError where the files are not here, with how to get them.
    """
    rows = json.loads(_read("audealize_eqdescriptors.json"))
    english = [row for row in rows if row["lang"] == "English"]
    found = []
    for row in sorted(english, key=lambda row: row["word"]):
        word, settings = row["word"].lower(), np.array(row["settings"])
        found.append(Word(word, settings, float(row["agreement"]), int(row["num"])))
    return tuple(found)


@cache
def room_words() -> tuple[Word, ...]:
    """Rooms: the mean over the random settings for which listeners wrote a word or agreed with it.

    Knobs of a preset's reverb in 0..1; English words of 15 listeners or more. Raises as `eq_words`.
    """
    agreed, refused = defaultdict(list), Counter()
    for row in csv.DictReader(_read("socialfx_reverb.csv").splitlines()):
        if row["language"] == "English":
            for word in _listed(f"{row['rawwords']},{row['agreed']}"):
                agreed[word].append(_room_unit(row))
            refused.update(_listed(row["didnotagree"]))
    return tuple(
        Word(word, np.mean(units, axis=0), len(units) / (len(units) + refused[word]), len(units))
        for word, units in sorted(agreed.items())
        if len(units) >= MIN_LISTENERS
    )


@cache
def studio_words() -> dict[str, np.ndarray]:
    """Word -> (n, 40) dB, n >= 2: equalisers that people saved in a studio with that word (SAFE).

    Half of the corpus, on which nothing is trained. Raises as `eq_words`.
    """
    found = defaultdict(list)
    names = ("low_shelf", "b1", "b2", "b3", "high_shelf")
    for row in csv.DictReader(_read("safe_equaliser_half.csv").splitlines()):
        kinds = ("low_shelf", "bell", "bell", "bell", "high_shelf")
        bands = [
            Band(
                kind,
                float(np.clip(float(row[f"{name}_hz"]), 20, 18000)),
                float(row[f"{name}_gain_db"]),
                float(np.clip(float(row.get(f"{name}_q") or 0.71), 0.3, 6)),
            )
            for kind, name in zip(kinds, names, strict=True)
        ]
        found[row["descriptor"].strip().lower()].append(response_db(bands, np.array(BANDS_HZ)))
    kept = {word: np.array(curves) for word, curves in sorted(found.items()) if len(curves) > 1}
    return {word: curves for word, curves in kept.items() if word not in _JUNK}


def _listed(words: str) -> set[str]:
    found = {word.strip().lower() for word in words.split(",")} - {"none of the above"}
    return {word for word in found if re.search("[a-z]", word)}


def _room_unit(row: dict[str, str]) -> np.ndarray:
    names = ("d_s", "g", "m_s", "f_hz", "E")
    delay_s, feedback, modulation_s, cutoff_hz, ratio = (float(row[name]) for name in names)
    damping = 1 - np.log(max(cutoff_hz, 20.0) / 20.0) / np.log(22050.0 / 20.0)
    wet = np.log(max(ratio, 0.3) / 0.3) / np.log(2700.0 / 0.3)
    # In the order of a preset's reverb: size, pre-delay, diffusion, damping, wet share.
    knobs = [feedback, delay_s / 0.1, abs(modulation_s) / 0.012, damping, wet]
    return np.clip(np.array(knobs), 0.0, 1.0)


def test_words() -> tuple[Word, ...]:
    """The words of the exam: those with an EQ curve by at least five contributors."""
    return tuple(word for word in eq_words() if word.n >= MIN_CONTRIBUTORS)


def band_spread() -> np.ndarray:
    """(40,) standard deviation over all English words at each band: the unit of errors."""
    return np.array([word.settings for word in eq_words()]).std(0, ddof=1)


@dataclass(frozen=True)
class Example:
    """A sentence and what is known of its settings."""

    prompt: str
    words: tuple[str, ...]  # what it is about; a split by word looks here
    targets: dict[str, np.ndarray]  # name in `TARGETS` -> values
    weight: float  # in the loss


def examples(config: Config, *, without: frozenset[str] = frozenset()) -> list[Example]:
    """Every sentence to learn from, but those about words whose stems are in `without`.

    People's words, then pairs of them, then the lexicon's for the other effects. Raises as
    `eq_words`.
    """
    curves = [word for word in eq_words() if not parts(word.word) & without]
    made = []
    for k, word in enumerate(curves):
        prompts = (word.word, _TEMPLATES[k % len(_TEMPLATES)].format(word.word))
        weight = word.agreement * word.n / (word.n + 2.0)
        for prompt in dict.fromkeys(prompts):
            made.append(Example(prompt, (word.word,), {"curve": word.settings}, weight))
    for word in room_words():
        if not parts(word.word) & without:
            targets, weight = {"reverb": word.settings}, word.n / (word.n + 20.0)
            made.append(Example(word.word.replace("-", " "), (word.word,), targets, weight))
    rng = generator(config.plan.seed, "pairs of words")
    trusted = [word for word in curves if word.n >= 3]
    for _ in range(_N_PAIRS if len(trusted) > 1 else 0):
        first, second = (trusted[i] for i in rng.choice(len(trusted), 2, replace=False))
        template = _PAIR_TEMPLATES[rng.integers(len(_PAIR_TEMPLATES))]
        # The sum of two curves would overstate the pair.
        targets = {"curve": 0.7 * (first.settings + second.settings)}
        words = (first.word, second.word)
        made.append(Example(template.format(*words), words, targets, 0.3))
    for word in vocabulary():
        if not parts(word) & without:
            preset = preset_of(parse(word))
            targets = {name: SPACES[name].to_unit(getattr(preset, name)) for name in _BY_LEXICON}
            idle = all(getattr(preset, name) == getattr(Preset(), name) for name in _BY_LEXICON)
            made.append(Example(word.replace("-", " "), (word,), targets, 0.2 if idle else 1.0))
    return made


def by_people(rows: Sequence[Example]) -> list[Example]:
    """Those about one word that people taught."""
    return [e for e in rows if len(e.words) == 1 and {"curve", "reverb"} & e.targets.keys()]


def taught_rows(rows: Sequence[Example], fold: int) -> list[int]:
    """Indices of the examples that share no part of a word with what the fold is asked."""
    asked = [word.word for word in (*test_words(), *room_words())]
    held = frozenset().union(*(parts(word) for word in asked if fold_of(word) == fold))

    def refused(word: str) -> bool:
        return fold_of(word) == fold or bool(parts(word) & held)

    return [k for k, row in enumerate(rows) if not any(refused(word) for word in row.words)]


def table_of(rows: Sequence[Example], sentences: str = "minilm") -> dict[str, Tensor]:
    """All examples as one batch: `encode_prompts`, targets and their weights (0: unknown)."""
    table = encode_prompts([row.prompt for row in rows], sentences)
    for name, size in TARGETS.items():
        table[name] = torch.zeros(len(rows), size)
        table[f"{name}_weight"] = torch.zeros(len(rows))
    for k, row in enumerate(rows):
        for name, values in row.targets.items():
            table[name][k] = torch.from_numpy(values)
            table[f"{name}_weight"][k] = row.weight
    return table


def sounds(config: Config, split: str, n: int) -> dict[str, Tensor]:
    """Spectrograms and levels of dry audio: `log_mel` (n, f, m) and `level_db` (n,).

    Crops of the shipped phrases, with random tilts; ``"train"`` and ``"test"`` differ in phrases.
    """
    names = phrase_names()
    chosen = names[1:] if split == "train" else names[:1]
    mels, levels = [], []
    for k in range(n):
        rng = generator(config.plan.seed, "sounds", split, k)
        audio, rate = load_phrase(chosen[k % len(chosen)])
        samples = round(config.sound.seconds * rate)
        start = int(rng.integers(max(1, audio.shape[1] - samples)))
        sound = replace(config.sound, sample_rate=rate)
        mel, _ = spectrogram(audio[:, start : start + samples], sound)
        slope = torch.linspace(-1, 1, sound.n_mels) * float(rng.uniform(-0.6, 0.6))
        mels.append(mel + slope)
        levels.append(float(rng.uniform(-45.0, -10.0)))
    return {"log_mel": torch.stack(mels), "level_db": torch.tensor(levels)}


class Examples(Dataset):
    """Sentences, each with a sound: item i is drawn from the seed and i alone."""

    def __init__(self, config: Config, table: dict[str, Tensor], sounds: dict[str, Tensor]) -> None:
        self.config, self.table, self.sounds = config, table, sounds

    def __len__(self) -> int:
        return self.config.plan.steps * self.config.plan.batch_size

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        net, rng = self.config.net, generator(self.config.plan.seed, "lesson", index)
        row = int(rng.integers(len(self.table["curve"])))
        sound = int(rng.integers(len(self.sounds["level_db"])))
        item = {name: column[row] for name, column in self.table.items()}
        dropped, noise = rng.random(), rng.standard_normal(item["hints"].shape)
        # Some sentences lose their hints, others their pieces, none both.
        item["hints_mask"] = item["hints_mask"] & (dropped >= net.hint_dropout)
        item["pieces_mask"] = item["pieces_mask"] & (dropped < 1 - net.piece_dropout)
        item["hints"] = item["hints"] + net.hint_noise * torch.from_numpy(noise).float()
        shift_db = float(rng.uniform(-10, 10))
        item["level_db"] = (self.sounds["level_db"][sound] + shift_db).clamp(-60, -6)
        item["log_mel"] = self.sounds["log_mel"][sound]
        return item
