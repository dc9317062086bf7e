"""Scores of saturation: network, least squares and baselines in four conditions."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
from torch.utils.data import default_collate

from labkit.effects.saturation import SPACE
from labkit.measure.score import SOURCES, STRANGERS, Kind, Row, row
from labkit.signal.optional import need
from labkit.signal.seeds import generator
from labkit.systems.saturation.data import Example, draw, item
from labkit.systems.saturation.model import CONDITIONS, CURVE_NAMES, SaturationModel
from labkit.systems.saturation.predict import identify, predict_batch

SCORED = ("mp3", "curve", "wet", "wet_curve")
_LOW, _HIGH = SPACE["depth"].low, SPACE["depth"].high


def score(
    model: SaturationModel,
    *,
    n: int = 300,
    n_floor: int = 600,
    sources: Sequence[Literal[Kind, "behind"]] = (*SOURCES, *STRANGERS),
    conditions: Sequence[Literal["level", "mp3", "curve", "wet", "wet_curve"]] = SCORED,
    seed: int = 1,
) -> list[Row]:
    """Score depth and curve on held-out clips, beside baselines and a shuffled control.

    Args:
        n: test clips for each condition and kind of dry sound.
        n_floor: other clips, from which the simple baseline learns.
        sources: generated, sampled, real, recorded; behind: recorded, then a speaker, room, codec.
        conditions: level, mp3, curve (all with the clean recording); wet, wet_curve (without).
        seed: random seed of the clips.
    """
    rows = []
    kinds = [kind for kind in ("generated", "sampled") if kind in sources] or ["generated"]
    for condition in (CONDITIONS[name] for name in conditions):
        examples = partial(draw, model.config, condition, seed=seed)
        taught = [e for k in kinds for e in examples(k, n_floor // len(kinds), split="train")]
        known = "tanh" if len(condition.curves) == 1 else None
        for kind in sources:
            tests = examples(kind, n)
            found = identify(model, [(e.wet, e.reference) for e in tests], known)
            answers = {"network": [(one.curve, one.depth) for one in found]}
            order = generator(seed, "controls", condition.name, kind).permutation(n)
            answers["shuffled"] = [answers["network"][k] for k in order]
            if condition.paired:
                answers["network, refined"] = [one.refined for one in found]
                answers["least squares"] = [(one.fit.curve, one.fit.depth) for one in found]
            curve, depth = (np.array([getattr(e, x) for e in tests]) for x in ("curve", "depth"))
            error = {who: np.abs([d for _, d in a] - depth) for who, a in answers.items()}
            right = {who: np.array([c for c, _ in a]) == curve for who, a in answers.items()}
            of_depth = {
                "prior": np.abs(depth - (_LOW + _HIGH) / 2),
                "floor": np.abs(_floor(taught, tests, model.config.sound.sample_rate) - depth),
                "control": error.pop("shuffled"),
                "oracle": error.get("least squares"),
            }
            of_curve = {"chance": 1 / len(CURVE_NAMES), "control": right.pop("shuffled")}
            metrics = [("depth error", error, of_depth), ("curve named", right, of_curve)]
            facts = {"protocol": condition.description, "sources": kind, "seed": seed}
            facts["groups"] = [e.source_id for e in tests]
            for name in error:
                for metric, values, others in metrics if known is None else metrics[:1]:
                    beside = others if name == "network" else None
                    rows.append(row(values[name], name=name, metric=metric, beside=beside, **facts))
    return rows


def _floor(taught: list[Example], tests: list[Example], rate: int) -> np.ndarray:
    """Depths of `tests` by ridge regression (Hoerl & Kennard 1970) on `_statistics`."""
    x, x_test = (np.array([_statistics(e, rate) for e in s]) for s in (taught, tests))
    ridge = need("sklearn.linear_model").Ridge(alpha=1e-3 * len(x))
    scaler = need("sklearn.preprocessing").StandardScaler().fit(x)
    ridge.fit(scaler.transform(x), [e.depth for e in taught])
    return ridge.predict(scaler.transform(x_test)).clip(_LOW, _HIGH)


def _statistics(example: Example, sample_rate: int) -> np.ndarray:
    """(11,) or with a reference (22,): statistics of amplitudes and spectrum at peak 1."""
    found = []
    for audio in (one for one in (example.wet, example.reference) if one is not None):
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
            *(np.mean(amplitude > level) for level in (0.9, 0.5)),
            np.mean(x[1:] * x[:-1] < 0),  # zero crossings
            np.log((share * hz).sum() + 1.0),  # spectral centroid
            np.log(hz[np.searchsorted(np.cumsum(share), 0.95)] + 1.0),  # roll-off
            10 * (np.log10(power).mean() - np.log10(power.mean())),  # flatness
            *(10 * np.log10(share[hz > edge].sum() + 1e-9) for edge in (4000, 8000)),
        ]
    return np.array(found)


def fixed_score(model: SaturationModel) -> dict[str, float]:
    """Mean depth errors on 16 generated guitars, and how many of their curves are named right."""
    scores = {}
    for name in ("level", "wet", "wet_curve"):
        tests = draw(model.config, CONDITIONS[name], "generated", 16, seed=11)
        batch = default_collate([item(model.config, e) for e in tests])
        prediction = predict_batch(model, batch)
        error = prediction.of(batch["curve"]).exp() - batch["log_depth"].exp()
        scores[name] = round(float(error.abs().mean()), 4)
    scores["curves named"] = int((prediction.curve_logits.argmax(1) == batch["curve"]).sum())
    return scores
