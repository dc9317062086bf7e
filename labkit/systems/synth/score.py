"""Matches judged by their sound, beside mean patch, neighbours, shuffled sound and true patch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from labkit.effects.hosts.worker import PluginError
from labkit.effects.synths.registry import Synth, synthesizer_of
from labkit.measure.losses import multi_scale_spectral, rms_cosine
from labkit.measure.score import Row, row
from labkit.signal.files import read_audio
from labkit.signal.paths import real_data_dir
from labkit.systems.synth import kosc
from labkit.systems.synth.config import KOSC
from labkit.systems.synth.model import SAMPLE_RATE, SynthModel, mono, note_features
from labkit.systems.synth.predict import distance, patch_of, prepare, propose
from labkit.systems.synth.render import Notes, default_folder, draw, read_notes

N_BEST = 8
# Where and how long other people's presets are played.
_PRESET_NOTE = {"note_pitch": 60.0, "note_seconds": 0.7}
_BESIDE = {"prior": "mean patch", "floor": "nearest neighbour", "oracle": "oracle"}
# Model -> the same with another sound.
_CONTROLS = {
    "8 neighbours, best kept": "shuffled sound",
    "regression": "shuffled sound",
    "flow, best of 8": "shuffled sound, best of 8",
}
# A note to match: its source, (samples,) at 44.1 kHz, and the encoded patch or None.
Sound = tuple[str, np.ndarray, np.ndarray | None]
# Model -> metric -> value of each sound.
Scores = Mapping[str, Mapping[str, Sequence[float]]]


def score(
    model: SynthModel, *, n: int = 48, seed: int = 1, folder: Path | None = None
) -> list[Row]:
    """The distance of matches on held-out notes, other people's presets and recorded notes.

    Args:
        n: held-out notes.
        folder: of the data set, for held-out notes and neighbours; the usual one when None.
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
        for sources, sounds in _sounds(model, synth, folder, n).items():
            scores = judge(model, sounds, synth, notes, seed=seed)
            facts = {"protocol": protocol, "sources": sources, "seed": seed}
            found += rows(scores, [name for name, *_ in sounds], **facts)
    return found


def rows(scores: Scores, names: Sequence[str], **facts: object) -> list[Row]:
    """One row for every model and metric, with an interval over the sounds."""
    found = []
    for way, control in _CONTROLS.items():
        for metric, values in scores[way].items():
            others = {**_BESIDE, "control": control}
            figures = {f: scores[x][metric] for f, x in others.items() if x in scores}
            # Hayes et al. 2025, Surge XT with 92 parameters: only the cosine can be compared.
            figures["reference"] = 0.948 if metric == "RMS cosine" else None
            facts |= {"name": way, "metric": metric, "unit": "dB" if metric == "MSS" else ""}
            found.append(row(values, names, beside=figures, **facts))
    return found


def _sounds(model: SynthModel, synth: Synth, folder: Path, n: int) -> dict[str, list[Sound]]:
    """Notes of the test split, other people's presets, and recordings, if they are here."""
    sound = model.config.sound
    found: dict[str, list[Sound]] = {"generated": [], "sampled": [], "real": []}
    notes = read_notes(folder, "test", n=n)
    for k, code in enumerate(notes.parameters):
        patch = sound.spec.decode(code)
        audio = synth.render(patch, seconds=sound.seconds, phases=notes.phases[k])
        found["generated"].append((f"test {k}", mono(audio)[0], code))
    real = real_data_dir() or Path("nowhere")
    suffix = synthesizer_of(sound.parameters).suffix
    for file in sorted((real / "synth_presets" / suffix[1:]).glob(f"*{suffix}")):
        try:
            audio = synth.play(file.read_text(), _PRESET_NOTE, seconds=sound.seconds)
        except PluginError:  # not every preset can be read
            continue
        if np.abs(audio).max() > 1e-4:
            found["sampled"].append((file.stem, mono(audio)[0], None))
    for file in sorted((real / "notes").glob("*")):
        if file.suffix in (".flac", ".wav"):
            target = prepare(*read_audio(file), sound.seconds)
            found["real"].append((file.stem, target, None))
    return {sources: sounds for sources, sounds in found.items() if sounds}


def judge(
    model: SynthModel, sounds: Sequence[Sound], synth: Synth, notes: Notes, *, seed: int = 1
) -> Scores:
    """The distances of every model's answer to at least two sounds.

    Args:
        notes: the training split, for neighbours and the mean patch.
    """
    spec, seconds = model.config.sound.spec, model.config.sound.seconds
    mels, lines = _features([target for _, target, _ in sounds])
    drawn, plain = propose(model, mels, lines, n=N_BEST, seed=seed)
    near = notes.parameters[nearest_notes(model, notes, mels, lines)]
    found: dict[str, dict[str, list[float]]] = {}

    def play(codes: np.ndarray) -> list[np.ndarray]:
        return [mono(synth.render(patch_of(spec, x), seconds=seconds))[0] for x in codes]

    def best(played: list[np.ndarray], target: np.ndarray) -> np.ndarray:
        return min(played, key=lambda audio: distance(audio, target))

    mean = play(notes.parameters.mean(0)[None])[0]
    for k, (_, target, code) in enumerate(sounds):
        answers = {"mean patch": mean, "regression": play(plain[[k]])[0]}
        if code is not None:
            answers["oracle"] = play(code[None])[0]
        neighbours, flow, shuffled = (play(codes) for codes in (near[k], drawn[k], drawn[k - 1]))
        answers |= {
            "nearest neighbour": neighbours[0],
            "8 neighbours, best kept": best(neighbours, target),
            "flow, best of 8": best(flow, target),
            "shuffled sound": shuffled[0],
            "shuffled sound, best of 8": best(shuffled, target),
        }
        for way, audio in answers.items():
            values = found.setdefault(way, {"MSS": [], "RMS cosine": []})
            values["MSS"].append(multi_scale_spectral(audio, target, SAMPLE_RATE))
            values["RMS cosine"].append(rms_cosine(audio, target, SAMPLE_RATE))
    return found


def _features(sounds: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    found = [note_features(sound[None]) for sound in sounds]
    return np.stack([one.mel for one in found]), np.stack([one.lines for one in found])


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
