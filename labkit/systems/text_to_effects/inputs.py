"""What the network is given: a sentence's pieces, hints from the lexicon, and a picture of the audio."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor

from labkit.learn import text
from labkit.signal.files import check_audio, to_mono
from labkit.signal.spectra import log_mel
from labkit.systems.text_to_effects.config import SENTENCE_WIDTHS, Config
from labkit.systems.text_to_effects.grammar import Item, parse, vocabulary
from labkit.systems.text_to_effects.lexicon import Meaning

MAX_PIECES, MAX_HINTS = 16, 4
HINT_WIDTH = 21
HINT_DEGREE = 18  # where a hint holds its signed degree
# How sharply an unknown word picks its neighbours in the lexicon.
_SHARPNESS = 12.0


def hint_vector(meaning: Meaning, weight: float, *, known: bool) -> np.ndarray:
    """(21,) what one item asks for, every entry of order 1."""
    room = (1.0, *meaning.room[:3], meaning.room[3] / 100) if meaning.room else (0.0,) * 5
    squeeze = (0.0,) * 4
    if meaning.squeeze:
        below_db, ratio, attack_ms, release_ms = meaning.squeeze
        squeeze = (below_db / 20, np.log(ratio), np.log10(attack_ms), np.log10(release_ms) - 2)
    asked = (*(np.array(meaning.eq_db) / 4), *room, meaning.drive_db / 15, meaning.colour, *squeeze)
    return np.array(
        [*(weight * np.array(asked)), weight * meaning.semitones / 6, weight, float(known), 1.0]
    )


def read_sentences(texts: Sequence[str], sentences: str) -> text.Encoded:
    """Up to some dozens of sentences by the encoder of a config's `sentences`.

    Raises:
        ModuleNotFoundError, CheckpointError: if its library or its weights are not here.
    """
    return (text.minilm() if sentences == "minilm" else text.mpnet())(texts)


@cache
def _lexicon_vectors(sentences: str) -> tuple[Tensor, np.ndarray]:
    """The sentence vector of every entry, and its hint."""
    entries = vocabulary()
    words = [word.replace("-", " ") for word in entries]
    parts = [
        read_sentences(words[i : i + 64], sentences).sentence for i in range(0, len(words), 64)
    ]
    return torch.cat(parts), np.array(
        [hint_vector(meaning, 1.0, known=False) for meaning in entries.values()]
    )


def hints_of(prompt: str, sentence: Tensor, sentences: str = "minilm") -> np.ndarray:
    """(n, 21), n of 1 to 4: a hint for every item, or one blended from the nearest entries where none is known.

    Args:
        prompt: the sentence.
        sentence: its vector.
        sentences: by which encoder.
    """
    items: Sequence[Item] = parse(prompt)
    if items:
        return np.array([hint_vector(i.meaning, i.weight, known=True) for i in items[:MAX_HINTS]])
    keys, values = _lexicon_vectors(sentences)
    return (_SHARPNESS * keys @ sentence).softmax(0).numpy()[None].astype(float) @ values


def read_prompts(prompts: Sequence[str], sentences: str = "minilm") -> dict[str, Tensor]:
    """Sentences as the network takes them.

    Args:
        prompts: any number.
        sentences: the encoder, as in `Config`.

    Returns:
        `pieces` (b, 16, width), of width 384 by MiniLM, and `pieces_mask` (b, 16), `hints` (b, 4, 21) and `hints_mask`
        (b, 4); masks are True where there is something.
    """
    n = len(prompts)
    batch = {
        "pieces": torch.zeros(n, MAX_PIECES, SENTENCE_WIDTHS[sentences]),
        "pieces_mask": torch.zeros(n, MAX_PIECES, dtype=torch.bool),
        "hints": torch.zeros(n, MAX_HINTS, HINT_WIDTH),
        "hints_mask": torch.zeros(n, MAX_HINTS, dtype=torch.bool),
    }
    for start in range(0, n, 64):
        chosen = prompts[start : start + 64]
        found = read_sentences(chosen, sentences)
        kept = min(MAX_PIECES, found.tokens.shape[1])
        for k, prompt in enumerate(chosen):
            row = start + k
            batch["pieces"][row, :kept] = found.tokens[k, :kept]
            batch["pieces_mask"][row, :kept] = found.mask[k, :kept]
            hints = torch.from_numpy(hints_of(prompt, found.sentence[k], sentences)).float()
            batch["hints"][row, : len(hints)] = hints
            batch["hints_mask"][row, : len(hints)] = True
    return batch


def picture(audio: np.ndarray, config: Config) -> tuple[Tensor, float]:
    """The loudest stretch of a clip as levels in mel bands over time, and its RMS.

    Args:
        audio: (channels, samples) at the config's rate; silence is allowed.
        config: rate and sizes.

    Returns:
        (n_frames, n_mels), 20 dB to the unit about its own mean; and the RMS in dBFS, at least -80.
    """
    mono = to_mono(check_audio(audio, config.sample_rate))[0]
    samples = round(config.seconds * config.sample_rate)
    if len(mono) > samples:
        energy = np.cumsum(np.concatenate([[0.0], np.square(mono, dtype=np.float64)]))
        start = int((energy[samples:] - energy[:-samples]).argmax())
        mono = mono[start : start + samples]
    mono = np.pad(mono, (0, max(0, samples - len(mono))))
    level_db = max(-80.0, 10 * float(np.log10(np.square(mono, dtype=np.float64).mean() + 1e-12)))
    mel = log_mel(
        torch.from_numpy(mono),
        config.sample_rate,
        n_mels=config.n_mels,
        low_hz=30.0,
        high_hz=16000.0,
    )
    pooled = torch.nn.functional.adaptive_avg_pool1d(mel[None], config.n_frames)[0].T
    return (pooled - pooled.mean()) / 20.0, level_db
