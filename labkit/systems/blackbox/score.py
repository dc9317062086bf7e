"""How near the controllers come to their targets, beside rules, constants and an oracle."""

import json
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soundfile
import torch

from labkit.effects.hosts.plugin import Rack
from labkit.measure.losses import mr_stft
from labkit.measure.loudness import loudness_error_lu
from labkit.measure.metrics import pause_level_db, pesq_mos, stoi
from labkit.measure.score import Row, row
from labkit.signal.files import read_audio
from labkit.signal.paths import new_files, real_data_dir, replace_text
from labkit.signal.seeds import generator
from labkit.systems.blackbox import data, rules
from labkit.systems.blackbox.config import Config
from labkit.systems.blackbox.match import match
from labkit.systems.blackbox.model import Controller
from labkit.systems.blackbox.predict import curve

# Less noise in a pause is not counted as noise.
_NOISY_DB = 6.0
# Pairs of EGFxSet for `match`; 0 and 1 were used for choices.
_NOTES = ("2", "3")
_PROTOCOLS = {
    "distortion": "distortion: any level of guitar, as a TS9 has it",
    "speech": "speech: without a microphone's colour, breaths, clicks and room",
    "mastering": "mastering: a mix of any colour, dynamics and level, as an engineer leaves it",
}


def _distances(measure: Callable, sounds: Iterable, target: Iterable, rate: int) -> np.ndarray:
    return np.array([measure(x, y, rate) for x, y in zip(sounds, target, strict=True)])


def _measures(config: Config) -> dict[str, tuple[str, Callable]]:
    """Metric -> its unit, and a function of sound, target and rate."""

    def distance(sound: np.ndarray, target: np.ndarray, _rate: int) -> float:
        pair = (torch.from_numpy(np.ascontiguousarray(x))[None] for x in (sound, target))
        return float(config.distance(*pair, level_weight=0.0))

    found = {"MR-STFT left": ("", mr_stft), "distance left": ("", distance)}
    found["loudness error"] = "LU", loudness_error_lu
    if config.sound.task == "speech":
        found["noise in pauses"] = "dB", pause_level_db
        if find_spec("pesq") and find_spec("pystoi"):
            found |= {"PESQ": ("", pesq_mos), "STOI": ("", stoi)}
    return found


def score(
    model: Controller,
    *,
    n: int = 12,
    n_real: int = 12,
    seed: int = 1,
    renders: int = 40,
    n_units: int | None = None,
    save: Path | None = None,
) -> list[Row]:
    """Score a controller by the share of the distance to the target that is left, and by loudness.

    Speech is also scored by the noise in pauses (where it is 6 dB above the target's) and, if their
    packages are installed, by PESQ and STOI. The floor of these three is the untreated recording.

    The other columns are hand-written rules (floor), the best single setting for all clips (prior),
    the setting for another recording (control), and CMA-ES that knows the target (oracle). Prior
    and oracle minimise the training distance; listening can gain at most what lies between them.

    Args:
        n: generated clips.
        n_real: real recordings; skipped if there are none here.
        renders: settings that CMA-ES tries for each recording; it starts from our answer, or from
            the right one if it is known. The best single setting may take six times as many.
        n_units: use only so many plug-ins, from the start of the chain; all by default.
        save: folder for the dry, target and processed sound of each recording, and its knob curves.

    Raises PluginError where a plug-in is not installed, ValueError for another number of them.
    """
    config, rate, units = model.config, model.config.sound.sample_rate, model.config.task.units
    if n_units not in (None, *range(1, len(units) + 1)):
        raise ValueError(f"n_units must lie in 1..{len(units)}, got {n_units}")
    protocol = _PROTOCOLS[config.sound.task]
    protocol += f", by the first {n_units} of {len(units)} plug-ins" if n_units else ""
    knobs = sum(len(unit.knobs) for unit in units[:n_units])
    tests = {"generated": data.generated_tests(config, n=n, seed=seed)}
    if n_real and real_data_dir() is not None:
        tests["real"] = data.real_tests(config, n=n_real, seed=seed)
    references = data.examples(config, "train", seed + 100, n=12, seconds=data.TEST_SECONDS)
    targets = references.sound if references.target is None else references.target
    style, rows, measures = rules.style_of(targets, rate), [], _measures(config)
    with Rack(units[:n_units], rate, workers=config.net.n_copies) as rack:
        # Once for all, so it may take longer.
        mean = model.mean_setting.double().numpy()[:knobs]
        constant = rules.best_constant(config, rack, mean, 6 * renders)
        for sources, (dry, target, groups, answers) in tests.items():
            ours = _settings(model, dry)[:, :knobs]
            settings = {"ours": ours, "prior": np.broadcast_to(constant, ours.shape)}
            settings |= {"control": np.roll(ours, -1, axis=0), "oracle": np.empty_like(ours)}
            for k, pair in enumerate(zip(dry, target, strict=True)):
                rng = generator(seed, "search", "cma", k)
                starts = np.stack([rules.known_or(answers[k][:knobs], constant), ours[k]])
                settings["oracle"][k] = rules.searched(config, [pair], rack, starts, renders, rng)
            wet = {name: rack.render(dry, found) for name, found in settings.items()}
            if save is not None:
                for k, sounds in enumerate(zip(dry, target, wet["ours"], strict=True)):
                    _save(save, f"{sources}_{k}", model, sounds)
            wet["floor"] = [rules.match(sound, rate, style) for sound in dry]
            facts = {"protocol": protocol, "sources": sources, "name": "controller, 1 render"}
            for metric, (unit, measure) in measures.items():
                nothing = _distances(measure, dry, target, rate)
                found = {name: _distances(measure, x, target, rate) for name, x in wet.items()}
                if metric.endswith("left"):
                    found = {name: distances / nothing.mean() for name, distances in found.items()}
                elif unit != "LU":
                    found["floor"] = nothing
                kept = np.isfinite(sum(found.values()))
                if unit == "dB":
                    kept &= nothing > _distances(measure, target, target, rate) + _NOISY_DB
                if kept.any():
                    found = {name: values[kept] for name, values in found.items()}
                    ours, whose = found.pop("ours"), np.array(groups)[kept]
                    facts |= {"metric": metric, "unit": unit, "seed": seed}
                    rows.append(row(ours, whose, beside=found, **facts))
        if config.sound.task == "mastering" and "real" in tests:
            rows.append(_untouched(model, rack, constant, n=n_real, seed=seed))
    if config.sound.task == "distortion" and n_real and real_data_dir() is not None:
        rows += _matched(seed)
    return rows


