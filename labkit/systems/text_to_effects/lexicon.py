"""What sound engineers mean by words: a lexicon of our own, written from general knowledge and fitted to nobody's data.

A line gives words that mean the same, and what they ask for:

- ``eq``: the change in dB at 60, 200, 600, 2000, 5000 and 12000 Hz;
- ``room``: wet share, room size, damping (each 0..1) and pre-delay in ms;
- ``drive``: dB into a distortion; ``colour``: -1 dark to 1 bright, of that distortion;
- ``squeeze``: dB by which a compressor's threshold lies below the level, its ratio, attack and release in ms;
- ``pitch``: semitones.
"""

from dataclasses import dataclass
from functools import cache

ANCHORS_HZ = (60.0, 200.0, 600.0, 2000.0, 5000.0, 12000.0)


@dataclass(frozen=True)
class Meaning:
    """What a word asks for; all zeros ask for nothing.

    Attributes:
        eq_db: at `ANCHORS_HZ`.
        room: wet share, size, damping, pre-delay in ms; None leaves the room alone.
        drive_db: into the distortion.
        colour: -1..1, of the distortion.
        squeeze: dB below the level, ratio, attack and release in ms; None leaves the dynamics alone.
        semitones: of pitch.
    """

    eq_db: tuple[float, ...] = (0.0,) * len(ANCHORS_HZ)
    room: tuple[float, float, float, float] | None = None
    drive_db: float = 0.0
    colour: float = 0.0
    squeeze: tuple[float, float, float, float] | None = None
    semitones: float = 0.0

    @property
    def tilt_db(self) -> float:
        """Highs minus lows: mean of the upper three anchors less that of the lower three."""
        return sum(self.eq_db[3:]) / 3 - sum(self.eq_db[:3]) / 3


def _eq(*eq_db: float) -> Meaning:
    return Meaning(eq_db=tuple(map(float, eq_db)))


