"""k oscillators: what a regression, a flow and an equivariant flow make of parts that can be exchanged."""

from labkit.systems.synth_matching.kosc.config import FLOWS, HEADS, Config
from labkit.systems.synth_matching.kosc.data import (
    examples,
    heard,
    log_spectral_distance,
    training_set,
)
from labkit.systems.synth_matching.kosc.evaluate import evaluate, predict, ratios, score
from labkit.systems.synth_matching.kosc.model import build
from labkit.systems.synth_matching.kosc.train import train, train_encoder

__all__ = [
    "FLOWS",
    "HEADS",
    "Config",
    "build",
    "evaluate",
    "examples",
    "heard",
    "log_spectral_distance",
    "predict",
    "ratios",
    "score",
    "train",
    "train_encoder",
    "training_set",
]
