"""Matches judged by how they sound, beside mean patch, nearest neighbour, regression, shuffled sound and oracle."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from labkit.effects.hosts.face import PluginError
from labkit.effects.synths.registry import Synth, open_synth, synthesizer_of
from labkit.effects.synths.spec import SAMPLE_RATE, SynthSpec, Values
from labkit.effects.synths.vital import Vital
from labkit.measure.score import Row, bootstrap_interval
from labkit.measure.timbre import DISTANCES, sound_distances
from labkit.signal.files import read_audio
from labkit.signal.paths import real_data_dir
from labkit.systems.synth_matching import features
from labkit.systems.synth_matching.data import Notes, default_folder, exchanges, read_notes
from labkit.systems.synth_matching.model import SynthModel
from labkit.systems.synth_matching.predict import distance, patch_of, prepare, propose, refined
from labkit.systems.synth_matching.render import draw
from labkit.systems.synth_matching.schema import RenderConfig

N_BEST = 8
# Hayes et al. 2025, Surge XT with 92 parameters: another synthesizer, other decibels; only the cosine is the same.
_PUBLISHED = {"RMS cosine": 0.948}
_UNITS = {"MSS": "dB", "LSD": "dB"}
WAYS = (
    "mean patch",
    "nearest neighbour",
    "8 neighbours, best kept",
    "regression",
    "flow, one draw",
    "flow, best of 8",
    "shuffled sound",
    "shuffled sound, best of 8",
    "oracle",
)
_NAMED = {
    "nearest neighbour": "the nearest neighbour",
    "8 neighbours, best kept": "the best of 8 neighbours",
}
# Who may choose among eight is held against eight answers to another sound.
_CONTROLS = {"flow, best of 8": "shuffled sound, best of 8"}
# Where and how long the presets of other people are played.
_PRESET_NOTE = {"note_pitch": 60.0, "note_seconds": 0.7}
Scores = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Sound:
    """What is to be matched.

    Attributes:
        name: whose it is; intervals are over names.
        target: (samples,) mono at 44.1 kHz.
        mel: as `features.hear`.
        lines: likewise.
        truth: the patch behind it, where there is one.
    """

    name: str
    target: np.ndarray
    mel: np.ndarray
    lines: np.ndarray
    truth: Mapping[str, float | str] | None = None


def held_out(model: SynthModel, folder: Path, n: int, synth: Synth) -> list[Sound]:
    """Notes of the test split, played again."""
    notes = read_notes(folder, "test", n=n)
    spec, found = model.config.spec, []
    for k in range(n):
        truth = spec.decode(notes.parameters[k])
        audio = synth.render(truth, seconds=model.config.seconds, phases=notes.phases[k])
        found.append(
            Sound(f"test {k}", features.mono(audio)[0], notes.mel[k], notes.lines[k], truth)
        )
    return found


def presets(model: SynthModel, synth: Vital, folder: Path, n: int | None = None) -> list[Sound]:
    """Other people's presets at one key; those that Vital refuses, or that are silent there, are left out."""
    found = []
    for file in sorted(folder.glob("*.vital"))[:n]:
        try:
            audio = synth.play(file.read_text(), _PRESET_NOTE, seconds=model.config.seconds)
        except PluginError:
            continue
        if np.abs(audio).max() > 1e-4:
            found.append(heard(file.stem, features.mono(audio)[0]))
    return found


def recordings(model: SynthModel, folder: Path) -> list[Sound]:
    """Recorded notes of instruments, from their onset on."""
    files = [file for file in sorted(folder.iterdir()) if file.suffix in (".flac", ".wav")]
    return [heard(file.stem, prepare(*read_audio(file), model.config.seconds)) for file in files]


def heard(name: str, target: np.ndarray) -> Sound:
    """A sound without a known patch."""
    views = features.hear(target[None])
    return Sound(name, target, views.mel, views.lines)


