"""Saturation: which curve bent a sound, and how deeply, from clean and wet or from wet alone."""

from labkit.systems.saturation.checkpoint import load, save, shipped_path
from labkit.systems.saturation.config import BIG, CONDITIONS, LIGHT, MODELS, Config
from labkit.systems.saturation.evaluate import evaluate, evaluation_set
from labkit.systems.saturation.model import build, summary
from labkit.systems.saturation.predict import predict
from labkit.systems.saturation.train import examples, train

__all__ = [
    "BIG",
    "CONDITIONS",
    "LIGHT",
    "MODELS",
    "Config",
    "build",
    "evaluate",
    "evaluation_set",
    "examples",
    "load",
    "predict",
    "save",
    "shipped_path",
    "summary",
    "train",
]
