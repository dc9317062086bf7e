"""A sentence as what it asks for: words of the lexicon, and figures with units.

Its tables (patterns, idioms, pedals, named sounds and where they come from) are `words.toml`.
"""

import math
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from labkit.effects.modulation import SWING_MS
from labkit.systems.text.lexicon import Item, entry_of, mended, verb, vocabulary, way, words
from labkit.systems.text.preset import BAND, KNOBS, PEDALS, SPACES, Band, clipped

_MAX_DEGREE = 2.5  # however often "very" is written
_UNSAID_DB = 4.0  # of "boost 3 kHz", which says no amount
_BELL_Q = 2.0  # of a bell whose width is not said: an octave away 1 dB is left of 6
COLOUR_DB = 10.0  # of drive, below which a word is a colour rather than a distortion
UNKNOWN = "not understood"
_COMB_S = 0.0306  # mean length of the reverb's comb filters


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


# Text to tokens

_WORD = re.compile(r"@\d+|[^\W_][\w'/]*(?:-[\w']+)*")


@dataclass
class _Token:
    text: str
    kind: str = "word"  # or "mark", or a kind of quantity
    value: float = 0.0
    other: float = 0.0  # the upper end of a range
    used: bool = False  # by a figure

    @property
    def is_quantity(self) -> bool:
        return self.kind not in ("word", "mark")

    @property
    def way(self) -> int:
        return way(self.text) if self.kind == "word" else 0


def _normal(prompt: str) -> str:
    """Lower case, plain signs, decimals with a point, counts of units as numbers, no emoji."""
    text = unicodedata.normalize("NFKC", prompt).lower()
    *signs, minus, plus, spaced = words()["plain"]
    for pattern, plain in signs:
        text = pattern.sub(plain, text).strip()
    counts = words()["counts"]

    def counted(found: re.Match) -> str:
        return f"{counts[found[1]] + (0.5 if found[2] else 0):g} "

    names = "|".join(sorted(counts, key=len, reverse=True))
    units = words()["quantities"]["units"]
    text = re.sub(rf"\b({names})( and a half)?[- ](?=(?:{units}))", counted, text)
    for pattern, plain in (minus, plus, spaced):
        text = pattern.sub(plain, text)
    return _tuned(text)


def _tuned(text: str) -> str:
    """A change of key ("from C to D", the near way) or of the tuning fork as semitones."""

    def moved(found: re.Match) -> str:
        if "fork" in found.re.groupindex:  # from 440 Hz where no other is named
            hz = float(found["new"] or found["fork"] or found["a"])
            size = 12 * math.log2(hz / float(found["old"] or 440))
        else:
            if re.search(r"\d ?(?:semi|half|steps?\b)", found.string[found.end() :]):
                return " "  # "from C to E, up 4 semitones" says it twice
            signs = {"-s": 1, " s": 1, "b": -1, " f": -1, "-f": -1}
            notes = (found.group(1, 2), found.group(3, 4))
            old, new = ("c.d.ef.g.a.b".index(n) + signs.get((s or "")[:2], 0) for n, s in notes)
            size = (new - old + 5) % 12 - 5
        return f" pitch {size:+.3f} semitones "

    for pattern in words()["tunings"].values():
        text = pattern.sub(moved, text)
    return text.strip()


def _tokens(text: str) -> list[_Token]:
    """Quantities, words (those of a known compound joined by a hyphen) and marks."""
    told, found, place = words(), [], 0
    joined = {*vocabulary(), *told["band_names"], *told["pedal_names"], *told["not_here"]}
    joined |= {*told["filters"], *told["knobs"], *told["spellings"]}
    while place < len(text):
        at_start = place == 0 or not text[place - 1].isalnum()
        for kind, pattern, scale in told["quantities"]["kinds"] if at_start else ():
            if match := pattern.match(text, place):
                found.append(_quantity(kind, match, scale))
                place = match.end()
                break
        else:
            match = _WORD.match(text, place)
            for part in _parts(match[0], joined) if match else ():
                word = told["spellings"].get(mended(part), mended(part))
                if found and found[-1].kind == "word" and f"{found[-1].text}-{word}" in joined:
                    whole = f"{found[-1].text}-{word}"
                    found[-1].text = told["spellings"].get(whole, whole)
                else:
                    found.append(_Token(word))
            if not match and text[place] in ",;:.!?":
                found.append(_Token(text[place], "mark"))
            place = match.end() if match else place + 1
    return found


def _parts(word: str, joined: Collection[str]) -> list[str]:
    word = words()["spellings"].get(word, word)
    whole = word in joined or entry_of(word)
    return [word] if whole else list(filter(None, word.split("-")))


def _quantity(kind: str, found: re.Match, scale: float) -> _Token:
    if kind == "era":
        return _Token(found[0].replace("'", ""))
    if kind == "interval":
        return _Token(found[0], "semitones", words()["pitch_names"][found[1].replace(" ", "-")])
    if kind == "beats":
        stretch = 1.5 if "dotted" in found[0] else 2 / 3 if "triplet" in found[0] else 1.0
        return _Token(found[0], kind, words()["beats"][found[2]] * stretch)
    value = float(found[1] or 1) * scale
    if kind == "range":
        upper = 1000 if found[4].startswith("k") else 1
        lower = 1000 if found[2] or (upper == 1000 and value < float(found[3])) else 1
        return _Token(found[0], "hz", value * lower, float(found[3]) * upper)
    return _Token(found[0], kind, value)


