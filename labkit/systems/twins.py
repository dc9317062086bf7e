"""The torch pedals measured: how near to pedalboard, how fast, and whether a chain's settings can be fitted by them."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import inf
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from labkit.effects.chain import Chain, Step
from labkit.effects.effect import Effect
from labkit.effects.parameters import Parameter, ParameterSpace
from labkit.effects.registry import EFFECTS, effect
from labkit.effects.twins import twin
from labkit.effects.twins.board import render_chains
from labkit.learn.fit import Fit, fit_chain, fit_chain_cma
from labkit.measure.metrics import si_sdr_db
from labkit.measure.parity import relative_error_db, signals
from labkit.measure.score import Row, wilson_interval
from labkit.signal.seeds import generator
from labkit.signal.sources import GeneratedGuitars
from labkit.signal.units import set_rms
from labkit.systems.growth import bandwidth_rows, dasp_rows, device_name, growth_rows

RATES = (44_100, 48_000)
SHELF = ("compressor", "distortion", "chorus", "phaser", "delay", "reverb")
# Has a twin and no place in the registry: its mode is a choice, which chains and their spaces do not know. Here the
# first of them, LPF12.
LADDER = Effect(
    name="ladder_filter",
    space=ParameterSpace(
        (
            Parameter("cutoff_hz", "Hz", 40.0, 16_000.0, "log"),
            Parameter("resonance", "", 0.0, 1.0),
            Parameter("drive", "", 1.0, 10.0),
        )
    ),
    plugin="LadderFilter",
    linear=False,
    time_invariant=True,
    memory_ms=inf,
)
COMPARED = MappingProxyType({**EFFECTS, LADDER.name: LADDER})


def evaluate(
    *,
    n_draws: int = 12,
    n_fits: int = 10,
    batch: int = 64,
    seconds: float = 2.0,
    memory_bytes: int = 4 * 2**30,
    seed: int = 1,
) -> list[Row]:
    """Parity, throughput, growth and fit, as `labkit evaluate twins` writes them.

    Args:
        n_draws: random settings for each pedal, beside all corners of its space.
        n_fits: chains whose settings are searched.
        batch: items rendered at once where speed is measured.
        seconds: length of those items.
        memory_bytes: bound of the batches on which growth is measured.
        seed: of every draw.

    Returns:
        The rows. Of parity, those whose metric holds a colon give signal and rate one by one; of growth, sizes.
    """
    # A GPU is only busy with a thousand items.
    batches = (batch, 16 * batch) if torch.cuda.is_available() else (batch,)
    return [
        *parity_rows(n_draws=n_draws, seed=seed),
        *(
            row
            for size in batches
            for row in throughput_rows(batch=size, seconds=seconds, seed=seed)
        ),
        *growth_rows(memory_bytes=memory_bytes, seed=seed),
        *dasp_rows(seed=seed),
        *(bandwidth_rows(seed=seed) if torch.cuda.is_available() else []),
        *fit_rows(n=n_fits, seed=seed),
    ]


def settings(name: str, n_draws: int, seed: int) -> Iterator[dict[str, float]]:
    """Every corner of a pedal's space, then `n_draws` random settings."""
    space = COMPARED[name].space
    yield from space.corners()
    for k in range(n_draws):
        yield space.sample(generator(seed, "parity settings " + name, k))


def parity(name: str, sample_rate: int, *, n_draws: int = 12, seed: int = 1) -> dict[str, float]:
    """The worst relative error of a twin against pedalboard, for each signal.

    Args:
        name: of the pedal, in `COMPARED`.
        sample_rate: Hz.
        n_draws: random settings beside the corners.
        seed: of settings and signals.

    Returns:
        Signal -> dB.
    """
    worst: dict[str, float] = {}
    for params in settings(name, n_draws, seed):
        for signal, audio in signals(sample_rate, seed=seed).items():
            expected = COMPARED[name].render(audio, sample_rate, **params)
            with torch.no_grad():
                given = twin(name)(torch.from_numpy(audio)[None], sample_rate, **params)[0]
            worst[signal] = max(worst.get(signal, -np.inf), relative_error_db(expected, given))
    return worst


