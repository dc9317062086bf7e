"""A sentence as settings: figures with units, words of the lexicon, pedals and named sounds."""

import math
import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from labkit.systems.text.preset import (
    BAND,
    BANDS_HZ,
    PEDALS,
    SPACES,
    Band,
    Preset,
    clipped,
    fitted_gains_db,
    response_db,
)

# The lexicon gives equaliser gains at these frequencies.
ANCHORS_HZ = (60.0, 200.0, 600.0, 2000.0, 5000.0, 12000.0)
_RELATIVE_STEP = 0.6  # of "more" and of comparatives, in the unit of a whole word
_MAX_DEGREE = 2.5  # however often "very" is written
_MAX_EQ_DB = 14.0
# The lexicon exaggerates, by as much as two corpora of people's settings say.
STRENGTH = 0.6
_UNSAID_DB = 4.0  # of "boost 3 kHz", which says no amount
_BELL_Q = 2.0  # of a bell whose width is not said: an octave away 1 dB is left of 6
_COMB_S = 0.0306  # mean length of the reverb's comb filters


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


@dataclass(frozen=True)
class Figure:
    """One setting that a sentence states: a knob of an effect, a pedal, or a band."""

    said: str  # as it is told back
    effect: str  # in `SPACES` or `PEDALS`, or "eq"
    knobs: Mapping[str, float]  # values; none takes the pedal away
    bands: tuple[Band, ...] = ()
    at_hz: float = 0.0  # where the band's gain is met; 0: the bands are passes
    relative: bool = False  # values are factors of the present ones


@dataclass(frozen=True)
class Reading:
    """What a sentence was understood to say."""

    items: tuple[Item, ...]
    figures: tuple[Figure, ...]
    plan: tuple[tuple[str, str], ...]  # what was read, and as what, in order
    missed: tuple[str, ...]  # what cannot be done, and why


@cache
def words() -> dict[str, Any]:
    """The tables of `words.toml`; a text of many words is a set of them."""
    told = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
    small = {name: frozenset(text.split()) for name, text in told["small"].items()}
    lines = [line.split(" => ") for line in told["idioms"]["rules"].strip().splitlines()]
    return told | {
        "small": small,
        "idioms": [(re.compile(old), new.replace("~", " ")) for old, new in lines],
        "degrees": {w: float(x) for x, names in told["degrees"].items() for w in names.split()},
        "band_names": {
            w: band for band, names in told["band_names"].items() for w in names.split()
        },
        "pedal_names": {w: p for p, row in told["pedals"].items() for w in row["names"].split()},
        "not_here": {w: name for name, names in told["not_here"].items() for w in names.split()},
    }


@cache
def vocabulary() -> dict[str, Meaning]:
    """Word -> what it asks for: `lexicon`, and the timbres of `words.toml`."""
    later = {
        word: Meaning(tuple(map(float, eq_db)))
        for names, eq_db in words()["timbres"].items()
        for word in names.split()
    }
    drives = {"rock": 12.0, "punk": 12.0}
    later |= {word: replace(later[word], drive_db=db, colour=0.2) for word, db in drives.items()}
    return later | lexicon()


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


@cache
def _base(word: str) -> tuple[str, bool] | None:
    """The entry behind a word, and whether it is a comparative ("brighter", "brighten")."""
    known = vocabulary()
    comparative = word.endswith(("er", "en")) and word not in ("chamber", "over", "open", "even")
    for ending, put in (("er", ""), ("er", "e"), ("ier", "y"), ("en", "")) if comparative else ():
        plain = word.removesuffix(ending) + put
        single = plain[:-1] if len(plain) > 2 and plain[-1] == plain[-2] else plain
        for tried in (plain, single):
            if word.endswith(ending) and tried in known:
                return tried, True
    endings = ("", ""), ("s", ""), ("iness", "y"), ("ness", ""), ("ly", ""), ("ish", "")
    for ending, put in (*endings, ("", "y"), ("est", ""), ("iest", "y"), ("y", ""), ("ed", "")):
        tried = word.removesuffix(ending) + put
        if len(tried) > 2 and word.endswith(ending) and tried in known:
            return tried, False
    return None


# Text to tokens

_N = r"([-+]?\d+(?:\.\d+)?)"
_SMALL = "one two three four five six seven eight nine ten eleven twelve"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_COUNTS = {word: float(k) for k, word in enumerate(_SMALL.split(), start=1)}
_COUNTS |= {word: 10.0 * k for k, word in enumerate(_TENS.split(), start=2)}
_COUNTS |= {"a": 1, "an": 1, "a couple of": 2, "a few": 3, "half a": 0.5, "half an": 0.5}
_UNIT = r"(?:db|decibel|hz|hertz|khz|percent|%|ms|millisec|sec|semi|half|whole|octave|cent|tone)"
_STRETCH, _NOTES = "(dotted |triplet )?", "(?:[- ]notes?)?( triplets?)?"
# Kind of a quantity, its pattern, and what one unit is worth.
_QUANTITIES = [
    (kind, re.compile(pattern), scale)
    for kind, pattern, scale in (
        ("era", r"(?:19)?[5-9]0'?s\b", 1),
        ("ratio", r"(\d+(?:\.\d+)?) ?(?::|to) ?1\b", 1),
        ("slope", rf"{_N} ?(?:db|decibels?) ?(?:/|per|an?) ?oct\w*", 1),
        ("range", rf"{_N} ?(k?)(?:hz)? ?(?:-|to) ?(\d+(?:\.\d+)?) ?(khz|k|hz|hertz)\b", 1),
        ("hz", rf"{_N} ?(?:khz|k|kilohertz|kiloherz)\b", 1000),
        ("hz", rf"{_N} ?(?:hz|hertz|herz|cycles)\b", 1),
        ("db", rf"{_N} ?(?:dbs?|decibels?)\b", 1),
        ("share", rf"{_N} ?(?:%|percent\b|per cent\b)", 0.01),
        ("seconds", rf"{_N} ?(?:ms|msecs?|millis\w*)\b", 0.001),
        ("seconds", rf"{_N} ?(?:s|secs?|seconds?)\b", 1),
        ("bpm", rf"(?:tempo (?:of )?)?{_N} ?bpm\b", 1),
        ("semitones", rf"{_N}? ?(?:semitones?|semis?|st|half[- ]?(?:steps?|tones?))\b", 1),
        ("semitones", rf"{_N}? ?(?:whole[- ]?(?:steps?|tones?))\b", 2),
        ("semitones", rf"{_N}? ?quarter[- ]?tones?\b", 0.5),
        ("semitones", rf"{_N}? ?octaves?\b(?!-)", 12),
        ("semitones", rf"{_N} ?(?:cents?|ct)\b", 0.01),
        ("interval", r"(?:perfect )?(minor[- ]third|major[- ]third|fourth|fifth|tritone)\b", 1),
        ("beats", rf"{_STRETCH}(quarter|eighth|sixteenth|8th|16th|1/4|1/8|1/16)\b{_NOTES}", 1),
        ("beats", rf"{_STRETCH}(half|1/2)[- ]notes?\b( triplets?)?", 1),
        ("number", rf"{_N}(?!\w|-[a-z])", 1),
    )
]  # fmt: skip
_BEATS = {"half": 2.0, "quarter": 1.0, "eighth": 0.5, "sixteenth": 0.25}
_BEATS |= {"1/2": 2.0, "1/4": 1.0, "1/8": 0.5, "1/16": 0.25, "8th": 0.5, "16th": 0.25}
_WORD = re.compile(r"@\d+|[^\W_][\w'/]*(?:-[\w']+)*")


