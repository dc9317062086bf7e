"""From a recorded note to a patch: drawn by the flow, ranked by its sound, refined on request."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from labkit.effects.synths.registry import Synth, synthesizer_of
from labkit.effects.synths.spec import NOTE, SAMPLE_RATE, VELOCITY, Knob, SynthSpec, Values
from labkit.learn.flow import sample
from labkit.learn.minimise import minimise
from labkit.measure.losses import multi_scale_spectral
from labkit.measure.loudness import loudness_lufs
from labkit.signal.files import AudioError, check_audio, read_audio, resample, to_mono, write_audio
from labkit.signal.optional import need
from labkit.signal.paths import new_files, replace_text, replacing
from labkit.signal.seeds import generator, torch_generator
from labkit.signal.units import db_to_amplitude
from labkit.systems.synth.model import SynthModel, mono, note_features

_GUIDANCE, _STEPS = 2.0, 12
# Distance of a silent patch, larger than that of any sound.
_SILENT = 100.0
_ONSET_DB = -40.0
# Other keys to try, in semitones: the network finds the timbre more surely than the octave.
_STEPS_TO_KEYS = (*range(-12, 0), *range(1, 13))


@dataclass(frozen=True)
class Match:
    """A patch for a sound.

    Attributes:
        volume_db: of the synthesizer, so that it is as loud as the sound.
        audio: (2, samples), the patch played.
        distance: MSS between the two, dB.
        tried: MSS of every ranked patch, in the order of drawing; the regressor's is the last.
    """

    spec: SynthSpec
    values: dict[str, float | str]
    volume_db: float
    audio: np.ndarray
    distance: float
    tried: tuple[float, ...]


@torch.no_grad()
def propose(
    model: SynthModel,
    mel: np.ndarray,
    lines: np.ndarray,
    *,
    n: int,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Encoded patches for a batch of `note_features`: (b, n, size) drawn, (b, size) regressed."""
    given = [torch.from_numpy(np.asarray(x, dtype=np.float32)) for x in (mel, lines)]
    condition = model.encoder(*given)
    rng = torch_generator(seed, "synth", "draws")
    options = {"steps": _STEPS, "solver": "midpoint", "guidance": _GUIDANCE, "rng": rng}
    drawn = sample(model.field, condition, n_samples=n, **options)
    return drawn.numpy(), model.regressor(condition).numpy()


def patch_of(spec: SynthSpec, code: np.ndarray) -> dict[str, float | str]:
    """The patch of a vector (size,); where every sound source would be off, the likeliest is on."""
    values = spec.decode(code)
    sources = [name for name in spec.names if name.endswith(("_level", "_volume"))]
    if any(values[name] != 0.0 for name in sources):
        return values
    code = np.array(code, dtype=np.float64)
    always = [spec.columns[name].start for name in sources if spec[name].point is None]
    if always:  # a source that is never off was set below its range: the loudest gets its middle
        code[max(always, key=lambda column: code[column])] = 0.0
        return spec.decode(code)
    likeliest = min(sources, key=lambda name: code[spec.columns[name]][1])
    code[spec.columns[likeliest].start + 1] = -100.0
    return spec.decode(code)


def prepare(audio: np.ndarray, sample_rate: int, seconds: float) -> np.ndarray:
    """A recording as the network receives it: (samples,) mono at 44.1 kHz, from the onset on.

    Raises AudioError if it is empty, silent or not finite.
    """
    single = resample(to_mono(check_audio(audio, sample_rate)), sample_rate, SAMPLE_RATE)[0]
    level = np.abs(single)
    if not level.max() > 1e-5:
        raise AudioError("audio is silent (peak below -100 dBFS): there is no note to match")
    onset = int(np.argmax(level > level.max() * db_to_amplitude(_ONSET_DB)))
    start = max(0, onset - round(0.005 * SAMPLE_RATE))
    length = round(seconds * SAMPLE_RATE)
    kept = single[start : start + length]
    return np.pad(kept, (0, length - len(kept))).astype(np.float32)


