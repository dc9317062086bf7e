"""The phrases in data/phrases, rendered from scores and seeds: `make data`."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from labkit.signal.files import read_audio, write_audio
from labkit.signal.guitar import GuitarModel, phrase
from labkit.signal.paths import data_dir
from labkit.signal.sampled import Note, Phrase, Sampled, programs
from labkit.signal.seeds import generator

SAMPLE_RATE = 44_100
_SEED = 2_026
_PEAK = 0.5


def render_phrase(name: str) -> np.ndarray:
    """A phrase: float32 `(1, samples)`, peak -6 dBFS, with a short fade at its end."""
    audio = RECIPES[name]()
    edge = SAMPLE_RATE // 20
    audio[:, -edge:] *= np.linspace(1, 0, edge, dtype=np.float32)
    return audio * np.float32(_PEAK / np.abs(audio).max())


def samples_hash(path: Path) -> str:
    """The sha256 of a file's samples as 16-bit integers: the packing of a FLAC file may differ."""
    audio, _ = read_audio(path)
    return hashlib.sha256(np.round(audio * 32_768).astype("<i2").tobytes()).hexdigest()


def _sampled(
    split: str, number: int, seconds: float, beat_seconds: float, score: str
) -> np.ndarray:
    """Play a score: words `beat:key[+key...]:beats[:velocity]`, keys as MIDI numbers."""
    notes = []
    for index, word in enumerate(score.split()):
        beat, keys, beats, *velocity = word.split(":")
        for place, key in enumerate(keys.split("+")):
            start = float(beat) * beat_seconds + 0.012 * place + 0.003 * (index % 3)
            loudness = int(velocity[0]) if velocity else 96 - 4 * (index % 3)
            notes.append(Note(start, float(beats) * beat_seconds, int(key), loudness))
    player = Sampled(seconds=seconds, sample_rate=SAMPLE_RATE)
    (program,) = (p for p in programs(split) if (p.bank, p.number) == (0, number))
    return player.play(Phrase(tuple(notes)), program, lead_seconds=-0.03)


def _generated(index: int, style: str, seconds: float) -> np.ndarray:
    model = GuitarModel.draw(generator(_SEED, "shipped guitar", index))
    rng = generator(_SEED, "shipped phrase", index)
    return phrase(rng, model=model, sample_rate=SAMPLE_RATE, seconds=seconds, style=style)


_RIFF = (
    "0:40:0.9:112 1:52:0.4 1.5:55:0.4 2:57:0.9:108 3:55:0.4 3.5:52:0.4 "
    "4:40:0.4:110 4.5:43:0.4 5:45:0.9:112 6:57+60+64:0.9:100 7:50:0.4 7.5:52:0.4 "
    "8:40+47+52+59:2.2:110"
)
_STRUM = (
    "0:43+47+50+55+59+67:0.95:104 1:67+59+55+50:0.45:72 1.5:43+47+50+55+59+67:0.9:92 "
    "2.5:67+59+55:0.45:70 3:40+47+52+55+59+64:0.95:104 4:64+59+55+52:0.45:72 "
    "4.5:40+47+52+55+59+64:0.9:92 5.5:64+59+55:0.45:70 6:48+52+55+60+64:0.95:104 "
    "7:64+60+55+52:0.45:74 7.5:50+57+62+66:2.5:100"
)
_LINE = (
    "0:57:0.5 0.5:60:0.5 1:62:0.5 1.5:64:0.9 2.5:67:0.5 3:66:0.5 3.5:64:1.2 "
    "5:62:0.5 5.5:60:0.5 6:57:0.9 7:55:0.4 7.5:56:0.4 8:57:2"
)
_ARPEGGIO = (
    "0:45:4 0.5:52:3 1:57:3 1.5:60:2.5 2:64:2 2.5:60:2 3:57:2 3.5:52:2 "
    "4:41:4 4.5:48:3 5:53:3 5.5:57:2.5 6:60:2 6.5:57:2 7:53:2 7.5:48:2 8:40:3 "
    "8.5:47+52+56+59:3:84"
)
RECIPES: dict[str, Callable[[], np.ndarray]] = {
    "riff": lambda: _sampled("test", 27, 4.2, 0.4, _RIFF),
    "strum": lambda: _sampled("test", 25, 4.4, 0.42, _STRUM),
    "line": lambda: _sampled("train", 26, 4.2, 0.4, _LINE),
    "arpeggio": lambda: _sampled("train", 24, 4.4, 0.42, _ARPEGGIO),
    "generated_chords": lambda: _generated(0, "strum", 4.0),
    "generated_line": lambda: _generated(1, "expressive", 4.0),
}


if __name__ == "__main__":
    for name in RECIPES:
        path = data_dir() / "phrases" / f"{name}.flac"
        write_audio(path, render_phrase(name), SAMPLE_RATE, subtype="PCM_16")
        print(f"{name}  {samples_hash(path)}")
