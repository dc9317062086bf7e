"""Controllers that learn through real plug-ins: distort a guitar, clean speech, master a mix."""

from labkit.systems.blackbox.config import PRESETS, TASKS, Config
from labkit.systems.blackbox.model import build
from labkit.systems.blackbox.predict import (
    Curve,
    curve,
    enhance,
    enhance_file,
    playable,
    replay,
)
from labkit.systems.system import System

SYSTEM = System(
    name="blackbox",
    presets=PRESETS,
    build=build,
    module=__name__,
    checkpoints={task: f"blackbox_{task}" for task in TASKS},
)
load, save = SYSTEM.load, SYSTEM.save
