"""Saturation: which curve bent a sound, and how deeply, from clean and wet or from wet alone."""

from labkit.systems.saturation.checkpoint import load, save, shipped_path
from labkit.systems.saturation.config import BIG, CONDITIONS, LIGHT, MODELS, Config
from labkit.systems.saturation.evaluate import MAIN, against_aims, evaluate, evaluation_set
from labkit.systems.saturation.model import build, summary
from labkit.systems.saturation.predict import predict
from labkit.systems.saturation.speed import speed_rows
from labkit.systems.saturation.train import examples, train

__all__ = [
    "BIG",
    "CONDITIONS",
    "LIGHT",
    "MAIN",
    "MODELS",
    "Config",
    "against_aims",
    "build",
    "evaluate",
    "evaluation_set",
    "examples",
    "load",
    "predict",
    "save",
    "shipped_path",
    "speed_rows",
    "summary",
    "train",
]