# Quantities to figures


@dataclass
class _Frame:
    """Part of a sentence that may state one setting."""

    tokens: list[_Token] = field(default_factory=list)
    join: bool = False  # whether a comma or "and" stands before it

    def get(self, *kinds: str) -> _Token | None:
        return next((t for t in self.tokens if t.kind in kinds and not t.used), None)

    def words(self, names: Collection[str]) -> list[_Token]:
        return [t for t in self.tokens if t.kind == "word" and t.text in names]

    def word(self, names: Collection[str]) -> str:
        """The first of these words, or ""."""
        return next((t.text for t in self.words(names)), "")

    @property
    def way(self) -> int:
        """-1 where a word says less or down, 1 where one says more or up, else 0."""
        edges = words()["upper"] | words()["lower"]  # "boost everything below 100 Hz"
        ways = {t.way for t in self.tokens if t.text not in edges} - {0}
        ways = ways or {t.way for t in self.tokens}
        return -1 if -1 in ways else int(1 in ways)

    @property
    def negated(self) -> bool:
        return bool(self.word(words()["not"]))

    @property
    def band(self) -> str:
        return self.word(words()["band_names"])

    @property
    def shape(self) -> str:
        """The kind of filter that is named, or ""."""
        return words()["filters"].get(self.word(words()["filters"]), "")

    @property
    def knob(self) -> str:
        return self.word(words()["knobs"])

    @property
    def effect(self) -> str:
        """The effect that is named, in `SPACES` or `PEDALS`, or ""."""
        for token in self.tokens:
            entry = entry_of(token.text) if token.kind == "word" else None
            meaning = vocabulary()[entry[0]] if entry else None
            if pedal := words()["pedal_names"].get(token.text):
                return pedal
            if token.text == "echo" and self.get("seconds", "beats"):
                return "delay"
            if token.text == "drive" or (entry and entry[0] in words()["drive"]):
                return "distortion"
            if meaning and not meaning.has_tone and (meaning.room or meaning.compressor):
                return "reverb" if meaning.room else "compressor"
        return ""

    def complete(self) -> bool:
        """Whether an amount has found what it is an amount of."""
        passes = self.shape.endswith(("pass", "both")) or self.knob
        if self.get("semitones") or (self.get("hz") and passes):
            return True
        amount = self.get("db", "share", "ratio", "seconds", "bpm")
        return bool(amount and (self.get("hz") or self.band or self.effect or self.knob))

    def takes(self, after: "_Frame") -> bool:
        """Whether the next part is about this one: "low shelf, 100 Hz, down 4 dB, Q 2"."""
        told = words()
        kinds = {t.kind for t in after.tokens if t.is_quantity}
        if not after.join or not kinds or any(map(self.get, kinds)) or after.word(told["levels"]):
            return False
        if after.band or after.effect or after.knob or after.shape or after.get("semitones"):
            return False
        numbers = [t.value for t in after.tokens if t.kind == "number"]
        if after.get("hz") or (numbers and max(numbers) >= 20 and self.get("hz")):
            return bool(self.shape) and not any(t.is_quantity for t in self.tokens)
        about = self.shape or self.get("hz") or (self.band and self.way)
        return bool(about and (after.get("db", "slope") or after.word(("q",))))


def _frames(tokens: Sequence[_Token]) -> list[_Frame]:
    """Parts with at most one quantity of a kind each."""
    for place, token in enumerate(tokens):
        # "80 Hz +3", "low shelf +3 at 120", "bass +3": a signed number beside these is in dB.
        near = [t for t in tokens[max(0, place - 2) : place + 3] if t is not token]
        about = (t.kind == "hz" or t.value >= 20 or t.text in words()["band_names"] for t in near)
        if token.kind == "number" and token.text[0] in "+-" and any(about):
            token.kind = "db"
            before = tokens[place - 1] if place else token
            if before.text.isdigit() and 20 <= before.value <= 18000:
                before.kind = "hz"  # "200 -3, 4k +2"
        passes = any(t.text in ("low-pass", "high-pass") for t in tokens[max(0, place - 2) : place])
        if token.kind == "number" and passes and 20 <= token.value <= 18000:
            token.kind = "hz"  # "HPF at 80, LPF 12000"
    told = words()
    nouns = {*told["band_names"], *told["pedal_names"], *told["filters"], *told["knobs"]}
    nouns |= {"compressor", "compression", "reverb"}
    frames, before = [_Frame()], None
    for place, token in enumerate(tokens):
        now, counted = frames[-1], sum(t.is_quantity for t in frames[-1].tokens)
        verb = token.kind == "word" and token.text not in told["up"] | told["down"] and token.way
        starts = verb or (token.kind == "word" and token.text in nouns)
        # "350 ms delay with 40 % feedback": the knob follows its amount.
        ahead = [t for t in tokens[place + 1 : place + 3] if t.text not in ("of", "at", "to")][:1]
        q_next = any(t.text == "q" for t in tokens[place + 1 : place + 3])
        last = counted > 1 or not any(t.is_quantity for t in ahead)
        follows = last and token.text in told["knobs"] and before and before.is_quantity
        filters = now.shape and token.text in told["filters"]
        about = verb or now.band or now.effect or now.knob or filters
        same = now.get(token.kind) if token.is_quantity and token.kind != "slope" else None
        # "250 down 3", "down 3 at 250": hertz and decibels
        both = same and same.kind == "number" and (same.value < 20) != (abs(token.value) < 20)
        repeated = same and not both
        last_word = token.text == "with" and now.complete() and not q_next
        parts = token.text in told["separators"] or last_word
        if parts and not token.is_quantity:
            frames.append(_Frame(join=token.text in told["joins"]))
        elif repeated or (starts and about and now.complete() and not follows):
            frames.append(_Frame([token], join=True))
        else:
            now.tokens.append(token)
        before = token
    whole: list[_Frame] = []
    for frame in frames:
        if whole and whole[-1].takes(frame):
            whole[-1].tokens += frame.tokens
        elif frame.tokens:
            whole.append(frame)
    return whole


