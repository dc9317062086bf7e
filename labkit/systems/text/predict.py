"""From a sentence and a recording to a preset, and from a file to a folder with the result."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from labkit.effects.chain import pedalboard_code
from labkit.effects.effect import process_blocks
from labkit.learn.text import split_words
from labkit.measure.loudness import LoudnessMeter
from labkit.signal.files import Recording, check_audio, read_audio, resample
from labkit.signal.optional import need
from labkit.signal.paths import new_files, replace_text, replacing
from labkit.signal.seeds import generator
from labkit.signal.units import amplitude_to_db, db_to_amplitude
from labkit.systems.text.config import Config
from labkit.systems.text.grammar import Item, absent, parse, preset_of, stem, vocabulary
from labkit.systems.text.model import (
    HINT_DB,
    HINT_ROOM,
    TextToEffects,
    encode_prompts,
    nearness,
    spectrogram,
)
from labkit.systems.text.preset import SPACES, Preset

# The network receives no more of a file than this.
_MAX_INPUT_SECONDS = 30.0
# Without a known word, an effect is switched on where the network asks for more than this.
_MIN_DRIVE_DB, _MIN_SEMITONES, _MIN_ROOM = 4.0, 1.5, 0.5
# Below this nearness to every word that people taught, a first guess has no basis.
_MIN_NEARNESS = 0.5
_SPREAD = 0.12  # of variations, as a share of a knob's range
_BLOCK = 1 << 17


@dataclass(frozen=True)
class Prediction:
    """What a sentence means for a recording."""

    preset: Preset
    items: tuple[Item, ...]  # what the grammar understood
    by: str  # "network" where people's settings decide something, else "lexicon"


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

    Words that name a sound ("warm", "in a cathedral") get the equaliser and the room from the
    network, as people set them. For words of tone that people did not teach, the equaliser is the
    first guess, or the lexicon's where no word that they taught is near ("telephone"). Pitch, drive
    and compressor come from the lexicon. Words that move ("brighter", "less reverb", "not thin")
    then move these settings or, where there is nothing else, the present ones.

    Args:
        model: None predicts by the lexicon alone.
        audio: (channels, samples), any length and level.
        current: present settings; neutral when None.
        strength: 0 to 2, of the whole result.

    Raises:
        ValueError: for unusable audio, a prompt without letters, or a strength out of range.
    """
    items = parse(prompt)
    sound = (model.config if model is not None else Config()).sound
    resampled = resample(check_audio(audio, sample_rate), sample_rate, sound.sample_rate)
    log_mel, level_db = spectrogram(resampled, sound)
    named = [item for item in items if item.weight > 0 and not item.relative]
    moves = [item for item in items if item not in named]
    preset = lexicon = preset_of(named, level_db=level_db)
    lacking = absent(prompt)  # nothing is guessed for what a preset does not have
    if model is not None and (named or not (items or lacking)):
        # People were never asked for "not thin" or "brighter": these words stay with the grammar.
        words = ", ".join(item.word.replace("-", " ") for item in named)
        asked = words if moves or lacking else prompt
        batch = encode_prompts([asked], model.config.net.sentences)
        batch |= {"log_mel": log_mel[None], "level_db": torch.tensor([level_db])}
        preset = _by_network(model, batch, asked, named, lexicon)
    by = "lexicon" if preset == lexicon else "network"
    if moves:
        preset = preset_of(moves, preset if named else current or Preset(), level_db=level_db)
    return Prediction(preset.scaled(strength), tuple(items), by)