def predict(
    model: SynthModel,
    audio: np.ndarray,
    sample_rate: int,
    *,
    synth: Synth,
    n: int = 8,
    refine: int = 0,
    pitch: int | None = None,
    seed: int = 0,
) -> Match:
    """A patch whose note sounds like a recording.

    Args:
        audio: (channels, samples) float32, any level.
        n: draws of the flow. Each is played, and the regressor's patch too; the nearest is played
            at the keys around its own if `pitch` is not given.
        refine: more notes to play, for CMA-ES on the knobs of the best patch.
        pitch: MIDI key, 36 to 84, if it is known.

    Raises:
        AudioError: if audio is empty, silent or not finite.
        ValueError: if `n` < 1, `refine` < 0, or pitch is out of range.
        PluginError: if the synthesizer crashed or hung.

    Source: ranking by re-synthesis as in Hayes et al. 2025; Hansen 2016 (CMA-ES).
    """
    if n < 1 or refine < 0:
        raise ValueError(f"n must be at least 1 and refine at least 0, got {n} and {refine}")
    spec, seconds = model.config.sound.spec, model.config.sound.seconds
    if pitch is not None:
        spec["note_pitch"].check(float(pitch))
    target = prepare(audio, sample_rate, seconds)

    def cost(values: Values) -> float:
        return distance(mono(synth.render(values, seconds=seconds))[0], target)

    mel, lines = note_features(target[None])
    drawn, plain = propose(model, mel[None], lines[None], n=n, seed=seed)
    patches = [patch_of(spec, code) for code in (*drawn[0], plain[0])]
    if pitch is not None:
        patches = [values | {"note_pitch": float(pitch)} for values in patches]
    tried = tuple(cost(values) for values in patches)
    best, lowest = patches[int(np.argmin(tried))], min(tried)
    knob, key = spec["note_pitch"], float(best["note_pitch"])
    others = [key + step for step in _STEPS_TO_KEYS if knob.low <= key + step <= knob.high]
    for values in [{**best, "note_pitch": other} for other in others if pitch is None]:
        found = cost(values)
        if found < lowest:
            best, lowest = values, found
    if refine:
        best = refined(spec, best, cost, renders=refine, seed=seed)
    loudness = [
        loudness_lufs(x, SAMPLE_RATE)
        for x in (target[None], mono(synth.render(best, seconds=seconds)))
    ]
    missing_db = loudness[0] - loudness[1]
    volume_db = float(np.clip(missing_db, -70.0, 12.0)) if math.isfinite(missing_db) else 0.0
    # A synthesizer's first note begins slightly differently from its later ones.
    played = synth.first_note(best, seconds=seconds, volume_db=volume_db)
    return Match(spec, best, volume_db, played, distance(mono(played)[0], target), tried)


def distance(estimate: np.ndarray, target: np.ndarray) -> float:
    """MSS in dB, and a large number for a silent estimate."""
    if np.abs(estimate).max() <= 1e-6:
        return _SILENT
    return multi_scale_spectral(estimate, target, SAMPLE_RATE)


def refined(
    spec: SynthSpec, values: Values, cost: Callable[[Values], float], *, renders: int, seed: int = 0
) -> dict[str, float | str]:
    """The best patch that CMA-ES finds around one in `renders` notes; key and choices stay."""
    active = spec.active(values)
    code = spec.encode(values).astype(np.float64)
    free = [
        spec.columns[field.name].start
        for field in spec.fields
        if isinstance(field, Knob)
        and active[field.name]
        and values[field.name] != field.point
        and field.name != "note_pitch"
    ]

    def patch(point: np.ndarray) -> dict[str, float | str]:
        changed = code.copy()
        changed[free] = point
        return spec.decode(changed)

    found = minimise(
        lambda points: [cost(patch(point)) for point in points],
        code[free],
        evaluations=renders,
        rng=generator(seed, "synth", "cma"),
        spread=0.3,  # standard deviations of a knob
        population=8,
        bounded=False,
    )
    return patch(found.point)


