"""What style transfer is worth: by each gradient, beside rules, constants and shuffled references; and five styles."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from labkit.measure.losses import magnitude_distance
from labkit.measure.loudness import loudness_lufs
from labkit.measure.score import Row, bootstrap_interval
from labkit.signal.optional import need
from labkit.signal.paths import real_data_dir
from labkit.signal.seeds import generator
from labkit.systems.blackbox import rules
from labkit.systems.blackbox.style import (
    Config,
    StyleModel,
    Transfer,
    at_peak,
    build,
    picture,
    predict,
)
from labkit.systems.blackbox.style_data import Examples, examples, in_style, style_names

# Kind of recordings -> what the table calls it, and whether it is real.
KINDS = {
    "speech": ("real speech", "real"),
    "music": ("real music", "real"),
    "guitar": ("real guitars", "real"),
    "voices": ("babble", "generated"),
    "generated": ("guitars", "generated"),
    "sampled": ("instruments", "sampled"),
}
# Of Steinmetz et al. 2022 for speech (LibriTTS): the distance as it was, by autodiff, and SPSA's over autodiff's.
_INPUT, _AUTODIFF, _SPSA = 1.187, 0.388, 0.635
_SECONDS = 5.0
_FOLDS = 10
# Where the other gradients are compared with the first; it alone is scored on every kind.
COMPARED = ("speech", "voices")
NAMES = {"autodiff": "autodiff", "spsa": "SPSA", "proxy": "proxy", "regression": "regression"}
_METRICS = {"MR-STFT": "", "loudness error": "LU", "spectral centroid error": "Hz"}


def scores(out: np.ndarray, target: np.ndarray, sample_rate: int) -> dict[str, np.ndarray]:
    """How far sounds are apart.

    Args:
        out: (n, samples).
        target: the same shape.
        sample_rate: Hz.

    Returns:
        (n,) for each: ``"MR-STFT"`` (`magnitude_distance`), ``"loudness error"`` in LU, ``"spectral centroid error"``
        in Hz.
    """
    with torch.no_grad():
        pairs = zip(
            torch.from_numpy(out)[:, None, None],
            torch.from_numpy(target)[:, None, None],
            strict=True,
        )
        distance = [float(magnitude_distance(*pair)) for pair in pairs]
    loud, centre = (
        [[f(x, sample_rate) for x in sound] for sound in (out, target)]
        for f in (_loudness, _centroid_hz)
    )
    found = (distance, *(np.abs(np.subtract(*pair)) for pair in (loud, centre)))
    return dict(zip(_METRICS, map(np.asarray, found), strict=True))


def _loudness(audio: np.ndarray, sample_rate: int) -> float:
    return max(loudness_lufs(audio, sample_rate), -70.0)  # the gate of the standard


def _centroid_hz(audio: np.ndarray, sample_rate: int) -> float:
    power = np.abs(np.fft.rfft(audio)) ** 2
    return float((power * np.fft.rfftfreq(len(audio), 1 / sample_rate)).sum() / power.sum())


@torch.no_grad()
def knobs(model: StyleModel, plain: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(n, samples) twice -> (n, 9) in 0..1."""
    pairs = zip(plain, reference, strict=True)
    found = [model(*(_picture(model.config, row) for row in pair)) for pair in pairs]
    return torch.cat(found).double().numpy()


def _picture(config: Config, row: np.ndarray) -> Tensor:
    return picture(config, row[None], config.sample_rate)


def treated(
    model: StyleModel, tests: Examples, *, reference: np.ndarray | None = None
) -> np.ndarray:
    """(n, samples): every A as the model treats it; `reference` in place of the examples' own."""
    chosen = knobs(model, tests.plain, tests.reference if reference is None else reference)
    return _rendered(model, tests, chosen)


def _rendered(model: StyleModel, tests: Examples, chosen: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [model.box.render(a[None], k) for a, k in zip(tests.plain, chosen, strict=True)]
    )


def by_rules(tests: Examples, sample_rate: int) -> np.ndarray:
    """(n, samples): every A with the reference's spectrum and loudness copied, at its peak."""
    styles = [rules.style_of([row[None]], sample_rate) for row in tests.reference]
    pairs = zip(tests.plain, styles, strict=True)
    return np.concatenate(
        [at_peak(rules.match(a[None], sample_rate, style)[0]) for a, style in pairs]
    )


@dataclass(frozen=True)
class Copy:
    """A style copied from one half of a recording to the other, beside what was wanted.

    Attributes:
        found: what the model did.
        clips: plain A, treated B, A as the model treats it, A as it was wanted; (channels, samples) each.
        before: MR-STFT of plain A to what was wanted.
        after: that of the model's.
    """

    found: Transfer
    clips: dict[str, np.ndarray]
    before: float
    after: float


