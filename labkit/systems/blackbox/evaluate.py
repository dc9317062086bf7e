"""How near the controllers come to their targets, beside rules, draws, searches, the best constant and an oracle."""

import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from labkit.measure.closeness import (
    centroid_error_hz,
    intelligibility,
    loudness_error_lu,
    mfcc_distance,
    spectral_difference_db,
    speech_quality,
)
from labkit.measure.losses import mr_stft
from labkit.measure.score import Row, bootstrap_interval
from labkit.signal.files import read_audio
from labkit.signal.paths import real_data_dir
from labkit.signal.seeds import generator
from labkit.signal.sources import recordings
from labkit.signal.speech import non_speech
from labkit.systems.blackbox.config import PROCESSORS, Config
from labkit.systems.blackbox.controller import Controller
from labkit.systems.blackbox.data import (
    driven,
    examples,
    mastered,
    miscoloured,
    opened,
    paired_files,
)
from labkit.systems.blackbox.predict import predict
from labkit.systems.blackbox.rack import Rack
from labkit.systems.blackbox.rules import Style, match, style_of
from labkit.systems.blackbox.search import known_style, known_target, search

SECONDS = 2.0
_REAL_FOLDERS = {"distortion": ("guitar_di",), "speech": ("speech",), "mastering": ("music",)}
_PROTOCOL = {
    "distortion": "distortion: any level of guitar, as a {} has it",
    "speech": "speech: without breaths, clicks and room",
    "mastering": "mastering: an askew mix, as a hidden chain has it",
}
_PEDALS = {"tubescreamer": "Tube Screamer Mini", "bluesdriver": "BD-2", "rat": "RAT2"}
_LEFT = "MR-STFT left"
_BESIDE = {
    "chance": "random, 1 render",
    "prior": "constant",
    "floor": "rules",
    "control": "shuffled",
    "oracle": "oracle",
}

_UNTAUGHT = ", unlike what was taught"

Metric = Callable[[np.ndarray, np.ndarray, int], float]
METRICS: dict[str, tuple[str, Metric]] = {
    "MR-STFT": ("", mr_stft),
    "MFCC distance": ("", mfcc_distance),
    "spectral difference": ("dB", spectral_difference_db),
    "centroid error": ("Hz", centroid_error_hz),
    "loudness error": ("LU", loudness_error_lu),
}


@dataclass(frozen=True)
class Tests:
    """Recordings to be judged on: what comes in, what it should become, and whose each is.

    Attributes:
        protocol: in words.
        sources: ``"generated"`` or ``"real"``.
        dry: each (1, samples).
        target: each (1, samples).
        groups: names of the sources.
    """

    protocol: str
    sources: str
    dry: Sequence[np.ndarray]
    target: Sequence[np.ndarray]
    groups: Sequence[str]


def _protocol(config: Config) -> str:
    return _PROTOCOL[config.task].format(PROCESSORS[config.processor].title)


def generated_tests(config: Config, *, n: int, seed: int) -> Tests:
    """Clips of sources that are not trained on, at random levels."""
    made = examples(config, "test", seed, n=n, seconds=SECONDS)
    rng = generator(seed, "blackbox test", config.task)
    dry, target = zip(*(made.dressed(config.chain, k, rng) for k in range(n)), strict=True)
    return Tests(_protocol(config), "generated", dry, target, made.groups)


def real_tests(config: Config, *, n: int, seed: int) -> Tests:
    """The same made of real recordings: guitars, voices or music, as they are.

    Raises:
        FileNotFoundError: if there are none here (LABKIT_REAL_DATA).
    """
    rate = config.sample_rate
    source = recordings(_REAL_FOLDERS[config.task], seconds=SECONDS, sample_rate=rate)
    rng, items = generator(seed, "blackbox real", config.task), []
    processor = PROCESSORS[config.processor]
    plugin = opened(config.processor) if config.task == "distortion" else None
    for _ in range(n):
        clip = source.clip(rng, "test")
        level = np.float32(10 ** (rng.uniform(*config.chain.level_db) / 20))
        if plugin is not None:
            wet = driven(processor, plugin, clip.audio, rate)
            items.append((_at(clip.audio, -20.0) * level, wet, clip.source_id))
        elif config.task == "speech":
            clean = _at(clip.audio, -22.0)
            items.append(
                ((clean + non_speech(rng, clean, rate)) * level, clean * level, clip.source_id)
            )
        else:
            mix = _at(clip.audio, -20.0)
            items.append((miscoloured(rng, mix, rate) * level, mastered(mix, rate), clip.source_id))
    if plugin is not None:
        plugin.close()
    dry, target, groups = zip(*items, strict=True)
    return Tests(_protocol(config), "real", dry, target, groups)


