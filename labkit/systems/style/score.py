"""How near style transfer comes to the wanted sound, beside rules, constants and the truth."""

from collections.abc import Sequence

import numpy as np
import torch

from labkit.measure.losses import magnitude_distance
from labkit.measure.score import Row, row
from labkit.signal.paths import real_data_dir
from labkit.signal.seeds import generator
from labkit.systems.blackbox import rules
from labkit.systems.style import model as style
from labkit.systems.style.data import Examples, examples

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


def mr_stft(out: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(n, samples) twice -> distances (n,)."""
    return magnitude_distance(*(torch.from_numpy(x)[:, None] for x in (out, target))).numpy()


@torch.no_grad()
def predicted(model: style.StyleModel, plain: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(n, samples) twice -> parameters (n, 9) in 0..1."""
    config, found = model.config, []
    for pair in zip(plain, reference, strict=True):
        spectrograms = [style.features_of(config, x[None], config.sound.sample_rate) for x in pair]
        found.append(model(*spectrograms))
    return torch.cat(found).double().numpy()


def rendered(model: style.StyleModel, plain: np.ndarray, params_unit: np.ndarray) -> np.ndarray:
    """(n, samples), each at its parameters."""
    rate, pairs = model.config.sound.sample_rate, zip(plain, params_unit, strict=True)
    return np.concatenate([style.render(sound[None], rate, params) for sound, params in pairs])


def by_rules(tests: Examples, sample_rate: int) -> np.ndarray:
    """(n, samples): every A with the reference's spectrum and loudness, at its peak."""
    out = []
    for a, b in zip(tests.plain[:, None], tests.reference[:, None], strict=True):
        wanted = rules.style_of([b], sample_rate)
        out.append(style.at_peak(rules.match(a, sample_rate, wanted)))
    return np.concatenate(out)


def score(
    model: style.StyleModel, *, n: int = 40, kinds: Sequence[str] = (), seed: int = 1
) -> list[Row]:
    """MR-STFT from the wanted sound, for each kind of recordings; rules have own rows.

    Beside ours stand A as it was (floor), all parameters in the middle (prior), drawn at random
    (chance), those for another recording's reference (control), and the true ones (oracle).

    Args:
        n: clips of each kind.
        kinds: keys of `KINDS`; all by default, real ones where there are any.
    """
    here = real_data_dir() is not None
    kinds = kinds or [kind for kind in KINDS if here or KINDS[kind][1] != "real"]
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
        facts = {"protocol": f"treat A like B, {title}", "sources": sources, "seed": seed}
        facts |= {"metric": "MR-STFT"}
        found = {name: mr_stft(sound, tests.target) for name, sound in wet.items()}
        by_rule, ours = found.pop("rules"), found.pop("ours")
        floor, name = {"floor": found["floor"]}, model.config.net.gradient
        rows.append(row(by_rule, tests.groups, name="rules", beside=floor, **facts))
        rows.append(row(ours, tests.groups, name=name, beside=found, **facts))
    return rows


def fixed_score(model: style.StyleModel) -> dict[str, float]:
    """MR-STFT of ours and of A as it was, on 24 clips of babble and guitars."""
    tests = examples(model.config, ["voices", "generated"], "test", 2, n=24, seconds=2.0)
    wet = rendered(model, tests.plain, predicted(model, tests.plain, tests.reference))
    ours, plain = (mr_stft(x, tests.target).mean() for x in (wet, tests.plain))
    return {"mr_stft": round(float(ours), 4), "mr_stft_input": round(float(plain), 4)}
