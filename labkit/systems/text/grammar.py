"""A sentence as settings: words of the lexicon with degrees, negations and comparatives."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from labkit.systems.text.preset import BANDS_HZ, SPACES, Preset, clipped, fitted_gains_db

# The lexicon gives equaliser gains at these frequencies.
ANCHORS_HZ = (60.0, 200.0, 600.0, 2000.0, 5000.0, 12000.0)
DEGREES = {
    0.3: "slightly subtly barely touch hint",
    0.5: "bit little somewhat gently lightly moderately mildly",
    1.4: "very really much lot quite strongly considerably",
    1.8: "extremely super totally completely heavily massively ultra way too",
}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DEGREE_OF = {word: value for value, words in DEGREES.items() for word in words.split()}
MORE = _words("more add increase boost raise enhance emphasize extra bring push")
LESS = _words("less reduce decrease cut lower remove drop tame soften lose fewer")
NOT = _words("not no without never don't dont isn't non avoid kill")
_CLAUSE_ENDS = frozenset([";", ".", "but", "yet"])
# Words of drive that are effects, although they have a tone too.
_DRIVE_EFFECTS = _words("distortion overdrive fuzz saturation")
# Effects that guitarists ask for and that a preset does not have.
_ABSENT = _words("chorus delay tremolo vibrato phaser flanger wah rotary leslie looper")
# A move towards the first takes the second away: "drier" is less reverb.
_OPPOSITES = {"dry": "reverb", "clean": "distortion"}
_PITCH = SPACES["pitch"]["semitones"]
_RELATIVE_STEP = 0.6  # of "more" and of comparatives, in the unit of a whole word
_MAX_DEGREE = 2.5  # however often "very" is written
_MAX_EQ_DB = 14.0
_LESS_BY = r"(?:turn|bring|dial|pull|take|roll|back|ease|tone|strip)"
_MORE_BY = r"(?:turn|bring|dial|crank|push)"
_NO_COUNT = r"(?!.*semitone)"
# Idioms of the studio, rewritten into words that the rules know; tried in this order.
_REWRITES = (
    (r"\b(?:not|without|no) (?:too|so|that|very) much\b", "less"),
    (r"\btoo much\b|\bhalf (?:of )?the\b", "less"),
    (r"\bnot enough\b|\btoo little\b", "more"),
    (r"\bnot (?:quite |nearly )?([a-z]+) enough\b", r"more \1"),
    (r"\bnot (?:too|so|that|very)\b", "not"),
    (r"\btoo (?=[a-z])", "less "),
    (rf"\b{_LESS_BY}(?: it)? (?:down|back|off|out|away)\b", "less"),
    (rf"\b{_MORE_BY}(?: it)? (?:up|in)\b", "more"),
    (rf"\b{_LESS_BY} ((?:[a-z-]+ ){{1,3}})(?:down|back|off|out|away)\b", r"less \1"),
    (rf"\b{_MORE_BY} ((?:[a-z-]+ ){{1,3}})(?:up|in)\b", r"more \1"),
    (r"\b(reverb|echo|ambience|distortion|overdrive|fuzz|compress(?:ion|or)) off\b", r"no \1"),
    (r"\b(?:get rid of|leave out)\b", "less"),
    (r"\bdry (?:[a-z]+ )?(?:up|out)\b", "drier"),
    (r"\bclean (?:[a-z]+ )?up\b", "cleaner"),
    (r"(?<=[a-z] )(?:gain|drive)\b", "distortion"),
    (
        r"\b(compress|squash|crush|smash|muffl|distort|saturat)e? (?=(?:it|this|the|them)\b)",
        "\\1ed ",
    ),
    (r"\bup (?:by )?(?:an|one|1) octave\b|\boctave (?:higher|above)\b", "octave-up"),
    (r"\bdown (?:by )?(?:an|one|1) octave\b|\boctave (?:lower|below)\b", "octave-down"),
    (rf"\b(?:(?:raise|higher)(?: the)? pitch|pitch(?: it)? up)\b{_NO_COUNT}", "higher-pitched"),
    (rf"\b(?:(?:lower|deeper)(?: the)? pitch|pitch(?: it)? down)\b{_NO_COUNT}", "lower-pitched"),
)
_NUMBERS = "a one two three four five six seven eight nine ten eleven"
_COUNTS = {word: max(1, n) for n, word in enumerate(_NUMBERS.split())}


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
    """One thing that a sentence asks for."""

    word: str
    meaning: Meaning
    weight: float = 1.0  # signed degree; below 0 asks for the opposite
    relative: bool = False  # moves the present settings ("brighter"), or names a sound ("bright")
    off: bool = False  # the effect must go ("no reverb")


@cache
def vocabulary() -> dict[str, Meaning]:
    """Word -> what it asks for, from `lexicon.txt`; words of a compound are joined by hyphens."""
    facts: dict[str, dict[str, Any]] = {}
    for line in Path(__file__).with_name("lexicon.txt").read_text().splitlines():
        if line.startswith("["):
            fields = line.strip("[]").split()
        elif line and not line.startswith("#"):
            words, numbers = line.split(":")
            values = tuple(map(float, numbers.split()))
            for word in words.split():
                known = facts.setdefault(word, {})
                # One field holds all numbers of a line, or each field holds one.
                found = zip(fields, values if len(fields) == len(values) else [values], strict=True)
                known.update({name: value for name, value in found if name not in known})
    return {word: Meaning(**known) for word, known in facts.items()}


def stem(word: str) -> str:
    """The word without a common ending: bright, brighter and brightness have one stem."""
    return re.sub(r"(ing|ed|er|est|ness|ful|ous|y|s|e)$", "", word.lower())


def _base(word: str) -> tuple[str, bool] | None:
    """The entry behind a word, and whether it is a comparative ("brighter", "brighten")."""
    words = vocabulary()
    comparative = word.endswith(("er", "en")) and word != "chamber"
    for ending, put in (("er", ""), ("er", "e"), ("ier", "y"), ("en", "")) if comparative else ():
        plain = word.removesuffix(ending) + put
        single = plain[:-1] if len(plain) > 2 and plain[-1] == plain[-2] else plain
        for tried in (plain, single):
            if word.endswith(ending) and tried in words:
                return tried, True
    for ending, put in (("", ""), ("s", ""), ("iness", "y"), ("ness", ""), ("ly", ""), ("ish", "")):
        tried = word.removesuffix(ending) + put
        if word.endswith(ending) and tried in words:
            return tried, False
    return None


def _tokens(text: str) -> list[str]:
    """Words, those of a compound entry joined by a hyphen, and clause marks."""
    tokens: list[str] = []
    words = vocabulary()
    for word in re.findall(r"[a-z0-9']+(?:-[a-z0-9]+)*|[,;.]", text):
        if tokens and f"{tokens[-1]}-{word}" in words:
            tokens[-1] = f"{tokens[-1]}-{word}"
        elif "-" in word and word not in words:
            tokens += word.split("-")
        else:
            tokens.append(word)
    return tokens


def parse(prompt: str) -> list[Item]:
    """What a sentence asks for, in its order, each item once; unknown words are passed over.

    A degree counts for the next word. A negation, `more` or `less` holds over a list, "less harsh,
    muddy and thin", of words that are all timbres or all effects; what follows a lone comma, a
    comparative, a degree or another negation stands for itself: "less reverb, brighter". `not`,
    `without` and `no` before an effect switch it off, before a timbre they ask for half its
    opposite; `too bright` is `less bright`.

    Raises:
        ValueError: if the prompt holds no letters.
    """
    if not re.search(r"[A-Za-z]", prompt):
        raise ValueError(f"prompt must hold words, got {prompt!r}")
    text = " ".join(prompt.lower().replace("’", "'").split())
    for pattern, plain in _REWRITES:
        text = re.sub(pattern, plain, text)
    tokens, state, items = _tokens(text), _State(), []
    for place, token in enumerate(tokens):
        entry = _base(token)
        if token in _CLAUSE_ENDS or token in (",", "and"):
            in_list = token == "," and _closes_a_list(tokens[place + 1 :])
            state.separate(listed=token == "and" or in_list)
        elif token in NOT:
            state.end_list()
            state.negated = True
        elif token in _DEGREE_OF:
            state.end_list()
            state.degree = min(_MAX_DEGREE, state.degree * _DEGREE_OF[token])
        elif token in MORE | LESS and (entry is None or token in ("lower", "soften")):
            state.end_list()
            state.direction = 1 if token in MORE else -1
        elif entry is not None:
            items += state.items(*entry)
    return list(dict.fromkeys(items)) + _semitones(prompt)


@dataclass
class _State:
    """What holds for the words that are still to come."""

    degree: float = 1.0
    direction: int = 0
    negated: bool = False
    listed: bool = False  # whether a comma or an "and" continues a list
    effect: bool = False  # whether the last word was an effect

    def separate(self, *, listed: bool) -> None:
        self.degree, self.listed = 1.0, listed
        if not listed:
            self.direction, self.negated = 0, False

    def end_list(self) -> None:
        if self.listed:
            self.direction, self.negated, self.listed = 0, False, False

    def items(self, word: str, comparative: bool) -> list[Item]:
        """The item of an entry, and the one that a move towards it takes away."""
        words = vocabulary()
        effect = not words[word].has_tone or word in _DRIVE_EFFECTS
        if comparative or effect != self.effect:
            self.end_list()
        relative = comparative or self.direction != 0
        if self.negated and not relative:
            item = Item(word, words[word], -0.5 * self.degree, off=effect)
        else:
            opposite = (self.direction < 0) != self.negated
            item = Item(word, words[word], -self.degree if opposite else self.degree, relative)
        self.degree, self.listed, self.effect = 1.0, False, effect
        if item.relative and word in _OPPOSITES:
            other = _OPPOSITES[word]
            return [item, Item(other, words[other], -item.weight, relative=True)]
        return [item]


def _closes_a_list(ahead: Sequence[str]) -> bool:
    """Whether an "and" or "or" comes before anything that ends a list."""
    ends = _CLAUSE_ENDS | NOT | MORE | LESS | {"and", "or"}
    return next((word in ("and", "or") for word in ahead if word in ends), False)


def absent(prompt: str) -> list[str]:
    """The effects that a sentence names and that a preset does not have."""
    return sorted(_ABSENT & set(re.findall("[a-z]+", prompt.lower())))


def _semitones(prompt: str) -> list[Item]:
    """Semitones given as a number: "pitch down 3 semitones", "two semitones higher"."""
    number = rf"([+-]?\d+(?:\.\d+)?|\b(?:{'|'.join(_COUNTS)}))\s*(?:semitone|half[- ]step)"
    for clause in re.split(r"[,;]|\b(?:and|but|with|then)\b", prompt.lower()):
        if found := re.search(number, clause):
            size = float(_COUNTS.get(found[1], found[1]))
            if re.search(r"\b(down|lower|deeper|below|drop)\b", clause):
                size = -abs(size)
            return [Item("pitch", Meaning(semitones=clipped(_PITCH, size)))]
    return []


def wanted_eq_db(items: Sequence[Item]) -> np.ndarray:
    """(40,) dB at `BANDS_HZ`: the sum of what the items ask for, at most 14 dB either way."""
    at = np.log(np.array(BANDS_HZ, float))
    total = np.zeros(len(BANDS_HZ))
    for item in items:
        total += item.weight * np.interp(at, np.log(ANCHORS_HZ), item.meaning.eq_db)
    return np.clip(total, -_MAX_EQ_DB, _MAX_EQ_DB)


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
    return Preset(
        tuple(band.louder(gain) for band, gain in zip(current.eq, gains, strict=True)),
        {"semitones": clipped(_PITCH, current.pitch["semitones"] + semitones)},
        _moved_distortion(items, current.distortion),
        _moved_compressor(items, current.compressor, level_db),
        _moved_reverb(items, current.reverb),
    )


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
    for item in asked:
        below_db, ratio, attack_ms, release_ms = item.meaning.compressor
        # Weaker or stronger in the logarithm, so that the opposite undoes it.
        moved["ratio"] = clipped(knobs["ratio"], moved["ratio"] * ratio**item.weight)
        if item.weight > 0:
            threshold_db = level_db - below_db * min(item.weight, 1.5)
            moved["threshold_db"] = clipped(knobs["threshold_db"], threshold_db)
            moved |= {"attack_ms": attack_ms, "release_ms": release_ms}
    return moved