def _save(folder: Path, name: str, model: Controller, sounds: Sequence[np.ndarray]) -> None:
    """NAME_dry.wav, NAME_target.wav, NAME_wet.wav in 32-bit float, and the knobs' NAME.json."""
    folder.mkdir(parents=True, exist_ok=True)
    *paths, facts = new_files(folder, name, "_dry.wav", "_target.wav", "_wet.wav", ".json")
    for path, sound in zip(paths, sounds, strict=True):
        soundfile.write(path, sound.T, model.config.sound.sample_rate, "FLOAT")
    found = curve(model, sounds[0], model.config.sound.sample_rate)
    columns = {"seconds": found.seconds.tolist(), **found.columns()}
    replace_text(facts, json.dumps(columns, indent=1) + "\n")


def _settings(model: Controller, sounds: Iterable[np.ndarray]) -> np.ndarray:
    """The controller's setting for each sound, (sounds, knobs)."""
    rate = model.config.sound.sample_rate
    return np.stack([curve(model, sound, rate).smooth.mean(0) for sound in sounds])


def _untouched(model: Controller, rack: Rack, constant: np.ndarray, *, n: int, seed: int) -> Row:
    """How far finished mixes are moved, beside the constant (prior) and the engineer (oracle)."""
    config = model.config
    sounds, groups = data.finished_tests(config, n=n, seed=seed)
    ours = _settings(model, sounds)
    wet = {"ours": rack.render(sounds, ours)}
    wet["prior"] = rack.render(sounds, np.broadcast_to(constant, ours.shape))
    wet["oracle"] = [data.engineered(config, sound, sound)[0] for sound in sounds]
    rate = config.sound.sample_rate
    found = {name: _distances(mr_stft, x, sounds, rate) for name, x in wet.items()}
    facts = {"protocol": "mastering: a finished mix, untouched", "name": "controller, 1 render"}
    facts |= {"sources": "real", "metric": "MR-STFT moved", "seed": seed}
    return row(found.pop("ours"), groups, beside=found, **facts)


def _matched(seed: int) -> list[Row]:
    """`match` on real drive pedals: a chain and a grey box, on held-out sound."""
    folder, left = real_data_dir() / "pairs" / "egfxset", []
    pedals = [(pedal, note) for pedal in ("rat", "tubescreamer", "bluesdriver") for note in _NOTES]
    for pedal, note in pedals:
        dry, wet = (read_audio(folder / f"{pedal}_{note}_{end}.flac") for end in ("dry", "wet"))
        found = match(dry[0], wet[0], wet[1], dry_rate=dry[1], seed=seed)
        left.append((found.left, found.grey_box / found.nothing))
    facts = {"protocol": "match my pedal: three real drives", "sources": "real", "seed": seed}
    facts |= {"metric": "MR-STFT left"}
    groups, columns = [pedal for pedal, _ in pedals], np.array(left).T
    names = ("chain by CMA-ES", "grey box: filter, curve, filter")
    return [row(v, groups, name=name, **facts) for v, name in zip(columns, names, strict=True)]


def fixed_score(model: Controller) -> dict[str, float]:
    """Distance over that of the dry sound, on fixed clips, by the controller and at the start."""
    config, rate = model.config, model.config.sound.sample_rate
    dry, target, *_ = data.generated_tests(config, n=6, seed=7)
    settings = {
        "controller": _settings(model, dry),
        "start": np.tile(config.task.start, (len(dry), 1)),
    }
    distance = _measures(config)["distance left"][1]
    before = _distances(distance, dry, target, rate).mean()
    with Rack(config.task.units, rate) as rack:
        wet = {name: rack.render(dry, setting) for name, setting in settings.items()}
    found = {name: _distances(distance, x, target, rate) for name, x in wet.items()}
    return {name: round(float(x.mean() / before), 4) for name, x in found.items()}
