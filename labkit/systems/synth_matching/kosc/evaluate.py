"""What heads make of k oscillators: by sound, by matched settings, and by settings in their order."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from labkit.learn.flow import sample
from labkit.measure.score import Row, bootstrap_interval
from labkit.measure.sets import assignment_errors
from labkit.signal.paths import replace_text
from labkit.signal.seeds import generator, torch_generator
from labkit.systems.synth_matching.kosc.config import FLOWS, Config
from labkit.systems.synth_matching.kosc.config import Head as Kind
from labkit.systems.synth_matching.kosc.data import (
    TrainingSet,
    examples,
    heard,
    log_spectral_distance,
    render_many,
    spectrum,
    to_settings,
    training_set,
)
from labkit.systems.synth_matching.kosc.model import Encoder, Head
from labkit.systems.synth_matching.kosc.train import train, train_encoder

# Metric -> its name in the table and its unit.
METRICS = {
    "lsd": ("LSD", "dB"),
    "lac": ("LAC", ""),
    "mse": ("R2", ""),
    "best lsd": ("LSD, best of {n}", "dB"),
    "best lac": ("LAC, best of {n}", ""),
}
# Variance of a setting that is uniform in 0..1.
_VARIANCE = 1 / 12
Scores = dict[str, list[float]]
# What else a head has to offer is a way to deal with the symmetry.
_WHERE_BROKEN = ("regression", "equivariant flow")


def predict(head: Head, condition: Tensor, config: Config, *, seed: int = 0, n: int = 1) -> Tensor:
    """Settings for what was heard.

    Args:
        head: of `train`.
        condition: (b, 2 n_map), what the encoder says.
        config: of the head.
        seed: of a flow's noise.
        n: answers; a regression has one.

    Returns:
        (b, n, k, 3) in 0..1.
    """
    if config.head not in FLOWS:
        with torch.no_grad():
            return to_settings(head.regress(condition))[:, None]
    rng = torch_generator(seed, "k-osc sample")
    return to_settings(
        sample(
            head,
            condition,
            steps=config.sampler_steps,
            guidance=config.guidance,
            rng=rng,
            n_samples=n,
        )
    )


def score(answers: Tensor, settings: Tensor, audio: Tensor, *, broken: bool) -> Scores:
    """Figures of every sound.

    Args:
        answers: (b, n, k, 3); the first counts, and for the ``best`` figures the one that sounds nearest.
        settings: (b, k, 3), the truth.
        audio: (b, 1024), its sound.
        broken: as in `render`.

    Returns:
        ``lsd``, ``best lsd`` (dB), ``lac``, ``best lac``, ``mse`` (settings of 0..1, squared), each (b,).
    """
    first, n = answers[:, 0], answers.shape[1]
    sounds = render_many(answers.flatten(0, 1), broken=broken)
    distances = log_spectral_distance(sounds, audio.repeat_interleave(n, 0)).unflatten(0, (-1, n))
    nearest = answers[torch.arange(len(answers)), distances.argmin(1)]
    mse = (first - settings).square().mean((1, 2))
    found = {
        "lsd": distances[:, 0].tolist(),
        "best lsd": distances.amin(1).tolist(),
        "mse": mse.tolist(),
    }
    matched = {"lac": first, "best lac": nearest}
    return found | {
        name: assignment_errors(one, settings).tolist() for name, one in matched.items()
    }


def evaluate(
    config: Config,
    run_dir: str | Path,
    *,
    ks: Sequence[int] = (4, 8),
    seeds: Sequence[int] = (0, 1, 2),
    heads: Sequence[Kind] = ("regression", "equivariant flow", "mlp flow"),
    n: int = 160,
    seed: int = 1,
    say: Callable[[str], None] = print,
) -> list[Row]:
    """Train every head for every task and seed, or take up what `run_dir` holds, and score it.

    Args:
        config: sizes and steps; k, broken, head and seed are gone through.
        run_dir: one folder for each run, with its checkpoint and its `scores.json`.
        ks: numbers of oscillators.
        seeds: of the heads; the encoder and the training set of a task are the same for all.
        heads: what to train; where the symmetry is broken, only the first two of the default.
        n: sounds of a test.
        seed: of the test.
        say: told of every run that is done.

    Returns:
        Rows: the mean over sounds and seeds, with an interval over sounds.
    """
    rows = []
    for k in ks:
        for broken in (False, True):
            task = replace(config, k=k, broken=broken)
            place, started = (
                Path(run_dir) / f"k{k}_{'broken' if broken else 'symmetric'}",
                time.perf_counter(),
            )
            lazy = _Task(task, Path(run_dir) / f"k{k}_encoder", n, seed)
            scores: dict[str, list[Scores]] = {}
            for head in heads:
                if broken and head not in _WHERE_BROKEN:
                    continue
                scores[head] = [
                    _run(replace(task, head=head, seed=one), lazy, place, n, seed, say)
                    for one in seeds
                ]
            scores |= {name: [found] for name, found in lazy.baselines(place).items()}
            rows += _rows(task, scores, len(seeds), n, seed, time.perf_counter() - started)
    return rows


class _Task:
    """Encoder, training set and test of one task, made when they are first asked for."""

    def __init__(self, config: Config, encoder_dir: Path, n: int, seed: int) -> None:
        self.config, self.encoder_dir, self.n, self.seed = config, encoder_dir, n, seed
        self._made: tuple[Encoder, TrainingSet, Tensor, Tensor] | None = None

    def made(self) -> tuple[Encoder, TrainingSet, Tensor, Tensor]:
        """Encoder, training set, settings and sounds of the test."""
        if self._made is None:
            encoder = train_encoder(self.config, self.encoder_dir)
            test = examples(self.config, "test", self.seed, n=self.n)
            self._made = (encoder, training_set(self.config, encoder), *test)
        return self._made

    def baselines(self, place: Path) -> dict[str, Scores]:
        """Scores of the middle of every knob and of the nearest sound of the training set."""

        def work() -> dict[str, Scores]:
            _, known, settings, audio = self.made()
            middle, nearest = torch.full_like(settings, 0.5), known.nearest(spectrum(audio))
            answers = {"middle": middle, "nearest neighbour": nearest}
            broken = self.config.broken
            return {
                name: score(one[:, None], settings, audio, broken=broken)
                for name, one in answers.items()
            }

        return _kept(
            place / "baselines.json",
            {"n": self.n, "seed": self.seed, "n_train": self.config.n_train},
            work,
        )


def _run(
    config: Config, lazy: _Task, place: Path, n: int, seed: int, say: Callable[[str], None]
) -> Scores:
    """Scores of one head of one seed, and the same as ``shuffled ...`` when it is told another sound's map."""
    folder = place / f"{config.head.replace(' ', '_')}_{config.seed}"

    def work() -> Scores:
        encoder, known, settings, audio = lazy.made()
        head, condition = train(config, known, folder), encoder(heard(audio, config))
        n_best = config.n_best if config.head in FLOWS else 1
        found = score(
            predict(head, condition, config, n=n_best), settings, audio, broken=config.broken
        )
        other = torch.from_numpy(generator(seed, "k-osc control").permutation(n))
        control = score(
            predict(head, condition[other], config, n=n_best), settings, audio, broken=config.broken
        )
        return found | {f"shuffled {name}": values for name, values in control.items()}

    scores = _kept(folder / "scores.json", {"n": n, "seed": seed} | asdict(config), work)
    say(
        f"k {config.k}, {config.head}, seed {config.seed}: "
        + ", ".join(f"{m} {np.mean(scores[m]):.4f}" for m in METRICS)
    )
    return scores