@torch.no_grad()
def _by_network(
    model: TextToEffects,
    batch: dict[str, torch.Tensor],
    prompt: str,
    named: Sequence[Item],
    preset: Preset,
) -> Preset:
    """The lexicon's preset, with the network's settings where people taught it some."""
    taught, network = model.config.net.taught, model(batch).hard().preset(0)
    if not named:
        preset = _switched_on(preset, network, float(batch["hints"][0, 0, HINT_ROOM]))
    toned = [item for item in named if item.meaning.has_tone]
    if (toned or not named) and not any(_is_far(item, taught) for item in toned):
        # On words never seen, the first guess is nearer to people than the network's answer.
        words = [item.word for item in toned] or split_words(prompt)
        known = [stem(word) in taught for word in words]
        familiar = all(known) if toned else any(known)
        preset = replace(preset, eq=network.eq if familiar else model.guess_bands(batch, 0))
    if any(item.meaning.room for item in named):
        # People's reverb was always on and had the delay of a comb filter, so that only its size
        # and its damping mean something here.
        mean = {k: 0.5 * (network.reverb[k] + preset.reverb[k]) for k in ("room_size", "damping")}
        preset = replace(preset, reverb={**preset.reverb, **mean})
    return preset


def _is_far(item: Item, taught: tuple[str, ...]) -> bool:
    """Whether no word that people taught has a tone like the item's: then none can be guessed."""
    curves = [m.eq_db for word, m in vocabulary().items() if m.has_tone and stem(word) in taught]
    if stem(item.word) in taught or not curves:
        return stem(item.word) not in taught
    asked = torch.tensor([item.meaning.eq_db])
    return bool(nearness(asked / HINT_DB, torch.tensor(curves) / HINT_DB).max() < _MIN_NEARNESS)


def _switched_on(preset: Preset, network: Preset, room: float) -> Preset:
    """The effects that the network is sure of, for a sentence without a known word."""
    if room > _MIN_ROOM:
        preset = replace(preset, reverb={**network.reverb, "wet": min(0.4, 0.5 * room)})
    if network.distortion["drive_db"] > _MIN_DRIVE_DB:
        preset = replace(preset, distortion=network.distortion)
    if abs(network.pitch["semitones"]) > _MIN_SEMITONES:
        preset = replace(preset, pitch=network.pitch)
    return preset


def variations(preset: Preset, n: int, *, seed: int = 0) -> list[Preset]:
    """The preset and n - 1 others (n is 1 to 16): the knobs of what is on, moved at random."""
    if not 1 <= n <= 16:
        raise ValueError(f"n must lie in 1..16, got {n}")
    found, neutral = [preset], Preset()
    for k in range(1, n):
        rng = generator(seed, "variation", k)
        more = float(np.exp(rng.normal(0, 4 * _SPREAD))) - 1
        eq = tuple(b.louder(b.gain_db * more + rng.normal(0, 10 * _SPREAD)) for b in preset.eq)
        effects = {name: getattr(preset, name) for name in SPACES}
        for name, space in SPACES.items():
            noise = rng.normal(0, _SPREAD, len(space))
            if name != "pitch" and effects[name] != getattr(neutral, name):
                unit = space.to_unit(effects[name]) + noise
                effects[name] = space.from_unit(np.clip(unit, 0, 1))
        found.append(Preset(eq, **effects))
    return found


@dataclass(frozen=True)
class Rendered:
    """The file that was written."""

    path: Path
    preset: Preset
    dry_lufs: float
    wet_lufs: float  # before the shift
    shift_db: float  # to be as loud as the dry sound, or as the peak allows


def render_file(
    preset: Preset, source: str | Path, target: str | Path, *, max_seconds: float | None = None
) -> Rendered:
    """Apply a preset to a file of any length in constant memory, as loud as it was.

    The file (from 4 kHz) is rendered twice: to measure its loudness, and to write
    a .wav file of the same rate, channels and length.

    Raises:
        AudioFileError, ValueError: for a source that is not usable or has no loudness.
    """
    with Recording(source).survey() as sound:
        stop = None if max_seconds is None else max(1, round(max_seconds * sound.sample_rate))
        return _render(preset, sound, min(stop or sound.samples, sound.samples), target)