@dataclass
class _Token:
    text: str
    kind: str = "word"  # or "mark", or a kind of `_QUANTITIES`
    value: float = 0.0
    other: float = 0.0  # the upper end of a range
    used: bool = False  # by a figure


def _normal(prompt: str) -> str:
    """Lower case, plain signs, decimals with a point, counts of units as numbers, no emoji."""
    text = unicodedata.normalize("NFKC", prompt).lower().replace("kilohertz", "khz")
    text = re.sub("[\u2212\u2010-\u2013\ufe63](?= ?\\d)", "-", text)
    text = re.sub("[\u2012-\u2015]", " , ", text)
    text = text.replace("\u2019", "'").replace("`", "'").replace("@", " at ").replace("&", " and ")
    text = re.sub(r"\bw/o\b", "without", text)
    text = re.sub(r"\bw/", "with ", text)
    text = re.sub("[\u2192|()\\[\\]]", " , ", text)
    kept = (c if c.isalnum() or c in " '-+.,;:!?%/" else " " for c in text)
    text = " ".join("".join(kept).split())
    text = re.sub(r"(\d),(?=\d{3}(?!\d))", r"\1", text)  # 1,000
    text = re.sub(r"(\d),(?=\d)", r"\1.", text)  # 2,5
    text = re.sub(r"(?<![\d.])\.(?=\d)", "0.", text)
    text = re.sub(r"\bhalf (?:a )?(?:step|tone)\b", "1 semitone", text)
    text = re.sub(r"\bbetween ([\d.]+ ?(?:k|hz|khz)?) and (?=\d)", r"\1 to ", text)
    text = re.sub(r"(?<!and )\ba half[- ](?=step|tone|semitone)", "half-", text)

    def counted(found: re.Match) -> str:
        return f"{_COUNTS[found[1]] + (0.5 if found[2] else 0):g} "

    names = "|".join(sorted(_COUNTS, key=len, reverse=True))
    text = re.sub(rf"\b({names})( and a half)?[- ](?={_UNIT})", counted, text)
    text = re.sub(r"\b(?:minus|negative) (?=\d)", "-", text)
    text = re.sub(r"\bplus (?=\d)", "+", text)
    text = re.sub(r"(^|[a-z:,] )([-+]) (?=\d)", r"\1\2", text)
    return text


def _tokens(text: str) -> list[_Token]:
    """Quantities, words (those of a known compound joined by a hyphen) and marks."""
    found: list[_Token] = []
    told, known = words(), vocabulary()
    joined = {*known, *told["band_names"], *told["pedal_names"], *told["not_here"]}
    joined |= {"low-pass", "high-pass", "band-pass", "low-shelf", "high-shelf", "pre-delay"}
    place = 0
    while place < len(text):
        for kind, pattern, scale in _QUANTITIES:
            at_start = place == 0 or not text[place - 1].isalnum()
            if at_start and (match := pattern.match(text, place)):
                found.append(_quantity(kind, match, scale))
                place = match.end()
                break
        else:
            if match := _WORD.match(text, place):
                for word in _parts(match[0], joined):
                    if found and f"{found[-1].text}-{word}" in joined:
                        found[-1].text = f"{found[-1].text}-{word}"
                    else:
                        found.append(_Token(word))
                place = match.end()
            else:
                if text[place] in ",;:.!?":
                    found.append(_Token(text[place], "mark"))
                place += 1
    return found


def _parts(word: str, joined: set[str]) -> list[str]:
    plain = {"lowpass": "low-pass", "lpf": "low-pass", "lp": "low-pass", "bandpass": "band-pass"}
    plain |= {"highpass": "high-pass", "hipass": "high-pass", "hpf": "high-pass", "hp": "high-pass"}
    plain |= {"hi-pass": "high-pass", "lopass": "low-pass", "predelay": "pre-delay"}
    word = plain.get(word, word)
    return [word] if word in joined or _base(word) else [part for part in word.split("-") if part]


def _quantity(kind: str, found: re.Match, scale: float) -> _Token:
    if kind == "era":
        return _Token(found[0].replace("'", ""))
    if kind == "interval":
        return _Token(found[0], "semitones", words()["pitch_names"][found[1].replace(" ", "-")])
    if kind == "beats":
        stretch = 1.5 if found[1] == "dotted " else 2 / 3 if found[1] or found[3] else 1.0
        return _Token(found[0], kind, _BEATS[found[2]] * stretch)
    value = float(found[1] or 1) * scale
    if kind == "range":
        upper = 1000 if found[4].startswith("k") else 1
        lower = 1000 if found[2] or (upper == 1000 and value < float(found[3])) else 1
        return _Token(found[0], "hz", value * lower, float(found[3]) * upper)
    return _Token(found[0], kind, value)


_SUBJECT = r"(?:(?:my|the|this|that|these|those|our) [a-z]+(?: [a-z]+)?|it|this|that|everything)"
_CLAUSE = r"(?:^|(?<=[,.;:!?] )|(?<=\bbut )|(?<=\bbecause )|(?<=\band )|(?<=\bi think ))"
_ADVERBS = (
    "(?:(?:just|so|really|very|pretty|rather|quite|kind of|sort of|a bit|a little|way|still) )*"
)
_COMPLAINT = re.compile(
    rf"{_CLAUSE}{_SUBJECT} ?(?:'s|is|are|sounds|sound|feels|seems|comes out|came out|"
    rf"(?P<no>isn't|aren't|doesn't sound)) {_ADVERBS}(?P<not>not )?{_ADVERBS}"
    rf"(?P<like>like (?:an? |the )?)?"
    rf"(?!too |more |less |an? |the |for |in )(?=[a-z])(?![a-z]+ enough)"
)
_BARE_COMPLAINT = re.compile(r"^(?:sounds?|feels?) (?:like (?:an? |the )?)?(?!too )")
_REQUEST = re.compile(
    r"[,.;:!?]|\b(?:but|make|fix|please|want|need|remove|clean|dry|help|less|more|add)\b"
)


