"""Knobs: the settings of the pedals of a chain, from its wet sound and its order."""

from labkit.systems.knobs.model import Config, KnobModel, build
from labkit.systems.system import System

SYSTEM = System(
    name="knobs",
    presets={"base": Config()},
    build=build,
    module=__name__,
    checkpoints={"base": "knobs"},
)
load, save = SYSTEM.load, SYSTEM.save
