"""How near the controllers come to their targets, beside rules, constants, random and an oracle."""

import importlib.util
from collections.abc import Callable, Sequence

import numpy as np
import torch

from labkit.effects.hosts import Rack
from labkit.learn.minimise import minimise
from labkit.measure import closeness
from labkit.measure.align import aligned_distance
from labkit.measure.losses import mr_stft
from labkit.measure.score import Row, row
from labkit.signal.paths import real_data_dir
from labkit.signal.seeds import generator
from labkit.signal.sources import recordings
from labkit.signal.speech import non_speech
from labkit.signal.units import db_to_amplitude, set_rms
from labkit.systems.blackbox import data, rules
from labkit.systems.blackbox.config import Config
from labkit.systems.blackbox.model import Controller
from labkit.systems.blackbox.predict import predict

_SECONDS, _N_REFERENCES, _N_CONSTANT, _SPREAD = 2.0, 12, 6, 0.2
_PROTOCOLS = {
    "distortion": "distortion: any level of guitar, as a TS9 has it",
    "speech": "speech: without breaths, clicks and room",
    "mastering": "mastering: an askew mix, as a hidden chain has it",
}
_REAL = {"distortion": "guitar_di", "speech": "speech", "mastering": "music"}
# Name -> unit and function; for speech two more, where their packages are installed.
METRICS = {
    "MR-STFT": ("", mr_stft),
    "MFCC distance": ("", closeness.mfcc_distance),
    "loudness error": ("LU", closeness.loudness_error_lu),
}
_SPEECH_METRICS = {
    "STOI": ("pystoi", closeness.intelligibility),
    "PESQ": ("pesq", closeness.speech_quality),
}
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
    source = recordings((_REAL[task],), seconds=_SECONDS, sample_rate=rate)
    rng, items = generator(seed, "blackbox real", task), []
    plugin = data.open_ts9() if task == "distortion" else None
    for _ in range(n):
        clip = source.clip(rng, "test")
        level = np.float32(db_to_amplitude(rng.uniform(*config.task.level_db)))
        sound = set_rms(clip.audio, -22.0 if task == "speech" else -20.0).astype(np.float32)
        if plugin is not None:
            dry, target = sound, data.distorted(plugin, clip.audio, rate)
        elif task == "speech":
            dry, target = sound + non_speech(rng, sound, rate), sound * level
        else:
            dry, target = data.miscoloured(rng, sound, rate), data.mastered(sound, rate)
        items.append((dry * level, target, clip.source_id))
    if plugin is not None:
        plugin.close()
    return tuple(zip(*items, strict=True))


def _setting(model: Controller, audio: np.ndarray) -> np.ndarray:
    return np.array([*predict(model, audio, model.config.sound.sample_rate).values()])


def known_target(
    rack: Rack, dry: np.ndarray, target: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Settings (k, knobs) -> distances (k,) from the target, as the controller minimised them."""

    def cost(settings: np.ndarray) -> np.ndarray:
        wet = torch.from_numpy(rack.render([dry] * len(settings), settings))
        return aligned_distance(wet, torch.from_numpy(target)[None].expand_as(wet)).numpy()

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
    """Distances on generated and real recordings, and MR-STFT over that of the dry sound.

    Beside ours stand the rules (floor), the best constant setting (prior), one random setting
    (chance), another recording's setting (control), and CMA-ES that knows the target (oracle).

    Args:
        n_real: real recordings; left out where there are none here.
        renders: of each search by CMA-ES.

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
        constant = best_constant(model, rack, renders)
        for sources, (dry, target, groups) in tests.items():
            own = np.stack([_setting(model, sound) for sound in dry])
            chance, oracle = np.empty_like(own), np.empty_like(own)
            for k, pair in enumerate(zip(dry, target, strict=True)):
                chance[k] = generator(seed, "search", "random", k).random(own.shape[1])
                rng, cost = generator(seed, "search", "cma", k), known_target(rack, *pair)
                found = minimise(cost, constant, evaluations=renders, rng=rng, spread=_SPREAD)
                oracle[k] = found.point
            prior, control = np.broadcast_to(constant, own.shape), np.roll(own, -1, axis=0)
            wet = {
                "ours": rack.render(dry, own),
                "prior": rack.render(dry, prior),
                "control": rack.render(dry, control),
                "chance": rack.render(dry, chance),
                "oracle": rack.render(dry, oracle),
                "floor": [rules.match(sound, rate, style) for sound in dry],
                "dry": dry,
            }
            rows += rows_of(config, wet, target, groups, sources=sources, seed=seed)
    return rows


def rows_of(
    config: Config,
    wet: dict[str, Sequence[np.ndarray]],
    target: Sequence[np.ndarray],
    groups: Sequence[str],
    **facts: object,
) -> list[Row]:
    """The rows of one kind of recordings; `wet` holds ours, each baseline and the dry sounds."""
    task, rate, rows = config.sound.task, config.sound.sample_rate, []
    facts |= {"protocol": _PROTOCOLS[task], "name": "controller, 1 render"}
    metrics = {**METRICS}
    for name, (package, measure) in _SPEECH_METRICS.items():
        if task == "speech" and importlib.util.find_spec(package):
            metrics[name] = ("", measure)
    for metric, (unit, measure) in metrics.items():
        found = {}
        for name, sounds in wet.items():
            pairs = zip(sounds, target, strict=True)
            found[name] = np.array([measure(x, y, rate) for x, y in pairs])
        ours, before = found.pop("ours"), found.pop("dry").mean()
        if metric == "MR-STFT":
            left = {name: values / before for name, values in found.items()}
            rows.append(row(ours / before, groups, metric="MR-STFT left", beside=left, **facts))
        rows.append(row(ours, groups, metric=metric, unit=unit, beside=found, **facts))
    return rows


def fixed_score(model: Controller, *, n: int = 6) -> dict[str, float]:
    """MR-STFT over that of the dry sound, on fixed clips, by the controller and at the start."""
    config, rate = model.config, model.config.sound.sample_rate
    dry, target, _ = generated_tests(config, n=n, seed=7)
    settings = {
        "controller": np.stack([_setting(model, sound) for sound in dry]),
        "start": np.tile(config.task.start, (n, 1)),
    }
    with Rack(config.task.units, rate) as rack:
        wet = {name: rack.render(dry, setting) for name, setting in settings.items()}

    def distance(sounds: Sequence[np.ndarray]) -> float:
        return np.mean([mr_stft(x, y, rate) for x, y in zip(sounds, target, strict=True)])

    return {name: round(float(distance(x) / distance(dry)), 4) for name, x in wet.items()}
