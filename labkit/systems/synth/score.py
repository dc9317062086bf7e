"""Matches judged by their sound, beside mean patch, neighbours, shuffled sound and true patch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import nn

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
from labkit.systems.synth.render import (
    Notes,
    RenderConfig,
    default_folder,
    draw,
    read_notes,
)

N_BEST = 8
# Hayes et al. 2025, Surge XT with 92 parameters: only the cosine can be compared.
_PUBLISHED = {"RMS cosine": 0.948}
_UNITS = {"MSS": "dB", "LSD": "dB"}
# Where and how long other people's presets are played.
_PRESET_NOTE = {"note_pitch": 60.0, "note_seconds": 0.7}
# Model -> what its score is read against, in the fields of `Row`.
_BESIDE = {"prior": "mean patch", "floor": "nearest neighbour", "oracle": "oracle"}
_CONTROLS = {
    "8 neighbours, best kept": "shuffled sound",
    "regression": "shuffled sound",
    "flow, best of 8": "shuffled sound, best of 8",
}
# Model -> metric -> value of each sound.
Scores = Mapping[str, Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Sound:
    """A note to match: its source, (samples,) mono at 44.1 kHz, and the true code if known."""

    name: str
    target: np.ndarray
    code: np.ndarray | None = None


def score(
    model: nn.Module,
    *,
    n: int = 48,
    seed: int = 1,
    folder: Path | None = None,
    checkpoint: str | None = None,
) -> list[Row]:
    """The distance of matches on held-out notes, other people's presets and recorded notes.

    Args:
        n: held-out notes.
        folder: of the data set, for held-out notes and neighbours; the usual one when None.
        checkpoint: named in the rows.

    Raises:
        ValueError: if there is no data set.
        ImportError, PluginError: if the synthesizer crashed, hung or is not installed.
    """
    if model.config.sound.parameters == KOSC:
        return _score_kosc(model, n, seed, checkpoint)
    sound, real, found = model.config.sound, real_data_dir(), []
    folder = folder or default_folder(sound.parameters)
    notes = read_notes(folder, "train")
    title = synthesizer_of(sound.parameters).title
    with Synth(sound.spec) as synth:
        groups = {"generated": lambda: held_out(model, folder, n, synth)}
        if real is not None and title == "Vital":
            groups["sampled"] = lambda: presets(model, real / "synth_presets" / "vital", synth)
        if real is not None:
            groups["real"] = lambda: recordings(model, real / "notes")
        for sources, collect in groups.items():
            started, sounds = perf_counter(), collect()
            scores = judge(model, sounds, synth, notes, seed=seed)
            facts = {
                "protocol": f"{title}, {len(sound.spec.fields)} parameters",
                "sources": sources,
                "seed": seed,
                "checkpoint": checkpoint,
                "seconds": perf_counter() - started,
            }
            found += rows(scores, [one.name for one in sounds], _BESIDE, _CONTROLS, facts)
    return found


def held_out(model: SynthModel, folder: Path, n: int, synth: Synth) -> list[Sound]:
    """Notes of the test split, played again."""
    notes, spec, found = read_notes(folder, "test", n=n), model.config.sound.spec, []
    for k, code in enumerate(notes.parameters):
        seconds, phases = model.config.sound.seconds, notes.phases[k]
        audio = synth.render(spec.decode(code), seconds=seconds, phases=phases)
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
    files = [file for file in sorted(folder.iterdir()) if file.suffix in (".flac", ".wav")]
    seconds = model.config.sound.seconds
    return [Sound(file.stem, prepare(*read_audio(file), seconds)) for file in files]


def judge(
    model: SynthModel, sounds: Sequence[Sound], synth: Synth, notes: Notes, *, seed: int = 1
) -> Scores:
    """The distances of every way to a patch.

    Args:
        sounds: two or more.
        notes: the training split, for neighbours and the mean patch.
    """
    spec, seconds = model.config.sound.spec, model.config.sound.seconds
    features = [note_features(sound.target[None]) for sound in sounds]
    mels, lines = (np.stack([getattr(one, x) for one in features]) for x in ("mel", "lines"))
    drawn, plain = propose(model, mels, lines, n=N_BEST, seed=seed)
    neighbours, mean = Neighbours(notes, model), notes.parameters.mean(0)[None]
    found: dict[str, dict[str, list[float]]] = {}
    for k, sound in enumerate(sounds):
        codes = {"mean patch": mean, "regression": plain[[k]], "flow": drawn[k]}
        codes |= {"shuffled": drawn[k - 1], "neighbours": neighbours(mels[k], lines[k], N_BEST)}
        if sound.code is not None:
            codes["oracle"] = sound.code[None]
        played = {
            way: [mono(synth.render(patch_of(spec, c), seconds=seconds))[0] for c in some]
            for way, some in codes.items()
        }
        answers = {
            "nearest neighbour": played["neighbours"][0],
            "shuffled sound": played["shuffled"][0],
            "8 neighbours, best kept": _nearest(played.pop("neighbours"), sound.target),
            "flow, best of 8": _nearest(played.pop("flow"), sound.target),
            "shuffled sound, best of 8": _nearest(played.pop("shuffled"), sound.target),
            **{way: audio[0] for way, audio in played.items()},
        }
        for way, audio in answers.items():
            for metric, value in sound_distances(audio, sound.target, SAMPLE_RATE).items():
                found.setdefault(way, {}).setdefault(metric, []).append(value)
    return found


def _nearest(sounds: Sequence[np.ndarray], target: np.ndarray) -> np.ndarray:
    return min(sounds, key=lambda audio: distance(audio, target))


class Neighbours:
    """Finds the notes of the training split with the nearest features, in standard deviations.

    Args:
        notes: of the training split.
        model: gives the statistics; its weights are not used.
    """

    def __init__(self, notes: Notes, model: SynthModel) -> None:
        encoder = model.encoder
        mel = (encoder.mel_mean[:, None].numpy(), encoder.mel_deviation[:, None].numpy())
        self._moments = (mel, (encoder.lines_mean.numpy(), encoder.lines_deviation.numpy()))
        self._parameters = notes.parameters
        pairs = zip(notes.mel, notes.lines, strict=True)
        self._features = np.stack([self._flat(*pair) for pair in pairs])

    def _flat(self, *features: np.ndarray) -> np.ndarray:
        """Log-mel and lines in one vector, each with the same weight."""
        parts = []
        for x, (mean, deviation) in zip(features, self._moments, strict=True):
            parts.append(((x - mean) / deviation).ravel() / np.sqrt(x.size))
        return np.concatenate(parts).astype(np.float16)

    def __call__(self, mel: np.ndarray, lines: np.ndarray, n: int = 1) -> np.ndarray:
        """(n, size), the codes of the nearest notes' patches, the nearest first."""
        asked = self._flat(mel, lines).astype(np.float32)
        parts = np.array_split(self._features, max(1, len(self._features) // 512))
        squares = [np.square(part.astype(np.float32) - asked).sum(1) for part in parts]
        return self._parameters[np.concatenate(squares).argsort(kind="stable")[:n]]


def rows(
    scores: Scores,
    names: Sequence[object],
    beside: Mapping[str, str],
    controls: Mapping[str, str],
    facts: Mapping[str, object],
) -> list[Row]:
    """One row for every model in `controls` and every metric, with an interval over the sounds."""
    found = []
    for way, control in controls.items():
        for metric, values in scores[way].items():
            others = {**beside, "control": control}
            others = {field: scores[other] for field, other in others.items() if other in scores}
            figures = {field: other[metric] for field, other in others.items()}
            figures["reference"] = _PUBLISHED.get(metric)
            unit = _UNITS.get(metric, "")
            found.append(
                row(values, names, name=way, metric=metric, unit=unit, beside=figures, **facts)
            )
    return found


def _score_kosc(model: kosc.KoscModel, n: int, seed: int, checkpoint: str | None) -> list[Row]:
    """Log spectral distance and matched error of settings on k oscillators."""
    config, started = model.config, perf_counter()
    k, in_bands = config.sound.n_oscillators, config.sound.in_bands
    settings, audio = kosc.examples(config, n, seed)
    condition = model.encode(audio).detach()
    drawn, plain = kosc.propose(model, condition, n=N_BEST)
    flow = f"flow ({config.net.field})"
    answers = {
        "middle": torch.full_like(plain, 0.5)[:, None],
        "nearest neighbour": kosc.nearest(config, audio, 40_000)[:, None],
        "regression": plain[:, None],
        flow: drawn[:, :1],
        f"{flow}, best of 8": drawn,
        "oracle": settings[:, None],
    }
    controls = {way: f"{way}, shuffled" for way in ("regression", flow, f"{flow}, best of 8")}
    answers |= {other: answers[way].roll(1, 0) for way, other in controls.items()}
    scores = {way: _kosc_scores(some, settings, audio, in_bands) for way, some in answers.items()}
    facts = {
        "protocol": f"{k} oscillators, {'each in a band of its own' if in_bands else 'alike'}",
        "sources": "generated",
        "seed": seed,
        "checkpoint": checkpoint,
        "seconds": perf_counter() - started,
    }
    return rows(scores, range(n), {**_BESIDE, "prior": "middle"}, controls, facts)


def _kosc_scores(
    answers: torch.Tensor, settings: torch.Tensor, audio: torch.Tensor, in_bands: bool
) -> dict[str, np.ndarray]:
    """LSD and LAC of the answer (b, n, k, 3) whose sound is nearest."""
    sounds = kosc.render_many(answers.flatten(0, 1), in_bands=in_bands)
    each = audio.repeat_interleave(answers.shape[1], 0)
    distances = kosc.log_spectral_distance(sounds, each).unflatten(0, answers.shape[:2])
    best = answers[torch.arange(len(answers)), distances.argmin(1)]
    return {"LSD": distances.amin(1).numpy(), "LAC": assignment_errors(best, settings)}


def fixed_score(model: nn.Module, *, n: int = 12) -> dict[str, float]:
    """Mean MSS in dB on a few fixed notes that no data set holds; LSD for kosc.

    Raises:
        ImportError, PluginError: if the synthesizer crashed, hung or is not installed.
    """
    config = model.config
    if config.sound.parameters == KOSC:
        found = {one.name: one for one in _score_kosc(model, n, 1, None) if one.metric == "LSD"}
        return {f"{name} lsd_db": round(one.ours, 3) for name, one in found.items()}
    spec, seconds = config.sound.spec, config.sound.seconds
    rendering = RenderConfig(parameters=config.sound.parameters, seconds=seconds)
    with Synth(spec) as synth:
        targets, k = [], 10**9
        while len(targets) < n:
            values, phases = draw(rendering, "test", k, 0)
            audio = mono(synth.render(values, seconds=seconds, phases=phases))
            k += 1
            if np.abs(audio).max() > 0.01:
                targets.append(audio)
        features = [note_features(audio) for audio in targets]
        mels, lines = (np.stack([getattr(one, x) for one in features]) for x in ("mel", "lines"))
        drawn, plain = propose(model, mels, lines, n=1, seed=0)
        found = {}
        for way, codes in {"flow_mss_db": drawn[:, 0], "regression_mss_db": plain}.items():
            played = [mono(synth.render(patch_of(spec, c), seconds=seconds))[0] for c in codes]
            pairs = zip(played, targets, strict=True)
            distances = [distance(one, target[0]) for one, target in pairs]
            found[way] = round(float(np.mean(distances)), 3)
    return found
