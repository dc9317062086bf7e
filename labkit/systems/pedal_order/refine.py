"""Predict, then refine: with the dry recording at hand, the candidates are fitted and the best one is kept."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from labkit.effects.chain import Chain
from labkit.learn.fit import ENOUGH_DB, fit_chain
from labkit.measure.metrics import si_sdr_db
from labkit.signal.files import check_audio
from labkit.systems.pedal_order.decode import Prediction


@dataclass(frozen=True)
class Refined:
    """What refining a prediction came to.

    Attributes:
        chain: the candidate whose fitted render comes nearest to the wet recording.
        si_sdr_db: of that render. Above 30 dB the chain is as good as found; below, read it as a guess.
        tried: (pedals in order, SI-SDR in dB) of every candidate, in the order in which they were tried.
    """

    chain: Chain
    si_sdr_db: float
    tried: tuple[tuple[tuple[str, ...], float], ...]


def refine(
    prediction: Prediction,
    dry: np.ndarray,
    wet: np.ndarray,
    sample_rate: int,
    *,
    candidates: int = 4,
    seconds: float = 120.0,
    seed: int = 0,
) -> Refined:
    """Fit the knobs of the most probable orders, one after the other, until one explains the wet recording.

    Args:
        prediction: from `predict` on `wet`.
        dry: (channels, samples), as it entered the chain: a drive is only defined relative to its input.
        wet: the same shape, aligned, from rest.
        sample_rate: Hz.
        candidates: how many of the prediction's alternatives are tried at most, >= 1.
        seconds: wall time after which no further candidate is begun; each gets an even share of it.
        seed: of the searches.

    Returns:
        The best candidate.

    Raises:
        ValueError: if the shapes differ, a recording is unusable, `wet` is silent, or `candidates` is below 1.

    Source: the idea of Okita and Katayose 2026, who search the settings with CMA-ES; ours is `fit_chain`, and it
        decides between orders too.
    """
    dry, wet = check_audio(dry, sample_rate), check_audio(wet, sample_rate)
    if dry.shape != wet.shape or not wet.any():
        raise ValueError(
            f"dry and wet must have one shape, and wet must sound, got {dry.shape} and {wet.shape}"
        )
    if candidates < 1:
        raise ValueError(f"candidates must be at least 1, got {candidates}")
    begun, found = time.perf_counter(), []
    for names, _ in prediction.alternatives[:candidates]:
        if found and (found[-1][0] > ENOUGH_DB or time.perf_counter() - begun > seconds):
            break
        found.append(_fitted(names, dry, wet, sample_rate, seconds / candidates, seed))
    best, chain = max(found, key=lambda pair: pair[0])
    return Refined(chain, best, tuple((chain.names, score) for score, chain in found))


def _fitted(
    names: Sequence[str],
    dry: np.ndarray,
    wet: np.ndarray,
    sample_rate: int,
    seconds: float,
    seed: int,
) -> tuple[float, Chain]:
    if not names:
        return si_sdr_db(wet, dry), Chain(())
    fit = fit_chain(dry, wet, sample_rate, names, seconds=seconds, seed=seed)
    return fit.si_sdr_db, fit.chain
