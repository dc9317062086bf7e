"""Whether the rendered sound went where people would have taken it: the change of its spectrum beside their curve."""

from collections.abc import Iterator, Sequence

import numpy as np

from labkit.measure.score import Row, wilson_interval
from labkit.signal.files import read_audio, to_mono
from labkit.signal.paths import real_data_dir
from labkit.signal.shipped import load_phrase, phrase_names
from labkit.systems.text_to_effects.descriptors import Word
from labkit.systems.text_to_effects.model import TextToEffects
from labkit.systems.text_to_effects.predict import predict
from labkit.systems.text_to_effects.response import BANDS_HZ

_REAL_FOLDERS = ("guitar_di", "music", "speech")
_BLOCK, _SECONDS = 65536, 8.0
# Of a band, a third of an octave wide; bands this far below the loudest one hold nothing that could change.
_HALF_WIDTH, SILENT_DB = 2.0**0.17, 55.0


def band_levels_db(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """(40,) dB: the power of a sound in a third of an octave around each of `BANDS_HZ`.

    Args:
        audio: (samples,).
        sample_rate: Hz.
    """
    padded = np.pad(audio, (0, -len(audio) % _BLOCK)).reshape(-1, _BLOCK)
    power = np.square(np.abs(np.fft.rfft(padded * np.hanning(_BLOCK)))).sum(0)
    hz = np.fft.rfftfreq(_BLOCK, 1 / sample_rate)
    inside = [(hz > band / _HALF_WIDTH) & (hz < band * _HALF_WIDTH) for band in BANDS_HZ]
    return np.array([10 * np.log10(power[one].sum() + 1e-9) for one in inside])


def correlations(
    model: TextToEffects,
    words: Sequence[Word],
    curves: np.ndarray,
    audio: np.ndarray,
    sample_rate: int,
) -> np.ndarray:
    """How the change of a sound's spectrum goes with people's curve, for each word.

    Args:
        model: in evaluation mode.
        words: each is a prompt of its own.
        curves: (n, 40), people's.
        audio: (1, samples) float32, not silent.
        sample_rate: Hz.

    Returns:
        (n,) Pearson correlations over the bands that hold any sound.
    """
    before = band_levels_db(audio[0], sample_rate)
    heard = before > before.max() - SILENT_DB
    found = []
    for word, curve in zip(words, curves, strict=True):
        wet = predict(model, audio, sample_rate, word.word).preset.board(sample_rate)(
            audio, sample_rate
        )
        moved = band_levels_db(wet[0], sample_rate) - before
        found.append(np.corrcoef(moved[heard], curve[heard])[0, 1])
    return np.array(found)


def direction_rows(
    model: TextToEffects, words: Sequence[Word], curves: np.ndarray, seed: int, checkpoint: str
) -> list[Row]:
    """Rows "right direction" and "correlation" for words that the model was taught, on sounds that it never heard."""
    rows = []
    for kind, sounds in {
        "sampled": [load_phrase(phrase_names()[0])],
        "real": list(_recordings()),
    }.items():
        found = [correlations(model, words, curves, audio, rate) for audio, rate in sounds]
        if not found:
            continue
        flat = np.concatenate(found)
        right = int((flat > 0).sum())
        low, high = wilson_interval(right, len(flat))
        shared = {
            "protocol": "rendered sound of a word seen in training",
            "name": "network",
            "sources": kind,
        }
        shared |= {"unit": "", "seed": seed, "checkpoint": checkpoint or None, "n": len(flat)}
        rows.append(
            Row(
                metric="right direction",
                ours=right / len(flat),
                low=low,
                high=high,
                chance=0.5,
                **shared,
            )
        )
        rows.append(
            Row(metric="correlation", ours=float(flat.mean()), low=None, high=None, **shared)
        )
    return rows


def _recordings() -> Iterator[tuple[np.ndarray, int]]:
    """The beginning of the first recording of each folder, where there are any."""
    folder = real_data_dir()
    for name in _REAL_FOLDERS if folder else ():
        for file in sorted((folder / name).glob("*"))[:1]:
            audio, rate = read_audio(file)
            yield to_mono(audio)[:, : round(_SECONDS * rate)].astype(np.float32), rate
