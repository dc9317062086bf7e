"""Three tasks for a controller that learns through real plug-ins, behind the face that all systems have."""

from labkit.systems.blackbox.checkpoint import load, save, shipped_path
from labkit.systems.blackbox.config import CONFIGS, TASKS, Config
from labkit.systems.blackbox.controller import build
from labkit.systems.blackbox.data import examples
from labkit.systems.blackbox.evaluate import evaluate
from labkit.systems.blackbox.predict import Curve, curve, enhance, enhance_file, predict
from labkit.systems.blackbox.train import train

__all__ = [
    "CONFIGS",
    "TASKS",
    "Config",
    "Curve",
    "build",
    "curve",
    "enhance",
    "enhance_file",
    "evaluate",
    "examples",
    "load",
    "predict",
    "save",
    "shipped_path",
    "train",
]
