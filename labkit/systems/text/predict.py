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
from labkit.measure.loudness import LoudnessMeter
from labkit.signal.files import Recording, check_audio, read_audio, resample
from labkit.signal.optional import need
from labkit.signal.paths import new_files, replace_text, replacing
from labkit.signal.seeds import generator
from labkit.signal.units import amplitude_to_db, db_to_amplitude
from labkit.systems.text.grammar import UNKNOWN, Reading, read
from labkit.systems.text.lexicon import Item, stem
from labkit.systems.text.model import Config, TextToEffects, encode_prompts, spectrogram
from labkit.systems.text.preset import SPACES, START, Preset, fitted_gains_db
from labkit.systems.text.settings import preset_of, with_figures

# The network receives no more of a file than this.
_MAX_INPUT_SECONDS = 30.0
# The share of the network's correction to the lexicon, where many people set every word: chosen on
# another corpus, see `score.corpora`.
CORRECTION = 0.2
_SPREAD = 0.12  # of variations, as a share of a knob's range
_BLOCK = 1 << 17


@dataclass(frozen=True)
class Prediction:
    """What a sentence means for a recording."""

    preset: Preset
    items: tuple[Item, ...]  # the words that the grammar understood
    by: str  # "lexicon", or "network" where people's settings correct it
    reading: Reading
    agreement: float | None  # correlation of the lexicon's curve and people's, where both answer


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

    Words that name a sound ("warm", "in a cathedral") are answered by the lexicon; where many
    people set every one of them, the network corrects the equaliser a little. Words that move
    ("brighter", "less reverb", "not thin") then move these settings or, where there is nothing
    else, the present ones. What is stated in figures is met last. A sentence without a known word
    changes nothing, and says so.

    Args:
        model: None predicts by the lexicon alone.
        audio: (channels, samples), any length and level.
        current: present settings; neutral when None.
        strength: 0 to 2, of the whole result.

    Raises:
        ValueError: for unusable audio, a prompt without words, or a strength out of range.
    """
    reading = read(prompt)
    items, figures = reading.items, reading.figures
    sound = (model.config if model is not None else Config()).sound
    resampled = resample(check_audio(audio, sample_rate), sample_rate, sound.sample_rate)
    log_mel, level_db = spectrogram(resampled, sound)
    named = [item for item in items if item.weight > 0 and not item.relative]
    moves = [item for item in items if item not in named]
    preset, by, agreement = preset_of(named, level_db=level_db), "lexicon", None
    toned = [item for item in named if item.meaning.has_tone]
    # As many people set every word as let the network correct the lexicon.
    trusted = model.config.net.trusted if model is not None else ()
    if model is not None and toned and all(stem(item.word) in trusted for item in toned):
        asked = ", ".join(i.word.replace("-", " ") for i in toned)  # no filler
        batch = encode_prompts([asked], model.config.net.sentences)
        batch |= {"log_mel": log_mel[None], "level_db": torch.tensor([level_db])}
        with torch.no_grad():
            network = model(batch).hard().preset(0).eq_curve_db()
        lexicon = preset.eq_curve_db()
        if network.std() > 0:
            agreement = float(np.corrcoef(network, lexicon)[0, 1])
        gains = fitted_gains_db(CORRECTION * (network - lexicon))
        eq = tuple(band.louder(db) for band, db in zip(preset.eq, gains, strict=True))
        preset, by = replace(preset, eq=eq), "network"
    start = None if named else current
    if not named:
        preset = start or Preset()
    if moves:
        preset = preset_of(moves, preset, level_db=level_db)
    preset = with_figures(preset, figures, start, level_db=level_db)
    return Prediction(preset.scaled(strength), items, by, reading, agreement)


def check_request(seconds: float | None, n: int) -> None:
    """A ValueError if not so many seconds, or candidates, can be rendered."""
    if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
        raise ValueError(f"seconds must be above 0, got {seconds}")
    if not 1 <= n <= 16:
        raise ValueError(f"n must lie in 1..16, got {n}")


def variations(preset: Preset, n: int, *, seed: int = 0) -> list[Preset]:
    """The preset and n - 1 others (n is 1 to 16): the knobs of what is on, moved at random."""
    check_request(None, n)
    found, neutral = [preset], Preset()
    for k in range(1, n):
        rng = generator(seed, "variation", k)
        more = float(np.exp(rng.normal(0, 4 * _SPREAD))) - 1
        eq = tuple(
            b.louder(b.gain_db * more + rng.normal(0, 10 * _SPREAD))
            for b in preset.eq[: len(START)]
        )
        effects = {name: getattr(preset, name) for name in SPACES}
        for name, space in SPACES.items():
            noise = rng.normal(0, _SPREAD, len(space))
            if name != "pitch" and effects[name] != getattr(neutral, name):
                unit = space.to_unit(effects[name]) + noise
                effects[name] = space.from_unit(np.clip(unit, 0, 1))
        found.append(Preset((*eq, *preset.eq[len(START) :]), **effects, pedals=preset.pedals))
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
    preset: Preset,
    source: str | Path,
    target: str | Path,
    *,
    max_seconds: float | None = None,
    as_loud: bool = True,
) -> Rendered:
    """Apply a preset to a file of any length in constant memory, as loud as it was.

    Without `as_loud`, it is only turned down where its peak would clip. The file (from 4 kHz) is
    rendered twice: to measure its loudness, and to write a .wav file of the same rate, channels and
    length. Raises AudioFileError or ValueError for a source that is not usable.
    """
    soundfile = need("soundfile")
    with Recording(source).survey() as sound:
        rate, channels = sound.sample_rate, sound.channels
        stop = None if max_seconds is None else max(1, round(max_seconds * rate))
        n_samples = min(stop or sound.samples, sound.samples)

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
        wanted_db = dry_meter.lufs() - wet_meter.lufs() if as_loud else 0.0
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
    check_request(seconds, n)
    audio, rate = read_audio(source, max_seconds=min(seconds or math.inf, _MAX_INPUT_SECONDS))
    found = predict(model, audio, rate, prompt, current=current, strength=strength)
    name = re.sub(r"[^a-z0-9]+", "_", prompt.lower()).strip("_")[:48].rstrip("_")
    tags = [""] if n == 1 else [f"_{k}" for k in range(1, n + 1)]
    suffixes = (".wav", ".preset.json", ".chain.json", ".board.py")
    endings = [tag + suffix for tag in tags for suffix in suffixes]
    *files, told = new_files(out, name, *endings, ".summary.txt")
    written = []
    for k, preset in enumerate(variations(found.preset, n, seed=seed)):
        sound, settings, chain, code = files[4 * k : 4 * k + 4]
        # Stated gains would be shifted.
        as_loud = not any(figure.effect in ("eq", "gain") for figure in found.reading.figures)
        written.append(render_file(preset, source, sound, max_seconds=seconds, as_loud=as_loud))
        preset.save(settings)
        preset.chain(rate).save(chain)
        plugins = [*preset.plugins(rate), ("Gain", {"gain_db": written[k].shift_db})]
        text = pedalboard_code(plugins)
        if text.startswith("#"):  # pedalboard lacks a pedal
            text = f"{text}; labkit plays it, then {written[k].shift_db:+.2f} dB\n" + (
                "from labkit.systems.text import Preset\n\n"
                f'board = Preset.load("{settings.name}").board({rate})'
            )
        replace_text(code, text + "\n")
    replace_text(told, summary(prompt, found, written) + "\n")
    return found, written


def summary(prompt: str, found: Prediction, written: Sequence[Rendered]) -> str:
    """What was asked, understood, set and written, as text."""
    lines = [f"prompt      {prompt}"]
    lines += [
        f"unknown     {said}" if what == UNKNOWN else f"understood  {said}: {what}"
        for said, what in found.reading.plan
    ]
    if not (found.items or found.reading.figures):
        lines.append("understood  no word of the lexicon and no figure")
    told = found.by
    if found.agreement is not None:
        told += f", corrected by people, whose curve has correlation {found.agreement:+.2f} with it"
    lines.append(f"answered by {told}")
    lines += [f"not done    {what}" for what in found.reading.missed]
    lost = ["the shift of pitch"] * bool(found.preset.pitch["semitones"])
    lost += ["the room's pre-delay and echoes"] * (found.preset.reverb["wet"] > 0)
    if lost:
        lines.append(f"chain       without {' and '.join(lost)}; the code has all")
    for one in written:
        lufs = f"{one.dry_lufs:.1f} LUFS in, {one.wet_lufs:.1f} out, shifted {one.shift_db:+.1f} dB"
        lines += ["", f"{one.path.name}  {lufs}", one.preset.summary()]
    return "\n".join(lines)
