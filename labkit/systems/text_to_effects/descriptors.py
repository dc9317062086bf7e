"""People's settings for words: the crowd data of SocialFX and Audealize, read where they lie and never shipped."""

import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from labkit.signal.paths import real_data_dir
from labkit.systems.text_to_effects.response import BANDS_HZ

# sha256 of the files as they were published; `MANIFEST.csv` beside them says where.
FILES = {
    "audealize_eqdescriptors.json": "640c196665e251b72df9e199ead06dfa1f352a5f09de28de2de7e1e8f9fb7353",
    "audealize_reverbdescriptors.json": "fb43b029a57c6e4db9f0ede13be91a9e57de5b03d3255c4c359adf16b8b97fe1",
    "socialfx_comp.csv": "c67a24228cb54d444b231a577fc411b89dfa453a5fafdb921902fd7a480cd2c7",
    "socialfx_reverb.csv": "994c83c8b286497624d30a4c4a0b78170a9797d6d3234a9a9c264a5cd86919bf",
}
MIN_CONTRIBUTORS = 5
MIN_LISTENERS = 15
N_FOLDS = 4
REVERB_KNOBS = ("room_size", "pre_delay_ms", "diffusion", "damping", "wet")
_SUFFIX = re.compile(r"(ing|ed|er|est|ness|ful|ous|y|s|e)$")


@dataclass(frozen=True)
class Word:
    """What people set when they were told a word.

    Attributes:
        word: lower case.
        settings: (40,) curve in standard deviations of one's own curve, or (5,) knobs of a reverberator in 0..1.
        agreement: of the contributors, 0..1.
        n: contributors.
    """

    word: str
    settings: np.ndarray
    agreement: float
    n: int


def stem(word: str) -> str:
    """The word without a common ending: bright, brighter and brightness are one word for a fair split."""
    return _SUFFIX.sub("", word.lower())


def fold_of(word: str) -> int:
    """0 to 3, by the word's stem alone, so that bright and brighter fall together."""
    return int(hashlib.sha256(stem(word).encode()).hexdigest(), 16) % N_FOLDS


@cache
def parts(word: str) -> frozenset[str]:
    """The stems of a word and of what it is put together from: *big-church* is about *church* too."""
    return frozenset({stem(word), *(stem(part) for part in re.split(r"[-\s]+", word) if part)})


def folder() -> Path:
    """Where the descriptors lie.

    Raises:
        FileNotFoundError: if they are not here, with how to get them.
    """
    found = real_data_dir()
    if found is None or not (found / "descriptors" / next(iter(FILES))).is_file():
        raise FileNotFoundError(
            "people's settings for words are not here: put the published files of Audealize and SocialFX, "
            f"{', '.join(FILES)}, into a folder descriptors and set LABKIT_REAL_DATA to the folder above it"
        )
    return found / "descriptors"


def _text(name: str) -> str:
    raw = (folder() / name).read_bytes()
    if hashlib.sha256(raw).hexdigest() != FILES[name]:
        raise ValueError(
            f"{name} is not the file that was published: its sha256 differs from {FILES[name][:12]}..."
        )
    return raw.decode()


@cache
def eq_words() -> tuple[Word, ...]:
    """All English words with an EQ curve, in alphabetical order.

    Raises:
        FileNotFoundError: as `folder`.
        ValueError: if a file is another one than was published.
    """
    rows = json.loads(_text("audealize_eqdescriptors.json"))
    return tuple(_words(rows, lambda row: np.array(row["settings"])))


@cache
def reverb_words() -> tuple[Word, ...]:
    """All English words with a reverb setting, in alphabetical order; knobs in 0..1, in the order of `REVERB_KNOBS`.

    The reverberator's delay, gain, modulation, cutoff and effect share stand for pre-delay, size, diffusion, damping
    and wet share; each is scaled by its own range. Raises as `eq_words`.
    """
    rows = json.loads(_text("audealize_reverbdescriptors.json"))
    return tuple(_words(rows, lambda row: _reverb_unit(*row["settings"][:5])))


