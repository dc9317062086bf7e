"""From anybody's note to a patch: drawn by the flow, ranked by how it sounds, and refined if there is time."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from labkit.effects.synths.registry import Synth, open_synth
from labkit.effects.synths.spec import SAMPLE_RATE, Knob, SynthSpec, Values
from labkit.learn.flow import Solver, sample
from labkit.learn.minimise import minimise
from labkit.measure.loudness import loudness_lufs
from labkit.measure.timbre import multi_scale_spectral
from labkit.signal.files import AudioError, check_audio, resample, to_mono
from labkit.signal.seeds import generator, torch_generator
from labkit.systems.synth_matching import features
from labkit.systems.synth_matching.model import SynthModel

GUIDANCE, STEPS = 2.0, 12
SOLVER: Solver = "midpoint"
# A patch that is silent at every note is further from any sound than this.
_SILENT = 100.0
_ONSET_DB = -40.0
# Keys beside the one that the network said: it hears what a note is made of better than where it lies.
_KEYS = (*range(-12, 0), *range(1, 13))


@dataclass(frozen=True)
class Match:
    """A patch for a sound.

    Attributes:
        values: of the patch and the note.
        volume_db: for the synthesizer's volume, so that it is as loud as the sound was.
        audio: (2, samples), the patch played.
        distance: MSS between the two, dB.
        tried: MSS of every patch that was ranked, in the order of drawing; the regressor's last.
        renders: notes that were played to find it.
        target: (samples,), what it was compared with: mono, from the onset on, as long as the network hears.
    """

    values: dict[str, float | str]
    volume_db: float
    audio: np.ndarray
    distance: float
    tried: tuple[float, ...]
    renders: int
    target: np.ndarray


def propose(
    model: SynthModel,
    mel: np.ndarray,
    lines: np.ndarray,
    *,
    n: int,
    seed: int = 0,
    guidance: float = GUIDANCE,
    steps: int = STEPS,
    solver: Solver = SOLVER,
) -> tuple[np.ndarray, np.ndarray]:
    """Codes for a batch of heard notes.

    Args:
        model: in evaluation mode.
        mel: (b, N_MELS, frames), as `features.hear` gives it.
        lines: (b, N_LINES), likewise.
        n: draws of the flow for each note.
        seed: of the draws.
        guidance: of the sampler.
        steps: of the sampler.
        solver: of the sampler.

    Returns:
        (b, n, size) of the flow, (b, size) of the regressor.
    """
    with torch.no_grad():
        heard = model.ear(
            *(torch.from_numpy(np.asarray(x, dtype=np.float32)) for x in (mel, lines))
        )
        rng = torch_generator(seed, "synth", "draws")
        drawn = sample(
            model.field, heard, steps=steps, solver=solver, guidance=guidance, rng=rng, n_samples=n
        )
        return drawn.numpy(), model.regressor(heard).numpy()


def patch_of(spec: SynthSpec, code: np.ndarray) -> dict[str, float | str]:
    """The patch of a code; where every source of sound would be off, the one that is least so is on.

    Args:
        spec: of the patch.
        code: (size,).
    """
    values = spec.decode(code)
    sources = [f.name for f in spec.fields if f.name.endswith(("_level", "_volume"))]
    if any(values[name] != 0.0 for name in sources):
        return values
    code = np.array(code, dtype=np.float64)
    loudest = min(sources, key=lambda name: code[spec.columns[name]][1])
    code[spec.columns[loudest].start + 1] = -100.0
    return spec.decode(code)


def prepare(audio: np.ndarray, sample_rate: int, seconds: float) -> np.ndarray:
    """A recording as the network hears it: (samples,) mono at 44.1 kHz, from its onset on, cut or filled up.

    Args:
        audio: (channels, samples), any length.
        sample_rate: Hz.
        seconds: wanted.

    Raises:
        AudioError: if it is empty, silent or not finite.
    """
    single = resample(to_mono(check_audio(audio, sample_rate)), sample_rate, SAMPLE_RATE)[0]
    loud = np.abs(single)
    if not loud.max() > 1e-5:
        raise AudioError("audio is silent (peak below -100 dBFS): there is no note to match")
    start = max(
        0, int(np.argmax(loud > loud.max() * 10 ** (_ONSET_DB / 20))) - round(0.005 * SAMPLE_RATE)
    )
    length = round(seconds * SAMPLE_RATE)
    kept = single[start : start + length]
    return np.pad(kept, (0, length - len(kept))).astype(np.float32)


def predict(
    model: SynthModel,
    audio: np.ndarray,
    sample_rate: int,
    *,
    n: int = 8,
    refine: int = 0,
    pitch: int | None = None,
    synth: Synth | None = None,
    seed: int = 0,
) -> Match:
    """A patch whose note sounds like a recording.

    Args:
        model: from `load` or `train`.
        audio: (channels, samples) float32, any level; what the network hears of it begins at its onset.
        sample_rate: Hz.
        n: draws of the flow, each of which is played; the regressor's patch is played too. The nearest one is played
            at the keys around its own, where `pitch` is not known.
        refine: more notes to play, for CMA-ES on the knobs of the best patch.
        pitch: MIDI key, 36 to 84, where it is known.
        synth: an open one for the model's set, which stays open; a new one when None.
        seed: of the draws.

    Returns:
        The match.

    Raises:
        AudioError: if audio is empty, silent or not finite.
        ValueError: if `n` < 1, `refine` < 0, or pitch is out of range.
        PluginError: if the synthesizer crashed, hung or is not installed.

    Source: ranking by re-synthesis as in Hayes et al. 2025; Hansen 2016 (CMA-ES).
    """
    if n < 1 or refine < 0:
        raise ValueError(f"n must be at least 1 and refine at least 0, got {n} and {refine}")
    spec, seconds = model.config.spec, model.config.seconds
    if pitch is not None:
        spec["note_pitch"].check(float(pitch))
    target = prepare(audio, sample_rate, seconds)
    heard = features.hear(target[None])
    drawn, plain = propose(model, heard.mel[None], heard.lines[None], n=n, seed=seed)
    patches = [_at_pitch(patch_of(spec, code), pitch) for code in (*drawn[0], plain[0])]
    own = synth or open_synth(spec)
    try:
        play = _player(own, seconds)
        tried = tuple(distance(play(values), target) for values in patches)
        best = patches[int(np.argmin(tried))]
        keys = transposed(spec, best) if pitch is None else []
        scores = [distance(play(values), target) for values in keys]
        best = keys[int(np.argmin(scores))] if min(scores, default=np.inf) < min(tried) else best
        if refine:
            best = refined(
                spec, best, lambda values: distance(play(values), target), renders=refine, seed=seed
            )
        return _finished(own, best, target, tried, len(tried) + len(keys) + refine + 2)
    finally:
        if synth is None:
            own.close()


def transposed(spec: SynthSpec, values: Values) -> list[dict[str, float | str]]:
    """The same patch at other keys, as far as there are such."""
    knob = spec["note_pitch"]
    keys = (float(values["note_pitch"]) + step for step in _KEYS)
    return [{**values, "note_pitch": key} for key in keys if knob.low <= key <= knob.high]


def _at_pitch(values: dict[str, float | str], pitch: int | None) -> dict[str, float | str]:
    return values if pitch is None else values | {"note_pitch": float(pitch)}


def _player(synth: Synth, seconds: float) -> Callable[[Values], np.ndarray]:
    return lambda values: features.mono(synth.render(values, seconds=seconds))[0]


def distance(estimate: np.ndarray, target: np.ndarray) -> float:
    """MSS in dB, and a large number for silence."""
    return (
        multi_scale_spectral(estimate, target, SAMPLE_RATE)
        if np.abs(estimate).max() > 1e-6
        else _SILENT
    )


def _finished(
    synth: Synth, values: dict, target: np.ndarray, tried: Sequence[float], renders: int
) -> Match:
    seconds = len(target) / SAMPLE_RATE
    loudness = loudness_lufs(features.mono(synth.render(values, seconds=seconds)), SAMPLE_RATE)
    missing_db = loudness_lufs(target[None], SAMPLE_RATE) - loudness
    volume_db = float(np.clip(missing_db, -70.0, 12.0)) if math.isfinite(missing_db) else 0.0
    # As whoever opens the preset hears it: a synthesizer's first note begins a little otherwise than its later ones.
    audio = synth.first_note(values, seconds=seconds, volume_db=volume_db)
    found = distance(features.mono(audio)[0], target)
    return Match(values, volume_db, audio, found, tuple(tried), renders, target)


def refined(
    spec: SynthSpec,
    values: Values,
    cost: Callable[[Values], float],
    *,
    renders: int,
    seed: int = 0,
    spread: float = 0.3,
) -> dict[str, float | str]:
    """The best patch that neighbouring keys, then CMA-ES, find around one: switches and choices stay.

    Args:
        spec: of the patch.
        values: where to begin.
        cost: of a patch, smaller is better; asked `renders` times at most.
        renders: >= 1.
        seed: of the search.
        spread: of the first generation, in standard deviations of a knob.

    Returns:
        The best patch asked about, or `values` themselves.
    """
    best, lowest, asked = dict(values), cost(values), 1
    for key in _keys_near(spec, values)[: renders - 1]:
        moved = {**values, "note_pitch": key}
        asked += 1
        if (found := cost(moved)) < lowest:
            best, lowest = moved, found
    heard, code = spec.active(best), spec.encode(best).astype(np.float64)
    free = [
        spec.columns[f.name].start
        for f in spec.fields
        if isinstance(f, Knob)
        and heard[f.name]
        and best[f.name] != f.point
        and f.name != "note_pitch"
    ]
    if renders <= asked:
        return best
    found = minimise(
        lambda points: [cost(spec.decode(_with(code, free, point))) for point in points],
        code[free],
        evaluations=renders - asked,
        start_loss=lowest,
        rng=generator(seed, "synth", "cma"),
        spread=spread,
        population=8,
        bounded=False,
    )
    return spec.decode(_with(code, free, found.point)) if found.loss < lowest else best


def _keys_near(spec: SynthSpec, values: Values) -> list[float]:
    key, knob = float(values["note_pitch"]), spec["note_pitch"]
    near = (key + step for step in (-1, 1, -12, 12, -2, 2, -7, 7, -5, 5))
    return [other for other in near if knob.low <= other <= knob.high]


def _with(code: np.ndarray, places: list[int], point: np.ndarray) -> np.ndarray:
    changed = code.copy()
    changed[places] = point
    return changed
