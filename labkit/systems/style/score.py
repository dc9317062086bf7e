"""How near style transfer comes to the wanted sound, beside rules, constants and the truth."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from scipy.fft import dct

from labkit.learn.minimise import minimise
from labkit.measure.losses import magnitude_distance
from labkit.measure.score import Row, row
from labkit.signal.paths import real_data_dir
from labkit.signal.seeds import generator
from labkit.systems.blackbox import rules
from labkit.systems.style import model as style
from labkit.systems.style.data import Examples, examples, trained_on

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
_PRIOR_WEIGHT = 0.01  # of .003 to .1, chosen on validation sources
_MEAN_PRESET = np.full(len(style.NAMES), 0.5)  # presets are uniform
_OURS = ("ours", "control", "prior", "chance", "oracle", "floor")


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


def by_neighbour(config: style.Config, presets: Examples, reference: np.ndarray) -> np.ndarray:
    """(n, 9): of each reference (n, samples) the preset whose reference has the nearest MFCC."""

    def mfcc(sound: np.ndarray) -> np.ndarray:
        spectrogram = style.features_of(config, sound[None], config.sound.sample_rate)[0].numpy()
        return dct(spectrogram, axis=0, norm="ortho")[1:21].mean(1)  # the first one is the level

    theirs, ours = (np.stack([*map(mfcc, clips)]) for clips in (presets.reference, reference))
    distances = np.linalg.norm(ours[:, None] - theirs[None], axis=2)
    return presets.truth[distances.argmin(1)]


def by_search(
    model: style.StyleModel, tests: Examples, prior_weight: float, renders: int
) -> np.ndarray:
    """(n, 9): where A's measures, in training deviations, come nearest to those of B, by CMA-ES.

    The prior is the Gaussian of the training presets, which are uniform: mean 0.5, variance 1/12;
    its negative logarithm is added by a weight.

    Source: Yu et al., WASPAA 2025 (a Gaussian prior on presets for style transfer).
    """
    rate, encoder, found = model.config.sound.sample_rate, model.encoder, []

    def measured(audio: np.ndarray) -> np.ndarray:
        spectrogram = style.features_of(model.config, audio, rate)
        return ((style.measures(spectrogram) - encoder.middle) / encoder.scale)[0].numpy()

    for k, (plain, reference) in enumerate(zip(tests.plain, tests.reference, strict=True)):
        goal = measured(reference[None])

        def cost(points: np.ndarray, plain: np.ndarray = plain, goal: np.ndarray = goal) -> list:
            sounds = [style.render(plain[None], rate, point) for point in points]
            far = [np.abs(measured(sound) - goal).mean() for sound in sounds]
            return far + prior_weight * 6 * np.square(points - 0.5).sum(1)

        rng = generator(0, "style search", k)
        found.append(minimise(cost, _MEAN_PRESET, evaluations=renders, rng=rng).point)
    return np.stack(found)


def score(
    model: style.StyleModel,
    *,
    n: int = 40,
    kinds: Sequence[Literal["speech", "music", "guitar", "voices", "generated", "sampled"]] = (),
    seed: int = 1,
    n_presets: int = 120,
    renders: int = 60,
) -> list[Row]:
    """Score ours and other methods by the MR-STFT distance from the wanted sound.

    The other columns are the untreated recording (floor), the mean preset (prior), random
    parameters (chance), those for another reference (control), and the true ones (oracle).

    Args:
        n: clips of each kind.
        kinds: speech, music, guitar (real), voices, generated, sampled; by default all here.
        n_presets: training presets, from which the nearest one is taken.
        renders: settings that each search (CMA-ES) tries for each clip.
    """
    here = real_data_dir() is not None
    kinds = kinds or [kind for kind in KINDS if here or KINDS[kind][1] != "real"]
    config, rate, rows = model.config, model.config.sound.sample_rate, []
    presets = examples(config, trained_on(), "train", seed, n=n_presets, seconds=_SECONDS)
    for kind in kinds:
        title, sources = KINDS[kind]
        tests = examples(model.config, [kind], "test", seed, n=n, seconds=_SECONDS)
        rng = generator(seed, "style shuffle", kind)
        elsewhere = [rng.choice(np.flatnonzero(tests.groups != group)) for group in tests.groups]
        settings = {
            "ours": predicted(model, tests.plain, tests.reference),
            "control": predicted(model, tests.plain, tests.reference[elsewhere]),
            "prior": np.broadcast_to(_MEAN_PRESET, tests.truth.shape),
            "chance": generator(seed, "style chance", kind).random(tests.truth.shape),
            "oracle": tests.truth,
            "nearest preset by MFCC": by_neighbour(config, presets, tests.reference),
            "search": by_search(model, tests, 0.0, renders),
            "search with a prior": by_search(model, tests, _PRIOR_WEIGHT, renders),
        }
        wet = {name: rendered(model, tests.plain, params) for name, params in settings.items()}
        wet |= {"floor": tests.plain, "rules": by_rules(tests, rate)}
        facts = {"protocol": f"treat A like B, {title}", "sources": sources, "seed": seed}
        facts |= {"metric": "MR-STFT"}
        found = {name: mr_stft(sound, tests.target) for name, sound in wet.items()}
        others = {name: found.pop(name) for name in list(found) if name not in _OURS}
        common = {name: found[name] for name in ("floor", "prior")}
        for name, values in others.items():
            rows.append(row(values, tests.groups, name=name, beside=common, **facts))
        ours, name = found.pop("ours"), config.net.gradient
        rows.append(row(ours, tests.groups, name=name, beside=found, **facts))
    return rows


def fixed_score(model: style.StyleModel) -> dict[str, float]:
    """MR-STFT of ours and of A as it was, on 24 clips of babble and guitars."""
    tests = examples(model.config, ["voices", "generated"], "test", 2, n=24, seconds=2.0)
    wet = rendered(model, tests.plain, predicted(model, tests.plain, tests.reference))
    ours, plain = (mr_stft(x, tests.target).mean() for x in (wet, tests.plain))
    return {"mr_stft": round(float(ours), 4), "mr_stft_input": round(float(plain), 4)}
