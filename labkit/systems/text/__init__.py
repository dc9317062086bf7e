"""Text to effects: a sentence and a recording become settings of an equaliser, a room and more."""

from pathlib import Path

from labkit.learn.text import has_minilm
from labkit.systems.system import System
from labkit.systems.text.model import Config, TextToEffects, build
from labkit.systems.text.predict import check_request, predict, process_file, summary
from labkit.systems.text.preset import Preset

SYSTEM = System(
    name="text",
    presets={"text": Config()},
    build=build,
    module=__name__,
    checkpoints={"text": "text"},
)
load = SYSTEM.load
save = SYSTEM.save


def load_if_possible(path: str | Path | None = None) -> TextToEffects | None:
    """`load`, or None where the sentence encoder that the model needs is not installed."""
    model = load(path)
    return model if model.config.net.sentences != "minilm" or has_minilm() else None
