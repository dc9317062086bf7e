"""Pedal order: from a wet recording to the ordered chain of pedals with their settings."""

from labkit.systems.pedal_order.checkpoint import load, save, shipped_path
from labkit.systems.pedal_order.config import PROTOCOLS, SIX, THREE, Config
from labkit.systems.pedal_order.evaluate import evaluate
from labkit.systems.pedal_order.examination import evaluation_set
from labkit.systems.pedal_order.model import build
from labkit.systems.pedal_order.predict import predict, recreate
from labkit.systems.pedal_order.train import examples, train

__all__ = [
    "PROTOCOLS",
    "SIX",
    "THREE",
    "Config",
    "build",
    "evaluate",
    "evaluation_set",
    "examples",
    "load",
    "predict",
    "recreate",
    "save",
    "shipped_path",
    "train",
]
