"""Synth matching: from a recorded note to the patch of a synthesizer that plays it."""

from labkit.systems.synth.model import PRESETS, Config, build
from labkit.systems.synth.predict import Match, Synth, describe, notes_here, predict, write_match
from labkit.systems.system import System

SYSTEM = System(
    name="synth",
    presets=PRESETS,
    build=build,
    module="labkit.systems.synth",
    checkpoints={"vital_simple": "synth", "vital_full": "synth_vital_full", "kosc": "synth_kosc"},
)
load = SYSTEM.load
save = SYSTEM.save
