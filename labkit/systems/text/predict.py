"""From a sentence and a recording to a preset, and from a file to a folder with the result."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from labkit.learn.text import split_words
from labkit.measure.loudness import LoudnessMeter
from labkit.signal.files import AudioFileError, check_audio, read_audio, resample
from labkit.signal.optional import need
from labkit.signal.paths import replace_text, replacing
from labkit.signal.seeds import generator
from labkit.signal.units import amplitude_to_db, db_to_amplitude
from labkit.systems.text import grammar
from labkit.systems.text.config import Config
from labkit.systems.text.grammar import Item, stem, vocabulary
from labkit.systems.text.model import (
    HINT_DB,
    HINT_ROOM,
    TextToEffects,
    encode_prompts,
    nearness,
    spectrogram,
)
from labkit.systems.text.preset import BAND, SPACES, Preset, clipped

# The network receives no more of a file than this.
_MAX_INPUT_SECONDS = 30.0
# Without a known word, an effect is switched on where the network asks for more than this.
_MIN_DRIVE_DB, _MIN_SEMITONES, _MIN_ROOM = 4.0, 1.5, 0.5
# A word with this much drive is about the drive; its tone is not asked for beside another tone.
_DRIVEN_DB = 10.0
# Below this nearness to every word that people taught, a first guess has no basis.
_MIN_NEARNESS = 0.5
_BLOCK, _BUFFER = 1 << 17, 8192
_MAX_TAIL_BLOCKS = 64  # of `_BUFFER` samples: far longer than any latency


@dataclass(frozen=True)
class Prediction:
    """What a sentence means for a recording."""

    prompt: str
    preset: Preset
    items: tuple[Item, ...]  # what the grammar understood
    by: str  # "network" where people's settings decide something, else "lexicon"
    level_db: float  # RMS of the recording's loudest part in dBFS

    def understood(self) -> str:
        """The words that were understood, with their degrees, on a line."""
        if not self.items:
            known = self.by == "network"
            return "no word of the lexicon; guessed by meaning" if known else "nothing"
        words = []
        for item in self.items:
            degree = "off" if item.off else f"{item.weight:+.1f}"
            words.append(f"{item.word} {degree}{' (moves)' if item.relative else ''}")
        return ", ".join(words)


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
    and compressor come from the lexicon: people were not asked for the first two, and their
    thresholds are as good as random. Words that move ("brighter", "less reverb", "not thin") then
    move these settings or, where there is nothing else, the present ones.

    Args:
        model: None predicts by the lexicon alone.
        audio: (channels, samples), any length and level.
        current: present settings; neutral when None.
        strength: 0 to 2, of the whole result.

    Raises:
        ValueError: for unusable audio, a prompt without letters, or a strength out of range.
    """
    items = grammar.parse(prompt)
    sound = (model.config if model is not None else Config()).sound
    resampled = resample(check_audio(audio, sample_rate), sample_rate, sound.sample_rate)
    log_mel, level_db = spectrogram(resampled, sound)
    named = [item for item in items if item.weight > 0 and not item.relative]
    moves = [item for item in items if item not in named]
    preset, by = grammar.preset_of(named, level_db=level_db), "lexicon"
    if model is not None and (named or not items):
        toned = _without_drive(named, model.config.net.taught)
        # People were never asked for "not thin" or "brighter": these words stay with the grammar.
        asked = ", ".join(item.word.replace("-", " ") for item in toned)
        batch = encode_prompts(
            [asked if len(toned) < len(items) else prompt], model.config.net.sentences
        )
        batch |= {"log_mel": log_mel[None], "level_db": torch.tensor([level_db])}
        learned = _by_network(model, batch, prompt, toned, preset)
        by = "lexicon" if learned == preset else "network"
        preset = learned
    if moves:
        start = preset if named else current or Preset()
        preset = grammar.apply_items(moves, start, level_db=level_db)
    return Prediction(prompt, preset.scaled(strength), tuple(items), by, level_db)


@torch.no_grad()
def _by_network(
    model: TextToEffects,
    batch: dict[str, torch.Tensor],
    prompt: str,
    named: Sequence[Item],
    preset: Preset,
) -> Preset:
    """The lexicon's preset, with the network's settings where people taught it some."""
    device = next(model.parameters()).device
    batch = {name: column.to(device) for name, column in batch.items()}
    taught, network = model.config.net.taught, model(batch).hard().preset(0)
    if not named:
        preset = _switched_on(preset, network, float(batch["hints"][0, 0, HINT_ROOM]))
    toned = [item for item in named if item.meaning.has_tone]
    if (toned or not named) and not any(_is_far(item, taught) for item in toned):
        if toned:
            familiar = all(stem(item.word) in taught for item in toned)
        else:
            familiar = any(stem(word) in taught for word in split_words(prompt))
        # On words never seen, the first guess is nearer to people than the network's answer.
        preset = replace(preset, eq=network.eq if familiar else model.guess_bands(batch, 0))
    if any(item.meaning.room for item in named):
        # People's reverb was always on and had the delay of a comb filter, so that only its size
        # and its damping mean something here.
        reverb = dict(preset.reverb)
        for knob in ("room_size", "damping"):
            reverb[knob] = 0.5 * (network.reverb[knob] + reverb[knob])
        preset = replace(preset, reverb=reverb)
    return preset