# Timbre: lows, warmth, body, presence, edge, air.
_TIMBRE: dict[str, Meaning] = {
    "warm warmth toasty cosy cozy": _eq(2, 4, 2, -1, -3, -4),
    "mellow gentle tender": _eq(1, 3, 1, -2, -4, -4),
    "smooth silky velvety creamy buttery": _eq(1, 2, 1, -2, -3, -2),
    "soft softer muted quiet subdued mild": _eq(1, 2, 1, -2, -4, -4),
    "calm soothing relaxing relaxed peaceful serene tranquil": _eq(2, 3, 1, -2, -4, -4),
    "rich lush": _eq(3, 4, 2, 0, -1, -1),
    "full fuller fullness": _eq(4, 4, 1, 0, -1, -1),
    "fat phat thick meaty beefy chunky": _eq(5, 5, 1, -1, -2, -3),
    "round rounded": _eq(2, 4, 1, -2, -3, -4),
    "deep low": _eq(6, 4, -1, -3, -4, -5),
    "bassy bass boomy booming subby thumping": _eq(7, 4, -2, -3, -3, -3),
    "heavy massive huge big large": _eq(6, 4, -1, -1, -1, -2),
    "dark darker gloomy murky": _eq(4, 4, 1, -3, -6, -7),
    "dull lifeless flat": _eq(1, 3, 2, -2, -5, -7),
    "muffled smothered dampened stuffy": _eq(2, 5, 3, -4, -9, -12),
    "muddy mud sludgy": _eq(4, 6, 2, -3, -5, -5),
    "boxy cardboard": _eq(-2, 3, 6, 0, -3, -4),
    "hollow empty": _eq(1, -3, -5, 1, 1, 0),
    "scooped": _eq(4, 1, -5, -4, 2, 3),
    "nasal honky": _eq(-4, -3, 5, 5, -1, -3),
    "wooden woody organic natural": _eq(0, 3, 3, 0, -2, -3),
    "thin skinny weak small tiny lightweight": _eq(-7, -5, -1, 2, 3, 2),
    "tinny tin canned": _eq(-9, -7, 0, 5, 5, 2),
    "metallic steely": _eq(-4, -4, -1, 4, 5, 3),
    "bright brighter brightness brilliant vivid radiant luminous": _eq(-3, -3, -1, 2, 5, 5),
    "crisp crispy crunching articulate": _eq(-3, -3, -1, 2, 5, 5),
    "clear clearer clarity clean pristine transparent pure": _eq(-2, -3, -1, 3, 4, 3),
    "sparkling sparkly sparkle shiny shimmering glassy glossy shimmer": _eq(-3, -3, -2, 1, 4, 6),
    "airy air breathy light weightless ethereal": _eq(-5, -4, -1, 1, 3, 6),
    "open spread": _eq(-1, -2, -1, 1, 3, 4),
    "delicate fine dainty": _eq(-4, -2, 0, 1, 2, 3),
    "sweet sugary": _eq(-1, 1, 1, 1, 1, 2),
    "sharp sharper pointed cutting biting incisive": _eq(-5, -4, -1, 4, 6, 4),
    "harsh abrasive strident grating irritating annoying": _eq(-5, -4, 0, 5, 6, 3),
    "shrill piercing screeching squeaky ear-piercing": _eq(-8, -6, -2, 5, 7, 4),
    "edgy edge aggressive biting fierce": _eq(-2, -1, 1, 4, 4, 2),
    "brittle icy": _eq(-6, -5, -2, 2, 5, 6),
    "hard tough": _eq(-2, -2, 1, 4, 4, 2),
    "loud louder blaring": _eq(2, 1, 1, 3, 3, 1),
    "punchy punch kick impact": _eq(4, 2, -2, 2, 3, 0),
    "tight focused controlled": _eq(-2, -2, 0, 2, 1, 0),
    "powerful strong mighty bold epic": _eq(4, 3, 0, 2, 2, 1),
    "present presence forward upfront vocal": _eq(-2, -1, 1, 4, 3, 1),
    "cold cool chilly frosty": _eq(-3, -3, -1, 1, 3, 3),
    "sterile clinical digital synthetic": _eq(-2, -3, -1, 2, 3, 3),
    "modern polished professional hi-fi hifi": _eq(2, -1, -2, 1, 2, 3),
    "energetic lively exciting upbeat excited": _eq(1, -1, 0, 2, 4, 3),
    "happy cheerful joyful joyous bubbly fun playful": _eq(-2, -2, 0, 2, 3, 3),
    "sad melancholy melancholic mournful depressing sombre somber": _eq(2, 3, 1, -2, -4, -4),
    "romantic loving intimate sensual passionate": _eq(2, 3, 1, -1, -2, -3),
    "angry furious mean violent": _eq(3, 1, 1, 3, 4, 1),
    "scary spooky ominous sinister evil haunting": _eq(5, 3, -1, -3, -4, -4),
    "mysterious dreamy hypnotic sleepy": _eq(2, 2, 0, -2, -3, -2),
    "jazzy bluesy": _eq(1, 3, 2, -1, -2, -3),
    "acoustic": _eq(-1, 1, 1, 1, 1, 1),
    "electric electronic": _eq(-1, -1, 1, 2, 3, 2),
    "beautiful pretty lovely pleasant nice": _eq(0, 1, 0, 1, 1, 1),
    "dry dead": _eq(-2, -1, 1, 1, 0, -2),
    "wet moist": _eq(1, 1, 0, -1, 0, 1),
    "hot fiery": _eq(0, 2, 2, 3, 2, 0),
    "old antique dated": _eq(-5, 0, 4, 2, -3, -7),
    "telephone phone megaphone walkie-talkie intercom": _eq(-18, -10, 4, 7, -6, -18),
    "radio transistor": _eq(-14, -6, 4, 5, -3, -12),
    "crackling crackly scratchy": _eq(-5, -3, 1, 3, 4, 2),
    "buzzing buzzy fuzzy": _eq(-2, 0, 2, 4, 3, 0),
    "distant far faraway remote": _eq(-4, -1, 1, -1, -4, -6),
    "close near": _eq(2, 2, 0, 1, 1, 1),
    "underwater submerged drowned": _eq(3, 5, 1, -9, -16, -18),
    "balanced neutral even": _eq(0, 0, 0, 0, 0, 0),
}
# Places: wet share, size, damping, pre-delay.
_PLACES: dict[str, tuple[float, float, float, float]] = {
    "reverb reverberant reverberation ambience ambient ambiance": (0.35, 0.6, 0.4, 20.0),
    "echo echoing echoey echoes": (0.4, 0.7, 0.4, 80.0),
    "spacious space wide roomy expansive airy open atmospheric": (0.35, 0.75, 0.35, 30.0),
    "cathedral abbey basilica": (0.5, 0.97, 0.3, 45.0),
    "church chapel temple holy": (0.45, 0.88, 0.35, 35.0),
    "hall concert-hall auditorium concert orchestra": (0.4, 0.8, 0.4, 30.0),
    "stadium arena": (0.45, 0.9, 0.5, 70.0),
    "theatre theater opera": (0.32, 0.65, 0.55, 22.0),
    "cave cavern cavernous tunnel dungeon": (0.5, 0.9, 0.25, 40.0),
    "canyon mountain valley": (0.4, 0.9, 0.5, 100.0),
    "chamber plate": (0.35, 0.6, 0.2, 5.0),
    "spring surf": (0.3, 0.5, 0.3, 8.0),
    "room": (0.2, 0.35, 0.5, 6.0),
    "studio booth": (0.08, 0.15, 0.8, 2.0),
    "bedroom living-room closet": (0.12, 0.18, 0.85, 2.0),
    "kitchen garage basement": (0.25, 0.35, 0.35, 4.0),
    "bathroom shower": (0.35, 0.3, 0.1, 3.0),
    "club bar pub cellar": (0.2, 0.4, 0.65, 8.0),
    "warehouse factory hangar": (0.4, 0.82, 0.25, 35.0),
    "outdoor outdoors outside street forest field": (0.08, 0.3, 0.9, 60.0),
    "dreamy ethereal heavenly angelic haunting spooky mysterious": (0.45, 0.9, 0.35, 30.0),
    "distant far faraway remote": (0.5, 0.7, 0.6, 5.0),
    "intimate close near cosy cozy": (0.08, 0.2, 0.7, 2.0),
    "lush romantic majestic epic": (0.3, 0.75, 0.45, 25.0),
    "huge massive big large": (0.35, 0.88, 0.4, 35.0),
    "wet": (0.45, 0.7, 0.4, 20.0),
    "hollow empty lonely": (0.3, 0.6, 0.3, 15.0),
    "underwater": (0.4, 0.6, 0.95, 10.0),
}
_DRIVE: dict[str, tuple[float, float]] = {
    "distorted distortion": (20.0, 0.0),
    "overdriven overdrive crunchy crunch driven": (14.0, 0.1),
    "fuzzy fuzz": (26.0, -0.1),
    "saturated saturation": (8.0, -0.1),
    "gritty grit dirty dirt rough raw grungy gravelly rusty": (12.0, 0.2),
    "tube valve tape analog analogue vinyl": (5.0, -0.3),
    "vintage retro 1970s 70s 1960s 60s lo-fi lofi old-school": (6.0, -0.5),
    "aggressive angry fierce violent": (12.0, 0.3),
    "metal grunge": (24.0, 0.3),
    "broken destroyed crushed blown": (28.0, 0.2),
    "warm warmth": (3.0, -0.3),
    "harsh abrasive": (9.0, 0.6),
    "robot robotic machine": (16.0, 0.4),
    "monster demon demonic": (10.0, -0.4),
    "crackling crackly scratchy": (10.0, 0.4),
    "telephone phone radio megaphone transistor": (9.0, 0.2),
}
_TONE_OF_DRIVE: dict[str, Meaning] = {
    "distorted distortion fuzz overdriven overdrive crunchy crunch driven": _eq(-2, 0, 2, 3, 1, -3),
    "saturated saturation tape": _eq(2, 3, 1, -1, -2, -4),
    "gritty grit dirty dirt rough raw grungy gravelly rusty": _eq(-1, 0, 2, 3, 2, -1),
    "tube valve analog analogue": _eq(1, 3, 2, 0, -2, -4),
    "vinyl vintage retro 1970s 70s 1960s 60s lo-fi lofi old-school": _eq(-3, 2, 3, 0, -4, -8),
    "metal grunge": _eq(4, 1, -3, 2, 4, 0),
    "robot robotic machine": _eq(-4, -2, 2, 4, 2, -2),
    "monster demon demonic": _eq(6, 4, 0, -2, -3, -5),
}
_SQUEEZE: dict[str, tuple[float, float, float, float]] = {
    "compressed compression compressor": (10.0, 4.0, 10.0, 120.0),
    "punchy punch kick impact": (8.0, 4.0, 30.0, 100.0),
    "tight controlled focused": (8.0, 4.0, 8.0, 80.0),
    "squashed crushed smashed flattened": (22.0, 12.0, 1.0, 60.0),
    "pumping breathing": (18.0, 8.0, 5.0, 300.0),
    "glued glue cohesive": (6.0, 2.0, 30.0, 150.0),
    "sustained sustain": (14.0, 5.0, 15.0, 250.0),
    "smooth even levelled leveled consistent steady": (8.0, 3.0, 20.0, 200.0),
    "opto": (8.0, 3.0, 20.0, 300.0),
    "loud louder powerful aggressive": (10.0, 5.0, 8.0, 80.0),
    "modern polished professional radio": (8.0, 3.0, 15.0, 120.0),
}
_PITCH: dict[str, float] = {
    "octave-up chipmunk": 12.0,
    "octave-down": -12.0,
    "monster demon demonic giant": -7.0,
    "child childlike elf": 4.0,
    "higher-pitched high-pitched": 3.0,
    "lower-pitched low-pitched": -3.0,
}


@cache
def lexicon() -> dict[str, Meaning]:
    """Word -> what it asks for; a compound of several words is written with hyphens."""
    facts: dict[str, dict[str, object]] = {}
    tables: tuple[tuple[str, dict], ...] = (
        ("eq_db", {words: meaning.eq_db for words, meaning in (_TONE_OF_DRIVE | _TIMBRE).items()}),
        ("room", _PLACES),
        ("squeeze", _SQUEEZE),
        ("semitones", _PITCH),
    )
    for name, lines in tables:
        for words, value in lines.items():
            for word in words.split():
                facts.setdefault(word, {}).setdefault(name, value)
    for words, (drive_db, colour) in _DRIVE.items():
        for word in words.split():
            facts.setdefault(word, {}).setdefault("drive_db", drive_db)
            facts[word].setdefault("colour", colour)
    return {word: Meaning(**found) for word, found in facts.items()}