def _complaints(text: str) -> str:
    """What is complained of becomes "less": "it sounds like a cave, make it dry"."""

    def less(found: re.Match) -> str:
        if "like" in found[0] and not _REQUEST.search(text, found.end()):
            return found[0]
        no = "no" in found.groupdict() and (found["no"] or found["not"])
        return "more " if no else "less "

    text = _COMPLAINT.sub(less, text)
    if _REQUEST.search(text.partition(" ")[2]):
        text = _BARE_COMPLAINT.sub("less ", text)
    return text


# Quantities to figures

_UP = frozenset(["up", "higher", "louder", "above", "upwards", "hotter"])
_DOWN = frozenset(
    [
        "down",
        "lower",
        "quieter",
        "softer",
        "below",
        "off",
        "back",
        "deeper",
        "under",
        "flat",
        "flatter",
        "downwards",
        "out",
    ]
)
_JOINS = frozenset([",", "and", "or"])
_SEPARATORS = _JOINS | frozenset(
    [";", ".", "!", "?", "but", "then", "yet", "plus", "also", "with", "while"]
) - {"with"}
_KNOBS = {
    "threshold": ("compressor", "threshold_db"), "attack": ("compressor", "attack_ms"),
    "release": ("compressor", "release_ms"), "ratio": ("compressor", "ratio"),
    "mix": ("", "mix"), "wet": ("", "mix"), "feedback": ("delay", "feedback"),
    "repeats": ("delay", "feedback"), "rate": ("chorus", "rate_hz"), "speed": ("chorus", "rate_hz"),
    "depth": ("chorus", "depth"), "pre-delay": ("reverb", "pre_delay_ms"),
    "decay": ("reverb", "room_size"), "rt60": ("reverb", "room_size"),
    "tail": ("reverb", "room_size"), "size": ("reverb", "room_size"),
    "damping": ("reverb", "damping"), "drive": ("distortion", "drive_db"),
}  # fmt: skip
_FILTERS = {"low-pass": "lowpass", "high-pass": "highpass", "band-pass": "both", "notch": "notch"}
_FILTERS |= {"hum": "notch", "shelf": "shelf", "low-shelf": "low_shelf", "high-shelf": "high_shelf"}
_LEVELS = frozenset(
    [
        "volume",
        "level",
        "output",
        "loudness",
        "gain",
        "louder",
        "quieter",
        "softer",
        "overall",
        "everything",
        "it",
    ]
)


def _verb(word: str) -> int:
    """1 for boost, boosting and boosted, -1 for cut and the like, else 0."""
    small = words()["small"]
    for ending, put in (("", ""), ("s", ""), ("ing", ""), ("ing", "e"), ("ed", ""), ("ed", "e")):
        plain = word.removesuffix(ending) + put
        single = plain[:-1] if len(plain) > 3 and plain[-1] == plain[-2] else plain
        if word.endswith(ending):
            for tried in (plain, single):
                if tried in small["more"] or tried in small["less"]:
                    return 1 if tried in small["more"] else -1
    return 0


@dataclass
class _Frame:
    """Part of a sentence that may state one setting."""

    tokens: list[_Token] = field(default_factory=list)
    join: bool = False  # whether a comma or "and" stands before it

    def get(self, kind: str) -> _Token | None:
        return next((t for t in self.tokens if t.kind == kind and not t.used), None)

    def word(self, names: Any) -> str | None:
        return next((t.text for t in self.tokens if t.kind == "word" and t.text in names), None)

    @property
    def sign(self) -> int:
        """-1 where a word says less or down, 1 where one says more or up, else 0."""
        found = [t.text for t in self.tokens if t.kind == "word"]
        if any(_verb(w) < 0 or w in _DOWN for w in found):
            return -1
        return int(any(_verb(w) > 0 or w in _UP for w in found))

    @property
    def negated(self) -> bool:
        return bool(self.word(words()["small"]["not"]))

    @property
    def band(self) -> str | None:
        return self.word(words()["band_names"])

    @property
    def effect(self) -> str:
        """The effect that is named, in `SPACES` or `PEDALS`, or ""."""
        for token in self.tokens:
            entry = _base(token.text) if token.kind == "word" else None
            meaning = vocabulary()[entry[0]] if entry else Meaning()
            if pedal := words()["pedal_names"].get(token.text):
                return pedal
            if token.text == "echo" and (self.get("seconds") or self.get("beats")):
                return "delay"
            if meaning.room and not meaning.has_tone:
                return "reverb"
            if entry and (entry[0] in words()["small"]["drive"] or entry[0] == "distorted"):
                return "distortion"
            if meaning.compressor and not meaning.has_tone:
                return "compressor"
        return ""

    def complete(self) -> bool:
        """Whether an amount has found what it is an amount of."""
        amount = any(map(self.get, ("db", "share", "ratio", "semitones", "seconds", "bpm")))
        about = self.get("hz") or self.band or self.effect or self.word(_KNOBS)
        passes = self.word(("low-pass", "high-pass", "band-pass"))
        return bool((amount and about) or (self.get("hz") and passes) or self.get("semitones"))


def _frames(tokens: Sequence[_Token]) -> list[_Frame]:
    """Parts with at most one quantity of a kind each."""
    nouns = {*words()["band_names"], *words()["pedal_names"], *_FILTERS, *_KNOBS}
    nouns |= {"compressor", "compression", "reverb"}
    frames, before = [_Frame()], None
    for token in tokens:
        now, counted = frames[-1], sum(t.kind not in ("word", "mark") for t in frames[-1].tokens)
        verb = token.kind == "word" and token.text not in _UP | _DOWN and _verb(token.text)
        starts = verb or (token.kind == "word" and token.text in nouns)
        # "350 ms delay with 40 % feedback": the knob follows its amount.
        follows = counted > 1 and before.kind not in ("word", "mark") and token.text in _KNOBS
        about = verb or now.band or now.effect or now.word(_KNOBS)
        repeated = token.kind not in ("word", "mark", "slope") and now.get(token.kind)
        parts = token.text in _SEPARATORS or (token.text == "with" and now.complete())
        if parts and token.kind in ("word", "mark"):
            frames.append(_Frame(join=token.text in _JOINS))
        elif repeated or (starts and about and now.complete() and not follows):
            frames.append(_Frame([token], join=True))
        else:
            now.tokens.append(token)
        before = token
    return [frame for frame in frames if frame.tokens]