def _without_drive(named: Sequence[Item], taught: Sequence[str]) -> list[Item]:
    """The items but for drive that people did not teach; all where no other tone is named."""
    kept = [i for i in named if i.meaning.drive_db < _DRIVEN_DB or stem(i.word) in taught]
    return kept if any(item.meaning.has_tone for item in kept) else list(named)


def _is_far(item: Item, taught: tuple[str, ...]) -> bool:
    """Whether no word that people taught has a tone like the item's: then none can be guessed."""
    if stem(item.word) in taught:
        return False
    curves = _taught_curves(taught)
    asked = torch.tensor([item.meaning.eq_db]) / HINT_DB
    is_near = len(curves) > 0 and float(nearness(asked, curves).max()) >= _MIN_NEARNESS
    return item.word in grammar.desk_words() or not is_near


@cache
def _taught_curves(taught: tuple[str, ...]) -> torch.Tensor:
    """(n, 6): the lexicon's curves of the words that people taught, in units of 4 dB."""
    known = {m.eq_db for word, m in vocabulary().items() if m.has_tone and stem(word) in taught}
    return torch.tensor(sorted(known)).view(-1, len(grammar.ANCHORS_HZ)) / HINT_DB


def _switched_on(preset: Preset, network: Preset, room: float) -> Preset:
    """The effects that the network is sure of, for a sentence without a known word."""
    if room > _MIN_ROOM:
        preset = replace(preset, reverb={**network.reverb, "wet": min(0.4, 0.5 * room)})
    if network.distortion["drive_db"] > _MIN_DRIVE_DB:
        preset = replace(preset, distortion=network.distortion)
    if abs(network.pitch["semitones"]) > _MIN_SEMITONES:
        preset = replace(preset, pitch=network.pitch)
    return preset


def variations(preset: Preset, n: int, *, seed: int = 0, spread: float = 0.12) -> list[Preset]:
    """The preset and n - 1 others (n is 1 to 16): the knobs of what is on, moved at random.

    The moves have a standard deviation of `spread` times the knob's range.
    """
    if not 1 <= n <= 16:
        raise ValueError(f"n must lie in 1..16, got {n}")
    found, neutral = [preset], Preset()
    for k in range(1, n):
        rng = generator(seed, "variation", k)
        factor = float(np.exp(rng.normal(0, 4 * spread)))
        gains = [band.gain_db * factor + rng.normal(0, 10 * spread) for band in preset.eq]
        knob = BAND["gain_db"]
        bands = zip(preset.eq, gains, strict=True)
        changed = {"eq": tuple(replace(band, gain_db=clipped(knob, db)) for band, db in bands)}
        for name, space in SPACES.items():
            unit = space.to_unit(getattr(preset, name))
            noise = rng.normal(0, spread, len(unit))
            if name != "pitch" and getattr(preset, name) != getattr(neutral, name):
                unit = np.clip(unit + noise, 0, 1)
            changed[name] = space.from_unit(unit)
        found.append(replace(preset, **changed))
    return found


class _Player:
    """A preset that audio is fed through in blocks; stereo pairs share a board for the room."""

    def __init__(self, preset: Preset, sample_rate: int, channels: int) -> None:
        groups = [slice(0, 2)] if channels == 2 else [slice(k, k + 1) for k in range(channels)]
        self.boards = [(group, preset.board(sample_rate)) for group in groups]
        self.sample_rate, self.owed = sample_rate, 0

    def feed(self, audio: np.ndarray) -> np.ndarray:
        """(channels, samples) -> the same; fewer samples while a pitch shifter fills up."""
        self.owed += audio.shape[1]
        return self._processed(audio)

    def finish(self, channels: int) -> Iterator[np.ndarray]:
        """The samples that are still inside, until as many came out as went in."""
        silence = np.zeros((channels, _BUFFER), np.float32)
        for _ in range(_MAX_TAIL_BLOCKS):
            if self.owed > 0:
                yield self._processed(silence)

    def _processed(self, audio: np.ndarray) -> np.ndarray:
        made = [
            board.process(audio[group], self.sample_rate, buffer_size=_BUFFER, reset=False)
            for group, board in self.boards
        ]
        wet = np.nan_to_num(np.concatenate(made)[:, : self.owed])
        self.owed -= wet.shape[1]
        return wet