@cache
def heard_rooms(at_least: int = MIN_LISTENERS) -> tuple[Word, ...]:
    """What was playing when listeners wrote a word, or agreed with somebody else's: the mean over these settings.

    The 256 settings were dealt out by chance, so a mean says what the word is for; the published setting of a word
    (`reverb_words`) is one of about 120, and whoever knows what its own listeners heard guesses it no better.

    Args:
        at_least: listeners of a word.

    Returns:
        English words in alphabetical order, knobs as in `reverb_words` but for the share of effect, which these
        settings give as a ratio and which is taken in its logarithm; `agreement` is the share of those asked who
        agreed. Raises as `eq_words`.
    """
    heard: dict[str, list[np.ndarray]] = {}
    refused: dict[str, int] = {}
    for row in csv.DictReader(_text("socialfx_reverb.csv").splitlines()):
        if row["language"] == "English":
            unit = _heard_unit(*(float(row[name]) for name in ("d_s", "g", "m_s", "f_hz", "E")))
            for word in _listed(f"{row['rawwords']},{row['agreed']}"):
                heard.setdefault(word, []).append(unit)
            for word in _listed(row["didnotagree"]):
                refused[word] = refused.get(word, 0) + 1
    return tuple(
        Word(
            word,
            np.mean(units, axis=0),
            len(units) / (len(units) + refused.get(word, 0)),
            len(units),
        )
        for word, units in sorted(heard.items())
        if len(units) >= at_least
    )


def _listed(words: str) -> set[str]:
    found = {word.strip().lower() for word in words.split(",")} - {"none of the above"}
    return {word for word in found if re.search("[a-z]", word)}


def _heard_unit(
    delay_s: float, feedback: float, modulation_s: float, cutoff_hz: float, ratio: float
) -> np.ndarray:
    effect = np.log(max(ratio, 0.3) / 0.3) / np.log(2700.0 / 0.3)
    return _reverb_unit(delay_s, feedback, modulation_s, cutoff_hz, effect)


def _reverb_unit(
    delay_s: float, feedback: float, modulation_s: float, cutoff_hz: float, effect: float
) -> np.ndarray:
    damping = 1 - np.log(max(cutoff_hz, 20.0) / 20.0) / np.log(22050.0 / 20.0)
    knobs = [feedback, delay_s / 0.1, abs(modulation_s) / 0.012, damping, effect]
    return np.clip(np.array(knobs, dtype=np.float64), 0.0, 1.0)


def _words(rows: list[dict], settings: Callable[[dict], np.ndarray]) -> Iterator[Word]:
    english = (row for row in rows if row["lang"] == "English")
    for row in sorted(english, key=lambda row: row["word"]):
        yield Word(row["word"].lower(), settings(row), float(row["agreement"]), int(row["num"]))


@dataclass(frozen=True)
class Dynamics:
    """What people heard in compressor settings, as the mean over those who agreed with a word.

    Attributes:
        word: lower case.
        squeeze_db: by how much the threshold lies below -18 dB, at least 0.
        ratio, attack_ms, release_ms: the other knobs.
        n: agreements.
    """

    word: str
    squeeze_db: float
    ratio: float
    attack_ms: float
    release_ms: float
    n: int


@cache
def compressor_words(at_least: int = 5) -> tuple[Dynamics, ...]:
    """Words that at least so many listeners agreed with, alphabetical. Raises as `eq_words`."""
    heard: dict[str, list[tuple[float, ...]]] = {}
    for row in csv.DictReader(_text("socialfx_comp.csv").splitlines()):
        words = {
            word.strip().lower()
            for word in f"{row['rawwords'] or ''},{row['agreed'] or ''}".split(",")
        }
        try:
            knobs = tuple(float(row[k]) for k in ("threshold_db", "ratio", "attack_s", "release_s"))
        except (TypeError, ValueError):
            continue  # a few rows are short of columns
        for word in words - {"", "none of the above"}:
            heard.setdefault(word, []).append(knobs)
    found = []
    for word in sorted(heard):
        if len(heard[word]) >= at_least:
            threshold, ratio, attack, release = np.median(np.array(heard[word]), axis=0)
            squeeze = max(0.0, -18.0 - threshold)
            found.append(
                Dynamics(word, squeeze, ratio, 1000 * attack, 1000 * release, len(heard[word]))
            )
    return tuple(found)


def test_words() -> tuple[Word, ...]:
    """The words of the protocol: English, an EQ curve by at least five contributors."""
    return tuple(word for word in eq_words() if word.n >= MIN_CONTRIBUTORS)


def band_spread() -> np.ndarray:
    """(40,) standard deviation over all English words at each band: the unit of the protocol."""
    curves = np.array([word.settings for word in eq_words()])
    assert curves.shape[1] == len(BANDS_HZ)
    return curves.std(0, ddof=1)