def _share_amounts(frames: Sequence[_Frame]) -> None:
    """Amounts that stand once for two: "100 Hz and 5 kHz by 3 dB", "+3 dB at 100 Hz and 5 kHz"."""
    for frame, after in pairwise(frames):
        given = after.get("db") if after.join and not frame.get("db") else None
        alike = (frame.get("hz") or frame.band) and (after.get("hz") or after.band)
        if given and alike and not frame.shape and not (after.way and frame.way):
            frame.tokens.append(replace(given))
            frame.tokens += [t for t in after.tokens if t.way]
    for before, frame in pairwise(frames):
        if frame.join and frame.get("hz") and not frame.way:
            given = before.get("db")
            if given and not (frame.get("db") or frame.shape or frame.effect):
                frame.tokens.append(replace(given))
            frame.tokens += [t for t in before.tokens if t.kind == "word" and verb(t.text)]


_KINDS = ("bits", "semitones", "ratio", "beats", "bpm", "seconds", "share", "hz", "db", "number")


@dataclass
class _Figures:
    """Turns the frames of a sentence into figures; marks the tokens that it used."""

    frames: list[_Frame]
    found: list[Figure] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    effect: str = ""  # the last one that was named

    def run(self) -> None:
        _share_amounts(self.frames)
        for frame in self.frames:
            self.read(frame)

    def read(self, frame: _Frame) -> None:
        self.effect = frame.effect or self.effect
        quantities = [t for t in frame.tokens if t.is_quantity and not t.used]
        if frame.negated and quantities and (frame.way or frame.get("db")):
            said = " ".join(t.text for t in frame.tokens)
            self.missed.append(f"{said}: is not asked for, so nothing is done")
            self.use(frame.tokens)
            return
        if frame.word(words()["not_here"].keys() - words()["widths"]) and not frame.way:
            self.use(quantities)  # of an effect that is refused
            return
        if frame.shape in ("lowpass", "highpass") and not quantities and not frame.negated:
            hz = 5000.0 if frame.shape == "lowpass" else 100.0
            self.missed.append(f"{frame.shape}: no frequency is said, so {hz:g} Hz is taken")
            self._pass(frame, frame.shape, hz, hz)
        for kind in _KINDS:
            if token := frame.get(kind):
                getattr(self, f"_{kind}")(frame, token)

    def use(self, tokens: Sequence[_Token]) -> None:
        for token in tokens:
            token.used = True

    def put(self, said: str, effect: str, *, relative: bool = False, **knobs: float) -> None:
        """Settings within the ranges of their knobs, or a refusal in words."""
        space = KNOBS[effect]
        for name, value in {} if relative else knobs.items():
            knob = space[name]
            if not knob.low - 1e-9 <= value <= knob.high + 1e-9:
                ends = f"{knob.low:g} to {knob.high:g} {knob.unit}".strip()
                told = f"beyond the limit, {effect} {name} reaches {ends}, so it is left out"
                self.missed.append(f"{said}: {told}")
                return
        self.found.append(Figure(said, effect, knobs, relative=relative))

    def put_band(self, said: str, kind: str, hz: float, gain_db: float, q: float, at_hz: float):
        """A band whose gain is met at a frequency, or a refusal in words."""
        if abs(gain_db) > BAND["gain_db"].high:
            # A cut that is too deep harms nobody's ears.
            what = "so it is left out" if gain_db > 0 else "so -18 dB is taken"
            told = f"beyond the limit, a band reaches 18 dB either way, {what}"
            self.missed.append(f"{said}: {told}")
            if gain_db > 0:
                return
            gain_db = BAND["gain_db"].low
        self.found.append(Figure(said, "eq", {}, (Band(kind, hz, gain_db, q),), at_hz))

    def _semitones(self, frame: _Frame, token: _Token) -> None:
        if "vibrato" in (frame.effect, self.effect):
            rates = [t.value for t in frame.tokens if t.kind == "hz"]
            vibratos = [f.knobs for f in self.found[::-1] if f.effect == "vibrato"]
            rates += [knobs["rate_hz"] for knobs in vibratos if "rate_hz" in knobs]
            rate_hz = rates[0] if rates else words()["pedals"]["vibrato"]["knobs"]["rate_hz"]
            # The pitch is off by the slope of the delay, a sine of `SWING_MS` times the depth.
            slope = 2 ** (min(abs(token.value), 120.0) / 12) - 1
            self.use([token, *frame.words(("depth",))])
            depth = 1000 * slope / (2 * math.pi * rate_hz * SWING_MS)
            self.put(f"vibrato of {100 * abs(token.value):g} cents", "vibrato", depth=depth)
            return
        up = frame.way > 0 or token.text[0] == "+" or frame.word(("sharp", "sharper"))
        down = frame.way < 0 or token.value < 0 or frame.word(words()["lower"])  # "an octave below"
        down = down or (frame.word(("detune", "detuned")) and not up)
        before = self.found[-1] if self.found else None
        if not frame.way and token.text[:1] not in "+-" and before and before.effect == "pitch":
            down = before.knobs["semitones"] < 0  # "down two semitones and 30 cents"
        size = -abs(token.value) if down else token.value
        names = words()["pitches"] | {"sharp", "sharper"}
        self.use([t for t in frame.tokens if t is token or t.text in names or t.way])
        self.put(f"pitch {size:+g} semitones", "pitch", semitones=size)

    def _ratio(self, frame: _Frame, token: _Token) -> None:
        self.use([token, *frame.words(("ratio",))])
        self.put(f"ratio {token.value:g}:1", "compressor", ratio=token.value)

    def _beats(self, frame: _Frame, token: _Token) -> None:
        tempos = [t for other in self.frames for t in other.tokens if t.kind == "bpm"]
        bare = [f for f in self.frames if f is frame or not (f.effect or f.knob or f.band)]
        numbers = [t for f in bare for t in f.tokens if t.kind == "number"]
        tempos += [t for t in numbers if 40 <= t.value <= 240 and t.text[0] not in "+-"]
        bpm = tempos[0].value if tempos else 120.0
        if not tempos:
            self.missed.append(f"{token.text}: no tempo is given, so 120 bpm is taken")
        self.use([token, *tempos])
        seconds = max(60 / max(bpm, 1e-3) * token.value, 0.0)
        said, of = f"{token.text} at {bpm:g} bpm", frame.effect or self.effect
        if of in PEDALS and "rate_hz" in PEDALS[of].names:
            self.put(f"{of} {said}", of, rate_hz=1 / max(seconds, 1e-6))
            return
        self._delay_of(frame, seconds, said)

    def _bits(self, frame: _Frame, token: _Token) -> None:
        self.use([token, *frame.words(("bitcrush",))])
        self.put(f"bitcrush {token.value:g} bits", "bitcrush", bit_depth=token.value)

    def _bpm(self, frame: _Frame, token: _Token) -> None:
        if any(t.kind == "beats" for other in self.frames for t in other.tokens):
            return
        self.use([token])
        if "delay" in (frame.effect, self.effect):
            self._delay_of(frame, 60 / max(token.value, 1e-3), f"a quarter at {token.value:g} bpm")
        else:
            self.missed.append(f"{token.text}: a preset does not change the tempo")

    def _delay_of(self, frame: _Frame, seconds: float, said: str) -> None:
        self.use(frame.words(("echo", "echoes", "delay")))
        self.put(f"delay {1000 * seconds:.0f} ms ({said})", "delay", delay_seconds=seconds)

    def _seconds(self, frame: _Frame, token: _Token) -> None:
        timed = {k: at for k, at in words()["knobs"].items() if at[1].endswith(("_ms", "size"))}
        knob, seconds = frame.word(timed), token.value
        effect, name = timed.get(knob, (frame.effect or self.effect, ""))
        self.use([token, *frame.words((knob,))])
        if effect == "reverb" and name != "pre_delay_ms":
            # The combs' feedback that decays by 60 dB in that time, as a room size.
            size = (10 ** (-3 * _COMB_S / max(seconds, 1e-3)) - 0.7) / 0.28
            low, high = (-3 * _COMB_S / math.log10(0.7 + 0.28 * end) for end in (0, 1))
            if low <= seconds <= high:
                self.put(f"reverb {seconds:g} s", "reverb", room_size=size)
            else:
                told = f"beyond the limit, reverb reaches {low:.1f} to {high:.0f} s"
                self.missed.append(f"{seconds:g} s: {told}, so it is left out")
        elif name:
            self.put(f"{knob} {1000 * seconds:g} ms", effect, **{name: 1000 * seconds})
        elif effect in ("delay", ""):
            self._delay_of(frame, seconds, token.text)
        else:
            self.missed.append(f"{token.text}: not clear of what")

    def _share(self, frame: _Frame, token: _Token) -> None:
        knob = frame.knob
        effect = frame.effect or self.effect or ("reverb" if knob in ("wet", "mix") else "")
        if knob and knob not in ("mix", "wet", "drive"):
            owner, name = words()["knobs"][knob]
            owner = effect if effect in PEDALS and name in PEDALS[effect].names else owner
            self.use([token, *frame.words((knob,))])
            self.put(f"{owner} {knob} {token.text}", owner, **{name: token.value})
            return
        knobs = PEDALS[effect].names if effect in PEDALS else ()
        mixed = next((knob for knob in ("mix", "depth") if knob in knobs), "")
        name = {"reverb": "wet", "distortion": "drive_db"}.get(effect, mixed)
        named = not frame.effect and not knob and any(entry_of(t.text) for t in frame.tokens)
        if named or not name:  # "50 % brighter": a degree
            token.kind = "degree"
            if named:
                frame.tokens.remove(token)
            return
        self.use([token, *frame.words(("mix", "wet", "drive"))])
        if frame.way < 0:
            self.use([t for t in frame.tokens if t.kind == "word"])
            knobs = {name: 1 - token.value}
            self.put(f"{effect} {token.text} less", effect, relative=True, **knobs)
        else:
            high = SPACES[effect][name].high if name == "drive_db" else 1.0
            self.put(f"{effect} {token.text}", effect, **{name: token.value * high})

    def _hz(self, frame: _Frame, token: _Token) -> None:
        shape, gain = frame.shape, frame.get("db")
        low, high = token.value, token.other or token.value
        upper = bool(frame.word(words()["upper"]))
        edge = upper or bool(frame.word(words()["lower"]))
        of = frame.effect or (self.effect if frame.knob or high < 20 else "")
        if of in PEDALS and "rate_hz" in PEDALS[of].names:
            self.use([token, *frame.words(("rate", "speed"))])
            self.put(f"{of} at {token.text}", of, rate_hz=low)
            return
        if not 20 <= low <= high <= 18000:
            self.missed.append(f"{token.text}: beyond 20 to 18000 Hz, the frequency of a band")
            self.use(frame.tokens)
            return
        band = words()["band_names"].get(frame.band)
        if not shape and frame.way < 0 and gain is None:
            # "cut below 100 Hz", "cut the lows at 100 Hz"
            if upper or (not edge and band in ("treble", "air") and low >= 2000):
                shape = "lowpass"
            elif edge or (band in ("bass", "sub") and high <= 400):
                shape = "highpass"
        elif shape in ("", "shelf") and edge and gain is not None:
            shape = "high_shelf" if upper else "low_shelf"
        elif shape == "shelf":
            shape = "high_shelf" if low > 1000 else "low_shelf"
        if shape in ("lowpass", "highpass", "both"):
            self._pass(frame, shape, low, high)
            return
        amount = self._amount(frame, gain)
        if amount is None and shape == "notch":
            amount = -BAND["gain_db"].high
        if amount is None and (frame.way or frame.negated):
            degree = words()["degrees"].get(frame.word(words()["degrees"]), 1.0)
            amount = (-1 if frame.negated else frame.way) * _UNSAID_DB * degree
        if amount is None:
            self.use([token])
            self.missed.append(f"{token.text}: by how much is not said, as in +4 dB at {low:g} Hz")
            return
        centre, q = math.sqrt(low * high), 6.0 if shape == "notch" else _BELL_Q
        q = words()["widths"].get(frame.word(words()["widths"]), q)
        if (said_q := frame.get("number")) and frame.word(("q",)):
            q = said_q.value
        q = clipped(BAND["q"], centre / (high - low) if high > low else q)
        at_hz = {"low_shelf": max(20.0, centre / 4), "high_shelf": min(18000.0, 4 * centre)}
        said = f"{amount:+g} dB at {low:g}" + (f" to {high:g} Hz" if token.other else " Hz")
        said += f" ({shape})" if shape else ""
        if shape not in at_hz:
            self.put_band(said, "bell", centre, amount, q, centre)
        else:
            # The whole gain from an edge on.
            moved = centre * (0.7 if upper else 1.4) if edge else centre
            hz = clipped(BAND["frequency_hz"], moved)
            self.put_band(said, shape, hz, amount, 0.7, at_hz[shape])
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
        self.found.append(Figure(f"{said}, {6 * poles} dB an octave", "eq", {}, tuple(bands)))
        told = {*words()["band_names"], *words()["widths"], *words()["upper"], *words()["lower"]}
        cut = frame.way < 0 and not frame.effect  # the word for what is cut asks for nothing more
        for token in frame.tokens:
            plain = token.kind == "word" and (cut or not entry_of(token.text))
            token.used |= plain or token.is_quantity or token.text in told or token.way != 0

    def _amount(self, frame: _Frame, gain: _Token | None) -> float | None:
        """The gain in dB that a frame states, or a plain number beside a verb."""
        if gain is None and frame.way and not frame.word(("q",)):
            numbers = [t for t in frame.tokens if t.kind == "number" and abs(t.value) <= 18]
            gain = numbers[-1] if numbers else None
        if gain is None:
            return None
        self.use([gain])
        return -abs(gain.value) if frame.way < 0 else gain.value

    def _db(self, frame: _Frame, token: _Token) -> None:
        numbers = [t for t in frame.tokens if t.kind == "number" and 20 <= t.value <= 18000]
        if numbers and not frame.effect:  # "cut 300 by 6 dB"
            numbers[0].kind = "hz"
            self._hz(frame, numbers[0])
            return
        effect, band, amount = frame.effect, frame.band, self._amount(frame, token)
        if frame.knob == "threshold" or effect in ("limiter", "noise_gate"):
            self.use(frame.words(("threshold",)))
            of, value = effect if effect in PEDALS else "compressor", -abs(token.value)
            self.put(f"{of} threshold {value:g} dB", of, threshold_db=value)
        elif effect == "distortion":
            self.use(frame.words(("drive",)))
            self.put(f"drive {amount:g} dB", "distortion", drive_db=amount)
        elif effect in ("reverb", "delay") and amount <= 0:
            name = "wet" if effect == "reverb" else "mix"
            self.put(f"{effect} {amount:g} dB", effect, **{name: 10 ** (amount / 20)})
        elif band:
            kind, hz, q, at_hz = words()["bands"][words()["band_names"][band]]
            self.put_band(f"{amount:+g} dB of {band}", kind, float(hz), amount, q, float(at_hz))
            self.use([t for t in frame.tokens if t.kind != "mark"])
        else:
            self.use([t for t in frame.tokens if t.text in words()["levels"] or t.way])
            self.put(f"level {amount:+g} dB", "gain", gain_db=amount)

    def _number(self, frame: _Frame, token: _Token) -> None:
        knob, is_hz = frame.knob, 20 <= token.value <= 18000
        others = [t for t in frame.tokens if t.kind == "number" and 20 <= t.value <= 18000]
        if others and frame.way and not (frame.effect or knob):
            token, is_hz = others[0], True  # "down 2 at 300"
        mixes = frame.effect and {"mix", "wet"} & set(KNOBS[frame.effect].names)
        mixed = {""} if mixes and token.value % 1 else set()  # "reverb 0.4"
        is_time = words()["knobs"].get(knob, ("", ""))[1].endswith("_ms")
        if is_hz and (frame.shape or (frame.way and not frame.effect and not knob)):
            token.kind = "hz"
            self._hz(frame, token)
        elif knob == "ratio":
            self._ratio(frame, token)
        elif knob == "repeats" and token.value >= 1:
            self.use([token, *frame.words((knob,))])
            said = f"delay {token.value:g} repeats"  # the last one 20 dB down
            self.put(said, "delay", feedback=0.1 ** (1 / token.value))
        elif 0 <= token.value <= 1 and knob in ({"mix", "wet", "feedback", "depth"} | mixed):
            self._share(frame, token)
        elif is_time or (frame.effect == "delay" and token.value >= 20):
            token.value /= 1000
            self._seconds(frame, token)
        elif knob == "threshold" or (frame.band and frame.way and abs(token.value) <= 18):
            self._db(frame, token)
        elif frame.word(words()["pitches"]) and abs(token.value) <= 24:
            self._semitones(frame, token)
        else:
            # A number beside a band is no wish for more of it: "bass 3" may be an amplifier's knob.
            of_knob = not frame.way and token.value <= 11
            bands = frame.words(words()["band_names"]) if of_knob else []
            self.use([token, *bands])
            said = " ".join(t.text for t in (*bands[:1], token))
            self.missed.append(f"{said}: a number without a unit")


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
    heard: dict[str, str] = {}  # the names of sounds

    def hear(text: str, *, complained_of: bool) -> str:
        for k, recipe in enumerate(words()["recipes"] if names else ()):
            if recipe.get("complained_of", False) == complained_of:
                found = [f for f in recipe["names"].finditer(text) if not _is_played(f)]
                heard.update({f"@{k}": f[0] for f in found})
                # The name of what is played asks for nothing.
                text = recipe["names"].sub(f"@{k}" if found else "guitar", text)
        return text

    # "It sounds like a telephone" may be a complaint, "it sounds like Hendrix" is none.
    complaints, text = words()["complaints"], hear(text, complained_of=False)
    # What is complained of becomes "less": "it sounds like a cave, make it dry".
    text = complaints["of"].sub(lambda f: "more " if f["no"] or f["not"] else "less ", text)
    text = complaints["bare"].sub("less ", text)
    for pattern, plain in words()["idioms"]:
        text = pattern.sub(plain, text)
    text = hear(text, complained_of=True)
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
    if not (told or missed or any(how != UNKNOWN for _, how in said.plan)):
        unknown = "".join(f"{word}: {how}; " for word, how in said.plan)
        lacks = "no word says how it should sound, as warmer or +3 dB at 2 kHz would"
        missed = (f"{unknown}{lacks}; only English is understood",)
    return Reading(items, found, (*told, *said.plan), tuple(dict.fromkeys(missed)))