def copied(
    model: StyleModel, audio: np.ndarray, sample_rate: int, name: str, *, seed: int = 0
) -> Copy:
    """Cut a recording in two, bring both halves into a style, and let the model copy it from the second to the first.

    Args:
        model: from `load` or `train`.
        audio: (1, samples), some seconds.
        sample_rate: Hz, at least 16000.
        name: of `style_names`.
        seed: of the style's settings.

    Returns:
        The sounds and how far they are apart.
    """
    plain, other = map(at_peak, np.array_split(audio, 2, axis=1))
    wanted, treated_b = (
        in_style(name, x, sample_rate, generator(seed, "copied", name)) for x in (plain, other)
    )
    found = predict(model, plain, sample_rate, reference=treated_b)
    clips = {
        "A": plain,
        f"B, {name}": treated_b,
        "A in B's style": found.audio,
        f"A, {name}": wanted,
    }
    before, after = (
        scores(sound, wanted, sample_rate)["MR-STFT"].item() for sound in (plain, found.audio)
    )
    return Copy(found, clips, before, after)


def evaluate(
    models: Sequence[StyleModel],
    *,
    n: int = 60,
    kinds: Sequence[str] | None = None,
    seed: int = 1,
    checkpoints: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> list[Row]:
    """The results table.

    Args:
        models: the first is the one that the others are compared with, on the kinds of `COMPARED`.
        n: clips of each kind.
        kinds: keys of `KINDS`; all by default, real ones where there are any.
        seed: of clips and settings.
        checkpoints: the files' names, for the rows.
        say: told about progress.

    Returns:
        For each kind, model and metric a row: *floor* is A as it was, *prior* all knobs in the middle, *control* ours
        with the references shuffled, *oracle* the true knobs. The rules have rows of their own.
    """
    if kinds is None:
        kinds = [
            kind
            for kind, (_, made) in KINDS.items()
            if made != "real" or real_data_dir() is not None
        ]
    named = {_name(model, models[0]): model for model in models}
    files, rows = dict(zip(named, checkpoints, strict=False)), []
    for kind in kinds:
        started = time.perf_counter()
        chosen = named if kind in COMPARED else dict([next(iter(named.items()))])
        one = _one_kind(chosen, kind, n, seed, files)
        rows += [replace(row, seconds=time.perf_counter() - started) for row in one]
        say(
            f"{kind}: "
            + ", ".join(f"{row.name} {row.ours:.3f}" for row in one if row.metric == "MR-STFT")
        )
    return rows + probe_rows(
        named, n=n, kinds=[kind for kind in kinds if kind in COMPARED], seed=seed
    )


def _name(model: StyleModel, first: StyleModel) -> str:
    """By its gradient; with its renders where they are not as many as the first's."""
    same = model.config.renders == first.config.renders
    return NAMES[model.config.gradient] + ("" if same else f", {model.config.renders} renders")


def _one_kind(
    models: Mapping[str, StyleModel], kind: str, n: int, seed: int, checkpoints: Mapping[str, str]
) -> list[Row]:
    first = next(iter(models.values()))
    rate, (says, made) = first.config.sample_rate, KINDS[kind]
    tests = examples(first.config, [kind], "test", seed, n=n, seconds=_SECONDS)
    other = tests.reference[_elsewhere(tests.groups, generator(seed, "style shuffle", kind))]
    beside = {
        "floor": tests.plain,
        "prior": _rendered(first, tests, np.full_like(tests.truth, 0.5)),
    }
    beside |= {"oracle": _rendered(first, tests, tests.truth)}
    fixed = {name: _means(scores(sound, tests.target, rate)) for name, sound in beside.items()}
    facts = {"protocol": f"treat A like B, {says}", "sources": made, "n": n, "seed": seed}
    facts |= {"groups": tests.groups, "fixed": fixed}
    rows = _rows("rules", scores(by_rules(tests, rate), tests.target, rate), None, facts)
    found = {}
    for name, model in models.items():
        found[name] = scores(treated(model, tests), tests.target, rate)
        control = scores(treated(model, tests, reference=other), tests.target, rate)
        rows += _rows(
            name, found[name], _means(control), facts | {"checkpoint": checkpoints.get(name)}
        )
    return rows + _ratios(found, scores(tests.plain, tests.target, rate), facts)


def _means(found: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in found.items()}


def _elsewhere(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """For each clip the index of one of another recording."""
    return np.array([rng.choice(np.flatnonzero(groups != group)) for group in groups])


def _rows(
    name: str, found: Mapping[str, np.ndarray], control: Mapping[str, float] | None, facts: dict
) -> list[Row]:
    facts = dict(facts)
    groups, fixed = facts.pop("groups"), facts.pop("fixed")
    rows = []
    for metric, unit in _METRICS.items():
        low, high = bootstrap_interval(found[metric], groups, seed=facts["seed"])
        beside = {key: values[metric] for key, values in fixed.items()}
        beside |= {} if control is None else {"control": control[metric]}
        mean = float(found[metric].mean())
        rows.append(
            Row(
                name=name,
                metric=metric,
                unit=unit,
                ours=mean,
                low=low,
                high=high,
                **beside,
                **facts,
            )
        )
    return rows


def _ratios(
    found: Mapping[str, dict[str, np.ndarray]], plain: Mapping[str, np.ndarray], facts: dict
) -> list[Row]:
    """The two figures that were aimed at: what is left of the distance, and how much more the other gradients leave."""
    plainly = {key: facts[key] for key in ("protocol", "sources", "n", "seed")} | {
        "low": None,
        "high": None,
        "unit": "",
    }
    (first, ours), *others = ((name, values["MR-STFT"].mean()) for name, values in found.items())
    left = float(ours / plain["MR-STFT"].mean())
    rows = [
        Row(
            name=first,
            metric="MR-STFT, share of the input's",
            ours=left,
            reference=_AUTODIFF / _INPUT,
            **plainly,
        )
    ]
    for name, value in others:
        reference = _SPSA / _AUTODIFF if name.startswith("SPSA") else None
        metric = f"MR-STFT, times that of {first}"
        rows.append(
            Row(name=name, metric=metric, ours=float(value / ours), reference=reference, **plainly)
        )
    return rows


def styled(
    config: Config, kind: str, *, n: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Recordings of test material, each in all five styles.

    Args:
        config: the rate.
        kind: a key of `KINDS`.
        n: recordings.
        seed: of clips and settings.

    Returns:
        Sound (5 n, samples), the style's number (5 n,) and the source (5 n,).
    """
    dry = examples(config, [kind], "test", seed, n=n, seconds=_SECONDS)
    sound, label, groups = [], [], []
    for k, row in enumerate(dry.plain):
        for number, name in enumerate(style_names()):
            rng = generator(seed, "five styles", kind, k, number)
            sound.append(in_style(name, row[None], config.sample_rate, rng)[0])
            label.append(number)
            groups.append(dry.groups[k])
    return np.stack(sound), np.array(label), np.array(groups)


@torch.no_grad()
def embeddings(model: StyleModel, sound: np.ndarray) -> np.ndarray:
    """(n, samples) -> (n, width), what the encoder makes of each."""
    return torch.cat([model.encoder(_picture(model.config, row)) for row in sound]).numpy()


def mfcc_statistics(config: Config, sound: np.ndarray) -> np.ndarray:
    """(n, samples) -> (n, 40): mean and deviation over time of 20 cepstral coefficients."""
    pictures = [_picture(config, row)[0].numpy() for row in sound]
    cepstra = [need("scipy.fft").dct(one, type=2, norm="ortho", axis=0)[:20] for one in pictures]
    return np.stack([np.concatenate([one.mean(-1), one.std(-1)]) for one in cepstra])


def probe(features: np.ndarray, label: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Whether a straight line finds the style of recordings that it has not seen.

    Args:
        features: (n, d).
        label: (n,) of the style.
        groups: (n,) the source; a tenth of the sources is judged by a regression on the others.

    Returns:
        (n,) of bool.
    """
    right = np.zeros(len(label), bool)
    fold = np.unique(groups, return_inverse=True)[1] % _FOLDS
    for k in np.unique(fold):
        held = fold == k
        mean, spread = features[~held].mean(0), features[~held].std(0) + 1e-6
        line = need("sklearn.linear_model").LogisticRegression(C=0.1, max_iter=1000)
        line.fit((features[~held] - mean) / spread, label[~held])
        right[held] = line.predict((features[held] - mean) / spread) == label[held]
    return right


def probe_rows(
    models: Mapping[str, StyleModel], *, n: int, kinds: Sequence[str], seed: int
) -> list[Row]:
    """The share of styles that a straight line names, from each encoder; *floor* is MFCC."""
    rows = []
    for kind in kinds:
        first = next(iter(models.values()))
        sound, label, groups = styled(first.config, kind, n=n, seed=seed)
        floor = float(probe(mfcc_statistics(first.config, sound), label, groups).mean())
        says, made = KINDS[kind]
        facts = {
            "protocol": f"five styles, {says}",
            "sources": made,
            "metric": "style named",
            "unit": "",
        }
        facts |= {"n": len(label), "seed": seed, "chance": 1 / len(style_names()), "floor": floor}
        for name, model in {**models, "untrained": build(first.config).eval()}.items():
            right = probe(embeddings(model, sound), label, groups)
            low, high = bootstrap_interval(right, groups, seed=seed)
            beside = {
                "low": low,
                "high": high,
                "reference": 1.0 if (kind, name) == ("speech", "autodiff") else None,
            }
            rows.append(Row(name=f"encoder, {name}", ours=float(right.mean()), **beside, **facts))
    return rows


def fixed_score(model: StyleModel) -> dict[str, float]:
    """What the card holds and a test computes again: 24 clips of babble and instruments that need no soundfont."""
    tests = examples(model.config, ["voices", "generated"], "test", 2, n=24, seconds=2.0)
    rate = model.config.sample_rate
    ours, plain = (
        scores(sound, tests.target, rate)["MR-STFT"].mean()
        for sound in (treated(model, tests), tests.plain)
    )
    return {"mr_stft": round(float(ours), 4), "mr_stft_input": round(float(plain), 4)}
