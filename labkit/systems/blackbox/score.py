"""How near the controllers come to their targets, beside rules, constants and an oracle."""

from collections.abc import Callable, Sequence

import numpy as np

from labkit.effects.hosts.plugin import Rack
from labkit.learn.minimise import minimise
from labkit.measure.losses import mr_stft
from labkit.measure.loudness import loudness_lufs
from labkit.measure.score import Row, row
from labkit.signal.paths import real_data_dir
from labkit.signal.seeds import generator
from labkit.signal.sources import recordings
from labkit.signal.units import db_to_amplitude, set_rms
from labkit.systems.blackbox import data, rules
from labkit.systems.blackbox.config import Config
from labkit.systems.blackbox.model import Controller
from labkit.systems.blackbox.predict import predict

_SECONDS, _N_REFERENCES, _N_CONSTANT, _SPREAD = 2.0, 12, 12, 0.2
_PROTOCOLS = {
    "distortion": "distortion: any level of guitar, as a TS9 has it",
    "speech": "speech: without breaths, clicks and room",
    "mastering": "mastering: an askew mix, as a hidden chain has it",
}
# Kind and level of the real recordings.
_REAL = {"distortion": ("guitar_di", -20), "speech": ("speech", -22), "mastering": ("music", -20)}
# Dry, target and source of each recording.
Tests = tuple[Sequence[np.ndarray], Sequence[np.ndarray], Sequence[str]]


def generated_tests(config: Config, *, n: int, seed: int) -> Tests:
    """Clips of sources that are not trained on, at random levels."""
    made = data.examples(config, "test", seed, n=n, seconds=_SECONDS)
    rng = generator(seed, "blackbox test", config.sound.task)
    dry, target = zip(*(made.draw(config.task, k, rng) for k in range(n)), strict=True)
    return dry, target, made.groups


def real_tests(config: Config, *, n: int, seed: int) -> Tests:
    """The same made of real recordings. Raises FileNotFoundError if there are none here."""
    task, rate = config.sound.task, config.sound.sample_rate
    kind, dbfs = _REAL[task]
    source = recordings((kind,), seconds=_SECONDS, sample_rate=rate)
    rng, items = generator(seed, "blackbox real", task), []
    for _ in range(n):
        clip = source.clip(rng, "test")
        level = np.float32(db_to_amplitude(rng.uniform(*config.task.level_db)))
        sound = set_rms(clip.audio, dbfs).astype(np.float32)
        dry, disturbance, target = data.made_from(sound, task, rng, rate)
        dry = dry if disturbance is None else dry + disturbance
        target = target * level if config.task.level_moves_target else target
        items.append((dry * level, target, clip.source_id))
    return tuple(zip(*items, strict=True))


def _setting(model: Controller, audio: np.ndarray) -> np.ndarray:
    return np.array([*predict(model, audio, model.config.sound.sample_rate).values()])


