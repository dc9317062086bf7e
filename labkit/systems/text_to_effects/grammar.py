"""Sentences as what they ask for: words of the lexicon with degrees, negations and comparatives."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from labkit.systems.text_to_effects.lexicon import ANCHORS_HZ, Meaning, lexicon
from labkit.systems.text_to_effects.preset import BAND, SPACES, Band, Preset
from labkit.systems.text_to_effects.response import BANDS_HZ, fitted_gains_db

DEGREES = {
    0.3: "slightly subtly barely touch hint",
    0.5: "bit little somewhat gently lightly moderately mildly",
    1.4: "very really much lot quite strongly considerably",
    1.8: "extremely super totally completely heavily massively ultra way too",
}
_DEGREE_OF = {word: value for value, words in DEGREES.items() for word in words.split()}
_ENDS = frozenset([";", ".", "but", "yet"])
MORE = frozenset(
    ["more", "add", "increase", "boost", "raise", "enhance", "emphasize", "extra", "bring", "push"]
)
LESS = frozenset(
    [
        "less",
        "reduce",
        "decrease",
        "cut",
        "lower",
        "remove",
        "drop",
        "tame",
        "soften",
        "lose",
        "fewer",
    ]
)
NOT = frozenset(["not", "no", "without", "never", "don't", "dont", "isn't", "non", "avoid", "kill"])
# Words of the desk: ranges of the spectrum and whole effects.
_DESK = {
    "treble highs high-end top-end": Meaning((0, 0, 0, 2, 5, 5)),
    "mids midrange middle": Meaning((-1, 0, 5, 4, 0, -1)),
    "lows low-end bottom-end sub": Meaning((6, 4, 0, 0, 0, 0)),
}
DESK = frozenset(word for words in _DESK for word in words.split())
_RELATIVE_STEP = 0.6
_MOST = 2.5  # of a degree, however often "very" is said
# What is said at a desk, in the words that the rules know; tried in this order.
_LESS_BY, _MORE_BY = (
    r"(?:turn|bring|dial|pull|take|roll|back|ease|tone|strip)",
    r"(?:turn|bring|dial|crank|push)",
)
_SAID = (
    (r"\b(?:not|without|no) (?:too|so|that|very) much\b|\btoo much\b|\bhalf (?:of )?the\b", "less"),
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
        r"\1ed ",
    ),
    (r"\bup (?:by )?(?:an|one|1) octave\b|\boctave (?:higher|above)\b", "octave-up"),
    (r"\bdown (?:by )?(?:an|one|1) octave\b|\boctave (?:lower|below)\b", "octave-down"),
    (
        r"\b(?:raise|higher)(?: the)? pitch\b(?!.*semitone)|\bpitch(?: it)? up\b(?!.*semitone)",
        "higher-pitched",
    ),
    (
        r"\b(?:lower|deeper)(?: the)? pitch\b(?!.*semitone)|\bpitch(?: it)? down\b(?!.*semitone)",
        "lower-pitched",
    ),
)
# What a move towards a word takes away: "drier" is less reverb, "cleaner" less distortion.
_OPPOSITES = {"dry": "reverb", "clean": "distortion"}
_NUMBERS = (
    "a",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
)
_COUNTS = {word: max(1, n) for n, word in enumerate(_NUMBERS)}


@dataclass(frozen=True)
class Item:
    """One thing that a sentence asks for.

    Attributes:
        word: as the lexicon has it.
        meaning: what it asks for.
        weight: signed degree; below 0 asks for the opposite.
        relative: whether it moves the present settings ("brighter", "less reverb") or names a sound ("bright").
        off: whether the effect must go ("no reverb").
    """

    word: str
    meaning: Meaning
    weight: float = 1.0
    relative: bool = False
    off: bool = False


def vocabulary() -> dict[str, Meaning]:
    """The lexicon with the words of the desk."""
    desk = {word: meaning for words, meaning in _DESK.items() for word in words.split()}
    return lexicon() | desk


def _base(word: str, words: dict[str, Meaning]) -> tuple[str, bool] | None:
    """The entry behind a word, and whether the word was a comparative, or a verb made of it ("brighten")."""
    comparative = word.endswith(("er", "en")) and word != "chamber"
    for ending, put in (("er", ""), ("er", "e"), ("ier", "y"), ("en", "")) if comparative else ():
        stem = word.removesuffix(ending) + put
        doubled = stem[:-1] if len(stem) > 2 and stem[-1] == stem[-2] else stem
        for tried in (stem, doubled):
            if word.endswith(ending) and tried in words:
                return tried, True
    if word in words:
        return word, False
    endings = (("s", ""), ("iness", "y"), ("ness", ""), ("ly", ""), ("ish", ""))
    for tried in (
        word.removesuffix(ending) + put for ending, put in endings if word.endswith(ending)
    ):
        if tried in words:
            return tried, False
    return None


def _joined(text: str, words: dict[str, Meaning]) -> list[str]:
    """Lower-case words, those of a compound entry joined by a hyphen, clause marks kept."""
    found = re.findall(r"[a-z0-9']+(?:-[a-z0-9]+)*|[,;.]", text.lower().replace("’", "'"))
    joined: list[str] = []
    for word in found:
        if joined and f"{joined[-1]}-{word}" in words:
            joined[-1] = f"{joined[-1]}-{word}"
        elif "-" in word and word not in words:
            joined += word.split("-")
        else:
            joined.append(word)
    return joined


def parse(prompt: str) -> list[Item]:
    """What a sentence asks for, in its order.

    A degree counts for the next word. A negation, `more` or `less` holds over a list, "less harsh, muddy and thin", of
    words that are all timbres or all effects; what follows a lone comma, a comparative, a degree or another negation
    stands for itself: "less reverb, brighter". `not`, `without` and `no` before an effect switch it off, before a
    timbre they ask for half its opposite; `too bright` is `less bright`.

    Args:
        prompt: English; words that nobody listed are passed over.

    Returns:
        Items, each once; empty where no word is known.

    Raises:
        ValueError: if the prompt holds no letters.
    """
    if not re.search(r"[A-Za-z]", prompt):
        raise ValueError(f"prompt must hold words, got {prompt!r}")
    words, said = vocabulary(), prompt.lower().replace("’", "'")
    for pattern, meant in _SAID:
        said = re.sub(pattern, meant, said)
    tokens, items, held = _joined(said, words), [], _Held()
    for place, word in enumerate(tokens):
        if (found := held.heard(word, tokens[place + 1 :], words)) is not None:
            items += held.items(*found, words)
    return list(dict.fromkeys(items)) + _numbers(prompt)


@dataclass
class _Held:
    """What has been said about words that are still to come."""

    degree: float = 1.0
    direction: int = 0
    negated: bool = False
    listed: bool = False  # by a comma or an "and", from the words before
    effect: bool = False  # what the last word was

    def heard(
        self, word: str, ahead: Sequence[str], words: dict[str, Meaning]
    ) -> tuple[str, bool] | None:
        """Take one more word; an entry of the lexicon is given back, as `_base` does."""
        found = _base(word, words)
        if word in _ENDS or word in (",", "and"):
            self.degree, self.listed = 1.0, word == "and" or (word == "," and _closes_a_list(ahead))
            self.direction, self.negated = (
                (self.direction, self.negated) if self.listed else (0, False)
            )
        elif word in NOT:
            self._afresh()
            self.negated = True
        elif word in _DEGREE_OF:
            self._afresh()
            self.degree = min(_MOST, self.degree * _DEGREE_OF[word])
        elif word in MORE | LESS and (found is None or word in ("lower", "soften")):
            self._afresh()
            self.direction = 1 if word in MORE else -1
        elif found is not None:
            return found
        return None

    def items(self, word: str, comparative: bool, words: dict[str, Meaning]) -> list[Item]:
        """The item of an entry, and of what a move towards it takes away."""
        effect = not any(words[word].eq_db) or word in (
            "distortion",
            "overdrive",
            "fuzz",
            "saturation",
        )
        if comparative or effect != self.effect:
            self._afresh()
        item = _item(
            word, comparative, words[word], self.degree, self.direction, self.negated, effect
        )
        self.degree, self.listed, self.effect = 1.0, False, effect
        if item.relative and word in _OPPOSITES:
            other = _OPPOSITES[word]
            return [item, Item(other, words[other], -item.weight, relative=True)]
        return [item]

    def _afresh(self) -> None:
        """Nothing of a list goes on."""
        if self.listed:
            self.direction, self.negated, self.listed = 0, False, False


def _closes_a_list(ahead: Sequence[str]) -> bool:
    """Whether an "and" or "or" comes before anything that ends a list."""
    for word in ahead:
        if word in _ENDS or word in NOT | MORE | LESS:
            return False
        if word in ("and", "or"):
            return True
    return False


def _item(
    word: str,
    comparative: bool,
    meaning: Meaning,
    degree: float,
    direction: int,
    negated: bool,
    effect: bool,
) -> Item:
    relative = comparative or direction != 0
    sign = -1.0 if (direction < 0) != (negated and relative) else 1.0
    if negated and not relative:
        return Item(word, meaning, -0.5 * degree, relative=False, off=effect)
    return Item(word, meaning, sign * degree, relative)


def _numbers(prompt: str) -> list[Item]:
    """Semitones that are given as a number: "pitch down 3 semitones", "two semitones higher"."""
    for clause in re.split(r"[,;]|\b(?:and|but|with|then)\b", prompt.lower()):
        found = re.search(
            rf"([+-]?\d+(?:\.\d+)?|\b(?:{'|'.join(_COUNTS)}))\s*(?:semitone|half[- ]step)", clause
        )
        if found:
            size = float(_COUNTS.get(found[1], found[1]))
            down = re.search(r"\b(down|lower|deeper|below|drop)\b", clause)
            value = float(np.clip(-abs(size) if down else size, -12, 12))
            return [Item("pitch", Meaning(semitones=value))]
    return []


def wanted_eq_db(items: Sequence[Item], *, limit_db: float = 14.0) -> np.ndarray:
    """(40,) dB: the sum of what the items ask for, at `response.BANDS_HZ`, held within a limit."""
    at = np.log(np.array(BANDS_HZ, float))
    total = np.zeros(len(BANDS_HZ))
    for item in items:
        total += item.weight * np.interp(at, np.log(ANCHORS_HZ), item.meaning.eq_db)
    return np.clip(total, -limit_db, limit_db)


def preset_of(items: Sequence[Item], *, level_db: float = -20.0) -> Preset:
    """The preset that the lexicon alone gives to a sentence.

    Args:
        items: of `parse`.
        level_db: RMS of the audio in dBFS; a compressor's threshold counts from it.

    Returns:
        The preset; nothing changes where nothing is asked for.
    """
    return apply_items(items, Preset(), level_db=level_db, relative_step=1.0)


def apply_items(
    items: Sequence[Item],
    current: Preset,
    *,
    level_db: float = -20.0,
    relative_step: float = _RELATIVE_STEP,
) -> Preset:
    """The present settings moved by what a sentence asks for.

    Args:
        items: of `parse`.
        current: the settings that are moved.
        level_db: RMS of the audio in dBFS.
        relative_step: of "more" and comparatives, in the unit of a whole word.

    Returns:
        A new preset.
    """
    scaled = [replace(i, weight=i.weight * (relative_step if i.relative else 1.0)) for i in items]
    moved = fitted_gains_db(wanted_eq_db(scaled))
    eq = tuple(_moved_band(band, add) for band, add in zip(current.eq, moved, strict=True))
    pitch = current.pitch["semitones"] + sum(i.weight * i.meaning.semitones for i in scaled)
    drive = current.distortion["drive_db"] + sum(i.weight * i.meaning.drive_db for i in scaled)
    colours = [i.meaning.colour for i in scaled if i.meaning.drive_db and i.weight > 0]
    colour = float(np.mean(colours)) if colours else current.distortion["colour"]
    if any(i.off and i.meaning.drive_db for i in scaled):
        drive = 0.0
    return Preset(
        eq,
        {"semitones": float(np.clip(pitch, -12, 12))},
        {"drive_db": float(np.clip(drive, 0, 30)), "colour": colour},
        _moved_compressor(scaled, current, level_db),
        _moved_reverb(scaled, current),
    )


def _moved_band(band: Band, add_db: float) -> Band:
    return replace(
        band,
        gain_db=float(np.clip(band.gain_db + add_db, BAND["gain_db"].low, BAND["gain_db"].high)),
    )


def _moved_reverb(items: Sequence[Item], current: Preset) -> dict[str, float]:
    rooms = [(i.weight, *i.meaning.room) for i in items if i.meaning.room]
    reverb = dict(current.reverb)
    if any(i.off and i.meaning.room for i in items):
        return reverb | {"wet": 0.0}
    if not rooms:
        return reverb
    up = np.array([room for room in rooms if room[0] > 0])
    down = sum(-weight for weight, *_ in rooms if weight < 0)
    if len(up):  # the wettest place gives the room its size; degrees scale the wet share
        wettest = up[(up[:, 0] * up[:, 1]).argmax()]
        if not any(i.relative and i.meaning.room for i in items) or reverb["wet"] == 0:
            reverb |= {
                "room_size": wettest[2],
                "damping": wettest[3],
                "pre_delay_ms": min(120.0, wettest[4]),
            }
            reverb["diffusion"] = 1.0 if wettest[4] < 60 else 0.4
        reverb["wet"] = min(0.9, reverb["wet"] + float(wettest[0] * wettest[1]))
    reverb["wet"] = float(np.clip(reverb["wet"] * (1 - min(0.9, 0.8 * down)), 0.0, 0.9))
    return {name: float(value) for name, value in reverb.items()}


def _moved_compressor(items: Sequence[Item], current: Preset, level_db: float) -> dict[str, float]:
    asked = [i for i in items if i.meaning.squeeze]
    found = dict(current.compressor)
    if any(i.off and not any(i.meaning.eq_db) for i in asked):
        return found | {"ratio": 1.0}
    for item in asked:
        below_db, ratio, attack_ms, release_ms = item.meaning.squeeze
        factor = ratio**item.weight  # weaker or stronger in the logarithm; the opposite undoes
        found["ratio"] = float(np.clip(found["ratio"] * factor, *_ends("ratio")))
        if item.weight > 0:
            threshold = float(
                np.clip(level_db - below_db * min(item.weight, 1.5), *_ends("threshold_db"))
            )
            found |= {"threshold_db": threshold, "attack_ms": attack_ms, "release_ms": release_ms}
    return found


def _ends(knob: str) -> tuple[float, float]:
    parameter = SPACES["compressor"][knob]
    return parameter.low, parameter.high