def parse(prompt: str) -> list[Item]:
    """The words of `read` alone, named sounds as the lexicon has them."""
    return list(read(prompt, names=False).items)


def _is_played(found: re.Match) -> bool:
    """Whether a name is that of what is played: "my thin telecaster", "the tele sounds dull"."""
    before, owners = ["", "", *found.string[: found.start()].split()], words()["owners"]
    owned = before[-1] in owners or (before[-2] in owners and entry_of(before[-1]))
    is_subject = re.match(
        r" (?:is|are|sounds|feels|needs|lacks|has)\b", found.string[found.end() :]
    )
    return bool(owned or is_subject)


def _is_foreign(text: str) -> bool:
    """Whether more words of a sentence are of other languages than of English."""
    found, told = re.findall(r"[^\W\d_']+(?:-[^\W\d_']+)*", text), words()
    other = [word in told["foreign"] or not word.isascii() for word in found]
    known = told["filler"] | told["more"] | told["less"] | told["degrees"].keys()
    english = sum(w not in told["foreign"] and (w in known or bool(entry_of(w))) for w in found)
    return sum(other) >= max(1, english)


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
        told = words()
        before = None  # the last entry, while it may still be turned, as in "bass cut"
        for place, token in enumerate(self.tokens):
            word, entry, ahead = token.text, entry_of(token.text), self.tokens[place + 1 :]
            now = None
            if word in told["ends"] or word in (",", "and"):
                in_list = word == "," and _closes_a_list(ahead)
                self.separate(listed=word == "and" or in_list)
            elif token.kind == "degree":
                self.degree = max(-_MAX_DEGREE, min(_MAX_DEGREE, token.value))
            elif token.kind != "word":
                continue
            elif word.startswith("@"):
                self.recipe(told["recipes"][int(word[1:])], self.heard[word])
            elif word in told["not"]:
                self.end_list()
                self.negated = True
            elif word in told["degrees"] and (entry is None or _names_next(ahead)):
                self.end_list()
                self.degree = min(_MAX_DEGREE, self.degree * told["degrees"][word])
            elif not _names_next(ahead) and self.coloured(word, entry):
                continue
            elif word in told["speeds"]:
                self.speed = told["speeds"][word]
                if much := told["degrees"].get(self.tokens[place - 1].text if place else ""):
                    self.speed, self.degree = self.speed**much, self.degree / much  # "very slow"
            elif word in ("attack", "release") and self.speed != 1:
                self.time(word)
            elif entry and not entry[1] and entry[0] in told["strengths"] and _effect_next(ahead):
                self.degree *= told["strengths"][entry[0]]
            elif before and self.may_turn(word) and not _names_next(ahead):
                self.turn(before, way(word))
            elif verb(word) and (entry is None or word in ("lower", "soften")):
                self.end_list()
                self.direction = verb(word)
            elif word in told["pedal_names"]:
                self.pedal(told["pedal_names"][word])
            elif word in ("echo", "echoes") and self.direction >= 0 and not self.negated:
                self.pedal("delay")  # to take an echo away is to take the room's
            elif word in told["parts"] and self.names and (what := self.unknown(place)):
                self.missed.append(f"{what} {word}: {UNKNOWN}")
            elif before and word in told["parts"] and self.is_about(before):
                self.items[before[0]] = _within(self.items[before[0]], word)
                self.plan.append((word, "what that is about"))
            elif entry is not None:
                now = len(self.items), entry, self.degree
                self.ask(word, *entry, colours=_effect_next(ahead))
            elif word in told["not_here"]:
                name = told["not_here"][word]
                named = word if word == name else f"{word} ({name})"
                self.missed.append(f"{named}: a preset has no such effect")
            elif word not in told["filler"] | told["up"] | told["down"]:
                self.plan.append((word, UNKNOWN))
            kept = word in told["degrees"] or word in ("the", "my", "off", "out", "up")
            before = now or (before if kept else None)

    def may_turn(self, word: str) -> bool:
        """Whether a word may turn the one before it, as in "bass cut" and "treble up"."""
        return self.names and (verb(word) != 0 or word in ("up", "down", "out", "off"))

    @property
    def names(self) -> bool:
        """Whether the next word names a sound, and moves nothing."""
        return self.direction == 0 and not self.negated

    def unknown(self, place: int) -> str:
        """What says of a band what is not understood, or "": "chewy mids", "loosen the bass"."""
        said, how = self.plan[-1] if self.plan else ("", "")
        *_, last = ["", *(t.text for t in self.tokens[:place] if t.text not in ("up", "out"))]
        timbre = last == said and re.search("(y|ish|ed|ing|ic)$", said)
        verb = last in words()["owners"] | {"the"} and said == self.tokens[0].text
        return said if how == UNKNOWN and (timbre or verb) else ""

    def is_about(self, before: tuple) -> bool:
        """Whether a band is what the timbre before it is about, as in "a tight low end"."""
        timbre = before[1][0]
        is_timbre = vocabulary()[timbre].has_tone and timbre not in words()["parts"]
        return is_timbre and self.names

    def time(self, name: str) -> None:
        """A fast or slow attack or release: a quarter of what is usual, or four times as long."""
        ms = {"attack": 10.0, "release": 100.0}[name] / self.speed**2
        self.figures.append(Figure(f"{name} {ms:g} ms", "compressor", {f"{name}_ms": ms}))
        self.plan.append((self.figures[-1].said, "figure"))
        self.speed = 1.0

    def turn(self, before: tuple, direction: int) -> None:
        place, entry, degree = before
        del self.items[place:], self.plan[len(self.plan) - 1 :]
        self.direction, self.degree = direction, degree
        self.ask(entry[0], *entry)
        self.direction = 0

    def recipe(self, recipe: Mapping[str, Any], name: str) -> None:
        if name in dict(self.plan):
            return
        says = recipe.get("less", "") if self.direction < 0 else recipe["says"]
        if self.negated or not says:
            self.missed.append(f"{name}: a named sound cannot be taken away")
            return
        found = read(says, names=False)
        self.items += found.items
        self.figures += found.figures
        self.plan.append((name, f"{says} (after {recipe['source']})"))
        self.degree = 1.0

    def pedal(self, name: str) -> None:
        knobs = dict(words()["pedals"][name]["knobs"])
        strong = next((knob for knob in ("mix", "depth") if knob in knobs), "")
        if self.negated or self.direction < 0:
            less = {strong: 0.5} if strong and not self.negated else {}
            figure = Figure(f"less {name}" if less else f"no {name}", name, less, relative=True)
        elif self.direction > 0 and strong and self.speed == 1:
            more = {strong: 1 + 0.4 * self.degree}
            figure = Figure(f"more {name}", name, more, relative=True)
        else:
            if strong == "mix":
                knobs["mix"] = min(0.9, knobs["mix"] * self.degree**0.5)
            elif strong:  # a subtle vibrato is shallow
                knobs["depth"] = min(1.0, knobs["depth"] * self.degree)
            if "rate_hz" in knobs:
                knobs["rate_hz"] *= self.speed
            figure = Figure(name, name, knobs)
        self.figures.append(figure)
        self.plan.append((figure.said, "pedal"))
        self.degree, self.speed, self.listed, self.effect = 1.0, 1.0, False, True

    def coloured(self, word: str, entry: tuple[str, bool] | None) -> bool:
        """Whether a word turns knobs of the pedal just named, as in "a phaser, slow and deep"."""
        told, size = words(), words()["strengths"].get(entry[0] if entry else "")
        factors = {"rate_hz": told["speeds"].get(word), "depth": size}
        just = self.plan and self.plan[-1][1].startswith(("pedal", "of the"))
        if not (just and any(factors.values())) or self.figures[-1].relative:
            return False
        figure = self.figures[-1]
        power, self.negated = (-0.5 if self.negated else 1.0), False  # "not too deep"
        knobs = {
            name: clipped(PEDALS[figure.effect][name], value * (factors.get(name) or 1.0) ** power)
            for name, value in figure.knobs.items()
        }
        self.figures[-1] = replace(figure, knobs=knobs)
        self.plan.append((word, f"of the {figure.effect}"))
        return True

    def separate(self, *, listed: bool) -> None:
        self.degree, self.listed = 1.0, listed
        if not listed:
            self.direction, self.negated = 0, False

    def end_list(self) -> None:
        if self.listed:
            self.separate(listed=False)

    def ask(self, said: str, word: str, comparative: bool, *, colours: bool = False) -> None:
        """Add the item of an entry, and the one that a move towards it takes away.

        A word that `colours` the effect behind it, as in "vintage plate", drives nothing.
        """
        known = vocabulary()
        if colours and known[word].has_tone and known[word].drive_db < COLOUR_DB:
            known = {**known, word: replace(known[word], drive_db=0.0)}
        effect = not known[word].has_tone or word in words()["drive"]
        degree = self.degree
        if comparative or effect != self.effect:
            self.end_list()
        relative = comparative or self.direction != 0
        if self.negated and comparative and not self.direction:
            self.plan.append((said, "left as it is"))  # "brighter, not harsher"
            self.degree, self.listed = 1.0, False
            return
        if self.negated and not relative:
            item = Item(word, known[word], -0.5 * degree, off=effect)
        else:
            opposite = (self.direction < 0) != self.negated
            item = Item(word, known[word], -degree if opposite else degree, relative)
        asked = [item]
        if relative and (other := words()["opposites"].get(word)):
            asked.append(Item(other, known[other], -item.weight, relative=True))
        self.items += asked
        self.plan += [(said, item.told) for item in asked]
        self.degree, self.listed, self.effect = 1.0, False, effect