def parity_rows(*, n_draws: int, seed: int) -> list[Row]:
    """One row for the worst error of each pedal, then one for each signal and rate."""
    rows = []
    for name, record in COMPARED.items():
        n = 2 ** len(record.space) + n_draws
        found = {rate: parity(name, rate, n_draws=n_draws, seed=seed) for rate in RATES}
        worst = max(error for errors in found.values() for error in errors.values())
        shared = {
            "name": name,
            "sources": "generated",
            "unit": "dB",
            "low": None,
            "high": None,
            "seed": seed,
        }
        rows.append(
            Row("parity with pedalboard", metric="worst error", ours=worst, n=n * 10, **shared)
        )
        for rate, errors in found.items():
            rows += [
                Row(
                    "parity with pedalboard",
                    metric=f"error: {signal}, {rate} Hz",
                    ours=error,
                    n=n,
                    **shared,
                )
                for signal, error in errors.items()
            ]
    return rows


def throughput_rows(
    *, batch: int, seconds: float, seed: int, sample_rate: int = 44_100
) -> list[Row]:
    """How many seconds of audio a second of computing renders, five pedals, settings of its own for each item."""
    names = ("compressor", "distortion", "chorus", "delay", "reverb")
    chains = [
        Chain(
            tuple(
                Step(name, effect(name).space.sample(generator(seed, "speed", i))) for name in names
            )
        )
        for i in range(batch)
    ]
    dry = 0.1 * generator(seed, "speed audio").standard_normal(
        (batch, 1, round(seconds * sample_rate))
    )
    dry = dry.astype(np.float32)
    runs = render_runs(dry, sample_rate, chains)
    audio_seconds = batch * seconds
    return [
        Row(
            f"5 pedals, {batch} items of {seconds:g} s",
            name,
            "generated",
            "speed",
            "x real time",
            audio_seconds / wall_seconds(run),
            None,
            None,
            batch,
            seed,
        )
        for name, run in runs.items()
    ]


def render_runs(
    dry: np.ndarray, sample_rate: int, chains: Sequence[Chain]
) -> Mapping[str, Callable[[], object]]:
    """The ways to render a batch that are compared, as functions without arguments."""
    n_cores = os.cpu_count() or 1

    def one_by_one() -> None:
        for chain, clip in zip(chains, dry, strict=True):
            chain.render(clip, sample_rate)

    def threaded() -> None:
        with ThreadPoolExecutor(n_cores) as threads:
            list(
                threads.map(
                    lambda pair: pair[0].render(pair[1], sample_rate), zip(chains, dry, strict=True)
                )
            )

    runs: dict[str, Callable[[], object]] = {
        "pedalboard, 1 thread": one_by_one,
        f"pedalboard, {n_cores} threads": threaded,
    }
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        audio = torch.from_numpy(dry).to(device)
        name = f"twins, {device_name(audio.device)}"
        runs[name] = partial(_forward, audio, sample_rate, chains)
        runs[f"{name}, with gradients"] = partial(_forward_and_backward, audio, sample_rate, chains)
    return runs


def _forward(audio: Tensor, sample_rate: int, chains: Sequence[Chain]) -> None:
    with torch.no_grad():
        render_chains(audio, sample_rate, chains)
    _finish(audio)


def _forward_and_backward(audio: Tensor, sample_rate: int, chains: Sequence[Chain]) -> None:
    leaf = audio.clone().requires_grad_()
    knobs = [
        [(k, {n: torch.tensor(v, requires_grad=True) for n, v in p.items()}) for k, p in c]
        for c in chains
    ]
    render_chains(leaf, sample_rate, knobs).square().sum().backward()
    _finish(audio)


def _finish(audio: Tensor) -> None:
    if audio.device.type == "cuda":
        torch.cuda.synchronize(audio.device)