def _at(audio: np.ndarray, dbfs: float) -> np.ndarray:
    rms = max(float(np.sqrt(np.mean(np.square(audio)))), 1e-6)
    return (audio * np.float32(10 ** (dbfs / 20) / rms)).astype(np.float32)


def pedal_tests(config: Config, pedal: str) -> Tests:
    """Single notes before and after a real pedal (EGFxSet), of another make than what *distortion* was taught.

    Raises:
        FileNotFoundError: if there are no real recordings here.
    """
    found = real_data_dir()
    if found is None:
        raise FileNotFoundError(
            "no real recordings here: set LABKIT_REAL_DATA to a folder that holds pairs/egfxset"
        )
    folder, samples = found / "pairs" / "egfxset", round(SECONDS * config.sample_rate)
    pairs = [pair for pair in paired_files(folder, folder) if pair[0].name.startswith(pedal)]
    sounds = [
        [
            read_audio(path, sample_rate=config.sample_rate, mono=True)[0][:, :samples]
            for path in pair
        ]
        for pair in pairs
    ]
    dry, target = zip(*sounds, strict=True)
    return Tests(
        f"distortion: a real {_PEDALS[pedal]}{_UNTAUGHT}",
        "real",
        dry,
        target,
        [p[0].stem for p in pairs],
    )


@dataclass(frozen=True)
class Effort:
    """How much is rendered for the baselines.

    Attributes:
        few: renders for each recording, beside the one that the controller takes.
        oracle: renders of CMA-ES that holds the target.
        constant: settings tried for the best constant.
        n_constant: training clips that the best constant is sought on.
        n_references: recordings of the training's sources whose targets the blind searches and the rules know.
    """

    few: int = 10
    oracle: int = 100
    constant: int = 100
    n_constant: int = 6
    n_references: int = 12


def best_constant(model: Controller, rack: Rack, effort: Effort) -> np.ndarray:
    """One setting for all: CMA-ES on training clips, from the controller's own mean."""
    config = model.config
    made = examples(config, "train", config.seed + 1, n=effort.n_constant)
    rng = generator(config.seed, "best constant", config.task)
    pairs = [made.dressed(config.chain, k, rng) for k in range(effort.n_constant)]
    costs = [known_target(rack, dry, target) for dry, target in pairs]
    mean = np.mean([_setting(model, dry) for dry, _ in pairs], axis=0)
    total = lambda settings: np.mean([cost(settings) for cost in costs], axis=0)  # noqa: E731
    return search("cma", total, mean, effort.constant, rng).setting


def _setting(model: Controller, audio: np.ndarray) -> np.ndarray:
    return np.array(list(predict(model, audio, model.config.sample_rate).values()))


