"""From a sentence and anybody's recording to a preset, and from a file to a folder with the result."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from labkit.learn.text import split_words
from labkit.signal.files import check_audio, read_audio, resample
from labkit.signal.paths import replace_text
from labkit.signal.seeds import generator
from labkit.systems.text_to_effects.config import Config
from labkit.systems.text_to_effects.descriptors import stem
from labkit.systems.text_to_effects.grammar import (
    DESK,
    Item,
    apply_items,
    parse,
    preset_of,
    vocabulary,
)
from labkit.systems.text_to_effects.inputs import picture, read_prompts
from labkit.systems.text_to_effects.lexicon import ANCHORS_HZ
from labkit.systems.text_to_effects.model import TextToEffects, nearness
from labkit.systems.text_to_effects.preset import SPACES, Preset
from labkit.systems.text_to_effects.stream import Rendered, render_file

_HEAR_SECONDS = 30.0
# Where nobody asked for an effect by name, the network must be surer than its idle value to switch it on.
_SURE_DRIVE_DB, _SURE_SEMITONES, _SURE_ROOM = 4.0, 1.5, 0.5
# From this drive on, a word is about the drive, and its tone goes with it.
_DRIVEN_DB = 10.0
# Below this nearness to all that people taught, a first guess would say next to nothing.
_FAR = 0.5


@dataclass(frozen=True)
class Prediction:
    """What a sentence means for a recording.

    Attributes:
        prompt: the sentence.
        preset: the settings.
        items: what the grammar understood.
        by: ``"network"`` where people's settings had a say, else ``"lexicon"``.
        level_db: RMS of the recording in dBFS.
    """

    prompt: str
    preset: Preset
    items: tuple[Item, ...]
    by: str
    level_db: float

    def understood(self) -> str:
        """The words that were understood with their degrees, on a line."""
        words = [
            f"{i.word} {'off' if i.off else f'{i.weight:+.1f}'}{' (moves)' if i.relative else ''}"
            for i in self.items
        ]
        return (
            ", ".join(words)
            or "no word of the lexicon; guessed by meaning" * (self.by == "network")
            or "nothing"
        )


def predict(
    model: TextToEffects | None,
    audio: np.ndarray,
    sample_rate: int,
    prompt: str,
    *,
    current: Preset | None = None,
    strength: float = 1.0,
) -> Prediction:
    """The settings that a sentence asks for.

    Words that name a sound ("warm", "in a cathedral") are answered by the network: equaliser and room as people set
    them; for words of tone that people did not teach it, the equaliser is its first guess, or the lexicon's where a
    word is like nothing that they taught ("telephone"). Pitch and drive, which people were not asked for, and the
    compressor, of which they say nothing (their thresholds are as good as random), follow the lexicon. Words that move
    ("brighter", "less reverb", "not thin") then move these settings, or, alone, the present ones.

    Args:
        model: of `load` or `train`; None answers by the lexicon alone.
        audio: (channels, samples), any length and level.
        sample_rate: Hz.
        prompt: English.
        current: settings that a sentence of moves alone starts from; neutral when None.
        strength: 0 to 2, of the whole result.

    Returns:
        The prediction.

    Raises:
        AudioError: if audio is empty or not finite.
        ValueError: for a prompt without letters, or a strength out of range.
    """
    items = parse(prompt)
    config = model.config if model is not None else Config()
    heard, level_db = picture(
        resample(check_audio(audio, sample_rate), sample_rate, config.sample_rate), config
    )
    named = [item for item in items if item.weight > 0 and not item.relative]
    moves = [item for item in items if item not in named]
    preset, by = preset_of(named, level_db=level_db), "lexicon"
    if model is not None and (named or not items):
        # People were never asked for "not thin" or "brighter": those are the grammar's.
        toned = _without_drive(named, model.config.taught)
        asked = (
            ", ".join(item.word.replace("-", " ") for item in toned)
            if len(toned) < len(items)
            else prompt
        )
        taught = _taught(model, asked, toned, preset, heard, level_db)
        preset, by = taught, "lexicon" if taught == preset else "network"
    if moves and not named:
        preset = current or Preset()
    preset = apply_items(moves, preset, level_db=level_db) if moves else preset
    return Prediction(prompt, preset.scaled(strength), tuple(items), by, level_db)


@torch.no_grad()
def _taught(
    model: TextToEffects,
    prompt: str,
    named: Sequence[Item],
    lexicon: Preset,
    heard: torch.Tensor,
    level_db: float,
) -> Preset:
    """The lexicon's preset with what people taught the network in its place."""
    device = next(model.parameters()).device
    batch = read_prompts([prompt], model.config.sentences)
    batch |= {"picture": heard[None], "level_db": torch.tensor([level_db])}
    batch = {name: column.to(device) for name, column in batch.items()}
    said, found = model(batch).hard().preset(0), lexicon
    toned = not named or any(any(item.meaning.eq_db) for item in named)
    wanted = [item for item in named if item.weight > 0]
    if toned:
        # What was measured on words never seen: the first guess is nearer to people than what the network adds to it.
        eq = said.eq if is_familiar(prompt, named, model.config) else model.guessed_bands(batch, 0)
        found = (
            found
            if any(is_far(item, model.config.taught) for item in named)
            else replace(found, eq=eq)
        )
    if any(item.meaning.room for item in wanted):
        # People's reverberator was always on, its delay that of a comb: they say something of size and colour alone.
        mixed = {
            name: 0.5 * (said.reverb[name] + lexicon.reverb[name])
            for name in ("room_size", "damping")
        }
        found = replace(found, reverb=lexicon.reverb | mixed)
    return found if named else _guessed(found, said, float(batch["hints"][0, 0, 6]))