@dataclass
class _Figures:
    """Turns the frames of a sentence into figures; marks the tokens that it used."""

    frames: list[_Frame]
    found: list[Figure] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    effect: str = ""  # the last one that was named

    def run(self) -> None:
        for frame, after in zip(self.frames, [*self.frames, None][1:], strict=True):
            # "100 Hz and 5 kHz by 3 dB", "bass and treble up 3 dB": the amount is of both.
            about = (
                frame.get("hz") or (frame.band and frame.sign == 0) or (frame.band and frame.sign)
            )
            if about and after and after.join and after.get("db") and not frame.get("db"):
                same_sort = bool(after.get("hz") or after.band)
                if same_sort and not frame.word(_FILTERS) and not (after.sign and frame.sign):
                    given = after.get("db")
                    frame.tokens.append(_Token(given.text, "db", given.value))
                    frame.tokens += [
                        t for t in after.tokens if _verb(t.text) or t.text in _UP | _DOWN
                    ]
        before = None
        for frame in self.frames:
            if before and frame.join and frame.get("hz") and not frame.sign:
                given = next((t for t in before.tokens if t.kind == "db"), None)
                if given and not frame.get("db") and not frame.word(_FILTERS) and not frame.effect:
                    frame.tokens.append(_Token(given.text, "db", given.value))
                frame.tokens += [t for t in before.tokens if t.kind == "word" and _verb(t.text)]
            self.read(frame)
            before = frame

    def read(self, frame: _Frame) -> None:
        self.effect = frame.effect or self.effect
        quantities = [t for t in frame.tokens if t.kind not in ("word", "mark") and not t.used]
        if frame.negated and quantities and (frame.sign or frame.get("db")):
            said = " ".join(t.text for t in frame.tokens)
            self.missed.append(f"{said}: is not asked for, so nothing is done")
            self.use(frame.tokens)
            return
        shape = _FILTERS.get(frame.word(_FILTERS) or "", "")
        if shape in ("lowpass", "highpass") and not quantities and not frame.negated:
            hz = 5000.0 if shape == "lowpass" else 100.0
            self.missed.append(f"{shape}: no frequency is said, so {hz:g} Hz is taken")
            self._pass(frame, shape, hz, hz)
        for kind in (
            "semitones",
            "ratio",
            "beats",
            "bpm",
            "seconds",
            "share",
            "hz",
            "db",
            "number",
        ):
            token = frame.get(kind)
            if token and not token.used:
                getattr(self, f"_{kind}")(frame, token)

    def use(self, tokens: Sequence[_Token]) -> None:
        for token in tokens:
            token.used = True

    def put(self, said: str, effect: str, **options: Any) -> None:
        """A figure within the ranges of its knobs, or a refusal in words."""
        space = SPACES.get(effect) or PEDALS.get(effect)
        for name, value in options.get("knobs", {}).items() if not options.get("relative") else ():
            knob = space[name]
            if not knob.low - 1e-9 <= value <= knob.high + 1e-9:
                ends = f"{knob.low:g} to {knob.high:g} {knob.unit}".strip()
                self.missed.append(f"{said}: {effect} {name} reaches {ends}, so it is left out")
                return
        for band in options.get("bands", ()):
            if abs(band.gain_db) > BAND["gain_db"].high:
                self.missed.append(f"{said}: a band reaches 18 dB either way, so it is left out")
                return
        self.found.append(Figure(said, effect, **{"knobs": {}} | options))

    def _semitones(self, frame: _Frame, token: _Token) -> None:
        down = frame.sign < 0 or token.value < 0 or bool(frame.word(("detune", "detuned")))
        before = self.found[-1] if self.found else None
        if not frame.sign and token.text[:1] not in "+-" and before and before.effect == "pitch":
            down = before.knobs["semitones"] < 0  # "down two semitones and 30 cents"
        size = -abs(token.value) if down else token.value
        names = {"pitch", "transpose", "transposed", "tune", "detune", "key", "shift"}
        self.use([t for t in frame.tokens if t is token or t.text in names])
        self.use([t for t in frame.tokens if _verb(t.text) or t.text in _UP | _DOWN])
        self.put(f"pitch {size:+g} semitones", "pitch", knobs={"semitones": size})

    def _ratio(self, _frame: _Frame, token: _Token) -> None:
        self.use([token])
        self.put(f"ratio {token.value:g}:1", "compressor", knobs={"ratio": token.value})

    def _beats(self, frame: _Frame, token: _Token) -> None:
        tempos = [t for other in self.frames for t in other.tokens if t.kind == "bpm"]
        bpm = tempos[0].value if tempos else 120.0
        if not tempos:
            self.missed.append(f"{token.text}: no tempo is given, so 120 bpm is taken")
        self.use([token, *tempos])
        self._delay_of(
            frame, max(60 / max(bpm, 1e-3) * token.value, 0.0), f"{token.text} at {bpm:g} bpm"
        )

    def _bpm(self, frame: _Frame, token: _Token) -> None:
        notes = [t for other in self.frames for t in other.tokens if t.kind == "beats"]
        if not notes and "delay" in (frame.effect, self.effect):
            self.use([token])
            self._delay_of(frame, 60 / max(token.value, 1e-3), f"a quarter at {token.value:g} bpm")

    def _delay_of(self, frame: _Frame, seconds: float, said: str) -> None:
        self.use([t for t in frame.tokens if t.text in ("echo", "echoes", "delay")])
        knobs = {"delay_seconds": seconds}
        self.put(f"delay {1000 * seconds:.0f} ms ({said})", "delay", knobs=knobs)

    def _seconds(self, frame: _Frame, token: _Token) -> None:
        knob = frame.word(
            [k for k, (_, n) in _KNOBS.items() if n.endswith("_ms") or n == "room_size"]
        )
        effect, name = _KNOBS.get(knob, (frame.effect or self.effect, ""))
        self.use([token, *(t for t in frame.tokens if t.text == knob)])
        seconds = token.value
        if effect == "reverb" and name != "pre_delay_ms":
            # The combs' feedback that decays by 60 dB in that time, as a room size.
            size = (10 ** (-3 * _COMB_S / max(seconds, 1e-3)) - 0.7) / 0.28
            low, high = (-3 * _COMB_S / math.log10(0.7 + 0.28 * end) for end in (0, 1))
            if not low <= seconds <= high:
                told = f"reverb of {seconds:g} s: it reaches {low:.1f} to {high:.0f} s"
                self.missed.append(f"{told}, so it is left out")
            else:
                self.put(f"reverb {seconds:g} s", "reverb", knobs={"room_size": size})
        elif name.endswith("_ms"):
            self.put(f"{knob} {1000 * seconds:g} ms", effect, knobs={name: 1000 * seconds})
        elif effect == "delay" or not effect:
            self._delay_of(frame, seconds, token.text)
        else:
            self.missed.append(f"{token.text}: not clear of what")

    def _share(self, frame: _Frame, token: _Token) -> None:
        knob = frame.word(_KNOBS)
        effect = frame.effect or self.effect or ("reverb" if knob in ("wet", "mix") else "")
        if knob and knob not in ("mix", "wet", "drive"):
            owner, name = _KNOBS[knob]
            owner = effect if effect in PEDALS and name in PEDALS[effect].names else owner
            self.use([token, *(t for t in frame.tokens if t.text == knob)])
            self.put(f"{owner} {knob} {token.text}", owner, knobs={name: token.value})
            return
        named = next((t for t in frame.tokens if t.kind == "word" and _base(t.text)), None)
        is_word = named and not frame.effect and knob is None
        if is_word:  # "50 % brighter": a degree
            token.kind, token.used = "degree", False
            frame.tokens.remove(token)
            return
        names = {"reverb": "wet", "distortion": "drive_db", "compressor": None}
        name = names.get(
            effect, "mix" if effect in PEDALS and "mix" in PEDALS[effect].names else None
        )
        if name is None:
            token.kind = "degree"
            return
        relative = frame.sign != 0 or bool(
            re.search(r"er\b", frame.word(("wetter", "drier")) or "")
        )
        value = token.value * (SPACES[effect][name].high if name == "drive_db" else 1.0)
        self.use([token, *(t for t in frame.tokens if t.text in ("mix", "wet"))])
        if relative and frame.sign < 0:
            self.use([t for t in frame.tokens if t.kind == "word"])
            knobs = {name: 1 - token.value}
            self.put(f"{effect} {token.text} less", effect, knobs=knobs, relative=True)
        else:
            self.put(f"{effect} {token.text}", effect, knobs={name: value})

    def _hz(self, frame: _Frame, token: _Token) -> None:
        shape = _FILTERS.get(frame.word(_FILTERS) or "", "")
        gain, low, high = frame.get("db"), token.value, token.other or token.value
        edge = frame.word(("above", "over", "past", "beyond", "below", "under", "beneath"))
        upper = edge in ("above", "over", "past", "beyond")
        knobs = {"chorus", "phaser"} & {frame.effect or (self.effect if frame.word(_KNOBS) else "")}
        if not 20 <= low <= high <= 18000 and not knobs:
            self.missed.append(f"{token.text}: bands lie between 20 and 18000 Hz")
            self.use(frame.tokens)
            return
        if knobs:
            self.use([token, *(t for t in frame.tokens if t.text in ("rate", "speed"))])
            (pedal,) = knobs
            self.put(f"{pedal} at {token.text}", pedal, knobs={"rate_hz": token.value})
            return
        if not shape and edge and frame.sign < 0 and gain is None:
            shape = "lowpass" if upper else "highpass"
        elif (not shape or shape == "shelf") and edge and gain is not None:
            shape = "high_shelf" if upper else "low_shelf"
        elif shape == "shelf":
            shape = "high_shelf" if low > 1000 else "low_shelf"
        if shape in ("lowpass", "highpass", "both"):
            self._pass(frame, shape, low, high)
            return
        amount = self._amount(frame, gain)
        if amount is None and shape == "notch":
            amount = -BAND["gain_db"].high
        if amount is None and (frame.sign or frame.negated):
            degree = words()["degrees"].get(frame.word(words()["degrees"]) or "", 1.0)
            amount = (-1 if frame.negated else frame.sign) * _UNSAID_DB * degree
        if amount is None:
            self.missed.append(
                f"{token.text}: by how much is not said, as in +4 dB at {token.text}"
            )
            self.use([token])
            return
        centre, q = math.sqrt(low * high), 6.0 if shape == "notch" else _BELL_Q
        if token.other > low:
            q = clipped(BAND["q"], centre / (high - low))
        said_q = next((t for t in frame.tokens if t.kind == "number" and frame.word(("q",))), None)
        q = clipped(BAND["q"], said_q.value) if said_q else q
        kind = shape if shape in ("low_shelf", "high_shelf") else "bell"
        at_hz = {"low_shelf": max(20.0, centre / 4), "high_shelf": min(18000.0, 4 * centre)}
        if edge and kind != "bell":  # the whole gain from the edge on
            centre = clipped(BAND["frequency_hz"], centre * (0.7 if upper else 1.4))
        band = (
            Band(kind, centre, amount, 0.7 if kind != "bell" else q) if abs(amount) <= 18 else None
        )
        if band is None:
            self.missed.append(
                f"{amount:+g} dB: a band reaches 18 dB either way, so it is left out"
            )
            self.use(frame.tokens)
            return
        self.put(f"{amount:+g} dB at {_hz_text(token)}" + (f" ({shape})" if shape else ""),
                 "eq", bands=(band,), at_hz=at_hz.get(kind, centre))  # fmt: skip
        self.use([t for t in frame.tokens if t.kind != "mark"])

    def _pass(self, frame: _Frame, shape: str, low: float, high: float) -> None:
        slope = frame.get("slope")
        poles = max(1, min(6, round(abs(slope.value) / 6))) if slope else 2
        bands: list[Band] = []
        for kind, hz in (("highpass", low), ("lowpass", high)):
            if shape in (kind, "both"):
                # Each pole has -3 dB at its frequency; a bell leaves -3 dB of all, as Butterworth.
                bands += [Band(kind, hz, 0.0, 0.7)] * poles
                bands += [Band("bell", hz, 3.0 * (poles - 1), 0.8)] * (poles > 1)
        named = {"lowpass": f"low-pass {high:g} Hz", "highpass": f"high-pass {low:g} Hz"}
        said = named.get(shape, f"band-pass {low:g} to {high:g} Hz")
        self.put(f"{said}, {6 * poles} dB an octave", "eq", bands=tuple(bands))
        known = [t for t in frame.tokens if t.kind == "word" and not _base(t.text)]
        self.use([t for t in frame.tokens if t.kind not in ("word", "mark")] + known)

    def _amount(self, frame: _Frame, gain: _Token | None) -> float | None:
        if gain is None:
            numbers = [t for t in frame.tokens if t.kind == "number"]
            if not (numbers and frame.sign and abs(numbers[-1].value) <= 18) or frame.word(("q",)):
                return None
            gain = numbers[-1]
        self.use([gain])
        return -abs(gain.value) if frame.sign < 0 else gain.value

    def _db(self, frame: _Frame, token: _Token) -> None:
        numbers = [t for t in frame.tokens if t.kind == "number" and 20 <= t.value <= 18000]
        if numbers and not frame.effect:  # "cut 300 by 6 dB"
            numbers[0].kind = "hz"
            self._hz(frame, numbers[0])
            return
        knob, effect, band = frame.word(_KNOBS), frame.effect, frame.band
        amount = self._amount(frame, token)
        if knob == "threshold":
            self.use([t for t in frame.tokens if t.text == knob])
            value = -abs(token.value)
            self.put(f"threshold {value:g} dB", "compressor", knobs={"threshold_db": value})
        elif effect == "distortion":
            self.put(f"drive {amount:g} dB", "distortion", knobs={"drive_db": amount})
        elif effect in ("reverb", "delay") and amount <= 0:
            share = 10 ** (amount / 20)
            name = "wet" if effect == "reverb" else "mix"
            self.put(f"{effect} {amount:g} dB", effect, knobs={name: share})
        elif band:
            kind, hz, q, at_hz = words()["bands"][words()["band_names"][band]]
            said = f"{amount:+g} dB of {band}"
            if abs(amount) > BAND["gain_db"].high:
                self.missed.append(f"{said}: a band reaches 18 dB either way, so it is left out")
            else:
                bands = (Band(kind, float(hz), amount, q),)
                self.put(said, "eq", bands=bands, at_hz=float(at_hz))
            self.use([t for t in frame.tokens if t.kind != "mark"])
        else:
            self.use([t for t in frame.tokens if t.text in _LEVELS or _verb(t.text)])
            self.use([t for t in frame.tokens if t.text in _UP | _DOWN])
            self.put(f"level {amount:+g} dB", "gain", knobs={"gain_db": amount})

    def _number(self, frame: _Frame, token: _Token) -> None:
        shape, knob = frame.word(_FILTERS), frame.word(_KNOBS)
        if shape and 20 <= token.value <= 18000:
            token.kind = "hz"
            self._hz(frame, token)
        elif knob == "ratio":
            self._ratio(frame, token)
        elif knob and _KNOBS[knob][1].endswith("_ms"):
            token.value /= 1000
            self._seconds(frame, token)
        elif knob == "threshold":
            self._db(frame, token)
        elif frame.effect == "delay" and token.value >= 20:
            token.value /= 1000
            self._seconds(frame, token)
        elif frame.sign and token.value >= 20 and not frame.effect:
            token.kind = "hz"
            self._hz(frame, token)
        elif frame.word(("pitch", "transpose", "transposed")) and abs(token.value) <= 24:
            self._semitones(frame, token)
        else:
            self.use([token])
            self.missed.append(f"{token.text}: a number without a unit")


