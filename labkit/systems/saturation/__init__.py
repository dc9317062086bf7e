"""Saturation: which curve was applied to a sound, and how deep, with or without the clean sound."""

from labkit.systems.saturation.model import BIG, CONDITIONS, LIGHT, Config, build, summary
from labkit.systems.saturation.predict import predict
from labkit.systems.system import System

SYSTEM = System(
    name="saturation",
    presets={"light": LIGHT, "big": BIG},
    build=build,
    module=__name__,
    checkpoints={"light": "saturation_light"},
)
load = SYSTEM.load
save = SYSTEM.save