def loudness_error_lu(estimate: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Difference of integrated loudness; what is too soft to have one counts as -70 LUFS."""
    ours, theirs = (max(loudness_lufs(audio, sample_rate), -70.0) for audio in (estimate, target))
    return abs(ours - theirs)


def _distances(
    measure: Callable[..., float],
    sounds: Sequence[np.ndarray],
    target: Sequence[np.ndarray],
    sample_rate: int,
) -> np.ndarray:
    return np.array([measure(x, y, sample_rate) for x, y in zip(sounds, target, strict=True)])


def known_target(
    rack: Rack, dry: np.ndarray, target: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Settings (k, knobs) -> MR-STFT (k,) to the target, the metric of the table."""

    def cost(settings: np.ndarray) -> np.ndarray:
        wet = rack.render([dry] * len(settings), settings)
        return np.array([mr_stft(audio, target, rack.sample_rate) for audio in wet])

    return cost


def best_constant(model: Controller, rack: Rack, renders: int) -> np.ndarray:
    """One setting for all, searched on training clips from the controller's own mean."""
    config, seed = model.config, model.config.plan.seed
    made = data.examples(config, "train", seed + 1, n=_N_CONSTANT)
    rng = generator(seed, "best constant", config.sound.task)
    pairs = [made.draw(config.task, k, rng) for k in range(_N_CONSTANT)]
    costs = [known_target(rack, *pair) for pair in pairs]

    def cost(settings: np.ndarray) -> np.ndarray:
        return np.mean([one(settings) for one in costs], axis=0)

    mean = np.mean([_setting(model, dry) for dry, _ in pairs], axis=0)
    return minimise(cost, mean, evaluations=renders, rng=rng, spread=_SPREAD).point


def score(
    model: Controller, *, n: int = 12, n_real: int = 8, seed: int = 1, renders: int = 100
) -> list[Row]:
    """MR-STFT over that of the dry sound, and error of loudness.

    Beside ours stand the rules (floor), the best constant setting (prior), another recording's
    setting (control), and CMA-ES that knows the target (oracle).

    Args:
        n_real: real recordings; left out where there are none here.
        renders: of CMA-ES for each recording; the best constant setting may take six times as many.

    Raises:
        PluginError: where a plug-in is not installed.
    """
    config, rate = model.config, model.config.sound.sample_rate
    tests = {"generated": generated_tests(config, n=n, seed=seed)}
    if n_real and real_data_dir() is not None:
        tests["real"] = real_tests(config, n=n_real, seed=seed)
    references = data.examples(config, "train", seed + 100, n=_N_REFERENCES, seconds=_SECONDS)
    style, rows = rules.style_of(references.target, rate), []
    with Rack(config.task.units, rate, workers=config.net.n_copies) as rack:
        constant = best_constant(model, rack, 6 * renders)  # once for all, so it may take longer
        for sources, (dry, target, groups) in tests.items():
            ours = np.stack([_setting(model, sound) for sound in dry])
            oracle = np.empty_like(ours)
            for k, pair in enumerate(zip(dry, target, strict=True)):
                rng, cost = generator(seed, "search", "cma", k), known_target(rack, *pair)
                found = minimise(cost, constant, evaluations=renders, rng=rng, spread=_SPREAD)
                oracle[k] = found.point
            settings = {
                "ours": ours,
                "prior": np.broadcast_to(constant, ours.shape),
                "control": np.roll(ours, -1, axis=0),
                "oracle": oracle,
            }
            wet = {name: rack.render(dry, setting) for name, setting in settings.items()}
            wet["floor"] = [rules.match(sound, rate, style) for sound in dry]
            before = _distances(mr_stft, dry, target, rate).mean()
            facts = {"protocol": _PROTOCOLS[config.sound.task], "sources": sources, "seed": seed}
            for metric, unit, measure, scale in (
                ("MR-STFT left", "", mr_stft, before),
                ("loudness error", "LU", loudness_error_lu, 1.0),
            ):
                values = {
                    name: _distances(measure, sounds, target, rate) / scale
                    for name, sounds in wet.items()
                }
                facts |= {"metric": metric, "unit": unit, "name": "controller, 1 render"}
                rows.append(row(values.pop("ours"), groups, beside=values, **facts))
    return rows


def fixed_score(model: Controller, *, n: int = 6) -> dict[str, float]:
    """MR-STFT over that of the dry sound, on fixed clips, by the controller and at the start."""
    config, rate = model.config, model.config.sound.sample_rate
    dry, target, _ = generated_tests(config, n=n, seed=7)
    settings = {
        "controller": np.stack([_setting(model, sound) for sound in dry]),
        "start": np.tile(config.task.start, (n, 1)),
    }
    before = _distances(mr_stft, dry, target, rate).mean()
    with Rack(config.task.units, rate) as rack:
        wet = {name: rack.render(dry, setting) for name, setting in settings.items()}
    left = {name: _distances(mr_stft, x, target, rate).mean() / before for name, x in wet.items()}
    return {name: round(float(value), 4) for name, value in left.items()}