def _render(preset: Preset, sound: Recording, n_samples: int, target: str | Path) -> Rendered:
    soundfile, rate, channels = need("soundfile"), sound.sample_rate, sound.channels

    def dry(part: slice = slice(None)) -> Iterator[np.ndarray]:
        for block in sound.blocks(_BLOCK, stop=n_samples):
            yield block[part]

    def wet() -> Iterator[np.ndarray]:
        # A stereo pair shares a board, as a room needs it.
        width = 2 if channels == 2 else 1
        parts = [slice(k, k + width) for k in range(0, channels, width)]
        rendered = [process_blocks(preset.board(rate), dry(part), rate) for part in parts]
        for made in zip(*rendered, strict=True):
            yield np.nan_to_num(np.concatenate(made))

    dry_meter, wet_meter = (LoudnessMeter(rate, channels) for _ in range(2))
    for meter, blocks in ((dry_meter, dry()), (wet_meter, wet())):
        for block in blocks:
            meter.feed(block)
    wanted_db = dry_meter.lufs() - wet_meter.lufs()
    headroom_db = -0.1 - amplitude_to_db(wet_meter.peak) if wet_meter.peak > 0 else 0.0
    shift_db = min(wanted_db if math.isfinite(wanted_db) else 0.0, headroom_db)
    # A WAV file of 24 bits holds 4 GiB.
    kind = "RF64" if 3 * n_samples * channels > 2**32 - 2**16 else "WAV"
    with (
        replacing(target) as temporary,
        soundfile.SoundFile(temporary, "w", rate, channels, "PCM_24", format=kind) as file,
    ):
        for block in wet():
            file.write(np.clip(db_to_amplitude(shift_db) * block.T, -1.0, 1.0))
    return Rendered(Path(target), preset, dry_meter.lufs(), wet_meter.lufs(), shift_db)


def process_file(
    model: TextToEffects | None,
    source: str | Path,
    prompt: str,
    *,
    out: Path | None = None,
    seconds: float | None = None,
    current: Preset | None = None,
    strength: float = 1.0,
    n: int = 1,
    seed: int = 0,
) -> tuple[Prediction, list[Rendered]]:
    """A folder (``output/PROMPT`` by default) with sound, preset and code of n candidates.

    The code makes the sound of a mono or stereo source. No file is replaced, see `new_files`.

    The first one is the answer of `predict` to the file's first half minute. Arguments and errors
    as `predict`, `variations` and `render_file`; `seconds` of the source are rendered, or all.
    """
    if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
        raise ValueError(f"seconds must be above 0, got {seconds}")
    audio, rate = read_audio(source, max_seconds=min(seconds or math.inf, _MAX_INPUT_SECONDS))
    found = predict(model, audio, rate, prompt, current=current, strength=strength)
    name = re.sub(r"[^a-z0-9]+", "_", prompt.lower()).strip("_")[:48].rstrip("_")
    tags = [""] if n == 1 else [f"_{k}" for k in range(1, n + 1)]
    endings = [tag + suffix for tag in tags for suffix in (".wav", ".preset.json", ".board.py")]
    *files, told = new_files(out, name, *endings, ".summary.txt")
    written = []
    for k, preset in enumerate(variations(found.preset, n, seed=seed)):
        sound, settings, code = files[3 * k : 3 * k + 3]
        written.append(render_file(preset, source, sound, max_seconds=seconds))
        preset.save(settings)
        plugins = [*preset.plugins(rate), ("Gain", {"gain_db": written[k].shift_db})]
        replace_text(code, pedalboard_code(plugins) + "\n")
    replace_text(told, summary(prompt, found, written) + "\n")
    return found, written


def summary(prompt: str, found: Prediction, written: Sequence[Rendered]) -> str:
    """What was asked, understood, set and written, as text."""
    words = [f"{i.word} {'off' if i.off else f'{i.weight:+.1f}'}" for i in found.items]
    lines = [f"prompt      {prompt}", f"understood  {', '.join(words) or 'no word of the lexicon'}"]
    lines.append(f"answered by {found.by}")
    if lacking := absent(prompt):
        lines.append(f"not here    {', '.join(lacking)}: a preset has no such effect")
    for one in written:
        lufs = f"{one.dry_lufs:.1f} LUFS in, {one.wet_lufs:.1f} out, shifted {one.shift_db:+.1f} dB"
        lines += ["", f"{one.path.name}  {lufs}", one.preset.summary()]
    return "\n".join(lines)