def is_familiar(prompt: str, named: Sequence[Item], config: Config) -> bool:
    """Whether people have taught the network every word of tone that was understood, or else any word at all."""
    toned = [item for item in named if any(item.meaning.eq_db)]
    if toned:
        return all(stem(item.word) in config.taught for item in toned)
    return any(stem(word) in config.taught for word in split_words(prompt))


def _without_drive(named: Sequence[Item], taught: tuple[str, ...]) -> list[Item]:
    """Items but for drive that nobody taught, where another tone is named: "dark and distorted" is a dark tone."""
    plain = [i for i in named if i.meaning.drive_db < _DRIVEN_DB or stem(i.word) in taught]
    return plain if any(any(item.meaning.eq_db) for item in plain) else list(named)


def is_far(item: Item, taught: tuple[str, ...]) -> bool:
    """Whether an item's tone is like nothing that people taught: a telephone, a range of the desk. Nobody can guess it.

    Args:
        item: of the grammar.
        taught: stems, as in `Config`.
    """
    if not any(item.meaning.eq_db) or stem(item.word) in taught:
        return False
    known = _taught_curves(taught)
    asked = torch.tensor([item.meaning.eq_db]) / 4.0
    return item.word in DESK or not len(known) or float(nearness(asked, known).max()) < _FAR


@cache
def _taught_curves(taught: tuple[str, ...]) -> torch.Tensor:
    """(n, 6): what the lexicon says of the words that people taught, in units of 4 dB."""
    curves = {m.eq_db for word, m in vocabulary().items() if any(m.eq_db) and stem(word) in taught}
    return torch.tensor(sorted(curves)).view(-1, len(ANCHORS_HZ)) / 4.0


def _guessed(found: Preset, said: Preset, room: float) -> Preset:
    """Effects for a sentence without a known word: on where the network is sure."""
    if room > _SURE_ROOM:
        found = replace(found, reverb=dict(said.reverb) | {"wet": min(0.4, 0.5 * room)})
    if said.distortion["drive_db"] > _SURE_DRIVE_DB:
        found = replace(found, distortion=dict(said.distortion))
    if abs(said.pitch["semitones"]) > _SURE_SEMITONES:
        found = replace(found, pitch=dict(said.pitch))
    return found