def _hz_text(token: _Token) -> str:
    low = f"{token.value:g}"
    return f"{low} to {token.other:g} Hz" if token.other else f"{low} Hz"


# Words to items


def read(prompt: str, *, names: bool = True) -> Reading:
    """What a sentence asks for: words, stated figures, and what it asks for in vain.

    A degree counts for the next word. A negation, `more` or `less` holds over a list, "less harsh,
    muddy and thin", of words that are all timbres or all effects; what follows a lone comma, a
    comparative, a degree or another negation stands for itself: "less reverb, brighter". `not`,
    `without` and `no` before an effect switch it off, before a timbre they ask for half its
    opposite; `too bright` is `less bright`.

    Args:
        names: whether named sounds ("brown sound", "telephone") stand for their recipes.

    Raises:
        ValueError: if the prompt holds neither letters nor a quantity.
    """
    text = _normal(prompt)
    if _is_foreign(text):
        told = "the words are not English, and only English is understood here"
        return Reading((), (), ((prompt, told),), (told,))
    text = _complaints(text)
    for pattern, plain in words()["idioms"]:
        text = pattern.sub(plain, text)
    heard: dict[str, str] = {}  # the names of sounds
    for k, recipe in enumerate(words()["recipes"] if names else ()):
        pattern = re.compile(rf"\b(?:{recipe['names']})(?![\w-])")
        if found := pattern.search(text):
            heard[f"@{k}"] = found[0]
            text = pattern.sub(f"@{k}", text)
    tokens = _tokens(text)
    figures = _Figures(_frames(tokens))
    figures.run()
    if not re.search(r"[^\W\d_]", prompt) and not figures.found:
        raise ValueError(f"prompt must hold words, got {prompt!r}")
    said = _Words([t for t in tokens if not t.used], heard)
    said.run()
    told = [(figure.said, "figure") for figure in figures.found]
    # What is stated stands above what a named sound brings.
    found = (*said.figures, *figures.found)
    missed = (*figures.missed, *said.missed)
    items = tuple(dict.fromkeys(said.items))
    return Reading(items, found, (*told, *said.plan), tuple(dict.fromkeys(missed)))


