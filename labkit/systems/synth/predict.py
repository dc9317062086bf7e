"""From a recorded note to a patch: drawn by the flow, ranked by its sound, refined on request."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from labkit.effects.synths.registry import Synth, synthesizer_of
from labkit.effects.synths.spec import NOTE, SAMPLE_RATE, VELOCITY, SynthSpec, Values
from labkit.learn.flow import sample
from labkit.learn.minimise import minimise
from labkit.measure.losses import multi_scale_spectral
from labkit.measure.loudness import loudness_lufs
from labkit.signal.files import AudioError, check_audio, resample, to_mono, write_audio
from labkit.signal.optional import need
from labkit.signal.paths import new_files, replace_text, replacing
from labkit.signal.seeds import generator, torch_generator
from labkit.signal.units import db_to_amplitude
from labkit.systems.synth.model import Pitch, SynthModel, mono, note_features, pitch_of, played_key
from labkit.systems.synth.render import Notes, default_folder, read_notes

# Guidance 2 is no better on recorded validation notes: best of eight 8.4 dB, with 1 7.9 dB.
_GUIDANCE, _STEPS = 1.0, 12
# Training notes that are played.
N_BEST = 8
# Distance of a silent patch, larger than that of any sound.
_SILENT = 100.0
_ONSET_DB = -40.0
# A recording of which pYIN is less certain has no pitch here.
_CERTAIN = 0.1
# An error in semitones that is left, and what one of a semitone or more costs, in dB.
_IN_TUNE, _OUT_OF_TUNE = 0.03, 4.0
# Semitones above which a finished patch is out of tune, and how many of the next are tried then.
_HEARD_IN_TUNE, _MORE = 0.25, 3


@dataclass(frozen=True)
class Match:
    """A patch for a sound."""

    spec: SynthSpec
    values: dict[str, float | str]
    volume_db: float  # of the synthesizer, so that it is as loud as the sound
    tuning: float  # of the preset, in semitones, so that its key sounds at the recording's pitch
    audio: np.ndarray  # (2, samples), the patch played
    distance: float  # MSS between the two, dB
    # MSS of every ranked patch, and up to 4 dB if it is out of tune: those of the flow, the
    # regressor's, the neighbours'
    tried: tuple[float, ...]
    heard: Pitch  # the recording's pitch
    # what the patch is out of tune, in semitones; None if the recording has no pitch
    off: float | None


@torch.no_grad()
def propose(
    model: SynthModel, mel: np.ndarray, lines: np.ndarray, *, n: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Encoded patches for a batch of `note_features`: (b, n, size) drawn, (b, size) regressed."""
    given = [torch.from_numpy(np.asarray(x, dtype=np.float32)) for x in (mel, lines)]
    condition = model.encoder(*given)
    rng = torch_generator(seed, "synth", "draws")
    options = {"steps": _STEPS, "solver": "midpoint", "guidance": _GUIDANCE, "rng": rng}
    drawn = sample(model.field, condition, n_samples=n, **options)
    return drawn.numpy(), model.regressor(condition).numpy()


