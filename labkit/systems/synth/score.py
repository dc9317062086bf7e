"""Matches judged by their sound, beside mean patch, neighbours, shuffled sound and true patch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from labkit.effects.hosts import PluginError
from labkit.effects.synths.registry import Synth, synthesizer_of
from labkit.measure.metrics import assignment_errors
from labkit.measure.score import Row, row
from labkit.measure.timbre import sound_distances
from labkit.signal.files import read_audio
from labkit.signal.paths import real_data_dir
from labkit.systems.synth import kosc
from labkit.systems.synth.config import KOSC
from labkit.systems.synth.model import SAMPLE_RATE, SynthModel, mono, note_features
from labkit.systems.synth.predict import distance, patch_of, prepare, propose
from labkit.systems.synth.render import Notes, RenderConfig, default_folder, draw, read_notes

N_BEST = 8
# Hayes et al. 2025, Surge XT with 92 parameters: only the cosine can be compared.
_PUBLISHED = {"RMS cosine": 0.948}
_UNITS = {"MSS": "dB", "LSD": "dB"}
# Where and how long other people's presets are played.
_PRESET_NOTE = {"note_pitch": 60.0, "note_seconds": 0.7}
_BESIDE = {"prior": "mean patch", "floor": "nearest neighbour", "oracle": "oracle"}
# Model -> the same with another sound.
_CONTROLS = {
    "8 neighbours, best kept": "shuffled sound",
    "regression": "shuffled sound",
    "flow, best of 8": "shuffled sound, best of 8",
}
# Random sounds among which the nearest to k oscillators is looked for.
_N_KNOWN = 20_000
# Model -> metric -> value of each sound.
Scores = Mapping[str, Mapping[str, Sequence[float]]]


class Sound(NamedTuple):
    """A note to match: its source, (samples,) at 44.1 kHz, and the encoded patch if known."""

    name: str
    target: np.ndarray
    code: np.ndarray | None = None


def score(
    model: nn.Module,
    *,
    n: int = 48,
    seed: int = 1,
    folder: Path | None = None,
) -> list[Row]:
    """The distance of matches on held-out notes, other people's presets and recorded notes.

    Args:
        n: held-out notes.
        folder: of the data set, for held-out notes and neighbours; the usual one when None.

    Raises:
        ValueError: if there is no data set.
        ImportError, PluginError: if the synthesizer crashed, hung or is not installed.
    """
    sound = model.config.sound
    real = real_data_dir()
    found = []
    if sound.parameters == KOSC:
        return _score_kosc(model, n, seed)
    folder = folder or default_folder(sound.parameters)
    title = synthesizer_of(sound.parameters).title
    notes = read_notes(folder, "train")
    with Synth(sound.spec) as synth:
        groups = {"generated": lambda: held_out(model, folder, n, synth)}
        if real is not None and title == "Vital":
            groups["sampled"] = lambda: presets(model, real / "synth_presets" / "vital", synth)
        if real is not None:
            groups["real"] = lambda: recordings(model, real / "notes")
        for sources, collect in groups.items():
            started = perf_counter()
            sounds = collect()
            if not sounds:  # that part of the real recordings is not here
                continue
            scores = judge(model, sounds, synth, notes, seed=seed)
            facts = {"protocol": f"{title}, {len(sound.spec.fields)} parameters", "seed": seed}
            facts |= {"sources": sources, "seconds": perf_counter() - started}
            names = [one.name for one in sounds]
            found += rows(scores, names, _BESIDE, _CONTROLS, **facts)
    return found


def held_out(model: SynthModel, folder: Path, n: int, synth: Synth) -> list[Sound]:
    """Notes of the test split, played again."""
    notes = read_notes(folder, "test", n=n)
    sound = model.config.sound
    found = []
    for k, code in enumerate(notes.parameters):
        patch = sound.spec.decode(code)
        audio = synth.render(patch, seconds=sound.seconds, phases=notes.phases[k])
        found.append(Sound(f"test {k}", mono(audio)[0], code))
    return found


def presets(model: SynthModel, folder: Path, synth: Synth) -> list[Sound]:
    """Other people's presets at one key, without those that Vital refuses or that are silent."""
    found = []
    for file in sorted(folder.glob("*.vital")):
        try:
            audio = synth.play(file.read_text(), _PRESET_NOTE, seconds=model.config.sound.seconds)
        except PluginError:
            continue
        if np.abs(audio).max() > 1e-4:
            found.append(Sound(file.stem, mono(audio)[0]))
    return found


def recordings(model: SynthModel, folder: Path) -> list[Sound]:
    """Recorded notes of instruments, from their onset on."""
    files = [file for file in sorted(folder.glob("*")) if file.suffix in (".flac", ".wav")]
    seconds = model.config.sound.seconds
    return [Sound(file.stem, prepare(*read_audio(file), seconds)) for file in files]