def variations(preset: Preset, n: int, *, seed: int = 0, spread: float = 0.12) -> list[Preset]:
    """The preset and n - 1 others near it: knobs of what is on, moved at random.

    Args:
        preset: the first one.
        n: 1 to 16.
        seed: of the moves.
        spread: standard deviation, as a share of a knob's range.

    Raises:
        ValueError: if n is out of range.
    """
    if not 1 <= n <= 16:
        raise ValueError(f"n must lie in 1..16, got {n}")
    found = [preset]
    for k in range(1, n):
        rng = generator(seed, "variation", k)
        factor = float(np.exp(rng.normal(0, 4 * spread)))
        eq = tuple(
            replace(
                b, gain_db=float(np.clip(b.gain_db * factor + rng.normal(0, 10 * spread), -18, 18))
            )
            for b in preset.eq
        )
        changed = {}
        for name, space in SPACES.items():
            unit = space.to_unit(getattr(preset, name))
            on = name != "pitch" and getattr(preset, name) != getattr(Preset(), name)
            changed[name] = space.from_unit(
                np.clip(unit + on * rng.normal(0, spread, len(unit)), 0, 1)
            )
        found.append(replace(preset, eq=eq, **changed))
    return found


@dataclass(frozen=True)
class Written:
    """One candidate in the output folder.

    Attributes:
        preset: its settings.
        preset_path, code_path: JSON and pedalboard code.
        rendered: the sound.
    """

    preset: Preset
    preset_path: Path
    code_path: Path
    rendered: Rendered


def process_file(
    model: TextToEffects | None,
    source: str | Path,
    prompt: str,
    *,
    output: str | Path | None = None,
    seconds: float | None = None,
    current: Preset | None = None,
    strength: float = 1.0,
    n: int = 1,
    seed: int = 0,
) -> tuple[Prediction, list[Written]]:
    """A file through a sentence: a folder with sound, preset, code and summary for each candidate.

    Args:
        model: as in `predict`; it hears the first half minute.
        source: an audio file of any format, rate and length.
        prompt: English.
        output: the folder, made if need be; ``output/PROMPT`` by default.
        seconds: of the source; None is all.
        current: as in `predict`.
        strength: as in `predict`.
        n: candidates, the first one is the prediction.
        seed: of the others.

    Returns:
        The prediction and what was written.

    Raises:
        AudioError, ValueError: as `predict`, `render_file` and `variations`.
    """
    if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
        raise ValueError(f"seconds must be above 0, got {seconds}")
    audio, rate = read_audio(source, max_seconds=min(seconds or math.inf, _HEAR_SECONDS))
    found = predict(model, audio, rate, prompt, current=current, strength=strength)
    presets = variations(found.preset, n, seed=seed)
    name = slug(prompt)
    folder = Path(output) if output is not None else Path("output") / name
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for k, preset in enumerate(presets, start=1):
        stem = name if n == 1 else f"{name}_{k}"
        paths = [folder / f"{stem}{ending}" for ending in (".wav", ".preset.json", ".board.py")]
        rendered = render_file(preset, source, paths[0], max_seconds=seconds)
        preset.save(paths[1])
        replace_text(paths[2], preset.to_code(rate) + "\n")
        written.append(Written(preset, paths[1], paths[2], rendered))
    replace_text(folder / f"{name}.summary.txt", summary(found, written, Path(source).name) + "\n")
    return found, written


def slug(prompt: str) -> str:
    """A file name from a sentence: at most 48 letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", prompt.lower()).strip("_")[:48].rstrip("_") or "prompt"


def summary(found: Prediction, written: Sequence[Written], source: str) -> str:
    """What was asked, understood, set and written, as text."""
    lines = [
        f"source      {source}",
        f"prompt      {found.prompt}",
        f"understood  {found.understood()}",
        f"answered by {found.by}",
        "",
    ]
    for one in written:
        sound = one.rendered
        lines += [
            f"{sound.path.name}  {sound.seconds:.1f} s, {sound.sample_rate} Hz, {sound.channels} channels",
            f"loudness {sound.dry_lufs:.1f} LUFS in, {sound.wet_lufs:.1f} out, shifted {sound.shift_db:+.1f} dB",
            one.preset.summary(),
            "",
        ]
    return "\n".join(lines).rstrip()
