"""The exam of saturation: network, formulas and baselines under four conditions."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from torch.utils.data import default_collate

from labkit.effects.saturation import SPACE
from labkit.measure.score import SOURCES, Row, row
from labkit.signal.pool import dry_pool
from labkit.signal.seeds import generator
from labkit.signal.sources import recordings
from labkit.systems.saturation.config import CONDITIONS, CURVE_NAMES, Condition, Config
from labkit.systems.saturation.data import Example, item, render
from labkit.systems.saturation.model import SaturationModel
from labkit.systems.saturation.predict import identify, predict_batch

SCORED = ("mp3", "curve", "wet", "wet_curve")
REAL_FOLDERS = ("guitar_di", "guitar_acoustic", "music", "speech")
_LOW, _HIGH = SPACE["depth"].low, SPACE["depth"].high


def score(
    model: SaturationModel,
    *,
    n: int = 300,
    n_floor: int = 600,
    sources: Sequence[str] = SOURCES,
    seed: int = 1,
) -> list[Row]:
    """Score depth and curve for each condition, kind of source and method.

    Args:
        n: clips of each condition and kind of source.
        n_floor: clips of each condition that the ridge regression is fitted on.
        sources: kinds of dry sources; real needs recordings.
    """
    rows = []
    kinds = [kind for kind in sources if kind != "real"] or ["generated"]
    n_kind = n_floor // len(kinds)
    for condition in (CONDITIONS[name] for name in SCORED):
        training = []
        for kind in kinds:
            training += draw(model.config, condition, kind, n_kind, seed=seed, split="train")
        for kind in sources:
            tests = draw(model.config, condition, kind, n, seed=seed)
            floor = _ridge(training, tests, model.config.sound.sample_rate)
            rows += _rows(model, condition, kind, tests, floor, seed)
    return rows


def draw(
    config: Config, condition: Condition, sources: str, n: int, *, seed: int, split: str = "test"
) -> list[Example]:
    """`n` examples on sources of one split, without augmentation; repeatable.

    Raises:
        FileNotFoundError: if `sources` is real and there are no real recordings here.
    """
    sizes = {"seconds": config.sound.clip_seconds, "sample_rate": config.sound.sample_rate}
    if sources == "real":
        rng = generator(seed, "saturation clips", sources, split)
        mixture = recordings(REAL_FOLDERS, **sizes)
        clips = [mixture.clip(rng, "test") for _ in range(n)]
    else:
        pool = dry_pool(sources, split, min(n, 300), **sizes, seed=config.plan.seed)
        clips = [pool.clip(i % len(pool)) for i in range(n)]
    purpose = ("evaluation", condition.name, sources, split)
    rngs = (generator(seed, *purpose, i) for i in range(n))
    return [render(config, clip, condition, rng) for clip, rng in zip(clips, rngs, strict=True)]


def _rows(
    model: SaturationModel,
    condition: Condition,
    sources: str,
    tests: list[Example],
    floor: np.ndarray,
    seed: int,
) -> list[Row]:
    several = len(condition.curves) > 1
    found = identify(model, [(e.wet, e.reference) for e in tests], None if several else "tanh")
    # Method -> its (curve, depth) of each clip.
    answers = {"network": [(one.curve, one.depth) for one in found]}
    order = generator(seed, "controls", condition.name, sources).permutation(len(tests))
    answers["shuffled"] = [answers["network"][k] for k in order]
    if condition.paired:
        answers["network, refined"] = [one.refined for one in found]
        answers["least squares"] = [(one.fit.curve, one.fit.depth) for one in found]
    true_depth, true_curve = np.array([e.depth for e in tests]), [e.curve for e in tests]
    error, right = {}, {}
    for name, answer in answers.items():
        curves, depths = zip(*answer, strict=True)
        error[name] = np.abs(np.array(depths) - true_depth)
        right[name] = np.array(curves) == np.array(true_curve)
    of_depth = {
        "prior": np.abs(true_depth - (_LOW + _HIGH) / 2),
        "floor": np.abs(floor - true_depth),
        "control": error.pop("shuffled"),
        "oracle": error.get("least squares"),
    }
    of_curve = {"chance": 1 / len(CURVE_NAMES), "control": right.pop("shuffled")}
    facts = {"protocol": condition.description, "sources": sources, "seed": seed}
    make = partial(row, groups=[e.source_id for e in tests], **facts)
    rows = []
    for name in error:
        own = of_depth if name == "network" else None
        rows.append(make(error[name], name=name, metric="depth error", beside=own))
        if several:
            own = of_curve if name == "network" else None
            rows.append(make(right[name], name=name, metric="curve named", beside=own))
    return rows


def _ridge(training: list[Example], tests: list[Example], sample_rate: int) -> np.ndarray:
    """Depths of `tests` by ridge regression (Hoerl & Kennard 1970) on `_statistics`."""
    x, x_test = (np.array([_statistics(e, sample_rate) for e in s]) for s in (training, tests))
    depth = np.array([e.depth for e in training])
    mean, deviation = x.mean(0), x.std(0) + 1e-9
    x = (x - mean) / deviation
    normal = x.T @ x + 1e-3 * len(x) * np.eye(x.shape[1])
    weights = np.linalg.solve(normal, x.T @ (depth - depth.mean()))
    return (depth.mean() + (x_test - mean) / deviation @ weights).clip(_LOW, _HIGH)


def _statistics(example: Example, sample_rate: int) -> np.ndarray:
    """(11,) or with a reference (22,): statistics of amplitudes and spectrum at peak 1."""
    found = []
    for audio in (example.wet, example.reference):
        if audio is None:
            continue
        x = np.asarray(audio, dtype=np.float64) / max(float(np.abs(audio).max()), 1e-9)
        amplitude = np.abs(x)
        rms = float(np.sqrt(np.mean(x * x))) + 1e-9
        power = np.square(np.abs(np.fft.rfft(x * np.hanning(len(x))))) + 1e-12
        hz = np.fft.rfftfreq(len(x), 1 / sample_rate)
        share = power / power.sum()
        found += [
            20 * np.log10(rms),
            20 * np.log10(np.median(amplitude) + 1e-6),
            np.mean((x / rms) ** 4),  # kurtosis
            np.mean(amplitude > 0.9),
            np.mean(amplitude > 0.5),
            np.mean(x[1:] * x[:-1] < 0),  # zero crossings
            np.log((share * hz).sum() + 1.0),  # spectral centroid
            np.log(hz[np.searchsorted(np.cumsum(share), 0.95)] + 1.0),  # roll-off
            10 * (np.log10(power).mean() - np.log10(power.mean())),  # flatness
            *(10 * np.log10(share[hz > edge].sum() + 1e-9) for edge in (4000, 8000)),
        ]
    return np.array(found)


def fixed_score(model: SaturationModel, *, n: int = 16, seed: int = 11) -> dict[str, float]:
    """Mean depth errors on `n` generated guitars, and how many of their curves are named right."""
    scores = {}
    for name in ("level", "wet", "wet_curve"):
        tests = draw(model.config, CONDITIONS[name], "generated", n, seed=seed)
        batch = default_collate([item(model.config, e) for e in tests])
        prediction = predict_batch(model, batch)
        error = prediction.of(batch["curve"]).exp() - batch["log_depth"].exp()
        scores[name] = round(float(error.abs().mean()), 4)
    right = prediction.curve_logits.argmax(1) == batch["curve"]
    scores["curves named"] = int(right.sum())
    return scores