def nearest_notes(
    model: SynthModel, notes: Notes, mels: np.ndarray, lines: np.ndarray
) -> np.ndarray:
    """(b, N_BEST): the notes with the nearest features in standard deviations, nearest first."""
    encoder = model.encoder

    def flat(mels: np.ndarray, lines: np.ndarray) -> Tensor:
        mel = (torch.from_numpy(mels) - encoder.mel_mean[:, None]) / encoder.mel_deviation[:, None]
        line = (torch.from_numpy(lines) - encoder.lines_mean) / encoder.lines_deviation
        # Both weigh the same.
        parts = [x.flatten(1).float() / x[0].numel() ** 0.5 for x in (mel, line)]
        return torch.cat(parts, dim=1)

    distances = torch.cdist(flat(mels, lines), flat(notes.mel, notes.lines))
    return distances.argsort(dim=1, stable=True)[:, :N_BEST].numpy()


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
    n: int = 16,
    refine: int = 300,
    pitch: int | None = None,
    notes: Notes | None = None,
    seed: int = 0,
) -> Match:
    """A patch whose note sounds like a recording, in tune with it.

    Args:
        audio: (channels, samples) float32, any level.
        n: draws of the flow. Each is played, the regressor's patch and the neighbours' too.
        refine: more notes to play, for CMA-ES on the nearest patch.
        pitch: MIDI key, 36 to 84, if it is known; else that of the recording is measured, and where
            it has none the network's is played.
        notes: training notes: the patches of the nearest eight are tried.

    Raises AudioError if audio is empty, silent or not finite; ValueError if `n` < 1, `refine` < 0,
    or pitch is out of range; PluginError if the synthesizer crashed or hung.

    Source: ranking by re-synthesis as in Hayes et al. 2025; Hansen 2016 (CMA-ES).
    """
    if n < 1 or refine < 0:
        raise ValueError(f"n must be at least 1 and refine at least 0, got {n} and {refine}")
    spec, seconds = model.config.sound.spec, model.config.sound.seconds
    knob = spec["note_pitch"]
    if pitch is not None:
        replace(knob, name="pitch").check(float(pitch))
    target = prepare(audio, sample_rate, seconds)
    heard = pitch_of(target, near=pitch)
    wanted = heard.key if heard.certainty >= _CERTAIN else pitch

    def play(values: Values, tuning: float) -> np.ndarray:
        return mono(synth.render(values, seconds=seconds, tuning=tuning))[0]

    def cost(values: Values, tuning: float, plays: int = 1) -> tuple[float, Values, float]:
        if wanted is None:
            return distance(play(values, tuning), target), values, tuning
        sound, tuning, off = in_tune(partial(play, values), wanted, tuning, plays=plays)
        return distance(sound, target) + _penalty(off), values, tuning

    mel, lines = (x[None] for x in note_features(target[None]))
    drawn, plain = propose(model, mel, lines, n=n, seed=seed)
    codes = [*drawn[0], plain[0]]
    if notes is not None:
        codes += [*notes.parameters[nearest_notes(model, notes, mel, lines)[0]]]
    patches = [patch_of(spec, code) for code in codes]
    if wanted is not None:
        key = round(wanted) if pitch is None else pitch
        octaves = math.ceil(max(knob.low - key, 0) / 12) - math.ceil(max(key - knob.high, 0) / 12)
        patches = [values | {"note_pitch": float(key + 12 * octaves)} for values in patches]
    tried = [cost(values, 0.0, plays=2) for values in patches]
    (_, best, tuning), *others = sorted(tried, key=itemgetter(0))
    candidates = [best]
    if refine:
        options = {"renders": refine, "seed": seed}
        candidates.append(refined(spec, best, lambda x: cost(x, tuning)[0], **options))

    def finished(values: dict[str, float | str], tuning: float) -> Match:
        """The patch at its loudness and in tune, by a synthesizer's first note.

        That begins slightly differently from the later ones, by which patches are ranked.
        """

        def first(tuning: float, volume_db: float = 0.0) -> np.ndarray:
            options = {"seconds": seconds, "tuning": tuning, "volume_db": volume_db}
            return synth.first_note(values, **options)

        found, off = tuning, None
        if wanted is not None:
            options = {"plays": 4, "key_of": lambda sound: pitch_of(sound).key}
            _, found, off = in_tune(lambda x: mono(first(x))[0], wanted, tuning, **options)
        loudness = [loudness_lufs(mono(x), SAMPLE_RATE) for x in (target[None], first(found))]
        missing_db = loudness[0] - loudness[1]
        volume_db = float(np.clip(missing_db, -70.0, 12.0)) if math.isfinite(missing_db) else 0.0
        audio = first(found, volume_db)
        facts = {"volume_db": volume_db, "tuning": found, "audio": audio, "heard": heard}
        away, costs = distance(mono(audio)[0], target), tuple(one[0] for one in tried)
        return Match(spec, values, distance=away, tried=costs, off=off, **facts)

    def loss(match: Match) -> float:
        return match.distance + _penalty(match.off)

    # The search may have gained less than a first note differs by.
    match = min((finished(values, tuning) for values in candidates), key=loss)
    for _, values, found in others[:_MORE]:
        if match.off is None or abs(match.off) <= _HEARD_IN_TUNE:
            break
        match = min(match, finished(values, found), key=loss)
    return match


def _penalty(off: float | None) -> float:
    """What a patch costs in dB for being out of tune by so many semitones, if that is known."""
    return _OUT_OF_TUNE * min(abs(off), 1.0) if off is not None and math.isfinite(off) else 0.0


