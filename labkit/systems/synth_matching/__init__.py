"""Synth matching: from a sound to the settings of a synthesizer that makes it."""

from labkit.systems.synth_matching.checkpoint import load, save, shipped_path
from labkit.systems.synth_matching.config import Config
from labkit.systems.synth_matching.data import examples
from labkit.systems.synth_matching.evaluate import evaluate
from labkit.systems.synth_matching.model import build, summary
from labkit.systems.synth_matching.output import write_match
from labkit.systems.synth_matching.predict import Match, predict, propose
from labkit.systems.synth_matching.render import render
from labkit.systems.synth_matching.schema import RenderConfig
from labkit.systems.synth_matching.train import train

__all__ = [
    "Config",
    "Match",
    "RenderConfig",
    "build",
    "evaluate",
    "examples",
    "load",
    "predict",
    "propose",
    "render",
    "save",
    "shipped_path",
    "summary",
    "train",
    "write_match",
]