def answers(
    model: Controller,
    rack: Rack,
    tests: Tests,
    style: Style,
    constant: np.ndarray,
    *,
    effort: Effort,
    seed: int,
) -> dict[str, list[np.ndarray]]:
    """What each method makes of each recording.

    Args:
        model: a controller.
        rack: its chain.
        tests: recordings with their targets.
        style: the references' style, which rules and blind searches know.
        constant: (knobs,), the best constant setting.
        effort: renders.
        seed: of draws.

    Returns:
        Method -> one sound for each recording: ``"nothing"``, ``"rules"``, ``"constant"``, ``"controller"``,
        ``"shuffled"`` (each recording at the setting of the next), ``"random, 1 render"``, ``"CMA-ES, 1 render"`` (the
        chain as it was before training), random and CMA-ES at `effort.few` renders, blind or with the target known.
        ``"oracle"`` is CMA-ES with the target known, from the best constant, at `effort.oracle` renders.
    """
    start, rate = np.array([knob.start for knob in model.config.chain.knobs]), rack.sample_rate
    own = [_setting(model, dry) for dry in tests.dry]
    settings = {
        "constant": [constant] * len(own),
        "controller": own,
        "shuffled": [*own[1:], own[0]],
    }
    plans = {
        "random, 1 render": ("random", known_style, 1),
        "CMA-ES, 1 render": ("cma", known_style, 1),
        f"random, blind, {effort.few} renders": ("random", known_style, effort.few),
        f"CMA-ES, blind, {effort.few} renders": ("cma", known_style, effort.few),
        f"random, target known, {effort.few} renders": ("random", known_target, effort.few),
        f"CMA-ES, target known, {effort.few} renders": ("cma", known_target, effort.few),
        "oracle": ("cma", known_target, effort.oracle),
    }
    for name, (method, kind, renders) in plans.items():
        settings[name] = [
            search(
                method,
                kind(rack, dry, style if kind is known_style else target),
                constant if name == "oracle" else start,
                renders,
                generator(seed, "search", method, k),
            ).setting
            for k, (dry, target) in enumerate(zip(tests.dry, tests.target, strict=True))
        ]
    wet = {
        name: list(rack.render(list(tests.dry), np.stack(knobs)))
        for name, knobs in settings.items()
    }
    return {
        "nothing": list(tests.dry),
        "rules": [match(dry, rate, style)[0] for dry in tests.dry],
        **wet,
    }


def rows_of(
    tests: Tests,
    made: Mapping[str, Sequence[np.ndarray]],
    metrics: Mapping[str, tuple[str, Metric]],
    **given: object,
) -> list[Row]:
    """The results table of one test set.

    Args:
        tests: with the targets.
        made: from `answers`.
        metrics: name -> (unit, function).
        **given: `sample_rate`, and `seed`, `seconds` and `checkpoint` of the rows.

    Returns:
        For every metric the controller's row, with everything beside it. For MR-STFT also its mean over that of doing
        nothing, for every method.
    """
    rate = given.pop("sample_rate")
    common = {"protocol": tests.protocol, "sources": tests.sources, "n": len(tests.dry), **given}
    scores = {
        metric: {name: _scores(f, sounds, tests, rate) for name, sounds in made.items()}
        for metric, (_, f) in metrics.items()
    }
    before = scores["MR-STFT"]["nothing"].mean()
    left = {name: values / before for name, values in scores["MR-STFT"].items()}
    rows = [_row(common, _LEFT, "", left, tests.groups)]
    beside = [name for name in left if name == "rules" or ", " in name]
    rows += [_alone(common, name, _LEFT, "", left[name], tests.groups) for name in beside]
    for metric, (unit, _) in metrics.items():
        rows.append(_row(common, metric, unit, scores[metric], tests.groups))
        rows.append(
            _alone(common, "nothing", metric, unit, scores[metric]["nothing"], tests.groups)
        )
    return rows


def _scores(
    metric: Metric, sounds: Sequence[np.ndarray], tests: Tests, sample_rate: int
) -> np.ndarray:
    return np.array(
        [metric(wet, target, sample_rate) for wet, target in zip(sounds, tests.target, strict=True)]
    )


def _alone(
    common: dict, name: str, metric: str, unit: str, values: np.ndarray, groups: Sequence[str]
) -> Row:
    low, high = bootstrap_interval(values, groups, seed=common["seed"])
    return Row(
        name=name, metric=metric, unit=unit, ours=float(values.mean()), low=low, high=high, **common
    )


def _row(
    common: dict, metric: str, unit: str, scores: Mapping[str, np.ndarray], groups: Sequence[str]
) -> Row:
    ours = scores["controller"]
    low, high = bootstrap_interval(ours, groups, seed=common["seed"])
    figures = {field: float(scores[method].mean()) for field, method in _BESIDE.items()}
    mean, name = float(ours.mean()), "controller, 1 render"
    return Row(
        name=name, metric=metric, unit=unit, ours=mean, low=low, high=high, **figures, **common
    )


