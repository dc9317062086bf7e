"""What is trained on: sentences with what people, or else the lexicon, would set, as far as it is known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from labkit.signal.seeds import generator
from labkit.signal.shipped import load_phrase, phrase_names
from labkit.systems.text_to_effects.config import Config
from labkit.systems.text_to_effects.descriptors import (
    compressor_words,
    eq_words,
    heard_rooms,
    parts,
)
from labkit.systems.text_to_effects.grammar import parse, preset_of, wanted_eq_db
from labkit.systems.text_to_effects.inputs import picture, read_prompts
from labkit.systems.text_to_effects.model import EFFECTS
from labkit.systems.text_to_effects.preset import SPACES

TEMPLATES = ("{}", "make it sound {}", "a {} sound")
PAIRS = ("{} and {}", "{} but {}", "a {}, {} sound")
# The threshold stands for the audio's level less this many dB in tables; the loss puts the level in.
_SQUEEZE_RANGE_DB = 40.0
# As much of a clip as is rendered in training.
_HEARD_SECONDS = 0.5


@dataclass(frozen=True)
class Lesson:
    """A sentence and what is known of its settings.

    Attributes:
        prompt: the sentence.
        words: what it is about; a split by word looks here.
        curve: (40,) in standard deviations of one's own curve, or None.
        units: effect -> (knobs,) in 0..1; a compressor's threshold is how far it lies below the level, 40 dB to 1.
        weight: of the row in the loss.
    """

    prompt: str
    words: tuple[str, ...]
    curve: np.ndarray | None = None
    units: dict[str, np.ndarray] | None = None
    weight: float = 1.0


def lessons(
    config: Config, *, without: frozenset[str] = frozenset(), n_pairs: int = 200
) -> list[Lesson]:
    """Every sentence to learn from, but for those about words with certain stems.

    Args:
        config: seed and dB of a unit.
        without: stems that are kept for a test.
        n_pairs: sentences of two words, whose curve is the sum.

    Returns:
        People's words first, then combinations, then the lexicon's places, drives and pitches.

    Raises:
        FileNotFoundError: if the descriptors are not here.
    """
    curves = [w for w in eq_words() if not parts(w.word) & without]
    made = []
    for k, word in enumerate(curves):
        weight = word.agreement * word.n / (word.n + 2.0)
        text = TEMPLATES[k % len(TEMPLATES)].format(word.word)
        made += [Lesson(p, (word.word,), word.settings, weight=weight) for p in {word.word, text}]
    for word in heard_rooms():
        if not parts(word.word) & without:
            weight = word.n / (word.n + 20.0)
            made.append(
                Lesson(
                    word.word.replace("-", " "),
                    (word.word,),
                    units={"reverb": word.settings},
                    weight=weight,
                )
            )
    for heard in compressor_words():
        if not parts(heard.word) & without:
            units = {
                "compressor": _compressor_unit(
                    heard.squeeze_db, heard.ratio, heard.attack_ms, heard.release_ms
                )
            }
            made.append(
                Lesson(heard.word, (heard.word,), units=units, weight=heard.n / (heard.n + 20.0))
            )
    rng = generator(config.seed, "pairs of words")
    trusted = [w for w in curves if w.n >= 3]
    for _ in range(n_pairs if len(trusted) > 1 else 0):
        first, second = (trusted[i] for i in rng.choice(len(trusted), 2, replace=False))
        prompt = PAIRS[rng.integers(len(PAIRS))].format(first.word, second.word)
        total = 0.7 * (first.settings + second.settings)
        made.append(Lesson(prompt, (first.word, second.word), total, weight=0.3))
    return made + _lexicon_lessons(without)


def _lexicon_lessons(without: frozenset[str]) -> list[Lesson]:
    from labkit.systems.text_to_effects.grammar import vocabulary

    made = []
    for word, meaning in vocabulary().items():
        if not parts(word) & without:
            preset = preset_of(parse(word))
            units = {
                name: SPACES[name].to_unit(getattr(preset, name))
                for name in ("pitch", "distortion")
            }
            weight = 1.0 if meaning.semitones or meaning.drive_db else 0.2
            made.append(Lesson(word.replace("-", " "), (word,), units=units, weight=weight))
    return made


def _compressor_unit(
    squeeze_db: float, ratio: float, attack_ms: float, release_ms: float
) -> np.ndarray:
    space = SPACES["compressor"]
    values = {"ratio": ratio, "attack_ms": attack_ms, "release_ms": release_ms}
    knobs = [
        space[name].to_unit(float(np.clip(v, space[name].low, space[name].high)))
        for name, v in values.items()
    ]
    return np.array([min(1.0, squeeze_db / _SQUEEZE_RANGE_DB), *knobs])


def lexicon_curve(prompt: str, config: Config) -> np.ndarray:
    """(40,) in standard deviations: what the lexicon alone says to a sentence."""
    return wanted_eq_db(parse(prompt)) / config.db_per_unit


def tensors(rows: Sequence[Lesson], sentences: str = "minilm") -> dict[str, Tensor]:
    """All rows as one table: inputs of `read_prompts`, targets, and a weight for each part that is known."""
    n = len(rows)
    table = read_prompts([row.prompt for row in rows], sentences)
    table["curve"] = torch.zeros(n, 40)
    table["curve_weight"] = torch.zeros(n)
    for name in EFFECTS:
        table[name], table[f"{name}_weight"] = torch.zeros(n, len(SPACES[name])), torch.zeros(n)
    for k, row in enumerate(rows):
        if row.curve is not None:
            table["curve"][k], table["curve_weight"][k] = (
                torch.from_numpy(row.curve).float(),
                row.weight,
            )
        for name, unit in (row.units or {}).items():
            table[name][k], table[f"{name}_weight"][k] = torch.from_numpy(unit).float(), row.weight
    return table


def sounds(config: Config, split: str, n: int) -> dict[str, Tensor]:
    """Pictures of dry audio to speak about: crops of the shipped phrases, tilted and at levels of their own.

    Args:
        config: rate and sizes.
        split: ``"train"`` and ``"test"`` take different phrases.
        n: clips.

    Returns:
        `picture` (n, frames, mels), `level_db` (n,), and the beginning of each clip, `audio` (n, samples), untilted.
    """
    names = phrase_names()
    chosen = names[1:] if split == "train" else names[:1]
    made = []
    for k in range(n):
        rng = generator(config.seed, "sounds", split, k)
        audio, rate = load_phrase(chosen[k % len(chosen)])
        samples = round(config.seconds * rate)
        start = int(rng.integers(max(1, audio.shape[1] - samples)))
        seen, _ = picture(audio[:, start : start + samples], replace(config, sample_rate=rate))
        slope = torch.linspace(-1, 1, config.n_mels) * float(rng.uniform(-0.6, 0.6))
        begun = torch.from_numpy(audio[0, start : start + round(_HEARD_SECONDS * rate)])
        made.append((seen + slope, float(rng.uniform(-45.0, -10.0)), begun))
    pictures, levels, begun = zip(*made, strict=True)
    return {
        "picture": torch.stack(pictures),
        "level_db": torch.tensor(levels),
        "audio": torch.stack(begun),
    }
