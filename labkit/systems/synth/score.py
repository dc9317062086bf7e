"""Matches judged by their sound, beside mean patch, neighbours, shuffled sound and true patch."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from labkit.effects.hosts.worker import PluginError
from labkit.effects.synths.registry import Synth, synthesizer_of
from labkit.measure.losses import multi_scale_spectral, rms_cosine
from labkit.measure.score import SOURCES, Kind, Row, row
from labkit.signal.files import read_audio
from labkit.signal.optional import need
from labkit.signal.paths import real_data_dir
from labkit.signal.recorded import recorded_notes
from labkit.systems.synth import kosc
from labkit.systems.synth import model as net
from labkit.systems.synth.model import KOSC, SAMPLE_RATE, SynthModel, mono, note_features, pitch_of
from labkit.systems.synth.predict import (
    N_BEST,
    distance,
    nearest_notes,
    patch_of,
    predict,
    prepare,
    propose,
)
from labkit.systems.synth.render import Notes, default_folder, draw, read_notes

# Where and how long other people's presets are played.
_PRESET_NOTE = {"note_pitch": 60.0, "note_seconds": 0.7}
_BESIDE = {"prior": "mean patch", "floor": "nearest neighbour", "oracle": "oracle"}
# Model -> the same with another sound.
_CONTROLS = {
    "8 neighbours, best kept": "shuffled sound",
    "regression": "shuffled sound",
    "flow, one draw": "shuffled sound",
    "flow, best of 8": "shuffled sound, best of 8",
    "labkit synth --refine 0": "shuffled sound, best of 8",
    "labkit synth": "shuffled sound, best of 8",
}
# Those that try to be in tune, and what stands beside them; pYIN takes long.
_TUNED = ("labkit synth --refine 0", "labkit synth", "shuffled sound, best of 8")
_TUNED += tuple(_BESIDE.values())
# Semitones from the recording's key within which a note is in tune.
_IN_TUNE = 0.25
# Recorded notes of each instrument, and which of them are refined too: every third one.
_EACH, _THIRD = 20, 3


class Sound(NamedTuple):
    """A note to match."""

    name: str
    audio: np.ndarray  # (samples,) at 44.1 kHz
    code: np.ndarray | None = None  # the encoded patch, if there is one
    key: float | None = None  # of a recording, with its fraction
    refined: bool = True  # whether a recording is matched with `refine` too; it takes long


# Model -> metric -> value of each sound, NaN where the model was not asked.
Scores = Mapping[str, Mapping[str, np.ndarray]]


def score(
    model: SynthModel,
    *,
    n: int = 48,
    seed: int = 1,
    folder: Path | None = None,
    refine: int = 300,
    sources: Sequence[Kind] = (*SOURCES, "recorded"),
) -> list[Row]:
    """Score matches of held-out notes, of other people's presets and of recorded notes.

    Args:
        n: held-out notes.
        folder: data set of the held-out notes and the neighbours; by default the usual folder.
        refine: notes that CMA-ES may play for each recording, in the row `labkit synth`.
        sources: kinds of notes; sampled: presets; real and recorded need recordings.
    """
    sound = model.config.sound
    if sound.parameters == KOSC:
        found = kosc.scores(model, n, seed)
        beside = {"prior": found["best constant"], "control": found["shuffled sound"]}
        facts = {"protocol": f"{sound.n_oscillators} oscillators", "sources": "generated"}
        facts |= {"metric": "LSD", "unit": "dB", "seed": seed, "beside": beside}
        ways = ("regression", "flow, one draw")
        return [row(found[way], range(n), name=way, **facts) for way in ways]
    folder = folder or default_folder(sound.parameters)
    notes = read_notes(folder, "train")
    protocol = f"{synthesizer_of(sound.parameters).title}, {len(sound.spec.fields)} parameters"
    found = []
    with Synth(sound.spec) as synth:
        for kind in sources:
            if sounds := list(sounds_of(kind, sound, synth, folder, n)):
                scores = judge(model, sounds, synth, notes, seed=seed, refine=refine)
                facts = {"protocol": protocol, "sources": kind, "seed": seed}
                found += rows(scores, [sound.name for sound in sounds], **facts)
    return found


def rows(scores: Scores, names: Sequence[str], **facts: object) -> list[Row]:
    """One row for every model and metric, with an interval over the sounds."""
    found = []
    for way, control in _CONTROLS.items():
        for metric, values in scores.get(way, {}).items():
            asked = ~np.isnan(values)
            others = {**_BESIDE, "control": control}
            figures = {f: scores[x][metric][asked] for f, x in others.items() if x in scores}
            # Hayes et al. 2025, Surge XT with 92 parameters: only the cosine can be compared.
            figures["reference"] = 0.948 if metric == "RMS cosine" else None
            facts |= {"name": way, "metric": metric, "unit": "dB" if metric == "MSS" else ""}
            kept = [name for name, here in zip(names, asked, strict=True) if here]
            found.append(row(values[asked], kept, beside=figures, **facts))
    return found


def sounds_of(kind: str, heard: net.Sound, synth: Synth, folder: Path, n: int) -> Iterator[Sound]:
    """Notes of the test split, other people's presets, or recordings, if they are here."""
    seconds, suffix = heard.seconds, synthesizer_of(heard.parameters).suffix
    real = real_data_dir() or Path("nowhere")
    if kind == "generated":
        notes = read_notes(folder, "test", n=n)
        for k, code in enumerate(notes.parameters):
            setting = {"seconds": seconds, "phases": notes.phases[k]}
            audio = synth.render(heard.spec.decode(code), **setting)
            yield Sound(f"test {k}", mono(audio)[0], code)
    elif kind == "sampled":
        for file in sorted((real / "synth_presets" / suffix[1:]).glob(f"*{suffix}")):
            with suppress(PluginError):  # not every preset can be read
                audio = synth.play(file.read_text(), _PRESET_NOTE, seconds=seconds)
                if np.abs(audio).max() > 1e-4:
                    yield Sound(file.stem, mono(audio)[0])
    elif kind == "real":
        for file in sorted((real / "notes").glob("*.flac")):
            word = file.stem.split("_")[-1]  # a MIDI key or the name of a note
            key = int(word) if word.isdigit() else need("librosa").note_to_midi(word)
            yield Sound(file.stem, prepare(*read_audio(file), seconds), key=float(key))
    elif (real / "train_audio").is_dir():
        for k, (group, file, key) in enumerate(recorded_notes("test", _EACH)):
            audio = prepare(*read_audio(file), seconds)
            yield Sound(group, audio, key=key, refined=k % _EACH % _THIRD == 0)