def judge(
    model: SynthModel, sounds: Sequence[Sound], synth: Synth, notes: Notes, *, seed: int = 1
) -> Scores:
    """The distances of every model's answer to at least two sounds.

    Args:
        notes: the training split, for neighbours and the mean patch.
    """
    spec, seconds = model.config.sound.spec, model.config.sound.seconds
    mels, lines = _features([sound.target for sound in sounds])
    drawn, plain = propose(model, mels, lines, n=N_BEST, seed=seed)
    near = notes.parameters[nearest_notes(model, notes, mels, lines, N_BEST)]
    found: dict[str, dict[str, list[float]]] = {}

    def play(codes: np.ndarray) -> list[np.ndarray]:
        return [mono(synth.render(patch_of(spec, x), seconds=seconds))[0] for x in codes]

    def best(played: list[np.ndarray], target: np.ndarray) -> np.ndarray:
        return min(played, key=lambda audio: distance(audio, target))

    mean = play(notes.parameters.mean(0)[None])[0]
    for k, sound in enumerate(sounds):
        answers = {"mean patch": mean, "regression": play(plain[[k]])[0]}
        if sound.code is not None:
            answers["oracle"] = play(sound.code[None])[0]
        neighbours, flow, shuffled = (play(codes) for codes in (near[k], drawn[k], drawn[k - 1]))
        answers |= {
            "nearest neighbour": neighbours[0],
            "8 neighbours, best kept": best(neighbours, sound.target),
            "flow, best of 8": best(flow, sound.target),
            "shuffled sound": shuffled[0],
            "shuffled sound, best of 8": best(shuffled, sound.target),
        }
        for way, audio in answers.items():
            for metric, value in sound_distances(audio, sound.target, SAMPLE_RATE).items():
                found.setdefault(way, {}).setdefault(metric, []).append(value)
    return found


def _features(sounds: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    found = [note_features(sound[None]) for sound in sounds]
    return np.stack([one.mel for one in found]), np.stack([one.lines for one in found])


def nearest_notes(
    model: SynthModel, notes: Notes, mels: np.ndarray, lines: np.ndarray, n: int
) -> np.ndarray:
    """(b, n): the notes with the nearest features in standard deviations, the nearest first."""
    encoder = model.encoder

    def flat(mels: np.ndarray, lines: np.ndarray) -> Tensor:
        mel = (torch.from_numpy(mels) - encoder.mel_mean[:, None]) / encoder.mel_deviation[:, None]
        line = (torch.from_numpy(lines) - encoder.lines_mean) / encoder.lines_deviation
        # Both weigh the same.
        parts = [x.flatten(1).float() / x[0].numel() ** 0.5 for x in (mel, line)]
        return torch.cat(parts, dim=1)

    distances = torch.cdist(flat(mels, lines), flat(notes.mel, notes.lines))
    return distances.argsort(dim=1, stable=True)[:, :n].numpy()


def rows(
    scores: Scores,
    names: Sequence[object],
    beside: Mapping[str, str],
    controls: Mapping[str, str],
    **facts: object,
) -> list[Row]:
    """One row for every model in `controls` and every metric, with an interval over the sounds."""
    found = []
    for way, control in controls.items():
        for metric, values in scores[way].items():
            others = {**beside, "control": control}
            figures = {f: scores[x][metric] for f, x in others.items() if x in scores}
            figures["reference"] = _PUBLISHED.get(metric)
            facts |= {"name": way, "metric": metric, "unit": _UNITS.get(metric, "")}
            found.append(row(values, names, beside=figures, **facts))
    return found


def _score_kosc(model: kosc.KoscModel, n: int, seed: int) -> list[Row]:
    """Distance of sounds (LSD) and matched error of settings (LAC) on k oscillators."""
    config = model.config
    started = perf_counter()
    k, in_bands = config.sound.n_oscillators, config.sound.in_bands
    settings, audio = kosc.examples(config, n, seed)
    known, sounds = kosc.examples(config, _N_KNOWN, seed + 1)
    spectra = [kosc.decibels(kosc.magnitude(x)) for x in (audio, sounds)]
    drawn, plain = model.propose(audio, n=N_BEST)
    flow = f"flow ({config.net.field})"
    answers = {
        "mean patch": torch.full_like(settings, 0.5)[:, None],
        "nearest neighbour": known[torch.cdist(*spectra).argmin(1)][:, None],
        "regression": plain[:, None],
        flow: drawn[:, :1],
        f"{flow}, best of 8": drawn,
        "oracle": settings[:, None],
    }
    controls = {way: f"shuffled {way}" for way in ("regression", flow, f"{flow}, best of 8")}
    answers |= {other: answers[way].roll(1, 0) for way, other in controls.items()}
    scores = {}
    for way, some in answers.items():
        played = kosc.render_many(some.flatten(0, 1), in_bands=in_bands)
        targets = audio.repeat_interleave(some.shape[1], 0)
        lsd = kosc.log_spectral_distance(played, targets).unflatten(0, some.shape[:2])
        best = some[torch.arange(n), lsd.argmin(1)]
        scores[way] = {"LSD": lsd.amin(1).numpy(), "LAC": assignment_errors(best, settings)}
    protocol = f"{k} oscillators, {'each in a band of its own' if in_bands else 'alike'}"
    facts = {"protocol": protocol, "sources": "generated", "seed": seed}
    return rows(scores, range(n), _BESIDE, controls, seconds=perf_counter() - started, **facts)


def fixed_score(model: nn.Module, *, n: int = 12) -> dict[str, float]:
    """Mean MSS in dB, of one draw and of the regressor, on a few notes that no data set holds.

    Raises:
        ImportError, PluginError: if the synthesizer crashed, hung or is not installed.
    """
    sound = model.config.sound
    rendering = RenderConfig(parameters=sound.parameters, seconds=sound.seconds)
    with Synth(sound.spec) as synth:
        targets = []
        k = 10**9
        while len(targets) < n:
            values, phases = draw(rendering, "test", k, 0)
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
