"""Pedal order: from a wet recording to the ordered chain of pedals with their settings."""

from labkit.systems.pedal_order.config import NINE, PROTOCOLS, SHELVES, SIX, THREE, Config
from labkit.systems.pedal_order.model import build
from labkit.systems.pedal_order.predict import predict, recreate, refine, with_levels
from labkit.systems.system import System

SYSTEM = System(
    name="pedal_order",
    presets={
        "base": Config(),
        "codes": Config().but(front_end="codes", protocols=("three",)),
    },
    build=build,
    module=__name__,
    checkpoints={"base": "pedal_order", "codes": "pedal_order_codes"},
)
load = SYSTEM.load
save = SYSTEM.save