class Neighbours:
    """The note of the training split whose picture and fine spectrum are nearest, each band in its own deviation.

    Args:
        notes: of the training split.
        model: whose statistics are used; its weights are not.
    """

    def __init__(self, notes: Notes, model: SynthModel) -> None:
        ear = model.ear
        self._moments = [
            tuple(x.numpy() for x in (ear.mel_mean[:, None], ear.mel_deviation[:, None])),
            tuple(x.numpy() for x in (ear.lines_mean, ear.lines_deviation)),
        ]
        self._parameters = notes.parameters
        self._views = np.stack(
            [self._flat(*views) for views in zip(notes.mel, notes.lines, strict=True)]
        )

    def _flat(self, mel: np.ndarray, lines: np.ndarray) -> np.ndarray:
        """Both views weigh the same."""
        views = [
            (x - mean) / deviation
            for x, (mean, deviation) in zip((mel, lines), self._moments, strict=True)
        ]
        return np.concatenate([view.ravel() / np.sqrt(view.size) for view in views]).astype(
            np.float16
        )

    def __call__(self, mel: np.ndarray, lines: np.ndarray, n: int = 1) -> np.ndarray:
        """(n, size), the codes of the nearest notes' patches, the nearest first."""
        asked = self._flat(mel, lines).astype(np.float32)
        parts = np.array_split(self._views, max(1, len(self._views) // 512))
        squares = [np.square(part.astype(np.float32) - asked).sum(1) for part in parts]
        return self._parameters[np.concatenate(squares).argsort(kind="stable")[:n]]


def judge(
    model: SynthModel,
    sounds: Sequence[Sound],
    synth: Synth,
    notes: Notes,
    *,
    seed: int = 1,
    refine: int = 0,
    n_refined: int = 0,
    on_done: Callable[[int, int], None] | None = None,
) -> list[Scores]:
    """Every way to a patch, for every sound: its distances.

    Args:
        model: in evaluation mode.
        sounds: two or more.
        synth: open.
        notes: the training split, for neighbours and the mean patch.
        seed: of the draws.
        refine: notes that CMA-ES may play from the best of 8 on.
        n_refined: sounds, from the first on, that are refined.
        on_done: called after each sound.

    Returns:
        For each sound: way -> distance -> value; ``"parameters"`` among the distances where the patch is known.
    """
    spec, seconds = model.config.spec, model.config.seconds
    mels, lines = (
        np.stack([getattr(sound, name) for sound in sounds]) for name in ("mel", "lines")
    )
    drawn, plain = propose(model, mels, lines, n=N_BEST, seed=seed)
    neighbours, mean = Neighbours(notes, model), notes.parameters.mean(0)

    def play(values: Values) -> np.ndarray:
        return features.mono(synth.render(values, seconds=seconds))[0]

    def nearest_of(
        patches: Sequence[Values], target: np.ndarray
    ) -> tuple[Values, np.ndarray, Values, np.ndarray]:
        """The first patch and its sound, and those of the one that sounds nearest."""
        sounded = [play(values) for values in patches]
        best = int(np.argmin([distance(audio, target) for audio in sounded]))
        return patches[0], sounded[0], patches[best], sounded[best]

    found, average = [], play(patch_of(spec, mean))
    for k, sound in enumerate(sounds):
        patches: dict[str, Values] = {"regression": patch_of(spec, plain[k])}
        if sound.truth is not None:
            patches["oracle"] = sound.truth
        played = {way: play(values) for way, values in patches.items()} | {"mean patch": average}
        patches["mean patch"] = patch_of(spec, mean)
        for first, best, codes in (
            (
                "nearest neighbour",
                "8 neighbours, best kept",
                neighbours(sound.mel, sound.lines, N_BEST),
            ),
            ("flow, one draw", "flow, best of 8", drawn[k]),
            ("shuffled sound", "shuffled sound, best of 8", drawn[k - 1]),
        ):
            tried = nearest_of([patch_of(spec, code) for code in codes], sound.target)
            patches[first], played[first], patches[best], played[best] = tried
        if refine and k < n_refined:
            cost = _cost(play, sound.target)
            patches["refined"] = refined(
                spec, patches["flow, best of 8"], cost, renders=refine, seed=seed
            )
            played["refined"] = play(patches["refined"])
        scores = {
            way: sound_distances(audio, sound.target, SAMPLE_RATE) for way, audio in played.items()
        }
        if sound.truth is not None:
            for way, values in patches.items():
                scores[way]["parameters"] = parameter_error(spec, values, sound.truth)
        found.append(scores)
        if on_done:
            on_done(k + 1, len(sounds))
    return found


def _cost(play: Callable[[Values], np.ndarray], target: np.ndarray) -> Callable[[Values], float]:
    return lambda values: distance(play(values), target)


def parameter_error(spec: SynthSpec, values: Values, truth: Values) -> float:
    """Mean absolute error of what can be heard of the true patch, oscillators exchanged where that is nearer (LAC).

    Args:
        spec: of both.
        values: a patch.
        truth: the patch behind the sound.

    Returns:
        In standard deviations of a code's place.
    """
    heard_of, codes = spec.active(truth), (spec.encode(values), spec.encode(truth))
    kept = np.concatenate([np.full(field.size, heard_of[field.name]) for field in spec.fields])
    return float(np.abs(codes[0][exchanges(spec)] - codes[1])[:, kept].mean(1).min())


def rows_of(
    scores: Sequence[Scores],
    names: Sequence[str],
    *,
    protocol: str,
    sources: str,
    seed: int,
    checkpoint: str,
    seconds: float,
) -> list[Row]:
    """The rows of one kind of sound: every way to a patch under every distance, and the ratios that were aimed at."""
    found = []
    metrics = [*DISTANCES, *(["parameters"] if "oracle" in scores[0] else [])]
    shared = {
        "protocol": protocol,
        "sources": sources,
        "seed": seed,
        "checkpoint": checkpoint,
        "seconds": seconds,
    }
    for way in (
        "8 neighbours, best kept",
        "regression",
        "flow, one draw",
        "flow, best of 8",
        "refined",
    ):
        kept = [k for k, score in enumerate(scores) if way in score]
        for metric in metrics if kept else ():
            means = {other: _mean(scores, other, metric, kept) for other in WAYS}
            values = [scores[k][way][metric] for k in kept]
            low, high = bootstrap_interval(values, [names[k] for k in kept], seed=seed)
            beside = {
                "prior": means["mean patch"],
                "floor": means["nearest neighbour"],
                "oracle": means["oracle"],
            }
            beside |= {
                "control": means[_CONTROLS.get(way, "shuffled sound")],
                "reference": _PUBLISHED.get(metric),
            }
            ours, unit = float(np.mean(values)), _UNITS.get(metric, "")
            found.append(
                Row(
                    name=way,
                    metric=metric,
                    unit=unit,
                    ours=ours,
                    low=low,
                    high=high,
                    n=len(kept),
                    **shared,
                    **beside,
                )
            )
    return found + list(_ratios(scores, names, shared))


def _mean(scores: Sequence[Scores], way: str, metric: str, kept: Sequence[int]) -> float | None:
    values = [scores[k][way][metric] for k in kept if way in scores[k]]
    return float(np.mean(values)) if values else None


def _ratios(scores: Sequence[Scores], names: Sequence[str], shared: dict) -> Iterator[Row]:
    """Mean MSS of the flow over that of another way; the interval by drawing sounds."""
    for ours in ("flow, one draw", "flow, best of 8"):
        for other in ("regression", "nearest neighbour", "8 neighbours, best kept"):
            if other not in scores[0] or (ours, other) == (
                "flow, one draw",
                "8 neighbours, best kept",
            ):
                continue
            pairs = np.array([[score[way]["MSS"] for way in (ours, other)] for score in scores])
            draws = np.random.default_rng(shared["seed"]).integers(
                0, len(pairs), (2000, len(pairs))
            )
            means = pairs[draws].mean(1)
            low, high = np.quantile(means[:, 0] / means[:, 1], [0.025, 0.975])
            ratio = float(pairs[:, 0].mean() / pairs[:, 1].mean())
            metric = f"MSS, over that of {_NAMED.get(other, other)}"
            yield Row(
                name=ours,
                metric=metric,
                unit="",
                ours=ratio,
                low=float(low),
                high=float(high),
                n=len(names),
                **shared,
            )


def evaluate(
    model: SynthModel,
    *,
    folder: Path | None = None,
    n: int = 64,
    all_sounds: bool = False,
    refine: int = 0,
    n_refined: int = 8,
    seed: int = 1,
    checkpoint: str = "synth.safetensors",
    on_done: Callable[[int, int], None] | None = None,
) -> list[Row]:
    """Every figure of the results table.

    Args:
        model: in evaluation mode.
        folder: of the data set; the usual one when None.
        n: held-out notes, at most those of the test split.
        all_sounds: also other people's presets and recorded notes, where there are any (LABKIT_REAL_DATA).
        refine: notes that CMA-ES may play for the first `n_refined` sounds.
        n_refined: of each kind of sound.
        seed: of draws and intervals.
        checkpoint: named in the rows.
        on_done: called after each sound.

    Returns:
        The rows: generated notes, then presets (as sampled) and recordings (as real).

    Raises:
        ValueError: if there is no data set.
        PluginError: if the synthesizer crashed, hung or is not installed.
    """
    folder = folder or default_folder(model.config.parameters)
    notes, real = read_notes(folder, "train"), real_data_dir()
    title = synthesizer_of(model.config.parameters).title
    found: list[Row] = []
    with open_synth(model.config.spec) as synth:
        jobs = [("generated", lambda: held_out(model, folder, n, synth))]
        if all_sounds and real is not None:
            if isinstance(synth, Vital):
                jobs.append(
                    ("sampled", lambda: presets(model, synth, real / "synth_presets" / "vital"))
                )
            jobs.append(("real", lambda: recordings(model, real / "notes")))
        for sources, collect in jobs:
            started, sounds = perf_counter(), collect()
            given = {"seed": seed, "refine": refine, "n_refined": n_refined, "on_done": on_done}
            scores = judge(model, sounds, synth, notes, **given)
            said = {
                "protocol": f"{title}, {len(model.config.spec.fields)} parameters",
                "sources": sources,
                "seed": seed,
                "checkpoint": checkpoint,
            }
            found += rows_of(
                scores, [s.name for s in sounds], seconds=perf_counter() - started, **said
            )
    return found


def fixed_score(model: SynthModel, *, n: int = 12) -> dict[str, float]:
    """Mean MSS on the same few notes every time, which no data set holds: what the card says and a test repeats.

    Args:
        model: in evaluation mode.
        n: notes.

    Returns:
        dB, of the regressor and of one draw of the flow.

    Raises:
        PluginError: if the synthesizer crashed, hung or is not installed.
    """
    spec, seconds, sounds = model.config.spec, model.config.seconds, []
    rendering = RenderConfig(parameters=model.config.parameters, seconds=seconds)
    with open_synth(spec) as synth:
        k = 0
        while len(sounds) < n:
            values, phases = draw(rendering, "test", 10**9 + k, 0)
            audio = features.mono(synth.render(values, seconds=seconds, phases=phases))[0]
            k += 1
            if np.abs(audio).max() > 0.01:
                sounds.append(heard(f"fixed {k}", audio))
        mels, lines = (
            np.stack([getattr(sound, name) for sound in sounds]) for name in ("mel", "lines")
        )
        drawn, plain = propose(model, mels, lines, n=1, seed=0)
        found = {"flow_mss_db": drawn[:, 0], "regression_mss_db": plain}
        return {
            way: round(float(np.mean(_played(synth, spec, codes, sounds))), 3)
            for way, codes in found.items()
        }


def _played(
    synth: Synth, spec: SynthSpec, codes: np.ndarray, sounds: Sequence[Sound]
) -> list[float]:
    return [
        distance(
            features.mono(
                synth.render(patch_of(spec, code), seconds=len(sound.target) / SAMPLE_RATE)
            )[0],
            sound.target,
        )
        for code, sound in zip(codes, sounds, strict=True)
    ]