def in_tune(
    play: Callable[[float], np.ndarray],
    wanted: float,
    tuning: float = 0.0,
    *,
    plays: int = 2,
    key_of: Callable[[np.ndarray], float] = played_key,
) -> tuple[np.ndarray, float, float]:
    """A patch played at the tuning that brings it to a key: sound, tuning, error in semitones.

    `play` gives (samples,) at a tuning. The pitch is measured and corrected while that helps.
    """
    sound, off = None, math.inf
    for _ in range(plays):
        found = play(tuning)
        error = key_of(found) - wanted
        if sound is not None and not abs(error) < abs(off):
            break
        sound, kept, off = found, tuning, error
        if not abs(off) > _IN_TUNE:  # or silent: its error is NaN
            break
        tuning = float(np.clip(tuning - off, -36.0, 36.0))
    return sound, kept, off


def distance(estimate: np.ndarray, target: np.ndarray) -> float:
    """MSS in dB, and a large number for a silent estimate."""
    if np.abs(estimate).max() <= 1e-6:
        return _SILENT
    return multi_scale_spectral(estimate, target, SAMPLE_RATE)


def refined(
    spec: SynthSpec, values: Values, cost: Callable[[Values], float], *, renders: int, seed: int = 0
) -> dict[str, float | str]:
    """The best patch that CMA-ES finds around one in `renders` notes; the key stays."""
    code = spec.encode(values).astype(np.float64)
    # Choices and switches move too: 7.5 dB in 300 notes, without them 7.9 (validation).
    free = np.delete(np.arange(spec.size), spec.columns["note_pitch"])

    def patch(point: np.ndarray) -> dict[str, float | str]:
        changed = code.copy()
        changed[free] = point
        return patch_of(spec, changed)

    found = minimise(
        lambda points: [cost(patch(point)) for point in points],
        code[free],
        evaluations=renders,
        rng=generator(seed, "synth", "cma"),
        spread=0.5,  # standard deviations of a knob
        population=16,
        bounded=False,
    )
    return patch(found.point)


def notes_here(model: SynthModel) -> Notes | None:
    """The training notes, where `labkit data render-synth` left them."""
    try:
        return read_notes(default_folder(model.config.sound.parameters), "train")
    except ValueError:  # none were rendered, or not yet all
        return None


def describe(match: Match, files: list[Path]) -> str:
    """A match in words: note, distance, the audible settings, the files."""
    note = "key {note_pitch:.0f} for {note_seconds:.2f} s".format(**match.values)
    tried = ", ".join(f"{value:.1f}" for value in match.tried)
    lines = [f"{note}; {match.distance:.1f} dB (MSS) away", *_of_pitch(match)]
    lines.append(f"patches before refining: {tried} dB, by quick plays; the file is played anew")
    active = match.spec.active(match.values)
    for name, value in match.values.items():
        if active[name]:
            shown = value if isinstance(value, str) else format(value, ".3g")
            lines.append(f"  {name:28s} {shown}")
    return "\n".join([*lines, *(f"wrote {path}" for path in files)])


def _of_pitch(match: Match) -> list[str]:
    """What there is to say of a match's pitch."""
    knob, key = match.spec["note_pitch"], match.heard.key
    if match.off is None:
        return ["warning: the recording has no clear pitch: the key is a guess; --pitch sets it"]
    lines = [f"tuned by {match.tuning:+.2f} semitones, out of tune by {match.off:+.2f}"]
    if not knob.low - 0.5 <= key <= knob.high + 0.5:
        lines.append(
            f"warning: it sounds at key {key:.1f}, outside the keys {knob.low:.0f} to "
            f"{knob.high:.0f}: key and preset are moved by octaves"
        )
    if not abs(match.off) <= _HEARD_IN_TUNE:
        lines.append("warning: the patch does not sound at the recording's pitch")
    return lines


def write_match(match: Match, folder: Path | None, *, name: str, synth: Synth) -> list[Path]:
    """Write preset, MIDI note, settings, sound and parameters of a match; returns the files.

    The parameters are the patch as a vector, (size,) float32, as `SynthSpec.decode` reads it.
    """
    values = match.values
    endings = (synthesizer_of(match.spec.name).suffix, ".mid", ".json", ".wav", ".params.npy")
    files = new_files(folder, name, *endings)
    setting = {"volume_db": match.volume_db, "tuning": match.tuning}
    preset = synth.preset(values, name=name, **setting)
    with replacing(files[0]) as temporary:
        temporary.write_bytes(preset.encode() if isinstance(preset, str) else preset)
    write_note(files[1], *(float(values.get(name, 0.0)) for name in NOTE))
    facts = {"set": match.spec.name, "values": values, **setting}
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