def parse(prompt: str) -> list[Item]:
    """The words of `read` alone, named sounds as the lexicon has them."""
    return list(read(prompt, names=False).items)


def _is_foreign(text: str) -> bool:
    """Whether more words of a sentence are of other languages than of English."""
    found, small = re.findall(r"[^\W\d_']+", text), words()["small"]
    other = sum(word in small["foreign"] or not word.isascii() for word in found)
    known = small["filler"] | small["more"] | small["less"] | words()["degrees"].keys()
    return other > sum(word in known and word not in small["foreign"] for word in found)


@dataclass
class _Words:
    """What holds for the words that are still to come, and what was found."""

    tokens: list[_Token]
    heard: Mapping[str, str]
    items: list[Item] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    plan: list[tuple[str, str]] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    degree: float = 1.0
    speed: float = 1.0
    direction: int = 0
    negated: bool = False
    listed: bool = False  # whether a comma or an "and" continues a list
    effect: bool = False  # whether the last word was an effect

    def run(self) -> None:
        small, degrees = words()["small"], words()["degrees"]
        before = None
        for place, token in enumerate(self.tokens):
            word, entry, ahead = token.text, _base(token.text), self.tokens[place + 1 :]
            now = None
            if word in small["ends"] or word in (",", "and"):
                in_list = word == "," and _closes_a_list(ahead)
                self.separate(listed=word == "and" or in_list)
            elif token.kind == "degree":
                self.degree = token.value
            elif token.kind != "word":
                continue
            elif word.startswith("@"):
                self.recipe(words()["recipes"][int(word[1:])], self.heard[word])
            elif word in small["not"]:
                self.end_list()
                self.negated = True
            elif word in degrees and (entry is None or _names_next(ahead)):
                self.end_list()
                self.degree = min(_MAX_DEGREE, self.degree * degrees[word])
            elif word in ("slow", "slowly", "fast", "quick"):
                self.speed = 0.5 if word.startswith("slow") else 2.0
            elif before and self._follows(word) and not _names_next(ahead):
                self.turn(before, _verb(word) or (1 if word in _UP else -1))
            elif _verb(word) and (entry is None or word in ("lower", "soften")):
                self.end_list()
                self.direction = _verb(word)
            elif word in words()["pedal_names"]:
                self.pedal(words()["pedal_names"][word])
            elif entry is not None:
                now = len(self.items), entry, self.degree
                self.items += self.asked(*entry)
                self.plan += [(word, _told(item)) for item in self.items[now[0] :]]
            elif word in words()["not_here"]:
                self.missed.append(f"{words()['not_here'][word]}: a preset has no such effect")
            elif word not in small["filler"] and word not in _UP | _DOWN:
                self.plan.append((word, "not understood"))
            before = now or (before if word in degrees else None)

    def _follows(self, word: str) -> bool:
        """Whether a word may turn the one before it, as in "bass cut" and "treble up"."""
        free = self.direction == 0 and not self.negated
        return free and (_verb(word) != 0 or word in ("up", "down", "out", "off"))

    def turn(self, before: tuple, direction: int) -> None:
        place, entry, degree = before
        del self.items[place:], self.plan[len(self.plan) - 1 :]
        self.direction, self.degree = direction, degree
        self.items += self.asked(*entry)
        self.plan += [(entry[0], _told(item)) for item in self.items[place:]]
        self.direction = 0

    def recipe(self, recipe: Mapping[str, str], name: str) -> None:
        if self.negated or self.direction < 0:
            self.missed.append(f"{name}: a named sound cannot be taken away")
            return
        found = read(recipe["says"], names=False)
        self.items += found.items
        self.figures += found.figures
        self.plan.append((name, f"{recipe['says']} (after {recipe['source']})"))
        self.degree = 1.0

    def pedal(self, name: str) -> None:
        knobs = dict(words()["pedals"][name]["knobs"])
        if self.negated or self.direction < 0:
            less = {"mix": 0.5} if "mix" in knobs and not self.negated else {}
            figure = Figure(f"less {name}" if less else f"no {name}", name, less, relative=True)
        elif self.direction > 0 and "mix" in knobs and self.degree == self.speed == 1.0:
            figure = Figure(f"more {name}", name, {"mix": 1.4}, relative=True)
        else:
            if "mix" in knobs:
                knobs["mix"] = min(0.9, knobs["mix"] * self.degree**0.5)
            if "rate_hz" in knobs:
                knobs["rate_hz"] *= self.speed
            figure = Figure(name, name, knobs)
        self.figures.append(figure)
        self.plan.append((figure.said, "pedal"))
        self.degree, self.speed = 1.0, 1.0

    def separate(self, *, listed: bool) -> None:
        self.degree, self.listed = 1.0, listed
        if not listed:
            self.direction, self.negated = 0, False

    def end_list(self) -> None:
        if self.listed:
            self.direction, self.negated, self.listed = 0, False, False

    def asked(self, word: str, comparative: bool) -> list[Item]:
        """The item of an entry, and the one that a move towards it takes away."""
        known = vocabulary()
        effect = not known[word].has_tone or word in words()["small"]["drive"]
        if comparative or effect != self.effect:
            self.end_list()
        relative = comparative or self.direction != 0
        if self.negated and not relative:
            item = Item(word, known[word], -0.5 * self.degree, off=effect)
        else:
            opposite = (self.direction < 0) != self.negated
            item = Item(word, known[word], -self.degree if opposite else self.degree, relative)
        self.degree, self.listed, self.effect = 1.0, False, effect
        other = words()["opposites"].get(word)
        if item.relative and other:
            return [item, Item(other, known[other], -item.weight, relative=True)]
        return [item]