def _blocks(path: Path, max_seconds: float | None) -> Iterator[tuple[np.ndarray, int]]:
    """A file as (channels, samples) blocks and its rate; MPEG-4 comes as one block."""
    read_audio(path, max_seconds=0.1)  # raises where the file is not usable
    soundfile = need("soundfile")
    try:
        file = soundfile.SoundFile(path)
    except soundfile.SoundFileError:
        yield read_audio(path, max_seconds=max_seconds)
        return
    with file:
        left = file.frames
        if max_seconds is not None:
            left = min(left, max(1, round(max_seconds * file.samplerate)))
        while left > 0:
            block = file.read(min(_BLOCK, left), dtype="float32", always_2d=True).T
            if not block.shape[1]:
                return
            if not np.isfinite(block).all():
                raise AudioFileError(f"{path}: its audio holds NaN or infinite samples")
            left -= block.shape[1]
            yield np.ascontiguousarray(block), file.samplerate


def _rendered(
    preset: Preset, path: Path, max_seconds: float | None
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Dry block, wet block and rate; a wet block may be shorter, and more follow at the end."""
    player = None
    for dry, rate in _blocks(path, max_seconds):
        player = player or _Player(preset, rate, len(dry))
        yield dry, player.feed(dry), rate
    for wet in player.finish(len(dry)):
        yield dry[:, :0], wet, rate


@dataclass(frozen=True)
class Rendered:
    """The file that was written."""

    path: Path
    seconds: float
    sample_rate: int
    channels: int
    dry_lufs: float
    wet_lufs: float  # before the shift
    shift_db: float  # to be as loud as the dry sound, or as the peak allows


def render_file(
    preset: Preset, source: str | Path, target: str | Path, *, max_seconds: float | None = None
) -> Rendered:
    """Apply a preset to a file of any length in constant memory, as loud as it was.

    The file (from 4 kHz, up to 5 channels) is rendered twice: to measure its loudness, and to write
    a .wav file of the same rate, channels and length.

    Raises:
        AudioFileError, ValueError: for a source that is not usable or has no loudness.
    """
    source, target = Path(source), Path(target)
    meters, n_samples = None, 0
    for dry, wet, rate in _rendered(preset, source, max_seconds):
        meters = meters or [LoudnessMeter(rate, len(dry)) for _ in range(2)]
        n_samples += dry.shape[1]
        for meter, block in zip(meters, (dry, wet), strict=True):
            meter.feed(block)
    dry_lufs, wet_lufs = (meter.lufs() for meter in meters)
    both_heard = math.isfinite(dry_lufs) and math.isfinite(wet_lufs)
    headroom_db = -0.1 - amplitude_to_db(meters[1].peak) if meters[1].peak > 0 else 0.0
    shift_db = min(dry_lufs - wet_lufs if both_heard else 0.0, headroom_db)
    n_bytes = 3 * n_samples * len(dry)  # of 24 bits
    kind = "RF64" if n_bytes > 2**32 - 2**16 else "WAV"
    layout = (rate, len(dry), "PCM_24")
    with (
        replacing(target) as temporary,
        need("soundfile").SoundFile(temporary, "w", *layout, format=kind) as file,
    ):
        for _, wet, _ in _rendered(preset, source, max_seconds):
            file.write(np.clip(db_to_amplitude(shift_db) * wet.T, -1.0, 1.0))
    return Rendered(target, n_samples / rate, rate, len(dry), dry_lufs, wet_lufs, shift_db)


@dataclass(frozen=True)
class Written:
    """One candidate in the output folder: sound, preset JSON and pedalboard code."""

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
    """A folder (``output/PROMPT`` by default) with sound, preset and code of n candidates.

    The first one is the answer of `predict` to the file's first half minute. Arguments and errors
    as `predict`, `variations` and `render_file`; `seconds` of the source are rendered, or all.
    """
    if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
        raise ValueError(f"seconds must be above 0, got {seconds}")
    audio, rate = read_audio(source, max_seconds=min(seconds or math.inf, _MAX_INPUT_SECONDS))
    found = predict(model, audio, rate, prompt, current=current, strength=strength)
    name = slug(prompt)
    folder = Path(output) if output is not None else Path("output") / name
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for k, preset in enumerate(variations(found.preset, n, seed=seed), start=1):
        stem = folder / (name if n == 1 else f"{name}_{k}")
        preset_path, code_path = (Path(f"{stem}{end}") for end in (".preset.json", ".board.py"))
        rendered = render_file(preset, source, f"{stem}.wav", max_seconds=seconds)
        preset.save(preset_path)
        replace_text(code_path, preset.to_code(rate) + "\n")
        written.append(Written(preset, preset_path, code_path, rendered))
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
    ]
    for one in written:
        sound = one.rendered
        lines += [
            "",
            f"{sound.path.name}  {sound.seconds:.1f} s, {sound.sample_rate} Hz, "
            f"{sound.channels} channels",
            f"loudness {sound.dry_lufs:.1f} LUFS in, {sound.wet_lufs:.1f} out, "
            f"shifted {sound.shift_db:+.1f} dB",
            one.preset.summary(),
        ]
    return "\n".join(lines)