def judge(
    model: SynthModel,
    sounds: Sequence[Sound],
    synth: Synth,
    notes: Notes,
    *,
    seed: int = 1,
    refine: int = 300,
) -> Scores:
    """The distances of every model's answer to at least two sounds, and whether it is in tune.

    Args:
        notes: the training split, for neighbours and the mean patch.
        refine: of `predict`, which answers recordings alone.
    """
    spec, seconds = model.config.sound.spec, model.config.sound.seconds
    mels, lines = _features([sound.audio for sound in sounds])
    drawn, plain = propose(model, mels, lines, n=N_BEST, seed=seed)
    near = notes.parameters[nearest_notes(model, notes, mels, lines)]
    found: dict[str, dict[str, np.ndarray]] = {}

    def play(codes: np.ndarray) -> list[np.ndarray]:
        return [mono(synth.render(patch_of(spec, x), seconds=seconds))[0] for x in codes]

    def best(played: list[np.ndarray], target: np.ndarray) -> np.ndarray:
        return min(played, key=lambda audio: distance(audio, target))

    mean = play(notes.parameters.mean(0)[None])[0]
    shuffled = play(drawn[-1])
    for k, (_, target, code, key, refined) in enumerate(sounds):
        neighbours, flow = play(near[k]), play(drawn[k])
        answers = {
            "mean patch": mean,
            "regression": play(plain[[k]])[0],
            "nearest neighbour": neighbours[0],
            "8 neighbours, best kept": best(neighbours, target),
            "flow, one draw": flow[0],
            "flow, best of 8": best(flow, target),
            "shuffled sound": shuffled[0],
            "shuffled sound, best of 8": best(shuffled, target),
        }
        shuffled = flow
        if code is not None:
            answers["oracle"] = play(code[None])[0]
        efforts = {} if key is None else {"labkit synth --refine 0": 0}
        if key is not None and refined:
            efforts["labkit synth"] = refine
        for way, effort in efforts.items():
            options = {"synth": synth, "notes": notes, "refine": effort}
            answers[way] = mono(predict(model, target[None], SAMPLE_RATE, **options).audio)[0]
        for way, audio in answers.items():
            values = {
                "MSS": multi_scale_spectral(audio, target, SAMPLE_RATE),
                "RMS cosine": rms_cosine(audio, target, SAMPLE_RATE),
            }
            if key is not None and way in _TUNED:
                values["in tune"] = abs(pitch_of(audio).key - key) <= _IN_TUNE
            for metric, value in values.items():
                columns = found.setdefault(way, {})
                columns.setdefault(metric, np.full(len(sounds), np.nan))[k] = value
    return found


def _features(sounds: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    found = [note_features(sound[None]) for sound in sounds]
    return np.stack([one.mel for one in found]), np.stack([one.lines for one in found])


def fixed_score(model: SynthModel) -> dict[str, float]:
    """Mean MSS in dB, of one draw and of the regressor, on twelve notes that no data set holds.

    Of kosc the LSD on 24 sounds.
    """
    sound = model.config.sound
    if sound.parameters == KOSC:
        found = kosc.scores(model, 24, seed=0)
        return {way: round(float(found[way].mean()), 3) for way in ("regression", "flow, one draw")}
    with Synth(sound.spec) as synth:
        targets = []
        k = 10**9
        while len(targets) < 12:
            values, phases = draw(sound.parameters, "test", k, 0)
            audio = mono(synth.render(values, seconds=sound.seconds, phases=phases))[0]
            k += 1
            if np.abs(audio).max() > 0.01:
                targets.append(audio)
        drawn, plain = propose(model, *_features(targets), n=1, seed=0)
        found = {}
        for way, codes in {"flow_mss_db": drawn[:, 0], "regression_mss_db": plain}.items():
            distances = []
            for code, target in zip(codes, targets, strict=True):
                audio = synth.render(patch_of(sound.spec, code), seconds=sound.seconds)
                distances.append(distance(mono(audio)[0], target))
            found[way] = round(float(np.mean(distances)), 3)
    return found