def _told(item: Item) -> str:
    return "off" if item.off else f"{item.word} {item.weight:+.1f}{' more' * item.relative}"


def _names_next(ahead: Sequence[_Token]) -> bool:
    """Whether the next word that is no filler names a sound."""
    for token in ahead:
        if token.kind != "word" or token.text in _SEPARATORS:
            return False
        if _base(token.text) or token.text in words()["pedal_names"]:
            return True
        if token.text not in words()["small"]["filler"] and token.text not in words()["degrees"]:
            return False
    return False


def _closes_a_list(ahead: Sequence[_Token]) -> bool:
    """Whether an "and" or "or" comes before anything that ends a list."""
    small = words()["small"]
    ends = small["ends"] | small["not"] | small["more"] | small["less"] | {"and", "or"}
    return next((t.text in ("and", "or") for t in ahead if t.text in ends), False)


# Settings


def wanted_eq_db(items: Sequence[Item]) -> np.ndarray:
    """(40,) dB at `BANDS_HZ`: the sum of what the items ask for, at most 14 dB either way.

    Timbres that are named together overlap, so that n of them count as the root of n.
    """
    at = np.log(np.array(BANDS_HZ, float))
    total = np.zeros(len(BANDS_HZ))
    n_named = sum(i.meaning.has_tone and i.weight > 0 and not i.relative for i in items)
    for item in items:
        named = item.weight > 0 and not item.relative
        weight = item.weight / max(1, n_named) ** 0.5 if named else item.weight
        total += weight * np.interp(at, np.log(ANCHORS_HZ), item.meaning.eq_db)
    return np.clip(STRENGTH * total, -_MAX_EQ_DB, _MAX_EQ_DB)


