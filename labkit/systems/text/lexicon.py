"""What words mean: `lexicon.txt`, the tables of `words.toml`, and the forms of a word."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

# The lexicon gives equaliser gains at these frequencies.
ANCHORS_HZ = (60.0, 200.0, 600.0, 2000.0, 5000.0, 12000.0)
_LONGEST_SLIP = 20  # letters; the longest known word has 16


@dataclass(frozen=True)
class Meaning:
    """What a word asks for; zeros and None ask for nothing. Units as in `lexicon.txt`."""

    eq_db: tuple[float, ...] = (0.0,) * len(ANCHORS_HZ)
    room: tuple[float, ...] | None = None
    compressor: tuple[float, ...] | None = None
    semitones: float = 0.0
    drive_db: float = 0.0
    colour: float = 0.0

    @property
    def has_tone(self) -> bool:
        """Whether it asks for the equaliser."""
        return any(self.eq_db)


@dataclass(frozen=True)
class Item:
    """One word that a sentence asks for."""

    word: str
    meaning: Meaning
    weight: float = 1.0  # signed degree; below 0 asks for the opposite
    relative: bool = False  # moves the present settings ("brighter"), or names a sound ("bright")
    off: bool = False  # the effect must go ("no reverb")

    @property
    def told(self) -> str:
        """What was understood."""
        return "off" if self.off else f"{self.word} {self.weight:+.1f}{' more' * self.relative}"


@cache
def words() -> dict[str, Any]:
    """The tables of `words.toml`: texts of many words as sets of them, patterns compiled."""
    told = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
    told |= {name: frozenset(text.split()) for name, text in told.pop("small").items()}
    for name in ("degrees", "strengths", "counts", "band_names", "spellings", "not_here"):
        told[name] = {w: key for key, names in told[name].items() for w in names.split()}
    macros = told.pop("macros")
    named = re.compile("|".join(macros))

    def whole(pattern: str) -> re.Pattern:
        return re.compile(named.sub(lambda found: macros[found[0]], pattern))

    told["pedal_names"] = {w: p for p, row in told["pedals"].items() for w in row["names"].split()}
    for name in ("degrees", "strengths", "counts"):
        told[name] = {word.replace("-", " "): float(x) for word, x in told[name].items()}
    for name in ("plain", "idioms"):
        lines = [line.split(" => ") for line in told[name]["rules"].strip().splitlines()]
        told[name] = [(whole(old), new.replace("~", " ")) for old, new in lines]
    number = r"([-+]?\d+(?:\.\d+)?)"
    told["quantities"]["kinds"] = [
        (kind, re.compile(re.sub("^N|(?<=[?])N", lambda _: number, pattern)), scale)
        for kind, pattern, scale in told["quantities"]["kinds"]
    ]
    told["recipes"] = [
        row | {"names": re.compile(rf"\b(?:{row['names']})(?![\w-])")} for row in told["recipes"]
    ]
    told["tunings"] = {name: whole(text) for name, text in told["tunings"].items()}
    told["complaints"] = {name: whole(text) for name, text in told["complaints"].items()}
    return told


@cache
def vocabulary() -> dict[str, Meaning]:
    """Word -> what it asks for: `lexicon`, and the timbres of `words.toml`."""
    later = {
        word: Meaning(tuple(map(float, eq_db)))
        for names, eq_db in words()["timbres"].items()
        for word in names.split()
    }
    driven = {word: replace(later[word], drive_db=12.0, colour=0.2) for word in words()["driven"]}
    known = later | driven | lexicon()
    # A band by any of its names ("top") is that band ("treble").
    return {word: known[words()["band_names"][word]] for word in words()["parts"]} | known


@cache
def lexicon() -> dict[str, Meaning]:
    """Word -> what it asks for, from `lexicon.txt`; words of a compound are joined by hyphens."""
    facts: dict[str, dict[str, Any]] = {}
    for line in Path(__file__).with_name("lexicon.txt").read_text().splitlines():
        if line.startswith("["):
            fields = line.strip("[]").split()
        elif line and not line.startswith("#"):
            names, numbers = line.split(":")
            values = tuple(map(float, numbers.split()))
            for word in names.split():
                known = facts.setdefault(word, {})
                # One field holds all numbers of a line, or each field holds one.
                found = zip(fields, values if len(fields) == len(values) else [values], strict=True)
                known.update({name: value for name, value in found if name not in known})
    return {word: Meaning(**known) for word, known in facts.items()}


def stem(word: str) -> str:
    """The word without a common ending: bright, brighter and brightness have one stem."""
    return re.sub(r"(ing|ed|er|est|ness|ful|ous|y|s|e)$", "", word.lower())


def _without(word: str, endings: str) -> Iterator[str]:
    """The word without the endings that it has; "ier:y" puts a y there, and "bigg" is "big"."""
    for ending, _, put in (told.partition(":") for told in endings.split()):
        if word.endswith(ending) and (len(word) > 3 or not ending):  # "dr" and "dre" are not dry
            plain = word.removesuffix(ending) + put
            yield plain
            if len(plain) > 3 and plain[-1] == plain[-2]:
                yield plain[:-1]


@cache
def entry_of(word: str) -> tuple[str, bool] | None:
    """The entry behind a word, and whether it is a comparative ("brighter", "brighten")."""
    known = vocabulary()
    if word not in words()["not_comparative"]:
        for plain in _without(word, "er er:e ier:y en"):
            if plain in known:
                return plain, True
    for plain in _without(word, ": s iness:y ness ly ish :y e:y est iest:y y ed"):
        if len(plain) > 2 and plain in known:
            return plain, False
    return None


@cache
def _table_words() -> frozenset[str]:
    tables = (table for name, table in words().items() if name not in ("no_slips", "foreign"))
    return frozenset().union(*(table for table in tables if isinstance(table, frozenset | dict)))


@cache
def _is_known(word: str) -> bool:
    """Whether any table has the word, or an entry behind it."""
    return word in _table_words() or bool(entry_of(word) or verb(word))


@cache
def mended(word: str) -> str:
    """A known word that is one slip of the keyboard away from an unknown one, or the word.

    English words of `no_slips` are no slips, although a known word is near: "though", "living".
    """
    no_slip = word in words()["no_slips"] | words()["foreign"] or not word.isascii()
    if not 4 <= len(word) <= _LONGEST_SLIP or no_slip or _is_known(word):
        return word
    cuts = [(word[:k], word[k:]) for k in range(1, len(word))]  # the first letter stays
    tried = [a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1]
    letters = "abcdefghijklmnopqrstuvwxyz"
    if len(word) == 5:  # a letter is lacking: "warmr"
        tried += [a + c + b for a, b in [*cuts, (word, "")] for c in letters]
    elif len(word) > 5:
        tried += [a + b[1:] for a, b in cuts]
        tried += [a + c + b[k:] for a, b in cuts for c in letters for k in (0, 1)]
    wanted = _is_known if len(word) > 4 else words()["more"].__contains__  # "mroe", not "moon"
    return next(filter(wanted, tried), word)


@cache
def verb(word: str) -> int:
    """1 for boost, boosting and boosted, -1 for cut and the like, else 0."""
    for plain in _without(word, ": s ing ing:e ed ed:e"):
        if plain in words()["more"] or plain in words()["less"]:
            return 1 if plain in words()["more"] else -1
    return 0


def way(word: str) -> int:
    """1 for a word that says more or up, -1 for one that says less or down, else 0."""
    return verb(word) or (word in words()["up"]) - (word in words()["down"])
