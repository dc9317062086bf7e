"""How near style transfer comes to the wanted sound, beside rules, constants and the truth."""

from collections.abc import Sequence

import numpy as np
import torch

from labkit.measure.closeness import loudness_error_lu
from labkit.measure.losses import magnitude_distance
from labkit.measure.score import Row, row
from labkit.signal.paths import real_data_dir
from labkit.signal.seeds import generator
from labkit.systems.blackbox import rules
from labkit.systems.style.data import REAL, Examples, examples
from labkit.systems.style.model import StyleModel, at_peak, features_of

# Kind of recordings -> its name in the table, and the kind of source.
KINDS = {
    "speech": ("real speech", "real"),
    "music": ("real music", "real"),
    "guitar": ("real guitars", "real"),
    "voices": ("babble", "generated"),
    "generated": ("guitars", "generated"),
    "sampled": ("instruments", "sampled"),
}
_SECONDS = 5.0
_UNITS = {"MR-STFT": "", "loudness error": "LU"}


def scores(out: np.ndarray, target: np.ndarray, sample_rate: int) -> dict[str, np.ndarray]:
    """Distances (n,) of sounds (n, samples), by the name of the metric."""
    tensors = [torch.from_numpy(sounds)[:, None] for sounds in (out, target)]
    pairs = zip(out[:, None], target[:, None], strict=True)
    return {
        "MR-STFT": magnitude_distance(*tensors).numpy(),
        "loudness error": np.array([loudness_error_lu(a, b, sample_rate) for a, b in pairs]),
    }


@torch.no_grad()
def predicted(model: StyleModel, plain: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(n, samples) twice -> parameters (n, 9) in 0..1."""
    config, rate = model.config, model.config.sound.sample_rate
    pairs = [
        [features_of(config, sound[None], rate) for sound in pair]
        for pair in zip(plain, reference, strict=True)
    ]
    return torch.cat([model(*pair) for pair in pairs]).double().numpy()


def rendered(model: StyleModel, plain: np.ndarray, params_unit: np.ndarray) -> np.ndarray:
    """(n, samples), each at its parameters."""
    pairs = zip(plain, params_unit, strict=True)
    return np.concatenate([model.processor.render(sound[None], p) for sound, p in pairs])


def by_rules(tests: Examples, sample_rate: int) -> np.ndarray:
    """(n, samples): every A with the reference's spectrum and loudness, at its peak."""
    pairs = zip(tests.plain, tests.reference, strict=True)
    styled = [
        rules.match(a[None], sample_rate, rules.style_of([b[None]], sample_rate)) for a, b in pairs
    ]
    return np.concatenate([at_peak(sound) for sound in styled])


def score(
    model: StyleModel,
    *,
    n: int = 40,
    kinds: Sequence[str] = (),
    seed: int = 1,
) -> list[Row]:
    """Two distances from the wanted sound, for each kind of recordings; rules have own rows.

    Beside ours stand A as it was (floor), all parameters in the middle (prior), drawn at random
    (chance), those for another recording's reference (control), and the true ones (oracle).

    Args:
        n: clips of each kind.
        kinds: keys of `KINDS`; all by default, real ones where there are any.
    """
    here = real_data_dir() is not None
    kinds = kinds or [kind for kind in KINDS if here or kind not in REAL]
    rate, rows = model.config.sound.sample_rate, []
    for kind in kinds:
        title, sources = KINDS[kind]
        tests = examples(model.config, [kind], "test", seed, n=n, seconds=_SECONDS)
        rng = generator(seed, "style shuffle", kind)
        elsewhere = [rng.choice(np.flatnonzero(tests.groups != group)) for group in tests.groups]
        settings = {
            "ours": predicted(model, tests.plain, tests.reference),
            "control": predicted(model, tests.plain, tests.reference[elsewhere]),
            "prior": np.full_like(tests.truth, 0.5),
            "chance": generator(seed, "style chance", kind).random(tests.truth.shape),
            "oracle": tests.truth,
        }
        wet = {name: rendered(model, tests.plain, params) for name, params in settings.items()}
        wet |= {"floor": tests.plain, "rules": by_rules(tests, rate)}
        found = {name: scores(sound, tests.target, rate) for name, sound in wet.items()}
        facts = {"protocol": f"treat A like B, {title}", "sources": sources, "seed": seed}
        by_name = {"rules": found.pop("rules"), model.config.net.gradient: found.pop("ours")}
        for name, values in by_name.items():
            others = {"floor": found["floor"]} if name == "rules" else found
            for metric, unit in _UNITS.items():
                beside = {other: value[metric] for other, value in others.items()}
                own = {"name": name, "metric": metric, "unit": unit, "beside": beside}
                rows.append(row(values[metric], tests.groups, **facts, **own))
    return rows


def fixed_score(model: StyleModel) -> dict[str, float]:
    """MR-STFT of ours and of A as it was, on 24 clips of babble and guitars."""
    tests = examples(model.config, ["voices", "generated"], "test", 2, n=24, seconds=2.0)
    rate = model.config.sound.sample_rate
    wet = rendered(model, tests.plain, predicted(model, tests.plain, tests.reference))
    ours, plain = (scores(x, tests.target, rate)["MR-STFT"].mean() for x in (wet, tests.plain))
    return {"mr_stft": round(float(ours), 4), "mr_stft_input": round(float(plain), 4)}