def preset_of(
    items: Sequence[Item], current: Preset | None = None, *, level_db: float = -20.0
) -> Preset:
    """The preset that the lexicon alone gives to the items of `parse`, or the present one moved.

    A compressor's threshold counts from `level_db`, the RMS of the audio in dBFS.
    """
    if current is not None:
        sizes = {False: 1.0, True: _RELATIVE_STEP}
        items = [replace(item, weight=sizes[item.relative] * item.weight) for item in items]
    current = current or Preset()
    gains = fitted_gains_db(wanted_eq_db(items))
    semitones = sum(item.weight * item.meaning.semitones for item in items)
    pitch = clipped(SPACES["pitch"]["semitones"], current.pitch["semitones"] + semitones)
    moved = [b.louder(gain) for b, gain in zip(current.eq[: len(gains)], gains, strict=True)]
    return Preset(
        (*moved, *current.eq[len(gains) :]),
        {"semitones": pitch},
        _moved_distortion(items, current.distortion),
        _moved_compressor(items, current.compressor, level_db),
        _moved_reverb(items, current.reverb),
        current.pedals,
    )


def with_figures(
    preset: Preset, figures: Sequence[Figure], start: Preset | None, *, level_db: float = -20.0
) -> Preset:
    """A preset with the stated settings; gains are met as the whole equaliser's.

    They count from the equaliser of `start`, or from a flat one.
    """
    for figure in figures:
        if figure.effect in PEDALS:
            pedals = dict(preset.pedals)
            present = pedals.pop(figure.effect, None)
            if (knobs := _pedal(figure, present)) is not None:
                pedals[figure.effect] = knobs
            preset = replace(preset, pedals=pedals)
        elif figure.effect != "eq":
            base = dict(getattr(preset, figure.effect))
            if figure.effect == "compressor" and base["ratio"] == 1:
                asked = [Item("compressed", vocabulary()["compressed"])]
                base = _moved_compressor(asked, base, level_db)
            if figure.effect == "reverb" and base["wet"] == 0 and not figure.relative:
                base["wet"] = 0.35
            factors = {k: base[k] * v for k, v in figure.knobs.items()} if figure.relative else {}
            if figure.effect == "pitch":
                moved = base["semitones"] + figure.knobs["semitones"]
                factors = {"semitones": clipped(SPACES["pitch"]["semitones"], moved)}
            preset = replace(preset, **{figure.effect: {**base, **figure.knobs, **factors}})
    stated = [figure for figure in figures if figure.effect == "eq"]
    if not stated:
        return preset
    fixed = [b for f in stated if not f.at_hz for b in f.bands]
    bells = [b for f in stated if f.at_hz for b in f.bands]
    at_hz = np.array([f.at_hz for f in stated if f.at_hz])
    wanted = np.array([b.gain_db for b in bells])
    if start is not None:
        wanted = wanted + response_db(start.eq, at_hz)
    for _ in range(30):  # bands overlap: each takes what the others leave
        total = response_db((*preset.eq, *fixed, *bells), at_hz)
        bells = [b.louder(0.7 * e) for b, e in zip(bells, wanted - total, strict=True)]
    return replace(preset, eq=(*preset.eq, *fixed, *bells))


def _pedal(figure: Figure, present: Mapping[str, float] | None) -> dict[str, float] | None:
    """The knobs of a pedal after a figure; None takes it away."""
    plain = words()["pedals"].get(figure.effect, {"knobs": {"gain_db": 0.0}})["knobs"]
    if figure.relative:
        if not figure.knobs or (present is None and min(figure.knobs.values()) < 1):
            return None
        if present is None:
            return dict(plain)
        factors = {k: min(0.9, present[k] * v) for k, v in figure.knobs.items()}
        return {**present, **factors}
    if figure.effect == "gain" and present:
        return {
            "gain_db": clipped(
                PEDALS["gain"]["gain_db"], present["gain_db"] + figure.knobs["gain_db"]
            )
        }
    return {**plain, **(present or {}), **figure.knobs}


def _moved_distortion(items: Sequence[Item], current: Mapping[str, float]) -> dict[str, float]:
    driven = [item for item in items if item.meaning.drive_db]
    drive_db = current["drive_db"] + sum(item.weight * item.meaning.drive_db for item in driven)
    if any(item.off for item in driven):
        drive_db = 0.0
    colours = [item.meaning.colour for item in driven if item.weight > 0]
    colour = float(np.mean(colours)) if colours else current["colour"]
    return {"drive_db": clipped(SPACES["distortion"]["drive_db"], drive_db), "colour": colour}


def _moved_reverb(items: Sequence[Item], current: Mapping[str, float]) -> dict[str, float]:
    rooms = [item for item in items if item.meaning.room]
    reverb, max_wet = dict(current), SPACES["reverb"]["wet"].high
    if any(item.off for item in rooms):
        return {**reverb, "wet": 0.0}
    if wanted := [item for item in rooms if item.weight > 0]:
        # The wettest place gives the room its size; degrees scale the wet share.
        wettest = max(wanted, key=lambda item: item.weight * item.meaning.room[0])
        wet, size, damping, pre_delay_ms = wettest.meaning.room
        if not any(item.relative for item in rooms) or reverb["wet"] == 0:
            diffusion = 1.0 if pre_delay_ms < 60 else 0.4
            reverb |= {"room_size": size, "damping": damping, "diffusion": diffusion}
            reverb["pre_delay_ms"] = min(SPACES["reverb"]["pre_delay_ms"].high, pre_delay_ms)
        reverb["wet"] = min(max_wet, reverb["wet"] + wettest.weight * wet)
    less = sum(-item.weight for item in rooms if item.weight < 0)
    reverb["wet"] = min(max_wet, reverb["wet"] * (1 - min(0.9, 0.8 * less)))
    return reverb


def _moved_compressor(
    items: Sequence[Item], current: Mapping[str, float], level_db: float
) -> dict[str, float]:
    knobs, moved = SPACES["compressor"], dict(current)
    asked = [item for item in items if item.meaning.compressor]
    if any(item.off and not item.meaning.has_tone for item in asked):
        return {**moved, "ratio": 1.0}
    # Weaker or stronger in the logarithm, so that the opposite undoes it; the strongest counts.
    sizes = [item.weight * math.log(item.meaning.compressor[1]) for item in asked]
    change = max([0.0, *sizes]) + min([0.0, *sizes])
    if change > 0 and all(item.meaning.has_tone for item in asked):
        # A timbre, as "tighter", asks for little more than its own ratio.
        change = max(0.3 * change, change - math.log(moved["ratio"]))
    moved["ratio"] = clipped(knobs["ratio"], moved["ratio"] * math.exp(change))
    for item in asked:
        below_db, _, attack_ms, release_ms = item.meaning.compressor
        if item.weight > 0:
            threshold_db = level_db - below_db * min(item.weight, 1.5)
            moved["threshold_db"] = clipped(knobs["threshold_db"], threshold_db)
            moved |= {"attack_ms": attack_ms, "release_ms": release_ms}
    return moved