def wall_seconds(run: Callable[[], object], *, repeats: int = 3) -> float:
    """The fastest of `repeats` runs after one to warm up."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def fit_problem(
    index: int, seed: int, *, sample_rate: int = 44_100
) -> tuple[np.ndarray, np.ndarray, Chain]:
    """A second of dry guitar at -20 dBFS, what five of six pedals make of it, and the chain."""
    rng = generator(seed, "fit problem", index)
    dry = GeneratedGuitars(seconds=1.0, sample_rate=sample_rate).clip(rng, "test").audio
    dry = set_rms(dry, -20.0)
    names = [str(name) for name in rng.permutation(SHELF)[:5]]
    chain = Chain(tuple(Step(name, effect(name).space.sample(rng)) for name in names))
    return dry, chain.render(dry, sample_rate), chain


def knob_errors(truth: Chain, found: Chain) -> np.ndarray:
    """Absolute errors of the identifiable knobs, as shares of their ranges. The chains hold the same pedals."""
    errors = []
    for true, said in zip(truth.steps, found.steps, strict=True):
        for knob in effect(true.effect).space.parameters:
            if knob.identifiable:
                units = [knob.to_unit(step.params[knob.name]) for step in (true, said)]
                errors.append(abs(units[0] - units[1]))
    return np.array(errors)


def fit_rows(*, n: int, seed: int, **options: int) -> list[Row]:
    """Fits of `n` five-pedal chains whose order is known: by a window that grows and, for as long, by CMA-ES.

    Args:
        n: chains.
        seed: of chains and searches.
        **options: of `fit_chain`.

    Returns:
        For each search the errors of the knobs, the distribution of the SI-SDR, and what a chain takes.
    """
    found: dict[str, list[tuple[np.ndarray, float, Fit]]] = {"gradient": [], "CMA-ES": []}
    for index in range(n):
        dry, wet, chain = fit_problem(index, seed)
        ours = fit_chain(dry, wet, 44_100, chain.names, seed=seed + index, **options)
        other = fit_chain_cma(
            dry, wet, 44_100, chain.names, seed=seed + index, seconds=ours.seconds
        )
        for name, fit in zip(found, (ours, other), strict=True):
            sdr = min(si_sdr_db(wet, fit.chain.render(dry, 44_100)), 120.0)
            found[name].append((knob_errors(chain, fit.chain), sdr, fit))
    return [row for name, fits in found.items() for row in score_fits(name, fits, seed=seed)]


def score_fits(name: str, fits: Sequence[tuple[np.ndarray, float, Fit]], *, seed: int) -> list[Row]:
    """The rows of one search from (errors of the knobs, SI-SDR in dB, fit) of every chain."""
    errors = np.concatenate([knobs for knobs, _, _ in fits])
    sdr = np.array([ratio for _, ratio, _ in fits])
    near = int((sdr >= 30.0).sum())
    scores = {
        ("median knob error", "of range"): np.median(errors),
        ("knobs within 1 % of range", ""): np.mean(errors <= 0.01),
        ("SI-SDR, lowest tenth", "dB"): np.quantile(sdr, 0.1),
        ("median SI-SDR", "dB"): np.median(sdr),
        ("SI-SDR above 30 dB", ""): near / len(fits),
        ("renders for a chain, median", ""): np.median([fit.renders for _, _, fit in fits]),
        ("time for a chain, median", "s"): np.median([fit.seconds for _, _, fit in fits]),
    }
    low, high = wilson_interval(near, len(fits))
    shared = {"name": name, "sources": "generated", "n": len(fits), "seed": seed}
    shared["seconds"] = float(sum(fit.seconds for _, _, fit in fits))
    return [
        Row(
            "5 of 6 pedals, order known, fit the knobs",
            metric=metric,
            unit=unit,
            ours=float(score),
            low=low if metric == "SI-SDR above 30 dB" else None,
            high=high if metric == "SI-SDR above 30 dB" else None,
            **shared,
        )
        for (metric, unit), score in scores.items()
    ]