def evaluate(
    model: Controller,
    *,
    n: int = 12,
    n_real: int = 8,
    seed: int = 1,
    effort: Effort | None = None,
    checkpoint: str | None = None,
    workers: int = 2,
    only: str = "",
) -> list[Row]:
    """Every figure of one controller.

    Args:
        model: a controller.
        n: generated recordings.
        n_real: real ones; 0, or no real recordings here, leaves them out.
        seed: of recordings, searches and intervals.
        effort: renders of the baselines.
        checkpoint: the file's name, for the rows.
        workers: copies of each plug-in.
        only: the protocols that hold this word alone.

    Returns:
        The rows: the rules are the floor, the best constant setting the prior, one random setting chance, another
        recording's setting the control, CMA-ES with the target known the oracle.

    Raises:
        PluginError: where a plug-in is not installed.
        ValueError: where no protocol holds `only`.
    """
    config, effort = model.config, effort or Effort()
    tests = [one for one in _every_test(config, n, n_real, seed) if only in one.protocol]
    if not tests:
        raise ValueError(f"only must be part of the name of a protocol, got {only!r}")
    metrics = metrics_of(config.task)
    references = examples(config, "train", seed + 100, n=effort.n_references, seconds=SECONDS)
    style = style_of(list(references.target), config.sample_rate)
    rows = []
    with Rack(config.chain.units, config.sample_rate, workers=workers) as rack:
        constant = best_constant(model, rack, effort)
        for one in tests:
            began = time.perf_counter()
            made = answers(model, rack, one, style, constant, effort=effort, seed=seed)
            facts = {"seed": seed, "seconds": time.perf_counter() - began, "checkpoint": checkpoint}
            asked = {"MR-STFT": METRICS["MR-STFT"]} if one.protocol.endswith(_UNTAUGHT) else metrics
            rows += rows_of(one, made, asked, sample_rate=config.sample_rate, **facts)
    return rows


def _every_test(config: Config, n: int, n_real: int, seed: int) -> list[Tests]:
    """What was taught first, generated and real; then for distortion the other processors, and real pedals."""
    taught = [config]
    if config.task == "distortion":
        taught += [
            replace(config, processor=name) for name in PROCESSORS if name != config.processor
        ]
    real = bool(n_real) and real_data_dir() is not None
    tests = []
    for one in taught:
        made = [
            generated_tests(one, n=n, seed=seed),
            *([real_tests(one, n=n_real, seed=seed)] if real else []),
        ]
        ending = _UNTAUGHT if one is not config else ""
        tests += [replace(test, protocol=test.protocol + ending) for test in made]
    pedals = _PEDALS if real and config.task == "distortion" else ()
    return [*tests, *(pedal_tests(config, pedal) for pedal in pedals)]


def metrics_of(task: str) -> dict[str, tuple[str, Metric]]:
    """What a task is measured by: name -> (unit, function); for speech STOI, and PESQ where pesq is installed."""
    if task != "speech":
        return METRICS
    quality = {"PESQ": ("", speech_quality)} if importlib.util.find_spec("pesq") else {}
    return METRICS | {"STOI": ("", intelligibility)} | quality


def fixed_score(model: Controller, *, n: int = 6) -> dict[str, float]:
    """The card's figure: MR-STFT left of doing nothing, on a few fixed clips, by the controller and at the start."""
    config = model.config
    tests = generated_tests(config, n=n, seed=7)
    start = np.array([knob.start for knob in config.chain.knobs])
    settings = {
        "controller": np.stack([_setting(model, dry) for dry in tests.dry]),
        "start": np.tile(start, (n, 1)),
    }
    scores = {"nothing": tests.dry}
    with Rack(config.chain.units, config.sample_rate) as rack:
        scores |= {
            name: list(rack.render(list(tests.dry), knobs)) for name, knobs in settings.items()
        }
    means = {
        name: np.mean(
            [
                mr_stft(wet, target, config.sample_rate)
                for wet, target in zip(sounds, tests.target, strict=True)
            ]
        )
        for name, sounds in scores.items()
    }
    return {
        name: round(float(value / means["nothing"]), 4)
        for name, value in means.items()
        if name != "nothing"
    }