def _within(item: Item, band: str) -> Item:
    """What a timbre asks for, in a band alone: "a fat low end" leaves the highs as they are."""
    pairs = zip(item.meaning.eq_db, vocabulary()[band].eq_db, strict=True)
    eq_db = tuple(db if of_band > 0 else 0.0 for db, of_band in pairs)
    return replace(item, meaning=replace(item.meaning, eq_db=eq_db)) if any(eq_db) else item


def _names_next(ahead: Sequence[_Token]) -> bool:
    """Whether the next word that is no filler names a sound."""
    told = words()
    for token in ahead:
        if token.kind != "word" or token.text in told["separators"]:
            return False
        is_name = entry_of(token.text) or token.text in told["pedal_names"]
        if is_name or not (token.text in told["filler"] or token.text in told["degrees"]):
            return bool(is_name)
    return False


def _effect_next(ahead: Sequence[_Token]) -> bool:
    """Whether the next word is an effect without a tone of its own."""
    told = words()
    ahead = [t for t in ahead if t.text not in told["speeds"] | told["degrees"]][:1]
    if not ahead or ahead[0].kind != "word":
        return False
    entry = entry_of(ahead[0].text)
    if entry and entry[0] in told["strengths"]:
        return False
    effect = entry and (not vocabulary()[entry[0]].has_tone or entry[0] in words()["drive"])
    return bool(effect) or ahead[0].text in words()["pedal_names"]


def _closes_a_list(ahead: Sequence[_Token]) -> bool:
    """Whether an "and" or "or" comes before anything that ends a list."""
    told = words()
    ends = told["ends"] | told["not"] | told["more"] | told["less"] | {"and", "or"}
    return next((t.text in ("and", "or") for t in ahead if t.text in ends), False)