def match_file(
    file: Path,
    *,
    out: Path | None = None,
    n: int = 8,
    refine: int = 0,
    pitch: int | None = None,
    preset: str = "vital_simple",
    checkpoint: Path | None = None,
    seed: int = 0,
) -> tuple[Match, list[Path]]:
    """`predict` for a file, written by `write_match` to `out` (see `new_files`).

    `checkpoint` replaces the shipped network of `preset` and names its own synthesizer. Errors as
    `predict`, CheckpointError, and ImportError or PluginError without the synthesizer.
    """
    from labkit.systems.synth import SYSTEM

    audio, sample_rate = read_audio(file)
    model = SYSTEM.load(checkpoint, preset=preset)
    with Synth(model.config.sound.spec) as synth:
        options = {"n": n, "refine": refine, "pitch": pitch, "seed": seed}
        match = predict(model, audio, sample_rate, synth=synth, **options)
        return match, write_match(match, out, name=Path(file).stem, synth=synth)


def describe(match: Match, files: list[Path]) -> str:
    """A match in words: note, distance, the audible settings, the files."""
    note = "key {note_pitch:.0f} for {note_seconds:.2f} s".format(**match.values)
    tried = ", ".join(f"{value:.1f}" for value in match.tried[:-1])
    lines = [f"{note}; {match.distance:.1f} dB (MSS) away", f"drawn patches: {tried} dB"]
    active = match.spec.active(match.values)
    for name, value in match.values.items():
        if active[name]:
            shown = value if isinstance(value, str) else format(value, ".3g")
            lines.append(f"  {name:28s} {shown}")
    return "\n".join([*lines, *(f"wrote {path}" for path in files)])


def write_match(match: Match, folder: Path | None, *, name: str, synth: Synth) -> list[Path]:
    """Write preset, MIDI note, settings, sound and parameters of a match; returns the files.

    The parameters are the patch as a vector, (size,) float32, as `SynthSpec.decode` reads it.
    """
    values = match.values
    endings = (synthesizer_of(match.spec.name).suffix, ".mid", ".json", ".wav", ".params.npy")
    files = new_files(folder, name, *endings)
    preset = synth.preset(values, name=name, volume_db=match.volume_db)
    with replacing(files[0]) as temporary:
        temporary.write_bytes(preset.encode() if isinstance(preset, str) else preset)
    write_note(files[1], *(float(values.get(name, 0.0)) for name in NOTE))
    facts = {"set": match.spec.name, "values": values, "volume_db": match.volume_db}
    replace_text(files[2], json.dumps({**facts, "mss_db": match.distance}, indent=1) + "\n")
    write_audio(files[3], match.audio / max(1.0, float(np.abs(match.audio).max())), SAMPLE_RATE)
    with replacing(files[4]) as temporary:
        np.save(temporary, match.spec.encode(values))
    return files


def write_note(path: Path, pitch: float, start: float, seconds: float) -> None:
    """A standard MIDI file with one note."""
    mido = need("mido")
    track = mido.MidiTrack()
    key, velocity = round(pitch), round(127 * VELOCITY)
    # 120 beats a minute, 480 ticks a beat.
    wait, ticks = round(start * 960), max(1, round(seconds * 960))
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(120), time=0))
    track.append(mido.Message("note_on", note=key, velocity=velocity, time=wait))
    track.append(mido.Message("note_off", note=key, velocity=0, time=ticks))
    track.append(mido.MetaMessage("end_of_track", time=0))
    with replacing(path) as temporary:
        mido.MidiFile(ticks_per_beat=480, tracks=[track]).save(temporary)
