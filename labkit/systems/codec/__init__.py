"""A neural audio codec: guitar audio to codes of residual codebooks and back."""

from labkit.systems.codec.model import Codec, Config, build, official
from labkit.systems.system import System

SYSTEM = System(
    name="codec",
    presets={"small": Config()},
    build=build,
    module=__name__,
    checkpoints={"small": "codec"},
)
load = SYSTEM.load
save = SYSTEM.save