def _kept(path: Path, facts: dict[str, object], work: Callable[[], dict]) -> dict:
    """What `work` gives, kept in a file with the facts that it depends on."""
    if path.exists():
        kept = json.loads(path.read_text())
        if kept["facts"] == facts:
            return kept["found"]
    found = work()
    replace_text(path, json.dumps({"facts": facts, "found": found}))
    return found


def _rows(
    config: Config, scores: dict[str, list[Scores]], n_seeds: int, n: int, seed: int, seconds: float
) -> list[Row]:
    floor, prior = scores.pop("nearest neighbour")[0], scores.pop("middle")[0]
    seeds = f"{n_seeds} seed{'s' if n_seeds != 1 else ''}"
    protocol = f"{config.k} oscillators, {'each in a band of its own' if config.broken else 'alike'}; {seeds}"
    rows = []
    for head, runs in scores.items():
        for metric, (name, unit) in METRICS.items():
            if metric.startswith("best") and head not in FLOWS:
                continue
            values = np.concatenate([run[metric] for run in runs])
            low, high = bootstrap_interval(values, np.tile(np.arange(n), len(runs)), seed=seed)
            beside = {"floor": floor[metric], "prior": prior[metric]}
            beside["control"] = np.concatenate([run[f"shuffled {metric}"] for run in runs])
            figures = {field: float(np.mean(value)) for field, value in beside.items()} | {
                "oracle": 0.0
            }
            figures |= {"ours": float(values.mean()), "low": low, "high": high}
            if metric == "mse":  # R2, which grows as the error falls
                figures = {field: 1 - value / _VARIANCE for field, value in figures.items()}
                figures["low"], figures["high"] = figures["high"], figures["low"]
                if head == "regression" and not config.broken:
                    figures["oracle"] = 1 / config.k
            shared = {
                "protocol": protocol,
                "name": head,
                "sources": "generated",
                "n": len(values),
                "seed": seed,
            }
            rows.append(
                Row(
                    metric=name.format(n=config.n_best),
                    unit=unit,
                    seconds=seconds,
                    **shared,
                    **figures,
                )
            )
    return rows


def ratios(rows: Sequence[Row]) -> list[str]:
    """The figures that the course aims at, one line each: by what factor a flow beats the others."""
    found = {(row.protocol, row.name, row.metric): row for row in rows}
    lines = []
    for protocol in dict.fromkeys(row.protocol for row in rows):
        told = {key[1:]: row.ours for key, row in found.items() if key[0] == protocol}
        best = next((metric for _, metric in told if metric.startswith("LSD, best")), "LSD")
        for metric in ("LSD", best):
            if ("equivariant flow", metric) in told and ("regression", "LSD") in told:
                flow, floor = (
                    told["equivariant flow", metric],
                    found[protocol, "regression", "LSD"].floor,
                )
                lines.append(
                    f"{protocol}: {metric} of the flow is {flow / told['regression', 'LSD']:.2f} of regression's and "
                    f"{flow / floor:.2f} of the nearest neighbour's"
                )
        if ("mlp flow", "LAC") in told and ("equivariant flow", "LAC") in told:
            share = told["equivariant flow", "LAC"] / told["mlp flow", "LAC"]
            lines.append(
                f"{protocol}: LAC of the equivariant flow is {share:.2f} of the perceptron flow's"
            )
    return lines
