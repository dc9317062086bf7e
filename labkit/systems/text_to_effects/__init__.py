"""Text to effects: a sentence and a recording become settings of an equaliser, a room, a compressor and more."""

from labkit.systems.text_to_effects.checkpoint import load, save, shipped_path
from labkit.systems.text_to_effects.config import Config
from labkit.systems.text_to_effects.evaluate import evaluate
from labkit.systems.text_to_effects.grammar import apply_items, parse, preset_of
from labkit.systems.text_to_effects.model import build
from labkit.systems.text_to_effects.predict import predict, process_file, variations
from labkit.systems.text_to_effects.preset import Preset
from labkit.systems.text_to_effects.stream import render_file
from labkit.systems.text_to_effects.train import examples, train

__all__ = [
    "Config",
    "Preset",
    "apply_items",
    "build",
    "evaluate",
    "examples",
    "load",
    "parse",
    "predict",
    "preset_of",
    "process_file",
    "render_file",
    "save",
    "shipped_path",
    "train",
    "variations",
]
